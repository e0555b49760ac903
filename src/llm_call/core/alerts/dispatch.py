"""Alerts on their way: taken at once, delivered behind the back of the call that they are about.

Deliveries happen on a thread of this module's own, with an event loop of its own. An alert often is the last that a
program says: its loop ends with the error, and a task there would be cancelled before anybody heard of it. So too a
receiver that blocks holds up no call, and code without an event loop can send.
"""

import asyncio
import atexit
import logging
import socket
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from time import monotonic, time
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.alerts.receivers import LOGGER, Receiver, in_thread
from llm_call.core.domain.alert import Alert
from llm_call.core.policy.alerting import Delivery, Rule, State, decide, given_back
from llm_call.core.transport.masking import Secrets

MOST_WAITING = 100
"""Deliveries that wait for one receiver; of more, the oldest are dropped, and counted in the next."""
DELIVERY_SECONDS = 30.0
"""The longest that one delivery may take, with all its tries."""
EXIT_SECONDS = 2.0
"""The longest that the end of a program, or `close`, waits for what is on its way."""

_FAILURES = {LOGGER: Rule(level="error")}


class Subscription(Struct, frozen=True, kw_only=True):
    """A receiver under a name of the user's, and the rule of what it hears of."""

    name: str
    receiver: Receiver
    rule: Rule = Rule()


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of one delivery: how many seconds it took, and why it failed if it did."""

    receiver: str
    seconds: float
    problem: str | None = None


class Alerts:
    """Takes alerts and sees that they are delivered. Safe from any thread and event loop; without subscriptions, idle.

    `secrets` are masked in what is told, beside what looks like a key. `now` replaces the clock of the cooldowns.
    A delivery may take `patience` seconds, with all its tries. `subscriptions` are by name.
    """

    def __init__(
        self,
        subscriptions: Sequence[Subscription] = (),
        *,
        secrets: Secrets | None = None,
        now: Callable[[], float] = monotonic,
        patience: float = DELIVERY_SECONDS,
    ) -> None:
        self.subscriptions: Mapping[str, Subscription] = {each.name: each for each in subscriptions}
        self._rules = {each.name: each.rule for each in subscriptions}
        self._patience = patience
        self._secrets = secrets or Secrets()
        self._now = now
        self._lock = threading.RLock()  # guards all below; never held for long
        self._state: State = {}
        self._failures: State = {}
        self._post: _Post | None = None

    def send(self, alert: Alert) -> None:
        """Have everybody told of `alert` whose rule says so. Returns at once; whatever goes wrong is told to the log."""
        alert = _dated(alert)
        with self._lock:
            self._state, deliveries = decide(self._rules, self._state, alert, self._now())
            if deliveries:
                self._hand_over(deliveries)

    async def try_out(self, alert: Alert, receiver: str) -> Outcome:
        """Deliver `alert` to `receiver` now, whatever its rule says, and tell what came of it."""
        return await self._tried(Delivery(receiver=receiver, alert=_dated(alert)))

    async def drain(self, seconds: float = EXIT_SECONDS) -> bool:
        """Wait until everything is delivered or has failed; whether that was so within `seconds`."""
        idle = self._idle()
        if idle is None:
            return True
        waiting = asyncio.wrap_future(idle)
        await asyncio.wait([waiting], timeout=seconds)
        waiting.cancel()
        return not waiting.cancelled()

    async def close(self, seconds: float = EXIT_SECONDS) -> None:
        """Drain, and free what is held. What is not delivered within `seconds` is told to the log.

        It may be sent to again, and is to be closed again then.
        """
        await self.drain(seconds)
        ended = self._stop()
        if ended is not None:
            await asyncio.wait([asyncio.wrap_future(ended)], timeout=EXIT_SECONDS)
        for each in self.subscriptions.values():
            await each.receiver.close()

    def _hand_over(self, deliveries: Sequence[Delivery]) -> None:
        try:
            post = self._running()
        except RuntimeError as error:  # threads are no longer started when the interpreter ends
            for each in deliveries:
                self._tell_failure(each, str(error))
            return
        for each in deliveries:
            if dropped := post.put(each):
                self._state = given_back(self._state, dropped)

    def _running(self) -> "_Post":
        if self._post is None or not self._post.is_alive():  # a forked process has no thread
            self._post = _Post(self._deliver)
            atexit.register(self._at_exit)
        return self._post

    async def _deliver(self, delivery: Delivery) -> None:
        problem = (await self._tried(delivery)).problem
        if problem is not None:
            with self._lock:
                self._state = given_back(self._state, delivery)
            self._tell_failure(delivery, problem)

    async def _tried(self, delivery: Delivery) -> Outcome:
        limit, started, problem = asyncio.timeout(self._patience), monotonic(), None
        try:
            async with limit:
                await self.subscriptions[delivery.receiver].receiver.deliver(_masked(delivery, self._secrets))
        except Exception as error:  # noqa: BLE001  (a receiver may be anybody's code, and no call fails with it)
            said = f"it took longer than {self._patience:g} s" if limit.expired() else _said(error)
            problem = self._secrets.text(said)
        return Outcome(receiver=delivery.receiver, seconds=monotonic() - started, problem=problem)

    def _tell_failure(self, delivery: Delivery, problem: str) -> None:
        """Log it, with the alert that would be lost otherwise; within the cooldown only count it."""
        missed = _masked(delivery, self._secrets).line
        failure = Alert(
            level="error",
            kind="receiver_failed",
            subject=delivery.receiver,
            message=f"{problem}. It was to be told: {missed}",
        )
        with self._lock:
            self._failures, told = decide(_FAILURES, self._failures, failure, self._now())
        for each in told:
            logging.getLogger(LOGGER).error("%s", each.line)

    def _idle(self) -> "Future[None] | None":
        """Done when everything is delivered; `None` when nothing is on its way."""
        with self._lock:
            post = self._post
        return post.idle() if post is not None and post.is_alive() else None

    def _stop(self) -> "Future[None] | None":
        """Stop delivering; done when the thread has ended."""
        with self._lock:
            post, self._post = self._post, None
        if post is None or not post.is_alive():
            return None
        atexit.unregister(self._at_exit)
        for name, count in post.left().items():
            logging.getLogger(LOGGER).error("%s: alerts that were not delivered in time: %d", name, count)
        return post.stop()

    def _at_exit(self) -> None:
        if (idle := self._idle()) is not None:
            with suppress(TimeoutError):
                idle.result(EXIT_SECONDS)
        if (ended := self._stop()) is not None:
            with suppress(TimeoutError):
                ended.result(EXIT_SECONDS)


class _Loop(asyncio.SelectorEventLoop):
    """Looks names up in threads of ours: asyncio's own are refused as soon as the program begins to end."""

    async def getaddrinfo(
        self,
        host: str | bytes | None,
        port: str | bytes | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002  (asyncio's name for it)
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        return await in_thread(partial(socket.getaddrinfo, host, port, family, type, proto, flags))


class _Post:
    """A thread with an event loop; for each receiver what waits for it, and the one task that delivers it.

    Raises:
        RuntimeError: No thread can be started.
    """

    def __init__(self, deliver: Callable[[Delivery], Coroutine[Any, Any, None]]) -> None:
        self._deliver = deliver
        self._waiting: defaultdict[str, deque[Delivery]] = defaultdict(deque)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._ended: Future[None] = Future()
        self._loop = _Loop()
        self._thread = threading.Thread(target=self._run, name="llm_call-alerts", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._loop.close()
            raise

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def put(self, delivery: Delivery) -> Delivery | None:
        """Have `delivery` delivered. Gives the oldest that waits, which is not any more, where too many do."""
        waiting = self._waiting[delivery.receiver]
        dropped = waiting.popleft() if len(waiting) >= MOST_WAITING else None
        waiting.append(delivery)
        self._loop.call_soon_threadsafe(self._wake, delivery.receiver)
        return dropped

    def idle(self) -> "Future[None]":
        """Done when nothing waits and no task is at work."""
        return asyncio.run_coroutine_threadsafe(self._all_done(), self._loop)

    def left(self) -> dict[str, int]:
        """How many alerts wait, or are being delivered, by receiver."""
        waiting = {name: sum(each.count for each in tuple(queue)) for name, queue in self._waiting.items()}
        found = {name: count + (name in self._tasks) for name, count in waiting.items()}
        return {name: count for name, count in found.items() if count}

    def stop(self) -> "Future[None]":
        """End the thread, with what it is at; done when it has."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        return self._ended

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._stopping.wait())
        self._ended.set_result(None)

    def _wake(self, receiver: str) -> None:
        if receiver not in self._tasks:
            self._tasks[receiver] = self._loop.create_task(self._work(receiver))

    async def _work(self, receiver: str) -> None:
        waiting = self._waiting[receiver]
        try:
            while waiting:
                await self._deliver(waiting.popleft())
        finally:
            del self._tasks[receiver]

    async def _all_done(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks.values())


def _dated(alert: Alert) -> Alert:
    return alert if alert.at is not None else replace(alert, at=time())


def _masked(delivery: Delivery, secrets: Secrets) -> Delivery:
    alert = delivery.alert
    facts = {name: secrets.text(fact) if isinstance(fact, str) else fact for name, fact in alert.facts.items()}
    shown = replace(alert, message=secrets.text(alert.message), subject=secrets.text(alert.subject), facts=facts)
    return replace(delivery, alert=shown)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
