import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.errors import (
    AttemptTimeoutError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    CircuitOpenError,
    ConfigError,
    ConnectionFailedError,
    ContentFilteredError,
    ContextWindowExceededError,
    LLMCallError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProcessFailedError,
    ProtocolError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    UnsupportedError,
    ValidatorError,
)
from llm_call.core.policy.breaker import (
    CLOSED,
    BreakerPolicy,
    Pass,
    Phase,
    Probe,
    Refused,
    Window,
    counts,
    open_seconds,
    permit,
    probe_failed,
    probe_released,
    probe_succeeded,
    surely_above,
    tripped,
    trips,
)

POLICY = BreakerPolicy()
DOCUMENTED = BreakerPolicy(failures=5, open_seconds=60, max_open_seconds=60, probes=(3,), successes=2)
LEASE = 120.0


@pytest.mark.parametrize(
    ("total", "least"), [(1, None), (2, None), (3, None), (4, 4), (5, 5), (8, 7), (16, 12), (100, 60)]
)
def test_few_calls_have_to_fail_all_and_many_only_mostly(total: int, least: int | None) -> None:
    opening = [failed for failed in range(total + 1) if surely_above(failed, total, 0.5)]
    assert (opening[0] if opening else None) == least


def window(ok: int = 0, slow: int = 0, failed: int = 0) -> Window:
    made = Window(60.0)
    for outcome, count in (("ok", ok), ("slow", slow), ("failed", failed)):
        for _ in range(count):
            made.add(outcome, 0.0)  # type: ignore[arg-type]
    return made


def test_four_failures_in_a_row_open_it_and_three_do_not() -> None:
    assert trips(window(failed=3), POLICY) is None
    assert trips(window(failed=4), POLICY) == "4 of 4 calls failed within 60 s"


def test_successes_outweigh_failures() -> None:
    assert trips(window(ok=10, failed=10), POLICY) is None


def test_a_busy_place_that_goes_out_is_left_alone_at_once() -> None:
    made = window(ok=600)
    for number in range(6):
        assert trips(made, POLICY) is None, number
        made.add("failed", 30.0)
    assert trips(made, POLICY) == "6 of the last 6 calls failed"


def test_a_busy_place_that_fails_now_and_then_is_not() -> None:
    made = window(ok=600)
    for _ in range(20):
        made.add("ok", 30.0)
        made.add("failed", 30.0)
    assert trips(made, POLICY) is None


def test_slow_answers_open_it_only_where_that_is_asked_for() -> None:
    assert trips(window(slow=9), POLICY) is None
    assert trips(window(slow=9), BreakerPolicy(slow_seconds=5)) == "9 of 9 calls took longer than 5 s within 60 s"


def test_the_documented_form_counts_failures_whatever_succeeded() -> None:
    assert trips(window(ok=1000, failed=5), DOCUMENTED) == "5 calls failed within 60 s"
    assert trips(window(failed=4), DOCUMENTED) is None


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from(["ok", "slow", "failed"])), max_size=40))
def test_a_window_holds_what_is_younger_than_itself_and_nothing_older(calls: list[tuple[float, str]]) -> None:
    counted, now, seen = Window(60.0), 0.0, []
    for step, outcome in calls:
        now += step
        counted.add(outcome, now)  # type: ignore[arg-type]
        seen.append((now, outcome))
        for name, found in (("slow", counted.slow), ("failed", counted.failed)):
            young = sum(outcome == name for at, outcome in seen if at > now - 55)
            not_old = sum(outcome == name for at, outcome in seen if at > now - 60)
            assert young <= found <= not_old
        assert counted.total >= counted.slow + counted.failed


def test_a_window_takes_times_that_are_a_little_out_of_order() -> None:
    counted = Window(60.0)
    for now in (100.0, 94.0, 101.0):
        counted.add("failed", now)
    assert counted.failed == 3


def opened(times: int = 0, until: float = 5.0) -> Phase:
    return Phase(state="open", until=until, times=times)


def test_closed_lets_everything_pass() -> None:
    assert permit(CLOSED, POLICY, 0.0, LEASE) == (CLOSED, Pass())


def test_open_refuses_until_its_time_and_then_lets_one_probe_through() -> None:
    phase = tripped(CLOSED, POLICY, 0.0)
    assert permit(phase, POLICY, 4.9, LEASE) == (phase, Refused(5.0))
    phase, permission = permit(phase, POLICY, 5.0, LEASE)
    assert (phase.state, permission) == ("half_open", Probe(125.0))
    assert permit(phase, POLICY, 5.0, LEASE) == (phase, Refused(6.0))


def test_half_open_lets_1_then_2_then_4_through_and_then_closes() -> None:
    phase, now, sizes = opened(), 10.0, []
    while phase.state != "closed":
        leases = []
        while True:
            phase, permission = permit(phase, POLICY, now, LEASE)
            if not isinstance(permission, Probe):
                break
            leases.append(permission.lease)
        sizes.append(len(leases))
        for lease in leases:
            phase = probe_succeeded(phase, POLICY, lease)
        now += 1
    assert sizes == [1, 2, 4]


def test_the_documented_form_lets_3_through_and_closes_after_2_successes() -> None:
    phase, leases = opened(), []
    for now in (10.0, 11.0, 12.0, 13.0):
        phase, permission = permit(phase, DOCUMENTED, now, LEASE)
        leases += [permission.lease] if isinstance(permission, Probe) else []
    assert len(leases) == 3
    phase = probe_succeeded(phase, DOCUMENTED, leases[0])
    assert phase.state == "half_open"
    assert probe_succeeded(phase, DOCUMENTED, leases[1]) == CLOSED


def test_a_failed_probe_opens_again_for_twice_as_long_up_to_the_cap() -> None:
    phase, now, lengths = tripped(CLOSED, POLICY, 0.0), 0.0, []
    for _ in range(5):
        lengths.append(phase.until - now)
        now = phase.until
        phase, permission = permit(phase, POLICY, now, LEASE)
        assert isinstance(permission, Probe)
        phase = probe_failed(phase, POLICY, permission.lease, now)
    assert lengths == [5, 10, 20, 30, 30]


def test_a_cancelled_probe_frees_its_place_and_proves_nothing() -> None:
    phase, permission = permit(opened(), POLICY, 10.0, LEASE)
    assert isinstance(permission, Probe)
    freed = probe_released(phase, permission.lease)
    assert (freed.state, freed.succeeded, freed.probes) == ("half_open", 0, ())
    assert isinstance(permit(freed, POLICY, 11.0, LEASE)[1], Probe)


def test_the_place_of_a_probe_that_died_is_free_after_its_lease() -> None:
    phase, first = permit(opened(), POLICY, 10.0, LEASE)
    assert isinstance(first, Probe)
    assert isinstance(permit(phase, POLICY, 129.0, LEASE)[1], Refused)
    phase, second = permit(phase, POLICY, 131.0, LEASE)
    assert isinstance(second, Probe)
    for late in (
        probe_succeeded(phase, POLICY, first.lease),
        probe_failed(phase, POLICY, first.lease, 132.0),
        probe_released(phase, first.lease),
    ):
        assert late == phase


@pytest.mark.parametrize(
    ("times", "hint", "expected"),
    [(0, 0, 5), (0, 42, 42), (0, 2, 2), (0, 0.001, 1), (0, 1e9, 3600), (1, 2, 10), (1, 42, 42), (10**6, 0, 30)],
)
def test_the_servers_own_time_is_believed_within_bounds(times: int, hint: float, expected: float) -> None:
    assert open_seconds(POLICY, times, hint) == expected


def test_an_open_breaker_takes_in_a_later_time_of_the_servers_and_no_earlier_one() -> None:
    assert tripped(opened(until=5), POLICY, 1.0, 30.0).until == 31
    assert tripped(opened(until=50), POLICY, 1.0, 30.0).until == 50
    assert tripped(opened(until=5), POLICY, 1.0) == opened(until=5)


COUNTED = [
    ServerError("x"),
    OverloadedError("x"),
    ConnectionFailedError("x"),
    AttemptTimeoutError("x"),
    StreamInterruptedError("x"),
    ProcessFailedError("x"),
    ProtocolError("x"),
    OSError("x"),
]
NOT_COUNTED = [
    RateLimitError("x"),
    BadRequestError("x"),
    ContextWindowExceededError("x"),
    AuthenticationError("x"),
    PermissionDeniedError("x"),
    NotFoundError("x"),
    ContentFilteredError("x"),
    UnsupportedError("x"),
    ConfigError("x"),
    CircuitOpenError("x"),
    BudgetExceededError("x"),
    ValidatorError("x"),
    LLMCallError("x"),
    TypeError("x"),
    PermissionError("x"),
]


@pytest.mark.parametrize("error", COUNTED, ids=lambda error: type(error).__name__)
def test_these_are_failures_of_the_place(error: Exception) -> None:
    assert counts(error)


@pytest.mark.parametrize("error", NOT_COUNTED, ids=lambda error: type(error).__name__)
def test_these_say_nothing_of_the_place(error: Exception) -> None:
    assert not counts(error)


def test_excluded_names_do_not_count_nor_what_is_derived_from_them() -> None:
    assert not counts(OverloadedError("x"), ("ServerError",))
    assert not counts(ConnectionResetError("x"), ("OSError",))
    assert counts(ServerError("x"), ("OverloadedError",))


def test_cancellation_is_no_error_that_could_count() -> None:
    assert not issubclass(asyncio.CancelledError, Exception)


EVENTS = st.lists(
    st.tuples(st.sampled_from(["enter", "ok", "fail", "release", "trip"]), st.integers(0, 9), st.floats(0, 40)),
    max_size=60,
)


@given(st.sampled_from([POLICY, DOCUMENTED, BreakerPolicy(probes=(2, 1, 3))]), EVENTS)
def test_at_most_the_allowed_probes_are_out_whatever_the_interleaving(
    policy: BreakerPolicy, events: list[tuple[str, int, float]]
) -> None:
    phase, now, out = tripped(CLOSED, policy, 0.0), 0.0, []
    for event, which, step in events:
        now += step
        before = phase
        if event == "enter":
            phase, permission = permit(phase, policy, now, 50.0)
            if isinstance(permission, Probe):
                out.append(permission.lease)
                assert sum(lease > now for lease in out) <= max(policy.probes)
                assert len(phase.probes) <= policy.probes[phase.stage]
            if isinstance(permission, Refused):
                assert permission.until > now
        elif event == "trip":
            phase = tripped(phase, policy, now)
        elif out:
            lease = out.pop(which % len(out))
            if event == "ok":
                phase = probe_succeeded(phase, policy, lease)
            elif event == "fail":
                phase = probe_failed(phase, policy, lease, now)
            else:
                phase = probe_released(phase, lease)
        if phase.state != "half_open":
            out = []  # what is still out has no say any more
        assert phase.state in _AFTER[before.state]
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(phase), type=Phase) == phase
        assert phase.shifted(0.0) == phase


_AFTER = {
    "closed": {"closed", "open"},
    "open": {"open", "half_open"},
    "half_open": {"half_open", "open", "closed"},
}
