"""How a request travels, and how time passes: the two effects that everything above takes as parameters."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from time import monotonic
from typing import Annotated, Literal, Protocol

from msgspec import Meta, Struct

from llm_call.core.domain.setting import setting
from llm_call.core.wire.base import WireRequest


class Timeouts(Struct, frozen=True, kw_only=True):
    """The longest that each stage of an attempt may take, in seconds.

    The first token's and `total`, the whole of it, are the engine's to keep, the others the transport's.
    """

    connect: Annotated[
        float, Meta(gt=0), setting("Finding the host, connecting, the proxy and TLS.", access="free")
    ] = 10.0
    first_byte: Annotated[
        float, Meta(gt=0), setting("From the sent request to the first byte of the answer.", access="free")
    ] = 120.0
    between_bytes: Annotated[
        float, Meta(gt=0), setting("Each silence between two pieces of the answer.", access="free")
    ] = 60.0
    first_token: Annotated[
        float,
        Meta(gt=0),
        setting("To the first event of a streamed answer, while there is another target to go to.", access="free"),
    ] = 12.0
    first_token_reasoning: Annotated[
        float, Meta(gt=0), setting("The same, for a model that thinks before it answers.", access="free")
    ] = 60.0
    total: Annotated[float, Meta(gt=0), setting("The whole attempt.", access="free")] = 600.0


class HttpSettings(Struct, frozen=True, kw_only=True):
    """The HTTP transport's."""

    ca_file: Annotated[
        str | None, setting("A PEM file of authorities to trust beside the system's.", access="trusted", path=True)
    ] = None
    proxy: Annotated[
        Literal["environment", "off"],
        setting("Whether HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY are heeded.", access="trusted"),
    ] = "environment"
    max_connections: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        setting("Connections at a time in each event loop; further requests wait.", access="free"),
    ] = None
    max_body_bytes: Annotated[int, Meta(ge=1), setting("The longest answer that is read, in bytes.", access="free")] = (
        64 * 1024 * 1024
    )


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
