from typing import Any

import msgspec
import pytest

from llm_call.core.call_config import read_config
from llm_call.core.domain.errors import BadRequestError, ConfigError
from llm_call.core.domain.events import fold
from llm_call.core.domain.messages import Message, Text, ToolCall, ToolResult, message
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import Request, Tool, ToolChoice
from llm_call.core.wire.openai_chat import OpenAIChatCodec
from llm_call.core.wire.openai_chat_legacy import is_legacy
from llm_call.core.wire.openai_chat_server import OpenAIChatServerCodec

SERVER, CODEC = OpenAIChatServerCodec(), OpenAIChatCodec()
WEATHER = {"name": "weather", "description": "Of a city.", "parameters": {"type": "object"}}
CALL = {"name": "weather", "arguments": '{"city": "Rome"}'}
TURNS: list[dict[str, Any]] = [
    {"role": "user", "content": "How is Rome?"},
    {"role": "assistant", "content": None, "function_call": CALL},
    {"role": "function", "name": "weather", "content": "Sunny."},
    {"role": "assistant", "content": "And now?", "function_call": CALL},
    {"role": "function", "name": "weather", "content": "Rain."},
]


def decoded(**body: Any) -> Request:
    return SERVER.decode_request(msgspec.json.encode({"model": "m", "messages": TURNS[:1], **body}))[0]


@pytest.mark.parametrize(
    ("said", "choice"),
    [
        (None, None),
        ("auto", ToolChoice(mode="auto")),
        ("none", ToolChoice(mode="none")),
        ({"name": "weather"}, ToolChoice(name="weather")),
    ],
)
def test_functions_are_tools_and_the_function_call_is_the_choice(said: Any, choice: ToolChoice | None) -> None:
    request = decoded(functions=[WEATHER], function_call=said)
    assert request.tools == (Tool(name="weather", description="Of a city.", parameters={"type": "object"}),)
    assert request.tool_choice == choice
    assert not request.provider_options


def test_each_result_has_the_id_of_its_call() -> None:
    request = decoded(messages=TURNS)
    first = ToolCall(id="function_call_1", name="weather", arguments='{"city": "Rome"}')
    second = ToolCall(id="function_call_3", name="weather", arguments='{"city": "Rome"}')
    assert request.messages == (
        message("user", "How is Rome?"),
        Message(role="assistant", parts=(first,)),
        Message(
            role="tool", name="weather", parts=(ToolResult(call_id="function_call_1", parts=(Text(text="Sunny."),)),)
        ),
        Message(role="assistant", parts=(Text(text="And now?"), second)),
        Message(
            role="tool", name="weather", parts=(ToolResult(call_id="function_call_3", parts=(Text(text="Rain."),)),)
        ),
    )
    assert decoded(messages=TURNS) == request
    wire = CODEC.encode_request(request, stream=False, profile=Profile())
    assert b'function_call"' not in wire.body
    assert SERVER.decode_request(wire.body)[0].messages == request.messages


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"functions": 1}, r"\$\.functions"),
        ({"functions": [{"description": "x"}]}, r"name"),
        ({"function_call": "required"}, r"\$\.function_call"),
        ({"functions": [WEATHER], "tools": [{"type": "function", "function": WEATHER}]}, r"\$\.functions .* \$\.tools"),
        ({"function_call": "auto", "tool_choice": "auto"}, r"\$\.function_call .* \$\.tool_choice"),
        ({"messages": [TURNS[0], TURNS[2]]}, r"\$\.messages\[1\]: no function_call of 'weather'"),
        ({"messages": [*TURNS[:2], {**TURNS[2], "name": "other"}]}, r"\$\.messages\[2\]: no function_call of 'other'"),
        ({"messages": [{"role": "assistant", "function_call": "f"}]}, r"\$\.messages\[0\]\.function_call"),
        ({"messages": [{"role": "user", "content": "a", "function_call": CALL}]}, r"\$\.messages\[0\]"),
    ],
)
def test_what_cannot_be_said_is_refused_with_its_place(body: dict[str, Any], where: str) -> None:
    with pytest.raises(BadRequestError, match=where):
        decoded(**body)


@pytest.mark.parametrize("raw", [None, [], {}, {"messages": 1}, {"messages": [1, {"role": "user"}]}])
def test_a_request_of_today_is_not_touched(raw: Any) -> None:
    assert not is_legacy(raw)


def test_a_case_may_say_it_in_the_old_words() -> None:
    config = {"model": "openai/gpt-4o", "messages": TURNS, "functions": [WEATHER], "function_call": "auto"}
    request = read_config(config)[1]
    assert request.tools[0].name == "weather"
    assert request.tool_choice == ToolChoice(mode="auto")
    assert request.messages[1].parts[0] == ToolCall(id="function_call_1", name="weather", arguments=CALL["arguments"])
    with pytest.raises(ConfigError, match="functions"):
        read_config({**config, "functions": "weather"})


@pytest.mark.parametrize("both", [False, True])
def test_a_function_call_in_an_answer_is_a_tool_call_once(both: bool) -> None:
    said: dict[str, Any] = {"role": "assistant", "content": None, "function_call": CALL}
    if both:  # some servers say it in both words
        said["tool_calls"] = [{"id": "call_0", "type": "function", "function": CALL}]
    body = {"model": "m", "choices": [{"index": 0, "message": said, "finish_reason": "function_call"}]}
    response = CODEC.decode_response(msgspec.json.encode(body))
    assert response.parts == (ToolCall(id="call_0", name="weather", arguments='{"city": "Rome"}'),)
    assert response.finish_reason.unified == "tool_calls"


def test_a_function_call_in_a_stream_is_a_tool_call_in_pieces() -> None:
    pieces: list[dict[str, Any]] = [
        {"delta": {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": ""}}},
        {"delta": {"function_call": {"arguments": '{"city": '}}},
        {"delta": {"function_call": {"arguments": '"Rome"}'}}},
        {"delta": {}, "finish_reason": "function_call"},
    ]
    decoder = CODEC.stream_decoder()
    frames = [b"data: " + msgspec.json.encode({"model": "m", "choices": [{"index": 0, **each}]}) for each in pieces]
    events = [event for frame in [*frames, b"data: [DONE]"] for event in decoder.feed(frame + b"\n\n")]
    assert fold([*events, *decoder.close()]).tool_calls == (
        ToolCall(id="call_0", name="weather", arguments='{"city": "Rome"}'),
    )
