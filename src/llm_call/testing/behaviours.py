"""How a server answers one request, well or badly: values that say what is written, piece by piece, and what follows.

`testing.servers` carries them out; `testing.faults` is a catalogue of bad ones.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Literal

from msgspec import Struct

Ending = Literal["keep", "close", "reset", "hang"]

SECONDS = 10.0
"""No wait for the server or for its client is longer: a broken test fails, it does not hang."""


class Gate:
    """A place in a script where the server waits until the test opens it, from whatever thread; open, it stays open."""

    def __init__(self) -> None:
        self._opened: Future[None] = Future()

    def open(self) -> None:
        """Let the server go on."""
        if not self._opened.done():
            self._opened.set_result(None)

    async def passed(self) -> None:
        """Wait until the gate is open."""
        await asyncio.wait_for(asyncio.wrap_future(self._opened), SECONDS)


class Behaviour(Struct, frozen=True, kw_only=True):
    """How one request is answered: the pieces are written one by one, each sent at once; then the connection ends so.

    `keep` waits for the next request on it, `close` closes it, `reset` breaks it off (RST), `hang` stays silent until
    the client goes away.
    """

    pieces: tuple[bytes | Gate, ...] = ()
    then: Ending = "keep"


class Received(Struct, frozen=True, kw_only=True):
    """One request as it came. `path` is the whole target (absolute where a proxy is asked); header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Step = Behaviour | Callable[[Received], Behaviour]
"""What answers one request: a behaviour, or what makes one of the request."""


def respond(body: bytes = b"", *, status: int = 200, headers: Mapping[str, str] | None = None) -> Behaviour:
    """A whole answer; JSON unless `headers` say otherwise."""
    fields = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    return Behaviour(pieces=(_head(status, fields) + body,))


def html(status: int = 502) -> Behaviour:
    """A web page where JSON is expected, as proxies answer for a server that is down."""
    return respond(b"<html><body>Bad Gateway</body></html>", status=status, headers={"content-type": "text/html"})


def stream(pieces: Iterable[bytes | Gate], *, then: Literal["end", "close", "reset", "hang"] = "end") -> Behaviour:
    """Server-sent events. Only `end` completes the body; the others leave the client in the middle of it."""
    fields = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
    framed = (piece if isinstance(piece, Gate) else b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    if then == "end":
        return Behaviour(pieces=(_head(200, fields), *framed, b"0\r\n\r\n"))
    return Behaviour(pieces=(_head(200, fields), *framed), then=then)


def half_body(body: bytes, *, missing: int = 1) -> Behaviour:
    """A body that ends `missing` bytes before the length that its head promises."""
    fields = {"content-type": "application/json", "content-length": str(len(body) + missing)}
    return Behaviour(pieces=(_head(200, fields) + body,), then="close")


def dripped(behaviour: Behaviour, gates: Iterable[Gate] = ()) -> Behaviour:
    """The same, a byte at a time. One of `gates` stands before each of the first bytes: open them one by one."""
    bytes_ = [bytes([each]) for piece in behaviour.pieces if not isinstance(piece, Gate) for each in piece]
    held = list(gates)
    gated = [each for pair in zip(held, bytes_, strict=False) for each in pair]
    return Behaviour(pieces=(*gated, *bytes_[len(held) :]), then=behaviour.then)


def broken(behaviour: Behaviour, *, at: int, then: Literal["close", "reset", "hang"] = "reset") -> Behaviour:
    """The same, broken off before byte number `at` of what is written, head and body."""
    whole = b"".join(piece for piece in behaviour.pieces if not isinstance(piece, Gate))
    return Behaviour(pieces=(whole[:at],), then=then)


def empty() -> Behaviour:
    """Not a byte: the connection is closed."""
    return Behaviour(then="close")


def reset() -> Behaviour:
    """Not a byte: the connection is broken off."""
    return Behaviour(then="reset")


def hang() -> Behaviour:
    """Not a byte, and no end."""
    return Behaviour(then="hang")


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Status\r\n{fields}\r\n".encode("latin-1")
