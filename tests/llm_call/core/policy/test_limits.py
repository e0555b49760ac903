from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.policy.limits import Bucket, Concurrency, ConcurrencyPolicy, put_back, take


def taken(bucket: Bucket | None, amount: float, now: float, patience: float = inf) -> tuple[Bucket, float]:
    bucket, found = take(bucket, 60.0, least=amount, most=amount, patience=patience, now=now)
    return bucket, found.wait


def test_a_minutes_worth_may_come_at_once_and_the_rest_as_it_is_refilled() -> None:
    bucket, wait = taken(None, 60, 0.0)
    assert wait == 0
    bucket, wait = taken(bucket, 1, 0.0)
    assert wait == 1
    assert taken(bucket, 1, 2.0)[1] == 0


def test_those_that_wait_are_served_in_turn() -> None:
    bucket, _ = taken(None, 60, 0.0)
    waits = []
    for _ in range(3):
        bucket, wait = taken(bucket, 2, 0.0)
        waits.append(wait)
    assert waits == [2, 4, 6]


def test_who_has_no_patience_takes_nothing() -> None:
    bucket, _ = taken(None, 60, 0.0)
    after, wait = taken(bucket, 3, 0.0, patience=2.9)
    assert (after, wait) == (bucket, 3)


def test_more_than_a_minutes_worth_waits_for_all_of_it() -> None:
    assert taken(None, 90, 0.0)[1] == 30


def test_a_process_that_shares_a_bucket_takes_ahead_only_what_is_there() -> None:
    bucket, found = take(Bucket(level=5, at=0), 60, least=1, most=10, patience=inf, now=0)
    assert (found.amount, found.wait, bucket.level) == (5, 0, 0)


def test_what_was_not_used_goes_back_and_what_was_used_beyond_is_owed() -> None:
    assert put_back(Bucket(level=10, at=0), 60, 5).level == 15
    assert put_back(Bucket(level=10, at=0), 60, 500).level == 60
    assert taken(put_back(Bucket(level=10, at=0), 60, -20), 0, 0.0)[1] == 10


@given(
    st.floats(0.5, 600),
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 100), st.floats(0, 50), st.floats(0, 60)), max_size=40),
)
def test_a_bucket_never_gives_more_than_its_rate_and_one_minutes_worth(
    per_minute: float, requests: list[tuple[float, float, float, float]]
) -> None:
    bucket, now, uses = None, 0.0, []
    for step, least, ahead, patience in requests:
        now += step
        bucket, found = take(bucket, per_minute, least=least, most=least + ahead, patience=patience, now=now)
        if found.wait <= patience:
            assert least <= found.amount <= least + ahead
            uses.append((now + found.wait, found.amount))
    for at, _ in uses:
        given_out = sum(amount for when, amount in uses if when <= at)
        assert given_out <= per_minute * at / 60 + per_minute + 1e-6 * (1 + given_out)


def test_nobody_is_limited_before_the_place_speaks_of_a_limit() -> None:
    assert Concurrency(ConcurrencyPolicy()).limit == inf


def test_a_rate_limit_leaves_half_of_what_was_under_way() -> None:
    sizes = Concurrency(ConcurrencyPolicy())
    assert sizes.throttled(40, 40, 40, 0.0)
    assert sizes.limit == 20


def test_an_episode_is_one_cut() -> None:
    sizes = Concurrency(ConcurrencyPolicy())
    assert [sizes.throttled(number, 40, 40, 0.0) for number in (3, 40, 17)] == [True, False, False]
    assert sizes.throttled(41, 45, 20, 1.0)
    assert sizes.limit == 10


def test_it_grows_by_one_in_the_time_of_a_call_and_after_a_calm_minute_it_doubles() -> None:
    sizes = Concurrency(ConcurrencyPolicy())
    sizes.throttled(20, 20, 20, 0.0)
    for _ in range(10):
        sizes.succeeded(10, 30.0)
    assert sizes.limit == pytest.approx(10.95, abs=0.01)
    for _ in range(10):
        sizes.succeeded(20, 60.0)
    assert sizes.limit == pytest.approx(20.95, abs=0.01)


def test_a_set_start_doubles_until_the_first_rate_limit() -> None:
    sizes = Concurrency(ConcurrencyPolicy(start=4, most=10))
    grown = []
    for _ in range(8):
        sizes.succeeded(int(sizes.limit), 0.0)
        grown.append(sizes.limit)
    assert grown == [5, 6, 7, 8, 9, 10, 10, 10]


def test_it_does_not_grow_while_it_holds_nobody_back() -> None:
    sizes = Concurrency(ConcurrencyPolicy(start=10))
    sizes.succeeded(3, 0.0)
    assert sizes.limit == 10


@given(
    st.integers(1, 50) | st.none(),
    st.integers(1, 50) | st.none(),
    st.lists(st.tuples(st.booleans(), st.integers(1, 60), st.integers(0, 30), st.floats(0, 90)), max_size=60),
)
def test_the_limit_stays_within_its_bounds_and_one_episode_is_one_cut(
    start: int | None, most: int | None, events: list[tuple[bool, int, int, float]]
) -> None:
    sizes, now = Concurrency(ConcurrencyPolicy(start=start, most=most)), 0.0
    cuts: list[int] = []
    for newest, (succeeds, under_way, back, step) in enumerate(events, 1):
        now += step
        before = sizes.limit
        if succeeds:
            sizes.succeeded(under_way, now)
            assert sizes.limit >= before
        else:
            number = max(newest - back, 1)
            if sizes.throttled(number, newest, under_way, now):
                assert all(number > cut for cut in cuts)
                cuts.append(newest)
                assert sizes.limit <= max(before * 0.5, 1)
            else:
                assert sizes.limit == before
        assert 1 <= sizes.limit <= (most or inf)
