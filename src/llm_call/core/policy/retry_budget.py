"""The retry budget: retries are paid for by successes, so that an outage is not multiplied.

A token bucket for each credential. A retry takes 1; a success gives `ratio`; time gives a little, so that a program that
calls seldom can retry at all. In an outage, when nothing succeeds, what is added to the load runs dry (M. Brooker, "Fixing
retries with token buckets and circuit breakers", 2022). The law: retries <= floor + ratio * successes + per_second * time.
"""

from typing import Annotated

from msgspec import Meta, Struct

from llm_call.core.domain.setting import setting


class RetryBudgetPolicy(Struct, frozen=True, kw_only=True):
    """What there is to retry with."""

    enabled: Annotated[bool, setting("Whether retries are limited by what succeeds.", access="free")] = True
    floor: Annotated[
        float, Meta(ge=0), setting("Retries that are there at rest; time refills up to here.", access="free")
    ] = 10.0
    ratio: Annotated[float, Meta(ge=0), setting("Retries that each success adds.", access="free")] = 0.2
    per_second: Annotated[
        float, Meta(ge=0), setting("Retries that each second adds, up to the floor.", access="free")
    ] = 0.1
    most: Annotated[float, Meta(ge=0), setting("Retries that successes can save up.", access="free")] = 100.0


class RetryBudget(Struct, frozen=True, kw_only=True):
    """What is left, as of `at`."""

    level: float
    at: float


def spend(
    budget: RetryBudget | None, policy: RetryBudgetPolicy, successes: int, now: float
) -> tuple[RetryBudget, bool]:
    """Take one retry, if there is one. `successes` are those since the last time; without a budget it is at rest."""
    level = policy.floor if budget is None else _refilled(budget, policy, now)
    level = max(level, min(level + successes * policy.ratio, policy.most))
    enough = level >= 1
    return RetryBudget(level=level - 1 if enough else level, at=now), enough


def _refilled(budget: RetryBudget, policy: RetryBudgetPolicy, now: float) -> float:
    gained = max(now - budget.at, 0.0) * policy.per_second
    return max(budget.level, min(budget.level + gained, policy.floor))
