"""A Redis or Valkey server, as shared state needs it: read, and swap what was read, each with the server's own time.

Nothing is ever sent twice: a swap whose reply is lost may have been done. A connection belongs to the event loop that
opened it, and is broken off where a command on it was, so that no reply is taken for that of the next command. No
message shows what the server said: some servers repeat the password that they refuse.
"""

import asyncio
import hashlib
import os
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from llm_call.core.domain.errors import ConfigError

try:
    from redis import exceptions
    from redis.asyncio import ConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError as missing:
    raise ConfigError("shared state needs redis", hint='pip install "llm-call[redis]"') from missing

_CONNECTIONS = 16  # in each event loop: only different keys are asked for at the same time
_CLOSING = 0.25  # seconds
_SCHEMES = {"valkey": "redis", "valkeys": "rediss", "redis": "redis", "rediss": "rediss", "unix": "unix"}
_OPTIONS = frozenset({"db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_HINT = (
    "It looks like redis://HOST:6379/0, rediss://USER:PASSWORD@HOST/0 or unix:///PATH?db=0; "
    "in a password, write / ? # @ : % as %2F %3F %23 %40 %3A %25."
)


class AwayError(Exception):
    """The server cannot be used. The message says why, for people, without secrets."""


class UnreadableError(Exception):
    """The server holds something under this key that is none of ours."""


class Held(Struct, frozen=True):
    """What the server holds (empty: nothing), and its time in seconds since 1970."""

    value: bytes
    time: float


class _Script(Struct, frozen=True, kw_only=True):
    text: str
    digest: str


def _script(text: str) -> _Script:
    return _Script(text=text, digest=hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


_READ = _script("""
local time = redis.call('TIME')
return {redis.call('GET', KEYS[1]) or '', time[1], time[2]}
""")
# Put ARGV[2] (empty: nothing) in the place of ARGV[1] for ARGV[3] milliseconds; else what is there instead.
_SWAP = _script("""
local held = redis.call('GET', KEYS[1]) or ''
if held ~= ARGV[1] then
  local time = redis.call('TIME')
  return {held, time[1], time[2]}
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return {}
""")


class Server:
    """One server. Nothing is opened before the first command.

    Raises:
        ConfigError: `url` is none of redis://, rediss://, unix://, valkey://, valkeys://, or says what it may not.
    """

    def __init__(self, url: str) -> None:
        self._url, self.place = _checked(url)
        self._uses: dict[asyncio.AbstractEventLoop, _Use] = {}

    async def read(self, key: str) -> Held:
        """What is held under `key`.

        Raises:
            AwayError: The server cannot be used.
            UnreadableError: It is no plain value.
        """
        return _held(await self._run(_READ, key))

    async def swap(self, key: str, old: bytes, new: bytes, *, expires: float) -> Held | None:
        """Hold `new` for `expires` seconds where `old` was; empty ones stand for nothing. If not: what is there instead.

        Raises:
            AwayError: The server cannot be used.
            UnreadableError: What is there is no plain value.
        """
        reply = await self._run(_SWAP, key, old, new, max(1, round(expires * 1000)))
        return None if reply == [] else _held(reply)

    async def close(self) -> None:
        """Close every connection, once the commands on their way have ended."""
        for loop, use in list(self._uses.items()):
            if loop is asyncio.get_running_loop():
                await use.close()
            elif not loop.is_closed():
                loop.call_soon_threadsafe(use.close_soon)

    async def _run(self, script: _Script, key: str, *arguments: bytes | int) -> Any:
        use = await self._use()
        try:
            async with use.slots:
                try:
                    return await use.client.evalsha(script.digest, 1, key, *arguments)
                except exceptions.NoScriptError:  # it has not been run since the server started: nothing was done
                    return await use.client.eval(script.text, 1, key, *arguments)
        except Exception as error:
            if "WRONGTYPE" in str(error):
                raise UnreadableError from error
            raise AwayError(_why(error)) from error

    async def _use(self) -> "_Use":
        loop = asyncio.get_running_loop()
        if loop not in self._uses:
            for each in list(self._uses):
                if each.is_closed():
                    self._uses.pop(each, None)  # another thread may have been quicker
            self._uses[loop] = _Use(self._url)
            await anext(self._uses[loop].lifetime)
        return self._uses[loop]


class _Use:
    """The connections of one event loop.

    redis-py's own limits in time are switched off: `asyncio.wait_for`, which they use, can lose a cancellation. So is
    its waiting pool, whose condition can lose a connection to one. The caller limits the time, and `slots` the number.
    """

    def __init__(self, url: str) -> None:
        self._pool = ConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=None,
        )
        self.client = Redis(connection_pool=self._pool)
        self.slots = asyncio.Semaphore(_CONNECTIONS)
        self.lifetime = self._lifetime()

    async def _lifetime(self) -> AsyncGenerator[None, None]:
        # asyncio.run finishes a loop's generators before it closes the loop: the last moment to close connections.
        try:
            yield
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the connections, once what is on its way has ended. A peer that does not answer is not waited for."""
        taken = 0
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING):
                    while taken < _CONNECTIONS:
                        await self.slots.acquire()
                        taken += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING):
                    await self._pool.aclose()
        finally:
            for _ in range(taken):
                self.slots.release()

    def close_soon(self) -> None:
        """Have them closed."""
        self._closing = asyncio.ensure_future(self.close())


def _checked(url: str) -> tuple[str, str]:
    """`url` as redis-py takes it, and the place in it, for people."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError("state.url is no URL", hint=_HINT) from None
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or not (parts.path if scheme == "unix" else parts.hostname):
        raise ConfigError("state.url leads to no Redis or Valkey server", hint=_HINT)
    unknown = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)} - _OPTIONS
    database = "" if scheme == "unix" else parts.path.strip("/")
    if unknown or parts.fragment or not (database.isdecimal() or not database):
        raise ConfigError("state.url says more than a place, a database and certificates", hint=_HINT)
    place = unquote(parts.path) if scheme == "unix" else f"{parts.hostname}:{port or 6379}"
    return parts._replace(scheme=scheme).geturl(), place


def _held(reply: Any) -> Held:
    try:
        value, seconds, microseconds = reply
        return Held(bytes(memoryview(value)), int(seconds) + int(microseconds) / 1e6)
    except (TypeError, ValueError) as error:
        raise AwayError("it is no Redis or Valkey server") from error


# The first that fits is said.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.AuthenticationError, "it refused the user or the password"),
    (exceptions.AuthorizationError, "it refused the user or the password"),
    (exceptions.NoPermissionError, "the user may not run scripts there, or not with these keys"),
    (exceptions.ReadOnlyError, "it is a replica, which takes no changes"),
    (exceptions.BusyLoadingError, "it is still loading its data"),
    (exceptions.OutOfMemoryError, "its memory is full"),
    (exceptions.MovedError, "it is one of a cluster, which is not supported"),
    (exceptions.InvalidResponse, "it is no Redis or Valkey server"),
    (exceptions.ResponseError, "it answered with an error"),
)


def _why(error: Exception) -> str:
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    return _system_reason(error) or "no connection could be made, or it broke"


def _system_reason(error: BaseException | None) -> str:
    """What the system says, without the addresses that Python adds."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'the peer does not speak it'}"
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    return os.strerror(error.errno) if error is not None and error.errno else ""
