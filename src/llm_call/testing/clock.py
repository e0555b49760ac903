"""Virtual time: an event loop whose clock jumps to the next timer instead of waiting for it."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_PATIENCE = 30.0  # real seconds to wait for another thread, when no timer is due


class FakeClock:
    """A `Clock` for tests. `run` executes a coroutine in virtual time: every sleep and every timeout ends at once.

    Not for coroutines that wait for sockets while a timer runs: time jumps, nothing arrives.

        clock = FakeClock()
        clock.run(client.ask("hi"))
        assert clock.sleeps == [1.0, 2.0]
    """

    def __init__(self) -> None:
        self.sleeps: list[float] = []
        self._now = 0.0

    def now(self) -> float:
        """Virtual seconds since the clock was made."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait in virtual time."""
        self.sleeps.append(seconds)
        await asyncio.sleep(seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What `coroutine` returns, in virtual time."""
        with asyncio.Runner(loop_factory=lambda: _VirtualLoop(self)) as runner:
            return runner.run(coroutine)


class _JumpingSelector(selectors.SelectSelector):
    """Waits for no timer: its timeout moves the clock instead."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(_PATIENCE if timeout is None else 0)
        if not ready and timeout is None:
            raise RuntimeError("no timer is due and nothing has arrived: the coroutine waits for what cannot come")
        if not ready and timeout:
            self._clock.advance(timeout)
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that lives in a `FakeClock`'s time."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(_JumpingSelector(clock))
        self._fake_clock = clock

    def time(self) -> float:
        return self._fake_clock.now()
