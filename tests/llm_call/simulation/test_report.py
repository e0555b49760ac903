"""Figures: percentiles, loads, sums."""

from decimal import Decimal

import pytest

from llm_call.simulation.report import CallOutcome, load_of, percentile, summed_up


@pytest.mark.parametrize(("percent", "value"), [(50, 5), (95, 10), (99, 10), (10, 1), (11, 2)])
def test_percentiles_are_of_nearest_rank(percent: int, value: float) -> None:
    assert percentile(range(1, 11), percent) == value


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile((), 50) is None


def test_the_load_of_a_target_tells_outages_from_the_rest() -> None:
    load = load_of("t", [*range(100), 50.5], [(50, 60)], 100, offered=9)
    assert (load.requests, load.seconds_down, load.rate_down) == (101, 10, 1.1)
    assert load.normal_rate == 1
    assert load.share_of_normal == pytest.approx(1.1)


def test_a_target_that_was_never_up_is_compared_with_all_calls() -> None:
    assert load_of("t", [1.0, 2.0], [(0, 10)], 10, offered=2).share_of_normal == pytest.approx(0.1)


def test_a_target_that_was_never_down_has_no_such_share() -> None:
    assert load_of("t", [1.0], [], 10, offered=2).share_of_normal is None


def test_latencies_are_of_answered_calls_and_an_unknown_price_makes_the_cost_unknown() -> None:
    good = CallOutcome(seconds=1, cost=Decimal("0.5"), attempts=3, retries=2)
    bad = CallOutcome(seconds=9, failure="rejected", cost=Decimal(1))
    report = summed_up("p", [good, bad], ())
    assert (report.success, report.p99, report.cost, report.attempts_per_call) == (0.5, 1, Decimal("1.5"), 2.0)
    assert (report.retries, report.failures) == (2, {"rejected": 1})
    assert summed_up("p", [good, CallOutcome()], ()).cost is None
