import asyncio
from collections.abc import Callable
from typing import Any, get_args

import pytest

from llm_call.core.domain.errors import CircuitOpenError, ConfigError
from llm_call.core.policy.backoff import Strategy
from llm_call.core.policy.breaker import BreakerPolicy
from llm_call.core.retry import STRATEGIES, ExponentialBackoffRetry, RetryManager
from llm_call.testing.clock import FakeClock


class Flaky:
    """Fails so many times with an error, then answers."""

    def __init__(self, failures: int, error: type[BaseException] = ConnectionError) -> None:
        self.failures = failures
        self.error = error
        self.calls = 0

    async def __call__(self, answer: str = "ok") -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error("not now")
        return answer


def sleeps(retry: Callable[[FakeClock], Any], failures: int) -> list[float]:
    clock = FakeClock()
    clock.run(retry(clock).execute(Flaky(failures)))
    return clock.sleeps


def test_exponential_backoff_delays_are_1_2_4_seconds() -> None:
    found = sleeps(lambda clock: ExponentialBackoffRetry(max_attempts=4, jitter=False, clock=clock), 3)
    assert found == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(("chance", "factor"), [(0.0, 0.5), (0.5, 1.0), (0.999999, 1.5)])
def test_exponential_backoff_jitter_lies_between_half_and_one_and_a_half(chance: float, factor: float) -> None:
    found = sleeps(lambda clock: ExponentialBackoffRetry(max_attempts=4, clock=clock, random=lambda: chance), 3)
    assert found == pytest.approx([1 * factor, 2 * factor, 4 * factor], rel=1e-5)


def test_exponential_backoff_applies_the_cap_after_the_jitter() -> None:
    retry = lambda clock: ExponentialBackoffRetry(  # noqa: E731  (read in one line)
        max_attempts=8, max_delay=60, clock=clock, random=lambda: 0.999
    )
    assert max(sleeps(retry, 7)) == 60


def test_exponential_backoff_does_not_overflow_at_any_attempt() -> None:
    backoff = ExponentialBackoffRetry(max_attempts=10**6).policy.backoff
    assert [backoff.delay(failures, 0.999) for failures in (1024, 1025, 10**6)] == [60, 60, 60]


def test_exponential_backoff_hands_on_arguments_and_returns_the_answer() -> None:
    clock = FakeClock()
    assert clock.run(ExponentialBackoffRetry(clock=clock).execute(Flaky(2), answer="yes")) == "yes"


def test_exponential_backoff_raises_the_last_error_unchanged() -> None:
    clock, flaky = FakeClock(), Flaky(9)
    with pytest.raises(ConnectionError, match="not now"):
        clock.run(ExponentialBackoffRetry(max_attempts=3, clock=clock).execute(flaky))
    assert (flaky.calls, len(clock.sleeps)) == (3, 2)


@pytest.mark.parametrize(
    "error",
    [TypeError, AttributeError, NameError, KeyError, IndexError, AssertionError, NotImplementedError, ImportError, PermissionError],
)  # fmt: skip
def test_exponential_backoff_never_retries_a_mistake(error: type[Exception]) -> None:
    clock, flaky = FakeClock(), Flaky(1, error)
    with pytest.raises(error):
        clock.run(ExponentialBackoffRetry(clock=clock).execute(flaky))
    assert flaky.calls == 1


def test_exponential_backoff_never_swallows_a_cancellation() -> None:
    clock, flaky = FakeClock(), Flaky(1, asyncio.CancelledError)
    with pytest.raises(asyncio.CancelledError):
        clock.run(ExponentialBackoffRetry(clock=clock).execute(flaky))
    assert flaky.calls == 1


def test_exponential_backoff_retries_synchronous_functions_too() -> None:
    calls: list[int] = []

    def answer() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise OSError("not now")
        return len(calls)

    clock = FakeClock()
    assert clock.run(ExponentialBackoffRetry(clock=clock).execute(answer)) == 3


@pytest.mark.parametrize("attempts", [0, -1])
def test_no_attempt_at_all_is_a_configuration_error(attempts: int) -> None:
    with pytest.raises(ConfigError, match="max_attempts"):
        ExponentialBackoffRetry(max_attempts=attempts)


@pytest.mark.parametrize(
    ("strategy", "keywords", "expected"),
    [
        ("immediate", {}, [0, 0, 0, 0]),
        ("basic", {"base_delay": 2}, [2, 2, 2, 2]),
        ("linear", {}, [1, 2, 3, 4]),
        ("exponential", {"factor": 3}, [1, 3, 9, 27]),
        ("exponential", {"backoff_factor": 3, "initial_delay": 2}, [2, 6, 18, 54]),
        ("fibonacci", {}, [1, 1, 2, 3]),
        ("custom", {"delays": [5, 7]}, [5, 7, 7, 7]),
    ],
)
def test_strategies_by_name(strategy: str, keywords: dict[str, Any], expected: list[float]) -> None:
    found = sleeps(lambda clock: RetryManager(strategy, max_attempts=5, jitter=False, clock=clock, **keywords), 4)
    assert found == expected


def test_every_strategy_has_a_name() -> None:
    assert set(STRATEGIES) == set(get_args(Strategy))


@pytest.mark.parametrize(
    ("strategy", "keywords", "hint"),
    [
        ("exponental", {}, "exponential"),
        ("exponential", {"max_attemps": 3}, "max_attempts"),
        ("custom", {}, "delays"),
        ("linear", {"base_delay": -1}, "0 or more"),
    ],
)
def test_a_wrong_strategy_or_keyword_says_what_is_right(strategy: str, keywords: dict[str, Any], hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RetryManager(strategy, **keywords)
    assert hint in caught.value.hint


BREAKER: dict[str, Any] = {
    "enable_circuit_breaker": True,
    "circuit_breaker_config": {"failure_threshold": 3, "timeout": 10},
}


def test_the_calls_of_one_manager_share_a_breaker_that_raises_at_once_when_it_is_open() -> None:
    clock, flaky = FakeClock(), Flaky(99)
    manager = RetryManager(max_attempts=2, jitter=False, clock=clock, **BREAKER)
    with pytest.raises(ConnectionError):
        clock.run(manager.execute(flaky))
    with pytest.raises(CircuitOpenError):  # the third failure opened it
        clock.run(manager.execute(flaky))
    slept = len(clock.sleeps)
    with pytest.raises(CircuitOpenError) as caught:
        clock.run(manager.execute(flaky))
    assert (flaky.calls, len(clock.sleeps)) == (3, slept)
    assert caught.value.retry_after == pytest.approx(9)  # it waited a second before it was told
    clock.run(RetryManager(clock=clock, **BREAKER).execute(Flaky(0)))


def test_the_breaker_of_a_manager_closes_after_two_successes() -> None:
    clock = FakeClock()
    manager = RetryManager(max_attempts=1, clock=clock, **BREAKER)
    for _ in range(3):
        with pytest.raises(ConnectionError):
            clock.run(manager.execute(Flaky(1)))
    clock.advance(10)
    for _ in range(2):
        clock.run(manager.execute(Flaky(0)))
    for _ in range(2):
        with pytest.raises(ConnectionError):
            clock.run(manager.execute(Flaky(1)))
    assert clock.run(manager.execute(Flaky(0))) == "ok"


def test_excluded_exceptions_and_mistakes_do_not_count_for_the_breaker() -> None:
    clock = FakeClock()
    config: dict[str, Any] = {"failure_threshold": 1, "excluded_exceptions": ["ConnectionError"]}
    manager = RetryManager(max_attempts=1, clock=clock, enable_circuit_breaker=True, circuit_breaker_config=config)
    for error in (ConnectionResetError, TypeError, ConnectionError):
        with pytest.raises(error):
            clock.run(manager.execute(Flaky(1, error)))
    assert clock.run(manager.execute(Flaky(0))) == "ok"


def test_exponential_backoff_takes_a_breaker_too() -> None:
    clock = FakeClock()
    retry = ExponentialBackoffRetry(max_attempts=1, clock=clock, breaker=BreakerPolicy(failures=1))
    with pytest.raises(ConnectionError):
        clock.run(retry.execute(Flaky(1)))
    with pytest.raises(CircuitOpenError):
        clock.run(retry.execute(Flaky(0)))


def test_a_cancelled_call_says_nothing_to_the_breaker() -> None:
    clock = FakeClock()
    retry = ExponentialBackoffRetry(max_attempts=1, clock=clock, breaker=BreakerPolicy(failures=1))
    with pytest.raises(asyncio.CancelledError):
        clock.run(retry.execute(Flaky(1, asyncio.CancelledError)))
    assert clock.run(retry.execute(Flaky(0))) == "ok"
