"""How a request travels, and how time passes: the two effects that everything above takes as parameters."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from time import monotonic
from typing import Protocol

from msgspec import Struct

from llm_call.core.wire.base import WireRequest


class Timeouts(Struct, frozen=True, kw_only=True):
    """The longest that each stage of an attempt may take, in seconds. `total`, the whole of it, is the engine's to keep."""

    connect: float = 10.0
    first_byte: float = 120.0
    between_bytes: float = 60.0
    total: float = 600.0


class HttpSettings(Struct, frozen=True, kw_only=True):
    """The HTTP transport's. `ca_file` is a PEM file with further authorities to trust; `max_body_bytes` bounds an answer."""

    ca_file: str | None = None
    max_connections: int | None = None
    max_body_bytes: int = 64 * 1024 * 1024


class Endpoint(Struct, frozen=True, kw_only=True):
    """Where a request goes. `headers` carry the credential: they are never logged, traced or shown."""

    base_url: str
    headers: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Endpoint(base_url={self.base_url!r}, headers=<hidden>)"


class Reply(Protocol):
    """A response on its way in. Header names are in lower case."""

    @property
    def status(self) -> int:
        """The HTTP status, or what stands for it."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The response's headers."""

    async def read(self) -> bytes:
        """The whole body."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, each piece as soon as it is here."""


class Transport(Protocol):
    """A way for requests to travel. Safe for many calls at once.

    Leaving the context of `open` early closes the request at the peer: a cancelled call costs nothing more.
    """

    def open(self, endpoint: Endpoint, request: WireRequest, timeouts: Timeouts) -> AbstractAsyncContextManager[Reply]:
        """Send `request` and wait for the head of the response.

        Raises:
            ConnectionFailedError: Refused, reset, or not to be made; also while the body is read.
            AttemptTimeoutError: A stage took longer than its time; also while the body is read.
        """

    async def close(self) -> None:
        """Free what is held. Open requests end."""


class Clock(Protocol):
    """Time, as the engine and the retry loop see it. Seconds; `now` counts from anywhere."""

    def now(self) -> float:
        """The time."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The system's monotonic time."""

    now = staticmethod(monotonic)

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        await asyncio.sleep(seconds)
