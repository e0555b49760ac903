"""Framing: bytes in, server-sent events out.

The rule is the "Server-sent events" section of the WHATWG HTML standard, read incrementally: however the bytes are
cut, the events are the same. Data stays bytes. Line ends are ASCII, so no character is ever cut in two, and whoever
reads the data (a JSON decoder) checks its UTF-8 anyway.

`id`, `retry` and comments are read over: no dialect here resumes a stream by them.
"""

from msgspec import Struct

from llm_call.core.domain.errors import ProtocolError

MAX_EVENT_BYTES = 16 * 1024 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ServerSentEvent(Struct, frozen=True, kw_only=True):
    """One event: its data lines joined by line feeds, and its name, empty when it has none."""

    data: bytes
    event: str = ""


class ServerSentEvents:
    """One stream's decoder. It holds at most `max_event_bytes` of an event that is not complete."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit = max_event_bytes
        self._tail = bytearray()  # a line that has no end yet
        self._data: list[bytes] = []
        self._size = 0  # bytes of the data lines of the event under way
        self._event = b""
        self._after_return = False
        self._at_start = True

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """The events that `data` completes.

        Raises:
            ProtocolError: One line, or one event's data lines together, are longer than the limit.
        """
        if not data:
            return []
        if self._after_return:  # the line feed of a CR LF that was cut in two ends no second line
            data = data.removeprefix(b"\n")
        self._after_return = data.endswith(b"\r")
        events = [event for line in self._lines(data) if (event := self._line(line)) is not None]
        self._check(len(self._tail))
        return events

    def close(self) -> ServerSentEvent | None:
        """The event that the end of the stream cut off, if any; the reader judges whether its data is whole.

        The standard drops it. Servers that end without the last empty line are too common for that.
        """
        if self._tail:
            self._line(bytes(self._tail))
            self._tail.clear()
        return self._dispatch()

    def _lines(self, data: bytes) -> list[bytes]:
        lines = data.splitlines()
        rest = lines.pop() if data and data[-1] not in b"\r\n" else b""
        if lines and self._tail:
            lines[0] = bytes(self._tail) + lines[0]
            self._tail.clear()
        self._tail += rest
        return lines

    def _line(self, line: bytes) -> ServerSentEvent | None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        self._check(len(line))
        field, _, value = line.partition(b":")
        if field == b"data":
            self._size += len(line)
            self._data.append(value.removeprefix(b" "))
        elif field == b"event":
            self._event = value.removeprefix(b" ")
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        data, name = self._data, self._event
        self._data, self._event, self._size = [], b"", 0
        if not data:
            return None
        return ServerSentEvent(data=b"\n".join(data), event=name.decode("utf-8", "replace") if name else "")

    def _check(self, more: int) -> None:
        if self._size + more > self._limit:
            raise ProtocolError(
                f"one event of the stream is longer than {self._limit} bytes",
                hint="The server does not send a stream of small events; ask without streaming.",
            )
