"""HTTP/1.1 as bytes: how the head of a request is written, how a response is read (by httptools). No I/O.

What the standard forbids is refused, never guessed at; a connection on which that happened is not used again.
"""

import re
from collections.abc import Mapping

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from llm_call.core.domain.errors import ConfigError, ProtocolError

_PENDING_LIMIT = 64 * 1024  # bytes of a head, or between two pieces of a body
_FIELD_SENT = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e\x80-\xff]*")


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


class Response:
    """One response on its way in. Interim heads (1xx) before it are passed over, trailers behind it are dropped.

    `status` is 0 until the head is complete and accepted. Header names are in lower case, values of repeated headers
    are joined by commas. `body` is what has arrived of it and was not taken. When all has arrived it is `complete`, and
    `reusable` if the connection may serve another request. `pending` counts the bytes since the last interim head or
    piece of the body.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.complete = False
        self.reusable = False
        self.pending = 0
        self._flaw = ""  # kept here: an exception that passes through the parser loses what it came from
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)  # some servers pad; harmless

    def feed(self, data: bytes) -> None:
        """Read on.

        Raises:
            ProtocolError: These bytes do not continue a response. What was read before them stays.
        """
        if self.complete:
            self.reusable = False
            return
        self.pending += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.reusable = False
            if not self.complete:
                self._flaw = self._flaw or str(error)
        if self.pending > _PENDING_LIMIT:
            self._flaw = self._flaw or f"more than {_PENDING_LIMIT} bytes of headers"
        if self._flaw:
            message = f"the peer does not answer in HTTP/1.1 as it should: {self._flaw}"
            raise ProtocolError(message, hint="Check the scheme and port of the URL.")

    def end(self) -> bool:
        """Whether the response is complete now that the peer has closed the connection."""
        if self.status and self.headers.keys().isdisjoint({"content-length", "transfer-encoding"}):
            self.complete = True
        return self.complete

    def take(self) -> bytes:
        """What has arrived of the body since it was last taken."""
        piece = bytes(self.body)
        self.body.clear()
        return piece

    def on_message_begin(self) -> None:
        """The parser's word. Whatever follows the response is not to be read."""
        if self.complete:
            raise ProtocolError("the peer sent more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser's word."""
        if self.status:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").rstrip(" \t")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """The parser's word."""
        status, version = self._parser.get_status_code(), self._parser.get_http_version()
        self._flaw = self._flaw or _flaw(version, status, self.headers)
        if status < 200 or self._flaw:  # noqa: PLR2004  (an interim head)
            self.headers.clear()
        else:
            self.status = status

    def on_body(self, body: bytes) -> None:
        """The parser's word."""
        self.body += body
        self.pending = 0

    def on_message_complete(self) -> None:
        """The parser's word."""
        self.pending = 0
        if self.status:
            self.complete = True
            self.reusable = self._parser.should_keep_alive()
            del self._parser  # it refers back: each answer would wait for the garbage collector


def _flaw(version: str, status: int, headers: Mapping[str, str]) -> str:
    """What of a head cannot be accepted although the parser does."""
    if version not in {"1.0", "1.1"}:
        return f"version {version}"
    if status == 101 or not 100 <= status < 600:  # noqa: PLR2004  (101: a change of protocol, for which nobody asked)
        return f"status {status}"
    if headers.get("transfer-encoding", "chunked").lower() != "chunked":
        return "a transfer-encoding other than chunked"
    return ""
