"""Whatever a peer or a network does to an answer, every dialect reads it or says in an error of ours that it cannot."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_call.core.domain.errors import APIError, BadRequestError, ProtocolError, StreamInterruptedError
from llm_call.core.domain.events import Event, ResponseEnd
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import Request
from llm_call.core.wire.base import StreamDecoder
from llm_call.core.wire.framing import MAX_EVENT_BYTES
from llm_call.testing import strategies
from llm_call.testing.damage import ODD_VALUES, Damage, damaged, damages
from llm_call.testing.dialects import DIALECTS, Dialect, Recording, asked, recorded
from llm_call.testing.laws import cut, disorder

in_full = settings.get_profile(f"{settings.get_current_profile_name()}-laws")
each_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=str)
REFUSALS = (ProtocolError, APIError, StreamInterruptedError)
MEGABYTE = b"x" * (1 << 20)


@in_full
@given(recorded(), damages(), strategies.sizes())
def test_a_damaged_stream_is_read_or_raises_and_never_ends_quietly(
    case: tuple[Dialect, Recording], wrong: tuple[Damage, ...], sizes: tuple[int, ...]
) -> None:
    dialect, recording = case
    stream = damaged(recording.stream, wrong)
    decoder, events = dialect.codec.stream_decoder(), list[Event]()
    try:
        for piece in cut(stream, sizes):
            events += decoder.feed(piece)
        events += decoder.close()
    except REFUSALS:
        assert not any(isinstance(event, ResponseEnd) for event in events)
    else:
        assert isinstance(events[-1], ResponseEnd)
        assert dialect.end.search(stream)
    assert not list(disorder(events))


@given(recorded(), damages())
def test_a_damaged_answer_is_read_or_raises(case: tuple[Dialect, Recording], wrong: tuple[Damage, ...]) -> None:
    dialect, recording = case
    body = damaged(recording.whole, wrong)
    try:
        response = dialect.codec.decode_response(body)
    except REFUSALS:
        return
    assert msgspec.json.decode(body)
    assert msgspec.json.encode(response)


@each_dialect
@given(wrong=damages(), status=st.integers(100, 599), value=st.sampled_from(ODD_VALUES))
def test_any_failure_is_an_error_of_the_provider(
    dialect: Dialect, wrong: tuple[Damage, ...], status: int, value: Any
) -> None:
    report = {"error": {"message": value, "code": value, "type": value, "status": value, "details": [value]}}
    for body in (msgspec.json.encode(report), msgspec.json.encode(value)):
        headers = {name: str(value) for name in ("retry-after", "date", "anthropic-ratelimit-unified-reset")}
        error = dialect.codec.decode_error(status, headers, damaged(body, wrong))
        assert error.status == status
        assert error.retry_after is None or 0 <= error.retry_after <= 86_400


@given(asked(), damages())
def test_a_damaged_request_is_read_or_refused_as_the_clients_fault(
    case: tuple[Dialect, Request], wrong: tuple[Damage, ...]
) -> None:
    dialect, request = case
    if dialect.server is None:
        return
    wire = dialect.codec.encode_request(request, stream=False, profile=Profile())
    try:
        read, streamed = dialect.server.decode_request(damaged(wire.body, wrong))
    except BadRequestError:
        return
    assert isinstance(read, Request)
    assert isinstance(streamed, bool)


@each_dialect
@given(st.binary(max_size=200) | strategies.json_values().map(msgspec.json.encode))
def test_bytes_without_an_answer_are_a_protocol_error_that_says_what_came(dialect: Dialect, body: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"what came: |an error came"):
        dialect.codec.decode_response(body)


def fill(decoder: StreamDecoder, piece: bytes) -> None:
    for _ in range(MAX_EVENT_BYTES // len(piece) + 1):
        assert not decoder.feed(piece)


@each_dialect
@pytest.mark.parametrize("start", [b'data: "', b"", b"event: x", b": "], ids=["data", "whole", "name", "comment"])
def test_a_line_or_a_body_that_does_not_end_is_refused_before_it_fills_the_memory(
    dialect: Dialect, start: bytes
) -> None:
    decoder = dialect.codec.stream_decoder()
    decoder.feed(start)
    with pytest.raises(ProtocolError, match="longer than"):
        fill(decoder, MEGABYTE)


@each_dialect
def test_an_event_of_lines_without_end_is_refused_before_it_fills_the_memory(dialect: Dialect) -> None:
    decoder, line = dialect.codec.stream_decoder(), b"data: " + MEGABYTE + b"\n"
    with pytest.raises(ProtocolError, match="longer than"):
        fill(decoder, line)


@each_dialect
def test_a_stream_of_comments_ends_in_an_interruption(dialect: Dialect) -> None:
    decoder = dialect.codec.stream_decoder()
    assert not any(decoder.feed(b": ping\n\n") for _ in range(1_000))
    with pytest.raises(StreamInterruptedError):
        decoder.close()
