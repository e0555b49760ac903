"""What alerts are delivered to: the protocol, and the receivers that live in this process."""

import asyncio
import inspect
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec

from llm_call.core.domain.alert import Alert, Level
from llm_call.core.policy.alerting import Delivery

T = TypeVar("T")

LOGGER = "llm_call.alerts"
"""The logger of alerts, and of what keeps them from being delivered."""
LOG_LEVELS: Mapping[Level, int] = {
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


class Receiver(Protocol):
    """Where alerts go. Safe in any event loop; who calls bounds the time."""

    async def deliver(self, delivery: Delivery) -> None:
        """Hand `delivery` over.

        Raises:
            Exception: It did not arrive, as far as is known.
        """

    async def close(self) -> None:
        """Free what is held."""


class LogReceiver:
    """The logger `llm_call.alerts`, which is not configured here. Records have the alert as `record.alert`, a mapping."""

    async def deliver(self, delivery: Delivery) -> None:
        """Log it in one line, under the level of its name."""
        extra = {"alert": msgspec.to_builtins(delivery.alert)}
        logging.getLogger(LOGGER).log(LOG_LEVELS[delivery.alert.level], "%s", delivery.line, extra=extra)

    async def close(self) -> None:
        """Nothing is held."""


class CallbackReceiver:
    """A function, called with the alert in a thread of its own; what it returns is awaited where that can be awaited.

    It is never in the event loop of the call that the alert is about: to work on what belongs to one, an asynchronous
    function goes there, for example with `asyncio.run_coroutine_threadsafe`.
    """

    def __init__(self, function: Callable[[Alert], Any]) -> None:
        self._function = function

    async def deliver(self, delivery: Delivery) -> None:
        """Call the function."""
        result = await in_thread(partial(self._function, delivery.alert))
        if inspect.isawaitable(result):
            await result

    async def close(self) -> None:
        """Nothing is held."""


class LateReceiver:
    """A receiver that is made by the first delivery, in a thread: making it may open files or ask a keyring for a key."""

    def __init__(self, make: Callable[[], Receiver]) -> None:
        self._make = make
        self._receiver: Receiver | None = None

    async def deliver(self, delivery: Delivery) -> None:
        """Hand it to the receiver.

        Raises:
            ConfigError: The receiver cannot be made; the next delivery tries it again.
        """
        if self._receiver is None:
            self._receiver = await in_thread(self._make)
        await self._receiver.deliver(delivery)

    async def close(self) -> None:
        """Close the receiver; another delivery makes it anew."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            await receiver.close()


async def in_thread(work: Callable[[], T]) -> T:
    """What `work` returns, in a thread of its own, which does not hold up the end of the program as asyncio's would."""
    future: Future[T] = Future()
    threading.Thread(target=_work, args=(work, future), name="llm_call-alert", daemon=True).start()
    return await asyncio.wrap_future(future)


def _work(work: Callable[[], T], future: "Future[T]") -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001  (whatever it is, it belongs to who waits)
        future.set_exception(error)
    else:
        future.set_result(result)
