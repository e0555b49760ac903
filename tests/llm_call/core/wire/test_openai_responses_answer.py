"""Answers of the Responses API: recorded forms, each whole and as events; streams that go wrong."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.errors import (
    APIError,
    BadRequestError,
    ContentFilteredError,
    ContextWindowExceededError,
    OverloadedError,
    ProtocolError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart, fold
from llm_call.core.domain.messages import Reasoning, Text, ToolCall
from llm_call.core.domain.response import FinishReason, Response, Usage
from llm_call.core.wire.openai_responses import OpenAIResponsesCodec
from llm_call.testing import strategies

CODEC = OpenAIResponsesCodec()
USAGE = {
    "input_tokens": 90,
    "input_tokens_details": {"cached_tokens": 64},
    "output_tokens": 12,
    "output_tokens_details": {"reasoning_tokens": 9},
    "total_tokens": 102,
}
COUNTED = Usage(input_tokens=90, output_tokens=12, cached_input_tokens=64, reasoning_tokens=9)
COMPLETED = FinishReason(unified="stop", raw="completed")
ECHO = {"object": "response", "created_at": 9, "error": None, "instructions": "Be brief.", "tools": [], "store": False}


def response(*output: Mapping[str, Any], **top: Any) -> dict[str, Any]:
    head = {"id": "resp_1", "model": "m1", "status": "completed", **ECHO}
    return {**head, "output": list(output), **top}


def frame(kind: str, **fields: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode({"type": kind, **fields}) + b"\n\n"


def begun() -> bytes:
    return frame("response.created", sequence_number=0, response=response(status="in_progress", usage=None))


def ended(whole: Mapping[str, Any]) -> bytes:
    return frame(f"response.{whole['status']}", sequence_number=99, response=whole)


def streamed(*frames: bytes) -> list[Event]:
    decoder = CODEC.stream_decoder()
    return [*(event for each in frames for event in decoder.feed(each)), *decoder.close()]


def said(text: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "message",
        "id": "msg_1",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": [], **more}],
    }


def piece(text: str, kind: str = "output_text", at: int = 0, **more: Any) -> bytes:
    place = {"item_id": "msg_1", "output_index": at, "content_index": 0}
    return frame(f"response.{kind}.delta", **{**place, **more}, delta=text)


CALL = {
    "type": "function_call",
    "id": "fc_1",
    "status": "completed",
    "call_id": "call_1",
    "name": "f",
    "arguments": '{"x":1}',
    "namespace": "n",
}
CITED = [{"type": "url_citation", "url": "https://example.org", "start_index": 0, "end_index": 2}]
THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "First."}, {"type": "summary_text", "text": "Then."}],
    "encrypted_content": "gAAA",
}
SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}

ANSWERS: Mapping[str, tuple[dict[str, Any], tuple[bytes, ...], Response]] = {
    "OpenAI: every event of a text, and what only repeats the request": (
        response(said("Hi there", annotations=CITED), usage=USAGE, service_tier="flex", metadata={"a": "b"}),
        (
            begun(),
            frame("response.in_progress", sequence_number=1, response=response(status="in_progress")),
            frame("response.output_item.added", output_index=0, item={**said(""), "content": []}),
            frame("response.content_part.added", output_index=0, content_index=0, part={"type": "output_text"}),
            piece("Hi", logprobs=[], obfuscation="xx"),
            piece(" there"),
            frame("response.output_text.annotation.added", output_index=0, annotation=CITED[0]),
            frame("response.output_text.done", output_index=0, content_index=0, text="Hi there"),
            frame("response.content_part.done", output_index=0, part=said("Hi there")["content"][0]),
            frame("response.output_item.done", output_index=0, item=said("Hi there", annotations=CITED)),
            ended(response(said("Hi there", annotations=CITED), usage=USAGE, service_tier="flex")),
        ),
        Response(
            id="resp_1",
            model="m1",
            parts=(Text(text="Hi there", provider_data={"openai_responses": {"annotations": CITED}}),),
            finish_reason=COMPLETED,
            usage=COUNTED,
            provider_data={"openai_responses": {"service_tier": "flex"}},
        ),
    ),
    "reasoning with a summary in two parts, a search, a call with fields of its own": (
        response(THOUGHT, SEARCH, CALL, usage=USAGE),
        (
            begun(),
            frame("response.output_item.added", output_index=0, item={"type": "reasoning", "id": "rs_1"}),
            frame("response.reasoning_summary_part.added", output_index=0, summary_index=0, part={}),
            frame("response.reasoning_summary_text.delta", output_index=0, summary_index=0, delta="Fir"),
            frame("response.reasoning_summary_text.delta", output_index=0, summary_index=0, delta="st."),
            frame("response.reasoning_summary_text.done", output_index=0, summary_index=0, text="First."),
            frame("response.reasoning_summary_text.delta", output_index=0, summary_index=1, delta="Then."),
            frame("response.output_item.done", output_index=0, item=THOUGHT),
            frame("response.output_item.added", output_index=1, item={**SEARCH, "status": "in_progress"}),
            frame("response.web_search_call.searching", output_index=1, item_id="ws_1"),
            frame("response.output_item.done", output_index=1, item=SEARCH),
            frame("response.output_item.added", output_index=2, item={**CALL, "arguments": ""}),
            frame("response.function_call_arguments.delta", output_index=2, item_id="fc_1", delta='{"x"'),
            frame("response.function_call_arguments.delta", output_index=2, item_id="fc_1", delta=":1}"),
            frame("response.function_call_arguments.done", output_index=2, item_id="fc_1", arguments='{"x":1}'),
            frame("response.output_item.done", output_index=2, item=CALL),
            ended(response(THOUGHT, SEARCH, CALL, usage=USAGE)),
        ),
        Response(
            id="resp_1",
            model="m1",
            parts=(
                Reasoning(
                    text="First.\n\nThen.",
                    signature="gAAA",
                    provider_data={
                        "openai_responses": {"type": "summary_text", "id": "rs_1", "summary": THOUGHT["summary"]}
                    },
                ),
                ToolCall(
                    id="call_1", name="f", arguments='{"x":1}', provider_data={"openai_responses": {"namespace": "n"}}
                ),
            ),
            finish_reason=FinishReason(unified="tool_calls", raw="completed"),
            usage=COUNTED,
            provider_data={"openai_responses": {"output": [SEARCH]}},
        ),
    ),
    "reasoning that is encrypted and says nothing, one that is an id alone, and a commentary": (
        response(
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "g"},
            {"type": "reasoning", "id": "rs_2", "summary": []},
            {**said("Hm."), "phase": "commentary"},
        ),
        (
            begun(),
            frame("response.output_item.added", output_index=0, item={"type": "reasoning", "id": "rs_1"}),
            frame(
                "response.output_item.done",
                output_index=0,
                item={"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "g"},
            ),
            frame("response.output_item.done", output_index=1, item={"type": "reasoning", "id": "rs_2", "summary": []}),
            piece("Hm.", at=2),
            frame("response.output_item.done", output_index=2, item={**said("Hm."), "phase": "commentary"}),
            ended(response()),
        ),
        Response(
            id="resp_1",
            model="m1",
            parts=(
                Reasoning(
                    text="", signature="g", provider_data={"openai_responses": {"type": "summary_text", "id": "rs_1"}}
                ),
                Text(text="Hm.", provider_data={"openai_responses": {"item": {"phase": "commentary"}}}),
            ),
            finish_reason=COMPLETED,
        ),
    ),
    "open servers: raw thoughts, no places, text that only its pieces tell, counts of their own": (
        response(
            {"type": "reasoning", "id": "r", "content": [{"type": "reasoning_text", "text": "hm"}]},
            said("4"),
            usage={"input_tokens": 7, "output_tokens": 3, "total_tokens": 11, "cost": 1},
        ),
        (
            frame("response.reasoning_text.delta", item_id="r", delta="h"),
            frame("response.reasoning_text.delta", item_id="r", delta="m"),
            frame("response.output_text.delta", item_id="msg_1", delta="4"),
            ended(response(usage={"input_tokens": 7, "output_tokens": 3, "total_tokens": 11, "cost": 1})),
        ),
        Response(
            id="",
            model="",
            parts=(
                Reasoning(text="hm", provider_data={"openai_responses": {"type": "reasoning_text", "id": "r"}}),
                Text(text="4"),
            ),
            finish_reason=COMPLETED,
            usage=Usage(input_tokens=7, output_tokens=3),
            provider_data={"openai_responses": {"usage": {"total_tokens": 11, "cost": 1}}},
        ),
    ),
    "a refusal is text, marked, and content that was filtered": (
        response({**said(""), "content": [{"type": "refusal", "refusal": "I will not."}]}),
        (
            begun(),
            piece("I will", "refusal"),
            piece(" not.", "refusal"),
            ended(response({**said(""), "content": [{"type": "refusal", "refusal": "I will not."}]})),
        ),
        Response(
            id="resp_1",
            model="m1",
            parts=(Text(text="I will not.", refusal=True),),
            finish_reason=FinishReason(unified="content_filter", raw="completed"),
        ),
    ),
    "cut off by the limit on tokens": (
        response(
            {**said("Once"), "status": "incomplete"},
            status="incomplete",
            incomplete_details={"reason": "max_output_tokens"},
        ),
        (
            begun(),
            piece("Once"),
            ended(
                response(
                    {**said("Once"), "status": "incomplete"},
                    status="incomplete",
                    incomplete_details={"reason": "max_output_tokens"},
                )
            ),
        ),
        Response(
            id="resp_1",
            model="m1",
            parts=(Text(text="Once"),),
            finish_reason=FinishReason(unified="length", raw="max_output_tokens"),
        ),
    ),
    "items whose pieces alternate, two texts in one item, content of a kind that is not known": (
        response(
            {
                **said("a"),
                "content": [
                    {"type": "output_text", "text": "a"},
                    {"type": "smell", "of": "b"},
                    {"type": "output_text", "text": "c"},
                ],
            },
            {**CALL, "namespace": None},
        ),
        (
            begun(),
            frame("response.output_item.added", output_index=1, item={**CALL, "arguments": ""}),
            piece("c", content_index=2),
            frame("response.function_call_arguments.delta", output_index=1, delta='{"x"'),
            piece("a"),
            frame("response.function_call_arguments.delta", output_index=1, delta=":1}"),
            ended(
                response(
                    {
                        **said("a"),
                        "content": [
                            {"type": "output_text", "text": "a"},
                            {"type": "smell", "of": "b"},
                            {"type": "output_text", "text": "c"},
                        ],
                    },
                    {**CALL, "namespace": None},
                )
            ),
        ),
        Response(
            id="resp_1",
            model="m1",
            parts=(Text(text="a"), Text(text="c"), ToolCall(id="call_1", name="f", arguments='{"x":1}')),
            finish_reason=FinishReason(unified="tool_calls", raw="completed"),
            provider_data={"openai_responses": {"output": [{**said("a"), "content": [{"type": "smell", "of": "b"}]}]}},
        ),
    ),
    "arguments as an object, a call without ids, content as a text, a reason of the server's own": (
        response(
            {"type": "function_call", "name": "f", "arguments": {"x": 1}},
            {"type": "message", "role": "assistant", "content": "a"},
            status="incomplete",
            incomplete_details={"reason": "odd"},
        ),
        (
            begun(),
            frame("response.function_call_arguments.delta", output_index=0, delta='{"x"'),
            ended(
                response(
                    {"type": "function_call", "name": "f", "arguments": {"x": 1}},
                    {"type": "message", "role": "assistant", "content": "a"},
                    status="incomplete",
                    incomplete_details={"reason": "odd"},
                )
            ),
        ),
        Response(
            id="resp_1",
            model="m1",
            parts=(ToolCall(id="call_0", name="f", arguments='{"x":1}'), Text(text="a")),
            finish_reason=FinishReason(unified="other", raw="odd"),
        ),
    ),
    "nothing but an end": (
        response(),
        (begun(), ended(response())),
        Response(id="resp_1", model="m1", finish_reason=COMPLETED),
    ),
}


@pytest.mark.parametrize(("body", "frames", "expected"), ANSWERS.values(), ids=ANSWERS)
@given(data=st.data())
def test_an_answer_is_the_same_whole_and_as_events_however_they_are_cut(
    body: dict[str, Any], frames: tuple[bytes, ...], expected: Response, data: st.DataObject
) -> None:
    raw = msgspec.json.encode(body)
    whole, events = CODEC.decode_response(raw), streamed(*data.draw(strategies.cuts(b"".join(frames))))
    assert fold(streamed(raw)) == whole
    if expected.id:
        assert whole == fold(events) == expected
    else:  # a server that never says who answers before it has answered
        assert (whole.parts, whole.usage, whole.finish_reason) == (
            expected.parts,
            expected.usage,
            expected.finish_reason,
        )
        assert fold(events).parts == whole.parts
        assert fold(events).provider_data["openai_responses"] == {
            **expected.provider_data["openai_responses"],
            "model": "m1",
        }


def test_every_piece_is_an_event_of_its_own_at_once() -> None:
    decoder = CODEC.stream_decoder()
    assert decoder.feed(begun()) == (ResponseStart(model="m1", id="resp_1"),)
    assert decoder.feed(piece("Hi")) == (PartStart(index=0, part=Text(text="")), PartDelta(index=0, text="Hi"))
    assert decoder.feed(piece("!")) == (PartDelta(index=0, text="!"),)
    done = frame("response.output_item.done", output_index=0, item=said("Hi!?"))
    assert decoder.feed(done) == (PartDelta(index=0, text="?"), PartEnd(index=0))
    assert isinstance(decoder.feed(ended(response(said("Hi!?"))))[-1], ResponseEnd)
    assert decoder.feed(b"data: not JSON\n\n") == decoder.close() == ()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "nothing"),
        (b"<html><body>Bad gateway</body></html>", "Bad gateway"),
        (msgspec.json.encode(response(said("half")))[:60], "resp_1"),
        (b'{"id": "resp_1", "status": "completed"}', "it holds no output"),
        (b'{"choices": []}', "it holds no output"),
        (msgspec.json.encode(response(status="queued")), "status is 'queued'"),
        (msgspec.json.encode(response(status="cancelled")), "status is 'cancelled'"),
        (msgspec.json.encode(response({"type": "function_call", "arguments": ""})), "a call has no name"),
        (msgspec.json.encode(response({**said(""), "content": 5})), "content is no array"),
        (msgspec.json.encode(response(model=7)), "model is no text"),
        (msgspec.json.encode(response(said(text=5))), "text is no text"),  # type: ignore[arg-type]  # on purpose
        (b'{"error": {"message": "boom sk-abcdefghijkl"}}', r"success: .*boom \[masked\]"),
        (b"[" * 100_000, r"\[\[\["),
        (b"null", "null"),
    ],
)
def test_a_success_without_an_answer_is_a_protocol_error_that_says_what_came(body: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says) as caught:
        CODEC.decode_response(body)
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        ({"code": "server_error", "message": "x"}, ServerError, True),
        ({"code": "rate_limit_exceeded", "message": "x"}, RateLimitError, True),
        ({"code": "invalid_prompt", "message": "x"}, BadRequestError, False),
        ({"code": "image_too_large", "message": "x"}, BadRequestError, False),
        ({"code": "image_content_policy_violation", "message": "x"}, ContentFilteredError, False),
        ({"code": "context_length_exceeded", "message": "x"}, ContextWindowExceededError, False),
        (None, ServerError, True),
        ("boom", ServerError, True),
    ],
)
def test_a_response_that_failed_raises_its_error_whole_and_streamed(
    error: Any, kind: type[APIError], retryable: bool
) -> None:
    failed = response(status="failed", error=error)
    with pytest.raises(kind) as whole:
        CODEC.decode_response(msgspec.json.encode(failed))
    with pytest.raises(kind) as stream:
        streamed(begun(), piece("so far"), ended(failed))
    assert type(whole.value) is type(stream.value) is kind
    assert whole.value.retryable is retryable


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (frame("error", code="rate_limit_exceeded", message="slow", param=None, sequence_number=3), RateLimitError),
        (frame("error", error={"type": "invalid_request_error", "code": None, "message": "x"}), BadRequestError),
        (frame("error", code=None, message="x"), ServerError),
        (b'data: {"error": {"code": 429, "message": "slow"}}\n\n', RateLimitError),
        (b'event: error\ndata: {"message": "x", "code": "content_filter"}\n\n', ContentFilteredError),
        (b'event: error\ndata: {"message": "x", "type": "overloaded_error"}\n\n', OverloadedError),
        (b"event: error\ndata: upstream went away\n\n", ServerError),
        (b'{"error": {"code": 400, "type": "exceed_context_size_error"}}', ContextWindowExceededError),
    ],
)
def test_an_error_in_the_place_of_an_event_is_raised_as_what_it_is(sent: bytes, kind: type[APIError]) -> None:
    before = () if sent.startswith(b"{") else (begun(), piece("a"))
    with pytest.raises(kind):
        streamed(*before, sent)


# Streams that go wrong


@pytest.mark.parametrize(
    "end",
    [
        (),
        (b"data: [DONE]\n\n",),
        (b"data: {",),
        (b": still here\n\n",),
        (frame("response.output_text.done", output_index=0, text="so far"),),
        (frame("response.done", response=response(said("so far"))),),
        (frame("response.cancelled", response=response(status="cancelled")),),
        (frame("response.output_item.done", output_index=0, item=said("so far")),),
        (frame("keepalive", sequence_number=7), b"event: odd\ndata: {}\n\n"),
        (ended(response(said("so far")))[:-40],),
    ],
)
def test_a_stream_that_does_not_say_that_it_is_complete_is_interrupted(end: tuple[bytes, ...]) -> None:
    with pytest.raises(StreamInterruptedError) as caught:
        streamed(begun(), piece("hm", "reasoning_text", at=1), piece("so"), piece(" far"), *end)
    assert caught.value.text == "so far"


@pytest.mark.parametrize("body", [b"", b"\n\n", b": ping\n\n", b"data: \n\n"])
def test_a_stream_of_nothing_is_interrupted(body: bytes) -> None:
    with pytest.raises(StreamInterruptedError):
        streamed(body)


@pytest.mark.parametrize("end", [b"", b"\n", b"data: [DONE]\n\n", b'data: {"typ'])
def test_a_complete_stream_is_complete_however_it_closes(end: bytes) -> None:
    assert fold(streamed(begun(), piece("a"), ended(response(said("a"))).rstrip(b"\n") + b"\n\n", end)).text == "a"
    assert fold(streamed(begun(), piece("a"), ended(response(said("a"))).rstrip(b"\n"))).text == "a"


@pytest.mark.parametrize(
    "frames",
    [
        (piece("He"), piece("o"), ended(response(said("Hello")))),
        (piece("lo"), piece("Hel"), ended(response(said("Hello")))),
        (piece("Hello"), piece("Hello"), ended(response(said("Hello")))),
    ],
    ids=["lost", "swapped", "twice"],
)
def test_pieces_that_do_not_add_up_to_the_final_text_are_refused(frames: tuple[bytes, ...]) -> None:
    with pytest.raises(ProtocolError, match="do not add up"):
        streamed(begun(), *frames)


def test_a_last_word_that_leaves_items_out_is_matched_by_their_ids() -> None:
    cited = said("Hi", annotations=CITED)
    thought = frame("response.output_item.done", output_index=0, item=THOUGHT)
    answer = fold(streamed(begun(), thought, piece("Hi", at=1), ended(response(cited))))
    assert [type(part) for part in answer.parts] == [Reasoning, Text]
    assert answer.parts[1].provider_data == {"openai_responses": {"annotations": CITED}}


def test_items_of_one_id_stay_apart() -> None:
    whole = response(said("a"), said("b"))
    assert CODEC.decode_response(msgspec.json.encode(whole)).text == "ab"
    done = [frame("response.output_item.done", output_index=at, item=said(text)) for at, text in enumerate("ab")]
    assert fold(streamed(begun(), *done, ended(whole))).text == "ab"


def test_white_space_around_the_final_text_is_no_difference() -> None:
    assert fold(streamed(begun(), piece("Hello\n"), ended(response(said("Hello"))))).text == "Hello\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"data: {oops}\n\n",
        b'data: {"type": \n\n',
        b"data: 5\n\n",
        b"data: \xff\n\n",
        b'data: {"type": 5}\n\n',
        frame("response.created", response={"model": 5}),
        frame("response.completed", response=5),
        frame("response.completed", response={"output": {}}),
        frame("response.completed", response={"output": [5]}),
        frame("response.completed", response={"usage": 5}),
        frame("response.output_item.added", item=5),
        frame("response.output_item.done", output_index=0, item={"type": "message", "content": [5]}),
        frame("response.output_item.done", output_index="a", item=said("x")),
        frame("response.output_item.done", output_index=-1, item=said("x")),
        frame("response.output_item.done", item={**said("x"), "id": 5}),
        piece("a", content_index=-1),
        piece("a", content_index=10**9),
        piece("a", output_index=True),
        frame("response.output_text.delta", delta=5),
        piece("a") + piece("b", "refusal"),
        piece("a") + frame("response.output_item.done", output_index=0, item=said("a")) + piece("b"),
        frame("response.function_call_arguments.delta", output_index=0, delta="{") + ended(response()),
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"<html>Bad gateway</html>",
        b"Internal Server Error",
    ],
)
def test_an_event_that_cannot_be_read_is_a_protocol_error(sent: bytes) -> None:
    with pytest.raises(ProtocolError):
        streamed(sent)


def test_an_event_without_end_is_refused_and_so_is_a_body() -> None:
    for start in (b"data: ", b"{"):
        decoder = CODEC.stream_decoder()
        decoder.feed(start)
        for _ in range(15):
            decoder.feed(b"x" * 2**20)
        with pytest.raises(ProtocolError, match="longer than"):
            decoder.feed(b"x" * 2**20)


def test_a_failed_request_is_decoded_by_its_status_and_code() -> None:
    error = CODEC.decode_error(
        429, {"retry-after": "7", "x-request-id": "r"}, b'{"error": {"code": "rate_limit_exceeded"}}'
    )
    assert type(error) is RateLimitError
    assert (error.retry_after, error.request_id, error.code) == (7.0, "r", "rate_limit_exceeded")
