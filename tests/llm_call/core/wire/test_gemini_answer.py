"""Answers in Google's dialect, each whole and in chunks as a server sends them; streams that go wrong."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from llm_call.core.domain.errors import (
    APIError,
    AuthenticationError,
    ContentFilteredError,
    OverloadedError,
    ProtocolError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, fold
from llm_call.core.domain.messages import Media, Reasoning, Text, ToolCall
from llm_call.core.domain.response import Finish, FinishReason, Response, Usage
from llm_call.core.wire.gemini import GeminiCodec

CODEC = GeminiCodec()
THOUGHT = {"thought": True}
MADE_UP = {"functionCall": {"id": None}}
STOP = FinishReason(unified="stop", raw="STOP")
USAGE = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
DETAILS = [{"modality": "TEXT", "tokenCount": 90}]
COUNTS = {
    "promptTokenCount": 90,
    "cachedContentTokenCount": 64,
    "toolUsePromptTokenCount": 10,
    "candidatesTokenCount": 3,
    "thoughtsTokenCount": 9,
    "totalTokenCount": 112,
    "promptTokensDetails": DETAILS,
}


def chunk(*parts: Any, finish: str | None = None, candidate: Mapping[str, Any] | None = None, **top: Any) -> bytes:
    inner: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0, **(candidate or {})}
    if finish is not None:
        inner["finishReason"] = finish
    return msgspec.json.encode({"candidates": [inner], "modelVersion": "m1", "responseId": "r1", **top})


def streamed(*chunks: bytes) -> list[Event]:
    decoder = CODEC.stream_decoder()
    events = [event for each in chunks for event in decoder.feed(b"data: " + each + b"\r\n\r\n")]
    return [*events, *decoder.close()]


def answer(
    *parts: Any, finish: FinishReason = STOP, usage: Usage | None = None, kept: Mapping[str, Any] | None = None
) -> Response:
    return Response(
        id="r1",
        model="m1",
        parts=parts,
        finish_reason=finish,
        usage=usage or Usage(),
        provider_data={"gemini": kept} if kept else {},
    )


ANSWERS: Mapping[str, tuple[bytes, tuple[bytes, ...], Response]] = {
    "text in chunks, each with the usage so far, the signature behind it": (
        chunk({"text": "Hi there", "thoughtSignature": "s"}, finish="STOP", usageMetadata=USAGE),
        (
            chunk({"text": "Hi"}, usageMetadata={"promptTokenCount": 7, "totalTokenCount": 7}),
            chunk({"text": " there"}, usageMetadata={**USAGE, "candidatesTokenCount": 2}),
            chunk({"text": "", "thoughtSignature": "s"}, finish="STOP", usageMetadata=USAGE),
        ),
        answer(
            Text(text="Hi there", provider_data={"gemini": {"thoughtSignature": "s"}}),
            usage=Usage(input_tokens=7, output_tokens=3),
        ),
    ),
    "a last chunk without content, and without a list of parts": (
        chunk({"text": "Hi"}, finish="STOP"),
        (
            chunk({"text": "Hi"}),
            b'{"candidates": [{"content": {"role": "model"}}]}',
            b'{"candidates": [{"finishReason": "STOP"}], "usageMetadata": {}}',
        ),
        answer(Text(text="Hi")),
    ),
    "thoughts, text and thoughts again, with their tokens and what comes from the cache": (
        chunk(
            {"text": "let me see", "thought": True},
            {"text": "4"},
            {"text": "sure?", "thought": True, "thoughtSignature": "s"},
            finish="STOP",
            usageMetadata=COUNTS,
        ),
        (
            chunk({"text": "let me", "thought": True}),
            chunk({"text": " see", "thought": True}, {"text": "4"}),
            chunk({"text": "sure?", "thought": True}),
            chunk(
                {"thought": True, "thoughtSignature": "s"},
                finish="STOP",
                usageMetadata=COUNTS,
            ),
        ),
        answer(
            Reasoning(text="let me see", provider_data={"gemini": THOUGHT}),
            Text(text="4"),
            Reasoning(text="sure?", signature="s", provider_data={"gemini": THOUGHT}),
            usage=Usage(input_tokens=100, output_tokens=12, cached_input_tokens=64, reasoning_tokens=9),
            kept={"usage": {"toolUsePromptTokenCount": 10, "promptTokensDetails": DETAILS}},
        ),
    ),
    "calls side by side, one with an id and a signature, one without arguments": (
        chunk(
            {"functionCall": {"name": "f", "args": {"x": [1, 2.5]}, "id": "a"}, "thoughtSignature": "s"},
            {"functionCall": {"name": "g"}},
            finish="STOP",
        ),
        (
            chunk({"functionCall": {"name": "f", "args": {"x": [1, 2.5]}, "id": "a"}, "thoughtSignature": "s"}),
            chunk({"functionCall": {"name": "g"}}),
            chunk(finish="STOP"),
        ),
        answer(
            ToolCall(id="a", name="f", arguments='{"x":[1,2.5]}', provider_data={"gemini": {"thoughtSignature": "s"}}),
            ToolCall(id="call_1", name="g", arguments="{}", provider_data={"gemini": MADE_UP}),
            finish=FinishReason(unified="tool_calls", raw="STOP"),
        ),
    ),
    "code that the provider ran, a picture and a file": (
        chunk(
            {"text": "a"},
            {"executableCode": {"language": "PYTHON", "code": "1"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
            {"text": "b"},
            {"inlineData": {"mimeType": "image/png", "data": "eA==", "displayName": "p"}, "thoughtSignature": "s"},
            {"fileData": {"fileUri": "gs://b/f"}},
            finish="STOP",
        ),
        (
            chunk({"text": "a"}, {"executableCode": {"language": "PYTHON", "code": "1"}}),
            chunk({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}, {"text": "b"}),
            chunk(
                {"inlineData": {"mimeType": "image/png", "data": "eA==", "displayName": "p"}, "thoughtSignature": "s"}
            ),
            chunk({"fileData": {"fileUri": "gs://b/f"}}, finish="STOP"),
        ),
        answer(
            Text(text="a"),
            Text(text="", provider_data={"gemini": {"executableCode": {"language": "PYTHON", "code": "1"}}}),
            Text(text="", provider_data={"gemini": {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}}),
            Text(text="b"),
            Media(
                media_type="image/png",
                data=b"x",
                provider_data={"gemini": {"thoughtSignature": "s", "inlineData": {"displayName": "p"}}},
            ),
            Media(media_type="application/octet-stream", url="gs://b/f"),
        ),
    ),
    "ratings of each chunk, citations and log probabilities that add up": (
        chunk(
            {"text": "ab"},
            finish="STOP",
            candidate={
                "safetyRatings": [{"category": "C", "probability": "LOW"}],
                "citationMetadata": {"citationSources": [{"uri": "u1"}, {"uri": "u2"}]},
                "logprobsResult": {"chosenCandidates": [{"token": "a"}, {"token": "b"}]},
                "avgLogprobs": -0.5,
            },
            promptFeedback={"safetyRatings": []},
            modelStatus={"stage": "STABLE"},
        ),
        (
            chunk(
                {"text": "a"},
                candidate={
                    "safetyRatings": [{"category": "C", "probability": "NEGLIGIBLE"}],
                    "citationMetadata": {"citationSources": [{"uri": "u1"}]},
                    "logprobsResult": {"chosenCandidates": [{"token": "a"}]},
                    "avgLogprobs": -0.25,
                },
                promptFeedback={"safetyRatings": []},
            ),
            chunk(
                {"text": "b"},
                finish="STOP",
                candidate={
                    "safetyRatings": [{"category": "C", "probability": "LOW"}],
                    "citationMetadata": {"citationSources": [{"uri": "u2"}]},
                    "logprobsResult": {"chosenCandidates": [{"token": "b"}]},
                    "avgLogprobs": -0.5,
                },
                modelStatus={"stage": "STABLE"},
            ),
        ),
        answer(
            Text(text="ab"),
            kept={
                "promptFeedback": {"safetyRatings": []},
                "modelStatus": {"stage": "STABLE"},
                "candidate": {
                    "safetyRatings": [{"category": "C", "probability": "LOW"}],
                    "citationMetadata": {"citationSources": [{"uri": "u1"}, {"uri": "u2"}]},
                    "logprobsResult": {"chosenCandidates": [{"token": "a"}, {"token": "b"}]},
                    "avgLogprobs": -0.5,
                },
            },
        ),
    ),
    "thoughts that used up all the tokens": (
        chunk(
            finish="MAX_TOKENS",
            usageMetadata={"promptTokenCount": 7, "thoughtsTokenCount": 5, "totalTokenCount": 12},
        ),
        (
            chunk(
                finish="MAX_TOKENS",
                usageMetadata={"promptTokenCount": 7, "thoughtsTokenCount": 5, "totalTokenCount": 12},
            ),
        ),
        answer(
            finish=FinishReason(unified="length", raw="MAX_TOKENS"),
            usage=Usage(input_tokens=7, output_tokens=5, reasoning_tokens=5),
        ),
    ),
}


@pytest.mark.parametrize(("body", "chunks", "response"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_the_same_whole_and_in_chunks(body: bytes, chunks: tuple[bytes, ...], response: Response) -> None:
    assert CODEC.decode_response(body) == response
    assert fold(streamed(*chunks)) == response
    decoder = CODEC.stream_decoder()
    assert fold([*decoder.feed(body), *decoder.close()]) == response


@pytest.mark.parametrize(
    ("raw", "unified"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "other"),
        ("UNEXPECTED_TOOL_CALL", "other"),
        ("LANGUAGE", "other"),
        ("OTHER", "other"),
        ("SOME_NEW_REASON", "other"),
    ],
)
def test_a_finish_reason_has_one_meaning_and_keeps_its_word(raw: str, unified: Finish) -> None:
    body = msgspec.json.encode({"candidates": [{"finishReason": raw, "finishMessage": "why"}]})
    response = CODEC.decode_response(body)
    assert response.finish_reason == FinishReason(unified=unified, raw=raw)
    assert response.provider_data == {"gemini": {"candidate": {"finishMessage": "why"}}}
    assert fold(streamed(body)) == response


def test_calls_that_were_cut_short_are_not_said_to_be_complete() -> None:
    body = chunk({"functionCall": {"name": "f", "args": {}}}, finish="MAX_TOKENS")
    assert CODEC.decode_response(body).finish_reason.unified == "length"


@pytest.mark.parametrize(
    ("counts", "usage", "kept"),
    [
        ({}, Usage(), {}),
        ({"promptTokenCount": 0, "totalTokenCount": 0}, Usage(input_tokens=0), {}),
        # Some servers count the thoughts among the candidates' tokens: the total tells.
        (
            {"promptTokenCount": 7, "candidatesTokenCount": 9, "thoughtsTokenCount": 5, "totalTokenCount": 16},
            Usage(input_tokens=7, output_tokens=9, reasoning_tokens=5),
            {},
        ),
        (
            {"promptTokenCount": 7, "candidatesTokenCount": 9, "thoughtsTokenCount": 5},
            Usage(input_tokens=7, output_tokens=14, reasoning_tokens=5),
            {},
        ),
        (
            {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 99, "trafficType": "ON_DEMAND"},
            Usage(input_tokens=7, output_tokens=3),
            {"totalTokenCount": 99, "trafficType": "ON_DEMAND"},
        ),
        ({"promptTokenCount": "many", "candidatesTokenCount": -1}, Usage(), {}),
    ],
)
def test_tokens_are_counted_in_full(counts: dict[str, Any], usage: Usage, kept: dict[str, Any]) -> None:
    response = CODEC.decode_response(chunk({"text": "a"}, finish="STOP", usageMetadata=counts))
    assert (response.usage, response.provider_data.get("gemini", {}).get("usage", {})) == (usage, kept)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "nothing"),
        (b"<html><body>Bad gateway</body></html>", "Bad gateway"),
        (chunk({"text": "half"})[:60], "candidates"),
        (b'{"candidates": []}', "candidates holds no answer"),
        (b'{"usageMetadata": {}, "promptFeedback": {"safetyRatings": []}}', "candidates holds no answer"),
        (b'{"candidates": [{"index": 1, "content": {"parts": [{"text": "b"}]}}]}', "candidates holds no answer"),
        (b"[]", "candidates holds no answer"),
        (b"[" + chunk({"text": "a"}) + b"]", "the last chunk has no finishReason"),
        (chunk({"text": 5}), "text is no text"),
        (chunk(5), r"parts\[\] is no object"),
        (chunk({"functionCall": {"args": {}}}), "functionCall has no name"),
        (chunk({"functionCall": {"name": "f", "willContinue": True}}), "comes in pieces"),
        (chunk({"functionCall": {"name": "f", "args": [1]}}), "args is no object"),
        (chunk({"inlineData": {"mimeType": "image/png", "data": "?"}}), "no base64"),
        (chunk({"text": "a"}, modelVersion=7), "modelVersion is no text"),
        (b'{"error": {"message": "boom AIzaabcdefghijkl"}}', r"success: .*boom \[masked\]"),
        (b"[" * 100_000, r"\[\[\["),
        (b"null", "null"),
    ],
)
def test_a_success_without_an_answer_is_a_protocol_error_that_says_what_came(body: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says) as caught:
        CODEC.decode_response(body)
    assert len(caught.value.message) < 400


def test_a_prompt_that_was_blocked_has_no_answer_and_is_not_asked_again() -> None:
    body = (
        b'{"promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "no \\u001b way"}, '
        b'"usageMetadata": {"promptTokenCount": 4}, "modelVersion": "m1"}'
    )
    for read in (CODEC.decode_response, streamed):
        with pytest.raises(ContentFilteredError, match=r"blocked \(PROHIBITED_CONTENT\): no way") as caught:
            read(body)
        assert (caught.value.code, caught.value.retryable) == ("PROHIBITED_CONTENT", False)
        assert "PROHIBITED_CONTENT" in caught.value.body


def test_an_answer_that_was_stopped_by_a_filter_is_an_answer() -> None:
    response = fold(streamed(chunk({"text": "once"}), chunk(finish="SAFETY", usageMetadata=USAGE)))
    assert (response.text, response.finish_reason.unified) == ("once", "content_filter")


# Streams that go wrong


def test_a_stream_is_complete_at_its_finish_reason_with_the_usage_and_nothing_after_it_is_read() -> None:
    decoder = CODEC.stream_decoder()
    decoder.feed(b"data: " + chunk({"text": "a"}, usageMetadata=USAGE) + b"\n\n")
    last = b"data: " + chunk(finish="STOP", usageMetadata=USAGE) + b"\n\n"
    assert isinstance(decoder.feed(last + b"data: not JSON\n\n")[-1], ResponseEnd)
    assert decoder.feed(b"data: not JSON\n\n") == ()
    assert decoder.close() == ()


def test_usage_that_comes_behind_the_finish_reason_is_read() -> None:
    response = fold(streamed(chunk({"text": "a"}, finish="STOP"), msgspec.json.encode({"usageMetadata": USAGE})))
    assert response.usage == Usage(input_tokens=7, output_tokens=3)


@pytest.mark.parametrize("end", [b"", b"\n", b"data: [DONE]\n\n", b"data: [DONE]", b'data: {"cand'])
def test_a_stream_with_its_finish_reason_is_complete_however_it_closes(end: bytes) -> None:
    decoder = CODEC.stream_decoder()
    data = b"data: " + chunk({"text": "a"}, finish="STOP") + b"\n\n" + end
    assert fold([*decoder.feed(data), *decoder.close()]).text == "a"


def test_a_last_event_without_its_empty_line_is_read() -> None:
    decoder = CODEC.stream_decoder()
    assert decoder.feed(b"data: " + chunk({"text": "a"}, finish="STOP", usageMetadata=USAGE)) == ()
    assert fold(decoder.close()).text == "a"


@pytest.mark.parametrize("end", [b"", b"data: {", b"data: [DONE]\n\n", b": still here\n\n"])
def test_a_stream_without_a_finish_reason_is_interrupted_and_tells_what_had_arrived(end: bytes) -> None:
    decoder = CODEC.stream_decoder()
    chunks = (chunk({"text": "hm", "thought": True}), chunk({"text": "so"}), chunk({"text": " far"}))
    for each in chunks:
        decoder.feed(b"data: " + each + b"\n\n")
    decoder.feed(end)
    with pytest.raises(StreamInterruptedError) as caught:
        decoder.close()
    assert caught.value.text == "so far"


@pytest.mark.parametrize("body", [b"", b"\n\n", b": ping\n\n", b"data: \n\n"])
def test_a_stream_of_nothing_is_interrupted(body: bytes) -> None:
    decoder = CODEC.stream_decoder()
    decoder.feed(body)
    with pytest.raises(StreamInterruptedError):
        decoder.close()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}, RateLimitError),
        ({"code": 503, "message": "busy", "status": "UNAVAILABLE"}, OverloadedError),
        ({"code": 500, "message": "x", "status": "INTERNAL"}, ServerError),
        (
            {"code": 400, "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]},
            AuthenticationError,
        ),
        ({"message": "x"}, ServerError),
    ],
)
def test_an_error_in_the_place_of_a_chunk_is_raised_as_what_it_is(error: Any, kind: type[APIError]) -> None:
    body = msgspec.json.encode({"error": error})
    with pytest.raises(kind):
        streamed(chunk({"text": "a"}), body)
    for whole in (body, b"[" + body + b"]", b"[" + chunk({"text": "a"}) + b",\r\n" + body + b"]"):
        decoder = CODEC.stream_decoder()
        decoder.feed(whole)
        with pytest.raises(kind):
            decoder.close()


@pytest.mark.parametrize(
    "frame",
    [
        b"data: {oops}\n\n",
        b'data: {"candidates": [\n\n',
        b"data: 5\n\n",
        b"data: \xff\n\n",
        b'data: {"candidates": {}}\n\n',
        b'data: {"candidates": [5]}\n\n',
        b'data: {"candidates": [{"content": {"parts": [{"text": 5}]}}]}\n\n',
        b'data: {"candidates": [{"content": {"parts": [{"functionCall": 5}]}}]}\n\n',
        b'data: {"candidates": [{"finishReason": 5}]}\n\n',
        b'data: {"promptFeedback": 5}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"<html>Bad gateway</html>",
        b"Internal Server Error",
    ],
)
def test_a_chunk_that_cannot_be_read_is_a_protocol_error(frame: bytes) -> None:
    decoder = CODEC.stream_decoder()
    with pytest.raises(ProtocolError):  # noqa: PT012  # a body that is no stream is judged when it ends
        decoder.feed(frame)
        decoder.close()


def test_a_body_or_an_event_that_never_ends_is_cut_off() -> None:
    for start in (b'{"candidates": "', b'data: {"candidates": "'):
        decoder = CODEC.stream_decoder()
        decoder.feed(start)
        with pytest.raises(ProtocolError, match="longer than"):  # noqa: PT012  # which piece is one too many is not said
            for _ in range(17):
                decoder.feed(b"x" * 1024 * 1024)


def test_only_the_first_candidate_is_read() -> None:
    both = [{"index": at, "content": {"parts": [{"text": str(at)}]}, "finishReason": "STOP"} for at in (1, 0)]
    events = streamed(msgspec.json.encode({"candidates": both}))
    assert [event.text for event in events if isinstance(event, PartDelta)] == ["0"]


def test_events_come_as_soon_as_their_chunk_is_here() -> None:
    decoder = CODEC.stream_decoder()
    first = decoder.feed(b"data: " + chunk({"text": "a"}) + b"\n\n")
    assert first[1:] == (PartStart(index=0, part=Text(text="")), PartDelta(index=0, text="a"))
    call = decoder.feed(b"data: " + chunk({"functionCall": {"name": "f", "args": {"x": 1}, "id": "c"}}) + b"\n\n")
    assert call == (
        PartEnd(index=0),
        PartStart(index=1, part=ToolCall(id="c", name="f", arguments="")),
        PartDelta(index=1, text='{"x":1}'),
        PartEnd(index=1),
    )
