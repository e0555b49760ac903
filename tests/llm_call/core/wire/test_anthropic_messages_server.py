"""The Messages dialect towards clients."""

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
from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart, fold
from llm_call.core.domain.messages import CacheMarker, Media, Message, Reasoning, Text, ToolCall, ToolResult, message
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Settings, Tool, ToolChoice
from llm_call.core.domain.response import FinishReason, Response, Usage
from llm_call.core.wire.anthropic_messages import AnthropicMessagesCodec
from llm_call.core.wire.anthropic_messages_server import AnthropicMessagesServerCodec
from llm_call.core.wire.openai_chat import OpenAIChatCodec
from llm_call.core.wire.openai_chat_server import OpenAIChatServerCodec

SERVER = AnthropicMessagesServerCodec()
CLIENT = AnthropicMessagesCodec()
CACHED = {"cache_control": {"type": "ephemeral"}}


def body(**fields: Any) -> bytes:
    return msgspec.json.encode(
        {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
    )


def blocks(*content: Any, role: str = "user") -> bytes:
    return body(messages=[{"role": role, "content": content}])


@pytest.mark.parametrize(
    ("sent", "where"),
    [
        (b"", "truncated"),
        (b"{}", "`model`"),
        (b"[]", "object"),
        (b'{"model": "m", "messages": []}', "`max_tokens`"),
        (b'{"model": "m", "max_tokens": 1, "messages": [], "x": ' + b"[" * 100_000, "recursion"),
        (body(messages=[{"role": "tool", "content": "x"}]), r"\$\.messages\[0\]\.role"),
        (body(messages=[{"role": "user"}]), r"\$\.messages\[0\]"),
        (body(messages=[{"role": "user", "content": 5}]), r"\$\.messages\[0\]\.content"),
        (blocks({"type": "text"}), r"\$\.messages\[0\]\.content\[0\]: .*`text`"),
        (blocks({"text": "x"}), r"content\[0\] is no block"),
        (blocks("x"), r"content\[0\] is no block"),
        (blocks({"type": "tool_use", "id": "a", "name": "f", "input": "x"}), r"content\[0\]\.input is no object"),
        (
            blocks({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "?"}}),
            r"content\[0\]\.source\.data is no base64",
        ),
        (
            blocks({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "?"}}),
            r"content\[0\]\.source\.data is no base64",
        ),
        (blocks({"type": "image", "source": "x"}), r"content\[0\]: .*source"),
        (
            blocks({"type": "tool_result", "tool_use_id": "a", "content": [{"type": "tool_result"}]}),
            r"content\[0\]\.content\[0\]",
        ),
        (
            blocks({"type": "tool_result", "tool_use_id": "a", "content": [{"type": "thinking", "thinking": "x"}]}),
            r"content\[0\]\.content holds",
        ),
        (body(temperature="hot"), r"\$\.temperature"),
        (body(tools=[{"description": "x"}]), r"\$\.tools\[0\]"),
        (body(tool_choice={"type": "maybe"}), r"\$\.tool_choice"),
        (body(tool_choice={"type": "tool"}), r"\$\.tool_choice\.name is missing"),
        (body(output_config={"format": {"type": "json_schema"}}), r"\$\.output_config\.format"),
    ],
)
def test_a_wrong_request_is_refused_with_its_place(sent: bytes, where: str) -> None:
    with pytest.raises(BadRequestError, match=where) as caught:
        SERVER.decode_request(sent)
    assert caught.value.status == 400


def test_every_field_has_its_place_in_the_request() -> None:
    request, stream = SERVER.decode_request(
        body(
            system=[{"type": "text", "text": "Be brief.", **CACHED}],
            stop_sequences=["END"],
            temperature=1,
            stream=True,
            tools=[{"name": "f", "description": "d", "input_schema": {"type": "object"}, "type": "custom"}],
            tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True},
            output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}, "effort": "max"},
            thinking={"type": "adaptive"},
            metadata={"user_id": "u"},
        )
    )
    assert stream
    assert request.messages == (
        Message(role="system", parts=(Text(text="Be brief.", cache=CacheMarker()),)),
        message("user", "hi"),
    )
    assert request.settings == Settings(
        max_output_tokens=9, stop=("END",), temperature=1.0, parallel_tool_calls=False, reasoning_effort="max"
    )
    assert request.tools == (Tool(name="f", description="d", parameters={"type": "object"}),)
    assert (request.tool_choice, request.output) == (ToolChoice(name="f"), OutputSpec(schema={"type": "object"}))
    assert request.provider_options == {"metadata": {"user_id": "u"}}


@pytest.mark.parametrize(
    ("thinking", "config", "effort", "options"),
    [
        ({"type": "adaptive"}, {"effort": "low"}, "low", set()),
        ({"type": "disabled"}, None, "none", set()),
        ({"type": "enabled", "budget_tokens": 2000}, None, None, {"thinking"}),
        ({"type": "adaptive", "display": "omitted"}, {"effort": "low"}, None, {"thinking", "output_config"}),
        ({"type": "adaptive"}, None, None, {"thinking"}),
        (None, {"effort": "low"}, None, {"output_config"}),
    ],
)
def test_how_hard_to_think_is_a_setting_where_it_can_say_all_and_else_kept(
    thinking: Any, config: Any, effort: str | None, options: set[str]
) -> None:
    sent = body(thinking=thinking, output_config=config)
    request, _ = SERVER.decode_request(sent)
    assert (request.settings.reasoning_effort, set(request.provider_options)) == (effort, options)
    again = msgspec.json.decode(CLIENT.encode_request(request, stream=False, profile=Profile()).body)
    assert (again.get("thinking"), again.get("output_config")) == (thinking, config)


def test_tools_that_the_server_runs_are_kept_as_given() -> None:
    tools = [
        {"name": "f", "input_schema": {"type": "object"}, **CACHED},
        {"type": "web_search_20260209", "name": "web_search", "max_uses": 2},
    ]
    request, _ = SERVER.decode_request(body(tools=tools))
    assert request.tools == (Tool(name="f", parameters={"type": "object"}, cache=CacheMarker()),)
    again = CLIENT.encode_request(request, stream=False, profile=Profile())
    assert msgspec.json.decode(again.body)["tools"] == tools
    assert [(notice.field, notice.fate) for notice in again.notices] == [("provider_options.tools", "kept")]


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            {"type": "image", "source": {"type": "url", "url": "https://x.org/a"}, **CACHED},
            Media(media_type="image/*", url="https://x.org/a", cache=CacheMarker()),
        ),
        (
            {"type": "image", "source": {"type": "file", "file_id": "f"}},
            Media(
                media_type="image/*", provider_data={"anthropic_messages": {"source": {"type": "file", "file_id": "f"}}}
            ),
        ),
        (
            {"type": "image", "source": {"type": "url", "url": "https://x.org/a", "x": 1}},
            Media(
                media_type="image/*",
                provider_data={"anthropic_messages": {"source": {"type": "url", "url": "https://x.org/a", "x": 1}}},
            ),
        ),
        (
            {"type": "document", "source": {"type": "url", "url": "https://x.org/a"}, "title": "t"},
            Media(media_type="application/pdf", url="https://x.org/a", name="t"),
        ),
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "ä"}},
            Media(media_type="text/plain", data="ä".encode()),
        ),
        (
            {"type": "document", "source": {"type": "content", "content": []}, "citations": {"enabled": True}},
            Media(
                media_type="application/octet-stream",
                provider_data={
                    "anthropic_messages": {"source": {"type": "content", "content": []}, "citations": {"enabled": True}}
                },
            ),
        ),
        (
            {"type": "search_result", "title": "t"},
            Text(text="", provider_data={"anthropic_messages": {"block": {"type": "search_result", "title": "t"}}}),
        ),
    ],
)
def test_a_block_is_the_part_that_says_it_all_and_goes_back_as_it_came(block: dict[str, Any], part: Any) -> None:
    for content, parts in (
        ([block], (part,)),
        (
            [{"type": "tool_result", "tool_use_id": "a", "content": [block], "is_error": True}],
            (ToolResult(call_id="a", parts=(part,), is_error=True),),
        ),
    ):
        request, _ = SERVER.decode_request(blocks(*content))
        assert request.messages[0].parts == parts
        again = CLIENT.encode_request(request, stream=False, profile=Profile())
        assert msgspec.json.decode(again.body)["messages"][0]["content"] == content
        assert not again.notices


def test_a_message_of_results_alone_is_one_of_role_tool() -> None:
    result = {"type": "tool_result", "tool_use_id": "a", "content": "2"}
    tool = ToolResult(call_id="a", parts=(Text(text="2"),))
    assert SERVER.decode_request(blocks(result))[0].messages == (Message(role="tool", parts=(tool,)),)
    mixed = SERVER.decode_request(blocks(result, {"type": "text", "text": "x"}))[0].messages
    assert mixed == (Message(role="user", parts=(tool, Text(text="x"))),)


def test_an_answer_is_written_as_clients_expect_it() -> None:
    response = Response(
        id="msg_1",
        model="m",
        parts=(
            Reasoning(text="hm", signature="s", provider_data={"openai_responses": {"type": "summary_text"}}),
            Text(text="4"),
            ToolCall(id="a", name="f", arguments='{"x": 1.0}'),
            ToolCall(id="b", name="f", arguments=""),
            ToolCall(id="c", name="f", arguments='{"x": '),
        ),
        finish_reason=FinishReason(unified="tool_calls", raw="tool_calls"),
        usage=Usage(
            input_tokens=123,
            output_tokens=3,
            cached_input_tokens=100,
            cache_write_input_tokens=20,
            reasoning_tokens=2,
        ),
        provider_data={"anthropic_messages": {"container": {"id": "c"}, "usage": {"service_tier": "x"}}},
    )
    assert msgspec.json.decode(SERVER.encode_response(response)) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "4"},
            {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1.0}},
            {"type": "tool_use", "id": "b", "name": "f", "input": {}},
            {"type": "tool_use", "id": "c", "name": "f", "input": {"INVALID_JSON": '{"x": '}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 3,
            "service_tier": "x",
            "cache_creation_input_tokens": 20,
            "cache_read_input_tokens": 100,
            "output_tokens": 3,
            "output_tokens_details": {"thinking_tokens": 2},
        },
        "container": {"id": "c"},
    }


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (FinishReason(unified="stop", raw="stop"), "end_turn"),
        (FinishReason(unified="stop", raw="stop_sequence"), "stop_sequence"),
        (FinishReason(unified="length", raw="length"), "max_tokens"),
        (FinishReason(unified="tool_calls", raw="function_call"), "tool_use"),
        (FinishReason(unified="content_filter", raw="SAFETY"), "refusal"),
        (FinishReason(unified="content_filter", raw="stop"), "refusal"),
        (FinishReason(unified="other", raw="pause_turn"), "pause_turn"),
        (FinishReason(unified="other", raw="eos"), "eos"),
        (FinishReason(unified="other"), "end_turn"),
    ],
)
def test_a_finish_reason_is_said_in_a_word_that_clients_know(reason: FinishReason, word: str) -> None:
    wire = msgspec.json.decode(SERVER.encode_response(Response(model="m", finish_reason=reason)))
    assert wire["stop_reason"] == word


def test_an_answer_that_the_dialect_cannot_hold_is_refused() -> None:
    with pytest.raises(UnsupportedError):
        SERVER.encode_response(Response(model="m", parts=(Media(media_type="image/png", data=b"x"),)))


def test_a_stream_is_written_event_by_event() -> None:
    encoder = SERVER.stream_encoder()
    events: tuple[Event, ...] = (
        ResponseStart(model="m", id="c1"),
        PartStart(index=4, part=Text(text="")),
        PartDelta(index=4, text="4"),
        PartDelta(index=4, text=""),
        PartEnd(index=4, provider_data={"anthropic_messages": {"citations": [{"n": 1}], "x": 2}}),
        PartStart(index=7, part=ToolCall(id="a", name="f", arguments="")),
        PartDelta(index=7, text="{}"),
        PartEnd(index=7, signature="s"),
        ResponseEnd(finish_reason=FinishReason(unified="stop"), usage=Usage(input_tokens=1, output_tokens=2)),
    )
    frames = b"".join(encoder.encode(event) for event in events).split(b"\n\n")
    assert frames.pop() == b""
    lines = [frame.split(b"\n") for frame in frames]
    data = [msgspec.json.decode(line.removeprefix(b"data: ")) for _, line in lines]
    assert [name.removeprefix(b"event: ").decode() for name, _ in lines] == [each["type"] for each in data]
    assert data == [
        {
            "type": "message_start",
            "message": {
                "id": "c1",
                "type": "message",
                "role": "assistant",
                "model": "m",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": 0, "output_tokens": 0},
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "4"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": {"n": 1}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "provider_data_delta", "x": 2}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "id": "a", "name": "f", "input": {}},
        },
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "signature_delta", "signature": "s"}},
        {"type": "content_block_stop", "index": 1},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"input_tokens": 1, "output_tokens": 2},
        },
        {"type": "message_stop"},
    ]


def test_a_call_that_has_begun_at_its_start_goes_on_in_pieces() -> None:
    encoder = SERVER.stream_encoder()
    events: tuple[Event, ...] = (
        ResponseStart(model="m"),
        PartStart(index=0, part=ToolCall(id="a", name="f", arguments='{"x":')),
        PartDelta(index=0, text=" 1}"),
        PartEnd(index=0),
        ResponseEnd(finish_reason=FinishReason(unified="tool_calls")),
    )
    stream = b"".join(encoder.encode(event) for event in events)
    assert b'"input":{}' in stream
    assert fold(CLIENT.stream_decoder().feed(stream)).tool_calls[0].arguments == '{"x": 1}'


def test_an_answer_of_another_dialect_reaches_a_client_of_this_one_whole_and_in_a_stream() -> None:
    """From chat completions to Messages: reasoning, text and overlapping tool calls."""
    response = Response(
        id="c1",
        model="m",
        parts=(
            Reasoning(text="hm", provider_data={"openai_chat": {"field": "reasoning_content"}}),
            Text(text="4"),
            ToolCall(id="a", name="f", arguments='{"x": 1}'),
            ToolCall(id="b", name="g", arguments="{}"),
        ),
        finish_reason=FinishReason(unified="tool_calls", raw="tool_calls"),
        usage=Usage(input_tokens=3, output_tokens=4, cached_input_tokens=2),
    )
    chat = OpenAIChatCodec().stream_decoder()
    events = [*chat.feed(OpenAIChatServerCodec().encode_response(response)), *chat.close()]
    encoder, decoder = SERVER.stream_encoder(), CLIENT.stream_decoder()
    got = fold([*decoder.feed(b"".join(encoder.encode(event) for event in events)), *decoder.close()])
    assert got == CLIENT.decode_response(SERVER.encode_response(response))
    assert (got.text, got.tool_calls, got.usage) == (response.text, response.tool_calls, response.usage)
    assert got.parts[0] == Reasoning(text="hm", provider_data={"anthropic_messages": {"type": "thinking"}})


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (BadRequestError("x", code="odd"), 400, "invalid_request_error"),
        (ContextWindowExceededError("x", code="exceed_context_size_error"), 400, "invalid_request_error"),
        (ContentFilteredError("x"), 400, "invalid_request_error"),
        (AuthenticationError("x"), 401, "authentication_error"),
        (PermissionDeniedError("x"), 403, "permission_error"),
        (NotFoundError("x"), 404, "not_found_error"),
        (RateLimitError("x"), 429, "rate_limit_error"),
        (ServerError("x"), 502, "api_error"),
        (OverloadedError("x"), 529, "overloaded_error"),
    ],
)
def test_an_error_of_a_provider_keeps_its_class_on_the_way(error: APIError, status: int, kind: str) -> None:
    code, wire = SERVER.encode_error(error)
    said = msgspec.json.decode(wire)
    assert (code, said["type"], said["error"]["type"], said["error"]["message"]) == (status, "error", kind, "x")
    assert type(CLIENT.decode_error(code, {}, wire)) is type(error)
    with pytest.raises(type(error)):
        CLIENT.stream_decoder().feed(SERVER.stream_encoder().encode_error(error))


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (UnknownModelError("no such model", did_you_mean=("opus",)), 404, "not_found_error"),
        (UnsupportedError("x"), 400, "invalid_request_error"),
        (BudgetExceededError("x"), 429, "rate_limit_error"),
        (DeadlineExceededError("x"), 504, "timeout_error"),
        (ConfigError("x"), 500, "api_error"),
        (ProtocolError("x"), 502, "api_error"),
        (LLMCallError("x"), 502, "api_error"),
    ],
)
def test_every_other_error_has_a_status_and_a_body(error: LLMCallError, status: int, kind: str) -> None:
    found, wire = SERVER.encode_error(error)
    said = msgspec.json.decode(wire)["error"]
    assert (found, said["type"], said["message"]) == (status, kind, f"{error.message} {error.hint}".strip())


def test_an_unknown_finish_reason_and_unknown_counts_are_what_the_dialect_can_say() -> None:
    answer = msgspec.json.decode(SERVER.encode_response(Response(model="m")))
    assert (answer["stop_reason"], answer["usage"]) == ("end_turn", {"input_tokens": 0, "output_tokens": 0})
    end = SERVER.stream_encoder().encode(ResponseEnd(finish_reason=FinishReason(unified="other"), usage=Usage()))
    assert b'"usage":{"input_tokens":0,"output_tokens":0}' in end
