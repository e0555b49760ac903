"""The laws of `core/wire/base.py` for the Messages dialect, over generated requests, answers and cuts."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from llm_call.core.domain.errors import APIError, ProtocolError, StreamInterruptedError
from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart, fold
from llm_call.core.domain.messages import Media, Message, Part, Reasoning, Text, ToolCall
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Request
from llm_call.core.domain.response import FinishReason, Response, Usage
from llm_call.core.wire.anthropic_messages import AnthropicMessagesCodec
from llm_call.core.wire.anthropic_messages_answer import FINISH
from llm_call.core.wire.anthropic_messages_server import AnthropicMessagesServerCodec
from llm_call.testing import strategies

CODEC = AnthropicMessagesCodec()
SERVER = AnthropicMessagesServerCodec()
COUNTS = st.integers(0, 2**40)


def parts() -> st.SearchStrategy[Part]:
    """What an answer of this dialect is made of."""
    fields = strategies.unknown_fields()
    citations = st.lists(fields.filter(bool), min_size=1, max_size=2)
    kept = st.tuples(fields, citations.map(lambda each: {"citations": each}) | st.just({}))
    arguments = st.dictionaries(strategies.names(), strategies.json_values(), max_size=2)
    written = arguments.map(msgspec.json.encode).map(bytes.decode) | st.just('{"a": 1.0, "a" : 1E+2}')
    signed = st.builds(
        Reasoning,
        text=strategies.texts(),
        signature=st.none() | strategies.names(),
        provider_data=fields.map({"type": "thinking"}.__or__),
    )
    redacted = st.builds(lambda data: {"type": "redacted_thinking", "data": data}, strategies.names())
    opaque = fields.map(lambda extra: {"block": {"type": "server_tool_use", "input": {}, **extra}})
    return (
        st.builds(Text, text=strategies.texts(), provider_data=kept.map(lambda both: both[0] | both[1]))
        | signed
        | st.builds(Reasoning, text=st.just(""), provider_data=redacted)
        | st.builds(ToolCall, id=strategies.names(), name=strategies.names(), arguments=written, provider_data=fields)
        | st.builds(Text, text=st.just(""), provider_data=opaque)
    )


@st.composite
def answers(draw: st.DrawFn) -> Response:
    """Answers as this dialect brings them."""
    word = draw(st.sampled_from([*FINISH, "newer_reason"]))
    cached, written = draw(st.none() | COUNTS), draw(st.none() | COUNTS)
    known = cached is not None or written is not None or draw(st.booleans())
    return Response(
        model=draw(strategies.names()),
        id=draw(st.none() | strategies.names()),
        parts=tuple(draw(st.lists(parts(), max_size=4))),
        finish_reason=FinishReason(unified=FINISH.get(word, "other"), raw=word),
        usage=Usage(
            input_tokens=draw(COUNTS) + (cached or 0) + (written or 0) if known else None,
            cached_input_tokens=cached,
            cache_write_tokens=written,
            output_tokens=draw(st.none() | COUNTS),
            reasoning_tokens=draw(st.none() | COUNTS),
        ),
        provider_data=draw(strategies.unknown_fields()) | draw(st.sampled_from([{}, {"stop_sequence": "x"}])),
    )


def events_of(response: Response, pieces: int) -> Iterator[Event]:
    yield ResponseStart(model=response.model, id=response.id)
    for index, part in enumerate(response.parts):
        empty, text, end = emptied(part, index)
        yield PartStart(index=index, part=empty)
        step = max(1, len(text) // pieces)
        for start in range(0, len(text), step):
            yield PartDelta(index=index, text=text[start : start + step])
        yield end
    yield ResponseEnd(finish_reason=response.finish_reason, usage=response.usage, provider_data=response.provider_data)


def emptied(part: Part, index: int) -> tuple[Part, str, PartEnd]:
    """The part at its start, what is added to it, and its end, which brings a signature and a text's fields."""
    if isinstance(part, ToolCall):
        return replace(part, arguments=""), part.arguments, PartEnd(index=index)
    if isinstance(part, Reasoning):
        return replace(part, text="", signature=None), part.text, PartEnd(index=index, signature=part.signature)
    assert isinstance(part, Text)
    if "block" in part.provider_data:
        return part, "", PartEnd(index=index)
    return Text(text=""), part.text, PartEnd(index=index, provider_data=part.provider_data)


def stream_of(response: Response, pieces: int = 3) -> bytes:
    encoder = SERVER.stream_encoder()
    return b"".join(encoder.encode(event) for event in events_of(response, pieces))


def decoded(pieces: Iterable[bytes]) -> list[Event]:
    decoder = CODEC.stream_decoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + list(decoder.close())


def sayable(request: Request) -> Request:
    """`request` without what the dialect refuses: sounds, and texts that are no UTF-8. Signed thoughts are its own."""
    messages = (replace(each, parts=tuple(_sayable_part(part) for part in each.parts)) for each in request.messages)
    return replace(request, messages=tuple(messages))


def _sayable_part(part: Part) -> Part:
    if isinstance(part, Reasoning) and part.signature is not None:
        return replace(part, provider_data={"type": "thinking", "x_kept": 1})
    if isinstance(part, Media) and part.media_type.startswith("audio/"):
        return replace(part, media_type="image/png")
    if isinstance(part, Media) and part.media_type.startswith("text/"):
        return replace(part, data=(part.data or b"").hex().encode())
    return part


def differences(left: Any, right: Any, path: str = "") -> Iterator[str]:
    """The paths at which two values differ; of lists that differ in length, the path of the list."""
    if isinstance(left, msgspec.Struct) and type(left) is type(right):
        for name in left.__struct_fields__:
            yield from differences(getattr(left, name), getattr(right, name), f"{path}.{name}".removeprefix("."))
    elif isinstance(left, tuple) and isinstance(right, tuple) and len(left) == len(right):
        for index, pair in enumerate(zip(left, right, strict=True)):
            yield from differences(*pair, f"{path}[{index}]")
    elif left != right:
        yield path


def covers(field: str, path: str) -> bool:
    """Whether a notice about `field` speaks of `path`: the same, above it, or (of a list's length) in it."""
    return any(
        short == long or (long.startswith(short) and long[len(short)] in ".[")
        for short, long in ((field, path), (path, field))
    )


def unnamed_changes(request: Request, profile: Profile, *, stream: bool) -> list[str]:
    wire = CODEC.encode_request(request, stream=stream, profile=profile)
    back, streamed = SERVER.decode_request(wire.body)
    assert streamed is stream is wire.stream
    changed = differences(request, back)
    return [path for path in changed if not any(covers(notice.field, path) for notice in wire.notices)]


@given(answers(), st.data())
def test_a_stream_cut_anywhere_folds_to_what_the_whole_answer_says(response: Response, data: st.DataObject) -> None:
    stream = stream_of(response, data.draw(st.integers(1, 5)))
    assert fold(decoded(data.draw(strategies.cuts(stream)))) == CODEC.decode_response(SERVER.encode_response(response))


@given(answers())
def test_an_answer_survives_the_way_to_the_wire_and_back(response: Response) -> None:
    assert CODEC.decode_response(SERVER.encode_response(response)) == response


@given(answers())
def test_a_stream_that_is_handed_on_says_the_same(response: Response) -> None:
    encoder = SERVER.stream_encoder()
    again = b"".join(encoder.encode(event) for event in decoded([stream_of(response)]))
    assert fold(decoded([again])) == response


@given(answers(), st.sampled_from([b"\r\n", b"\r"]), st.data())
def test_line_ends_make_no_difference(response: Response, end: bytes, data: st.DataObject) -> None:
    stream = stream_of(response)
    other = b"\xef\xbb\xbf: hello" + end + end + stream.replace(b"\n", end)
    assert fold(decoded(data.draw(strategies.cuts(other)))) == fold(decoded([stream]))


@given(answers(), st.data())
def test_a_whole_body_in_the_place_of_a_stream_is_read_as_an_answer(response: Response, data: st.DataObject) -> None:
    body = SERVER.encode_response(response)
    assert fold(decoded(data.draw(strategies.cuts(b"\n" + body)))) == CODEC.decode_response(body)


@given(answers(), st.data())
def test_a_stream_that_stops_before_its_stop_reason_raises_with_the_text_so_far(
    response: Response, data: st.DataObject
) -> None:
    stream = stream_of(response)
    short = stream[: data.draw(st.integers(0, stream.index(b'"stop_reason":"')))]
    decoder = CODEC.stream_decoder()
    events = [event for piece in data.draw(strategies.cuts(short)) for event in decoder.feed(piece)]
    with pytest.raises(StreamInterruptedError) as caught:
        decoder.close()
    assert response.text.startswith(caught.value.text)
    assert not any(isinstance(event, ResponseEnd) for event in events)


@given(answers(), st.data())
def test_every_part_starts_once_and_ends_once(response: Response, data: st.DataObject) -> None:
    events = decoded(data.draw(strategies.cuts(stream_of(response))))
    assert isinstance(events[0], ResponseStart)
    assert isinstance(events[-1], ResponseEnd)
    started = [event.index for event in events if isinstance(event, PartStart)]
    assert sorted(started) == sorted(event.index for event in events if isinstance(event, PartEnd))
    assert len(started) == len(set(started)) == len(response.parts)


@given(answers(), st.data())
def test_a_damaged_stream_is_read_or_raises_and_never_ends_quietly(response: Response, data: st.DataObject) -> None:
    frames = data.draw(st.permutations(stream_of(response).split(b"\n\n")))
    kept = b"\n\n".join(frames[: data.draw(st.integers(0, len(frames)))])
    at = data.draw(st.integers(0, len(kept)))
    damaged = kept[:at] + data.draw(st.binary(max_size=3)) + kept[at + data.draw(st.integers(0, 3)) :]
    try:
        events = decoded([damaged])
    except (StreamInterruptedError, ProtocolError, APIError):
        return
    assert isinstance(events[-1], ResponseEnd)


@given(st.lists(strategies.json_values()), st.sampled_from(["", "message_start", "content_block_delta", "error"]))
def test_events_of_any_form_are_read_or_raise(values: list[Any], kind: str) -> None:
    frames = (b"data: " + msgspec.json.encode({"type": kind, "index": 0, "delta": each}) for each in values)
    with pytest.raises((StreamInterruptedError, ProtocolError, APIError)):
        decoded(b"event: " + kind.encode() + b"\n" + frame + b"\n\n" for frame in frames)


@given(strategies.messages())
def test_a_message_comes_back_as_it_was_but_for_what_notices_name(message: Message) -> None:
    assert not unnamed_changes(sayable(Request(model="m", messages=(message,))), Profile(), stream=False)


@given(strategies.output_specs(), strategies.profiles())
def test_an_output_comes_back_as_it_was_but_for_what_notices_name(output: OutputSpec, profile: Profile) -> None:
    assert not unnamed_changes(Request(model="m", messages=(), output=output), profile, stream=True)


@given(strategies.requests(), strategies.profiles(), st.sampled_from(["whole", "stream"]))
def test_a_request_comes_back_as_it_was_but_for_what_its_notices_name(
    request: Request, profile: Profile, how: str
) -> None:
    assert not unnamed_changes(sayable(request), profile, stream=how == "stream")


@given(strategies.requests(), strategies.profiles())
def test_what_came_from_the_wire_goes_back_to_it_without_a_notice(request: Request, profile: Profile) -> None:
    once, _ = SERVER.decode_request(CODEC.encode_request(sayable(request), stream=False, profile=profile).body)
    again = CODEC.encode_request(once, stream=False, profile=Profile())
    assert SERVER.decode_request(again.body)[0] == once
    assert not again.notices


@given(answers())
def test_an_answer_goes_back_as_history_without_a_loss(response: Response) -> None:
    """What a model said, thoughts and signatures included, stands in the next request as it stood in the answer."""
    said = tuple(
        part
        for part in response.parts
        if not isinstance(part, Text) or part.text.strip() or part.provider_data.get("block")
    )
    request = Request(model="m", messages=(Message(role="assistant", parts=said),))
    wire = CODEC.encode_request(request, stream=False, profile=Profile())
    messages = SERVER.decode_request(wire.body)[0].messages
    assert messages == (request.messages if said else ())
    assert {notice.field for notice in wire.notices} <= {"settings.max_output_tokens", "messages"}


@given(st.binary(max_size=200) | strategies.json_values().map(msgspec.json.encode))
def test_bytes_without_an_answer_are_a_protocol_error_that_says_what_came(body: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"what came: |an error came"):
        CODEC.decode_response(body)
