import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

import pytest

from llm_call.core.client import Client
from llm_call.core.domain.errors import DeadlineExceededError, ServerError
from llm_call.core.hedging import race
from llm_call.core.hooks import AttemptScope
from llm_call.core.policy.hedging import HedgingPolicy
from llm_call.core.router import Router
from llm_call.core.transport.base import Endpoint, Reply, Timeouts
from llm_call.core.wire.base import WireRequest
from llm_call.testing.clock import FakeClock
from llm_call.testing.scripted import ScriptedReply, ScriptedTransport, chat_reply, error_reply, stream_reply


class TwoHosts:
    """Each host has its own script."""

    def __init__(self, **hosts: ScriptedTransport) -> None:
        self.hosts = hosts

    def open(self, endpoint: Endpoint, request: WireRequest, timeouts: Timeouts) -> AbstractAsyncContextManager[Reply]:
        return next(host for name, host in self.hosts.items() if name in endpoint.base_url).open(
            endpoint, request, timeouts
        )

    async def close(self) -> None:
        pass


def hedging_client(first: list[ScriptedReply], second: ScriptedReply) -> tuple[Client, TwoHosts, FakeClock]:
    clock = FakeClock()
    hosts = TwoHosts(openai=ScriptedTransport(*first), mistral=ScriptedTransport(second))
    router = Router(credentials={"OPENAI_API_KEY": "a", "MISTRAL_API_KEY": "b"})
    hedging = HedgingPolicy(enabled=True, share=1.0)
    return Client(router=router, transports={"http": lambda: hosts}, clock=clock, hedging=hedging), hosts, clock


ASKED: dict[str, Any] = {"model": "openai/a", "fallback_models": ["mistral/b"]}


def test_a_late_target_is_hedged_and_the_first_valid_answer_wins() -> None:
    usual = [chat_reply("usual", delay=0.5) for _ in range(20)]
    client, hosts, clock = hedging_client([*usual, chat_reply("late", delay=30)], chat_reply("quick", delay=1))

    async def calls() -> tuple[str, float, list[str | None]]:
        for _ in range(20):
            await client.ask("hi", **ASKED)
        result = await client.ask("hi", **ASKED)
        attempts = result.trace.attempts
        return result.text, result.trace.duration, [each.failure.kind if each.failure else None for each in attempts]

    text, seconds, kinds = clock.run(calls())
    assert text == "quick"
    assert seconds == pytest.approx(1.0 + 2.0)
    assert sorted(map(str, kinds)) == ["Abandoned", "None"]
    assert hosts.hosts["openai"].closed_early == 1


def test_a_rejected_answer_does_not_win() -> None:
    usual = [chat_reply("yes", delay=0.5) for _ in range(20)]
    client, _, clock = hedging_client([*usual, chat_reply("yes, late", delay=5)], chat_reply("no", delay=1))

    async def checked() -> str:
        for _ in range(20):
            await client.ask("hi", **ASKED)
        wanted = {"type": "contains", "params": {"required_text": "yes"}}
        return (await client.ask("hi", validate=[wanted], **ASKED)).text

    assert clock.run(checked()) == "yes, late"


def test_a_late_stream_is_hedged_and_the_other_is_closed() -> None:
    usual = [stream_reply(["usual"], delay=0.1) for _ in range(20)]
    client, hosts, clock = hedging_client(
        [*usual, stream_reply(["late"], delay=10)], stream_reply(["quick"], delay=0.1)
    )

    async def read() -> str:
        async with client.ask_stream("hi", **ASKED) as live:
            return "".join([piece async for piece in live])

    async def calls() -> list[str]:
        return [await read() for _ in range(21)]

    assert clock.run(calls()) == ["usual"] * 20 + ["quick"]
    assert hosts.hosts["openai"].closed_early == 1


async def _after(seconds: float, outcome: str | Exception) -> str:
    await asyncio.sleep(seconds)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((5, "good"), (1, "good 2"), "good 2"),
        ((5, "good"), (1, "bad"), "good"),
        ((5, "bad"), (1, "bad 2"), "bad"),
        ((5, ServerError("down")), (9, "bad"), "bad"),
        ((5, "bad"), (9, ServerError("down")), "bad"),
        ((1, "bad"), (0, "good"), "bad"),
    ],
)
def test_the_first_good_outcome_counts_and_else_the_first(first: Any, second: Any, expected: str) -> None:
    async def run() -> str:
        return await race(
            lambda: _after(*first),
            lambda: _after(*second),
            delay=2,
            may_start=lambda: True,
            is_good=lambda text: text.startswith("good"),
        )

    assert FakeClock().run(run()) == expected


def test_where_both_fail_the_first_error_is_raised() -> None:
    async def run() -> str:
        return await race(
            lambda: _after(3, ServerError("first")),
            lambda: _after(0, ServerError("second")),
            delay=1,
            may_start=lambda: True,
            is_good=bool,
        )

    with pytest.raises(ServerError, match="first"):
        FakeClock().run(run())


def test_a_race_that_is_cancelled_leaves_nothing_behind() -> None:
    ended: list[str] = []

    async def noting(name: str) -> str:
        try:
            return await _after(50, name)
        finally:
            ended.append(name)

    async def run() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await race(lambda: noting("a"), lambda: noting("b"), delay=1, may_start=lambda: True, is_good=bool)

    FakeClock().run(run())
    assert sorted(ended) == ["a", "b"]


def test_no_further_attempt_starts_where_less_time_is_left_than_the_target_usually_takes() -> None:
    usual = [chat_reply("usual", delay=1) for _ in range(20)]
    client, hosts, clock = hedging_client([*usual, error_reply(503), chat_reply("too late")], chat_reply("-"))

    async def calls() -> None:
        for _ in range(20):
            await client.ask("hi", model="openai/a")
        with pytest.raises(DeadlineExceededError):
            await client.ask("hi", model="openai/a", timeout=2.5, retry={"base_delay": 1, "jitter": False})

    clock.run(calls())
    assert len(hosts.hosts["openai"].requests) == 21


def test_a_hedge_is_an_attempt_of_the_budget_and_each_has_its_number() -> None:
    usual = [chat_reply("usual", delay=0.5) for _ in range(20)]
    client, hosts, clock = hedging_client([*usual, chat_reply("late", delay=30)], chat_reply("quick", delay=1))
    numbers: list[int] = []

    @contextmanager
    def counted(attempt: AttemptScope) -> Iterator[None]:
        numbers.append(attempt.number)
        yield

    async def calls() -> tuple[str, str, list[int]]:
        for _ in range(20):
            await client.ask("hi", **ASKED)
        alone = await client.ask("hi", max_total_attempts=1, **ASKED)
        with client.hooked(counted):
            hedged = await client.ask("hi", **ASKED)
        return alone.text, hedged.text, [each.number for each in hedged.trace.attempts]

    assert clock.run(calls()) == ("late", "quick", [1, 2])
    assert numbers == [1, 2]
    assert len(hosts.hosts["mistral"].requests) == 1
