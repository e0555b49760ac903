"""HTTP/1.1 as bytes (RFC 9112): how the head of a request is written, how a response is read. No I/O.

Responses are read from a growing buffer: each function takes what is complete off its front and leaves the rest. What
the standard forbids is refused, never guessed at; a connection on which that happened is not used again.
"""

import re
from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from llm_call.core.domain.errors import ConfigError, ProtocolError

_HEAD_LIMIT = 64 * 1024  # bytes of a head, and of one line between chunks
_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: .*)?")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_SENT = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e\x80-\xff]*")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
_FORBIDDEN = re.compile(r"[\r\n\0]")


def request_head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """The bytes in front of a request's body.

    Raises:
        ConfigError: A header cannot be sent. The message names it and never shows its value: it may be a credential.
    """
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in headers.items():
        line = f"{name}: {value}"
        if not _FIELD_SENT.fullmatch(line):
            raise ConfigError(
                f"the header {name!r} has a name or a value that HTTP cannot carry",
                hint="Look for a line break or a character outside Latin-1, perhaps at the end of a copied key.",
            )
        lines.append(line)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Head(Struct, frozen=True, kw_only=True):
    """The head of a response. Header names are in lower case; values of repeated headers are joined by commas."""

    status: int
    headers: Mapping[str, str]
    keep_alive: bool


def take_head(buffer: bytearray) -> Head | None:
    """The head at the front of `buffer`, or `None` while it is incomplete. Interim heads (1xx) are passed over.

    Raises:
        ProtocolError: These bytes are not the head of an HTTP/1 response.
    """
    while (end := buffer.find(b"\r\n\r\n")) >= 0:
        status_line, *fields = buffer[:end].decode("latin-1").split("\r\n")
        del buffer[: end + 4]
        match = _STATUS_LINE.fullmatch(status_line)
        if match is None:
            raise ProtocolError("the peer does not answer in HTTP/1.1", hint="Check the scheme and port of the URL.")
        if match[2][0] != "1":
            return _head(int(match[2]), _headers(fields), newest=match[1] == "1")
    _refuse_long(buffer)
    return None


def _head(status: int, headers: Mapping[str, str], *, newest: bool) -> Head:
    connection = headers.get("connection", "").lower()
    keep_alive = "close" not in connection and (newest or "keep-alive" in connection)
    return Head(status=status, headers=headers, keep_alive=keep_alive)


def _headers(fields: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for field in fields:
        name, colon, value = field.partition(":")
        if not colon or not _NAME.fullmatch(name) or _FORBIDDEN.search(value):
            raise ProtocolError("the peer sent a header that is none")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


class Body(Protocol):
    """A body on its way in."""

    @property
    def complete(self) -> bool:
        """Whether all of it has been taken."""

    def take(self, buffer: bytearray) -> bytes:
        """What of the body stands at the front of `buffer`; empty when nothing does yet.

        Raises:
            ProtocolError: These bytes are not a body in this framing.
        """

    def end(self) -> bool:
        """Whether the body is complete now that the peer has closed the connection."""


def body_after(head: Head) -> Body:
    """The body that follows `head` (RFC 9112, section 6.3).

    Raises:
        ProtocolError: Its length or coding is not to be understood.
    """
    if head.headers.get("content-encoding", "identity") != "identity":
        raise ProtocolError("the peer compressed its answer, which it was asked not to do")
    if head.status in {204, 304}:
        return _SizedBody(0)
    coding, length = head.headers.get("transfer-encoding"), head.headers.get("content-length")
    if coding is not None:
        if coding.lower() != "chunked" or length is not None:
            raise ProtocolError("the peer framed its answer in a way that HTTP/1.1 does not allow")
        return _ChunkedBody()
    if length is None:
        return _OpenBody()
    if not (length.isascii() and length.isdigit()):
        raise ProtocolError("the peer sent a content-length that is no number")
    return _SizedBody(int(length))


class _SizedBody:
    """As many bytes as the head promised."""

    def __init__(self, size: int) -> None:
        self._left = size

    @property
    def complete(self) -> bool:
        return self._left == 0

    def take(self, buffer: bytearray) -> bytes:
        piece = bytes(buffer[: self._left])
        del buffer[: self._left]
        self._left -= len(piece)
        return piece

    def end(self) -> bool:
        return self.complete


class _OpenBody:
    """Everything until the peer closes."""

    def __init__(self) -> None:
        self.complete = False

    def take(self, buffer: bytearray) -> bytes:
        piece = bytes(buffer)
        buffer.clear()
        return piece

    def end(self) -> bool:
        self.complete = True
        return True


class _ChunkedBody:
    """Chunks, each behind a line with its size, then a chunk of no size and perhaps trailers, which are dropped."""

    def __init__(self) -> None:
        self.complete = False
        self._left = 0  # of a chunk and the line end behind it; 0 where a line is due
        self._trailers = False

    def take(self, buffer: bytearray) -> bytes:
        pieces: list[bytes] = []
        while buffer and not self.complete:
            if self._left > len(_LINE_END):
                size = self._left - len(_LINE_END)
                pieces.append(bytes(buffer[:size]))
                del buffer[:size]
                self._left -= len(pieces[-1])
            elif not (self._take_line_end(buffer) if self._left else self._take_line(buffer)):
                break
        return b"".join(pieces)

    def end(self) -> bool:
        return self.complete

    def _take_line_end(self, buffer: bytearray) -> bool:
        if len(buffer) < len(_LINE_END):
            return False
        if not buffer.startswith(_LINE_END):
            raise ProtocolError("the peer sent a chunk that is longer than it said")
        del buffer[: len(_LINE_END)]
        self._left = 0
        return True

    def _take_line(self, buffer: bytearray) -> bool:
        end = buffer.find(_LINE_END)
        if end < 0:
            _refuse_long(buffer)
            return False
        line = bytes(buffer[:end])
        del buffer[: end + len(_LINE_END)]
        if self._trailers:
            self.complete = not line
        else:
            self._start_chunk(line)
        return True

    def _start_chunk(self, line: bytes) -> None:
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise ProtocolError("the peer sent a chunk without a size")
        size = int(match[1], 16)
        self._trailers = size == 0
        self._left = size + len(_LINE_END) if size else 0


_LINE_END = b"\r\n"


def _refuse_long(buffer: bytearray) -> None:
    if len(buffer) > _HEAD_LIMIT:
        raise ProtocolError(f"the peer sent more than {_HEAD_LIMIT} bytes of headers")
