"""Deadlines for many calls at once on one timer of the event loop.

`asyncio.timeout` makes a timer for each use and cancels it: a tenth of what a call costs. Nearly all calls end long
before their time. So here they only note when that is; the loop's timer is set for the first of them, and when it
rings, those whose time has come are cancelled and it is set anew.

Such a cancellation can be told from one by the caller (`is_late`), so that work which has its answer already, and only
tidies up behind it, may end at once and give it.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class _Call:
    """A call under way: its task, when its time is up, and whether that was told to it."""

    __slots__ = ("cancelling", "late", "task", "until")

    def __init__(self, task: "asyncio.Task[object]", until: float) -> None:
        self.task = task
        self.until = until
        self.cancelling = task.cancelling()
        self.late = False


class _Watch:
    """The calls of one event loop."""

    def __init__(self) -> None:
        self.calls: set[_Call] = set()
        self.late: set[_Call] = set()  # told so, and not yet over
        self._timer: asyncio.TimerHandle | None = None

    def add(self, call: _Call) -> None:
        self.calls.add(call)
        if self._timer is None or call.until < self._timer.when():
            self._set(call.until)

    def _set(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for call in [call for call in self.calls if call.until <= now]:
            self.calls.discard(call)
            call.late = True
            self.late.add(call)
            call.task.cancel()
        if self.calls:
            self._set(min(call.until for call in self.calls))


_watches: dict[asyncio.AbstractEventLoop, _Watch] = {}


def _watch(loop: asyncio.AbstractEventLoop) -> _Watch:
    found = _watches.get(loop)
    if found is None:
        for each in [each for each in _watches if each.is_closed()]:
            del _watches[each]
        found = _watches[loop] = _Watch()
    return found


def is_late() -> bool:
    """Whether the cancellation that has just come means that a time is up around this work, and nobody has left.

    Cancellations of the same moment come as one; the task counts how many were asked for.
    """
    task = asyncio.current_task()
    late = [call for call in _watch(asyncio.get_running_loop()).late if call.task is task]
    return any(call.task.cancelling() <= call.cancelling + len(late) for call in late)


async def within(seconds: float, work: Awaitable[T]) -> T:
    """What `work` gives, also where it was told that its time is up and gave it all the same.

    Raises:
        TimeoutError: It took longer than `seconds`; it was cancelled.
    """
    loop = asyncio.get_running_loop()
    watch = _watch(loop)
    task = asyncio.current_task(loop)
    assert task is not None  # noqa: S101  (a coroutine runs in a task)
    call = _Call(task, loop.time() + seconds)
    watch.add(call)
    try:
        value = await work
    except asyncio.CancelledError as error:
        if call.late and task.uncancel() <= call.cancelling:
            raise TimeoutError from error
        raise
    finally:
        watch.calls.discard(call)
        watch.late.discard(call)
    if call.late and task.uncancel() > call.cancelling:
        raise asyncio.CancelledError  # the caller has left in the same moment: both came as one
    return value
