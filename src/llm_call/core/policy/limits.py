"""Limits: so many requests and tokens a minute, and as many calls at a time as a place bears.

`Bucket` is a frozen value, so that processes can share it; `Concurrency` is local. Time is a parameter, in seconds.
"""

from math import inf
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from llm_call.core.domain.setting import setting

_Rate: TypeAlias = Annotated[float, Meta(gt=0)] | None


class Limit(Struct, frozen=True, kw_only=True):
    """What a place is asked at most. A minute's worth may come at once, as in the providers' own buckets."""

    requests_per_minute: Annotated[_Rate, setting("Requests a minute.", access="free")] = None
    tokens_per_minute: Annotated[_Rate, setting("Tokens a minute, in and out.", access="free")] = None


class Bucket(Struct, frozen=True, kw_only=True):
    """What is left, as of `at`. Below 0 it is taken from what is to come."""

    level: float
    at: float


class Taken(Struct, frozen=True, kw_only=True):
    """What was taken: it may be used after `wait` seconds. A wait beyond the taker's patience means: nothing was."""

    amount: float
    wait: float


def take(
    bucket: Bucket | None, per_minute: float, *, least: float, most: float, patience: float, now: float
) -> tuple[Bucket, Taken]:
    """Take `least`, or what is there up to `most`, from a bucket that is refilled evenly and holds a minute's worth.

    What is not there yet is reserved, so those that wait are served in turn. In no time is more given than
    `per_minute` for each minute, and one minute's worth at once. `None` is a full bucket.
    """
    level = refilled(bucket, per_minute, now)
    wait = max(least - level, 0.0) * 60 / per_minute
    if wait > patience:
        return Bucket(level=level, at=now), Taken(amount=0.0, wait=wait)
    amount = max(least, min(most, level))
    return Bucket(level=level - amount, at=now), Taken(amount=amount, wait=wait)


def put_back(bucket: Bucket, per_minute: float, amount: float) -> Bucket:
    """Give `amount` back that was not used; a negative one was used beyond what had been taken."""
    return Bucket(level=min(bucket.level + amount, per_minute), at=bucket.at)


def refilled(bucket: Bucket | None, per_minute: float, now: float) -> float:
    """What is in the bucket now."""
    if bucket is None:
        return per_minute
    return min(bucket.level + max(now - bucket.at, 0.0) * per_minute / 60, per_minute)


class ConcurrencyPolicy(Struct, frozen=True, kw_only=True):
    """How many calls at a time a place is sent.

    Without `start` there is no limit until the place itself speaks of one (429): whoever is not throttled is not slowed
    down, which a start of 20 would do to every larger batch. The first 429 cuts to a share of what is under way then.
    """

    adaptive: Annotated[
        bool, setting("Whether a rate limit (429) makes fewer calls go out at a time.", access="free")
    ] = True
    start: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        setting("Calls at a time in the beginning; without it as many as come.", access="free"),
    ] = None
    most: Annotated[Annotated[int, Meta(ge=1)] | None, setting("Calls at a time, at the most.", access="free")] = None
    cut: Annotated[
        float, Meta(gt=0, lt=1), setting("The share of the calls under way that a rate limit leaves.", access="free")
    ] = 0.5
    calm: Annotated[
        float,
        Meta(ge=0),
        setting(
            "Seconds without a rate limit after which the number doubles instead of growing by one.", access="free"
        ),
    ] = 60.0


class Concurrency:
    """How many calls may be under way at a time: additive increase, multiplicative decrease.

    Slow start (doubling in the time of one call) until the first rate limit and again after a calm minute, which is what
    the providers' limits are counted in; one more in the time of one call otherwise. It grows only while it is what
    holds calls back (the rule of RFC 7661). One cut an episode: the rate limits of calls that had started before the cut
    say nothing new. Calls are numbered in the order of their start. Local and mutable.
    """

    __slots__ = ("_calm_at", "_cut_after", "_policy", "limit")

    def __init__(self, policy: ConcurrencyPolicy) -> None:
        self._policy = policy
        self._cut_after = 0
        self._calm_at = -inf
        self.limit = min(float(policy.start or inf), policy.most or inf)

    def succeeded(self, under_way: int, now: float) -> None:
        """A call was answered; `under_way` counts it too."""
        if self.limit == inf or not self._policy.adaptive or under_way < int(self.limit):
            return
        grown = self.limit + (1.0 if now >= self._calm_at else 1.0 / self.limit)
        self.limit = min(grown, self._policy.most or inf)

    def throttled(self, number: int, newest: int, under_way: int, now: float) -> bool:
        """Call `number` met a rate limit; `newest` is the last that has started. Whether that was a cut."""
        if not self._policy.adaptive or number <= self._cut_after:
            return False
        self._cut_after = newest
        self._calm_at = now + self._policy.calm
        self.limit = max(min(under_way, self.limit) * self._policy.cut, 1.0)
        return True
