from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llm_call.core.domain.errors import (
    BadRequestError,
    ConfigError,
    ContextWindowExceededError,
    DeadlineExceededError,
    LLMCallError,
    RateLimitError,
    UnsupportedError,
)
from llm_call.core.domain.messages import message
from llm_call.core.domain.request import Request
from llm_call.core.policy.routing import (
    EXPLORED,
    FAILURE_SECONDS,
    STALE_SECONDS,
    Candidate,
    Latency,
    Route,
    RouteTarget,
    Strategy,
    conversation_key,
    is_targets_fault,
    measured,
    order,
)

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
LATENCIES = st.builds(Latency, seconds=st.floats(0, 1e6), at=st.floats(-1e6, 1e6))
WEIGHTS = st.sampled_from([0.0, 1e-9, 1.0, 2.5, 1e6]) | st.floats(0, 1e6)
CANDIDATES = st.lists(
    st.builds(
        Candidate,
        name=st.text(max_size=8),
        weight=WEIGHTS,
        latency=st.none() | LATENCIES,
        cost=st.none() | st.decimals(0, 1000, allow_nan=False, places=6),
    ),
    max_size=8,
    unique_by=lambda each: each.name,
)
CHANCE = st.floats(0, 1, exclude_max=True)


def names(candidates: Sequence[Candidate], strategy: Strategy, **facts: Any) -> list[str]:
    return [candidates[index].name for index in order(candidates, strategy, **facts)]


@given(CANDIDATES, st.sampled_from(STRATEGIES), st.text(max_size=8), CHANCE, st.floats(-1e6, 1e6))
def test_an_order_holds_each_candidate_once(
    candidates: list[Candidate], strategy: Strategy, key: str, chance: float, now: float
) -> None:
    assert sorted(order(candidates, strategy, key=key, chance=chance, now=now)) == list(range(len(candidates)))


@given(CANDIDATES, st.sampled_from(["priority", "cheapest", "sticky"]), st.text(max_size=8), st.data())
def test_one_less_leaves_the_order_of_the_others(
    candidates: list[Candidate], strategy: Strategy, key: str, data: st.DataObject
) -> None:
    assume(candidates)
    gone = data.draw(st.sampled_from(candidates))
    rest = [each for each in candidates if each is not gone]
    assert names(rest, strategy, key=key) == [n for n in names(candidates, strategy, key=key) if n != gone.name]


def test_priority_is_the_order_of_the_list() -> None:
    assert names([Candidate(name="b"), Candidate(name="a")], "priority") == ["b", "a"]


def test_weights_are_the_shares_of_the_first_places() -> None:
    candidates = [Candidate(name="a", weight=1), Candidate(name="b", weight=3), Candidate(name="c", weight=6)]
    steps = 10_000
    firsts = Counter(names(candidates, "weighted", chance=(step + 0.5) / steps)[0] for step in range(steps))
    assert firsts == {"a": 1000, "b": 3000, "c": 6000}


def test_weights_are_the_shares_of_the_later_places_too() -> None:
    candidates = [Candidate(name="a", weight=5), Candidate(name="b", weight=1), Candidate(name="c", weight=3)]
    steps = 20_000
    drawn = (names(candidates, "weighted", chance=(step + 0.5) / steps) for step in range(steps))
    seconds = Counter(each[1] for each in drawn if each[0] == "a")
    assert seconds["c"] / seconds.total() == pytest.approx(3 / 4, abs=0.001)


@given(CANDIDATES, CHANCE)
def test_weight_zero_is_the_last_resort(candidates: list[Candidate], chance: float) -> None:
    weights = [candidates[index].weight > 0 for index in order(candidates, "weighted", chance=chance)]
    assert weights == sorted(weights, reverse=True)


@given(CANDIDATES)
def test_the_cheapest_comes_first_and_an_unknown_price_last(candidates: list[Candidate]) -> None:
    costs = [candidates[index].cost for index in order(candidates, "cheapest")]
    known = [cost for cost in costs if cost is not None]
    assert known == sorted(known)
    assert costs == [*known, *[None] * (len(costs) - len(known))]


def test_without_prices_the_order_is_that_of_the_list() -> None:
    assert names([Candidate(name="b"), Candidate(name="a")], "cheapest") == ["b", "a"]
    free = [Candidate(name="b", cost=Decimal(1)), Candidate(name="a", cost=Decimal(0))]
    assert names(free, "cheapest") == ["a", "b"]


def fast_and_slow(at: float = 0.0) -> list[Candidate]:
    return [
        Candidate(name="new"),
        Candidate(name="slow", latency=Latency(seconds=5, at=at)),
        Candidate(name="fast", latency=Latency(seconds=1, at=at)),
    ]


def test_the_fastest_comes_first_and_an_unknown_one_last() -> None:
    assert names(fast_and_slow(), "least_latency", chance=EXPLORED) == ["fast", "slow", "new"]


def test_now_and_then_an_unknown_one_is_tried_first() -> None:
    assert names(fast_and_slow(), "least_latency", chance=EXPLORED / 2) == ["new", "fast", "slow"]


def test_what_was_not_asked_for_long_is_tried_again_and_what_is_known_is_not() -> None:
    known = fast_and_slow()[1:]
    assert names(known, "least_latency", now=STALE_SECONDS) == ["fast", "slow"]
    aged = [known[0], Candidate(name="fast", latency=Latency(seconds=1, at=50))]
    assert names(aged, "least_latency", now=STALE_SECONDS + 1) == ["slow", "fast"]


@given(st.text(max_size=8), st.integers(2, 6))
def test_a_key_has_its_place_and_only_a_lost_targets_keys_move(key: str, count: int) -> None:
    candidates = [Candidate(name=f"target/{number}") for number in range(count)]
    first, second, *_ = names(candidates, "sticky", key=key)
    assert names(candidates[::-1], "sticky", key=key)[0] == first
    assert names([each for each in candidates if each.name != first], "sticky", key=key)[0] == second


def test_keys_spread_in_proportion_to_the_weights() -> None:
    candidates = [Candidate(name="a", weight=1), Candidate(name="b", weight=3), Candidate(name="c", weight=0)]
    firsts = Counter(names(candidates, "sticky", key=str(number))[0] for number in range(4000))
    assert set(firsts) == {"a", "b"}
    assert firsts["b"] / 4000 == pytest.approx(3 / 4, abs=0.03)


def test_a_mean_follows_what_is_measured() -> None:
    first = measured(None, 1.0, failed=False, now=0)
    assert first == Latency(seconds=1, at=0)
    assert measured(first, 2.0, failed=False, now=0).seconds == pytest.approx(1.1)
    assert measured(first, 2.0, failed=False, now=30).seconds == pytest.approx(1.5)
    assert measured(first, 2.0, failed=False, now=1e9).seconds == pytest.approx(2.0)
    assert measured(first, 1.0, failed=True, now=30).seconds == pytest.approx(1 + FAILURE_SECONDS / 2)


@given(LATENCIES, st.floats(0, 1e6), st.booleans(), st.floats(-1e9, 1e9))
def test_a_mean_lies_between_the_old_and_the_new(before: Latency, seconds: float, failed: bool, now: float) -> None:
    after = measured(before, seconds, failed=failed, now=now).seconds
    low, high = sorted([before.seconds, seconds + FAILURE_SECONDS * failed])
    assert low - 1e-6 <= after <= high + 1e-6


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RateLimitError("no", status=429), True),
        (DeadlineExceededError("no"), True),
        (BadRequestError("no", status=400), False),
        (ContextWindowExceededError("no", status=400), False),
        (UnsupportedError("no"), False),
    ],
)
def test_only_a_failure_of_the_target_counts_against_it(error: LLMCallError, expected: bool) -> None:
    assert is_targets_fault(error) is expected


def conversation(*texts: str) -> Request:
    turns = [
        message("system", "Be brief."),
        *(message("assistant" if n % 2 else "user", t) for n, t in enumerate(texts)),
    ]
    return Request(model="", messages=tuple(turns))


@given(st.lists(st.text(), min_size=1), st.lists(st.text()))
def test_a_conversation_keeps_its_key_as_it_goes_on(before: list[str], after: list[str]) -> None:
    assert conversation_key(conversation(*before)) == conversation_key(conversation(*before, *after))


def test_another_beginning_is_another_conversation() -> None:
    assert conversation_key(conversation("a")) != conversation_key(conversation("b"))


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), 1e7])
def test_a_weight_that_cannot_be_is_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match="weight"):
        RouteTarget(model="a", weight=weight)


def test_a_route_is_read_from_plain_data() -> None:
    table = {"targets": ["a/b", {"model": "c/d", "weight": 2}], "strategy": "weighted"}
    route = msgspec.convert(table, Route)
    assert route.members == (RouteTarget(model="a/b"), RouteTarget(model="c/d", weight=2))
    with pytest.raises(ConfigError, match="needs a target"):
        msgspec.convert({"targets": []}, Route)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**table, "strategy": "fastest"}, Route)


def test_chance_at_its_ends_draws_too() -> None:
    candidates = [Candidate(name=str(number), weight=1 / (number + 1)) for number in range(20)]
    for chance in (0.0, 1 - 2**-53, 1.0):
        assert len(set(names(candidates, "weighted", chance=chance))) == 20
