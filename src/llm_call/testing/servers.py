"""A real HTTP server that misbehaves as it is told: for tests of what happens on the wire.

    with FaultServer([respond(b'{"ok": true}'), hang()]) as server:
        ...  # the first request to server.url is answered, the others are not
    with FaultServer.by(FAULTS["overloaded"], then="Hello.") as server:
        ...  # the first request is refused, the others are answered

It listens on 127.0.0.1 only, in a thread and an event loop of its own, so that the code under test may run in any. Each
request takes the next step of the script, whichever connection it comes on; the last one is repeated. What a step may be
stands in `testing.behaviours`, whose names are here too; what usually goes wrong in `testing.faults`.
"""

import asyncio
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

from llm_call.testing.behaviours import (
    SECONDS,
    Behaviour,
    Ending,
    Gate,
    Received,
    Step,
    broken,
    dripped,
    empty,
    half_body,
    hang,
    html,
    reset,
    respond,
    stream,
)
from llm_call.testing.fault import Fault

__all__ = [
    "Behaviour",
    "FaultServer",
    "Gate",
    "Received",
    "broken",
    "dripped",
    "empty",
    "half_body",
    "hang",
    "html",
    "reset",
    "respond",
    "stream",
]


class FaultServer:
    """The server, as a context manager.

    `tls` makes it speak TLS. `requests` grows as they arrive; `connections` counts what was accepted. With an empty
    script it does not listen: its port is taken, and connections to it are refused.
    """

    def __init__(self, script: Iterable[Step], *, tls: ssl.SSLContext | None = None) -> None:
        self._script = deque(script)
        self.requests: list[Received] = []
        self.connections = 0
        self.port = 0
        self._tls = tls
        self._asked = threading.Event()
        self._abandoned = threading.Event()
        self._ready = threading.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @classmethod
    def by(
        cls, fault: Fault, *, then: str = "Hello.", after: int = 0, times: int | None = 1, gate: Gate | None = None
    ) -> Self:
        """One whose first `times` requests meet `fault`; every other is answered with the text `then`.

        In a streamed answer the fault comes after so many tokens (words) of it, and once the `gate` is open, where one
        is given: what has not been read when a connection breaks may be lost. Without `times` all requests meet it.
        """
        return cls(fault.script(then, after=after, times=times, gate=gate))

    @property
    def url(self) -> str:
        """Its address: scheme, host and port, without a slash at the end."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def saw_client_leave(self) -> bool:
        """Whether a client has gone before its answer was complete; waits up to ten seconds for it."""
        return self._abandoned.wait(SECONDS)

    def saw_request(self) -> bool:
        """Whether a request has come; waits up to ten seconds for it."""
        return self._asked.wait(SECONDS)

    def drop_connections(self) -> None:
        """Close every connection, as servers do with idle ones. Returns when they are closed."""
        asyncio.run_coroutine_threadsafe(self._drop_connections(), self._loop).result(SECONDS)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(SECONDS):
            raise RuntimeError("the fault server did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(SECONDS)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        with socket.socket() as place:
            place.bind(("127.0.0.1", 0))
            self.port = place.getsockname()[1]
            server = await asyncio.start_server(self._connected, sock=place, ssl=self._tls) if self._script else None
            self._ready.set()
            await self._stop.wait()
            if server is not None:
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
        received = await _receive(reader)
        self.requests.append(received)
        self._asked.set()
        step = self._script.popleft() if len(self._script) > 1 else self._script[0]
        behaviour = step if isinstance(step, Behaviour) else step(received)
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
