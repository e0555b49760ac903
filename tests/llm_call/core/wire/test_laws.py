"""The laws of `core/wire/base.py`, each over generated cases of all dialects at once."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_call.core.domain.errors import StreamInterruptedError
from llm_call.core.domain.events import ResponseEnd, fold
from llm_call.core.domain.messages import Message, Part, Text
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import Request
from llm_call.testing import strategies
from llm_call.testing.dialects import DIALECTS, Dialect, Recording, asked, recorded
from llm_call.testing.laws import cut, decoded, disorder, encoded, unnamed_changes

GEMINI = DIALECTS[-1]
every = pytest.mark.parametrize("dialect", DIALECTS, ids=str)
served = pytest.mark.parametrize("dialect", [each for each in DIALECTS if each.server is not None], ids=str)
in_full = settings.get_profile(f"{settings.get_current_profile_name()}-laws")


@in_full
@given(recorded(), strategies.sizes())
def test_a_stream_cut_anywhere_folds_to_what_the_whole_answer_says(
    case: tuple[Dialect, Recording], sizes: tuple[int, ...]
) -> None:
    dialect, recording = case
    whole = dialect.codec.decode_response(recording.whole)
    assert fold(decoded(dialect.codec, cut(recording.stream, sizes))) == whole


@in_full
@given(recorded(), strategies.sizes(), st.floats(0, 1))
def test_every_part_starts_and_ends_once_and_a_stream_that_stops_early_raises(
    case: tuple[Dialect, Recording], sizes: tuple[int, ...], share: float
) -> None:
    dialect, recording = case
    end = dialect.end.search(recording.stream)
    assert end is not None
    short = recording.stream[: round(share * len(recording.stream))]
    text = dialect.codec.decode_response(recording.whole).text
    decoder = dialect.codec.stream_decoder()
    events = [event for piece in cut(short, sizes) for event in decoder.feed(piece)]
    if len(short) <= end.start():
        with pytest.raises(StreamInterruptedError) as caught:
            decoder.close()
        assert text.startswith(caught.value.text)
        assert not any(isinstance(event, ResponseEnd) for event in events)
    else:
        try:
            events += decoder.close()
        except StreamInterruptedError:
            assert share < 1
        else:
            assert isinstance(events[-1], ResponseEnd)
            assert fold(events).text == text
    assert not list(disorder(events))


@in_full
@given(asked(), strategies.profiles(), st.booleans())
def test_a_request_comes_back_as_it_was_but_for_what_its_notices_name(
    case: tuple[Dialect, Request], profile: Profile, stream: bool
) -> None:
    dialect, request = case
    assert not unnamed_changes(
        dialect.codec, dialect.read, request, stream=stream, profile=profile, unified=dialect.unified
    )


@served
@given(data=st.data())
def test_an_answer_survives_the_way_to_the_wire_and_back(dialect: Dialect, data: st.DataObject) -> None:
    recording = data.draw(dialect.recordings)
    assert dialect.codec.decode_response(recording.whole) == recording.response


@served
@given(data=st.data())
def test_a_stream_that_is_handed_on_says_the_same(dialect: Dialect, data: st.DataObject) -> None:
    recording = data.draw(dialect.recordings)
    assert dialect.server is not None
    events = decoded(dialect.codec, [recording.stream])
    again = encoded(dialect.server.stream_encoder(), events)
    assert fold(decoded(dialect.codec, [again])) == recording.response


@every
@given(data=st.data(), end=st.sampled_from([b"\r\n", b"\r", b"\n"]), sizes=strategies.sizes())
def test_line_ends_and_comments_make_no_difference(
    dialect: Dialect, data: st.DataObject, end: bytes, sizes: tuple[int, ...]
) -> None:
    stream = data.draw(dialect.recordings).stream
    other = b"\xef\xbb\xbf: hello" + end + end + stream.replace(b"\r\n", b"\n").replace(b"\n", end)
    assert fold(decoded(dialect.codec, cut(other, sizes))) == fold(decoded(dialect.codec, [stream]))


@every
@given(data=st.data(), sizes=strategies.sizes())
def test_a_whole_body_in_the_place_of_a_stream_is_read_as_an_answer(
    dialect: Dialect, data: st.DataObject, sizes: tuple[int, ...]
) -> None:
    body = data.draw(dialect.recordings).whole
    assert fold(decoded(dialect.codec, cut(b"\n" + body, sizes))) == dialect.codec.decode_response(body)


@given(GEMINI.recordings, strategies.sizes())
def test_an_array_of_chunks_is_read_as_the_stream_that_it_is(recording: Recording, sizes: tuple[int, ...]) -> None:
    frames = recording.stream.removesuffix(b"\r\n\r\n").split(b"\r\n\r\n")
    body = b"\n[" + b",\r\n".join(frame.removeprefix(b"data: ") for frame in frames) + b"]"
    whole = GEMINI.codec.decode_response(recording.whole)
    assert fold(decoded(GEMINI.codec, cut(body, sizes))) == GEMINI.codec.decode_response(body) == whole


@served
@given(data=st.data(), profile=strategies.profiles())
def test_what_came_from_the_wire_goes_back_to_it_without_a_notice(
    dialect: Dialect, data: st.DataObject, profile: Profile
) -> None:
    request = data.draw(dialect.requests)
    once, _ = dialect.read(dialect.codec.encode_request(request, stream=False, profile=profile))
    again = dialect.codec.encode_request(once, stream=False, profile=Profile(cache_markers=True))
    assert dialect.read(again)[0] == once
    assert not again.notices


@every
@given(data=st.data())
def test_an_answer_goes_back_as_history_without_a_loss(dialect: Dialect, data: st.DataObject) -> None:
    """What a model said, thoughts and signatures included, stands in the next request as it stood in the answer."""
    said = dialect.codec.decode_response(data.draw(dialect.recordings).whole).parts
    request = Request(model="m", messages=(Message(role="assistant", parts=said),))
    wire = dialect.codec.encode_request(request, stream=False, profile=Profile())
    dropped = {notice.field for notice in wire.notices if notice.fate == "dropped"}
    named = [part for at, part in enumerate(said) if f"messages[0].parts[{at}]" in dropped]
    assert all(isinstance(part, Text) and not part.text.strip() for part in named)
    back = [part for message in dialect.read(wire)[0].messages for part in message.parts]
    assert visible(back) == visible(part for part in said if part not in named)


def visible(parts: Iterable[Part]) -> list[Part]:
    """`parts` without empty texts: some dialects leave them out, and others send one for want of a part."""
    return [part for part in parts if not isinstance(part, Text) or part.text.strip() or part.provider_data]
