"""Bytes to server-sent events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.errors import ProtocolError
from llm_call.core.wire.framing import ServerSentEvent, ServerSentEvents
from llm_call.testing.strategies import cuts

_LINES = st.lists(
    st.sampled_from(
        [b"data: x", b"data:y", b"data", b"event: error", b": note", b"id: 1", b"retry: 5", b"\xff: ?", b""]
    )
    | st.binary(max_size=6)
)
_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


def read(pieces: tuple[bytes, ...]) -> list[ServerSentEvent]:
    decoder = ServerSentEvents()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    last = decoder.close()
    return events if last is None else [*events, last]


@given(_LINES, _ENDS, st.data())
def test_however_the_bytes_are_cut_the_events_are_the_same(lines: list[bytes], end: bytes, data: st.DataObject) -> None:
    stream = end.join(lines)
    assert read(data.draw(cuts(stream))) == read((stream,))


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [(b"a", ""), (b"b", "")]),
        (b"data: a\r\n\r\ndata: b\r\rdata:c\n\n", [(b"a", ""), (b"b", ""), (b"c", "")]),
        (b"\xef\xbb\xbfdata: a\n\n", [(b"a", "")]),
        (b"data: a\ndata:\ndata:  b\n\n", [(b"a\n\n b", "")]),
        (b": ping\n\nevent: error\nid: 7\ndata: {}\n\n", [(b"{}", "error")]),
        (b"event: lonely\n\ndata: a\n\n", [(b"a", "")]),
        (b"data: \xc3\xa4\xf0\x9f\x8d\x8f\x0b\x0c\xc2\x85\n\n", [("ä🍏\x0b\x0c\x85".encode(), "")]),
        (b"data: the end is missing", [(b"the end is missing", "")]),
        (b"\n\n\r\r", []),
    ],
)
def test_events_are_read_as_the_standard_says(stream: bytes, events: list[tuple[bytes, str]]) -> None:
    expected = [ServerSentEvent(data=data, event=name) for data, name in events]
    assert read((stream,)) == expected
    assert read(tuple(bytes([each]) for each in stream)) == expected


@pytest.mark.parametrize("piece", [b"x", b"data: y\n", b": note "])
def test_an_event_without_end_is_refused_at_the_limit(piece: bytes) -> None:
    decoder = ServerSentEvents(max_event_bytes=100)
    for _ in range(100 // len(piece) - 1):
        assert decoder.feed(piece) == []
    with pytest.raises(ProtocolError, match="longer than 100 bytes"):
        decoder.feed(piece * 10)


def test_comments_and_complete_events_do_not_count_towards_the_limit() -> None:
    decoder = ServerSentEvents(max_event_bytes=30)
    for _ in range(20):
        assert decoder.feed(b": still here\n") == []
        assert decoder.feed(b"data: 0123456789\n\n") == [ServerSentEvent(data=b"0123456789")]
