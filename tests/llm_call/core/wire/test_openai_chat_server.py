"""Chat completions towards clients."""

from typing import Any

import msgspec
import pytest

from llm_call.core.domain.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigError,
    ContentFilteredError,
    ContextWindowExceededError,
    DeadlineExceededError,
    LLMCallError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    ServerError,
    UnknownModelError,
    UnsupportedError,
)
from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart
from llm_call.core.domain.messages import Media, Text, ToolCall
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Settings, ToolChoice
from llm_call.core.domain.response import FinishReason, Response, Usage
from llm_call.core.wire.openai_chat import OpenAIChatCodec
from llm_call.core.wire.openai_chat_server import OpenAIChatServerCodec
from llm_call.core.wire.openai_responses import OpenAIResponsesCodec

SERVER = OpenAIChatServerCodec()


def body(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields})


@pytest.mark.parametrize(
    ("sent", "where"),
    [
        (b"", "truncated"),
        (b"{}", "`model`"),
        (b"[]", "object"),
        (b'{"model": "m", "messages": [], "x": ' + b"[" * 100_000, "recursion"),
        (body(messages=[{"role": "robot", "content": "x"}]), r"\$\.messages\[0\]\.role"),
        (body(messages=[{"role": "user"}]), r"\$\.messages\[0\]\.content"),
        (body(messages=[{"role": "user", "content": 5}]), r"\$\.messages\[0\]\.content"),
        (body(messages=[{"role": "user", "content": [{"type": "text"}]}]), r"\$\.messages\[0\]\.content\[0\]"),
        (body(messages=[{"role": "user", "content": [{"type": "smell"}]}]), r"content\[0\]\.type"),
        (body(messages=[{"role": "tool", "content": "x"}]), r"\$\.messages\[0\]\.tool_call_id"),
        (body(messages=[{"role": "user", "content": "x", "refusal": "no"}]), r"\$\.messages\[0\]"),
        (
            body(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x,y"}}]}]),
            r"content\[0\]\.image_url\.url is no base64 data URL",
        ),
        (
            body(
                messages=[
                    {
                        "role": "user",
                        "content": [{"type": "input_audio", "input_audio": {"data": "?", "format": "wav"}}],
                    }
                ]
            ),
            r"content\[0\]\.input_audio\.data",
        ),
        (
            body(messages=[{"role": "user", "content": [{"type": "file", "file": {}}]}]),
            r"content\[0\]\.file has neither",
        ),
        (body(temperature="hot"), r"\$\.temperature"),
        (body(max_tokens=1.5), r"\$\.max_tokens"),
        (body(tools=[{"type": "web_search"}]), r"\$\.tools\[0\]"),
        (body(tools=[{"type": "function"}]), r"\$\.tools\[0\]\.function is missing"),
        (body(tool_choice={"type": "function", "function": {"name": "f", "colour": 1}}), "colour"),
        (body(tool_choice="maybe"), r"\$\.tool_choice"),
        (body(response_format={"type": "json_schema"}), r"\$\.response_format\.json_schema is missing"),
    ],
)
def test_a_wrong_request_is_refused_with_its_place(sent: bytes, where: str) -> None:
    with pytest.raises(BadRequestError, match=where) as caught:
        SERVER.decode_request(sent)
    assert caught.value.status == 400


def test_every_way_to_say_a_thing_is_understood() -> None:
    request, stream = SERVER.decode_request(
        body(
            stop="END",
            max_completion_tokens=5,
            max_tokens=9,
            temperature=1,
            tool_choice={"type": "function", "function": {"name": "f"}},
            response_format={"type": "json_object"},
            tools=None,
            stream=True,
            stream_options={"include_usage": False},
            user="ann",
            seed=None,
        )
    )
    assert stream
    assert request.settings == Settings(stop=("END",), max_output_tokens=5, temperature=1.0)
    assert (request.tool_choice, request.output) == (ToolChoice(name="f"), OutputSpec())
    assert request.provider_options == {"user": "ann"}
    assert not SERVER.decode_request(body(response_format={"type": "text"}))[0].output


def test_unknown_fields_stay_where_they_were_found() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://x.org/a", "detail": "low"}, "cache_control": {"a": 1}}
    request, _ = SERVER.decode_request(body(messages=[{"role": "user", "content": [image], "weight": 0}], top_k=4))
    assert request.provider_options == {"top_k": 4}
    assert request.messages[0].provider_data == {"openai_chat": {"weight": 0}}
    assert request.messages[0].parts == (
        Media(
            media_type="image/*",
            url="https://x.org/a",
            provider_data={"openai_chat": {"cache_control": {"a": 1}, "image_url": {"detail": "low"}}},
        ),
    )


def test_an_answer_is_written_as_clients_expect_it() -> None:
    response = Response(
        id="c1",
        model="m",
        parts=(Text(text="4"), ToolCall(id="a", name="f", arguments="{}")),
        finish_reason=FinishReason(unified="tool_calls", raw="tool_use"),
        usage=Usage(input_tokens=7, output_tokens=3, cached_input_tokens=2),
        provider_data={
            "openai_chat": {
                "service_tier": "flex",
                "choice": {"seen": 1, "message": {"annotations": [1]}},
                "usage": {"cost": 1},
            }
        },
    )
    assert msgspec.json.decode(SERVER.encode_response(response)) == {
        "id": "c1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "service_tier": "flex",
        "choices": [
            {
                "index": 0,
                "seen": 1,
                "message": {
                    "role": "assistant",
                    "content": "4",
                    "annotations": [1],
                    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 3,
            "total_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 2},
            "cost": 1,
        },
    }


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (FinishReason(unified="stop", raw="end_turn"), "stop"),
        (FinishReason(unified="tool_calls", raw="function_call"), "function_call"),
        (FinishReason(unified="content_filter", raw="SAFETY"), "content_filter"),
        (FinishReason(unified="content_filter", raw="stop"), "stop"),
        (FinishReason(unified="other", raw="eos"), "eos"),
        (FinishReason(unified="other"), "stop"),
    ],
)
def test_a_finish_reason_is_said_in_a_word_that_clients_know(reason: FinishReason, word: str) -> None:
    wire = msgspec.json.decode(SERVER.encode_response(Response(model="m", finish_reason=reason)))
    assert wire["choices"][0]["finish_reason"] == word


def test_an_answer_that_the_dialect_cannot_hold_is_refused() -> None:
    with pytest.raises(UnsupportedError):
        SERVER.encode_response(Response(model="m", parts=(Media(media_type="image/png", data=b"x"),)))


def test_a_stream_is_written_chunk_by_chunk() -> None:
    encoder = SERVER.stream_encoder()
    events: tuple[Event, ...] = (
        ResponseStart(model="m", id="c1"),
        PartStart(index=4, part=Text(text="")),
        PartDelta(index=4, text="4"),
        PartStart(index=7, part=ToolCall(id="a", name="f", arguments="")),
        PartDelta(index=7, text="{}"),
        PartEnd(index=4),
        PartEnd(index=7, provider_data={"openai_chat": {"signature": "s"}}),
        ResponseEnd(finish_reason=FinishReason(unified="stop"), usage=Usage(input_tokens=1, output_tokens=2)),
    )
    frames = b"".join(encoder.encode(event) for event in events).split(b"\n\n")
    assert frames[-2:] == [b"data: [DONE]", b""]
    chunks = [msgspec.json.decode(frame.removeprefix(b"data: ")) for frame in frames[:-2]]
    assert {(each["id"], each["object"], each["model"]) for each in chunks} == {("c1", "chat.completion.chunk", "m")}
    assert [each["choices"][0]["delta"] for each in chunks[:-1]] == [
        {"role": "assistant", "content": ""},
        {"content": "4"},
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {"tool_calls": [{"index": 0, "signature": "s"}]},
        {},
    ]
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["total_tokens"]) == ([], 3)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadRequestError("x", code="odd"), 400),
        (ContextWindowExceededError("x", code="exceed_context_size_error"), 400),
        (ContentFilteredError("x"), 400),
        (AuthenticationError("x"), 401),
        (PermissionDeniedError("x"), 403),
        (NotFoundError("x"), 404),
        (RateLimitError("x"), 429),
        (ServerError("x"), 502),
        (OverloadedError("x"), 503),
    ],
)
def test_an_error_of_a_provider_keeps_its_class_on_the_way(error: APIError, status: int) -> None:
    code, wire = SERVER.encode_error(error)
    assert code == status
    assert type(OpenAIChatCodec().decode_error(code, {}, wire)) is type(error)
    with pytest.raises(type(error)):
        OpenAIChatCodec().stream_decoder().feed(SERVER.stream_encoder().encode_error(error))


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (UnknownModelError("no such model", did_you_mean=("gpt",)), 404, "model_not_found"),
        (UnsupportedError("x"), 400, None),
        (BudgetExceededError("x"), 429, "budget_exceeded"),
        (DeadlineExceededError("x"), 504, None),
        (ConfigError("x"), 500, None),
        (ProtocolError("x"), 502, None),
        (LLMCallError("x"), 502, None),
    ],
)
def test_every_other_error_has_a_status_and_a_body(error: LLMCallError, status: int, code: str | None) -> None:
    found, wire = SERVER.encode_error(error)
    assert found == status
    said = msgspec.json.decode(wire)["error"]
    assert said["code"] == code
    assert said["message"] == f"{error.message} {error.hint}".strip()


def test_tools_that_are_no_functions_and_choices_of_several_go_back_as_they_came() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "c"}}]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": tools[1:]}}
    request, _ = SERVER.decode_request(body(tools=tools, tool_choice=choice))
    assert [tool.name for tool in request.tools] == ["f"]
    wire = OpenAIChatCodec().encode_request(request, stream=False, profile=Profile())
    sent = msgspec.json.decode(wire.body)
    assert (sent["tools"], sent["tool_choice"]) == (tools, choice)
    elsewhere = OpenAIResponsesCodec().encode_request(request, stream=False, profile=Profile())
    named = {notice.field for notice in elsewhere.notices if notice.fate == "dropped"}
    assert {"provider_options.tools", "provider_options.tool_choice"} <= named


def test_an_unknown_finish_reason_is_sent_as_a_stop() -> None:
    answer = msgspec.json.decode(SERVER.encode_response(Response(model="m")))
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_usage_that_is_half_known_is_left_out() -> None:
    assert b"usage" not in SERVER.encode_response(Response(model="m", usage=Usage(output_tokens=3)))
    end = ResponseEnd(finish_reason=FinishReason(unified="stop"), usage=Usage(output_tokens=3))
    assert b"usage" not in SERVER.stream_encoder().encode(end)
