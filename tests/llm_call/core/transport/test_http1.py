from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.errors import ConfigError, ProtocolError
from llm_call.core.transport.http1 import Body, Head, body_after, request_head, take_head


def parse(pieces: list[bytes], *, closed: bool = False) -> tuple[Head, bytes, bytes]:
    """Head, body and what is left, for a response that arrives in these pieces."""
    buffer = bytearray()
    head: Head | None = None
    body: Body | None = None
    taken = b""
    for piece in pieces:
        buffer += piece
        if head is None:
            head = take_head(buffer)
            body = None if head is None else body_after(head)
        if body is not None:
            taken += body.take(buffer)
    assert head is not None
    assert body is not None
    assert body.complete or (closed and body.end())
    return head, taken, bytes(buffer)


def split_at(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def chunked(parts: list[bytes], *, trailers: bytes = b"") -> bytes:
    framed = b"".join(b"%x;note=1\r\n%b\r\n" % (len(part), part) for part in parts if part)
    return framed + b"0\r\n" + trailers + b"\r\n"


BODIES = st.lists(st.binary(max_size=40), max_size=5)
CUTS = st.lists(st.integers(min_value=0, max_value=2000), max_size=12)


@given(parts=BODIES, cuts=CUTS, after=st.binary(max_size=5))
def test_a_chunked_body_is_the_same_however_its_bytes_arrive(parts: list[bytes], cuts: list[int], after: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    whole = head + chunked(parts, trailers=b"x-checksum: 1\r\n") + after
    assert parse(split_at(whole, cuts))[1:] == (b"".join(parts), after)


@given(body=st.binary(max_size=100), cuts=CUTS, after=st.binary(max_size=5))
def test_a_sized_body_is_the_same_however_its_bytes_arrive(body: bytes, cuts: list[int], after: bytes) -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body) + after
    assert parse(split_at(whole, cuts))[1:] == (body, after)


@given(body=st.binary(max_size=100), cuts=CUTS)
def test_a_body_without_a_length_ends_with_the_connection(body: bytes, cuts: list[int]) -> None:
    head, taken, _ = parse(split_at(b"HTTP/1.0 200 OK\r\n\r\n" + body, cuts), closed=True)
    assert (taken, head.keep_alive) == (body, False)


@given(noise=st.binary(max_size=200))
def test_noise_is_refused_or_awaited_but_never_crashes(noise: bytes) -> None:
    buffer = bytearray(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + noise)
    try:
        head = take_head(buffer)
        assert head is not None
        body_after(head).take(buffer)
    except ProtocolError:
        pass


def test_header_names_are_lower_case_and_repeated_ones_are_joined() -> None:
    head, _, _ = parse([b"HTTP/1.1 204 No Content\r\nX-One:  a \r\nx-one: b\r\nEmpty:\r\n\r\n"])
    assert head == Head(status=204, headers={"x-one": "a, b", "empty": ""}, keep_alive=True)


def test_interim_heads_are_passed_over() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 2000
    head, body, _ = parse([interim + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"])
    assert (head.status, body) == (200, b"ok")


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [("1.1", "", True), ("1.1", "Close", False), ("1.0", "", False), ("1.0", "Keep-Alive", True)],
)
def test_the_version_and_the_connection_header_say_whether_the_connection_is_kept(
    version: str, connection: str, *, kept: bool
) -> None:
    head = take_head(bytearray(f"HTTP/{version} 200 OK\r\nconnection: {connection}\r\n\r\n".encode()))
    assert head is not None
    assert head.keep_alive is kept


@pytest.mark.parametrize(
    "response",
    [
        b"what is this\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20x OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: b\rc: d\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n+5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"a" * 70_000,
    ],
)
def test_what_the_standard_forbids_is_refused(response: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse([response])


def test_a_request_head_has_its_lines_in_order() -> None:
    assert (
        request_head("POST", "/v1?a=b", {"host": "h", "x": "é"})
        == b"POST /v1?a=b HTTP/1.1\r\nhost: h\r\nx: \xe9\r\n\r\n"
    )


@pytest.mark.parametrize("value", ["key\r\nx: y", "key\n", "kéy\0", "key\u2019", "\u00a0\u200b"])
def test_a_header_that_would_break_the_request_is_refused_without_its_value(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        request_head("POST", "/", {"authorization": value})
    assert "authorization" in str(caught.value)
    assert value not in f"{caught.value!r} {caught.value.hint}"
