"""Gates of several processes, which share a store whose time is its own."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.errors import CircuitOpenError, LocalLimitError, ServerError
from llm_call.core.domain.response import Usage
from llm_call.core.policy.limits import Limit
from llm_call.core.state.common import GateChange
from llm_call.core.state.gates import GatePolicies, Gates, Permit, Place
from llm_call.core.state.store import A, Change, S
from llm_call.testing.clock import FakeClock

PLACE = Place(provider="openai", model="gpt-5", base_url="https://h/v1", credential="c")
DOWN = ServerError("down", status=500)
LIMITS = {"*": Limit(requests_per_minute=600)}


class Store:
    """A store at the other end of a wire: each question takes a while, and its clock is far ahead."""

    def __init__(self, clock: FakeClock, ahead: float = 1e6, takes: float = 0.001) -> None:
        self.clock = clock
        self.ahead = ahead
        self.takes = takes
        self.states: dict[str, bytes] = {}
        self.asked: list[str] = []

    async def update(self, key: str, type_: type[S], change: Change[S, A], *, expires: float) -> A:
        self.asked.append(f"update {key.partition(':')[0]}")
        await asyncio.sleep(self.takes)
        kept = self.states.get(key)
        after, answer = change(
            msgspec.msgpack.decode(kept, type=type_) if kept else None, self.clock.now() + self.ahead
        )
        self.states[key] = msgspec.msgpack.encode(after)
        await asyncio.sleep(self.takes)
        return answer

    async def read(self, key: str, type_: type[S]) -> tuple[S | None, float]:
        self.asked.append(f"read {key.partition(':')[0]}")
        await asyncio.sleep(self.takes)
        kept = self.states.get(key)
        return (msgspec.msgpack.decode(kept, type=type_) if kept else None), self.clock.now() + self.ahead

    async def close(self) -> None:
        pass


class Processes:
    """Two processes, as far as gates can tell."""

    def __init__(self, **policies: Any) -> None:
        self.clock = FakeClock()
        self.store = Store(self.clock)
        self.news: tuple[list[GateChange], ...] = ([], [])
        self.one, self.two = (
            Gates(GatePolicies(**policies), clock=self.clock, listen=news.append, store=self.store)
            for news in self.news
        )

    async def settled(self) -> None:
        await asyncio.sleep(0.01)

    async def break_it(self) -> None:
        for _ in range(4):
            (await self.one.enter(PLACE)).failed(DOWN, 0.1)
        await self.settled()


def run(check: Callable[[Processes], Awaitable[Any]], **policies: Any) -> Processes:
    processes = Processes(**policies)

    async def main() -> None:
        await check(processes)
        await processes.one.close()
        await processes.two.close()

    processes.clock.run(main())
    return processes


async def succeed(gates: Gates) -> None:
    (await gates.enter(PLACE)).succeeded(0.1, {})


def test_no_call_waits_for_the_store_while_the_breaker_is_closed_and_it_is_read_once_a_second() -> None:
    async def check(each: Processes) -> None:
        began = each.clock.now()
        for _ in range(100):
            await succeed(each.one)
        assert each.clock.now() == began
        for _ in range(5):
            await asyncio.sleep(0.5)
            await succeed(each.one)
        assert each.store.asked == ["read breaker"] * 3

    run(check)


def test_another_process_hears_of_an_open_breaker_within_a_second_of_its_next_calls() -> None:
    async def check(each: Processes) -> None:
        await succeed(each.two)
        await each.break_it()
        await succeed(each.two)  # it has looked less than a second ago
        await asyncio.sleep(1)
        await succeed(each.two)  # looks
        await each.settled()
        with pytest.raises(CircuitOpenError) as caught:
            await each.two.enter(PLACE)
        assert caught.value.retry_after == pytest.approx(5 - 1.02, abs=0.02)

    each = run(check)
    assert [(news.kind, news.why) for news in each.news[1]] == [("opened", "another process found it so")]


def test_one_probe_goes_out_in_all_and_its_success_is_everybodys() -> None:
    async def check(each: Processes) -> None:
        await succeed(each.two)
        await each.break_it()
        await asyncio.sleep(5)
        await succeed(each.two)
        await each.settled()  # now both know
        for places in (1, 2, 4):
            probes = await entered(each, 5)
            assert [probe.probe for probe in probes] == [True] * places
            for probe in probes:
                probe.succeeded(0.1, {})
            await each.settled()
        assert len(await entered(each, 5)) == 10

    each = run(check)
    assert [news.kind for news in each.news[0]] == ["opened", "probing", "closed"]


async def entered(each: Processes, count: int) -> list[Permit]:
    tries = [gates.enter(PLACE) for _ in range(count) for gates in (each.one, each.two)]
    found = await asyncio.gather(*tries, return_exceptions=True)
    assert all(isinstance(permit, Permit | CircuitOpenError) for permit in found)
    return [permit for permit in found if isinstance(permit, Permit)]


def test_a_call_that_is_cancelled_while_it_asks_for_a_probe_keeps_no_place() -> None:
    async def check(each: Processes) -> None:
        await each.break_it()
        await asyncio.sleep(5)
        for after in (0.0, 0.0005, 0.0015):
            asking = asyncio.ensure_future(each.one.enter(PLACE))
            await asyncio.sleep(after)
            asking.cancel()
            await each.settled()
            assert asking.cancelled()
        assert (await each.one.enter(PLACE)).probe

    run(check)


def test_the_place_of_a_process_that_died_is_free_after_two_minutes() -> None:
    async def check(each: Processes) -> None:
        await each.break_it()
        await asyncio.sleep(5)
        lost = await each.one.enter(PLACE)
        (await each.two.enter(PLACE)).release()  # it has not heard of anything yet
        await each.settled()
        await asyncio.sleep(60)
        with pytest.raises(CircuitOpenError):
            await each.two.enter(PLACE)
        await asyncio.sleep(61)
        assert (await each.two.enter(PLACE)).probe
        assert lost.probe

    run(check)


def test_a_store_that_has_lost_everything_does_not_close_what_is_open() -> None:
    async def check(each: Processes) -> None:
        await each.break_it()
        each.store.states.clear()
        each.store.ahead = -1e6  # and is another one
        with pytest.raises(CircuitOpenError):
            await each.one.enter(PLACE)
        await asyncio.sleep(5)
        probe = await each.one.enter(PLACE)
        assert probe.probe
        probe.failed(DOWN, 0.1)
        await each.settled()
        with pytest.raises(CircuitOpenError) as caught:
            await each.one.enter(PLACE)
        assert caught.value.retry_after == pytest.approx(10, abs=0.1)

    run(check)


def test_two_processes_share_a_rate_and_do_not_ask_for_every_call() -> None:
    async def check(each: Processes) -> None:
        entered = [0, 0]
        for at, gates in enumerate((each.one, each.two)):
            for _ in range(700):
                try:
                    await gates.enter(PLACE, patience=0)
                except LocalLimitError:
                    break
                entered[at] += 1
        assert 590 <= sum(entered) <= 625  # a minute's worth, and what is refilled meanwhile
        asked = each.store.asked.count("update limit")
        assert asked <= sum(entered) / 10 + 5

    run(check, limits=LIMITS)


def test_those_that_come_at_once_and_cannot_wait_get_the_limit_but_for_a_seconds_worth() -> None:
    async def check(processes: Processes) -> None:
        both = (processes.one, processes.two)
        outcomes = await asyncio.gather(
            *(gates.enter(PLACE, patience=0) for gates in both for _ in range(500)), return_exceptions=True
        )
        assert sum(isinstance(each, LocalLimitError) for each in outcomes) <= 400 + 2 * 10  # a second's worth, each
        assert sum(isinstance(each, Permit) for each in outcomes) <= 600

    run(check, limits=LIMITS)


def test_the_tokens_of_an_answer_are_settled_with_the_next_fetch() -> None:
    async def check(each: Processes) -> None:
        permit = await each.one.enter(PLACE, tokens=600)
        asked = len(each.store.asked)
        permit.succeeded(0.1, {}, Usage(input_tokens=900, output_tokens=0))
        assert len(each.store.asked) == asked
        assert (await each.one.enter(PLACE, tokens=0)).waited == pytest.approx(30, abs=0.1)

    run(check, limits={"*": Limit(tokens_per_minute=600)})


def test_what_is_owed_is_not_forgotten_by_who_has_no_patience() -> None:
    async def check(each: Processes) -> None:
        (await each.one.enter(PLACE, tokens=600)).succeeded(0.1, {}, Usage(input_tokens=900, output_tokens=0))
        for _ in range(3):
            with pytest.raises(LocalLimitError) as caught:
                await each.one.enter(PLACE, tokens=0, patience=1)
            assert caught.value.retry_after == pytest.approx(30, abs=0.1)

    run(check, limits={"*": Limit(tokens_per_minute=600)})


def test_what_was_fetched_is_used_once() -> None:
    async def check(each: Processes) -> None:
        await each.one.enter(PLACE, tokens=600)  # and fetches 600 more for later
        for _ in range(99):
            await each.one.enter(PLACE, tokens=400)
        given_out = 600 + 99 * 400
        assert given_out <= 36_000 * (each.clock.now() / 60 + 1) + 1

    run(check, limits={"*": Limit(tokens_per_minute=36_000)})


def test_what_was_fetched_and_not_used_in_time_is_dropped() -> None:
    async def check(each: Processes) -> None:
        await each.one.enter(PLACE)  # and fetches 10 more for later
        await asyncio.sleep(6)
        asked = each.store.asked.count("update limit")
        await each.one.enter(PLACE)
        assert each.store.asked.count("update limit") == asked + 1

    run(check, limits=LIMITS)


def test_two_processes_share_what_there_is_to_retry_with() -> None:
    async def check(each: Processes) -> None:
        given_out = 0
        for _ in range(12):
            given_out += await each.one.may_retry(PLACE)
            given_out += await each.two.may_retry(PLACE)
        assert given_out == 10
        asked = each.store.asked.count("update retries")
        for _ in range(5):
            await succeed(each.two)
        assert each.store.asked.count("update retries") == asked
        assert not await each.one.may_retry(PLACE)  # the successes are not settled yet
        assert await each.two.may_retry(PLACE)

    run(check)


def test_closing_waits_for_no_store() -> None:
    processes = Processes()
    processes.store.takes = 3600

    async def main() -> None:
        await succeed(processes.one)
        await processes.one.close()
        assert processes.clock.now() < 1

    processes.clock.run(main())


class Calls:
    """Calls of both processes: those that ask for leave, and those that have it."""

    def __init__(self, each: Processes) -> None:
        self.each = each
        self.entering: list[asyncio.Task[Permit]] = []
        self.out: list[Permit] = []

    async def step(self, action: str, number: int) -> None:
        if action == "enter":
            gates = (self.each.one, self.each.two)[number % 2]
            self.entering.append(asyncio.ensure_future(gates.enter(PLACE)))
        elif action == "cancel" and self.entering:
            self.entering[number % len(self.entering)].cancel()
        elif action == "wait":
            await asyncio.sleep(number / 200)
        elif self.out and action in ENDS:
            ENDS[action](self.out.pop(number % len(self.out)))
        self.collect()

    def collect(self) -> None:
        for task in [task for task in self.entering if task.done()]:
            self.entering.remove(task)
            if not task.cancelled() and task.exception() is None:
                self.out.append(task.result())


ENDS: dict[str, Callable[[Permit], None]] = {
    "ok": lambda permit: permit.succeeded(0.1, {}),
    "down": lambda permit: permit.failed(DOWN, 0.1),
    "leave": lambda permit: permit.release(),
}


@given(
    st.lists(st.tuples(st.sampled_from(["enter", "enter", "cancel", "wait", *ENDS]), st.integers(0, 9)), max_size=40),
    st.floats(0, 0.01),
)
def test_at_most_the_allowed_probes_are_out_in_all(actions: list[tuple[str, int]], takes: float) -> None:
    async def check(each: Processes) -> None:
        each.store.takes = takes
        await succeed(each.two)
        await each.break_it()
        await asyncio.sleep(5)
        await succeed(each.two)
        await asyncio.sleep(1)  # now both know
        calls = Calls(each)
        for action in actions:
            await calls.step(*action)
            assert sum(permit.probe for permit in calls.out) <= 4
        await asyncio.sleep(0.1)
        calls.collect()
        for permit in calls.out:
            permit.release()
        await asyncio.sleep(31)
        assert await entered(each, 1)  # no place is lost

    run(check)
