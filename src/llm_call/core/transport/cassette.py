"""A cassette: what was asked and answered on the wire, a line of JSON each, to be answered again without a peer.

The first line says the format. A line is written when its exchange is over, in one piece, so that a killed process
leaves whole lines and at most a torn last one, which is passed over. Requests are told apart by the canonical form of
what they ask: method, host, path, and the body with its keys in order. No header of a request is written and of a
reply only those of `_HEADERS`; secrets are hidden in paths, headers and bodies before anything else sees them.
"""

import os
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from llm_call.core.domain.errors import ConfigError
from llm_call.core.transport.base import Endpoint
from llm_call.core.transport.masking import Secrets, secrets_of, without_keys
from llm_call.core.wire.base import WireRequest

T = TypeVar("T")
Mode = Literal["record", "replay", "auto", "require"]
"""How a cassette is used.

`record` sends everything and writes the file anew. `replay` answers what it can from the file and sends the rest.
`auto` does the same and records the rest. `require` sends nothing: a request without a recording is an error.
"""

FORMAT = 1
_HEADERS = ("content-type", "date", "request-id", "retry-after", "retry-after-ms", "x-request-id", "x-should-retry")
# The tags around a rejected answer carry a random number (`core.validation.reask`): no two calls would be equal.
_NONCE = re.compile(rb"(</?answer-)[0-9a-f]{8}(?=>)")
_ANEW = "Record it anew: remove the file, or use the mode record."


class Asked(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request as it is written. `body` is its JSON value, or its text where it is none."""

    host: str
    path: str
    body: Any
    method: str = "POST"


class Piece(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of a body: `at` milliseconds after the request was sent; `data` (base64 in the file) where it is no text."""

    at: int
    text: str | None = None
    data: bytes | None = None

    @property
    def content(self) -> bytes:
        """The bytes."""
        return self.data or (self.text or "").encode()


class Answered(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A reply as it is written. `whole` is false where its reader left before the end, as one does who has enough."""

    status: int
    headers: dict[str, str] = {}
    pieces: tuple[Piece, ...] = ()
    whole: bool = True


class Recording(Struct, frozen=True, kw_only=True):
    """One line: a request and its reply."""

    request: Asked
    response: Answered


class _Head(Struct, frozen=True, kw_only=True):
    cassette: int


class Cassette:
    """The file at `path`. Safe for many calls at once, from any thread; one process at a time may record.

    Equal requests are answered in the order of their recording, and then with the last of them again. `secrets` are
    values to hide beside those that requests carry.

    Raises:
        ConfigError: The file is needed and not there, or is no cassette of this format.
    """

    def __init__(self, path: str | Path, mode: Mode = "auto", *, secrets: Iterable[str] = ()) -> None:
        self.path = Path(path)
        self.mode = mode
        self._secrets = Secrets(secrets)
        self._lock = threading.Lock()  # guards what follows, and the file
        self._recordings = () if mode == "record" else _read(self.path, needed=mode in ("replay", "require"))
        self._left: defaultdict[bytes, list[Recording]] = defaultdict(list)
        for recording in reversed(self._recordings):
            self._left[_key(recording.request)].append(recording)
        self._used: set[int] = set()
        self._begun = False

    @property
    def records(self) -> bool:
        """Whether what is sent is written down."""
        return self.mode in ("record", "auto")

    def asked(self, endpoint: Endpoint, request: WireRequest) -> Asked:
        """`request` as it is written, without secrets; those that it carries are known from now on."""
        with self._lock:
            self._secrets.learn(secrets_of(endpoint.base_url, {**endpoint.headers, **request.headers}))
            place = urlsplit(endpoint.base_url)
            base = place.path.rstrip("/") if place.netloc else ""
            path, _, query = request.path.partition("?")
            query = without_keys("&".join(filter(None, (place.query, query))))
            return Asked(
                host=place.netloc.rpartition("@")[2] or place.path,
                path=self._secrets.text(f"{base}{path}" + (f"?{query}" if query else "")),
                body=self._secrets.value(_body(request.body)),
            )

    def find(self, asked: Asked) -> Answered | None:
        """The next recorded reply to a request like this."""
        with self._lock:
            left = self._left.get(_key(asked))
            if not left:
                return None
            recording = left[-1] if len(left) == 1 else left.pop()
            self._used.add(id(recording))
            return recording.response

    def add(self, asked: Asked, answered: Answered, pieces: Iterable[tuple[int, bytes]]) -> None:
        """Write down a reply of these `pieces`, each with its milliseconds.

        Raises:
            ConfigError: The file cannot be written.
        """
        times, contents = zip(*pieces, strict=True) if (pieces := list(pieces)) else ((), ())
        with self._lock:
            headers = {
                name: self._secrets.text(answered.headers[name]) for name in _HEADERS if name in answered.headers
            }
            hidden = [_piece(at, content) for at, content in zip(times, self._secrets.pieces(contents), strict=True)]
            recording = Recording(
                request=asked, response=msgspec.structs.replace(answered, headers=headers, pieces=tuple(hidden))
            )
            self._write(msgspec.json.encode(recording) + b"\n")

    def unused(self) -> tuple[Asked, ...]:
        """The recorded requests that nobody has asked for."""
        with self._lock:
            return tuple(each.request for each in self._recordings if id(each) not in self._used)

    def missing(self, asked: Asked) -> ConfigError:
        """The error that a request without a recording is. It names the nearest recording and what differs."""
        message = f"{self.path}: no recording for {asked.method} {asked.host}{asked.path}"
        near = min(
            ((len(found := _differences(each.request, asked)), line, found) for line, each in self._numbered()),
            default=None,
        )
        if near is None:
            return ConfigError(f"{message}: the cassette is empty", hint="Record it with the mode auto or record.")
        count, line, found = near
        more = f" and {count - _TOLD} more" if count > _TOLD else ""
        told = f"the nearest, line {line}, differs in {', '.join(found[:_TOLD])}{more}"
        return ConfigError(f"{message}; {told}", hint="Record it with the mode auto, or ask as it was recorded.")

    def _numbered(self) -> Iterator[tuple[int, Recording]]:
        return enumerate(self._recordings, start=2)

    def _write(self, line: bytes) -> None:
        try:
            if not self._begun:
                self._begin()
            with self.path.open("ab", buffering=0) as file:
                file.write(line)
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}", hint="Give a path that can be written.") from error

    def _begin(self) -> None:
        """An empty cassette, or in the mode `auto` the one that is there, up to its last whole line."""
        whole = (
            self.path.read_bytes().rpartition(b"\n") if self.mode == "auto" and self.path.exists() else (b"", b"", b"")
        )
        if whole[0]:
            os.truncate(self.path, len(whole[0]) + 1)
        else:
            self.path.write_bytes(msgspec.json.encode(_Head(cassette=FORMAT)) + b"\n")
        self._begun = True


_TOLD = 3


def _read(path: Path, *, needed: bool) -> tuple[Recording, ...]:
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line's end is torn, or nothing
    except FileNotFoundError:
        if needed:
            raise ConfigError(f"{path}: there is no such cassette", hint="Record it with the mode auto.") from None
        return ()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="Give the path of a cassette.") from error
    if not lines:
        return ()
    head = _decoded(path, 1, lines[0], _Head)
    if head.cassette != FORMAT:
        raise ConfigError(f"{path} is a cassette of format {head.cassette}; this version reads {FORMAT}", hint=_ANEW)
    return tuple(_decoded(path, number, line, Recording) for number, line in enumerate(lines[1:], start=2))


def _decoded(path: Path, number: int, line: bytes, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(line, type=type_)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path}:{number}: this is no line of a cassette: {error}", hint=_ANEW) from error


def _key(asked: Asked) -> bytes:
    return msgspec.json.encode(asked, order="sorted")


def _body(body: bytes) -> Any:
    body = _NONCE.sub(rb"\g<1>00000000", body)
    try:
        return msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return body.decode("utf-8", "replace")


def _piece(at: int, content: bytes) -> Piece:
    try:
        return Piece(at=at, text=content.decode())
    except UnicodeDecodeError:
        return Piece(at=at, data=content)


def _differences(recorded: Asked, asked: Asked) -> list[str]:
    """The places at which two requests differ, as in `messages[0].content`."""
    left, right = (dict(_leaves({"host": each.host, "path": each.path, "": each.body})) for each in (recorded, asked))
    return [name for name in {**left, **right} if name not in left or name not in right or left[name] != right[name]]


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _leaves(each, f"{name}.{key}".strip("."))
    elif isinstance(value, list) and value:
        for index, each in enumerate(value):
            yield from _leaves(each, f"{name}[{index}]")
    else:
        yield name or "the body", value
