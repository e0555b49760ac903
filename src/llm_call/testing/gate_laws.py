"""The laws of the gates, seen from outside: by what the peer got and what was told of the breakers, in its order.

Each check walks the log of a `ChaoticTransport`, into which a test writes every `GateChange` too, and gives what breaks
the law, in words; nothing is good. Where it cannot be told from outside how a request ended for the gates, a check takes
what allows more.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TypeAlias

from llm_call.core.policy.breaker import BreakerPolicy, surely_above
from llm_call.core.policy.limits import ConcurrencyPolicy
from llm_call.core.policy.retry_budget import RetryBudgetPolicy
from llm_call.core.state.common import GateChange
from llm_call.testing.chaos import Log, Sent

_ROUNDING = 1e-6
_LEASE = 900.0  # seconds after which a probe that says nothing makes room for another one, and a gate may be dropped
_ENOUGH = 1000  # failures in a row are surely above every share below 0.99


class _Seen:
    """What has been seen of the breaker of one place."""

    def __init__(self) -> None:
        self.state = "closed"  # "forgotten": it may have been dropped, since nobody asked for it
        self.used = 0.0
        self.reopens = 0.0
        self.probes: set[Sent] = set()
        self.tried: set[Sent] = set()
        self.answered = 0
        self.ended: dict[Sent, float] = {}


IsFault: TypeAlias = Callable[[Sent, float], bool]
"""Whether a request, as it stands at a time, may have ended with a failure that counts, or was answered slowly."""


def faults_of_breakers(log: Log, policy: BreakerPolicy, is_fault: IsFault) -> Iterator[str]:
    """None goes out while it is open, none beyond its stage while it is half-open; it opens for faults of the place alone."""
    places: defaultdict[str, _Seen] = defaultdict(_Seen)
    for at, what, subject in log:
        seen = places[subject.place]
        seen.state = "forgotten" if at > seen.used + _LEASE else seen.state
        seen.used = at if what in {"sent", "probing"} else seen.used
        if isinstance(subject, GateChange):
            yield from (f"at {at:g}: {fault}" for fault in _changed(seen, policy, at, subject, is_fault))
        elif what == "sent":
            yield from (f"at {at:g}: {subject} {fault}" for fault in _sent(seen, policy, subject))
        else:
            seen.ended[subject] = at
            if subject in seen.probes:
                seen.probes.remove(subject)
                seen.answered += what == "answered"


def _sent(seen: _Seen, policy: BreakerPolicy, sent: Sent) -> Iterator[str]:
    if seen.state == "open":
        yield "goes to a place that is left alone"
    if seen.state == "half_open":
        seen.probes = {sent, *(probe for probe in seen.probes if probe.opened + _LEASE > sent.opened)}
        seen.tried.add(sent)
        most = policy.probes[_stage(policy, seen.answered)]
        if len(seen.probes) > most:
            yield f"is one of {len(seen.probes)} probes, and no more than {most} may be out"


def _stage(policy: BreakerPolicy, answered: int) -> int:
    """The stage that so many answers can have led to."""
    for stage, size in enumerate(policy.probes):
        answered -= policy.successes or size
        if answered < 0:
            return stage
    return len(policy.probes) - 1


def _changed(seen: _Seen, policy: BreakerPolicy, at: float, change: GateChange, is_fault: IsFault) -> Iterator[str]:
    if change.kind == "opened":
        faults = {sent for sent, when in seen.ended.items() if when >= at - policy.window and is_fault(sent, at)}
        if seen.state == "closed" and len(faults) < _least(policy):
            yield f"{change.place} is left alone after {len(faults)} of {_least(policy)} failures of its own"
        if seen.state == "half_open" and not any(is_fault(sent, at) for sent in seen.tried & seen.ended.keys()):
            yield f"{change.place} is left alone again, and no probe has failed"
        seen.state, seen.reopens, seen.ended = "open", at + (change.seconds or 0.0), {}
    elif change.kind == "probing":
        if at < seen.reopens - _ROUNDING:
            yield f"{change.place} is tried {seen.reopens - at:g} s too early"
        seen.state, seen.answered, seen.probes, seen.tried = "half_open", 0, set(), set()
    elif change.kind == "closed":
        least = sum(policy.successes or size for size in policy.probes)
        if seen.state != "forgotten" and seen.answered < least:
            yield f"{change.place} is trusted again after {seen.answered} of {least} answers"
        seen.state, seen.ended = "closed", {}


def _least(policy: BreakerPolicy) -> int:
    """The least failures that may open it."""
    ratio = policy.failure_ratio if policy.slow_seconds is None else min(policy.failure_ratio, policy.slow_ratio)
    return policy.failures or next(count for count in range(_ENOUGH) if surely_above(count, count, ratio))


def faults_of_concurrency(log: Log, policy: ConcurrencyPolicy) -> Iterator[str]:
    """No more requests are out at a place than its policy allows, whatever the place itself says."""
    most = policy.most or (None if policy.adaptive else policy.start)
    out: defaultdict[str, set[Sent]] = defaultdict(set)
    for at, what, subject in log if most else ():
        if isinstance(subject, GateChange):
            continue
        if what != "sent":
            out[subject.place].discard(subject)
            continue
        out[subject.place].add(subject)
        if len(out[subject.place]) > (most or 0):
            yield f"at {at:g}: {subject} is one of {len(out[subject.place])} at a time, and {most} are allowed"


def faults_of_retries(log: Log, policy: RetryBudgetPolicy, repeats: Collection[Sent]) -> Iterator[str]:
    """Retries of a credential are paid for: by the floor, by time and by what was answered.

    `repeats` are the requests that were sent because the one before, at the same target, had failed.
    """
    retries: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    for at, what, subject in log if policy.enabled else ():
        if isinstance(subject, GateChange):
            continue
        if what == "answered":
            answered[subject.credential] += 1
        elif what == "sent" and subject in repeats:
            retries[subject.credential] += 1
            paid = policy.floor + policy.per_second * at + policy.ratio * answered[subject.credential]
            if retries[subject.credential] > paid + _ROUNDING:
                yield f"at {at:g}: {subject} is retry {retries[subject.credential]}, and {paid:g} are paid for"


def faults_of_rate(
    log: Log, per_minute: float, amounts: Mapping[Sent, tuple[float, float]], slack: float
) -> Iterator[str]:
    """In no time is more sent than its minutes' worth and one minute's worth at once.

    `amounts` are what each request takes when it is sent, and what of it may come back when it is answered; requests
    that are not in it have nothing to do with this limit. `slack` is what may be sent beyond.
    """
    most = max([per_minute, *(taken for taken, _ in amounts.values())])
    level, since = most, 0.0
    for at, what, subject in log:
        if isinstance(subject, GateChange) or subject not in amounts:
            continue
        taken, back = amounts[subject]
        level, since = min(level + (at - since) * per_minute / 60, most), at
        if what == "answered":
            level = min(level + back, most)
        elif what == "sent":
            level -= taken
            if level < -slack - _ROUNDING:
                yield f"at {at:g}: {subject} is {-slack - level:g} beyond {per_minute:g} a minute"
