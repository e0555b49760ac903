"""Answers in the Messages dialect: each whole and in events; streams that go wrong; failures."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from llm_call.core.domain.errors import (
    APIError,
    ContextWindowExceededError,
    OverloadedError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from llm_call.core.domain.events import Event, PartEnd, PartStart, ResponseEnd, fold
from llm_call.core.domain.messages import Reasoning, Text, ToolCall
from llm_call.core.domain.response import FinishReason, Response, Usage
from llm_call.core.wire.anthropic_messages import AnthropicMessagesCodec
from llm_call.core.wire.anthropic_messages_server import AnthropicMessagesServerCodec

CODEC = AnthropicMessagesCodec()
CITATION = {"type": "char_location", "cited_text": "x", "document_index": 0, "document_title": None}
SEARCH = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"type": "web_search_result", "url": "u"}]}


def whole(*content: Mapping[str, Any], stop: str | None = "end_turn", **top: Any) -> bytes:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m1", "stop_sequence": None}
    return msgspec.json.encode({**head, "content": content, "stop_reason": stop, **top})


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: ".encode() + msgspec.json.encode({"type": kind, **fields}) + b"\n\n"


def start(**fields: Any) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m1", "content": [], **fields}
    return event("message_start", message={"stop_reason": None, "stop_sequence": None, **message})


def block(index: int, content: Mapping[str, Any], *deltas: Mapping[str, Any]) -> bytes:
    more = (event("content_block_delta", index=index, delta=delta) for delta in deltas)
    begin = event("content_block_start", index=index, content_block=content)
    return b"".join([begin, *more, event("content_block_stop", index=index)])


def end(stop: str | None = "end_turn", usage: Mapping[str, Any] | None = None, **delta: Any) -> bytes:
    return event(
        "message_delta", delta={"stop_reason": stop, "stop_sequence": None, **delta}, usage=usage or {}
    ) + event("message_stop")


def text(index: int, *pieces: str) -> bytes:
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": piece} for piece in pieces))


def streamed(*frames: bytes) -> list[Event]:
    decoder = CODEC.stream_decoder()
    return [*(each for frame in frames for each in decoder.feed(frame)), *decoder.close()]


PING = event("ping")
USAGE = {"input_tokens": 1, "output_tokens": 2}
STOP = FinishReason(unified="stop", raw="end_turn")
COUNTS = {
    "input_tokens": 3,
    "cache_creation_input_tokens": 20,
    "cache_read_input_tokens": 100,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 0},
    "service_tier": "standard",
}

ANSWERS: Mapping[str, tuple[bytes, tuple[bytes, ...], Response]] = {
    "signed thinking, a redacted thought, text; cached tokens are input; a ping anywhere": (
        whole(
            {"type": "thinking", "thinking": "let me see", "signature": "sig=="},
            {"type": "redacted_thinking", "data": "enc"},
            {"type": "text", "text": "4", "citations": None},
            usage={**COUNTS, "output_tokens": 12, "output_tokens_details": {"thinking_tokens": 9}},
        ),
        (
            start(usage={**COUNTS, "output_tokens": 1}),
            PING,
            block(
                0,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "let me"},
                {"type": "thinking_delta", "thinking": " see"},
                {"type": "signature_delta", "signature": "sig=="},
            ),
            PING,
            block(1, {"type": "redacted_thinking", "data": "enc"}),
            text(2, "4"),
            end(usage={"output_tokens": 12, "output_tokens_details": {"thinking_tokens": 9}, "input_tokens": None}),
        ),
        Response(
            id="msg_1",
            model="m1",
            parts=(
                Reasoning(
                    text="let me see", signature="sig==", provider_data={"anthropic_messages": {"type": "thinking"}}
                ),
                Reasoning(text="", provider_data={"anthropic_messages": {"type": "redacted_thinking", "data": "enc"}}),
                Text(text="4"),
            ),
            finish_reason=STOP,
            usage=Usage(
                input_tokens=123,
                output_tokens=12,
                cached_input_tokens=100,
                cache_write_input_tokens=20,
                reasoning_tokens=9,
            ),
            provider_data={
                "anthropic_messages": {
                    "usage": {
                        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 0},
                        "service_tier": "standard",
                    }
                }
            },
        ),
    ),
    "tool calls: arguments as they were written, none at all, and a field of the provider's": (
        whole(
            {
                "type": "tool_use",
                "id": "a",
                "name": "f",
                "input": msgspec.Raw(b'{"x": 1.0, "y": [ ]}'),
                "caller": {"type": "direct"},
            },
            {"type": "tool_use", "id": "b", "name": "now", "input": {}},
            stop="tool_use",
        ),
        (
            start(),
            block(
                0,
                {"type": "tool_use", "id": "a", "name": "f", "input": {}, "caller": {"type": "direct"}},
                {"type": "input_json_delta", "partial_json": ""},
                {"type": "input_json_delta", "partial_json": '{"x": 1.'},
                {"type": "input_json_delta", "partial_json": '0, "y": [ ]}'},
            ),
            block(
                1,
                {"type": "tool_use", "id": "b", "name": "now", "input": {}},
                {"type": "input_json_delta", "partial_json": ""},
            ),
            end("tool_use"),
        ),
        Response(
            id="msg_1",
            model="m1",
            parts=(
                ToolCall(
                    id="a",
                    name="f",
                    arguments='{"x": 1.0, "y": [ ]}',
                    provider_data={"anthropic_messages": {"caller": {"type": "direct"}}},
                ),
                ToolCall(id="b", name="now", arguments="{}"),
            ),
            finish_reason=FinishReason(unified="tool_calls", raw="tool_use"),
        ),
    ),
    "a search by the server, an answer with citations, a container, a pause": (
        whole(
            SEARCH,
            FOUND,
            {"type": "text", "text": "x.", "citations": [CITATION, CITATION]},
            stop="pause_turn",
            container={"id": "c"},
            context_management={"applied_edits": [1]},
        ),
        (
            start(),
            block(
                0,
                {**SEARCH, "input": {}},
                {"type": "input_json_delta", "partial_json": '{"query"'},
                {"type": "input_json_delta", "partial_json": ': "x"}'},
            ),
            block(1, FOUND),
            block(
                2,
                {"type": "text", "text": "", "citations": []},
                {"type": "citations_delta", "citation": CITATION},
                {"type": "text_delta", "text": "x."},
                {"type": "citations_delta", "citation": CITATION},
            ),
            event(
                "message_delta",
                delta={"stop_reason": "pause_turn", "container": {"id": "c"}},
                context_management={"applied_edits": [1]},
            ),
            event("message_stop"),
        ),
        Response(
            id="msg_1",
            model="m1",
            parts=(
                Text(text="", provider_data={"anthropic_messages": {"block": SEARCH}}),
                Text(text="", provider_data={"anthropic_messages": {"block": FOUND}}),
                Text(text="x.", provider_data={"anthropic_messages": {"citations": [CITATION, CITATION]}}),
            ),
            finish_reason=FinishReason(unified="other", raw="pause_turn"),
            provider_data={
                "anthropic_messages": {"container": {"id": "c"}, "context_management": {"applied_edits": [1]}}
            },
        ),
    ),
    "a refusal with its details, and a block of a newer kind with a newer delta": (
        whole(
            {"type": "compaction", "content": "so far"},
            stop="refusal",
            stop_details={"type": "refusal", "category": "bio"},
        ),
        (
            start(),
            block(0, {"type": "compaction", "content": None}, {"type": "compaction_delta", "content": "so far"}),
            event("newer_event", anything=[1]),
            end("refusal", stop_details={"type": "refusal", "category": "bio"}),
        ),
        Response(
            id="msg_1",
            model="m1",
            parts=(
                Text(
                    text="",
                    provider_data={"anthropic_messages": {"block": {"type": "compaction", "content": "so far"}}},
                ),
            ),
            finish_reason=FinishReason(unified="content_filter", raw="refusal"),
            provider_data={"anthropic_messages": {"stop_details": {"type": "refusal", "category": "bio"}}},
        ),
    ),
    "llama.cpp: zeros before anything is counted, the input counted at the start": (
        whole({"type": "text", "text": "Hi"}, stop="max_tokens", usage={"input_tokens": 9, "output_tokens": 2}),
        (
            start(usage={"input_tokens": 9, "output_tokens": 0}),
            text(0, "H", "i"),
            end("max_tokens", usage={"output_tokens": 2}),
        ),
        Response(
            id="msg_1",
            model="m1",
            parts=(Text(text="Hi"),),
            finish_reason=FinishReason(unified="length", raw="max_tokens"),
            usage=Usage(input_tokens=9, output_tokens=2),
        ),
    ),
    "nothing but an end, by a stop sequence": (
        whole(stop="stop_sequence", stop_sequence="END"),
        (start(), end("stop_sequence", stop_sequence="END")),
        Response(
            id="msg_1",
            model="m1",
            finish_reason=FinishReason(unified="stop", raw="stop_sequence"),
            provider_data={"anthropic_messages": {"stop_sequence": "END"}},
        ),
    ),
}


@pytest.mark.parametrize(("body", "frames", "response"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_the_same_whole_and_in_events(body: bytes, frames: tuple[bytes, ...], response: Response) -> None:
    assert CODEC.decode_response(body) == response
    assert fold(streamed(*frames)) == response
    assert fold(streamed(body)) == response


@pytest.mark.parametrize(
    ("stop", "unified"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "other"),
        ("something_newer", "other"),
        (None, "other"),
    ],
)
def test_a_stop_reason_has_its_place_in_the_one_vocabulary(stop: str | None, unified: Any) -> None:
    assert CODEC.decode_response(whole(stop=stop)).finish_reason == FinishReason(unified=unified, raw=stop)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "nothing"),
        (b"<html><body>Bad gateway</body></html>", "Bad gateway"),
        (whole({"type": "text", "text": "half"})[:60], "message"),
        (b"{}", "content is no array"),
        (b'{"choices": [{"message": {"content": "another dialect"}}]}', "content is no array"),
        (whole({"type": "text", "text": 5}), r"content\[0\].text is no text"),
        (whole({"type": 5}), r"content\[0\].type is no text"),
        (whole({"type": "tool_use", "id": "a", "input": {}}), "a call has no name"),
        (whole(usage=[1]), "usage is no object"),
        (whole(model=7), "model is no text"),
        (b'{"type": "error", "error": {"message": "boom sk-abcdefghijkl"}}', r"success: .*boom \[masked\]"),
        (b"[" * 100_000, r"\[\[\["),
        (b"null", "null"),
    ],
)
def test_a_success_without_an_answer_is_a_protocol_error_that_says_what_came(body: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says) as caught:
        CODEC.decode_response(body)
    assert len(caught.value.message) < 400


def test_an_input_that_came_as_text_or_whole_at_the_start_is_taken() -> None:
    call = {"type": "tool_use", "id": "a", "name": "f", "input": '{"x": 1}'}
    assert CODEC.decode_response(whole(call)).tool_calls[0].arguments == '{"x": 1}'
    assert fold(streamed(start(), block(0, {**call, "input": {"x": 1}}), end())).tool_calls[0].arguments == '{"x":1}'


def test_an_answer_that_calls_ends_for_its_calls_whatever_the_word_was() -> None:
    call = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    reason = FinishReason(unified="tool_calls", raw="end_turn")
    assert CODEC.decode_response(whole(call)).finish_reason == reason
    assert fold(streamed(start(), block(0, call), end())).finish_reason == reason
    assert CODEC.decode_response(whole(call, stop="max_tokens")).finish_reason.unified == "length"


def test_what_a_block_brings_at_its_start_and_later_is_kept_together_and_handed_on_once() -> None:
    first, second = {**CITATION, "n": 1}, {**CITATION, "n": 2}
    begin = {"type": "text", "text": "a", "citations": [first], "x": {"y": 1}, "v": [1], "w": [1]}
    delta = {"type": "newer_delta", "x": {"z": 2}, "w": [2]}
    events = streamed(
        start(), block(0, begin, {"type": "citations_delta", "citation": second}, delta), end(usage=USAGE)
    )
    kept = {"citations": [first, second], "x": {"y": 1, "z": 2}, "v": [1], "w": [1, 2]}
    assert fold(events).parts == (Text(text="a", provider_data={"anthropic_messages": kept}),)
    encoder = AnthropicMessagesServerCodec().stream_encoder()
    again = b"".join(encoder.encode(each) for each in events)
    assert fold(streamed(again)) == fold(events)
    assert again.count(b'"n":1') == again.count(b'"n":2') == again.count(b'"v":') == 1


# Streams that go wrong


def test_a_stream_is_complete_at_its_stop_and_nothing_after_it_is_read() -> None:
    decoder = CODEC.stream_decoder()
    assert isinstance(decoder.feed(start() + text(0, "a") + end())[-1], ResponseEnd)
    assert decoder.feed(b"data: not JSON\n\n") == ()
    assert decoder.close() == ()


@pytest.mark.parametrize("last", [b"", b"\n", b"data: [DONE]\n\n", b'data: {"type": "message_stop"}', b'data: {"ty'])
def test_a_stream_with_its_stop_reason_is_complete_however_it_closes(last: bytes) -> None:
    stopped = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 1})
    assert fold(streamed(start(), text(0, "a"), stopped, last)).text == "a"


def test_a_block_that_nobody_ends_ends_with_the_answer() -> None:
    open_block = text(0, "a").removesuffix(event("content_block_stop", index=0))
    events = streamed(start(), open_block, end())
    assert fold(events).text == "a"
    assert [type(each) for each in events[-2:]] == [PartEnd, ResponseEnd]


def test_blocks_may_overlap_and_keep_their_places() -> None:
    first, second = text(0, "a"), text(1, "b")
    begin, stop = first.split(b"event: content_block_delta")
    response = fold(streamed(start(), begin, second, b"event: content_block_delta" + stop, end()))
    assert response.text == "ab"


@pytest.mark.parametrize("last", [b"", event("message_stop"), PING, b'data: {"type": "message_d', b"data: [DONE]\n\n"])
def test_a_stream_without_a_stop_reason_is_interrupted_and_tells_what_had_arrived(last: bytes) -> None:
    thought = block(0, {"type": "thinking"}, {"type": "thinking_delta", "thinking": "hm"})
    with pytest.raises(StreamInterruptedError) as caught:
        streamed(start(), thought, text(1, "so", " far"), last)
    assert caught.value.text == "so far"


@pytest.mark.parametrize("body", [b"", b"\n\n", b": ping\n\n", b"data: \n\n", PING])
def test_a_stream_of_nothing_is_interrupted(body: bytes) -> None:
    with pytest.raises(StreamInterruptedError):
        streamed(body)


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (event("error", error={"type": "overloaded_error", "message": "x"}, request_id="req_1"), OverloadedError),
        (event("error", error={"type": "api_error", "message": "x"}), ServerError),
        (b'data: {"type": "error", "error": {"type": "rate_limit_error"}}\n\n', RateLimitError),
        (b'data: {"error": {"code": 400, "type": "exceed_context_size_error"}}\n\n', ContextWindowExceededError),
        (b"event: error\ndata: upstream went away\n\n", ServerError),
        (b'{"type": "error", "error": {"type": "permission_error"}}', PermissionDeniedError),
    ],
)
def test_an_error_in_the_place_of_an_event_is_raised_as_what_it_is(frame: bytes, kind: type[APIError]) -> None:
    before = () if frame.startswith(b"{") else (start(), text(0, "a"))
    with pytest.raises(kind) as caught:
        streamed(*before, frame)
    assert type(caught.value) is kind
    assert caught.value.request_id == ("req_1" if b"req_1" in frame else None)


@pytest.mark.parametrize(
    "frames",
    [
        (b"data: {oops}\n\n",),
        (b"data: 5\n\n",),
        (b"data: \xff\n\n",),
        (b"data: " + b"[" * 100_000 + b"\n\n",),
        (b"<html>Bad gateway</html>",),
        (b"Internal Server Error",),
        (text(0, "before the message"),),
        (end(),),
        (start(), start()),
        (start(content=[{"type": "text", "text": "a"}]),),
        (start(model=5),),
        (start(usage=5),),
        (start(), text(0, "a"), text(0, "again")),
        (start(), event("content_block_delta", index=0, delta={"type": "text_delta", "text": "a"})),
        (start(), event("content_block_stop", index=0)),
        (start(), event("content_block_start", index="0", content_block={"type": "text"})),
        (start(), event("content_block_start", index=0, content_block="text")),
        (start(), block(0, {"type": "tool_use", "id": "a"})),
        (start(), block(0, {"type": "text"}, {"type": "text_delta", "text": 5})),
        (start(), block(0, {"type": "text"}, {"type": "thinking_delta", "thinking": "a"})),
        (start(), block(0, {"type": "text"}, {"type": ["text_delta"]})),
        (start(), end(5)),  # type: ignore[arg-type]
    ],
)
def test_an_event_that_cannot_be_read_is_a_protocol_error(frames: tuple[bytes, ...]) -> None:
    with pytest.raises(ProtocolError):
        streamed(*frames)


def test_an_event_without_end_is_refused_and_so_is_a_body() -> None:
    for begin in (b"data: ", b"{"):
        decoder = CODEC.stream_decoder()
        decoder.feed(begin)
        for _ in range(15):
            decoder.feed(b"x" * 2**20)
        with pytest.raises(ProtocolError, match="longer than"):
            decoder.feed(b"x" * 2**20)


def test_the_part_of_a_thought_says_in_which_block_it_came_from_its_start() -> None:
    events = streamed(start(), block(0, {"type": "thinking", "thinking": ""}), end())
    starts = [each.part for each in events if isinstance(each, PartStart)]
    assert starts == [Reasoning(text="", provider_data={"anthropic_messages": {"type": "thinking"}})]


# Failures


NOW = {"date": "Sat, 21 Nov 2026 10:00:00 GMT"}
LIMIT = "anthropic-ratelimit-"


def test_a_failed_response_is_decoded_by_its_status_and_names_its_request() -> None:
    body = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'
    error = CODEC.decode_error(529, {"retry-after": "7", "request-id": "req_1"}, body)
    assert type(error) is OverloadedError
    assert (error.retry_after, error.request_id, error.code) == (7.0, "req_1", "overloaded_error")


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({f"{LIMIT}tokens-remaining": "0", f"{LIMIT}tokens-reset": "2026-11-21T10:00:09Z", **NOW}, 9.0),
        ({f"{LIMIT}tokens-remaining": "5", f"{LIMIT}tokens-reset": "2026-11-21T10:00:09Z", **NOW}, None),
        ({f"{LIMIT}tokens-remaining": "0", f"{LIMIT}tokens-reset": "2026-11-21T10:00:09Z"}, None),
        ({f"{LIMIT}tokens-remaining": "0", f"{LIMIT}tokens-reset": "2026-11-21T10:00:09", **NOW}, None),
        ({f"{LIMIT}tokens-remaining": "0", f"{LIMIT}tokens-reset": "soon", **NOW}, None),
        ({f"{LIMIT}tokens-remaining": "0", f"{LIMIT}tokens-reset": "2026-11-21T09:00:00Z", **NOW}, 0.0),
        ({f"{LIMIT}tokens-remaining": "0", f"{LIMIT}tokens-reset": "2027-11-21T09:00:00Z", **NOW}, 86_400.0),
        (
            {
                f"{LIMIT}requests-remaining": "0",
                f"{LIMIT}requests-reset": "2026-11-21T10:00:01Z",
                f"{LIMIT}output-tokens-remaining": "0",
                f"{LIMIT}output-tokens-reset": "2026-11-21T10:01:00+00:00",
                **NOW,
            },
            60.0,
        ),
        ({f"{LIMIT}unified-status": "rejected", f"{LIMIT}unified-reset": "1795255230", **NOW}, 30.0),
        ({f"{LIMIT}unified-status": "rejected", f"{LIMIT}unified-reset": "9" * 30, **NOW}, None),
        ({f"{LIMIT}unified-status": "allowed", f"{LIMIT}unified-reset": "1795255230", **NOW}, None),
        ({f"{LIMIT}unified-status": "rejected", f"{LIMIT}unified-reset": "1795255230", "date": "?"}, None),
        ({f"{LIMIT}tokens-remaining": "0", f"{LIMIT}tokens-reset": "2026-11-21T10:00:09Z", "retry-after": "2"}, 2.0),
    ],
)
def test_the_wait_is_until_what_is_used_up_is_there_again(headers: dict[str, str], wait: float | None) -> None:
    assert CODEC.decode_error(429, headers, b"").retry_after == wait
