"""The one loop of attempts, and the documented classes on top of it, which retry any callable."""

import inspect
import random as _random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.keys import near_names
from llm_call.core.policy.backoff import Backoff
from llm_call.core.policy.breaker import BreakerPolicy
from llm_call.core.policy.decision import Decision, Failed, GiveUp, NextTarget, Policy, Retry
from llm_call.core.policy.onward import Onward
from llm_call.core.policy.retry import RetryPolicy
from llm_call.core.policy.retry_config import DOCUMENTED_JITTER, retry_config
from llm_call.core.state.gates import GatePolicies, Gates, Place
from llm_call.core.transport.base import Clock, SystemClock

T = TypeVar("T")
Chance = Callable[[], float]

_CALLABLE = Place(provider="this", model="callable")
STRATEGIES = ("basic", "immediate", "linear", "exponential", "fibonacci", "custom")


class Turn(Struct, frozen=True, kw_only=True):
    """The attempt that is due: its number from 1, its target's index, and what it waited for."""

    number: int
    target: int
    wait: float = 0.0
    why: str = ""


_FIRST = Turn(number=1, target=0)


def _nowhere(_failed: int, _error: Exception) -> None:
    """There is no other target."""


class AttemptLoop:
    """The loop of attempts, as often as `policy` allows.

    `onward` says which target may be asked after one has failed; without it there is but one. `may_retry` is asked
    before the target with the given index is asked again after an error: there may be no retry left for it. What is no
    `failure` passes at once.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        clock: Clock,
        chance: Chance,
        onward: Onward = _nowhere,
        may_retry: Callable[[int, Exception], Awaitable[bool]] | None = None,
        failure: type[Exception] = Exception,
    ) -> None:
        self._policy = policy
        self._failure = failure
        self._clock = clock
        self._chance = chance
        self._onward = onward
        self._may_retry = may_retry
        self._failures: list[Failed] = []
        self._turn = _FIRST

    async def run(self, attempt: Callable[[Turn], Awaitable[T]]) -> T:
        """What `attempt` gives.

        Raises:
            Exception: What the last attempt raised. Cancellation passes at once.
        """
        while True:
            try:
                return await attempt(self._turn)
            except self._failure as error:
                failed = error
            await self.failed(failed)

    async def failed(self, error: Exception) -> None:
        """The attempt has failed, or what it gave did not last: wait for the next one.

        Raises:
            Exception: `error`, where there is none.
        """
        target, now = self._turn.target, self._clock.now()
        self._failures.append(Failed(target=target, error=error, at=now))
        decision = await self._decided(self._onward(target, error), now, self._chance())
        if isinstance(decision, GiveUp):
            raise error
        self._turn = _turn(decision, self._turn)
        await self._clock.sleep(self._turn.wait)

    async def _decided(self, onward: int | None, now: float, chance: float) -> Decision:
        decision = self._policy.decide(self._failures, onward=onward, now=now, chance=chance)
        if not isinstance(decision, Retry) or self._may_retry is None:
            return decision
        if await self._may_retry(self._turn.target, self._failures[-1].error):
            return decision
        return self._policy.decide(self._failures, onward=onward, now=now, chance=chance, affordable=False)


def _turn(decision: Retry | NextTarget, last: Turn) -> Turn:
    if isinstance(decision, Retry):
        return Turn(number=last.number + 1, target=last.target, wait=decision.delay, why=decision.why)
    return Turn(number=last.number + 1, target=decision.target, why=decision.why)


class _CallableRetry:
    """Retries any callable, synchronous or not, under one `policy`, which is data and can be printed.

    `breaker`, where there is one, is of this object: all its calls share it.
    """

    def __init__(
        self, policy: RetryPolicy, clock: Clock | None, random: Chance | None, breaker: BreakerPolicy | None = None
    ) -> None:
        self.policy = replace(policy, waits_for_breaker=False)
        self.breaker = breaker
        self._clock = clock or SystemClock()
        self._gates = Gates(GatePolicies(breaker=breaker), clock=self._clock) if breaker else None
        self._chance = random or _random.random

    async def execute(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What `func(*args, **kwargs)` returns, awaited where it is awaitable.

        Raises:
            Exception: What the last attempt raised, unchanged. Programming errors (TypeError, KeyError, ...),
                permission errors and cancellation are raised at once.
            CircuitOpenError: The breaker is open; nothing was called. Raised at once, with `retry_after`.
        """

        async def attempt(_turn: Turn) -> Any:
            result = func(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        guarded = attempt if self._gates is None else _guarded(attempt, self._gates, self._clock)
        return await AttemptLoop(self.policy, clock=self._clock, chance=self._chance).run(guarded)


def _guarded(attempt: Callable[[Turn], Awaitable[Any]], gates: Gates, clock: Clock) -> Callable[[Turn], Awaitable[Any]]:
    """`attempt` behind a breaker."""

    async def guarded(turn: Turn) -> Any:
        with await gates.enter(_CALLABLE) as permit:
            started = clock.now()
            try:
                result = await attempt(turn)
            except Exception as error:
                permit.failed(error, clock.now() - started)
                raise
            permit.succeeded(clock.now() - started, {})
            return result

    return guarded


class ExponentialBackoffRetry(_CallableRetry):
    """Retries with delays of `base_delay` times 1, 2, 4, ... seconds, each times 0.5..1.5 with `jitter`.

    No delay is longer than `max_delay`: the cap comes last. `clock` and `random` (0..1) replace time and chance.
    `breaker` is shared by all calls of this object.

    Raises:
        ConfigError: `max_attempts` is below 1 or a delay is negative.
    """

    def __init__(
        self,
        max_attempts: int = 3,
        base_delay: float = 1.0,
        max_delay: float = 60.0,
        jitter: bool = True,  # noqa: FBT001, FBT002  (the documented signature)
        *,
        breaker: BreakerPolicy | None = None,
        clock: Clock | None = None,
        random: Chance | None = None,
    ) -> None:
        backoff = Backoff(base=base_delay, cap=max_delay, jitter=DOCUMENTED_JITTER if jitter else None)
        super().__init__(RetryPolicy(max_attempts=max_attempts, backoff=backoff), clock, random, breaker)


class RetryManager(_CallableRetry):
    """Retries by the name of a strategy: basic, immediate, linear, exponential, fibonacci or custom.

    The other keywords are those of `retry_config`: max_attempts, base_delay, max_delay, jitter, factor, delays,
    enable_circuit_breaker, circuit_breaker_config, ... All calls of one manager share its breaker.

    Raises:
        ConfigError: The strategy or a keyword is unknown, or a value cannot be.
    """

    def __init__(
        self, strategy: str = "exponential", *, clock: Clock | None = None, random: Chance | None = None, **kwargs: Any
    ) -> None:
        if strategy not in STRATEGIES:
            near = near_names(strategy, STRATEGIES) or STRATEGIES
            raise ConfigError(f"unknown retry strategy {strategy!r}", hint=f"Did you mean {' or '.join(near)}?")
        config = retry_config({**kwargs, "strategy": strategy})
        super().__init__(config.policy(), clock, random, config.breaker())
