"""The circuit breaker: a place that fails is left alone for a while, and then tried with care.

Two parts. `Window` counts what came of the calls of this process. `Phase` is what follows: closed, open, half-open; it is
a frozen value, so that processes can share it, and the functions on it are the whole state machine:

    closed -tripped-> open -time passes-> half-open -probes succeed, stage by stage-> closed
                       ^----------------- a probe fails ------'

Time is a parameter, in seconds from anywhere. A caller's mistake, a refused answer and a rate limit say nothing about
the health of a place: they count neither as failure nor as success.
"""

from math import sqrt
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct
from msgspec.structs import replace

from llm_call.core.domain.errors import (
    AttemptTimeoutError,
    ConnectionFailedError,
    LLMCallError,
    ProcessFailedError,
    ProtocolError,
    ServerError,
    StreamInterruptedError,
)
from llm_call.core.domain.setting import setting
from llm_call.core.policy.outcome import classify

Outcome = Literal["ok", "slow", "failed"]

LONGEST_HINT = 3600.0
"""What is believed, in seconds, of a server that says when it will be back: a probe an hour costs nothing."""
SHORTEST_HINT = 1.0
_BUCKETS = 12
_SUDDEN = 3.0
"""Standard deviations that a twelfth of the window has to show. Without it, a busy place that goes out would be asked
until its failures outweigh a minute of successes; looked at so often, it has to be surer."""
_COME_BACK = 1.0  # seconds, for those that are refused while probes are out: nobody knows when these end
_FAILURES = (
    ServerError,
    ConnectionFailedError,
    AttemptTimeoutError,
    StreamInterruptedError,
    ProcessFailedError,
    ProtocolError,
)


class BreakerPolicy(Struct, frozen=True, kw_only=True):
    """When a place is left alone, for how long, and how it is tried again.

    The library's own: it opens when the failures in the window are surely more than `failure_ratio` of the calls, as
    `surely_above` judges it: after four failures in a row, never after two; or, for a place that was busy and well, of
    those in the newest twelfth of it: after six. `failures` instead is the documented form:
    so many failures in the window, whatever succeeded. It stays open for as long as the server said, else
    `open_seconds`, doubled at each reopening in a row, up to `max_open_seconds`. Then `probes[0]` calls at a time are
    let through; `successes` of them (as many as are let through, where not given) lead to `probes[1]`, and so on.
    """

    enabled: Annotated[bool, setting("Whether places that fail are left alone for a while.", access="free")] = True
    window: Annotated[float, Meta(gt=0), setting("The seconds within which calls are counted.", access="free")] = 60.0
    failure_ratio: Annotated[
        float, Meta(gt=0, lt=1), setting("Opens when surely more than this share of the calls fail.", access="free")
    ] = 0.5
    failures: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        setting("Opens at so many failures in the window instead, whatever succeeded.", access="free"),
    ] = None
    slow_seconds: Annotated[
        Annotated[float, Meta(gt=0)] | None, setting("An answer that takes longer is slow.", access="free")
    ] = None
    slow_ratio: Annotated[
        float, Meta(gt=0, lt=1), setting("Opens when surely more than this share of the calls are slow.", access="free")
    ] = 0.5
    open_seconds: Annotated[
        float, Meta(gt=0), setting("The first time open, in seconds, where the server says none.", access="free")
    ] = 5.0
    max_open_seconds: Annotated[
        float, Meta(gt=0), setting("The longest time open, where the server says none.", access="free")
    ] = 30.0
    probes: Annotated[
        Annotated[tuple[Annotated[int, Meta(ge=1)], ...], Meta(min_length=1)],
        setting("How many calls are let through at a time while half-open, stage by stage.", access="free"),
    ] = (1, 2, 4)
    successes: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        setting("Successes that end a stage; as many as it lets through, where not set.", access="free"),
    ] = None
    excluded: Annotated[
        tuple[str, ...], setting("Names of errors that do not count, and of what is derived from them.", access="free")
    ] = ()


class Phase(Struct, frozen=True, kw_only=True):
    """Where a breaker stands. `probes` are the times at which the places of the probes that are out fall free again.

    `times` counts the reopenings in a row. A probe is known by that time: its process may have died.
    """

    state: Literal["closed", "open", "half_open"] = "closed"
    until: float = 0.0
    times: int = 0
    stage: int = 0
    succeeded: int = 0
    probes: tuple[float, ...] = ()

    def shifted(self, seconds: float) -> "Phase":
        """The same by a clock that is `seconds` ahead."""
        probes = tuple(lease + seconds for lease in self.probes)
        return replace(self, until=self.until + seconds, probes=probes)


CLOSED = Phase()


class Pass(Struct, frozen=True):
    """Go on."""


class Probe(Struct, frozen=True):
    """Go on, and say what came of it before `lease`, which is the name of this probe."""

    lease: float


class Refused(Struct, frozen=True):
    """Not now; it makes sense to come back at `until`."""

    until: float


Permission: TypeAlias = Pass | Probe | Refused
_PASS = Pass()


def permit(phase: Phase, policy: BreakerPolicy, now: float, lease: float) -> tuple[Phase, Permission]:
    """Whether a call may go on now. A probe's place is its own for `lease` seconds."""
    if phase.state == "closed":
        return phase, _PASS
    if phase.state == "open":
        if now < phase.until:
            return phase, Refused(phase.until)
        phase = Phase(state="half_open", times=phase.times)
    out = tuple(each for each in phase.probes if each > now)
    if len(out) >= policy.probes[phase.stage]:
        return replace(phase, probes=out), Refused(min(*out, now + _COME_BACK))
    probe = Probe(now + lease)
    return replace(phase, probes=(*out, probe.lease)), probe


def tripped(phase: Phase, policy: BreakerPolicy, now: float, hint: float = 0.0) -> Phase:
    """After too much failed. `hint` is the server's own time in seconds; an open breaker takes in a later one."""
    if phase.state == "closed":
        return Phase(state="open", until=now + open_seconds(policy, 0, hint))
    if phase.state == "open" and hint > 0:
        return replace(phase, until=max(phase.until, now + open_seconds(policy, 0, hint)))
    return phase


def probe_succeeded(phase: Phase, policy: BreakerPolicy, lease: float) -> Phase:
    """After a probe's success. One whose lease is over has no say any more."""
    freed = probe_released(phase, lease)
    if freed is phase:
        return phase
    succeeded = freed.succeeded + 1
    if succeeded < (policy.successes or policy.probes[freed.stage]):
        return replace(freed, succeeded=succeeded)
    if freed.stage + 1 < len(policy.probes):
        return replace(freed, succeeded=0, stage=freed.stage + 1)
    return CLOSED


def probe_failed(phase: Phase, policy: BreakerPolicy, lease: float, now: float, hint: float = 0.0) -> Phase:
    """After a probe's failure: open again, for longer."""
    if lease not in phase.probes:
        return phase
    times = phase.times + 1
    return Phase(state="open", until=now + open_seconds(policy, times, hint), times=times)


def probe_released(phase: Phase, lease: float) -> Phase:
    """After a probe that proved nothing, such as a cancelled one: its place is free."""
    if lease not in phase.probes:
        return phase
    at = phase.probes.index(lease)
    return replace(phase, probes=phase.probes[:at] + phase.probes[at + 1 :])


def open_seconds(policy: BreakerPolicy, times: int, hint: float) -> float:
    """How long a breaker stays open at its `times`-th reopening in a row (0: it was closed).

    The server's own time is taken as it is, within 1 s and an hour; but where it proved too short, never less than
    what would hold without it.
    """
    plain = min(policy.open_seconds * 2.0 ** min(times, 64), policy.max_open_seconds)
    if hint <= 0:
        return plain
    return min(max(hint, plain if times else SHORTEST_HINT), LONGEST_HINT)


class Window:
    """What came of the calls of the last `seconds`: counted in twelve buckets, so none is older than that.

    Local and mutable: one count is a few additions. Times may come a little out of order.
    """

    __slots__ = ("_buckets", "_counts", "_width")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / _BUCKETS
        self._buckets: list[list[int]] = []  # [number, ok, slow, failed], the newest last
        self._counts = [0, 0, 0, 0]

    def add(self, outcome: Outcome, now: float) -> None:
        """Count one call."""
        number = int(now / self._width)
        if not self._buckets or number > self._buckets[-1][0]:
            self._roll(number)
        at = _PLACES[outcome]
        self._buckets[-1][at] += 1
        self._counts[at] += 1

    def clear(self) -> None:
        """Forget everything."""
        self._buckets.clear()
        self._counts = [0, 0, 0, 0]

    @property
    def total(self) -> int:
        """All calls, as of the last that was added."""
        return sum(self._counts)

    @property
    def newest(self) -> tuple[int, int]:
        """Of the newest twelfth of the window: how many failed, of how many."""
        if not self._buckets:
            return 0, 0
        _number, *counts = self._buckets[-1]
        return counts[_PLACES["failed"] - 1], sum(counts)

    @property
    def slow(self) -> int:
        """Those that were answered, but slowly."""
        return self._counts[_PLACES["slow"]]

    @property
    def failed(self) -> int:
        """Those that failed."""
        return self._counts[_PLACES["failed"]]

    def _roll(self, number: int) -> None:
        self._buckets.append([number, 0, 0, 0])
        while self._buckets[0][0] <= number - _BUCKETS:
            for at, count in enumerate(self._buckets.pop(0)[1:], 1):
                self._counts[at] -= count


_PLACES = {"ok": 1, "slow": 2, "failed": 3}


def trips(window: Window, policy: BreakerPolicy) -> str | None:
    """Why what is in the window opens the breaker; `None` where it does not."""
    total, within = window.total, f"within {policy.window:g} s"
    if policy.failures is not None:
        return f"{window.failed} calls failed {within}" if window.failed >= policy.failures else None
    if surely_above(window.failed, total, policy.failure_ratio):
        return f"{window.failed} of {total} calls failed {within}"
    recent_failed, recent = window.newest
    if surely_above(recent_failed, recent, policy.failure_ratio, _SUDDEN):
        return f"{recent_failed} of the last {recent} calls failed"
    if policy.slow_seconds is not None and surely_above(window.slow, total, policy.slow_ratio):
        return f"{window.slow} of {total} calls took longer than {policy.slow_seconds:g} s {within}"
    return None


def surely_above(count: int, total: int, ratio: float, deviations: float = 2.0) -> bool:
    """Whether `count` of `total` shows a share above `ratio`, so few calls as there may be.

    The share, before anything is known of it, is Beta(1, 1); after k of n it is Beta(k + 1, n - k + 1) (the conjugate
    prior: Gelman et al., "Bayesian Data Analysis", section 2.4). Its mean less so many standard deviations has to be
    above `ratio`: for 0.5 and two of them that takes 4 of 4, 7 of 8, 12 of 16, 60 of 100; for three, 6 of 6.
    """
    hits, misses = count + 1, total - count + 1
    both = hits + misses
    mean = hits / both
    return mean - deviations * sqrt(mean * (misses / both) / (both + 1)) > ratio


def counts(error: Exception, excluded: tuple[str, ...] = ()) -> bool:
    """Whether `error` is a failure of the place. What is not, is no success either.

    `excluded` are names of classes. Of what is none of our errors, all counts that may be tried again.
    """
    if excluded and any(kind.__name__ in excluded for kind in type(error).__mro__):
        return False
    if isinstance(error, LLMCallError):
        return isinstance(error, _FAILURES)
    return classify(error) == "again"
