"""What one call may cause in all: retries, re-asks and other targets share it."""

from decimal import Decimal
from math import ceil

from msgspec import Struct

from llm_call.core.domain.response import Usage


class Budget(Struct, frozen=True, kw_only=True):
    """`seconds` of time, US dollars, tokens (in and out), attempts. `None` is without limit."""

    seconds: float | None = None
    usd: Decimal | None = None
    tokens: int | None = None
    attempts: int | None = None

    @property
    def is_limited(self) -> bool:
        """Whether anything but time is limited."""
        return self.usd is not None or self.tokens is not None or self.attempts is not None


class Spent(Struct, frozen=True, kw_only=True):
    """What a call has caused so far. `usd` counts what is known."""

    usd: Decimal = Decimal(0)
    usage: Usage = Usage()
    attempts: int = 0

    @property
    def tokens(self) -> int:
        """In and out."""
        return (self.usage.input_tokens or 0) + (self.usage.output_tokens or 0)

    def share(self, budget: Budget, seconds: float, part: float) -> Budget:
        """What may have been used in all when `part` (0..1) of what `budget` has left after `seconds` is used too."""

        def until(limit: float, spent: float) -> float:
            return spent + max(0.0, limit - spent) * part

        return Budget(
            seconds=None if budget.seconds is None else until(budget.seconds, seconds),
            usd=None if budget.usd is None else self.usd + max(Decimal(0), budget.usd - self.usd) * Decimal(str(part)),
            tokens=None if budget.tokens is None else ceil(until(budget.tokens, self.tokens)),
            attempts=budget.attempts,
        )

    def exceeds(self, budget: Budget) -> str | None:
        """Which limit leaves no room for another attempt; `None` while there is room."""
        tokens = self.tokens
        if budget.attempts is not None and self.attempts >= budget.attempts:
            return f"{self.attempts} of {budget.attempts} attempts are made"
        if budget.tokens is not None and tokens >= budget.tokens:
            return f"{tokens} of {budget.tokens} tokens are used"
        if budget.usd is not None and self.usd >= budget.usd:
            return f"{self.usd} of {budget.usd} US dollars are spent"
        return None
