"""A transport that answers from a script, without a peer."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from copy import copy
from typing import Any

import msgspec
from msgspec import Struct

from llm_call.core.transport.base import Endpoint, Reply, Timeouts
from llm_call.core.wire.base import WireRequest


class ScriptedReply(Struct, frozen=True, kw_only=True):
    """One answer: `pieces` of a body, `delay` seconds before the head and before each piece, `error` at the end."""

    status: int = 200
    headers: Mapping[str, str] = {}
    pieces: tuple[bytes, ...] = (b"",)
    delay: float = 0.0
    error: Exception | None = None


class _Delivery:
    """A scripted reply on its way to one caller."""

    def __init__(self, step: ScriptedReply) -> None:
        self._step = step
        self.status = step.status
        self.headers = step.headers
        self.left = len(step.pieces)

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self._step.pieces:
            await asyncio.sleep(self._step.delay)
            self.left -= 1
            yield piece
        if self._step.error is not None:
            raise copy(self._step.error)


Step = ScriptedReply | Exception


class ScriptedTransport:
    """Answers each request with the next step: a reply, or an error that it raises. The last step is repeated.

    `requests` holds what was asked, `closed_early` how many replies were left before their end, and `most_open` how
    many were open at once.
    """

    def __init__(self, *steps: Step) -> None:
        if not steps:
            raise ValueError("a script needs at least one step")
        self._steps = list(steps)
        self._open = 0
        self.requests: list[WireRequest] = []
        self.endpoints: list[Endpoint] = []
        self.closed_early = 0
        self.most_open = 0

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The requests' bodies, read as JSON objects."""
        return [msgspec.json.decode(request.body) for request in self.requests]

    @asynccontextmanager
    async def open(self, endpoint: Endpoint, request: WireRequest, timeouts: Timeouts) -> AsyncIterator[Reply]:  # noqa: ARG002  (the protocol's)
        """The next step of the script."""
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        self.requests.append(request)
        self.endpoints.append(endpoint)
        self._open += 1
        self.most_open = max(self.most_open, self._open)
        try:
            if isinstance(step, Exception):
                raise copy(step)  # an error collects a trace and a traceback: each raise has its own
            async with self._delivered(step) as delivery:
                yield delivery
        finally:
            self._open -= 1

    @asynccontextmanager
    async def _delivered(self, step: ScriptedReply) -> AsyncIterator[Reply]:
        delivery = _Delivery(step)
        try:
            await asyncio.sleep(step.delay)
            yield delivery
        finally:
            self.closed_early += delivery.left > 0

    async def close(self) -> None:
        """Nothing is held."""


def chat_reply(text: str, *, finish_reason: str = "stop", delay: float = 0.0, **usage: int) -> ScriptedReply:
    """A chat completion that says `text`. Keywords are token counts of the wire: prompt_tokens, completion_tokens."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    body: dict[str, Any] = {"id": "chatcmpl-scripted", "object": "chat.completion", "model": "scripted"}
    body["choices"] = [choice]
    if usage:
        body["usage"] = {"total_tokens": sum(usage.values()), **usage}
    return ScriptedReply(pieces=(msgspec.json.encode(body),), headers=_JSON, delay=delay)


def error_reply(
    status: int, *, code: str | None = None, message: str = "scripted", headers: Mapping[str, str] | None = None
) -> ScriptedReply:
    """An error in the shape of the chat-completions dialect."""
    body = {"error": {"message": message, "type": "scripted", "code": code}}
    return ScriptedReply(status=status, pieces=(msgspec.json.encode(body),), headers={**_JSON, **(headers or {})})


def stream_reply(
    words: Iterable[str], *, finish_reason: str | None = "stop", delay: float = 0.0, error: Exception | None = None
) -> ScriptedReply:
    """A streamed chat completion, one event for each of `words`; without a `finish_reason` it is cut off."""
    deltas: list[tuple[dict[str, str], str | None]] = [({"content": word}, None) for word in words]
    if finish_reason is not None:
        deltas.append(({}, finish_reason))
    pieces = [_event({"index": 0, "delta": delta, "finish_reason": reason}) for delta, reason in deltas]
    if finish_reason is not None:
        pieces.append(b"data: [DONE]\n\n")
    return ScriptedReply(pieces=tuple(pieces), headers={"content-type": "text/event-stream"}, delay=delay, error=error)


_JSON = {"content-type": "application/json"}


def _event(choice: dict[str, Any]) -> bytes:
    chunk = {"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "model": "scripted", "choices": [choice]}
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"
