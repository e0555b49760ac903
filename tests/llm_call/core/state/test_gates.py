"""The gates of one process, on a virtual clock."""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from llm_call.core.domain.errors import (
    BadRequestError,
    CircuitOpenError,
    LocalLimitError,
    RateLimitError,
    ServerError,
)
from llm_call.core.domain.response import Usage
from llm_call.core.policy.breaker import BreakerPolicy
from llm_call.core.policy.limits import ConcurrencyPolicy, Limit
from llm_call.core.policy.retry_budget import RetryBudgetPolicy
from llm_call.core.state.common import Common, GateChange
from llm_call.core.state.gates import GatePolicies, Gates, Permit, Place, place_of
from llm_call.core.transport.base import SystemClock
from llm_call.testing.clock import FakeClock

PLACE = Place(provider="openai", model="gpt-5", base_url="https://h/v1", credential="c")
DOWN = ServerError("down", status=500)


class World:
    """Gates on a virtual clock, and what they told."""

    def __init__(self, **policies: Any) -> None:
        self.clock = FakeClock()
        self.news: list[GateChange] = []
        self.gates = Gates(GatePolicies(**policies), clock=self.clock, listen=self.news.append)

    @property
    def kinds(self) -> list[str]:
        return [change.kind for change in self.news]

    async def fail(self, times: int = 1, error: Exception = DOWN, place: Place = PLACE) -> None:
        for _ in range(times):
            with await self.gates.enter(place) as permit:
                permit.failed(error, 0.1)

    async def succeed(self, place: Place = PLACE, **headers: str) -> Permit:
        with await self.gates.enter(place) as permit:
            permit.succeeded(0.1, {name.replace("_", "-"): value for name, value in headers.items()})
        return permit


def run(check: Callable[[World], Awaitable[Any]], **policies: Any) -> World:
    world = World(**policies)

    async def main() -> None:
        await check(world)

    world.clock.run(main())
    return world


def test_four_failures_in_a_row_close_the_place_for_five_seconds() -> None:
    async def check(world: World) -> None:
        await world.fail(4)
        with pytest.raises(CircuitOpenError, match="openai/gpt-5 failed too often") as caught:
            await world.gates.enter(PLACE)
        assert caught.value.retry_after == 5
        assert caught.value.failure().retry_after == 5
        await world.gates.enter(Place(provider="openai", model="another"))

    assert run(check).news == [
        GateChange(kind="opened", place="openai/gpt-5", why="4 of 4 calls failed within 60 s", seconds=5.0)
    ]


def test_a_place_that_recovers_is_tried_by_one_then_two_then_four_calls() -> None:
    async def check(world: World) -> None:
        await world.fail(4)
        for places in (1, 2, 4):
            world.clock.advance(5)
            probes = [await world.gates.enter(PLACE) for _ in range(places)]
            assert all(probe.probe for probe in probes)
            with pytest.raises(CircuitOpenError):
                await world.gates.enter(PLACE)
            for probe in probes:
                probe.succeeded(0.1, {})
        assert not (await world.gates.enter(PLACE)).probe

    assert run(check).kinds == ["opened", "probing", "closed"]


def test_what_failed_before_it_closed_again_is_forgotten() -> None:
    async def check(world: World) -> None:
        await world.fail(4)
        world.clock.advance(5)
        for _ in range(7):
            await world.succeed()
        await world.fail(3)
        await world.gates.enter(PLACE)

    run(check)


@pytest.mark.parametrize("error", [RateLimitError("slow down"), BadRequestError("x")])
def test_a_probe_that_meets_what_does_not_count_frees_its_place(error: Exception) -> None:
    async def check(world: World) -> None:
        await world.fail(4)
        world.clock.advance(5)
        await world.fail(5, error)
        assert (await world.gates.enter(PLACE)).probe

    run(check)


def test_the_servers_own_time_decides_how_long_it_stays_open() -> None:
    async def check(world: World) -> None:
        await world.fail(4, ServerError("down", status=503, retry_after=42.0))
        with pytest.raises(CircuitOpenError) as caught:
            await world.gates.enter(PLACE)
        assert caught.value.retry_after == 42

    run(check)


@pytest.mark.parametrize("error", [RateLimitError("slow down"), BadRequestError("x"), KeyError("x")])
def test_what_the_place_is_not_at_fault_for_never_opens_it(error: Exception) -> None:
    async def check(world: World) -> None:
        await world.fail(100, error)

    assert "opened" not in run(check).kinds


def test_a_breaker_that_is_disabled_never_opens() -> None:
    async def check(world: World) -> None:
        await world.fail(50)

    assert run(check, breaker=BreakerPolicy(enabled=False)).news == []


def test_slow_answers_open_it_where_asked_for_and_a_slow_probe_opens_it_again() -> None:
    async def check(world: World) -> None:
        for _ in range(4):
            (await world.gates.enter(PLACE)).succeeded(9.0, {})
        world.clock.advance(5)
        (await world.gates.enter(PLACE)).succeeded(9.0, {})

    world = run(check, breaker=BreakerPolicy(slow_seconds=5.0))
    assert world.kinds == ["opened", "probing", "opened"]
    assert world.news[-1].why == "a probe was slow"


def test_calls_with_an_equal_breaker_of_their_own_share_it_and_leave_the_clients_alone() -> None:
    async def check(world: World) -> None:
        for _ in range(2):
            (await world.gates.enter(PLACE, breaker=BreakerPolicy(failures=2))).failed(DOWN, 0.1)
        with pytest.raises(CircuitOpenError):
            await world.gates.enter(PLACE, breaker=BreakerPolicy(failures=2))
        await world.gates.enter(PLACE)

    run(check)


def test_a_permit_ends_once_and_leaving_it_proves_nothing() -> None:
    async def check(world: World) -> None:
        for _ in range(10):
            with await world.gates.enter(PLACE):
                pass
        permit = await world.gates.enter(PLACE)
        permit.succeeded(0.1, {})
        for _ in range(9):
            permit.failed(DOWN, 0.1)
            permit.release()
            permit.succeeded(0.1, {})
        second = await world.gates.enter(PLACE, patience=0)  # the only place is free again, once
        with pytest.raises(LocalLimitError):
            await world.gates.enter(PLACE, patience=0)
        second.release()

    assert run(check, concurrency=ConcurrencyPolicy(most=1)).news == []


def test_calls_at_a_time_wait_in_turn() -> None:
    async def check(world: World) -> None:
        order: list[int] = []

        async def call(number: int) -> None:
            with await world.gates.enter(PLACE) as permit:
                await world.clock.sleep(10)
                permit.succeeded(10, {})
                order.append(number)
                assert permit.waited == pytest.approx(number // 2 * 10)

        await asyncio.gather(*(call(number) for number in range(7)))
        assert order == list(range(7))
        assert world.clock.now() == pytest.approx(40)

    run(check, concurrency=ConcurrencyPolicy(most=2))


def test_calls_that_wait_go_in_turn_until_the_first_has_waited_for_half_of_its_patience_and_the_newest_first_then() -> (
    None
):
    async def check(world: World) -> None:
        order: list[str] = []

        async def call(name: str) -> None:
            with await world.gates.enter(PLACE, patience=40) as permit:
                order.append(name)
                await world.clock.sleep(9)
                permit.succeeded(9, {})

        await asyncio.gather(*(call(name) for name in "abcdef"), return_exceptions=True)
        assert "".join(order) == "abcfe"  # from second 20 on; d has waited for 40 seconds then

    run(check, concurrency=ConcurrencyPolicy(most=1))


def test_who_has_no_patience_gets_an_error_that_reads_as_a_rate_limit() -> None:
    async def check(world: World) -> None:
        await world.gates.enter(PLACE)
        with pytest.raises(RateLimitError, match="openai/gpt-5: its limits leave no room in time") as caught:
            await world.gates.enter(PLACE, patience=3)
        assert isinstance(caught.value, LocalLimitError)
        assert world.clock.now() == pytest.approx(3)

    run(check, concurrency=ConcurrencyPolicy(most=1))


def test_a_place_handed_to_a_cancelled_call_goes_to_the_next() -> None:
    async def check(world: World) -> None:
        first = await world.gates.enter(PLACE)
        second, third = (asyncio.ensure_future(world.gates.enter(PLACE)) for _ in range(2))
        await asyncio.sleep(0)
        first.release()  # hands its place to the second, which never comes to use it
        second.cancel()
        (await third).release()
        (await world.gates.enter(PLACE, patience=0)).release()
        assert second.cancelled()

    run(check, concurrency=ConcurrencyPolicy(most=1))


def test_a_rate_limit_halves_what_goes_out_at_a_time_once_an_episode() -> None:
    async def check(world: World) -> None:
        permits = [await world.gates.enter(PLACE) for _ in range(40)]
        for permit in permits:
            permit.failed(RateLimitError("slow down", status=429), 0.1)
        inside = [await world.gates.enter(PLACE) for _ in range(20)]
        with pytest.raises(LocalLimitError):
            await world.gates.enter(PLACE, patience=0)
        assert len(inside) == 20

    world = run(check)
    assert world.news == [GateChange(kind="slowed", place="openai/gpt-5", why="a rate limit: at most 20 at a time")]


def test_a_place_that_asks_to_wait_is_left_alone_for_as_long() -> None:
    async def check(world: World) -> None:
        await world.fail(1, RateLimitError("slow down", status=429, retry_after=30.0))
        with pytest.raises(LocalLimitError) as caught:
            await world.gates.enter(PLACE, patience=29)
        assert caught.value.retry_after == pytest.approx(30)
        permit = await world.gates.enter(PLACE, patience=31)
        assert permit.waited == pytest.approx(30)

    assert run(check).kinds == ["slowed", "held"]


def test_an_absurd_wish_holds_a_place_for_a_minute_at_the_most() -> None:
    async def check(world: World) -> None:
        await world.fail(1, RateLimitError("slow down", status=429, retry_after=86_400.0))
        assert (await world.gates.enter(PLACE)).waited == pytest.approx(60)

    run(check)


def test_no_quota_at_all_is_no_rate_limit() -> None:
    async def check(world: World) -> None:
        error = RateLimitError("pay", status=429, code="insufficient_quota", retry_after=9.0)
        error.retryable = False
        await world.fail(9, error)
        assert (await world.gates.enter(PLACE)).waited == 0

    assert run(check).news == []


def test_an_answer_that_says_that_nothing_is_left_holds_the_next_one_back() -> None:
    async def check(world: World) -> None:
        await world.succeed(x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests="1.5s")
        assert (await world.gates.enter(PLACE)).waited == pytest.approx(1.5)

    assert run(check).kinds == ["held"]


def test_requests_a_minute_are_kept_for_all_models_that_a_glob_fits_under_one_credential() -> None:
    async def check(world: World) -> None:
        waited = []
        for number in range(63):
            place = Place(provider="openai", model=f"gpt-{number}", credential="c")
            waited.append((await world.gates.enter(place)).waited)
        assert waited[:60] == [0] * 60
        assert waited[60:] == pytest.approx([1, 1, 1])
        for other in (Place(provider="openai", model="gpt-1", credential="d"), Place(provider="groq", model="x")):
            assert (await world.gates.enter(other)).waited == 0

    run(check, limits={"OpenAI/*": Limit(requests_per_minute=60)})


def test_tokens_are_reserved_and_settled_with_what_was_used() -> None:
    async def check(world: World) -> None:
        permit = await world.gates.enter(PLACE, tokens=600)
        with pytest.raises(LocalLimitError) as caught:
            await world.gates.enter(PLACE, tokens=300, patience=5)
        assert caught.value.retry_after == pytest.approx(30)
        permit.succeeded(0.1, {}, Usage(input_tokens=100, output_tokens=50))
        assert (await world.gates.enter(PLACE, tokens=450, patience=0)).waited == 0
        assert (await world.gates.enter(PLACE, tokens=10)).waited == pytest.approx(1)

    run(check, limits={"*": Limit(tokens_per_minute=600)})


@pytest.mark.parametrize("usage", [None, Usage()])
def test_tokens_that_nobody_counted_stay_as_they_were_reserved(usage: Usage | None) -> None:
    async def check(world: World) -> None:
        (await world.gates.enter(PLACE, tokens=600)).succeeded(0.1, {}, usage)
        with pytest.raises(LocalLimitError):
            await world.gates.enter(PLACE, tokens=1, patience=0)

    run(check, limits={"*": Limit(tokens_per_minute=600)})


def test_a_request_whose_tokens_have_no_room_takes_nothing_from_the_requests() -> None:
    async def check(world: World) -> None:
        await world.gates.enter(PLACE, tokens=600)
        for _ in range(99):
            with pytest.raises(LocalLimitError):
                await world.gates.enter(PLACE, tokens=600, patience=0)
        assert (await world.gates.enter(PLACE, tokens=0, patience=0)).waited == 0

    run(check, limits={"*": Limit(requests_per_minute=60, tokens_per_minute=600)})


def test_a_cancelled_wait_takes_nothing_from_a_rate() -> None:
    async def check(world: World) -> None:
        for _ in range(60):
            await world.gates.enter(PLACE)
        waiting = [asyncio.ensure_future(world.gates.enter(PLACE)) for _ in range(10)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert (await world.gates.enter(PLACE)).waited == pytest.approx(1)

    run(check, limits={"*": Limit(requests_per_minute=60, tokens_per_minute=1e9)})


def test_who_waits_for_a_limit_is_refused_when_the_breaker_opens_meanwhile() -> None:
    async def check(world: World) -> None:
        inside = [await world.gates.enter(PLACE) for _ in range(4)]
        waiting = asyncio.ensure_future(world.gates.enter(PLACE))
        await asyncio.sleep(0)
        for permit in inside:
            permit.failed(DOWN, 0.1)
        with pytest.raises(CircuitOpenError):
            await waiting
        world.clock.advance(5)
        (await world.gates.enter(PLACE, patience=0)).release()

    run(check, concurrency=ConcurrencyPolicy(most=4))


def test_retries_are_paid_for_by_successes_for_each_credential() -> None:
    async def check(world: World) -> None:
        assert [await world.gates.may_retry(PLACE) for _ in range(12)] == [True] * 10 + [False] * 2
        assert await world.gates.may_retry(Place(provider="openai", model="gpt-5", credential="other"))
        sibling = Place(provider="openai", model="gpt-6", base_url="https://h/v1", credential="c")
        for _ in range(5):
            await world.succeed(sibling)
        assert [await world.gates.may_retry(PLACE) for _ in range(2)] == [True, False]

    run(check)


def test_a_retry_budget_that_is_disabled_gives_always() -> None:
    async def check(world: World) -> None:
        assert all([await world.gates.may_retry(PLACE) for _ in range(99)])

    run(check, retry_budget=RetryBudgetPolicy(enabled=False))


def test_a_place_shows_no_key_and_is_the_same_in_every_process() -> None:
    headers = {"authorization": "Bearer sk-very-secret", "x-model-type": "a"}
    place = place_of("openai", "gpt-5", "https://h/v1", headers)
    assert place == place_of("openai", "gpt-5", "https://h/v1", dict(reversed(headers.items())))
    assert place != place_of("openai", "gpt-5", "https://h/v1", {"authorization": "Bearer sk-another"})
    assert place.credential == "827667d924bf9c2c"
    assert repr(place) == "Place('openai/gpt-5')"
    assert place_of("local", "m", "", {}).credential == ""


def test_gates_of_places_that_nobody_asks_any_more_are_dropped() -> None:
    async def check(world: World) -> None:
        busy = Place(provider="p", model="busy")
        await world.gates.enter(busy)
        broken = Place(provider="p", model="broken")
        await world.fail(4, ServerError("down", status=503, retry_after=3600.0), place=broken)
        for number in range(100):
            await world.succeed(Place(provider="p", model=f"m{number}"))
        world.clock.advance(1000)
        await world.succeed()
        assert set(world.gates._gates) == {busy, broken, PLACE}
        assert len(world.gates._retries) == 2

    run(check)


def test_gates_are_shared_by_threads_and_their_event_loops() -> None:
    gates = Gates(GatePolicies(concurrency=ConcurrencyPolicy(most=3)), clock=SystemClock())
    inside, most, done, lock = 0, 0, 0, threading.Lock()

    async def call() -> None:
        nonlocal inside, most, done
        with await gates.enter(PLACE) as permit:
            with lock:
                inside += 1
                most = max(most, inside)
            await asyncio.sleep(0)
            with lock:
                inside -= 1
                done += 1
            permit.succeeded(0.0, {})

    async def many() -> None:
        await asyncio.gather(*(call() for _ in range(50)))

    threads = [threading.Thread(target=asyncio.run, args=(many(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (done, inside) == (200, 0)
    assert most <= 3
    assert gates._gates[PLACE].slots.is_idle


def test_who_waited_in_an_event_loop_that_is_gone_is_passed_over() -> None:
    gates = Gates(GatePolicies(concurrency=ConcurrencyPolicy(most=1)), clock=SystemClock())
    first = asyncio.run(gates.enter(PLACE))
    loop = asyncio.new_event_loop()
    gone = loop.create_task(gates.enter(PLACE))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    first.release()
    asyncio.run(gates.enter(PLACE, patience=5)).release()  # raises where the place went to who is gone
    assert gates._gates[PLACE].slots.is_idle
    gone._log_destroy_pending = False  # type: ignore[attr-defined]


def test_policies_are_data_and_can_be_printed() -> None:
    assert "failure_ratio=0.5" in repr(GatePolicies(limits={"openai/*": Limit(requests_per_minute=500)}))


def test_news_that_another_thread_has_told_meanwhile_are_no_error() -> None:
    class Quicker(deque[GateChange]):
        def __bool__(self) -> bool:
            return True  # so it was when it was looked at

    common = Common(FakeClock(), None, None)
    common.news = Quicker()
    common.tell()
    assert not list(common.news)
