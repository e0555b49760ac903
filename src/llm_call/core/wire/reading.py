"""What every dialect reads with: the values of a JSON body, checked, and the shell of a stream decoder."""

from abc import ABC, abstractmethod
from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import msgspec

from llm_call.core.domain.errors import BadRequestError, ProtocolError, StreamInterruptedError
from llm_call.core.domain.events import Event
from llm_call.core.wire.framing import BYTE_ORDER_MARK, MAX_EVENT_BYTES, ServerSentEvent, ServerSentEvents
from llm_call.core.wire.http_errors import excerpt
from llm_call.core.wire.origin import marked_events

DONE = b"[DONE]"
_EMPTY: tuple[Any, ...] = (None, [], {})
_PAGE_HINT = "A web page came in the place of an answer: check the base URL, of which the end (/v1) is often missing."
_STREAM_STARTS = b":deir"  # a comment, data, event, id, retry

decode_json = msgspec.json.Decoder().decode


class MalformedError(ValueError):
    """What came is not of this dialect. The message says where; `unreadable` makes it an error for the caller."""


class AnswerReader(Protocol):
    """What turns one answer into events: they collect in `events`, its text so far in `text`."""

    events: list[Event]
    text: list[str]


R = TypeVar("R", bound=AnswerReader)


class AnswerStreamDecoder(ABC, Generic[R]):
    """One streamed answer. A body that is no event stream is read whole: some servers ignore that a stream was asked."""

    dialect: ClassVar[str]

    def __init__(self, reader: R) -> None:
        self.reader = reader
        self.complete = False
        self._frames = ServerSentEvents()
        self._form: Literal["unknown", "events", "whole"] = "unknown"
        self._body = bytearray()

    @abstractmethod
    def take_frame(self, frame: ServerSentEvent) -> None:
        """Read one event that is not blank, and say in `complete` when it was the last."""

    @abstractmethod
    def take_whole(self, body: bytes) -> None:
        """Read a body that is no event stream, with a reader that has all of its events."""

    @abstractmethod
    def finish(self) -> None:
        """The peer has closed: complete the answer where it may end so, else raise `interrupted`."""

    def feed(self, data: bytes) -> tuple[Event, ...]:
        """The events that `data` completes. What follows a complete answer is not read."""
        if self.complete:
            return ()
        if self._form == "unknown":
            data = data.lstrip(BYTE_ORDER_MARK + b" \t\r\n")
            if data:
                self._form = "events" if data[0] in _STREAM_STARTS else "whole"
        if self._form == "whole":
            self._keep(data)
            return ()
        for frame in self._frames.feed(data):
            self._take(frame)
        return self._drained()

    def close(self) -> tuple[Event, ...]:
        """The last events, when the peer has closed the stream."""
        if self.complete:
            return ()
        if self._form == "whole":
            self.take_whole(bytes(self._body))
            self.complete = True
            return self._drained()
        last = self._frames.close()
        if last is not None and (last.data == DONE or json_or_none(last.data) is not None):
            self._take(last)  # an event without its blank line, but whole
        if not self.complete:
            self.finish()
        return self._drained()

    def interrupted(self, how: str) -> StreamInterruptedError:
        """The error of a stream that ended too soon, with the text that had arrived."""
        return StreamInterruptedError(f"the stream {how}", text="".join(self.reader.text), hint="Ask again.")

    def _take(self, frame: ServerSentEvent) -> None:
        if not self.complete and frame.data and not frame.data.isspace():
            self.take_frame(frame)

    def _keep(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > MAX_EVENT_BYTES:
            raise ProtocolError(f"the answer is longer than {MAX_EVENT_BYTES} bytes")

    def _drained(self) -> tuple[Event, ...]:
        events = marked_events(self.reader.events, self.dialect)
        self.reader.events.clear()
        return events


def parse(body: bytes) -> Any:
    """The JSON value of a whole body.

    Raises:
        ProtocolError: It is none.
    """
    try:
        return decode_json(body)
    except (ValueError, RecursionError) as error:
        raise unreadable("the answer", error, body) from error


def json_or_none(data: bytes) -> Any:
    """The JSON value of `data`, or `None` when it is none."""
    try:
        return decode_json(data)
    except (ValueError, RecursionError):
        return None


def unreadable(what: str, error: Exception, data: bytes) -> ProtocolError:
    """The error for a caller: what cannot be read, why, and the start of what came."""
    came = excerpt(data, 200) or "nothing"
    is_page = data.lstrip(BYTE_ORDER_MARK + b" \t\r\n").startswith(b"<")
    hint = _PAGE_HINT if is_page else "Check the base URL and the dialect; if they are right, the server is at fault."
    return ProtocolError(f"{what} cannot be read ({error}); what came: {came}", hint=hint)


@contextmanager
def refusing(api: str) -> Iterator[None]:
    """What goes wrong inside, while a client's request is read, is the client's fault.

    Raises:
        BadRequestError: The body is no request of `api`; the message says where.
    """
    try:
        yield
    except MalformedError as error:
        raise _refusal(str(error), api) from error
    except (ValueError, RecursionError) as error:
        raise _refusal(f"the body is no request of {api}: {error}", api) from error


def _refusal(message: str, api: str) -> BadRequestError:
    return BadRequestError(message, status=400, hint=f"Send the request as {api} defines it.")


def string(value: Any, where: str) -> str:
    """A text; nothing is the empty one."""
    if value is None:
        return ""
    if type(value) is not str:
        raise MalformedError(f"{where} is no text")
    return value


def array(value: Any, where: str) -> Sequence[Any]:
    """An array; nothing is the empty one."""
    if value is None:
        return ()
    if type(value) is not list:
        raise MalformedError(f"{where} is no array")
    return value


def mapping(value: Any, where: str) -> dict[str, Any]:
    """An object."""
    if type(value) is not dict:
        raise MalformedError(f"{where} is no object")
    return value


def count(value: Any) -> int | None:
    """A count of tokens; anything that is none is unknown."""
    return value if type(value) is int and value >= 0 else None


def unknown(wire: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The fields that are not known and not empty."""
    if len(wire) <= len(known) and all(map(known.__contains__, wire)):
        return {}  # the usual case, in half the time
    return {name: value for name, value in wire.items() if name not in known and (value or value not in _EMPTY)}


def unnamed(wire: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The fields that are not known, empty ones too."""
    return {name: value for name, value in wire.items() if name not in known}


def split_data_url(url: str) -> tuple[str, str] | None:
    """The media type and the base64 text of a data URL (RFC 2397); `None` for any other URL."""
    head, mark, data = url.partition(";base64,")
    return (head.removeprefix("data:"), data) if mark and head.startswith("data:") else None


def from_data_url(url: str, where: str) -> tuple[str, bytes]:
    """The media type and the bytes of a data URL.

    Raises:
        MalformedError: It is none, or not in base64.
    """
    found = split_data_url(url)
    if found is None:
        raise MalformedError(f"{where} is no base64 data URL")
    return found[0], from_base64(found[1], where)


def from_base64(data: str, where: str) -> bytes:
    """The bytes.

    Raises:
        MalformedError: It is no base64.
    """
    try:
        return b64decode(data, validate=True)
    except ValueError as error:
        raise MalformedError(f"{where} is no base64: {error}") from error


def merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add a chunk's fields to those before: lists go on, objects are merged, of anything else the last word counts."""
    for name, value in more.items():
        old = into.get(name)
        if type(old) is dict and type(value) is dict:
            merge(old, value)
        elif type(old) is list and type(value) is list:
            old.extend(value)
        else:
            into[name] = value
