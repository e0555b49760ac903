"""Modelled providers, as a transport: how long they take, what they take, how they fail.

The engine above cannot tell it from a network. Stages have the time limits of the real transport: what takes longer is
an `AttemptTimeoutError` at the moment at which it would be one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from contextvars import ContextVar
from math import exp, log
from random import Random
from typing import Literal, Protocol

from msgspec import Struct

from llm_call.core.domain.errors import AttemptTimeoutError, ConnectionFailedError
from llm_call.core.hooks import AttemptScope
from llm_call.core.transport.base import Endpoint, Reply, Timeouts
from llm_call.core.wire.base import WireRequest
from llm_call.simulation import replies
from llm_call.simulation.scenario import Phase, TargetModel

Ending = Literal["whole", "reset", "cut"]

_P99 = 2.3263478740408408  # the 99th percentile of the standard normal distribution
_SPREAD = 0.3  # of the logarithm of an answer's length
_BURST = 10.0  # seconds of a limit that may be used at once
_PLAIN = Phase()
_FAULTS = ("refused", "silent", "errors", "resets", "cuts", "empty")


class Answer(Struct, frozen=True, kw_only=True):
    """What a request gets: a status after `first` seconds (none: no connection), then its pieces over `rest` seconds.

    In a stream, an `ending` other than `whole` comes in its middle.
    """

    status: int | None = 200
    first: float = 0.0
    rest: float = 0.0
    headers: Mapping[str, str] = {}
    body: tuple[bytes, ...] = ()
    ending: Ending = "whole"


class Asked(Struct, frozen=True, kw_only=True):
    """A request as a provider sees it. `at` is the time in seconds."""

    dialect: str
    model: str
    stream: bool
    at: float


class Provider(Protocol):
    """Answers the requests to one target."""

    def answer(self, asked: Asked) -> Answer:
        """What becomes of a request."""


class Bucket:
    """A limit for a minute, refilled all the time; ten seconds of it may be used at once."""

    def __init__(self, per_minute: float) -> None:
        self.rate = per_minute / 60
        self._left = self.rate * _BURST
        self._at = 0.0

    def wait(self, wanted: float, now: float, capacity: float) -> float:
        """Seconds until so much is left; 0 where it is, and then it is taken."""
        rate = self.rate * capacity
        self._left = min(self._left + (now - self._at) * rate, max(rate * _BURST, wanted))
        self._at = now
        if self._left >= wanted:
            self._left -= wanted
            return 0.0
        return (wanted - self._left) / rate

    @property
    def left(self) -> int:
        """What may be used now."""
        return int(self._left)


class ModelledProvider:
    """One target, by its model and what goes wrong with it.

    Each request draws as often as any other: where two policies ask the same, they meet the same provider.
    """

    def __init__(
        self, model: TargetModel, phases: tuple[Phase, ...], chance: Random, *, prompt_tokens: int, answer_tokens: int
    ) -> None:
        self._model = model
        self._phases = phases
        self._chance = chance
        self._prompt = prompt_tokens
        self._answer = answer_tokens
        self._spread = (log(model.first_token_p99) - log(model.first_token)) / _P99
        self._requests = None if model.requests_per_minute is None else Bucket(model.requests_per_minute)
        self._tokens = None if model.tokens_per_minute is None else Bucket(model.tokens_per_minute)

    def answer(self, asked: Asked) -> Answer:
        """What becomes of a request."""
        chance, model = self._chance, self._model
        fault, latency, length = chance.random(), chance.gauss(), chance.gauss()
        phase = self._phase(asked.at)
        kind = _drawn(phase, fault)
        if kind == "refused":
            return Answer(status=None)
        if kind == "silent":
            return Answer(first=FOREVER)
        tokens = max(10, round(self._answer * exp(_SPREAD * length) / 10) * 10)
        first = model.first_token * exp(self._spread * latency) * phase.slowdown
        if kind == "errors":
            return self._refused(phase.status, phase.retry_after)
        held = self._held(tokens, asked.at, phase.capacity)
        if held > 0:
            return self._refused(429, held if model.hints else None)
        ending: Ending = "reset" if kind == "resets" else "cut" if kind == "cuts" and asked.stream else "whole"
        rest = tokens / model.tokens_per_second * phase.slowdown
        return self._told(asked, tokens, first, rest, ending, "" if kind == "empty" else f"An answer of {asked.model}.")

    def _phase(self, now: float) -> Phase:
        for phase in self._phases:
            if phase.start <= now and (phase.end is None or now < phase.end):
                return phase
        return _PLAIN

    def _held(self, tokens: int, now: float, capacity: float) -> float:
        wait = self._requests.wait(1, now, capacity) if self._requests else 0.0
        return wait or (self._tokens.wait(self._prompt + tokens, now, capacity) if self._tokens else 0.0)

    def _refused(self, status: int, wait: float | None) -> Answer:
        headers = {"content-type": "application/json"}
        if wait is not None:
            headers["retry-after-ms"] = f"{wait * 1000:.0f}"
        return Answer(status=status, first=_QUICK, headers=headers, body=(replies.error(status),))

    def _told(self, asked: Asked, tokens: int, first: float, rest: float, ending: Ending, text: str) -> Answer:
        headers = self._remaining()
        if not asked.stream:
            body = replies.whole(asked.dialect, asked.model, text, self._prompt, tokens)
            headers["content-type"] = "application/json"
            return Answer(first=first + rest, headers=headers, body=(body,), ending=ending)
        body_pieces = replies.pieces(asked.dialect, asked.model, text, self._prompt, tokens)
        headers["content-type"] = "text/event-stream"
        return Answer(first=first, rest=rest, headers=headers, body=body_pieces, ending=ending)

    def _remaining(self) -> dict[str, str]:
        if not self._model.hints:
            return {}
        said = {}
        for name, bucket in (("requests", self._requests), ("tokens", self._tokens)):
            if bucket is not None:
                said[f"x-ratelimit-remaining-{name}"] = str(bucket.left)
                said[f"x-ratelimit-reset-{name}"] = f"{_BURST - bucket.left / bucket.rate:.3f}s"
        return said


FOREVER = 1e6
"""Seconds that no transport waits."""
_QUICK = 0.05  # seconds that a refusal takes


def _drawn(phase: Phase, chance: float) -> str:
    """The fault that `chance` (0..1) means."""
    for name, share in zip(_FAULTS, phase.shares, strict=True):
        if chance < share:
            return name
        chance -= share
    return ""


_asked: ContextVar[AttemptScope] = ContextVar("asked")


def note_attempt(scope: AttemptScope) -> AbstractContextManager[None]:
    """An attempt hook: tells the transport whose request is on its way."""
    _asked.set(scope)
    return nullcontext()


class ModelledTransport:
    """All providers. `provider_of` makes the one of a target; `requests` are the times of what each was asked."""

    def __init__(self, provider_of: Callable[[str], Provider], now: Callable[[], float]) -> None:
        self._provider_of = provider_of
        self._now = now
        self._providers: dict[str, Provider] = {}
        self.requests: dict[str, list[float]] = {}

    @asynccontextmanager
    async def open(self, endpoint: Endpoint, request: WireRequest, timeouts: Timeouts) -> AsyncIterator[Reply]:  # noqa: ARG002  (the protocol's)
        """What the modelled provider says."""
        target, now = _asked.get().target, self._now()
        provider = self._providers.get(target.name)
        if provider is None:
            provider = self._providers[target.name] = self._provider_of(target.name)
            self.requests[target.name] = []
        self.requests[target.name].append(now)
        asked = Asked(dialect=target.codec.name, model=target.model, stream=request.stream, at=now)
        answer = provider.answer(asked)
        if answer.status is None:
            await _pass(answer.first, timeouts.connect, "connect")
            raise ConnectionFailedError(f"{target.name} refuses connections")
        await _pass(answer.first, timeouts.first_byte, "first byte")
        yield _Reply(answer, answer.status, timeouts)

    async def close(self) -> None:
        """Nothing is held."""


class _Reply:
    """An answer on its way."""

    def __init__(self, answer: Answer, status: int, timeouts: Timeouts) -> None:
        self.status = status
        self.headers = answer.headers
        self._answer = answer
        self._timeouts = timeouts

    async def read(self) -> bytes:
        if self._answer.ending == "reset":
            raise ConnectionFailedError("the connection was reset")
        return b"".join(self._answer.body)

    async def chunks(self) -> AsyncIterator[bytes]:
        answer = self._answer
        pieces = answer.body if answer.ending == "whole" else answer.body[: len(answer.body) // 2]
        pause = answer.rest / max(1, len(answer.body) - 1)
        for number, piece in enumerate(pieces):
            if number and pause:
                await _pass(pause, self._timeouts.between_bytes, "between bytes")
            yield piece
        if answer.ending == "reset":
            raise ConnectionFailedError("the connection was reset")


async def _pass(seconds: float, limit: float, stage: str) -> None:
    """Let time pass, but no more than a transport waits for."""
    await asyncio.sleep(min(seconds, limit))
    if seconds > limit:
        raise AttemptTimeoutError(f"nothing arrived for {limit:g} s ({stage})", stage=stage)
