import asyncio
from collections.abc import AsyncIterator

import pytest

from llm_call.core.domain.errors import LLMCallError
from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart, fold
from llm_call.core.domain.messages import Reasoning, Text, ToolCall
from llm_call.core.domain.response import FinishReason, Response
from llm_call.core.domain.result import Result
from llm_call.core.domain.trace import Trace
from llm_call.core.live import LiveAnswer

START = ResponseStart(model="m")
EVENTS: list[Event] = [
    PartStart(index=0, part=Reasoning(text="")),
    PartDelta(index=0, text="hmm"),
    PartEnd(index=0),
    PartStart(index=1, part=Text(text="")),
    PartDelta(index=1, text="hel"),
    PartStart(index=2, part=ToolCall(id="c", name="f", arguments="")),
    PartDelta(index=2, text="{}"),
    PartDelta(index=1, text="lo"),
    PartEnd(index=1),
    PartEnd(index=2),
    ResponseEnd(finish_reason=FinishReason(unified="stop")),
]


class Arriving:
    def __init__(self) -> None:
        self.response: Response | None = None

    async def events(self) -> AsyncIterator[Event]:
        for event in (START, *EVENTS):
            yield event
        self.response = fold((START, *EVENTS))


async def finish(response: Response) -> Result[str]:
    return Result(ok=True, value=response.text, response=response, trace=Trace(model="m"))


async def read(live: LiveAnswer) -> list[str]:
    return [piece async for piece in live]


def test_only_the_text_is_given_and_the_result_has_everything() -> None:
    live = LiveAnswer(Arriving(), finish)
    assert asyncio.run(read(live)) == ["hel", "lo"]
    assert live.result.value == "hello"
    assert [type(part) for part in live.result.response.parts] == [Reasoning, Text, ToolCall]


def test_the_events_are_given_as_they_are() -> None:
    async def every() -> list[Event]:
        return [event async for event in LiveAnswer(Arriving(), finish).events()]

    assert asyncio.run(every()) == [START, *EVENTS]


def test_before_the_end_there_is_no_result() -> None:
    with pytest.raises(LLMCallError, match="not complete"):
        LiveAnswer(Arriving(), finish).result  # noqa: B018  (reading it is what raises)
