"""When something that may be away is asked."""

from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.state.reach import Reach
from llm_call.testing.clock import FakeClock


def _fail(reach: Reach) -> bool:
    attempt = reach.attempt()
    assert attempt is not None
    return reach.failed(attempt)


def test_all_attempts_are_let_through_while_it_answers() -> None:
    reach = Reach(FakeClock().now)
    assert [reach.attempt() for _ in range(3)] == [0, 0, 0]
    assert not reach.rests()
    assert not reach.succeeded(0)


def test_the_failures_of_attempts_that_began_together_are_one() -> None:
    reach = Reach(FakeClock().now)
    attempts = [reach.attempt() for _ in range(5)]
    assert [reach.failed(attempt) for attempt in attempts if attempt is not None] == [True, *[False] * 4]
    assert reach.away


def test_a_late_success_of_an_attempt_that_began_before_the_failure_proves_nothing() -> None:
    reach = Reach(FakeClock().now)
    late = reach.attempt()
    _fail(reach)
    assert late is not None
    assert not reach.succeeded(late)
    assert reach.away


def test_one_attempt_at_a_time_each_later_than_the_last_up_to_half_a_minute() -> None:
    clock = FakeClock()
    reach = Reach(clock.now)
    assert _fail(reach)
    waits = []
    for _ in range(9):
        before = clock.now()
        while reach.rests():
            assert reach.attempt() is None
            clock.advance(0.25)
        waits.append(clock.now() - before)
        assert not _fail(reach)
        assert reach.attempt() is None
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_while_one_attempt_is_under_way_no_other_is_made_and_one_that_is_lost_is_replaced() -> None:
    clock = FakeClock()
    reach = Reach(clock.now)
    _fail(reach)
    clock.advance(0.5)
    assert reach.attempt() == 1  # and is never heard of again
    assert reach.attempt() is None
    clock.advance(0.5)
    second = reach.attempt()
    assert second == 1
    assert reach.succeeded(second)
    assert not reach.away


@given(st.lists(st.sampled_from(["fail", "succeed", "wait"]), max_size=40))
def test_what_is_news_alternates(steps: list[str]) -> None:
    clock = FakeClock()
    reach = Reach(clock.now)
    news = []
    for step in steps:
        if step == "wait":
            clock.advance(30)
        elif (attempt := reach.attempt()) is not None:
            told = reach.failed(attempt) if step == "fail" else reach.succeeded(attempt)
            news += [step] if told else []
    assert news == ["fail", "succeed"] * (len(news) // 2) + ["fail"] * (len(news) % 2)
