"""What all gates of a client have in common: time, the lock of their state, the news of it, and the shared store.

The rule: state changes in short steps under the one lock, which is never held across an `await` nor while news are told;
so gates are safe for many calls, event loops and threads.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from hashlib import blake2b
from threading import Lock
from typing import Any, Literal, Protocol

from msgspec import Struct

from llm_call.core.state.store import SharedStore

ChangeKind = Literal["opened", "probing", "closed", "slowed", "held"]

_GRACE = 0.5  # seconds for what is on its way to the store when everything ends


class Clock(Protocol):
    """Time, as in `core.transport.base`, which stands beside this package."""

    def now(self) -> float:
        """The time in seconds."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class GateChange(Struct, frozen=True, kw_only=True):
    """What is told of the gate to a place: its breaker `opened`, is `probing`, `closed`; it was `slowed` or `held`.

    `slowed`: a rate limit has made fewer calls go out at a time. `held`: none goes out for `seconds`. `opened` has
    `seconds` too. `place` is the name of the place; `why` is a line for people, without secrets.
    """

    kind: ChangeKind
    place: str
    why: str
    seconds: float | None = None


class Common:
    """See the module. `store` is `None` where nothing is shared."""

    __slots__ = ("_listen", "_tasks", "clock", "lock", "news", "store")

    def __init__(self, clock: Clock, listen: Callable[[GateChange], None] | None, store: SharedStore | None) -> None:
        self.clock = clock
        self.lock = Lock()
        self.news: deque[GateChange] = deque()
        self.store = store
        self._listen = listen
        self._tasks: set[asyncio.Task[Any]] = set()

    def tell(self) -> None:
        """Hand the news on. Not under the lock: whoever listens may ask the gates."""
        while self.news:
            try:
                change = self.news.popleft()
            except IndexError:  # another thread was quicker
                return
            if self._listen is not None:
                self._listen(change)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any] | None":
        """Have `work` done in the background; `None`, and it is not, where no event loop runs."""
        try:
            task = asyncio.get_running_loop().create_task(work)
        except RuntimeError:
            work.close()
            return None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Give what is under way in this event loop a moment, and cancel the rest."""
        loop = asyncio.get_running_loop()
        own = [task for task in self._tasks if task.get_loop() is loop]
        for task in self._tasks.difference(own):
            with suppress(RuntimeError):  # its loop is closed: so is its work
                task.get_loop().call_soon_threadsafe(task.cancel)
        if own:
            _, late = await asyncio.wait(own, timeout=_GRACE)
            for task in late:
                task.cancel()


def key(kind: str, name: str, *parts: str) -> str:
    """What a state is called in the shared store: readable, and different wherever a part is."""
    return f"{kind}:{name}:{blake2b(chr(0).join(parts).encode(), digest_size=8).hexdigest()}"
