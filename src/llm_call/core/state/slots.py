"""Places for calls under way, and the queue of those that wait for one: first come, first served, while it keeps moving.

A queue whose first call has waited for half of what it can stands: it holds more than will be answered in time, and in
turn each would go out when nearly all of its time is gone. So the newest goes first then, and what the place can do goes to
calls that can still use it (adaptive LIFO: B. Maurer, "Fail at Scale", ACM Queue 13(8), 2015).

A place is handed over by whoever frees it, also to another event loop or thread; one that is handed to a waiter which
was cancelled meanwhile goes on to the next.
"""

import asyncio
from collections import OrderedDict
from math import inf
from threading import Lock

from llm_call.core.policy.limits import Concurrency, ConcurrencyPolicy
from llm_call.core.state.common import Clock

_IN_TURN = 0.5  # of its patience, for which a call waits in turn


class _Waiter:
    __slots__ = ("_future", "_loop", "granted", "in_turn_until")

    def __init__(self, in_turn_until: float) -> None:
        self.in_turn_until = in_turn_until
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] = self._loop.create_future()
        self.granted = False

    async def wait(self, seconds: float | None) -> None:
        async with asyncio.timeout(seconds):
            await self._future

    def grant(self) -> bool:
        """Wake it; false if its event loop is gone, and it with it."""
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            return False
        self.granted = True
        return True

    def _wake(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


class Slots:
    """The places of one gate. Everything but `wait` is called under the lock."""

    __slots__ = ("_clock", "_queue", "_sizes", "started", "under_way")

    def __init__(self, policy: ConcurrencyPolicy, clock: Clock) -> None:
        self._clock = clock
        self.under_way = 0
        self.started = 0
        self._sizes = Concurrency(policy)
        self._queue: OrderedDict[_Waiter, None] | None = None  # made when first needed: most gates never do

    @property
    def limit(self) -> float:
        """How many calls may be under way at a time; infinite where nothing limits them."""
        return self._sizes.limit

    @property
    def is_idle(self) -> bool:
        """Whether no call is under way or waits."""
        return not self.under_way and not self._queue

    def take(self) -> bool:
        """Take a place, if one is free: then nobody waits for it, since whoever frees one hands it over."""
        if not self._has_room():
            return False
        self.under_way += 1
        return True

    async def wait(self, lock: Lock, seconds: float) -> None:
        """Take a place, for which it waits `seconds` at the most (which may be infinite).

        Raises:
            TimeoutError: It did not get one.
        """
        waiter = _Waiter(self._clock.now() + _IN_TURN * seconds)
        with lock:
            if self.take():
                return
            if self._queue is None:
                self._queue = OrderedDict()
            self._queue[waiter] = None
        try:
            await waiter.wait(None if seconds == inf else seconds)
        except BaseException as error:
            with lock:
                if not waiter.granted:
                    self._queue.pop(waiter, None)
                    raise
                if isinstance(error, TimeoutError):
                    return  # it came in the last moment
                self.give_back()
            raise

    def number(self) -> int:
        """The number of the call that starts now."""
        self.started += 1
        return self.started

    def give_back(self) -> None:
        """A call has ended."""
        self.under_way -= 1
        if self._queue:
            self._wake()

    def succeeded(self, now: float) -> None:
        """A call was answered; its place is given back next."""
        self._sizes.succeeded(self.under_way, now)

    def throttled(self, number: int, now: float) -> bool:
        """The `number`-th call that was started met a rate limit. Whether there are fewer places now."""
        return self._sizes.throttled(number, self.started, self.under_way, now)

    def _has_room(self) -> bool:
        # A limit of 1.5 is one place; below 1 it never falls.
        return self.under_way + 1 <= self._sizes.limit

    def _wake(self) -> None:
        now = self._clock.now()
        while self._queue and self._has_room():
            stands = now > next(iter(self._queue)).in_turn_until
            waiter, _ = self._queue.popitem(last=stands)
            self.under_way += waiter.grant()
