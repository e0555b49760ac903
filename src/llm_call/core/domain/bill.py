"""What a call costs: looked up when somebody asks, since price lists are large."""

from collections.abc import Callable
from decimal import Decimal
from functools import cached_property

from msgspec import Struct

from llm_call.core.domain.profile import Prices
from llm_call.core.domain.response import Usage


class Charge(Struct, frozen=True, kw_only=True):
    """The tokens that one answered attempt used. `model` is the provider's own name; `prices` are those of its profile."""

    provider: str
    model: str
    usage: Usage
    prices: Prices | None = None


Pricing = Callable[[Charge], Decimal | None]
"""What a charge comes to in US dollars; `None` when a price or a count is unknown."""


def known_price(charge: Charge) -> Decimal | None:
    """The pricing that knows only what stands in the profiles."""
    return charge.prices.cost(charge.usage) if charge.prices else None


class Bill:
    """The charges of one call, and who knows their prices."""

    def __init__(self, charges: tuple[Charge, ...] = (), pricing: Pricing = known_price) -> None:
        self.charges = charges
        self._pricing = pricing

    def __repr__(self) -> str:
        return f"Bill({self.charges!r})"

    def __add__(self, other: "Bill") -> "Bill":
        """The charges of both, at the prices of this one."""
        return Bill(self.charges + other.charges, self._pricing)

    @property
    def costs(self) -> tuple[Decimal | None, ...]:
        """US dollars for each charge."""
        return tuple(map(self._pricing, self.charges))

    @cached_property
    def total(self) -> Decimal | None:
        """US dollars for all charges; `None` when one of them is unknown."""
        total = Decimal(0)
        for charge in self.charges:
            cost = self._pricing(charge)
            if cost is None:
                return None
            total += cost
        return total
