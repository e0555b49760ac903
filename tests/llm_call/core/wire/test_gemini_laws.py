"""The laws of `core/wire/base.py` for Google's dialect, over generated requests, answers and cuts."""

from base64 import b64encode
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.errors import (
    APIError,
    LLMCallError,
    ProtocolError,
    StreamInterruptedError,
    UnsupportedError,
)
from llm_call.core.domain.events import Event, PartEnd, PartStart, ResponseEnd, ResponseStart, fold
from llm_call.core.domain.messages import Message
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import Request
from llm_call.core.wire.gemini import SETTINGS, GeminiCodec
from llm_call.testing import strategies

CODEC = GeminiCodec()
Wire = dict[str, Any]

_objects = st.dictionaries(strategies.names(), strategies.json_values(), max_size=2)
_extras = strategies.unknown_fields() | st.builds(lambda sign: {"thoughtSignature": sign}, strategies.names())


def wire_parts() -> st.SearchStrategy[Wire]:
    """Parts of every kind, as the dialect sends them."""
    texts = st.builds(
        lambda text, thought, extra: {"text": text, **({"thought": True} if thought else {}), **extra},
        strategies.texts(),
        st.booleans(),
        _extras,
    )
    calls = st.builds(
        lambda name, args, identity, extra: {"functionCall": {"name": name, **args, **identity}, **extra},
        strategies.names(),
        st.just({}) | _objects.map(lambda value: {"args": value}),
        st.just({}) | strategies.names().map(lambda value: {"id": value}),
        _extras,
    )
    media = st.binary(max_size=9).map(
        lambda data: {"inlineData": {"mimeType": "image/png", "data": b64encode(data).decode()}}
    )
    files = st.just({"fileData": {"mimeType": "video/mp4", "fileUri": "https://example.org/v"}})
    other = st.just({"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "c"})
    return texts | calls | media | files | other | st.just({"thoughtSignature": "alone"})


class Answer(msgspec.Struct, frozen=True):
    """An answer's parts, and everything else in its last chunk."""

    parts: list[Wire]
    finish: str
    top: Wire
    candidate: Wire

    def whole(self) -> bytes:
        return msgspec.json.encode(self.chunk(self.parts, last=True))

    def chunk(self, parts: list[Wire], *, last: bool = False) -> Wire:
        candidate = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if last:
            candidate |= {"finishReason": self.finish, **self.candidate}
        usage = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
        top = {"modelVersion": "m1", "responseId": "r1", "usageMetadata": usage}
        return {"candidates": [candidate], **top, **(self.top if last else {})}


def answers() -> st.SearchStrategy[Answer]:
    finish = st.sampled_from(["STOP", "MAX_TOKENS", "SAFETY", "MALFORMED_FUNCTION_CALL", "NEW_REASON"])
    more = strategies.unknown_fields()
    return st.builds(Answer, st.lists(wire_parts(), max_size=5), finish, more, more)


def pieces_of(part: Wire, data: st.DataObject) -> list[Wire]:
    """A part as a stream brings it: a text in pieces, what it has of its own on the last or behind it."""
    if not part.get("text"):
        return [part]
    text, thought = part["text"], {"thought": True} if part.get("thought") else {}
    extra = {name: value for name, value in part.items() if name not in {"text", "thought"}}
    at = data.draw(st.integers(0, len(text)))
    if data.draw(st.booleans()):
        return [{"text": text[:at], **thought}, {"text": text[at:], **thought, **extra}]
    return [{"text": text[:at], **thought}, {"text": text[at:], **thought}, {"text": "", **thought, **extra}]


def stream_of(answer: Answer, data: st.DataObject) -> bytes:
    pieces = [piece for part in answer.parts for piece in pieces_of(part, data)]
    groups: list[list[Wire]] = [[]]
    for piece in pieces:
        if data.draw(st.booleans()):
            groups.append([])
        groups[-1].append(piece)
    chunks = [answer.chunk(group) for group in groups[:-1]] + [answer.chunk(groups[-1], last=True)]
    return b"".join(b"data: " + msgspec.json.encode(chunk) + b"\r\n\r\n" for chunk in chunks)


def decoded(pieces: Iterable[bytes]) -> list[Event]:
    decoder = CODEC.stream_decoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + list(decoder.close())


@given(answers(), st.data())
def test_a_stream_cut_anywhere_folds_to_what_the_whole_answer_says(answer: Answer, data: st.DataObject) -> None:
    stream = stream_of(answer, data)
    assert fold(decoded(data.draw(strategies.cuts(stream)))) == CODEC.decode_response(answer.whole())


@given(answers(), st.data())
def test_an_array_of_chunks_is_read_as_the_stream_it_is(answer: Answer, data: st.DataObject) -> None:
    frames = stream_of(answer, data).replace(b"\r\n\r\n", b",").replace(b"data: ", b"").removesuffix(b",")
    body = b"\n[" + frames + b"]"
    assert fold(decoded(data.draw(strategies.cuts(body)))) == CODEC.decode_response(answer.whole())
    assert CODEC.decode_response(body) == CODEC.decode_response(answer.whole())


@given(answers())
def test_what_a_model_said_goes_back_to_it_as_it_came(answer: Answer) -> None:
    said = CODEC.decode_response(answer.whole()).parts
    request = Request(model="m", messages=(Message(role="assistant", parts=said),))
    wire = CODEC.encode_request(request, stream=False, profile=Profile())
    content = msgspec.json.decode(wire.body)["contents"][0]
    assert content["role"] == "model"
    again = Answer(content["parts"], answer.finish, answer.top, answer.candidate)
    assert CODEC.decode_response(again.whole()).parts == said
    assert [notice.field for notice in wire.notices] == ([] if said else ["messages[0].parts"])


@given(answers(), st.sampled_from([b"\n", b"\r"]), st.data())
def test_line_ends_make_no_difference(answer: Answer, end: bytes, data: st.DataObject) -> None:
    stream = stream_of(answer, data)
    other = b"\xef\xbb\xbf: hello" + end + end + stream.replace(b"\r\n", end)
    assert fold(decoded(data.draw(strategies.cuts(other)))) == fold(decoded([stream]))


@given(answers(), st.data())
def test_a_stream_that_stops_before_its_finish_reason_raises_with_the_text_so_far(
    answer: Answer, data: st.DataObject
) -> None:
    stream = stream_of(answer, data)
    short = stream[: data.draw(st.integers(0, stream.rindex(b'"finishReason":"')))]
    decoder = CODEC.stream_decoder()
    events = [event for piece in data.draw(strategies.cuts(short)) for event in decoder.feed(piece)]
    with pytest.raises(StreamInterruptedError) as caught:
        decoder.close()
    assert CODEC.decode_response(answer.whole()).text.startswith(caught.value.text)
    assert not any(isinstance(event, ResponseEnd) for event in events)


@given(answers(), st.data())
def test_every_part_starts_once_and_ends_once_before_the_next(answer: Answer, data: st.DataObject) -> None:
    events = decoded(data.draw(strategies.cuts(stream_of(answer, data))))
    assert isinstance(events[0], ResponseStart)
    assert isinstance(events[-1], ResponseEnd)
    borders = [(type(event), event.index) for event in events if isinstance(event, PartStart | PartEnd)]
    count = len(CODEC.decode_response(answer.whole()).parts)
    assert borders == [(kind, index) for index in range(count) for kind in (PartStart, PartEnd)]


@given(answers(), st.data())
def test_a_damaged_stream_is_read_or_raises_and_never_ends_quietly(answer: Answer, data: st.DataObject) -> None:
    frames = data.draw(st.permutations(stream_of(answer, data).split(b"\r\n\r\n")))
    kept = b"\r\n\r\n".join(frames[: data.draw(st.integers(0, len(frames)))])
    at = data.draw(st.integers(0, len(kept)))
    damaged = kept[:at] + data.draw(st.binary(max_size=3)) + kept[at + data.draw(st.integers(0, 3)) :]
    try:
        events = decoded([damaged])
    except (StreamInterruptedError, ProtocolError, APIError):
        return
    assert isinstance(events[-1], ResponseEnd)


@given(st.binary(max_size=200) | strategies.json_values().map(msgspec.json.encode))
def test_bytes_without_an_answer_are_a_protocol_error_that_says_what_came(body: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"what came: |an error came"):
        CODEC.decode_response(body)


def odd_answers() -> st.SearchStrategy[Any]:
    """The dialect's own names with anything under them."""
    keys = st.sampled_from(
        [
            *(
                "candidates",
                "content",
                "parts",
                "text",
                "thought",
                "functionCall",
                "name",
                "args",
                "inlineData",
                "data",
            ),
            *("promptFeedback", "blockReason", "finishReason", "usageMetadata", "thoughtsTokenCount"),
            *("error", "details", "reason", "retryDelay"),
        ]
    )
    leaves = strategies.json_values()
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3), max_leaves=9
    )


@given(odd_answers(), st.sampled_from([200, 400, 429, 503]))
def test_whatever_stands_in_an_answer_it_is_read_or_raises_an_error_of_ours(answer: Any, status: int) -> None:
    body = msgspec.json.encode(answer)
    error = CODEC.decode_error(status, {}, body)
    assert error.retry_after is None or 0 <= error.retry_after <= 86_400
    for pieces in ([body], [b"data: " + body + b"\n\n"]):
        try:
            assert isinstance(decoded(pieces)[-1], ResponseEnd)
        except LLMCallError:
            continue


@given(strategies.requests(), strategies.profiles(), st.booleans())
def test_every_setting_is_sent_or_named_in_a_notice(request: Request, profile: Profile, stream: bool) -> None:
    request = strategies.in_dialect(msgspec.structs.replace(request, model="m" + request.model), CODEC.name)
    try:
        wire = CODEC.encode_request(request, stream=stream, profile=profile)
    except UnsupportedError:  # most often a result without its call, or arguments that are no object
        return
    body = msgspec.json.decode(wire.body)
    named = {notice.field for notice in wire.notices}
    config = body.get("generationConfig", {})
    for name in request.settings.__struct_fields__:
        value, place = getattr(request.settings, name), SETTINGS.get(name, {"stop": "stopSequences"}.get(name, ""))
        if value not in (None, ()):
            sent = config["thinkingConfig"] if name == "reasoning_effort" else config.get(place)
            assert f"settings.{name}" in named or sent in (
                value,
                [*value] if place == "stopSequences" else None,
                {"thinkingLevel": value},
            )
    assert ("toolConfig" in body) is (request.tool_choice is not None and bool(request.tools)) or {
        "tool_choice",
        "tools[0].strict",
        "tools[1].strict",
    } & named
    assert ("responseMimeType" in config) is (request.output is not None and profile.output_mode != "prompted")
    for option in request.provider_options:
        assert option in body or f"provider_options.{option}" in named


@given(strategies.messages())
def test_every_text_is_sent_or_the_message_is_refused(message: Message) -> None:
    try:
        request = strategies.in_dialect(Request(model="m", messages=(message,)), CODEC.name)
        wire = CODEC.encode_request(request, stream=False, profile=Profile())
    except UnsupportedError:
        return
    body = msgspec.json.decode(wire.body)
    parts = [
        part
        for content in [*body["contents"], body.get("systemInstruction", {"parts": []})]
        for part in content["parts"]
    ]
    assert message.text == "".join(part.get("text", "") for part in parts if not part.get("thought"))
