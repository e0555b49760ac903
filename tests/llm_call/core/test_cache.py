import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llm_call.core.cache import MemoryCache, ResponseCache
from llm_call.core.client import Client
from llm_call.core.domain.messages import Text
from llm_call.core.domain.response import Response
from llm_call.core.domain.result import Result
from llm_call.core.domain.verdict import Problem, Verdict, accepted, rejected
from llm_call.core.router import Router
from llm_call.core.store.responses import SQLiteCache
from llm_call.core.validation.base import Answer, Context
from llm_call.testing.clock import FakeClock
from llm_call.testing.scripted import ScriptedTransport, Step, chat_reply, error_reply, stream_reply

HELLO = Response(model="m", parts=(Text(text="hello"),))


def client(
    *steps: Step, cache: ResponseCache | None = None, key: str = "sk-secret"
) -> tuple[Client, ScriptedTransport]:
    transport = ScriptedTransport(*steps)
    router = Router(credentials={"OPENAI_API_KEY": key})
    return Client(router=router, transports={"http": lambda: transport}, cache=cache), transport


def ask(ours: Client, prompt: str = "hi", **options: Any) -> Result[Any]:
    return ours.ask_sync(prompt, **{"cache_key": "k", **options})


class Broken:
    async def get(self, key: str) -> Response | None:
        raise OSError("no disk")

    async def put(self, key: str, response: Response) -> None:
        raise OSError("no disk")


class Slow(Broken):
    async def get(self, key: str) -> Response | None:
        await asyncio.sleep(60)
        return HELLO


class Strict:
    """A check that is no data, and that changes its mind."""

    name = "strict"

    def __init__(self) -> None:
        self.refuses = ""

    def validate(self, answer: Answer, context: Context) -> Verdict:
        if answer.text == self.refuses:
            return rejected(self.name, Problem(code="no", message="not this one"))
        return accepted(self.name)


def test_the_same_question_is_answered_once_and_then_for_nothing() -> None:
    ours, transport = client(chat_reply("one", prompt_tokens=3, completion_tokens=4), chat_reply("two"))
    first, second = ask(ours), ask(ours)
    assert (first.value, second.value) == ("one", "one")
    assert len(transport.requests) == 1
    assert (second.rung, second.cost, second.usage.input_tokens) == ("cache", Decimal(0), None)
    assert [(each.rung, each.attempts) for each in second.trace.rounds] == [("cache", ())]
    assert second.response == first.response


def test_without_a_cache_key_every_call_asks() -> None:
    ours, transport = client(chat_reply("one"), chat_reply("two"))
    assert [ask(ours, cache_key=None).value for _ in range(2)] == ["one", "two"]
    assert len(transport.requests) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "hello"},
        {"cache_key": "other"},
        {"model": "openai/gpt-4.1"},
        {"fallback_models": ("openai/gpt-4.1",)},
        {"temperature": 0.5},
        {"system": "Be brief."},
        {"validate": [{"type": "contains", "params": {"text": "t"}}]},
        {"strict": True},
        {"api_base": "http://localhost:1/v1"},
    ],
    ids=str,
)
def test_another_question_is_asked(other: dict[str, Any]) -> None:
    ours, _ = client(chat_reply("one"), chat_reply("two"))
    first = ask(ours, model="openai/gpt-4o")
    changed: dict[str, Any] = {"model": "openai/gpt-4o", **other}
    assert (first.value, ask(ours, **changed).value) == ("one", "two")


def test_another_credential_finds_the_same_answer() -> None:
    cache = MemoryCache()
    assert ask(client(chat_reply("one"), cache=cache)[0]).value == "one"
    assert ask(client(chat_reply("two"), cache=cache, key="sk-another")[0]).value == "one"


def test_force_refresh_asks_anew_and_keeps_the_new_answer() -> None:
    ours, _ = client(chat_reply("one"), chat_reply("two"), chat_reply("three"))
    assert [ask(ours).value, ask(ours, force_refresh=True).value, ask(ours).value] == ["one", "two", "two"]


def test_a_rejected_answer_is_not_kept() -> None:
    ours, _ = client(chat_reply("no"), chat_reply("yes"))
    check: dict[str, Any] = {"validate": [{"type": "contains", "params": {"text": "yes"}}], "rounds": 1}
    assert [ask(ours, **check).ok, ask(ours, **check).ok, ask(ours, **check).rung] == [False, True, "cache"]


def test_a_failed_call_keeps_nothing() -> None:
    ours, _ = client(error_reply(401), chat_reply("yes"))
    with pytest.raises(Exception, match="scripted"):
        ask(ours)
    assert ask(ours).rung == "ask"


def test_a_hit_is_judged_again_and_a_rejected_one_is_asked_anew() -> None:
    ours, transport = client(chat_reply("one"), chat_reply("two"))
    check = Strict()
    assert ask(ours, validate=[check]).value == "one"
    check.refuses = "one"
    second = ask(ours, validate=[check])
    assert (second.value, second.rung, len(second.trace.rounds)) == ("two", "ask", 1)
    assert ask(ours, validate=[check]).value == "two"
    assert len(transport.requests) == 2


def test_json_is_extracted_from_a_hit_as_from_an_answer() -> None:
    ours, _ = client(chat_reply('It is {"a": 1}.'))
    assert [ask(ours, schema={"type": "object"}).value for _ in range(2)] == [{"a": 1}, {"a": 1}]


@pytest.mark.parametrize("cache", [Broken(), Slow()], ids=["broken", "slow"])
def test_a_cache_that_fails_is_a_notice_on_the_answer(cache: ResponseCache) -> None:
    transport = ScriptedTransport(chat_reply("one"))
    clock = FakeClock()
    ours = Client(
        router=Router(credentials={"OPENAI_API_KEY": "k" * 9}),
        transports={"http": lambda: transport},
        cache=cache,
        clock=clock,
    )
    result = clock.run(ours.ask("hi", cache_key="k"))
    assert result.value == "one"
    assert [(each.field, each.fate) for each in result.response.notices] == [("cache_key", "dropped")]
    assert "the response cache failed" in result.response.notices[0].message


def test_a_cache_that_cannot_be_written_is_a_notice_too() -> None:
    ours, _ = client(chat_reply("one"), cache=Broken())
    assert [each.field for each in ask(ours, force_refresh=True).response.notices] == ["cache_key"]


def read(ours: Client, prompt: str = "hi") -> tuple[list[str], Result[Any]]:
    async def reading() -> tuple[list[str], Result[Any]]:
        async with ours.ask_stream(prompt, cache_key="k") as live:
            return [piece async for piece in live], live.result

    return asyncio.run(reading())


def test_a_stream_that_was_accepted_is_kept_and_a_hit_is_streamed() -> None:
    ours, transport = client(stream_reply(["hel", "lo"]), chat_reply("two"))
    first, second = read(ours), read(ours)
    assert first[0] == ["hel", "lo"]
    assert second[0] == ["hello"]
    assert (second[1].value, second[1].rung, second[1].cost) == ("hello", "cache", Decimal(0))
    assert ask(ours).value == "hello"  # whole or streamed, it is the same question
    assert len(transport.requests) == 1


def test_a_stream_that_was_left_is_not_kept() -> None:
    ours, transport = client(stream_reply(["hel", "lo"]))

    async def leave() -> None:
        async with ours.ask_stream("hi", cache_key="k") as live:
            async for _ in live:
                break

    asyncio.run(leave())
    assert read(ours)[1].rung == "ask"
    assert len(transport.requests) == 2


def test_the_notice_of_a_broken_cache_is_on_a_streamed_answer_too() -> None:
    assert read(client(stream_reply(["hello"]), cache=Broken())[0])[1].response.notices[0].field == "cache_key"


def test_a_case_may_say_cache_key() -> None:
    ours, transport = client(chat_reply("one"))
    config = {"question": "hi", "cache_key": "k"}
    assert [ours.call_sync(config).rung, ours.call_sync({**config, "force_refresh": True}).rung] == ["ask", "ask"]
    assert ours.call_sync(config).rung == "cache"
    assert len(transport.requests) == 2


def test_memory_keeps_the_entries_that_were_used_last() -> None:
    async def use() -> list[bool]:
        cache = MemoryCache(entries=2)
        await cache.put("a", HELLO)
        await cache.put("b", HELLO)
        await cache.get("a")
        await cache.put("c", HELLO)
        return [await cache.get(key) is not None for key in "abc"]

    assert asyncio.run(use()) == [True, False, True]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_an_entry_ends_with_its_time(kind: str, tmp_path: Path) -> None:
    now = [100.0]
    cache: ResponseCache = (
        MemoryCache(seconds=10, now=lambda: now[0])
        if kind == "memory"
        else SQLiteCache(tmp_path / "r.db", seconds=10, now=lambda: now[0])
    )

    async def use() -> list[bool]:
        await cache.put("a", HELLO)
        now[0] = 109.0
        found = [await cache.get("a") is not None]
        now[0] = 110.0
        return [*found, await cache.get("a") is not None]

    assert asyncio.run(use()) == [True, False]
