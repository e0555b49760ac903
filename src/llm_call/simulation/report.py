"""What a simulation has shown, for each policy: values, as JSON and as lines of tables."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from math import ceil

from msgspec import Struct


class CallOutcome(Struct, frozen=True, kw_only=True):
    """What one call came to. `failure` names the error, or says `rejected`; `seconds` is how long its caller waited.

    `attempts` counts the requests that were sent, `retries` those that went again to the target that had just failed,
    `held_off` those that breakers and limits kept from being sent. `cost` is in US dollars; `None` where a price is unknown.
    """

    seconds: float = 0.0
    failure: str | None = None
    attempts: int = 1
    retries: int = 0
    held_off: int = 0
    cost: Decimal | None = None


class TargetLoad(Struct, frozen=True, kw_only=True):
    """What one target was asked: in all, each second, and while it was down.

    `normal_rate` is what it was asked each second outside of the outages; all calls, where it was never up.
    """

    target: str
    requests: int
    rate: float
    seconds_down: float = 0.0
    rate_down: float | None = None
    normal_rate: float = 0.0

    @property
    def share_of_normal(self) -> float | None:
        """What it was asked while it was down, as a share of what it is asked else."""
        return None if self.rate_down is None or not self.normal_rate else self.rate_down / self.normal_rate


class PolicyReport(Struct, frozen=True, kw_only=True):
    """One policy. Latencies are of calls that were answered, in seconds; `cost` is in US dollars for all calls.

    `openings` is how often a breaker opened.
    """

    policy: str
    calls: int
    success: float
    p50: float | None
    p95: float | None
    p99: float | None
    cost: Decimal | None
    attempts_per_call: float
    retries: int
    held_off: int
    openings: int
    failures: Mapping[str, int]
    targets: tuple[TargetLoad, ...]


class Report(Struct, frozen=True, kw_only=True):
    """The whole."""

    scenario: str
    about: str
    seed: int
    policies: tuple[PolicyReport, ...]


def summed_up(
    policy: str, outcomes: Sequence[CallOutcome], targets: Iterable[TargetLoad], *, openings: int = 0
) -> PolicyReport:
    """The report of one policy."""
    waits = sorted(each.seconds for each in outcomes if each.failure is None)
    costs = [each.cost for each in outcomes]
    count = max(1, len(outcomes))
    return PolicyReport(
        policy=policy,
        calls=len(outcomes),
        success=len(waits) / count,
        p50=percentile(waits, 50),
        p95=percentile(waits, 95),
        p99=percentile(waits, 99),
        cost=None if None in costs else sum((each for each in costs if each is not None), start=Decimal(0)),
        attempts_per_call=sum(each.attempts for each in outcomes) / count,
        retries=sum(each.retries for each in outcomes),
        held_off=sum(each.held_off for each in outcomes),
        openings=openings,
        failures=Counter(each.failure for each in outcomes if each.failure is not None),
        targets=tuple(targets),
    )


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """The nearest-rank percentile: the least value that at least `percent` of 100 values do not exceed."""
    return ordered[ceil(percent / 100 * len(ordered)) - 1] if ordered else None


def load_of(
    target: str, times: Sequence[float], outages: Sequence[tuple[float, float]], duration: float, offered: float
) -> TargetLoad:
    """What a target was asked, at `times`, over `duration` seconds in which it was down in `outages`."""
    down = sum(min(end, duration) - start for start, end in outages if start < duration)
    while_down = sum(1 for time in times if time < duration and any(start <= time < end for start, end in outages))
    up = duration - down
    while_up = sum(1 for time in times if time < duration) - while_down
    return TargetLoad(
        target=target,
        requests=len(times),
        rate=len(times) / duration,
        seconds_down=down,
        rate_down=while_down / down if down else None,
        normal_rate=while_up / up if up > 0 and while_up else offered,
    )


CALLS = ("policy", "calls", "success", "p50", "p95", "p99", "cost", "attempts/call", "retries", "openings", "failures")
LOADS = ("policy", "target", "requests", "requests/s", "while down", "of normal")


def call_lines(policies: Iterable[PolicyReport]) -> list[tuple[str, ...]]:
    """A line for each policy, under `CALLS`."""
    return [
        (
            each.policy,
            str(each.calls),
            f"{each.success:.2%}",
            *(_seconds(value) for value in (each.p50, each.p95, each.p99)),
            "?" if each.cost is None else f"${each.cost:.2f}",
            f"{each.attempts_per_call:.2f}",
            str(each.retries),
            str(each.openings),
            ", ".join(f"{count} {kind}" for kind, count in sorted(each.failures.items())) or "-",
        )
        for each in policies
    ]


def load_lines(policies: Iterable[PolicyReport]) -> list[tuple[str, ...]]:
    """A line for each target of each policy, under `LOADS`."""
    return [
        (
            policy.policy,
            each.target,
            str(each.requests),
            f"{each.rate:.2f}",
            "-" if each.rate_down is None else f"{each.rate_down:.2f}/s",
            "-" if each.share_of_normal is None else f"{each.share_of_normal:.1%}",
        )
        for policy in policies
        for each in policy.targets
    ]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
