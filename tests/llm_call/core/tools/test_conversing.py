"""A model and its tools, in turns, with a scripted model."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from llm_call.core.domain.errors import BudgetExceededError
from llm_call.core.domain.messages import Message, Text, ToolCall, ToolResult, message
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import Request, Settings, Tool, ToolChoice
from llm_call.core.domain.response import Response
from llm_call.core.domain.trace import ToolRun
from llm_call.core.policy.tool_loop import ToolLimits
from llm_call.core.providers.registry import DIALECTS, codec
from llm_call.core.tools.conversing import ToolConversation, converse
from llm_call.testing.clock import FakeClock

QUESTION = Request(model="m", messages=(message("user", "What is it?"),))
LOOK = Tool(name="look", parameters={"type": "object"})


def asking(*calls: ToolCall, text: str = "") -> Response:
    return Response(model="m", parts=(Text(text=text), *calls))


def look(number: int = 1, arguments: str = "{}", name: str = "look") -> ToolCall:
    return ToolCall(id=f"call-{number}", name=name, arguments=arguments)


class Model:
    """Answers with the next of `script`, and with the last again and again."""

    def __init__(self, *script: Response) -> None:
        self._script = list(script)
        self.asked: list[Request] = []

    async def __call__(self, request: Request) -> Response:
        self.asked.append(request)
        return self._script[min(len(self.asked), len(self._script)) - 1]


class Box:
    """One tool that takes a second of `clock` and says `says`."""

    def __init__(self, clock: FakeClock | None = None, *, says: str = "a cat", is_error: bool = False) -> None:
        self.tools = (LOOK,)
        self.notes = ()
        self.ran: list[tuple[ToolCall, float | None]] = []
        self._clock = clock
        self._says = says
        self._is_error = is_error

    async def run(self, call: ToolCall, *, seconds: float | None) -> ToolResult:
        self.ran.append((call, seconds))
        if self._clock is not None:
            await self._clock.sleep(1.0)
        return ToolResult(call_id="of another", parts=(Text(text=self._says),), is_error=self._is_error)


def conversation(
    model: Model,
    box: Box,
    limits: ToolLimits | None = None,
    request: Request = QUESTION,
    left: Callable[[], float | None] = lambda: None,
) -> ToolConversation:
    return asyncio.run(converse(model, request, box, limits, left=left))


def texts(messages: Sequence[Message]) -> list[str]:
    results = [part for each in messages for part in each.parts if isinstance(part, ToolResult)]
    return ["".join(part.text for part in result.parts if isinstance(part, Text)) for result in results]


def test_a_model_that_needs_no_tool_is_asked_once_with_the_tools() -> None:
    model, box = Model(asking(text="a dog")), Box()
    found = conversation(model, box)
    assert (found.response.text, found.exhausted, box.ran) == ("a dog", "", [])
    assert [request.tools for request in model.asked] == [(LOOK,)]
    assert found.request is model.asked[-1]


def test_what_a_tool_gave_follows_the_answer_that_asked_for_it() -> None:
    first = asking(look(1), look(2), text="let me look")
    model, box = Model(first, asking(text="a cat")), Box()
    found = conversation(model, box)
    assert found.response.text == "a cat"
    said = (Message(role="assistant", parts=first.parts), *(result(f"call-{number}") for number in (1, 2)))
    assert model.asked[1].messages == (*QUESTION.messages, *said)
    assert box.ran == [(look(1), 60.0), (look(2), 60.0)]


def result(call_id: str) -> Message:
    return Message(role="tool", parts=(ToolResult(call_id=call_id, parts=(Text(text="a cat"),)),))


def test_a_call_of_a_tool_of_the_requests_own_ends_the_conversation() -> None:
    own = Tool(name="mine", parameters={"type": "object"})
    model, box = Model(asking(look(name="mine"), look(2))), Box()
    request = Request(model="m", messages=QUESTION.messages, tools=(own,))
    found = conversation(model, box, request=request)
    assert found.response.tool_calls[0].name == "mine"
    assert (model.asked[0].tools, box.ran) == ((own, LOOK), [])


def test_a_model_that_goes_in_circles_is_asked_one_last_time_without_tools() -> None:
    model, box = Model(asking(look())), Box()
    found = conversation(model, box)
    assert (len(box.ran), len(model.asked)) == (2, 4)
    assert found.exhausted == "the same call was made 3 times in a row"
    assert texts(found.request.messages)[-1] == f"Not run: {found.exhausted}. Answer with what you have."
    assert (found.request.tools, found.request.tool_choice) == ((LOOK,), ToolChoice(mode="none"))


def test_calls_that_are_too_many_have_a_result_too() -> None:
    model, box = Model(asking(look(1), look(2)), asking(text="a cat")), Box()
    found = conversation(model, box, ToolLimits(calls=1))
    assert texts(found.request.messages) == ["a cat", "Not run: 1 calls at once are the most."]


def test_results_are_cut_to_what_is_allowed_of_each_and_of_all() -> None:
    model, box = Model(asking(look(1), look(2)), asking(look(3)), asking(text="!")), Box(says="0123456789")
    found = conversation(model, box, ToolLimits(result_bytes=8, total_bytes=12))
    assert [text.split("[")[0] for text in texts(found.request.messages)][:2] == ["01234567", "0123"]
    assert found.exhausted == "the tools gave 12 bytes, and more are not taken"


def test_no_tool_runs_longer_than_is_left() -> None:
    model, box = Model(asking(look(1)), asking(look(2, "[2]")), asking(text="!")), Box()
    left = iter([7.5, -1.0])
    conversation(model, box, left=lambda: next(left))
    assert [seconds for _, seconds in box.ran] == [7.5, 0.0]


def test_every_run_is_heard_of_also_when_the_money_is_used_up() -> None:
    clock = FakeClock()
    heard: list[ToolRun] = []

    async def ask(request: Request) -> Response:
        if len(request.messages) > 1:
            raise BudgetExceededError("used up")
        return asking(look())

    async def main() -> None:
        box = Box(clock, is_error=True)
        with pytest.raises(BudgetExceededError):
            await converse(ask, QUESTION, box, observe=heard.append, now=clock.now)

    clock.run(main())
    assert heard == [ToolRun(name="look", seconds=1.0, is_error=True, size=5)]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_says_a_conversation_whole(dialect: Any) -> None:
    model, box = Model(asking(look(1), look(2), text="let me look"), asking(text="a cat")), Box()
    found = conversation(model, box, request=replace(QUESTION, settings=Settings(max_output_tokens=9)))
    notices = codec(dialect).encode_request(found.request, stream=False, profile=Profile()).notices
    assert {notice.fate for notice in notices} <= {"translated"}  # some say the results of one turn in one message


CALLS = st.builds(
    ToolCall,
    id=st.sampled_from(["a", "b"]),
    name=st.sampled_from(["look", "other", ""]),
    arguments=st.sampled_from(["{}", "[", "", '{"a":1}', '{"a":2}']),
)
RESPONSES = st.lists(CALLS, max_size=6).map(lambda calls: asking(*calls))
BOUNDS = st.builds(
    ToolLimits,
    turns=st.integers(1, 4),
    calls=st.integers(1, 3),
    result_bytes=st.integers(1, 20),
    total_bytes=st.integers(1, 60),
)


@given(script=st.lists(RESPONSES, min_size=1, max_size=12), limits=BOUNDS, says=st.text(max_size=30))
def test_a_conversation_ends_within_its_bounds_whatever_the_model_does(
    script: list[Response], limits: ToolLimits, says: str
) -> None:
    model, box = Model(*script), Box(says=says)
    found = conversation(model, box, limits)
    assert len(model.asked) <= limits.turns + 2
    assert len(box.ran) <= limits.turns * limits.calls
    taken = [text.split("[")[0] for text in texts(found.request.messages) if not text.startswith("Not run")]
    assert sum(len(text.encode("utf-8", "replace")) for text in taken) <= limits.total_bytes
    # Every call has its result, in order: providers refuse anything else.
    for position, said in enumerate(found.request.messages):
        if said.role == "assistant":
            asked = [part.id for part in said.parts if isinstance(part, ToolCall)]
            answers = found.request.messages[position + 1 : position + 1 + len(asked)]
            assert [part.call_id for each in answers for part in each.parts if isinstance(part, ToolResult)] == asked
