"""The HTTP transport: one POST, one reply, on asyncio itself (why: docs/decisions/0003-http-client.md).

A connection belongs to the event loop that opened it, and serves later requests to the same place; where the peer had
closed it meanwhile, the request goes out on another one. Leaving a reply
before its end, or being cancelled at whatever point, breaks the connection off: the peer sees it at once. No message
shows a header, a path or a query: any of them may hold a credential.
"""

import asyncio
import os
import ssl
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from functools import cached_property, lru_cache
from types import TracebackType

from msgspec import Struct

from llm_call.core.domain.errors import AttemptTimeoutError, ConfigError, ConnectionFailedError, ProtocolError
from llm_call.core.transport.base import Endpoint, HttpSettings, Reply, Timeouts
from llm_call.core.transport.connection import USER_AGENT, Address, Connection, Proxy, connect, split_url
from llm_call.core.transport.http1 import Response, request_head
from llm_call.core.wire.base import WireRequest

_DEFAULT_HEADERS = {
    "user-agent": USER_AGENT,
    "accept": "*/*",
    "accept-encoding": "identity",  # answers are small; unpacking costs more than it saves, and can be a bomb
    "content-type": "application/json",
}


_CLOSED_BY_PEER = (EOFError, ConnectionResetError, BrokenPipeError)


class HttpTransport:
    """A `Transport` over HTTP/1.1. Cheap to make: nothing is read or opened before the first request.

    The system's authorities are trusted (SSL_CERT_FILE replaces them) and those of the settings. With
    `max_connections` in each event loop, a request beyond them waits for a free one as a part of connecting. Redirects
    are replies like any other. HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in either case of letters, are heeded
    whenever a connection is made, unless the settings switch that off.

    `Timeouts.connect` covers the name, the connection, the proxy and TLS; `first_byte` the wait from the sent request
    to the first byte of the reply; `between_bytes` each wait after that.
    """

    def __init__(self, settings: HttpSettings | None = None) -> None:
        self.settings = settings or HttpSettings()
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}

    def open(self, endpoint: Endpoint, request: WireRequest, timeouts: Timeouts) -> AbstractAsyncContextManager[Reply]:
        """Send `request` and wait for the head of the response.

        Raises:
            ConfigError: The URL, a header, the proxy's URL or the CA file cannot be used.
            ConnectionFailedError: Refused, reset, or not to be made; also while the body is read.
            AttemptTimeoutError: A stage took longer than its time; also while the body is read.
            ProtocolError: The peer does not speak HTTP/1.1, or sends too much; also while the body is read.
        """
        return _Exchange(self, endpoint, request, timeouts)

    async def close(self) -> None:
        """Close every connection. Open requests end with a `ConnectionFailedError`."""
        for loop, pool in list(self._pools.items()):
            if loop is asyncio.get_running_loop():
                pool.close()
            elif not loop.is_closed():
                loop.call_soon_threadsafe(pool.close)

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """How servers are verified: from the files as they are now, read once."""
        ca_file = self.settings.ca_file
        try:
            context = ssl.create_default_context()
            if ca_file is not None:
                context.load_verify_locations(ca_file)
        except OSError as error:
            message = f"the CA file {ca_file!r} cannot be used: {error.strerror}"
            raise ConfigError(message, hint="Give certificates in PEM form.") from error
        return context

    async def pool(self) -> "_Pool":
        """The connections of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            for each in list(self._pools):
                if each.is_closed():
                    del self._pools[each]
            self._pools[loop] = _Pool(self.settings.max_connections)
            await anext(self._pools[loop].lifetime)
        return self._pools[loop]


class _Pool:
    """The connections of one event loop: all of them, and the idle ones by where they lead."""

    def __init__(self, max_connections: int | None) -> None:
        self.lifetime = self._lifetime()
        self._all: set[Connection] = set()
        self._idle: defaultdict[Address, list[Connection]] = defaultdict(list)
        self._slots = asyncio.Semaphore(max_connections) if max_connections else None

    async def _lifetime(self) -> AsyncGenerator[None, None]:
        # asyncio.run finishes a loop's generators before it closes the loop: the last moment to close connections.
        try:
            yield
        finally:
            self.close()

    def take_idle(self, address: Address) -> Connection | None:
        """An idle connection to `address`, where nobody has to wait for one."""
        return self._reuse(address) if self._slots is None else None

    async def acquire(self, address: Address, transport: HttpTransport) -> Connection:
        """A connection to `address`: an idle one, or a new one."""
        if self._slots is not None:
            await self._slots.acquire()
        try:
            return self._reuse(address) or await self._open(address, transport)
        except BaseException:
            self._free_slot()
            raise

    def release(self, connection: Connection, *, reusable: bool) -> None:
        """Take `connection` back."""
        self._free_slot()
        if reusable and connection in self._all:
            connection.rest()
            self._idle[connection.address].append(connection)
        else:
            self._discard(connection)

    def close(self) -> None:
        """Break every connection off."""
        self._idle.clear()
        for connection in list(self._all):
            self._discard(connection)

    def _reuse(self, address: Address) -> Connection | None:
        idle = self._idle[address]
        while idle:
            connection = idle.pop()
            if connection.is_usable():
                return connection
            self._discard(connection)
        return None

    async def _open(self, address: Address, transport: HttpTransport) -> Connection:
        tls = transport.tls if address.secure else None
        connection = await connect(address, tls, proxy=transport.settings.proxy)
        self._all.add(connection)
        return connection

    def _discard(self, connection: Connection) -> None:
        self._all.discard(connection)
        connection.transport.abort()

    def _free_slot(self) -> None:
        if self._slots is not None:
            self._slots.release()


class _Location(Struct, frozen=True, kw_only=True):
    """A URL, taken apart as a request needs it. `target` is the path and the query."""

    address: Address
    authority: str
    target: str


@lru_cache(maxsize=256)
def _locate(url: str) -> _Location:
    parts = split_url(url)
    legal = url.isascii() and url.isprintable() and " " not in url
    if parts is None or parts.scheme not in {"http", "https"} or not legal:
        raise ConfigError("the base URL cannot be used", hint="It looks like https://api.example.com/v1, in ASCII.")
    if parts.username is not None:
        raise ConfigError("the base URL holds a user name", hint="Credentials belong into the endpoint's headers.")
    secure = parts.scheme == "https"
    return _Location(
        address=Address(parts.hostname or "", parts.port or (443 if secure else 80), secure),
        authority=parts.netloc,
        target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
    )


class _Exchange:
    """One request on its way: the context that `open` gives, and the `Reply` inside it."""

    status: int
    headers: Mapping[str, str]

    def __init__(self, transport: HttpTransport, endpoint: Endpoint, request: WireRequest, timeouts: Timeouts) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._request = request
        self._timeouts = timeouts
        self._location = _locate(endpoint.base_url.rstrip("/") + request.path)
        self._received = 0

    async def __aenter__(self) -> Reply:
        self._pool = await self._transport.pool()
        while not await self._answered():
            pass
        self.status, self.headers = self._response.status, self._response.headers
        return self

    async def _answered(self) -> bool:
        """Whether a reply has begun. Not, where a connection that had rested was closed instead: try another one.

        Servers close what is idle, and such a close can cross with the request. Each of these connections is gone with
        its try, so that the last one is new.
        """
        self._connection = connection = await self._connect()
        rested = connection.rested
        try:
            connection.transport.write(self._head() + self._request.body)
            self._response = await connection.head(self._timeouts)
            _refuse_packed(self._response)
        except BaseException as error:
            self._pool.release(connection, reusable=False)
            if rested and isinstance(error, _CLOSED_BY_PEER) and not connection.response.pending:
                return False
            if isinstance(error, (OSError, EOFError)):
                raise self._failure(error) from error
            raise
        return True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.release(self._connection, reusable=self._response.reusable)

    async def read(self) -> bytes:
        """The whole body, or what is left of it."""
        if self._response.complete:
            return self._taken()
        return b"".join([piece async for piece in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives."""
        while (piece := self._taken()) or not self._response.complete:
            if piece:
                yield piece
            else:
                await self._more()

    async def _more(self) -> None:
        try:
            await self._connection.more(self._timeouts.between_bytes, "between bytes")
        except EOFError as error:
            if not self._response.end():
                raise self._failure(error) from error
        except OSError as error:
            raise self._failure(error) from error

    def _taken(self) -> bytes:
        piece = self._response.take()
        self._received += len(piece)
        most = self._transport.settings.max_body_bytes
        if self._received > most:
            raise ProtocolError(
                f"{self._location.address} sent more than {most} bytes",
                hint="If such answers are wanted, raise the HTTP setting max_body_bytes.",
            )
        return piece

    def _head(self) -> bytes:
        sent = (*self._request.headers.items(), *self._endpoint.headers.items())
        fixed = _fixed_head(self._location, sent, self._connection.proxy)
        return b"%scontent-length: %d\r\n\r\n" % (fixed, len(self._request.body))

    async def _connect(self) -> Connection:
        if idle := self._pool.take_idle(self._location.address):
            return idle
        seconds = self._timeouts.connect
        try:
            async with asyncio.timeout(seconds):
                return await self._pool.acquire(self._location.address, self._transport)
        except TimeoutError as error:
            message = f"{self._location.address}: not connected within {seconds:g} s"
            hint = "Check the address, or raise the setting timeouts.connect."
            raise AttemptTimeoutError(message, stage="connect", hint=hint) from error
        except (OSError, EOFError, UnicodeError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> ConnectionFailedError:
        hint = "Check the address, and that the server is up."
        if isinstance(error, ssl.SSLCertVerificationError):
            hint = (
                "If its certificate is signed by an authority of your own, name it in SSL_CERT_FILE or as the CA file."
            )
        return ConnectionFailedError(f"{self._location.address}: {_cause(error)}", hint=hint)


@lru_cache(maxsize=256)
def _fixed_head(location: _Location, sent: tuple[tuple[str, str], ...], proxy: Proxy | None) -> bytes:
    """The head of a request, but for its last line, which says how long its body is."""
    headers = {"host": location.authority, **_DEFAULT_HEADERS}
    headers.update((name.lower(), value) for name, value in sent if name.lower() != "content-length")
    target = location.target
    if proxy is not None and not location.address.secure:
        target = f"http://{location.authority}{target}"
        headers.update(proxy.headers)
    return request_head("POST", target, headers).removesuffix(b"\r\n")


def _refuse_packed(response: Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ProtocolError("the peer compressed its answer, which it was asked not to do")


def _cause(error: Exception) -> str:
    """What the system says, without the addresses and paths that Python adds."""
    if not isinstance(error, OSError):
        return str(error) or type(error).__name__
    if error.errno and error.errno > 0 and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    return error.strerror or str(error) or type(error).__name__
