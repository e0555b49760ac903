"""A text stream that breaks after 40 of 60 tokens: whole where a restart repeats what was delivered, else an error."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from llm_call.core.client import Client
from llm_call.core.domain.errors import LLMCallError, StreamInterruptedError
from llm_call.core.domain.events import Event, PartDelta, PartStart
from llm_call.core.domain.messages import ToolCall
from llm_call.core.domain.request import Tool
from llm_call.core.domain.trace import Trace
from llm_call.core.providers.registry import Provider
from llm_call.core.router import Router
from llm_call.core.transport.base import Timeouts
from llm_call.testing.behaviours import Step
from llm_call.testing.fault import Fault, answer, speaking
from llm_call.testing.faults import FAULTS
from llm_call.testing.servers import FaultServer, Gate, stream

WORDS = [f"word{number}" for number in range(60)]
TEXT = " ".join(WORDS)
BEGUN = " ".join(WORDS[:40])
SAID = answer(TEXT)
DELIVERED = 40
SILENCE = 0.5  # seconds; only the cases of silence last so long
RETRY = {"max_attempts": 3, "base_delay": 0}
BREAKS = [fault for fault in FAULTS.values() if fault.streamed and fault.streamed(SAID, DELIVERED)]
CUT, CORRUPTED, STALLED = FAULTS["cut"], FAULTS["unreadable_event"], FAULTS["stalled"]


class Seen(Struct, kw_only=True):
    """What a caller saw of a stream."""

    events: list[Event] = []
    text: str = ""
    result: Any = None
    error: LLMCallError | None = None

    @property
    def trace(self) -> Trace:
        trace: Trace | None = self.error.trace if self.error else self.result.trace
        assert trace is not None
        return trace


def read(servers: Sequence[FaultServer], gate: Gate | None = None, *, patience: float = 30.0, **options: Any) -> Seen:
    """The stream of the first server, the others being those to go to. The gate opens once 40 tokens are here."""

    async def inside() -> Seen:
        rows = [
            Provider(name=f"p{number}", patterns=(f"p{number}/*",), base_url=server.url)
            for number, server in enumerate(servers)
        ]
        names = [f"{row.name}/m" for row in rows]
        timeouts = Timeouts(between_bytes=patience)
        async with Client(router=Router(rows=rows), timeouts=timeouts) as client:
            return await _seen(client, gate, {"model": names[0], "fallback_models": names[1:], **options})

    return asyncio.run(inside())


async def _seen(client: Client, gate: Gate | None, options: Any) -> Seen:
    seen = Seen()
    try:
        async with client.ask_stream("Go on.", retry=RETRY, **options) as live:
            async for event in live.events():
                seen.events.append(event)
                seen.text += event.text if isinstance(event, PartDelta) else ""
                if gate is not None and len(seen.text) >= len(BEGUN):
                    gate.open()
            seen.result = live.result
    except LLMCallError as error:
        seen.error = error
    return seen


def breaking(fault: Fault, gate: Gate, *then: Step) -> FaultServer:
    """A server that breaks after 40 tokens, and then takes the steps."""
    return FaultServer([fault.script(TEXT, after=DELIVERED, gate=gate)[0], *then])


AGAIN = [fault for fault in BREAKS if fault.expected == "again" or fault is STALLED]


@pytest.mark.parametrize("fault", AGAIN, ids=lambda fault: fault.name)
def test_a_stream_that_breaks_comes_whole_where_the_same_target_repeats_what_was_delivered(fault: Fault) -> None:
    gate = Gate()
    with breaking(fault, gate, speaking(SAID)) as server:
        seen = read([server], gate, patience=SILENCE if fault is STALLED else 30.0)
    assert seen.text == TEXT
    assert seen.result.value == TEXT
    assert len(server.requests) == 2
    assert [attempt.failure is None for attempt in seen.trace.attempts] == [False, True]


@pytest.mark.parametrize("fault", [CUT, CORRUPTED], ids=lambda fault: fault.name)
@pytest.mark.parametrize("place", [0, 20, 39], ids=lambda place: f"at token {place}")
def test_a_restart_that_differs_is_an_error_with_the_part_and_nothing_of_the_other_text(
    fault: Fault, place: int
) -> None:
    gate = Gate()
    other = answer(" ".join([*WORDS[:place], "SOMETHING", *WORDS[place:]]))
    with breaking(fault, gate, speaking(other)) as server:
        seen = read([server], gate)
    assert isinstance(seen.error, StreamInterruptedError)
    assert seen.error.text == seen.text == BEGUN
    assert len(server.requests) == 2


def test_a_restart_that_ends_before_what_was_delivered_is_an_error() -> None:
    gate = Gate()
    with breaking(CUT, gate, speaking(answer(" ".join(WORDS[:30])))) as server:
        seen = read([server], gate)
    assert isinstance(seen.error, StreamInterruptedError)
    assert seen.error.text == seen.text == BEGUN


def test_a_restart_that_differs_is_cancelled_at_the_peer() -> None:
    gate = Gate()
    other = stream(answer("SOMETHING else").events[:2], then="hang")
    with breaking(CUT, gate, other) as server:
        seen = read([server], gate)
        assert isinstance(seen.error, StreamInterruptedError)
        assert server.saw_client_leave()


@pytest.mark.parametrize("pieces", [list(TEXT), [TEXT]], ids=["letters", "all at once"])
def test_a_restart_may_come_in_other_pieces(pieces: Sequence[str]) -> None:
    gate = Gate()
    events = (*(_chunk({"content": piece}) for piece in pieces), *SAID.events[len(WORDS) :])
    with breaking(CUT, gate, stream(events)) as server:
        assert read([server], gate).text == TEXT


def test_a_stream_that_breaks_again_and_again_ends_as_an_error_with_the_part_after_the_allowed_attempts() -> None:
    gate = Gate()
    with breaking(CUT, gate) as server:
        seen = read([server], gate)
    assert isinstance(seen.error, StreamInterruptedError)
    assert seen.error.text == seen.text == BEGUN
    assert len(server.requests) == RETRY["max_attempts"]


def test_a_break_that_no_restart_mends_asks_nobody() -> None:
    gate = Gate()
    with breaking(FAULTS["filtered"], gate, speaking(SAID)) as server, FaultServer([speaking(SAID)]) as other:
        seen = read([server, other], gate)
    assert isinstance(seen.error, StreamInterruptedError)
    assert seen.text == BEGUN
    assert (len(server.requests), len(other.requests)) == (1, 0)


def _chunk(delta: Any, reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return b"data: " + msgspec.json.encode({"id": "c", "model": "m", "choices": [choice]}) + b"\n\n"


def _call(arguments: str, **more: Any) -> bytes:
    return _chunk(
        {"tool_calls": [{"index": 0, "function": {"arguments": arguments, **more.pop("function", {})}, **more}]}
    )


CALL = (
    _call("", id="call_1", type="function", function={"name": "pay"}),
    _call('{"amount": '),
    _call("100}"),
    _chunk({}, "tool_calls"),
    b"data: [DONE]\n\n",
)


@pytest.mark.parametrize("events", [1, 2], ids=["after its name", "in its arguments"])
def test_a_tool_call_that_breaks_off_is_never_continued_from_another_attempt(events: int) -> None:
    broken = stream(CALL[:events], then="close")
    with FaultServer([broken, stream(CALL)]) as server:
        seen = read([server], tools=[Tool(name="pay", parameters={"type": "object"})])
    assert isinstance(seen.error, StreamInterruptedError)
    assert any(isinstance(event, PartStart) and isinstance(event.part, ToolCall) for event in seen.events)
    assert len(server.requests) == 1


def test_a_text_is_not_continued_where_a_tool_call_had_begun_beside_it() -> None:
    with FaultServer([stream([*SAID.events[:DELIVERED], *CALL[:2]], then="close"), speaking(SAID)]) as server:
        seen = read([server], tools=[Tool(name="pay", parameters={"type": "object"})])
    assert isinstance(seen.error, StreamInterruptedError)
    assert seen.error.text == BEGUN
    assert len(server.requests) == 1


@pytest.mark.parametrize("then", ["end", "close", "hang"])
def test_a_stream_with_its_finish_reason_is_complete_without_the_closing_word(then: Any) -> None:
    with FaultServer([stream(SAID.events[:-1], then=then)]) as server:
        seen = read([server], patience=SILENCE)
    assert seen.error is None
    assert seen.result.value == seen.text == TEXT
    assert len(server.requests) == 1
