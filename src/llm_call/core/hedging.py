"""A race: a second attempt beside one that is late; the first good outcome wins, the other is cancelled."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def race(
    first: Callable[[], Coroutine[Any, Any, T]],
    second: Callable[[], Coroutine[Any, Any, T]],
    *,
    delay: float,
    may_start: Callable[[], bool],
    is_good: Callable[[T], bool],
    discard: Callable[[T], Awaitable[None]] | None = None,
) -> T:
    """What `first` gives, or `second`, which starts when `first` is not there after `delay` seconds.

    The first that is good counts; where none is, the first that there is. `discard` frees what was not taken.

    Raises:
        Exception: Neither gave anything; what the first raised.
    """
    tasks = [asyncio.create_task(first())]
    try:
        done, _ = await asyncio.wait(tasks, timeout=delay)
        if not done and may_start():
            tasks.append(asyncio.create_task(second()))
        await _until_good(tasks, is_good)
        taken = _best(tasks, is_good)
        await _free([task for task in tasks if task is not taken], discard)
        return taken.result()
    except BaseException:
        await _free(tasks, discard)
        raise


async def _until_good(tasks: list[asyncio.Task[T]], is_good: Callable[[T], bool]) -> None:
    waiting = set(tasks)
    while waiting and not any(_gives(task, is_good) for task in tasks):
        _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)


def _gives(task: asyncio.Task[T], is_good: Callable[[T], bool]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None and is_good(task.result())


def _best(tasks: list[asyncio.Task[T]], is_good: Callable[[T], bool]) -> asyncio.Task[T]:
    def any_answer(_result: T) -> bool:
        return True

    for wanted in (is_good, any_answer):
        for task in tasks:
            if _gives(task, wanted):
                return task
    return tasks[0]


async def _free(tasks: list[asyncio.Task[T]], discard: Callable[[T], Awaitable[None]] | None) -> None:
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if discard is not None and not isinstance(outcome, BaseException):
            await discard(outcome)
