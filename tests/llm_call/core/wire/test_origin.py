"""What is kept of one dialect never reaches another, over every ordered pair of them."""

from collections.abc import Mapping
from itertools import permutations
from typing import Any

import msgspec
import pytest

from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart, fold
from llm_call.core.domain.messages import Media, Message, Reasoning, Text, ToolCall, ToolResult, message
from llm_call.core.domain.profile import DialectName, Profile
from llm_call.core.domain.request import Request, Tool
from llm_call.core.domain.response import FinishReason, Response
from llm_call.core.providers.registry import DIALECTS, codec
from llm_call.core.wire.anthropic_messages_server import AnthropicMessagesServerCodec
from llm_call.core.wire.base import Notices, ServerCodec, WireRequest
from llm_call.core.wire.openai_chat_server import OpenAIChatServerCodec
from llm_call.core.wire.openai_responses_server import OpenAIResponsesServerCodec
from llm_call.core.wire.origin import marked_events, marked_request, own_request

SERVERS: tuple[ServerCodec, ...] = (
    OpenAIChatServerCodec(),
    OpenAIResponsesServerCodec(),
    AnthropicMessagesServerCodec(),
)
PAIRS = list(permutations(DIALECTS, 2))
OWN = "only-here"  # stands in all that an answer says beside its text, its call and their like
ANSWERS: Mapping[DialectName, Mapping[str, Any]] = {
    "openai_chat": {
        "model": "m",
        "system_fingerprint": OWN,
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {
                    "reasoning_content": "hm",
                    "content": "So.",
                    "annotations": [OWN],
                    "tool_calls": [
                        {"id": "c1", "function": {"name": "f", "arguments": '{"a":1}', "x_in": OWN}, "x_by": OWN}
                    ],
                },
            }
        ],
    },
    "openai_responses": {
        "model": "m",
        "status": "completed",
        "service_tier": OWN,
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": OWN},
            {
                "type": "message",
                "phase": OWN,
                "content": [{"type": "output_text", "text": "So.", "annotations": [{"url": OWN}]}],
            },
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}', "namespace": OWN},
            {"type": "web_search_call", "id": OWN},
        ],
    },
    "anthropic_messages": {
        "model": "m",
        "stop_reason": "tool_use",
        "container": {"id": OWN},
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": OWN},
            {"type": "redacted_thinking", "data": OWN},
            {"type": "text", "text": "So.", "citations": [{"cited_text": OWN}]},
            {"type": "server_tool_use", "id": OWN, "name": "web_search", "input": {}},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}, "caller": {"type": OWN}},
        ],
    },
    "gemini": {
        "modelVersion": "m",
        "candidates": [
            {
                "finishReason": "STOP",
                "groundingMetadata": {"x": OWN},
                "content": {
                    "parts": [
                        {"text": "hm", "thought": True, "thoughtSignature": OWN},
                        {"text": "So.", "thoughtSignature": OWN},
                        {"executableCode": {"language": "PYTHON", "code": OWN}},
                        {"functionCall": {"name": "f", "args": {"a": 1}, "id": "c1"}, "thoughtSignature": OWN},
                    ]
                },
            }
        ],
    },
}


def answer(dialect: DialectName) -> Response:
    return codec(dialect).decode_response(msgspec.json.encode(ANSWERS[dialect]))


def history(response: Response) -> Request:
    """The request that goes on after `response`, whose call has been carried out."""
    result = ToolResult(call_id="c1", parts=(Text(text="2"),))
    said = Message(role="assistant", parts=response.parts)
    return Request(model="m", messages=(message("user", "?"), said, Message(role="tool", parts=(result,))))


def encoded(request: Request, dialect: DialectName) -> WireRequest:
    return codec(dialect).encode_request(request, stream=False, profile=Profile())


def events_of(response: Response) -> tuple[Event, ...]:
    """The events of a response whose signatures come, as they do, at the end of a part."""
    events: list[Event] = [ResponseStart(model=response.model)]
    for index, part in enumerate(response.parts):
        signature = part.signature if isinstance(part, Reasoning) else None
        start = msgspec.structs.replace(part, signature=None) if isinstance(part, Reasoning) else part
        events += [PartStart(index=index, part=start), PartEnd(index=index, signature=signature)]
    return (*events, ResponseEnd(finish_reason=response.finish_reason, provider_data=response.provider_data))


@pytest.mark.parametrize(("origin", "target"), PAIRS)
def test_nothing_that_one_dialect_keeps_goes_out_in_another(origin: DialectName, target: DialectName) -> None:
    wire = encoded(history(answer(origin)), target)
    assert OWN.encode() not in wire.body
    for canonical in (b"So.", b'"a":1' if target not in {"openai_chat", "openai_responses"} else b'\\"a\\":1'):
        assert canonical in wire.body


@pytest.mark.parametrize(("origin", "target"), PAIRS)
def test_whatever_is_lost_on_the_way_is_named(origin: DialectName, target: DialectName) -> None:
    said = answer(origin).parts
    dropped = {notice.field for notice in encoded(history(answer(origin)), target).notices if notice.fate == "dropped"}
    for index, part in enumerate(said):
        place = f"messages[1].parts[{index}]"
        if part.provider_data:
            assert {place, f"{place}.provider_data.{origin}"} & dropped


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_a_dialect_keeps_goes_back_to_it(dialect: DialectName) -> None:
    response = answer(dialect)
    body = encoded(history(response), dialect).body
    kept = sum(msgspec.json.encode(part).count(OWN.encode()) for part in response.parts)
    assert body.count(OWN.encode()) == kept > 0


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_kept_bears_its_dialects_name_and_nothing_else_does(dialect: DialectName) -> None:
    response = answer(dialect)
    assert response.provider_data.keys() == {dialect}
    assert {name for part in response.parts for name in part.provider_data} == {dialect}
    decoder = codec(dialect).stream_decoder()
    events = [*decoder.feed(msgspec.json.encode(ANSWERS[dialect])), *decoder.close()]
    assert fold(events) == response


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
@pytest.mark.parametrize("origin", DIALECTS)
def test_clients_of_one_dialect_are_not_sent_what_another_keeps(server: ServerCodec, origin: DialectName) -> None:
    response = answer(origin)
    encoder = server.stream_encoder()
    stream = b"".join(encoder.encode(event) for event in events_of(response))
    for wire in (server.encode_response(response), stream):
        assert (OWN.encode() in wire) is (origin == server.name)
        assert b"So." in wire


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_a_server_codec_marks_what_it_has_read(server: ServerCodec) -> None:
    part = {"type": "input_text" if server.name == "openai_responses" else "text", "text": "hi", "x": OWN}
    turn = {"role": "user", "content": [part]}
    body = {"model": "m", "max_tokens": 9, "messages": [turn], "input": [turn]}
    request, _ = server.decode_request(msgspec.json.encode(body))
    assert request.messages[0].parts[0].provider_data == {server.name: {"x": OWN}}


def test_what_a_result_holds_is_marked_and_reduced_too() -> None:
    picture = Media(media_type="image/png", data=b"x", provider_data={"x": 1})
    plain = Request(
        model="m",
        messages=(Message(role="tool", parts=(ToolResult(call_id="c", parts=(picture,)),)), message("user", "a")),
    )
    marked, notices = marked_request(plain, "one"), Notices()
    assert own_request(marked, "one", notices).messages == plain.messages
    assert not notices
    reduced = own_request(marked, "other", notices)
    assert "provider_data" not in repr(reduced.messages[0].parts).replace("provider_data={}", "")
    assert [notice.field for notice in notices] == ["messages[0].parts[0].parts[0].provider_data.one"]


def test_a_request_that_keeps_nothing_is_not_copied() -> None:
    request = Request(model="m", messages=(message("system", "a"), message("user", "b")))
    assert own_request(request, "one", Notices()) is request


def test_a_mark_of_what_was_made_up_here_is_no_loss() -> None:
    call = ToolCall(id="call_0", name="f", arguments="{}", provider_data={"gemini": {"functionCall": {"id": None}}})
    assert not encoded(history(Response(model="m", parts=(call,))), "openai_chat").notices


def test_fields_under_no_dialect_are_named_and_not_sent() -> None:
    text = Text(text="a", provider_data={"cache": OWN})
    wire = encoded(Request(model="m", messages=(Message(role="user", parts=(text,)),)), "openai_chat")
    assert OWN.encode() not in wire.body
    assert [notice.field for notice in wire.notices] == ["messages[0].parts[0].provider_data.cache"]


def test_pieces_are_handed_on_as_they_are() -> None:
    events = (PartDelta(index=0, text="a"), ResponseEnd(finish_reason=FinishReason(unified="stop")))
    assert all(got is given for got, given in zip(marked_events(events, "one"), events, strict=True))


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_what_a_tool_says_more_goes_back_to_its_dialect_alone(server: ServerCodec) -> None:
    tools: Mapping[str, Any] = {
        "openai_chat": {"type": "function", "function": {"name": "f", "x_in": OWN}, "x_by": OWN},
        "openai_responses": {"type": "function", "name": "f", "x_by": OWN},
        "anthropic_messages": {"name": "f", "input_schema": {"type": "object"}, "x_by": OWN},
    }
    turn = {"role": "user", "content": "hi"}
    body = {"model": "m", "max_tokens": 9, "messages": [turn], "input": [turn], "tools": [tools[server.name]]}
    request, _ = server.decode_request(msgspec.json.encode(body))
    assert request.tools[0].provider_data.keys() == {server.name}
    for dialect in DIALECTS:
        wire = encoded(request, dialect)
        if dialect == server.name:
            assert msgspec.json.decode(wire.body)["tools"][0].items() >= tools[dialect].items()
        else:
            assert OWN.encode() not in wire.body
            assert f"tools[0].provider_data.{server.name}" in {notice.field for notice in wire.notices}


def test_a_declaration_of_geminis_keeps_its_own_fields() -> None:
    tool = Tool(name="f", provider_data={"gemini": {"behavior": "BLOCKING"}})
    wire = encoded(Request(model="m", messages=(), tools=(tool,)), "gemini")
    assert msgspec.json.decode(wire.body)["tools"][0]["functionDeclarations"][0]["behavior"] == "BLOCKING"


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_what_a_client_says_to_its_own_provider_is_not_said_to_another(server: ServerCodec) -> None:
    turn = {"role": "user", "content": "hi"}
    body = {"model": "m", "max_tokens": 9, "messages": [turn], "input": [turn], "x_own": OWN}
    request, _ = server.decode_request(msgspec.json.encode(body))
    for dialect in DIALECTS:
        wire = encoded(request, dialect)
        own = dialect == server.name
        assert (OWN.encode() in wire.body) is own
        assert ("provider_options.x_own" in {notice.field for notice in wire.notices}) is not own


def test_what_the_caller_says_goes_to_any_provider() -> None:
    request = Request(model="m", messages=(message("user", "hi"),), provider_options={"x_own": OWN})
    assert all(OWN.encode() in encoded(request, dialect).body for dialect in DIALECTS)


def test_a_notice_names_the_callers_own_places_behind_what_is_left_out() -> None:
    foreign = Text(text="", provider_data={"elsewhere": {"block": 1}})
    named = Media(media_type="image/png", data=b"x", name="a.png")
    result = ToolResult(call_id="c", parts=(foreign, named))
    request = Request(
        model="m",
        messages=(
            Message(role="assistant", parts=(ToolCall(id="c", name="f", arguments="{}"),)),
            Message(role="user", parts=(foreign, result, foreign, named)),
        ),
    )
    for name in DIALECTS:
        if name != "openai_chat":  # which takes no image in a result
            wire = codec(name).encode_request(request, stream=False, profile=Profile())
            fields = [notice.field for notice in wire.notices if notice.field.endswith(".name")]
            assert fields == ["messages[1].parts[1].parts[1].name", "messages[1].parts[3].name"]
