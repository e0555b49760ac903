"""When a second target is asked beside one that is late. Pure: what was measured comes in."""

from collections import deque
from collections.abc import Hashable
from typing import Annotated

from msgspec import Meta, Struct

from llm_call.core.domain.setting import setting

MEMORY = 100
LEAST_SAMPLES = 20
LATE = 0.95


class HedgingPolicy(Struct, frozen=True, kw_only=True):
    """Off by default: a second request costs money. Where it is on, the first valid answer wins."""

    enabled: Annotated[
        bool, setting("Ask a second target too once the first one is later than its own p95.", access="free")
    ] = False
    share: Annotated[
        float, Meta(gt=0, le=1), setting("The largest part of the calls that may be hedged.", access="free")
    ] = 0.05


class Hedges:
    """How late targets usually are, and how many calls were hedged.

    A target is late when it takes longer than 95 % of its last hundred answers took (J. Dean and L. A. Barroso, "The
    Tail at Scale", 2013); before there are twenty, nothing is known of it.
    """

    def __init__(self, policy: HedgingPolicy) -> None:
        self.policy = policy
        self._taken: dict[Hashable, deque[float]] = {}
        self._calls = 0
        self._hedged = 0

    def observe(self, place: Hashable, seconds: float) -> None:
        """An answer (or the first token of a streamed one) has taken so long."""
        taken = self._taken.get(place)
        if taken is None:
            taken = self._taken.setdefault(place, deque(maxlen=MEMORY))
        taken.append(seconds)

    def usual(self, place: Hashable, share: float = 0.5) -> float | None:
        """How long this `share` of this place's answers take at the most: half of them, where enough is known."""
        taken = self._taken.get(place, ())
        return sorted(taken)[int(share * len(taken))] if len(taken) >= LEAST_SAMPLES else None

    def delay(self, place: Hashable) -> float | None:
        """How long a call waits for this place before it is hedged; `None` where it never is."""
        self._calls += 1
        return self.usual(place, LATE) if self.policy.enabled else None

    def may_hedge(self) -> bool:
        """Take leave to hedge one call; there is none beyond the share of all calls."""
        if self._hedged + 1 > self.policy.share * self._calls:
            return False
        self._hedged += 1
        return True
