import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.errors import (
    AuthenticationError,
    BadRequestError,
    CircuitOpenError,
    ConfigError,
    RateLimitError,
    ServerError,
)
from llm_call.core.policy.backoff import Backoff
from llm_call.core.policy.decision import Decision, Failed, GiveUp, NextTarget, Retry
from llm_call.core.policy.retry import RetryPolicy

DOWN = ServerError("down", status=503)


def failures(*errors: Exception, target: int = 0) -> list[Failed]:
    return [Failed(target=target, error=error, at=0.0) for error in errors]


def decide(policy: RetryPolicy, history: list[Failed], *, targets: int = 1, now: float = 0.0) -> Decision:
    return policy.decide(history, onward=following(history, targets), now=now, chance=1.0)


def following(history: list[Failed], targets: int) -> int | None:
    return history[-1].target + 1 if history[-1].target + 1 < targets else None


def test_a_failure_that_may_pass_is_tried_again_after_the_backoff() -> None:
    policy = RetryPolicy(backoff=Backoff(base=2))
    assert decide(policy, failures(DOWN)) == Retry(delay=2, why="ServerError 503")
    assert decide(policy, failures(DOWN, DOWN)) == Retry(delay=4, why="ServerError 503")


def test_after_the_last_attempt_comes_the_next_target_or_the_end() -> None:
    history = failures(DOWN, DOWN, DOWN)
    assert isinstance(decide(RetryPolicy(max_attempts=3), history), GiveUp)
    assert decide(RetryPolicy(max_attempts=3), history, targets=2) == NextTarget(target=1, why="ServerError 503")


def test_each_target_has_its_own_attempts() -> None:
    history = failures(DOWN, DOWN, DOWN) + failures(DOWN, target=1)
    assert isinstance(decide(RetryPolicy(max_attempts=3), history, targets=2), Retry)


def test_a_wrong_key_goes_elsewhere_at_once_and_a_wrong_request_nowhere() -> None:
    assert isinstance(decide(RetryPolicy(), failures(AuthenticationError("no", status=401)), targets=2), NextTarget)
    assert isinstance(decide(RetryPolicy(), failures(BadRequestError("no", status=400)), targets=2), GiveUp)


def test_the_servers_wish_counts_where_it_is_longer() -> None:
    limited = RateLimitError("slow down", status=429, retry_after=20)
    decision = decide(RetryPolicy(), failures(limited))
    assert decision == Retry(delay=20, why="RateLimitError 429, the server asks for 20 s")


def test_no_wait_ends_after_the_deadline() -> None:
    limited = RateLimitError("slow down", status=429, retry_after=20)
    policy = RetryPolicy(deadline=110.0)
    assert isinstance(decide(policy, failures(limited), now=95.0), GiveUp)
    assert isinstance(decide(policy, failures(limited), now=95.0, targets=2), NextTarget)
    assert isinstance(decide(policy, failures(limited), now=85.0), Retry)


def test_a_long_wish_is_not_waited_out_while_another_target_is_free() -> None:
    limited = RateLimitError("slow down", status=429, retry_after=20)
    assert isinstance(decide(RetryPolicy(patience=5), failures(limited), targets=2), NextTarget)
    assert isinstance(decide(RetryPolicy(patience=30), failures(limited), targets=2), Retry)


def test_without_a_deadline_no_wish_is_waited_out_for_ever() -> None:
    limited = RateLimitError("come back tomorrow", status=429, retry_after=86_400)
    assert isinstance(decide(RetryPolicy(), failures(limited)), GiveUp)
    assert isinstance(decide(RetryPolicy(deadline=100_000), failures(limited)), Retry)


def test_an_open_breaker_is_waited_for_by_a_call_with_a_deadline_or_not_for_long() -> None:
    soon, late = CircuitOpenError("open", retry_after=5), CircuitOpenError("open", retry_after=20)
    assert isinstance(decide(RetryPolicy(patience=5), failures(soon)), Retry)
    assert decide(RetryPolicy(patience=5), failures(late)) == GiveUp(why="its breaker is open")
    assert isinstance(decide(RetryPolicy(patience=5, deadline=60), failures(late)), Retry)
    assert isinstance(decide(RetryPolicy(patience=5, deadline=60), failures(late), targets=2), NextTarget)


def test_where_the_retry_budget_is_used_up_the_next_target_is_asked_or_none() -> None:
    def spent(onward: int | None) -> Decision:
        return RetryPolicy().decide(failures(DOWN), onward=onward, now=0.0, chance=1.0, affordable=False)

    assert spent(1) == NextTarget(target=1, why="ServerError 503")
    assert spent(None) == GiveUp(why="the retry budget is used up")


def test_no_attempt_at_all_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="max_attempts"):
        RetryPolicy(max_attempts=0)


ERRORS = st.sampled_from([DOWN, RateLimitError("x", retry_after=3600), AuthenticationError("x"), BadRequestError("x"), KeyError("x")])  # fmt: skip


@given(
    st.lists(ERRORS, min_size=1, max_size=50), st.integers(1, 4), st.integers(1, 5), st.floats(0, 100), st.floats(0, 1)
)
def test_whatever_fails_the_attempts_end_within_limit_and_deadline(
    errors: list[Exception], targets: int, limit: int, deadline: float, chance: float
) -> None:
    policy = RetryPolicy(max_attempts=limit, deadline=deadline)
    history: list[Failed] = []
    now, target = 0.0, 0
    for number in range(limit * targets + 1):
        history.append(Failed(target=target, error=errors[number % len(errors)], at=now))
        decision = policy.decide(history, onward=following(history, targets), now=now, chance=chance)
        if isinstance(decision, GiveUp):
            break
        if isinstance(decision, Retry):
            now += decision.delay
            assert now < deadline or decision.delay == 0
        else:
            target = decision.target
    assert len(history) <= limit * targets
    assert target < targets
