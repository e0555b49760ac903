"""Routes from end to end: over real HTTP, and over thousands of calls in virtual time."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from llm_call.core.client import Client
from llm_call.core.domain.errors import AllTargetsFailedError, LLMCallError
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.result import Result
from llm_call.core.policy.routing import Route, RouteTarget, Strategy
from llm_call.core.providers.registry import Provider
from llm_call.core.router import Router
from llm_call.core.transport.base import Endpoint, Reply, Timeouts
from llm_call.core.wire.base import WireRequest
from llm_call.testing.clock import FakeClock
from llm_call.testing.scripted import ScriptedTransport, Step, chat_reply, error_reply, stream_reply
from llm_call.testing.servers import FaultServer, respond

TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
NAMES = ("one", "two", "three")


def row(name: str, url: str, **profile: Any) -> Provider:
    return Provider(name=name, patterns=(f"{name}/*",), base_url=url, profile=Profile(**profile))


def test_the_one_that_can_answers_and_the_trace_tells_of_the_others() -> None:
    busy = respond(b'{"error": {"message": "slow down"}}', status=429, headers={"retry-after": "120"})
    answer = respond(chat_reply("hello", prompt_tokens=3, completion_tokens=4).pieces[0])
    with FaultServer([busy]) as one, FaultServer([answer]) as two, FaultServer([answer]) as three:
        rows = [row("one", one.url), row("two", two.url, tools=False), row("three", three.url)]
        route = Route(targets=("one/m", "two/m", "three/m"))

        async def ask() -> Result[Any]:
            async with Client(router=Router(rows=rows, routes={"smart": route})) as client:
                return await client.call({"model": "smart", "question": "hi", "tools": TOOLS, "timeout": 30})

        result = asyncio.run(ask())
        asked = [len(server.requests) for server in (one, two, three)]
    assert (result.value, asked) == ("hello", [1, 0, 1])
    assert result.trace.model == "smart"
    attempts = [(attempt.target, attempt.failure and attempt.failure.status) for attempt in result.trace.attempts]
    assert attempts == [("one/m", 429), ("three/m", None)]
    assert [(each.target, each.why) for each in result.trace.skipped] == [("two/m", "has no tools")]


class Places:
    """A transport over several peers, by their host's name: each has its script and, in seconds, its delay."""

    def __init__(self, **scripts: Step) -> None:
        self.peers = {name: ScriptedTransport(step) for name, step in scripts.items()}

    @asynccontextmanager
    async def open(self, endpoint: Endpoint, request: WireRequest, timeouts: Timeouts) -> AsyncIterator[Reply]:
        async with self.peers[endpoint.base_url.removeprefix("http://")].open(endpoint, request, timeouts) as reply:
            yield reply

    async def close(self) -> None:
        pass


class World:
    """Three peers behind the route `smart`, a client of theirs, and virtual time."""

    def __init__(self, strategy: Strategy, weights: Mapping[str, float] | None = None, **scripts: Step) -> None:
        self.clock = FakeClock()
        self.places = Places(**{name: scripts.get(name, chat_reply(name)) for name in NAMES})
        targets = tuple(RouteTarget(model=f"{name}/m", weight=(weights or {}).get(name, 1)) for name in NAMES)
        self.client = Client(
            router=Router(
                rows=[row(name, f"http://{name}") for name in NAMES],
                routes={"smart": Route(targets=targets, strategy=strategy)},
            ),
            transports={"http": lambda: self.places},
            clock=self.clock,
            chance=random.Random(7).random,  # noqa: S311  (the same numbers in every run are the point)
        )

    def becomes(self, name: str, step: Step) -> None:
        self.places.peers[name] = ScriptedTransport(step)

    def ask(self, count: int = 1, *, every: float = 0.0, **options: Any) -> Counter[str]:
        """Who answered `count` calls, one after another, `every` so many seconds."""

        async def calls() -> Counter[str]:
            answered: Counter[str] = Counter()
            for number in range(count):
                result = await self.client.ask(f"question {number}", model="smart", **options)
                answered[result.text] += 1
                self.clock.advance(every)
            return answered

        return self.clock.run(calls())


def test_weights_are_the_shares_of_many_calls() -> None:
    answered = World("weighted", {"one": 6, "two": 3, "three": 1}).ask(1000)
    assert answered["one"] == pytest.approx(600, abs=50)
    assert answered["two"] == pytest.approx(300, abs=50)
    assert answered["three"] == pytest.approx(100, abs=40)


def test_one_plan_that_is_carried_out_often_is_spread_too() -> None:
    world = World("weighted")
    plan = world.client.plan("hi", model="smart")

    async def calls() -> Counter[str]:
        return Counter([(await world.client.execute(plan)).text for _ in range(90)])

    answered = world.clock.run(calls())
    assert min(answered[name] for name in NAMES) > 15


def test_a_weight_of_zero_answers_only_when_nobody_else_does() -> None:
    world = World("weighted", {"three": 0})
    assert world.ask(200)["three"] == 0
    for name in ("one", "two"):
        world.becomes(name, error_reply(401))
    assert world.ask(20) == {"three": 20}


SLOW, MIDDLE, FAST = (chat_reply(name, delay=delay) for name, delay in zip(NAMES, (3.0, 1.0, 0.2), strict=True))


def test_least_latency_finds_the_fast_one_and_leaves_it_when_it_becomes_slow() -> None:
    world = World("least_latency", one=SLOW, two=MIDDLE, three=FAST)
    world.ask(100)
    assert world.ask(200)["three"] >= 190
    world.becomes("three", chat_reply("three", delay=4.0))
    world.ask(30)
    assert world.ask(200)["two"] >= 170


def test_least_latency_comes_back_to_one_that_has_become_fast_again() -> None:
    world = World("least_latency", one=chat_reply("one", delay=0.2), two=MIDDLE, three=SLOW)
    world.becomes("one", chat_reply("one", delay=9.0))
    world.ask(60, every=1.0)
    assert world.ask(60, every=1.0)["two"] >= 50
    world.becomes("one", chat_reply("one", delay=0.2))
    world.ask(300, every=1.0)
    assert world.ask(60, every=1.0)["one"] >= 50


def test_least_latency_avoids_one_that_fails() -> None:
    world = World("least_latency", one=error_reply(401), two=FAST, three=MIDDLE)
    world.ask(60)
    before = len(world.places.peers["one"].requests)
    assert world.ask(100).total() == 100
    assert len(world.places.peers["one"].requests) - before <= 2


def test_least_latency_learns_from_streams_when_they_begin() -> None:
    world = World("least_latency")
    world.becomes("one", stream_reply(["a"], delay=3.0))
    world.becomes("two", stream_reply(["b"], delay=0.1))
    world.becomes("three", stream_reply(["c"], delay=1.0))

    async def calls() -> Counter[str]:
        answered: Counter[str] = Counter()
        for _ in range(200):
            async with world.client.ask_stream("hi", model="smart") as live:
                async for text in live:
                    await asyncio.sleep(5 if text == "b" else 0)  # a slow reader makes no target slow
            answered[live.result.text] += 1
        return answered

    world.clock.run(calls())
    assert world.clock.run(calls())["b"] >= 170


def first_targets(world: World, keys: int = 60) -> dict[str, str]:
    async def asked(key: str) -> str:
        result = await world.client.ask("hi", model="smart", routing_key=key)
        return result.text

    return {str(key): world.clock.run(asked(str(key))) for key in range(keys)}


def test_sticky_keeps_the_target_of_a_key_and_moves_only_those_of_one_that_fails() -> None:
    world = World("sticky")
    before = first_targets(world)
    assert first_targets(world) == before
    assert set(before.values()) == set(NAMES)
    world.becomes("two", error_reply(401))
    after = first_targets(world)
    assert {key for key in before if after[key] != before[key]} == {key for key in before if before[key] == "two"}
    world.becomes("two", chat_reply("two"))
    assert first_targets(world) == before


def test_sticky_keeps_a_conversation_without_a_key() -> None:
    world = World("sticky")
    answered = [world.ask(1, system="Be brief.") for _ in range(5)]
    assert all(each == answered[0] for each in answered)


def test_when_nobody_answers_each_is_told() -> None:
    world = World("priority", one=error_reply(401), two=error_reply(403), three=error_reply(401))
    with pytest.raises(AllTargetsFailedError) as caught:
        world.ask()
    assert [line.partition(":")[0] for line in caught.value.message.split("\n")[1:]] == [f"{name}/m" for name in NAMES]


def test_what_was_left_out_is_in_the_trace_of_an_error_too() -> None:
    world = World("priority", one=error_reply(401))

    async def call() -> None:
        await world.client.ask("hi", model="one/m", fallback_models=["xai/x"])

    with pytest.raises(LLMCallError) as caught:
        world.clock.run(call())
    assert caught.value.trace is not None
    assert [each.target for each in caught.value.trace.skipped] == ["xai/x"]
