"""A transport through a cassette: it answers from recordings, and records what it has to send.

What is recorded is a reply whose reader was content: one that failed on its way, or whose caller was cancelled, is
not. An error that the peer answered (429, 503) is a reply, so that a replay goes through the same retries.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from llm_call.core.domain.errors import ConfigError
from llm_call.core.transport.base import Clock, Endpoint, Reply, SystemClock, Timeouts, Transport
from llm_call.core.transport.cassette import Answered, Cassette
from llm_call.core.wire.base import WireRequest


class ReplayTransport:
    """A `Transport` through `cassette`, to `inner` where the cassette's mode has something sent.

    Several may share a cassette. With `realtime` a replayed stream takes the time that it took, on `clock`; otherwise
    it is there at once.
    """

    def __init__(
        self, inner: Transport | None, cassette: Cassette, *, realtime: bool = False, clock: Clock | None = None
    ) -> None:
        self._inner = inner
        self._cassette = cassette
        self._realtime = realtime
        self._clock = clock or SystemClock()

    @asynccontextmanager
    async def open(self, endpoint: Endpoint, request: WireRequest, timeouts: Timeouts) -> AsyncIterator[Reply]:
        """The recorded reply to `request`, or the peer's.

        Raises:
            ConfigError: There is no recording and nothing may be sent, or the cassette cannot be written.
            LLMCallError: What the inner transport raises.
        """
        asked = self._cassette.asked(endpoint, request)
        if found := self._cassette.find(asked):
            yield _Replayed(found, self._cassette, self._clock if self._realtime else None)
            return
        if self._inner is None or self._cassette.mode == "require":
            raise self._cassette.missing(asked)
        recorder = _Recorder(self._clock)
        async with self._inner.open(endpoint, request, timeouts) as reply:
            yield recorder.listening(reply) if self._cassette.records else reply
        if self._cassette.records:
            answered = Answered(status=reply.status, headers=dict(reply.headers), whole=recorder.whole)
            self._cassette.add(asked, answered, recorder.pieces)

    async def close(self) -> None:
        """Close the inner transport."""
        if self._inner is not None:
            await self._inner.close()


class _Recorder:
    """A reply that notes what is read of it, with the milliseconds since the request was sent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begun = clock.now()
        self.pieces: list[tuple[int, bytes]] = []
        self.whole = False

    def listening(self, reply: Reply) -> Reply:
        self._reply = reply
        return self

    @property
    def status(self) -> int:
        return self._reply.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._reply.headers

    async def read(self) -> bytes:
        body = await self._reply.read()
        self._note(body)
        self.whole = True
        return body

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._reply.chunks():
            self._note(chunk)
            yield chunk
        self.whole = True

    def _note(self, piece: bytes) -> None:
        self.pieces.append((round((self._clock.now() - self._begun) * 1000), piece))


class _Replayed:
    """A recorded reply; in its own time where there is a clock."""

    def __init__(self, answered: Answered, cassette: Cassette, clock: Clock | None) -> None:
        self.status = answered.status
        self.headers: Mapping[str, str] = answered.headers
        self._answered = answered
        self._cassette = cassette
        self._clock = clock
        self._begun = clock.now() if clock else 0.0

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self._answered.pieces:
            if self._clock is not None:
                await self._clock.sleep(max(0.0, self._begun + piece.at / 1000 - self._clock.now()))
            yield piece.content
        if not self._answered.whole:
            raise ConfigError(
                f"{self._cassette.path}: the recording of this reply ends before its end",
                hint="Its reader left then. Record it anew, and read it to the end.",
            )
