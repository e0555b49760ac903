"""The one loop of attempts, and the documented classes on top of it, which retry any callable."""

import inspect
import random as _random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.keys import near_names
from llm_call.core.policy.backoff import Backoff
from llm_call.core.policy.breaker import BreakerPolicy
from llm_call.core.policy.decision import Failed, GiveUp, Policy, Retry
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


async def run_attempts(
    policy: Policy,
    attempt: Callable[[Turn], Awaitable[T]],
    *,
    clock: Clock,
    chance: Chance,
    targets: int = 1,
) -> T:
    """What `attempt` gives, asked as often as `policy` allows.

    Raises:
        Exception: What the last attempt raised. Cancellation passes at once.
    """
    failures: list[Failed] = []
    turn = Turn(number=1, target=0)
    while True:
        try:
            return await attempt(turn)
        except Exception as error:
            failures.append(Failed(target=turn.target, error=error, at=clock.now()))
            next_turn = _next(policy, failures, turn, targets, clock.now(), chance())
            if next_turn is None:
                raise
            turn = next_turn
        await clock.sleep(turn.wait)


def _next(
    policy: Policy, failures: Sequence[Failed], turn: Turn, targets: int, now: float, chance: float
) -> Turn | None:
    decision = policy.decide(failures, targets=targets, now=now, chance=chance)
    if isinstance(decision, GiveUp):
        return None
    if isinstance(decision, Retry):
        return Turn(number=turn.number + 1, target=turn.target, wait=decision.delay, why=decision.why)
    return Turn(number=turn.number + 1, target=turn.target + 1, why=decision.why)


class _CallableRetry:
    """Retries any callable, synchronous or not, under one `policy`, which is data and can be printed.

    `breaker`, where there is one, is of this object: all its calls share it.
    """

    def __init__(
        self, policy: RetryPolicy, clock: Clock | None, random: Chance | None, breaker: BreakerPolicy | None = None
    ) -> None:
        self.policy = policy
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
        return await run_attempts(self.policy, guarded, clock=self._clock, chance=self._chance)


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
