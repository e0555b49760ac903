"""Answers in chat completions: the peculiarities of real servers, each whole and in chunks; streams that go wrong."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from llm_call.core.domain.errors import (
    APIError,
    ContentFilteredError,
    ContextWindowExceededError,
    OverloadedError,
    ProtocolError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from llm_call.core.domain.events import Event, PartDelta, ResponseEnd, fold
from llm_call.core.domain.messages import Reasoning, Text, ToolCall
from llm_call.core.domain.response import FinishReason, Response, Usage
from llm_call.core.wire.openai_chat import OpenAIChatCodec

CODEC = OpenAIChatCodec()
REFUSAL = {"refusal": True}


def whole(
    reply: Mapping[str, Any], finish: str | None = "stop", choice: Mapping[str, Any] | None = None, **top: Any
) -> bytes:
    first = {"index": 0, "message": {"role": "assistant", **reply}, "finish_reason": finish, **(choice or {})}
    return msgspec.json.encode(
        {"id": "c1", "object": "chat.completion", "created": 9, "model": "m1", "choices": [first], **top}
    )


def chunk(delta: Mapping[str, Any] | None = None, finish: str | None = None, **top: Any) -> bytes:
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 9, "model": "m1"}
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + msgspec.json.encode({**head, "choices": choices, **top}) + b"\n\n"


def streamed(*frames: bytes) -> list[Event]:
    decoder = CODEC.stream_decoder()
    return [*(event for frame in frames for event in decoder.feed(frame)), *decoder.close()]


DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


LOGPROBS = [{"token": "a", "logprob": -0.1, "bytes": [97]}, {"token": "b", "logprob": -1.5e-3, "bytes": [98]}]
ANSWERS: Mapping[str, tuple[bytes, tuple[bytes, ...], Response]] = {
    "llama.cpp: null content first, usage after the finish, its own timings": (
        whole({"content": "Hi there"}, usage=USAGE, timings={"predicted_ms": 1.25}, system_fingerprint="b1"),
        (
            chunk({"role": "assistant", "content": None}, system_fingerprint="b1"),
            chunk({"content": "Hi"}, system_fingerprint="b1"),
            chunk({"content": " there"}, system_fingerprint="b1"),
            chunk({}, "stop", system_fingerprint="b1"),
            chunk(None, usage=USAGE, system_fingerprint="b1", timings={"predicted_ms": 1.25}),
            DONE,
        ),
        Response(
            id="c1",
            model="m1",
            parts=(Text(text="Hi there"),),
            finish_reason=FinishReason(unified="stop", raw="stop"),
            usage=Usage(input_tokens=7, output_tokens=3),
            provider_data={"openai_chat": {"timings": {"predicted_ms": 1.25}, "system_fingerprint": "b1"}},
        ),
    ),
    "parallel tool calls whose arguments alternate, one with a field of the provider's": (
        whole(
            {
                "content": "",
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
                    {
                        "id": "b",
                        "type": "function",
                        "function": {"name": "g", "arguments": "{}"},
                        "extra_content": {"signature": "s"},
                    },
                ],
            },
            "tool_calls",
        ),
        (
            chunk(
                {
                    "tool_calls": [
                        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
                    ]
                }
            ),
            chunk(
                {
                    "tool_calls": [
                        {"index": 1, "id": "b", "function": {"name": "g"}, "extra_content": {"signature": "s"}}
                    ]
                }
            ),
            chunk(
                {
                    "tool_calls": [
                        {"index": 0, "function": {"arguments": '{"x"'}},
                        {"index": 1, "function": {"arguments": "{"}},
                    ]
                }
            ),
            chunk(
                {
                    "tool_calls": [
                        {"index": 1, "function": {"arguments": "}"}},
                        {"index": 0, "function": {"arguments": ":1}"}},
                    ]
                }
            ),
            chunk({}, "tool_calls"),
            DONE,
        ),
        Response(
            id="c1",
            model="m1",
            parts=(
                ToolCall(id="a", name="f", arguments='{"x":1}'),
                ToolCall(
                    id="b",
                    name="g",
                    arguments="{}",
                    provider_data={"openai_chat": {"extra_content": {"signature": "s"}}},
                ),
            ),
            finish_reason=FinishReason(unified="tool_calls", raw="tool_calls"),
        ),
    ),
    "tool calls without ids, and with the object itself as arguments": (
        whole({"tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}, {"function": {"name": "f"}}]}),
        (
            chunk({"tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]}),
            chunk({"tool_calls": [{"function": {"name": "f"}}]}, "stop"),
        ),
        Response(
            id="c1",
            model="m1",
            parts=(
                ToolCall(id="call_0", name="f", arguments='{"x":1}'),
                ToolCall(id="call_1", name="f", arguments=""),
            ),
            finish_reason=FinishReason(unified="tool_calls", raw="stop"),
        ),
    ),
    "every call of a stream has the index 0": (
        whole(
            {
                "tool_calls": [
                    {"id": "a", "function": {"name": "f", "arguments": "1"}},
                    {"id": "b", "function": {"name": "f", "arguments": "23"}},
                ]
            },
        ),
        (
            chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "1"}}]}),
            chunk({"tool_calls": [{"index": 0, "id": "b", "function": {"name": "f", "arguments": "2"}}]}),
            chunk({"tool_calls": [{"index": 0, "id": "z9", "function": {"arguments": "3"}}]}, "stop"),
        ),
        Response(
            id="c1",
            model="m1",
            parts=(ToolCall(id="a", name="f", arguments="1"), ToolCall(id="b", name="f", arguments="23")),
            finish_reason=FinishReason(unified="tool_calls", raw="stop"),
        ),
    ),
    "two calls of the same id": (
        whole({"tool_calls": [{"id": "a", "function": {"name": "f"}}, {"id": "a", "function": {"name": "f"}}]}),
        (
            chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f"}}]}),
            chunk({"tool_calls": [{"index": 1, "id": "a", "function": {"name": "f"}}]}, "stop"),
        ),
        Response(
            id="c1",
            model="m1",
            parts=(ToolCall(id="a", name="f", arguments=""), ToolCall(id="a", name="f", arguments="")),
            finish_reason=FinishReason(unified="tool_calls", raw="stop"),
        ),
    ),
    "the function call of old": (
        whole({"content": None, "function_call": {"name": "f", "arguments": "{}"}}, "function_call"),
        (
            chunk({"function_call": {"name": "f", "arguments": "{"}}),
            chunk({"function_call": {"arguments": "}"}}),
            chunk({}, "function_call"),
        ),
        Response(
            id="c1",
            model="m1",
            parts=(ToolCall(id="call_0", name="f", arguments="{}"),),
            finish_reason=FinishReason(unified="tool_calls", raw="function_call"),
        ),
    ),
    "reasoning before text, with its tokens and the provider's own counts": (
        whole(
            {"reasoning_content": "let me see", "content": "4"},
            usage={
                "prompt_tokens": 90,
                "completion_tokens": 12,
                "total_tokens": 111,
                "cost": 0.00012,
                "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 9},
            },
        ),
        (
            chunk({"reasoning_content": "let me"}),
            chunk({"content": "", "reasoning_content": " see"}),
            chunk({"content": "4", "reasoning_content": None}),
            chunk(
                {},
                "stop",
                usage={
                    "prompt_tokens": 90,
                    "completion_tokens": 12,
                    "total_tokens": 111,
                    "cost": 0.00012,
                    "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
                    "completion_tokens_details": {"reasoning_tokens": 9},
                },
            ),
        ),
        Response(
            id="c1",
            model="m1",
            parts=(
                Reasoning(text="let me see", provider_data={"openai_chat": {"field": "reasoning_content"}}),
                Text(text="4"),
            ),
            finish_reason=FinishReason(unified="stop", raw="stop"),
            usage=Usage(input_tokens=90, output_tokens=12, cached_input_tokens=64, reasoning_tokens=9),
            provider_data={
                "openai_chat": {
                    "usage": {"total_tokens": 111, "cost": 0.00012, "prompt_tokens_details": {"audio_tokens": 0}}
                }
            },
        ),
    ),
    "a refusal is text, marked, and content that was filtered": (
        whole({"content": None, "refusal": "I will not."}),
        (chunk({"content": ""}), chunk({"refusal": "I will"}), chunk({"refusal": " not."}), chunk({}, "stop"), DONE),
        Response(
            id="c1",
            model="m1",
            parts=(Text(text="I will not.", refusal=True),),
            finish_reason=FinishReason(unified="content_filter", raw="stop"),
        ),
    ),
    "Azure: a first chunk of filter results alone, and log probabilities that add up": (
        whole(
            {"content": "ab", "annotations": []},
            choice={
                "logprobs": {"content": LOGPROBS, "refusal": None},
                "content_filter_results": {"hate": {"filtered": False}},
            },
            prompt_filter_results=[{"prompt_index": 0}],
        ),
        (
            chunk(None, id="", model="", prompt_filter_results=[{"prompt_index": 0}]),
            chunk(
                None,
                choices=[
                    {
                        "index": 0,
                        "delta": {"content": "a"},
                        "logprobs": {"content": LOGPROBS[:1], "refusal": None},
                        "content_filter_results": {"hate": {"filtered": False}},
                    }
                ],
            ),
            chunk(
                None,
                choices=[
                    {"index": 0, "delta": {"content": "b"}, "logprobs": {"content": LOGPROBS[1:], "refusal": None}}
                ],
            ),
            chunk({}, "stop"),
            DONE,
        ),
        Response(
            id="c1",
            model="m1",
            parts=(Text(text="ab"),),
            finish_reason=FinishReason(unified="stop", raw="stop"),
            provider_data={
                "openai_chat": {
                    "prompt_filter_results": [{"prompt_index": 0}],
                    "choice": {
                        "logprobs": {"content": LOGPROBS, "refusal": None},
                        "content_filter_results": {"hate": {"filtered": False}},
                    },
                }
            },
        ),
    ),
    "content in parts, numbers that are large, a finish reason of the provider's own": (
        whole(
            {"content": [{"type": "text", "text": "a"}, {"type": "thinking", "of": "b"}]}, "eos", big=2**70, tiny=5e-324
        ),
        (
            chunk({"content": [{"type": "text", "text": "a"}]}),
            chunk({"content": [{"type": "thinking", "of": "b"}]}, "", big=2**70),
            chunk({}, "eos", tiny=5e-324),
        ),
        Response(
            id="c1",
            model="m1",
            parts=(Text(text="a"),),
            finish_reason=FinishReason(unified="other", raw="eos"),
            provider_data={
                "openai_chat": {
                    "big": 2**70,
                    "tiny": 5e-324,
                    "choice": {"message": {"content": [{"type": "thinking", "of": "b"}]}},
                }
            },
        ),
    ),
    "nothing but an end": (
        whole({"content": ""}, "length"),
        (chunk({"content": ""}), chunk({}, "length")),
        Response(id="c1", model="m1", finish_reason=FinishReason(unified="length", raw="length")),
    ),
}


@pytest.mark.parametrize(("body", "frames", "response"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_the_same_whole_and_in_chunks(body: bytes, frames: tuple[bytes, ...], response: Response) -> None:
    assert CODEC.decode_response(body) == response
    assert fold(streamed(*frames)) == response
    assert fold(streamed(body)) == response


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "nothing"),
        (b"<html><body>Bad gateway</body></html>", "Bad gateway"),
        (whole({"content": "half"})[:60], "chat.completion"),
        (b'{"choices": []}', "choices holds no answer"),
        (b'{"choices": [{"index": 1, "message": {"content": "b"}}]}', "choices holds no answer"),
        (b'{"choices": [{"index": 0, "finish_reason": "stop"}]}', r"choices\[0\].message is no object"),
        (whole({"content": 5}), "content is no array"),
        (whole({"tool_calls": [{"id": "a", "function": {}}]}), "a call has no name"),
        (whole({"content": "x"}, model=7), "model is no text"),
        (b'{"error": {"message": "boom sk-abcdefghijkl"}}', r"success: .*boom \[masked\]"),
        (b"[" * 100_000, r"\[\[\["),
        (b"null", "null"),
    ],
)
def test_a_success_without_an_answer_is_a_protocol_error_that_says_what_came(body: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says) as caught:
        CODEC.decode_response(body)
    assert len(caught.value.message) < 400


# Streams that go wrong


def test_a_stream_is_complete_at_its_usage_and_nothing_after_it_is_read() -> None:
    decoder = CODEC.stream_decoder()
    decoder.feed(chunk({"content": "a"}) + chunk({}, "stop"))
    assert isinstance(decoder.feed(chunk(None, usage=USAGE))[-1], ResponseEnd)
    assert decoder.feed(b"data: not JSON\n\n") == ()
    assert decoder.close() == ()


@pytest.mark.parametrize("end", [(), (b"\n",), (DONE,), (b"data: [DONE]",), (b'data: {"choi',)])
def test_a_stream_with_its_finish_reason_is_complete_however_it_closes(end: tuple[bytes, ...]) -> None:
    events = streamed(chunk({"content": "a"}), chunk({}, "stop"), *end)
    assert fold(events).text == "a"


def test_usage_in_every_chunk_does_not_end_the_stream() -> None:
    frames = [chunk({"content": each}, usage={**USAGE, "completion_tokens": n}) for n, each in enumerate("abc")]
    response = fold(streamed(*frames, chunk({}, "stop"), chunk(None, usage=USAGE)))
    assert (response.text, response.usage) == ("abc", Usage(input_tokens=7, output_tokens=3))


@pytest.mark.parametrize("end", [(), (DONE,), (b"data: {",), (b"data: [DO",), (b": still here\n\n",)])
def test_a_stream_without_a_finish_reason_is_interrupted_and_tells_what_had_arrived(end: tuple[bytes, ...]) -> None:
    with pytest.raises(StreamInterruptedError) as caught:
        streamed(chunk({"reasoning": "hm"}), chunk({"content": "so"}), chunk({"content": " far"}), *end)
    assert caught.value.text == "so far"


@pytest.mark.parametrize("body", [b"", b"\n\n", b": ping\n\n", b"data: \n\n"])
def test_a_stream_of_nothing_is_interrupted(body: bytes) -> None:
    with pytest.raises(StreamInterruptedError):
        streamed(body)


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (b'data: {"error": {"code": 429, "message": "slow"}}\n\n', RateLimitError),
        (b'data: {"error": {"code": 500, "message": "x", "type": "server_error"}}\n\n', ServerError),
        (b'data: {"object": "error", "message": "x", "type": "overloaded_error"}\n\n', OverloadedError),
        (b'event: error\ndata: {"message": "x", "code": "content_filter"}\n\n', ContentFilteredError),
        (b"event: error\ndata: upstream went away\n\n", ServerError),
        (b'{"error": {"code": 400, "type": "exceed_context_size_error"}}', ContextWindowExceededError),
    ],
)
def test_an_error_in_the_place_of_a_chunk_is_raised_as_what_it_is(frame: bytes, kind: type[APIError]) -> None:
    before = () if frame.startswith(b"{") else (chunk({"content": "a"}),)
    with pytest.raises(kind):
        streamed(*before, frame)


@pytest.mark.parametrize(
    "frame",
    [
        b"data: {oops}\n\n",
        b'data: {"choices": [\n\n',
        b"data: 5\n\n",
        b"data: \xff\n\n",
        b'data: {"choices": {}}\n\n',
        b'data: {"choices": [5]}\n\n',
        b'data: {"choices": [{"delta": "x"}]}\n\n',
        b'data: {"choices": [{"delta": {"content": 5}}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [{"index": "a"}]}}]}\n\n',
        b'data: {"choices": [{"delta": {}, "finish_reason": 5}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "a"}]}, "finish_reason": "stop"}]}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"<html>Bad gateway</html>",
        b"Internal Server Error",
    ],
)
def test_a_chunk_that_cannot_be_read_is_a_protocol_error(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        streamed(frame)


def test_an_event_without_end_is_refused_and_so_is_a_body() -> None:
    for start in (b"data: ", b"{"):
        decoder = CODEC.stream_decoder()
        decoder.feed(start)
        for _ in range(15):
            decoder.feed(b"x" * 2**20)
        with pytest.raises(ProtocolError, match="longer than"):
            decoder.feed(b"x" * 2**20)


def test_only_the_first_of_several_answers_is_read() -> None:
    choices = [{"index": index, "delta": {"content": str(index)}, "finish_reason": None} for index in (1, 0)]
    events = streamed(chunk(None, choices=choices), chunk({}, "stop"))
    assert [event.text for event in events if isinstance(event, PartDelta)] == ["0"]


def test_a_failed_response_is_decoded_by_its_status_and_code() -> None:
    error = CODEC.decode_error(
        429, {"retry-after": "7", "x-request-id": "r"}, b'{"error": {"code": "rate_limit_exceeded"}}'
    )
    assert type(error) is RateLimitError
    assert (error.retry_after, error.request_id, error.code) == (7.0, "r", "rate_limit_exceeded")


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><title>Hello</title>", b"\xef\xbb\xbf\n<html></html>"])
def test_a_web_page_in_the_place_of_an_answer_says_to_check_the_base_url(page: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        CODEC.decode_response(page)
    assert "base URL" in caught.value.hint
    decoder = CODEC.stream_decoder()
    decoder.feed(page)
    with pytest.raises(ProtocolError) as caught:
        decoder.close()
    assert "base URL" in caught.value.hint
