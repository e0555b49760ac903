"""HTTP: our transport beside asyncio's own streams without a check, and beside the clients that are installed.

64 calls at a time to the stub. A streamed call is 33 events, each written by itself; its cost is given for one event.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from harness import Job, Row, compare, upstream

from llm_call.core.transport.base import Endpoint, Timeouts
from llm_call.core.transport.http import HttpTransport
from llm_call.core.wire.base import WireRequest

PLAIN = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'
STREAMED = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}],"stream":true}'
HEADERS = {"authorization": "Bearer x", "content-type": "application/json"}
EVENTS = 33
PATH = "/chat/completions"


def measure() -> list[Row]:
    """All figures of this file."""
    with upstream() as url:
        plain = asyncio.run(_measure(url, PLAIN, count=2000))
        streamed = asyncio.run(_measure(url, STREAMED, count=300))
    return [*_rows("a call", plain, 1e6), *_rows("an event of a stream", streamed, 1e6 / EVENTS)]


async def _measure(url: str, body: bytes, *, count: int) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        jobs: dict[str, Job] = {}
        for name, client in CLIENTS.items():
            try:
                jobs[name] = await stack.enter_async_context(client(url, body))
            except ModuleNotFoundError:
                continue
        return await compare(jobs, count=count)


def _rows(what: str, seconds: dict[str, float], factor: float) -> list[Row]:
    ours = seconds.pop("ours")
    return [Row(what, ours * factor, "us", each * factor, name) for name, each in seconds.items()]


@asynccontextmanager
async def ours(url: str, body: bytes) -> AsyncIterator[Job]:
    """Our transport."""
    transport = HttpTransport()
    endpoint = Endpoint(base_url=url, headers={"authorization": HEADERS["authorization"]})
    request = WireRequest(path=PATH, body=body, stream=body is STREAMED)

    async def call() -> None:
        async with transport.open(endpoint, request, Timeouts()) as reply:
            async for _ in reply.chunks():
                pass

    yield call
    await transport.close()


@asynccontextmanager
async def streams(url: str, body: bytes) -> AsyncIterator[Job]:
    """The streams of asyncio: the least that such a call can cost in Python without a library or a check."""
    parts = urlsplit(url)
    fields = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    head = f"POST {parts.path}{PATH} HTTP/1.1\r\nhost: {parts.netloc}\r\n{fields}content-length: {len(body)}\r\n\r\n"
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def call() -> None:
        reader, writer = idle.pop() if idle else await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        if body is STREAMED:
            await reader.readuntil(b"\r\n0\r\n\r\n")
        else:
            await reader.readexactly(int(answer.rpartition(b"content-length: ")[2]))
        idle.append((reader, writer))

    yield call
    for _, writer in idle:
        writer.close()


@asynccontextmanager
async def pyreqwest(url: str, body: bytes) -> AsyncIterator[Job]:
    """The client of pyreqwest; streamed without its reading ahead, which would hold the first event back."""
    builder: Any = import_module("pyreqwest.client").ClientBuilder()
    async with builder.follow_redirects(enable=False).connect_timeout(timedelta(seconds=10)).build() as client:

        async def plain() -> None:
            await (await client.post(url + PATH).headers(HEADERS).body_bytes(body).build().send()).bytes()

        async def streamed() -> None:
            request = client.post(url + PATH).headers(HEADERS).body_bytes(body).streamed_read_buffer_limit(0)
            async with request.build_streamed() as response:
                while await response.body_reader.read_chunk() is not None:
                    pass

        yield streamed if body is STREAMED else plain


@asynccontextmanager
async def aiohttp(url: str, body: bytes) -> AsyncIterator[Job]:
    """The client of aiohttp, with as many connections as are asked for."""
    library: Any = import_module("aiohttp")
    async with library.ClientSession(connector=library.TCPConnector(limit=0)) as session:

        async def call() -> None:
            async with session.post(url + PATH, data=body, headers=HEADERS, allow_redirects=False) as response:
                async for _ in response.content.iter_any():
                    pass

        yield call


CLIENTS = {"ours": ours, "asyncio streams, unchecked": streams, "bare pyreqwest": pyreqwest, "bare aiohttp": aiohttp}
