"""One connection of the HTTP transport: how it is made, through a proxy where the environment names one, and read."""

import asyncio
import os
import select
import ssl
from base64 import b64encode
from math import inf
from typing import Literal, cast
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Struct

from llm_call import __version__
from llm_call.core.domain.errors import AttemptTimeoutError, ConfigError, ConnectionFailedError, ProtocolError
from llm_call.core.transport.base import Timeouts
from llm_call.core.transport.http1 import Response, request_head

USER_AGENT: str = f"llm-call/{__version__}"

_MAX_BUFFERED = 256 * 1024  # bytes that wait for a slow reader before the peer is made to wait
_IDLE_SECONDS = 60.0  # less than most servers and load balancers keep a silent connection
_UNSEEN_SECONDS = 0.5  # idle for longer, it may have ended while its event loop stood still


class Address(Struct, frozen=True):
    """Where a connection leads."""

    host: str
    port: int
    secure: bool

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Proxy(Struct, frozen=True):
    """What a connection leads through. `headers`, pairs of names and values, may hold a credential."""

    address: Address
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"Proxy({self.address}, headers=<hidden>)"


class Connection(asyncio.Protocol):
    """The response that is on its way in or comes next, and the one reader that waits for more of it."""

    transport: asyncio.Transport

    def __init__(self, address: Address, proxy: Proxy | None = None) -> None:
        self.address = address
        self.proxy = proxy
        self.response = Response()
        self.rested = False
        self._idle_since = 0.0
        self._ended: Exception | None = None
        self._paused = False
        self._deadline = inf
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[bool] | None = None
        self._loop = asyncio.get_running_loop()

    async def head(self, timeouts: Timeouts | None) -> Response:
        """The next response, as soon as its head is here; without `timeouts` it is waited for without an end."""
        while not self.response.status:
            if timeouts is None:
                await self.more(None, "")
            elif self.response.pending:
                await self.more(timeouts.between_bytes, "between bytes")
            else:
                await self.more(timeouts.first_byte, "first byte")
        return self.response

    async def more(self, seconds: float | None, stage: str) -> None:
        """Wait until more has arrived. Raises EOFError or what broke the connection, if nothing more will."""
        self._resume()
        if self._ended is not None:
            raise self._ended
        self._waiter = self._loop.create_future()
        self._set_deadline(seconds)
        try:
            if await self._waiter is _LATE:
                hint = f"Raise the setting timeouts.{stage.replace(' ', '_')}."
                raise AttemptTimeoutError(
                    f"{self.address}: nothing arrived for {seconds} s ({stage})", stage=stage, hint=hint
                )
        finally:
            self._waiter = None

    def rest(self) -> None:
        """Nothing is asked of it from now on."""
        self.rested = True
        self.response = Response()
        self._resume()
        self._idle_since = self._loop.time()

    def is_usable(self) -> bool:
        """Whether a request may be sent on it after a rest."""
        idle = self._loop.time() - self._idle_since
        unasked = self.response.pending or self.response.status
        if self._ended is not None or unasked or idle > _IDLE_SECONDS:
            return False
        return idle < _UNSEEN_SECONDS or not _is_readable(self.transport.get_extra_info("socket").fileno())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The event loop's word."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """The event loop's word."""
        try:
            self.response.feed(data)
        except ProtocolError as error:
            self._end(error)
        if len(self.response.body) > _MAX_BUFFERED and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        self._wake(_ARRIVED)

    def eof_received(self) -> None:
        """The event loop's word; it closes our side too."""
        self._end(EOFError("the peer closed the connection"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The event loop's word."""
        self._end(exc or ConnectionAbortedError("the connection was closed on our side"))

    def _set_deadline(self, seconds: float | None) -> None:
        """Have the waiter woken in `seconds`. A timer that rings before is left alone: it is set anew when it does."""
        self._deadline = inf if seconds is None else self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if self._deadline == inf else self._loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._loop.time() >= self._deadline:
            self._wake(_LATE)
        else:
            self._set_timer()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def _end(self, why: Exception) -> None:
        self._ended = self._ended or why
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake(_ARRIVED)

    def _wake(self, why: bool) -> None:  # noqa: FBT001  (one of the two names below)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(why)


_ARRIVED, _LATE = True, False


async def connect(
    address: Address, tls: ssl.SSLContext | None, *, proxy: Literal["environment", "off"] = "environment"
) -> Connection:
    """A new connection, with TLS if `tls` is given, through the proxy that the environment names unless `off`.

    Raises:
        ConnectionFailedError: The proxy refused.
        ConfigError: The environment names a proxy that cannot be used.
        OSError, EOFError, UnicodeError: As the system gives them.
    """
    loop = asyncio.get_running_loop()
    through = _proxy_for(address) if proxy == "environment" else None
    if through is None:
        return (await loop.create_connection(lambda: Connection(address), address.host, address.port, ssl=tls))[1]
    way = through.address
    _, connection = await loop.create_connection(lambda: Connection(address, through), way.host, way.port)
    if tls is not None:
        try:
            await _tunnel(connection, through, tls)
        except BaseException:
            connection.transport.abort()
            raise
    return connection


async def _tunnel(connection: Connection, proxy: Proxy, tls: ssl.SSLContext) -> None:
    """Have the proxy connect on, then speak TLS through it (RFC 9110, section 9.3.6)."""
    goal = str(connection.address)
    connection.transport.write(
        request_head("CONNECT", goal, {"host": goal, "user-agent": USER_AGENT, **dict(proxy.headers)})
    )
    consent = await connection.head(None)
    if consent.status // 100 != 2:  # noqa: PLR2004  (success)
        raise ConnectionFailedError(f"the proxy {proxy.address} refused {goal} with status {consent.status}")
    connection.response = Response()  # what the proxy sent behind its consent is not the server's
    loop = asyncio.get_running_loop()
    secured = await loop.start_tls(connection.transport, connection, tls, server_hostname=connection.address.host)
    connection.connection_made(cast("asyncio.Transport", secured))


def _is_readable(descriptor: int) -> bool:
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([descriptor], [], [], 0)[0])  # Windows; elsewhere it takes only small descriptors


def _proxy_for(address: Address) -> Proxy | None:
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    # Lazy: it costs 15 ms at every start, and few have a proxy.
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415

    proxies = getproxies()
    url = proxies.get("https" if address.secure else "http") or proxies.get("all")
    if not url or proxy_bypass(f"{address.host}:{address.port}"):
        return None
    return _parse_proxy(url if "://" in url else f"http://{url}")


def _parse_proxy(url: str) -> Proxy:
    parts = split_url(url)
    if parts is None or parts.scheme != "http":
        raise ConfigError(
            "the environment names a proxy that cannot be used",
            hint="Set HTTP_PROXY and HTTPS_PROXY to http://host:port, or NO_PROXY for the hosts that need none.",
        )
    address = Address(parts.hostname or "", parts.port or 80, secure=False)
    if parts.username is None:
        return Proxy(address)
    credential = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(address, (("proxy-authorization", f"Basic {b64encode(credential.encode()).decode()}"),))


def split_url(url: str) -> SplitResult | None:
    """The parts of a URL that has a host, or `None` for any other text."""
    try:
        parts = urlsplit(url)
        usable = parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None
