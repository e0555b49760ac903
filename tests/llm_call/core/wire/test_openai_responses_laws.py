"""The laws of `core/wire/base.py`, over generated requests, answers and cuts."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from llm_call.core.domain.errors import APIError, ProtocolError, StreamInterruptedError
from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart, fold
from llm_call.core.domain.messages import Media, Message, Part, Reasoning, Text, ToolCall, ToolResult
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Request
from llm_call.core.domain.response import Finish, FinishReason, Response
from llm_call.core.wire.openai_responses import OpenAIResponsesCodec
from llm_call.core.wire.openai_responses_server import OpenAIResponsesServerCodec
from llm_call.testing import strategies

CODEC = OpenAIResponsesCodec()
SERVER = OpenAIResponsesServerCodec()


ENDED: dict[Finish, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}


def reasoning() -> st.SearchStrategy[Reasoning]:
    """Reasoning as this dialect brings it: encrypted, or raw thoughts; some of several texts."""
    ids = strategies.names().map("rs_".__add__)
    return (
        st.builds(
            lambda text, signature, item: Reasoning(
                text=text, signature=signature, provider_data={"type": "summary_text", "id": item}
            ),
            strategies.texts(),
            strategies.names(),
            ids,
        )
        | st.builds(
            lambda text, signature, item: Reasoning(
                text=text, signature=signature, provider_data={"type": "reasoning_text", "id": item}
            ),
            strategies.texts().filter(bool),
            st.none() | strategies.names(),
            ids,
        )
        | st.builds(
            lambda one, two, item: Reasoning(
                text=f"{one}\n\n{two}",
                signature="s",
                provider_data={
                    "type": "reasoning_text",
                    "id": item,
                    "summary": [{"type": "summary_text", "text": "in short"}],
                    "content": [{"type": "reasoning_text", "text": text} for text in (one, two)],
                },
            ),
            strategies.texts().filter(bool),
            strategies.texts().filter(bool),
            ids,
        )
    )


def spoken() -> st.SearchStrategy[Text]:
    """What an assistant says or refuses, some with citations or with fields of the item around it."""
    extras: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
        [
            {},
            {"annotations": [{"type": "url_citation", "url": "https://example.org"}]},
            {"item": {"phase": "commentary"}},
        ]
    )
    text = strategies.texts().filter(bool)
    refusals: st.SearchStrategy[dict[str, Any]] = st.sampled_from([{}, {"item": {"phase": "final_answer"}}])
    return st.builds(Text, text=text, provider_data=extras) | st.builds(
        Text, text=text, refusal=st.just(value=True), provider_data=refusals
    )


def answers() -> st.SearchStrategy[Response]:
    """Answers as this dialect brings them, with parts in any order and a finish reason that fits them."""
    parts = st.lists(spoken() | reasoning() | strategies.tool_calls(), max_size=4).map(tuple)
    items = st.fixed_dictionaries(
        {}, optional={"output": st.just([{"type": "web_search_call", "id": "ws_1", "status": "completed"}])}
    )
    return st.builds(
        lambda response, parts, kept: strategies.in_dialect(
            replace(
                response,
                parts=parts,
                finish_reason=finish_of(parts, response.finish_reason.unified),
                provider_data={**response.provider_data, **kept},
            ),
            CODEC.name,
        ),
        strategies.responses(),
        parts,
        items,
    )


def finish_of(parts: tuple[Part, ...], wanted: Finish) -> FinishReason:
    if wanted in ENDED:
        return FinishReason(unified=wanted, raw=ENDED[wanted])
    if any(isinstance(part, Text) and part.refusal for part in parts):
        return FinishReason(unified="content_filter", raw="completed")
    called = any(isinstance(part, ToolCall) for part in parts)
    return FinishReason(unified="tool_calls" if called else "stop", raw="completed")


def without_sounds(message: Message) -> Message:
    """A message whose sounds are pictures: this dialect refuses sounds, which a test of its own says."""
    return replace(
        message,
        parts=tuple(
            replace(part, media_type="image/png")
            if isinstance(part, Media) and part.media_type.startswith("audio/")
            else part
            for part in message.parts
        ),
    )


def messages() -> st.SearchStrategy[Message]:
    """The messages of every dialect, and turns of the assistant as this one brings them."""
    turns = st.lists(spoken() | reasoning() | strategies.tool_calls(), max_size=4).map(tuple)
    media = st.sampled_from(
        [
            Media(media_type="application/pdf", url="https://example.org/a.pdf", name="a"),
            Media(media_type="image/*", provider_data={"file_id": "file_1", "detail": "low"}),
            Media(media_type="application/octet-stream", provider_data={"file_id": "file_1"}),
        ]
    )
    results = st.builds(ToolResult, call_id=strategies.names(), parts=st.lists(media, max_size=2).map(tuple))
    return (
        strategies.messages().map(without_sounds)
        | st.builds(Message, role=st.just("assistant"), parts=turns)
        | st.builds(Message, role=st.just("user"), parts=st.lists(media, min_size=1, max_size=2).map(tuple))
        | st.builds(Message, role=st.just("tool"), parts=st.tuples(results))
    )


def requests() -> st.SearchStrategy[Request]:
    """Requests over everything that the dialect has to carry."""
    options = st.sampled_from(
        [
            {"include": ["file_search_call.results"]},
            {"include": ["reasoning.encrypted_content"]},
            {"reasoning": {"summary": "auto"}},
            {"text": {"verbosity": "low"}},
            {"store": True},
            {"store": False},
        ]
    )
    return st.builds(
        lambda request, messages, more: replace(
            request, messages=messages, provider_options={**request.provider_options, **more}
        ),
        strategies.requests(),
        st.lists(messages(), max_size=4).map(tuple),
        st.just({}) | st.just({}) | options,
    )


def events_of(response: Response, pieces: int) -> Iterator[Event]:
    yield ResponseStart(model=response.model, id=response.id)
    for index, part in enumerate(response.parts):
        empty, text = emptied(part)
        yield PartStart(index=index, part=empty)
        step = max(1, len(text) // pieces)
        for start in range(0, len(text), step):
            yield PartDelta(index=index, text=text[start : start + step])
        yield ended(index, part)
    yield ResponseEnd(finish_reason=response.finish_reason, usage=response.usage, provider_data=response.provider_data)


def emptied(part: Part) -> tuple[Part, str]:
    """A part as it starts: of reasoning the kind and the id are known, of a text whether it is a refusal."""
    kept = part.provider_data.get(CODEC.name, {})
    data = {CODEC.name: {name: kept[name] for name in ("type", "id") if name in kept}}
    if isinstance(part, ToolCall):
        return replace(part, arguments="", provider_data={}), part.arguments
    if isinstance(part, Reasoning):
        return Reasoning(text="", provider_data=data), part.text
    assert isinstance(part, Text)
    return Text(text="", refusal=part.refusal), part.text


def ended(index: int, part: Part) -> PartEnd:
    signature = part.signature if isinstance(part, Reasoning) else None
    return PartEnd(index=index, signature=signature, provider_data=part.provider_data)


def stream_of(response: Response, pieces: int = 3) -> bytes:
    encoder = SERVER.stream_encoder()
    return b"".join(encoder.encode(event) for event in events_of(response, pieces))


def decoded(pieces: Iterable[bytes]) -> list[Event]:
    decoder = CODEC.stream_decoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + list(decoder.close())


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


@given(answers(), st.data())
def test_a_stream_cut_anywhere_folds_to_what_the_whole_answer_says(response: Response, data: st.DataObject) -> None:
    stream = stream_of(response, data.draw(st.integers(1, 5)))
    assert fold(decoded(data.draw(strategies.cuts(stream)))) == CODEC.decode_response(SERVER.encode_response(response))


@given(answers())
def test_an_answer_survives_the_way_to_the_wire_and_back(response: Response) -> None:
    assert CODEC.decode_response(SERVER.encode_response(response)) == response


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
def test_a_stream_that_stops_before_its_response_is_complete_raises_with_the_text_so_far(
    response: Response, data: st.DataObject
) -> None:
    stream = stream_of(response)
    end = max(stream.rfind(b"event: response." + word) for word in (b"completed", b"incomplete"))
    short = stream[: data.draw(st.integers(0, end))]
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


def unnamed_changes(request: Request, profile: Profile, *, stream: bool) -> list[str]:
    request = strategies.in_dialect(request, CODEC.name)
    wire = CODEC.encode_request(request, stream=stream, profile=profile)
    back, streamed = SERVER.decode_request(wire.body)
    assert streamed is stream is wire.stream
    changed = differences(request, back)
    return [path for path in changed if not any(covers(notice.field, path) for notice in wire.notices)]


@given(messages())
def test_a_message_comes_back_as_it_was_but_for_what_notices_name(message: Message) -> None:
    assert not unnamed_changes(Request(model="m", messages=(message,)), Profile(), stream=False)


@given(strategies.output_specs(), strategies.profiles())
def test_an_output_comes_back_as_it_was_but_for_what_notices_name(output: OutputSpec, profile: Profile) -> None:
    assert not unnamed_changes(Request(model="m", messages=(), output=output), profile, stream=True)


@given(requests(), strategies.profiles(), st.sampled_from(["whole", "stream"]))
def test_a_request_comes_back_as_it_was_but_for_what_its_notices_name(
    request: Request, profile: Profile, how: str
) -> None:
    assert not unnamed_changes(request, profile, stream=how == "stream")


@given(requests(), strategies.profiles())
def test_what_came_from_the_wire_goes_back_to_it_without_a_notice(request: Request, profile: Profile) -> None:
    once, _ = SERVER.decode_request(
        CODEC.encode_request(strategies.in_dialect(request, CODEC.name), stream=False, profile=profile).body
    )
    again = CODEC.encode_request(once, stream=False, profile=Profile())
    assert SERVER.decode_request(again.body)[0] == once
    assert not again.notices


@given(st.binary(max_size=200) | strategies.json_values().map(msgspec.json.encode))
def test_bytes_without_an_answer_are_a_protocol_error_that_says_what_came(body: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"what came: |an error came"):
        CODEC.decode_response(body)
