"""State in this process: for one process alone, and for as long as a shared store is away."""

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple

from llm_call.core.state.store import A, Change, S

_FIRST_SWEEP = 1024  # states; each sweep waits until there are twice as many as the last one left


class _Held(NamedTuple):
    state: Any
    until: float


class MemoryStore:
    """A `SharedStore` for the threads and event loops of this process. `now` is its clock, in seconds."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._held: dict[str, _Held] = {}
        self._lock = Lock()
        self._sweep_at = _FIRST_SWEEP

    async def update(self, key: str, type_: type[S], change: Change[S, A], *, expires: float) -> A:  # noqa: ARG002  (as the protocol has it)
        """The answer of `change`, which is called once. It waits for nothing."""
        with self._lock:
            now = self._now()
            before = self._get(key, now)
            after, answer = change(before, now)
            if after is None:
                self._held.pop(key, None)
            elif after != before:
                self._held[key] = _Held(after, now + expires)
                self._sweep(now)
            return answer

    async def read(self, key: str, type_: type[S]) -> tuple[S | None, float]:  # noqa: ARG002  (as the protocol has it)
        """The state as it is, and the time."""
        with self._lock:
            now = self._now()
            return self._get(key, now), now

    async def close(self) -> None:
        """Nothing is held that has to be freed."""

    def _get(self, key: str, now: float) -> Any:
        held = self._held.get(key)
        return held.state if held is not None and now < held.until else None

    def _sweep(self, now: float) -> None:
        """Drop what has expired, now and then: keys that are used no more would stay for ever."""
        if len(self._held) >= self._sweep_at:
            self._held = {key: held for key, held in self._held.items() if now < held.until}
            self._sweep_at = max(_FIRST_SWEEP, 2 * len(self._held))
