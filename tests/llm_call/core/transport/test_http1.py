from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.errors import ConfigError, ProtocolError
from llm_call.core.transport.http1 import Response, request_head

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def parse(pieces: list[bytes]) -> Response:
    response = Response()
    for piece in pieces:
        response.feed(piece)
    return response


def split_at(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places) if start < end]


def chunked(parts: list[bytes], *, trailers: bytes = b"") -> bytes:
    framed = b"".join(b"%x;note=1\r\n%b\r\n" % (len(part), part) for part in parts if part)
    return framed + b"0\r\n" + trailers + b"\r\n"


BODIES = st.lists(st.binary(max_size=40), max_size=5)
CUTS = st.lists(st.integers(min_value=0, max_value=2000), max_size=12)
AFTER = st.binary(max_size=5).filter(lambda after: not after or after.strip(b"\r\n"))  # blank lines mean nothing


@given(parts=BODIES, cuts=CUTS, after=AFTER)
def test_a_chunked_body_is_the_same_however_its_bytes_arrive(parts: list[bytes], cuts: list[int], after: bytes) -> None:
    response = parse(split_at(CHUNKED + chunked(parts, trailers=b"x-checksum: 1\r\n") + after, cuts))
    assert (response.complete, response.take()) == (True, b"".join(parts))
    assert response.headers == {"transfer-encoding": "chunked"}
    assert response.reusable is not bool(after)


@given(body=st.binary(max_size=100), cuts=CUTS, after=AFTER)
def test_a_sized_body_is_the_same_however_its_bytes_arrive(body: bytes, cuts: list[int], after: bytes) -> None:
    response = parse(split_at(OK + b"Content-Length: %d\r\n\r\n%b" % (len(body), body) + after, cuts))
    assert (response.complete, response.take()) == (True, body)
    assert response.reusable is not bool(after)


@given(body=st.binary(max_size=100), cuts=CUTS)
def test_a_body_without_a_length_ends_with_the_connection(body: bytes, cuts: list[int]) -> None:
    response = parse(split_at(b"HTTP/1.0 200 OK\r\n\r\n" + body, cuts))
    assert not response.complete
    assert response.end()
    assert (response.complete, response.take(), response.reusable) == (True, body, False)


@pytest.mark.parametrize("start", [b"HTTP/1.1 200", OK + b"content-length: 1\r\n\r\n", CHUNKED + b"5\r\nhell"])
def test_a_response_with_a_length_does_not_end_with_the_connection(start: bytes) -> None:
    response = parse([start])
    assert not response.end()
    assert not response.complete


@given(noise=st.binary(max_size=200))
def test_noise_is_refused_or_awaited_but_never_crashes(noise: bytes) -> None:
    try:
        outcome = parse([CHUNKED + noise]).status
    except ProtocolError:
        outcome = 0
    assert outcome in {0, 200}


@given(cuts=CUTS)
def test_a_head_is_the_same_however_its_bytes_arrive(cuts: list[int]) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    whole = interim + b"HTTP/1.1 204 No Content\r\nX-One:  a \r\nx-one: b\r\nEmpty:\r\nLast: \xe9\t \r\n\r\n"
    response = parse(split_at(whole, cuts))
    assert (response.status, response.complete, response.reusable) == (204, True, True)
    assert response.headers == {"x-one": "a, b", "empty": "", "last": "\u00e9"}


def test_interim_heads_are_passed_over() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    response = parse([interim] * 2000)
    assert (response.status, response.pending) == (0, 0)
    response.feed(OK + b"content-length: 2\r\n\r\nok")
    assert (response.status, response.take()) == (200, b"ok")


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_some_statuses_have_no_body_whatever_the_head_says(status: bytes) -> None:
    response = parse([b"HTTP/1.1 " + status + b"\r\ncontent-length: 5\r\n\r\n"])
    assert (response.complete, response.reusable, response.take()) == (True, True, b"")


@pytest.mark.parametrize("size", [1, 20, 24, 100])
def test_a_second_response_is_noticed_at_its_first_byte_and_not_mixed_with_the_first(size: int) -> None:
    second = b"HTTP/1.1 500 No\r\nx: y\r\ncontent-length: 2\r\n\r\nno"
    response = parse([OK + b"content-length: 2\r\n\r\nok" + second[:size]])
    assert (response.status, response.headers, response.take()) == (200, {"content-length": "2"}, b"ok")
    assert not response.reusable


def test_a_change_of_protocol_is_refused_as_such() -> None:
    with pytest.raises(ProtocolError, match="status 101"):
        parse([b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"])


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [("1.1", "", True), ("1.1", "Close", False), ("1.0", "", False), ("1.0", "Keep-Alive", True)],
)
def test_the_version_and_the_connection_header_say_whether_the_connection_is_kept(
    version: str, connection: str, *, kept: bool
) -> None:
    head = f"HTTP/{version} 200 OK\r\nconnection: {connection}\r\ncontent-length: 0\r\n\r\n"
    assert parse([head.encode()]).reusable is kept


def test_a_chunk_size_may_be_padded_with_spaces() -> None:
    assert parse([CHUNKED + b"2  \r\nok\r\n0 \r\n\r\n"]).take() == b"ok"


@pytest.mark.parametrize(
    "response",
    [
        b"what is this\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 20x OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 600 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"a: b\r\n folded\r\n\r\n",
        OK + b"a: b\rc: d\r\n\r\n",
        OK + b"content-length: -1\r\n\r\n",
        OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\n",
        OK + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        OK + b"transfer-encoding: gzip\r\n\r\n",
        OK + b"transfer-encoding: gzip, chunked\r\n\r\n",
        CHUNKED + b"+5\r\nhello\r\n",
        CHUNKED + b"2\r\nhello\r\n",
        CHUNKED + b"1" * 70_000,
        CHUNKED + b"1;" + b"a" * 70_000,
        CHUNKED + b"0\r\na: " + b"b" * 70_000,
        OK + b"a" * 70_000,
    ],
)
def test_what_the_standard_forbids_is_refused(response: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse([response])


def test_a_head_in_pieces_is_refused_when_it_grows_too_long() -> None:
    with pytest.raises(ProtocolError, match="65536 bytes"):
        parse([OK, *[b"a: " + b"b" * 1000 + b"\r\n"] * 70])


@pytest.mark.parametrize(
    "flaw", [b"a b: secret", b"a: secret\0", b"content-length: 1secret", b"a" * 70_000 + b": secret"]
)
def test_a_refusal_says_why_and_shows_no_header(flaw: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"as it should: \w") as caught:
        parse([OK + b"set-cookie: secret\r\n" + flaw])
    assert "secret" not in f"{caught.value!r} {caught.value} {caught.value.hint} {caught.value.__context__!r}"


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
