"""A breaker at work: the calls' outcomes go into its window, what follows from them into its phase.

`Circuit` is of this process. `SharedCircuit` keeps the phase in a store too: the window stays here. While it is closed,
no call waits for the store; at most once a second, in the background, it looks whether another process has opened it.
The phase here is by this process's clock, the one in the store by the store's.
"""

import asyncio
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, TypeAlias, TypeVar

from llm_call.core.domain.errors import CircuitOpenError
from llm_call.core.policy.breaker import (
    CLOSED,
    BreakerPolicy,
    Permission,
    Phase,
    Probe,
    Refused,
    Window,
    counts,
    permit,
    probe_failed,
    probe_released,
    probe_succeeded,
    tripped,
    trips,
)
from llm_call.core.policy.outcome import hint
from llm_call.core.state.common import ChangeKind, Common, GateChange

A = TypeVar("A")
Step: TypeAlias = Callable[[Phase, float], tuple[Phase, A]]

_LEASE = 900.0  # seconds; only a net here, since this process says what came of its probes
_SHARED_LEASE = 120.0  # seconds; the process of a probe may have died
_LOOK_EVERY = 1.0
_EXPIRES = 7200.0  # longer than anything stays open
_KINDS: Mapping[str, ChangeKind] = {"open": "opened", "half_open": "probing", "closed": "closed"}
_ELSEWHERE = "another process found it so"


class Circuit:
    """One breaker. Everything but `admit` is called under the lock of `common`."""

    __slots__ = ("_common", "_name", "_window", "phase", "policy")

    def __init__(self, common: Common, name: str, policy: BreakerPolicy) -> None:
        self.policy = policy
        self.phase = CLOSED
        self._common = common
        self._name = name
        self._window = Window(policy.window)

    def refusal(self, now: float) -> CircuitOpenError | None:
        """Why a call need not wait for anything else; nothing is taken."""
        _, permission = permit(self.phase, self.policy, now, _LEASE)
        return self._refused(permission.until - now) if isinstance(permission, Refused) else None

    async def admit(self) -> float | None:
        """Let a call through; the lease of the probe that it is, if it is one.

        Raises:
            CircuitOpenError: Not now.
        """
        with self._common.lock:
            now = self._common.clock.now()
            phase, permission = permit(self.phase, self.policy, now, _LEASE)
            self._become(phase, "it is tried again")
        self._common.tell()
        return self._admitted(permission, now)

    def succeeded(self, seconds: float, lease: float | None, now: float) -> None:
        """A call was answered, after `seconds`."""
        slow = self.policy.slow_seconds is not None and seconds > self.policy.slow_seconds
        if lease is not None:
            self._probed(lease, "a probe was slow" if slow else None, 0.0)
        elif self.phase.state == "closed":
            self._window.add("slow" if slow else "ok", now)
            if slow:
                self._judge(now, 0.0)

    def failed(self, error: Exception, lease: float | None, now: float) -> None:
        """A call failed. What does not count proves nothing."""
        if not counts(error, self.policy.excluded):
            self.released(lease)
        elif lease is not None:
            self._probed(lease, f"a probe failed: {type(error).__name__}", hint(error))
        elif self.phase.state == "closed":
            self._window.add("failed", now)
            self._judge(now, hint(error))
        elif hint(error):
            self._trip("the server asks for more time", hint(error))

    def released(self, lease: float | None) -> None:
        """A call ended and proved nothing."""
        if lease is not None:
            self._do(lambda phase, _now: (probe_released(phase, lease), None), "")

    def look(self, now: float) -> None:
        """See what others have found, now and then."""

    def _judge(self, now: float, wait: float) -> None:
        why = trips(self._window, self.policy) if self.policy.enabled else None
        if why is not None:
            self._become(tripped(self.phase, self.policy, now, wait), why)

    def _trip(self, why: str, wait: float) -> None:
        self._do(lambda phase, now: (tripped(phase, self.policy, now, wait), None), why)

    def _probed(self, lease: float, fault: str | None, wait: float) -> None:
        if fault is None:
            self._do(lambda phase, _now: (probe_succeeded(phase, self.policy, lease), None), "its probes succeeded")
        else:
            self._do(lambda phase, now: (probe_failed(phase, self.policy, lease, now, wait), None), fault)

    def _do(self, step: Step[None], why: str) -> None:
        self._become(step(self.phase, self._common.clock.now())[0], why)

    def _become(self, phase: Phase, why: str) -> None:
        before, self.phase = self.phase, phase
        if before.state == phase.state:
            return
        if phase.state == "closed":
            self._window.clear()
        seconds = phase.until - self._common.clock.now() if phase.state == "open" else None
        self._common.news.append(GateChange(kind=_KINDS[phase.state], place=self._name, why=why, seconds=seconds))

    def _admitted(self, permission: Permission, now: float) -> float | None:
        if isinstance(permission, Refused):
            raise self._refused(permission.until - now)
        return permission.lease if isinstance(permission, Probe) else None

    def _refused(self, seconds: float) -> CircuitOpenError:
        return CircuitOpenError(
            f"{self._name} failed too often of late: it is not asked for another {seconds:.3g} s",
            retry_after=seconds,
            hint="Ask again later, or name another model in fallback_models.",
        )


class SharedCircuit(Circuit):
    """One breaker of several processes.

    What is learnt from the store counts only if nothing else was asked of it since: the answers may come in another
    order than the questions. A wrong picture lasts for a second at the most.
    """

    __slots__ = ("_busy", "_key", "_looked", "_question")

    def __init__(self, common: Common, name: str, policy: BreakerPolicy, key: str) -> None:
        super().__init__(common, name, policy)
        self._key = key
        self._busy = 0
        self._question = 0
        self._looked = -inf

    def refusal(self, now: float) -> CircuitOpenError | None:
        """As of the circuit here, while it is open; who is half-open has to ask the store."""
        return super().refusal(now) if self.phase.state == "open" else None

    async def admit(self) -> float | None:
        """Let a call through: by what is known here while it is closed, else as the store says."""
        with self._common.lock:
            if self.phase.state == "closed":
                return None
            asked = self._ask(lambda phase, now: permit(phase, self.policy, now, _SHARED_LEASE), "it is tried again")
        assert asked is not None  # noqa: S101  (a coroutine runs in a loop)
        try:
            permission, now = await asyncio.shield(asked)
        except asyncio.CancelledError:
            asked.add_done_callback(self._unwanted)
            raise
        return self._admitted(permission, now)

    def look(self, now: float) -> None:
        """See what others have found: in the background, once a second at the most, and not while a change is on its way."""
        if now < self._looked + _LOOK_EVERY or self._busy:
            return
        self._looked = now
        self._spawn(self._read(self._question + 1))

    def _judge(self, now: float, wait: float) -> None:
        super()._judge(now, wait)
        if self.phase.state == "open":
            self._trip("", wait)

    def _do(self, step: Step[None], why: str) -> None:
        self._ask(step, why)

    def _ask(self, step: Step[Any], why: str) -> "asyncio.Task[Any] | None":
        return self._spawn(self._update(self._question + 1, step, why))

    def _spawn(self, work: Any) -> "asyncio.Task[Any] | None":
        task = self._common.spawn(work)
        if task is not None:
            self._question += 1
            self._busy += 1
            task.add_done_callback(self._answered)
        return task

    def _answered(self, _task: "asyncio.Task[Any]") -> None:
        with self._common.lock:
            self._busy -= 1

    async def _update(self, question: int, step: Step[A], why: str) -> tuple[A, float]:
        assert self._common.store is not None  # noqa: S101  (a shared circuit has one)
        here, asked_at = self.phase, self._common.clock.now()

        def change(stored: Phase | None, now: float) -> tuple[Phase, tuple[Phase, A, float]]:
            # A store that knows nothing, or is only the substitute of one that is away, goes on from what is known here.
            after, answer = step(here.shifted(now - asked_at) if stored is None else stored, now)
            return after, (after, answer, now)

        after, answer, now = await self._common.store.update(self._key, Phase, change, expires=_EXPIRES)
        self._learn(question, after, now, why)
        return answer, now

    async def _read(self, question: int) -> None:
        assert self._common.store is not None  # noqa: S101  (a shared circuit has one)
        stored, now = await self._common.store.read(self._key, Phase)
        if stored is not None:
            self._learn(question, stored, now, _ELSEWHERE)

    def _learn(self, question: int, phase: Phase, now: float, why: str) -> None:
        with self._common.lock:
            if question == self._question:
                self._become(phase.shifted(self._common.clock.now() - now), why or _ELSEWHERE)
        self._common.tell()

    def _unwanted(self, asked: "asyncio.Task[Any]") -> None:
        """A place that came after its call was cancelled goes back."""
        if asked.cancelled() or asked.exception() is not None:
            return
        permission, _ = asked.result()
        if isinstance(permission, Probe):
            with self._common.lock:
                self.released(permission.lease)
