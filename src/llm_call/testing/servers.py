"""A real HTTP server that misbehaves as it is told: for tests of what happens on the wire.

    with FaultServer([respond(b'{"ok": true}'), hang()]) as server:
        ...  # the first request to server.url is answered, the others are not

It listens on 127.0.0.1 only, in a thread and an event loop of its own, so that the code under test may run in any. Each
request takes the next behaviour of the script, whichever connection it comes on; the last one is repeated. A behaviour
is a value: what is written, piece by piece, and what becomes of the connection then. The functions below make the usual
ones.
"""

import asyncio
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

from msgspec import Struct

Ending = Literal["keep", "close", "reset", "hang"]

_SECONDS = 10.0  # no wait for the server or for its client is longer: a broken test fails, it does not hang


class Gate:
    """A place in a script where the server waits until the test opens it, from whatever thread."""

    def __init__(self) -> None:
        self._opened: Future[None] = Future()

    def open(self) -> None:
        """Let the server go on. Once only."""
        self._opened.set_result(None)

    async def passed(self) -> None:
        """Wait until the gate is open."""
        await asyncio.wait_for(asyncio.wrap_future(self._opened), _SECONDS)


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


def empty() -> Behaviour:
    """Not a byte: the connection is closed."""
    return Behaviour(then="close")


def reset() -> Behaviour:
    """Not a byte: the connection is broken off."""
    return Behaviour(then="reset")


def hang() -> Behaviour:
    """Not a byte, and no end."""
    return Behaviour(then="hang")


class FaultServer:
    """The server, as a context manager.

    `tls` makes it speak TLS. `requests` grows as they arrive; `connections` counts what was accepted.
    """

    def __init__(self, script: Iterable[Behaviour], *, tls: ssl.SSLContext | None = None) -> None:
        self._script = deque(script)
        if not self._script:
            raise ValueError("a script needs at least one behaviour")
        self.requests: list[Received] = []
        self.connections = 0
        self.port = 0
        self._tls = tls
        self._asked = threading.Event()
        self._abandoned = threading.Event()
        self._ready = threading.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @property
    def url(self) -> str:
        """Its address: scheme, host and port, without a slash at the end."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def saw_client_leave(self) -> bool:
        """Whether a client has gone before its answer was complete; waits up to ten seconds for it."""
        return self._abandoned.wait(_SECONDS)

    def saw_request(self) -> bool:
        """Whether a request has come; waits up to ten seconds for it."""
        return self._asked.wait(_SECONDS)

    def drop_connections(self) -> None:
        """Close every connection, as servers do with idle ones. Returns when they are closed."""
        asyncio.run_coroutine_threadsafe(self._drop_connections(), self._loop).result(_SECONDS)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_SECONDS):
            raise RuntimeError("the fault server did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_SECONDS)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _drop_connections(self) -> None:
        for writer in tuple(self._writers):
            writer.close()
            await writer.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        # Cancelled only when the server stops, where ending is all that is asked.
        with suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            while await self._exchange(reader, writer) == "keep":
                pass
        self._writers.discard(writer)
        writer.transport.abort() if self._stop.is_set() else writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Ending:
        self.requests.append(await _receive(reader))
        self._asked.set()
        behaviour = self._script.popleft() if len(self._script) > 1 else self._script[0]
        try:
            await _write(writer, behaviour.pieces)
            if behaviour.then == "hang":
                await reader.read()
                self._abandoned.set()
        except ConnectionError:
            self._abandoned.set()
            raise
        if behaviour.then == "reset":
            _reset(writer)
        return behaviour.then


async def _receive(reader: asyncio.StreamReader) -> Received:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(method=method, path=path, headers=headers, body=body)


async def _write(writer: asyncio.StreamWriter, pieces: Iterable[bytes | Gate]) -> None:
    for piece in pieces:
        if isinstance(piece, Gate):
            await piece.passed()
        else:
            writer.write(piece)
            await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    # Lingering for no time at all is what makes the system send RST in place of FIN.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Status\r\n{fields}\r\n".encode("latin-1")
