"""A call that is run again takes what had ended from the record, and says what it had to send twice."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from llm_call.core.client import Client
from llm_call.core.domain.errors import APIError, ConfigError, LLMCallError
from llm_call.core.domain.result import Result
from llm_call.core.durable.journal import REPEATED, Journal, JournaledAttempts
from llm_call.core.durable.records import StoredError
from llm_call.core.router import Router
from llm_call.testing.clock import FakeClock
from llm_call.testing.scripted import ScriptedTransport, Step, chat_reply, error_reply

AGE = {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}}
STEPS = (error_reply(503), chat_reply("old"), error_reply(503), chat_reply('{"age": 7}', prompt_tokens=3))


class Killed(BaseException):
    """The process has ended."""


class Process:
    """A run of the call on the record of those before it; `dies` is at which step it ends, before that is recorded."""

    def __init__(self, record: list[tuple[str, str]], *steps: Step, dies: int | None = None) -> None:
        self.transport = ScriptedTransport(*steps)
        self._record, self._dies, self._at = record, dies, 0

    async def step(self, name: str, work: Callable[[], Awaitable[str]]) -> str:
        self._at += 1
        if self._at <= len(self._record):
            known, body = self._record[self._at - 1]
            assert known == name
            return body
        body = await work()
        if self._at == self._dies:
            raise Killed
        self._record.append((name, body))
        return body

    def run(self, name: str, model: str = "openai/gpt-4o") -> tuple[Result[Any], Journal]:
        clock = FakeClock()
        client = Client(
            router=Router(credentials={"OPENAI_API_KEY": "sk-x"}), transports={"http": lambda: self.transport}
        )

        async def carried() -> tuple[Result[Any], Journal]:
            journal = Journal("c1", name, self.step, clock)
            engine = client.engine_on(lambda *args, **more: JournaledAttempts(journal, *args, **more), None)
            plan = client.plan("How old?", model=model, schema=AGE, timeout=60.0)
            result = await engine.execute(await journal.ordered(plan))
            return replace(result, trace=journal.told(result.trace)), journal

        return clock.run(carried())


def test_wherever_it_dies_the_same_comes_of_it_and_only_what_was_in_flight_is_sent_again() -> None:
    record: list[tuple[str, str]] = []
    whole, _ = Process(record, *STEPS).run("whole")
    assert whole.value == {"age": 7}
    attempts = [number for number, (name, _) in enumerate(record, start=1) if name == "attempt"]
    for dies in range(1, len(record) + 1):
        kept: list[tuple[str, str]] = []
        first = Process(kept, *STEPS, dies=dies)
        with pytest.raises(Killed):
            first.run("first")
        sent = sum(number < dies for number in attempts)
        second = Process(kept, *STEPS[sent:])
        result, journal = second.run("second")
        assert (result.value, result.usage) == (whole.value, whole.usage)
        assert len(first.transport.requests) + len(second.transport.requests) == len(STEPS) + (dies in attempts)
        begun = dies in attempts
        assert journal.repeated == ({sent + 1} if begun else set())
        assert [REPEATED in each.why for each in result.trace.attempts].count(True) == begun
        assert [each.failure is None for each in result.trace.attempts] == [False, True, False, True]


def test_what_was_sent_again_is_told_also_where_the_run_that_did_so_died_later() -> None:
    record: list[tuple[str, str]] = []
    Process(record, *STEPS).run("whole")
    first = next(number for number, (name, _) in enumerate(record, start=1) if name == "attempt")
    kept: list[tuple[str, str]] = []
    for name, dies in (("first", first), ("second", first + 2)):
        with pytest.raises(Killed):
            Process(kept, *STEPS, dies=dies).run(name)
    result, journal = Process(kept, *STEPS[1:]).run("third")
    assert (result.value, journal.repeated) == ({"age": 7}, {1})
    assert [REPEATED in each.why for each in result.trace.attempts] == [True, False, False, False]


def test_the_trace_of_a_call_that_was_taken_from_the_record_is_the_one_that_was_recorded() -> None:
    record: list[tuple[str, str]] = []
    steps = (error_reply(503), chat_reply('{"age": 7}', delay=2.0))
    first, _ = Process(record, *steps).run("first")
    again, _ = Process(record, chat_reply("never asked")).run("second")
    assert again.trace.duration == pytest.approx(first.trace.duration)  # so that its deadline is what it was
    assert [each.why for each in again.trace.attempts] == [each.why for each in first.trace.attempts]
    for one, other in zip(first.trace.attempts, again.trace.attempts, strict=True):
        assert (one.started, one.duration, one.wait) == pytest.approx((other.started, other.duration, other.wait))


def test_a_call_does_not_go_on_at_another_target_than_it_was_begun_at() -> None:
    record: list[tuple[str, str]] = []
    Process(record, chat_reply('{"age": 7}')).run("first")
    with pytest.raises(ConfigError, match="the settings have changed"):
        Process(record, chat_reply("x")).run("second", model="openai/gpt-4o-mini")


def test_an_error_comes_back_from_the_record_as_it_was() -> None:
    transport = ScriptedTransport(error_reply(429, code="quota", headers={"retry-after": "7"}))
    client = Client(router=Router(credentials={"OPENAI_API_KEY": "sk-x"}), transports={"http": lambda: transport})

    async def asked() -> LLMCallError:
        with pytest.raises(APIError) as caught:
            await client.ask("hi", model="openai/gpt-4o", timeout=5.0)
        return caught.value

    error = asyncio.run(asked())
    again = StoredError.of(error).error()
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert {**vars(again), "trace": None} == {**vars(error), "trace": None}
    assert again.trace == error.trace
