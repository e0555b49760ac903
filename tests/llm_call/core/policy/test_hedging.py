from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.policy.hedging import LEAST_SAMPLES, Hedges, HedgingPolicy


def test_a_place_of_which_little_is_known_is_never_late() -> None:
    hedges = Hedges(HedgingPolicy(enabled=True))
    for _ in range(LEAST_SAMPLES - 1):
        hedges.observe("a", 1.0)
    assert hedges.delay("a") is None
    hedges.observe("a", 1.0)
    assert (hedges.delay("a"), hedges.delay("b")) == (1.0, None)


def test_late_is_what_takes_longer_than_nearly_all_that_was_measured_of_late() -> None:
    hedges = Hedges(HedgingPolicy(enabled=True))
    for seconds in (*[99.0] * 100, *range(100)):
        hedges.observe("a", seconds)
    assert hedges.delay("a") == 95


def test_switched_off_nothing_is_late() -> None:
    hedges = Hedges(HedgingPolicy())
    for _ in range(LEAST_SAMPLES):
        hedges.observe("a", 1.0)
    assert hedges.delay("a") is None


@given(st.floats(0.01, 1), st.lists(st.booleans(), max_size=200))
def test_no_more_than_the_share_of_all_calls_is_hedged(share: float, late: list[bool]) -> None:
    hedges, hedged = Hedges(HedgingPolicy(enabled=True, share=share)), 0
    for calls, is_late in enumerate(late, start=1):
        hedges.delay("a")
        hedged += is_late and hedges.may_hedge()
        assert hedged <= share * calls
