"""A peer that does its worst: a transport which answers each request with what chance draws, and keeps a record of it.

For tests that let chance decide everything and then look at laws: what was sent, when, what was said to whom, and
whether each request was closed. It speaks the chat-completions dialect. Drawn from one seed, it does the same again.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import msgspec

from llm_call.core.domain.errors import AttemptTimeoutError, ConnectionFailedError
from llm_call.core.state.common import GateChange
from llm_call.core.transport.base import Endpoint, Reply, Timeouts
from llm_call.core.wire.base import WireRequest

ACCEPTED = "yes"
"""What an answer ends with that is to be accepted."""

STATUSES = (400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 429, 500, 502, 503, 503, 504, 529)
CODES = (None, None, None, None, "insufficient_quota", "context_length_exceeded", "content_filter")
HINTS = ("0", "0.2", "3", "17", "100", "1e9", "-5", "inf", "nan", "soon", "Wed, 21 Oct 2015 07:28:00 GMT")
DELAYS = (0.0, 0.0, 0.0, 0.005, 0.019, 0.3, 1.0, 5.0, 30.0, 200.0)
FAULTS = ("refused", "unreachable", "silent", "status", "status", "status", "reset", "page", "nothing", "error", "half")
STREAM_FAULTS = ("cut", "stalled", "garbled", "broken", "limited")

_CALL = re.compile(rb'"seed":(\d+)')
_MODEL = re.compile(rb'"model":"(\w+)"')
_USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
_OVERLOADED = {"error": {"message": "overloaded", "type": "overloaded_error"}}
_LIMITED = {"error": {"message": "slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded"}}
_FOREVER = 1e6


class Sent:
    """A request as the peer saw it. `said` is what of its answer was handed over, by the kind of part; times in seconds.

    `finished` is true from the moment on at which it has said why it ends, `whole` when all of it has arrived, `late`
    when the transport has waited for it in vain. `size` is that of its body, in bytes.
    """

    def __init__(self, call: int, place: str, opened: float, *, credential: str, size: int) -> None:
        self.call = call
        self.place = place
        self.opened = opened
        self.credential = credential
        self.size = size
        self.closed: float | None = None
        self.fate = ""
        self.said: dict[str, str] = {}
        self.finished = False
        self.whole = False
        self.late = False

    def __repr__(self) -> str:
        return f"<{self.place} at {self.opened:g} {self.fate}: {self.said}{' whole' if self.whole else ''}>"


Log = list[tuple[float, str, Sent | GateChange]]
"""What happened, in its order: the time, what, and with what. A request is `sent`, may be `answered`, is `closed`."""

Piece = tuple[bytes, str, str]
"""Bytes on the wire, and the kind and the text of what they say."""


class ChaoticTransport:
    """Answers by chance; `calm` (0..1) is the share of good answers. A call is known by the seed in its request."""

    def __init__(self, chance: Random, now: Callable[[], float], *, calm: float, texts: tuple[str, ...]) -> None:
        self._chance = chance
        self._now = now
        self._calm = calm
        self._texts = texts
        self.requests: list[Sent] = []
        self.log: Log = []

    def of(self, call: int) -> list[Sent]:
        """The requests of one call."""
        return [each for each in self.requests if each.call == call]

    @asynccontextmanager
    async def open(self, endpoint: Endpoint, request: WireRequest, timeouts: Timeouts) -> AsyncIterator[Reply]:
        """A reply, or its failure."""
        sent = Sent(
            int(_found(_CALL, request)),
            f"{endpoint.base_url}/{_found(_MODEL, request)}",
            self._now(),
            credential=endpoint.headers.get("authorization", ""),
            size=len(request.body),
        )
        self.requests.append(sent)
        self._note("sent", sent)
        try:
            yield await self._reply(sent, request, timeouts)
        finally:
            sent.closed = self._now()
            self._note("closed", sent)

    async def close(self) -> None:
        """Nothing is held."""

    def _note(self, what: str, sent: Sent) -> None:
        self.log.append((self._now(), what, sent))

    async def _reply(self, sent: Sent, request: WireRequest, timeouts: Timeouts) -> "_Reply":
        chance = self._chance
        faults = FAULTS + STREAM_FAULTS * 2 if request.stream else FAULTS
        sent.fate = "good" if chance.random() < self._calm else chance.choice(faults)
        if sent.fate == "refused":
            raise ConnectionFailedError("refused")
        if sent.fate == "unreachable":
            await asyncio.sleep(timeouts.connect)
            raise AttemptTimeoutError("unreachable", stage="connect")
        delay = _FOREVER if sent.fate == "silent" else chance.choice(DELAYS)
        await _pass(sent, delay, timeouts.first_byte, "first byte")
        if sent.fate == "status":
            return self._refusal(sent, timeouts)
        pieces = list(self._streamed() if request.stream else self._whole())
        damaged = self._damaged(sent.fate, pieces, stream=request.stream)
        return _Reply(sent, damaged, timeouts, chance, note=self._note)

    def _refusal(self, sent: Sent, timeouts: Timeouts) -> "_Reply":
        chance = self._chance
        status, code = chance.choice(STATUSES), chance.choice(CODES)
        headers = {"retry-after": chance.choice(HINTS)} if chance.random() < 0.6 else {}  # noqa: PLR2004  (a share)
        if chance.random() < 0.1:  # noqa: PLR2004  (a share)
            headers["x-should-retry"] = "false"
        sent.fate = f"{status} {code} {headers}"
        body = msgspec.json.encode({"error": {"message": "no", "code": code}})
        return _Reply(sent, [(body, "", "")], timeouts, chance, note=self._note, status=status, headers=headers)

    def _text(self) -> str:
        return self._chance.choice(self._texts)

    def _calls_a_tool(self) -> bool:
        return self._chance.random() < 0.08  # noqa: PLR2004  (a share)

    def _whole(self) -> Iterator[Piece]:
        message: dict[str, Any] = {"role": "assistant", "content": self._text()}
        said = ("text", message["content"])
        reason = "stop"
        if self._calls_a_tool():
            call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"city":"Paris"}'}}
            message, said, reason = (
                {"role": "assistant", "tool_calls": [call]},
                ("call", '{"city":"Paris"}'),
                "tool_calls",
            )
        body = {"id": "x", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": reason}]}
        yield msgspec.json.encode({**body, "usage": _USAGE}), *said

    def _streamed(self) -> Iterator[Piece]:
        chance, reason = self._chance, "stop"
        if self._calls_a_tool():
            reason = "tool_calls"
            for number, text in enumerate(("", '{"city":', '"Par', 'is"}')):
                function = {"arguments": text} if number else {"name": "look", "arguments": text}
                call = {"index": 0, "function": function} | ({} if number else {"id": "c1", "type": "function"})
                yield _chunk({"delta": {"tool_calls": [call]}}), "call", text
        else:
            if chance.random() < 0.3:  # noqa: PLR2004  (a share)
                yield from ((_chunk({"delta": {"reasoning_content": each}}), "reasoning", each) for each in ("hm", "!"))
            text = self._text()
            while text:
                size = chance.randint(1, 6)
                yield _chunk({"delta": {"content": text[:size]}}), "text", text[:size]
                text = text[size:]
        yield _chunk({"delta": {}, "finish_reason": reason}), "", ""
        if chance.random() < 0.7:  # noqa: PLR2004  (a share)
            yield _event({"id": "x", "model": "m", "choices": [], "usage": _USAGE}), "usage", ""
        if chance.random() < 0.8:  # noqa: PLR2004  (a share)
            yield b"data: [DONE]\n\n", "done", ""

    def _damaged(self, fate: str, pieces: list[Piece], *, stream: bool) -> list[Piece]:
        """`pieces` as they come with this fault."""
        keep = self._chance.randrange(len(pieces)) if stream else 0
        before, data = pieces[:keep], pieces[0][0]
        damaged: Mapping[str, list[Piece]] = {
            "page": [(b"<html>Bad Gateway</html>", "", "")],
            "nothing": [(b'{"id":"x","model":"m","choices":[]}', "", "")],
            "error": [(msgspec.json.encode(_OVERLOADED), "", "")],
            "half": [(data[: len(data) // 2], "", "")],
            "reset": [*before, (b"", "reset", "")],
            "cut": pieces[: min(keep, _ending(pieces))],
            "stalled": [*before, (b"", "stall", "")],
            "garbled": [*before, (b"data: {]\n\n", "", ""), *pieces[keep:]],
            "broken": [*before, (_event(_OVERLOADED), "", "")],
            "limited": [*before, (_event(_LIMITED), "", "")],
        }
        return damaged.get(fate, pieces)


class _Reply:
    """A reply on its way."""

    def __init__(
        self,
        sent: Sent,
        pieces: list[Piece],
        timeouts: Timeouts,
        chance: Random,
        *,
        note: Callable[[str, Sent], None],
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.headers = headers or {}
        self._sent = sent
        self._pieces = pieces
        self._timeouts = timeouts
        self._chance = chance
        self._note = note

    async def read(self) -> bytes:
        body = b"".join([piece async for piece in self.chunks()])
        self._sent.whole = self._sent.finished
        return body

    async def chunks(self) -> AsyncIterator[bytes]:
        sent = self._sent
        for data, kind, text in self._pieces:
            delay = _FOREVER if kind == "stall" else self._chance.choice(DELAYS) * (self._chance.random() < _PAUSES)
            await _pass(sent, delay, self._timeouts.between_bytes, "between bytes")
            if kind == "reset":
                raise ConnectionFailedError("reset")
            if kind in {"text", "reasoning", "call"}:
                sent.said[kind] = sent.said.get(kind, "") + text
            if not sent.finished and b'"finish_reason":"' in data:
                sent.finished = True
                self._note("answered", sent)
            sent.whole = sent.whole or (sent.finished and kind in {"usage", "done"})
            yield data
        sent.whole = sent.finished


def _found(pattern: re.Pattern[bytes], request: WireRequest) -> str:
    found = pattern.search(request.body)
    return found[1].decode() if found else ""


_PAUSES = 0.3  # the share of pieces that something is waited for


async def _pass(sent: Sent, seconds: float, limit: float, stage: str) -> None:
    """Let time pass, but no more than the transport waits for."""
    await asyncio.sleep(min(seconds, limit))
    if seconds > limit:
        sent.late = True
        raise AttemptTimeoutError(f"nothing for {limit:g} s", stage=stage)


def _ending(pieces: list[Piece]) -> int:
    """The place of the piece with the finish reason."""
    return next(index for index, (data, _, _) in enumerate(pieces) if b'"finish_reason":"' in data)


def _chunk(choice: dict[str, Any]) -> bytes:
    return _event({"id": "x", "model": "m", "choices": [{"index": 0, **choice}]})


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"
