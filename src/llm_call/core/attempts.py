"""One attempt: within the time and the money that are left, inside its span and hooks, signed and sent to one target."""

import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any, TypeVar

from msgspec.structs import replace

from llm_call.core.domain.embedding import Embeddings
from llm_call.core.domain.errors import (
    AttemptTimeoutError,
    BudgetExceededError,
    CircuitOpenError,
    DeadlineExceededError,
    LLMCallError,
    OverloadedError,
    PolicyError,
    RateLimitError,
)
from llm_call.core.domain.response import Response
from llm_call.core.hedging import race
from llm_call.core.hooks import AttemptHook, AttemptScope, entered
from llm_call.core.plan import Plan
from llm_call.core.policy.hedging import LATE, Hedges, HedgingPolicy
from llm_call.core.providers.registry import Target, TransportName
from llm_call.core.record import AttemptSpan, CallRecord
from llm_call.core.retry import AttemptLoop, Chance, Turn
from llm_call.core.state.gates import Gates, Place, place_of
from llm_call.core.transport.base import Clock, Reply, SystemClock, Transport
from llm_call.core.transport.deadline import within
from llm_call.core.wire.base import WireRequest

A = TypeVar("A", Response, Embeddings)
T = TypeVar("T")
_BYTES_A_TOKEN = 4  # of English text, as tokenizers split it
_MOST_PLACES = 1000
Read = Callable[[Target, WireRequest, Reply], Awaitable[A]]


class Attempts:
    """Makes attempts. `transport` gives the transport of a name; `clock` and `chance` replace time and randomness.

    `hooks` are entered around every attempt; `hedging` says when a second target is asked beside a late one;
    `gates` say when an attempt may go out.
    """

    def __init__(
        self,
        transport: Callable[[TransportName], Transport],
        *,
        clock: Clock | None = None,
        chance: Chance | None = None,
        hooks: Sequence[AttemptHook] = (),
        hedging: HedgingPolicy | None = None,
        gates: Gates | None = None,
    ) -> None:
        self.hedges = Hedges(hedging or HedgingPolicy())
        self._transport = transport
        self.clock = clock or SystemClock()
        self.chance = chance or random.random
        self.hooks = tuple(hooks)
        self.gates = gates or Gates(clock=self.clock)
        self._places: dict[int, tuple[Target, Place]] = {}

    def loop(self, plan: Plan, record: CallRecord) -> AttemptLoop:
        """The loop of the attempts of one round."""
        record.begin_round()
        policy = plan.retry if record.deadline is None else replace(plan.retry, deadline=record.deadline)

        async def may_retry(index: int, error: Exception) -> bool:
            if isinstance(error, CircuitOpenError):
                return True  # nothing was sent
            return await self.gates.may_retry(self._place(plan.targets[index]))

        return AttemptLoop(
            policy,
            clock=self.clock,
            chance=self.chance,
            onward=plan.onward,
            may_retry=may_retry,
            failure=LLMCallError,  # anything else is a mistake in a hook or in here: no target can mend it
        )

    def run(self, plan: Plan, record: CallRecord, attempt: Callable[[Turn], Awaitable[T]]) -> Coroutine[Any, Any, T]:
        """What `attempt` gives at one of the plan's targets.

        Raises:
            LLMCallError: None of them answered.
        """
        return summed_up(record, self.loop(plan, record).run(attempt))

    def hedged(
        self,
        plan: Plan,
        ask: Callable[[Plan], Coroutine[Any, Any, T]],
        *,
        streamed: bool,
        is_good: Callable[[T], bool],
        discard: Callable[[T], Awaitable[None]] | None = None,
    ) -> Coroutine[Any, Any, T]:
        """What `ask` gives for `plan`, or for its later targets where the first one is late and hedging is on."""
        if not self.hedges.policy.enabled or len(plan.targets) == 1:
            return ask(plan)
        delay = self.hedges.delay((plan.targets[0].name, streamed))
        if delay is None:
            return ask(plan)
        later = replace(plan, targets=plan.targets[1:])
        return race(
            lambda: ask(plan),
            lambda: ask(later),
            delay=delay,
            may_start=self.hedges.may_hedge,
            is_good=is_good,
            discard=discard,
        )

    async def whole(
        self, plan: Plan, record: CallRecord, turn: Turn, sent: Callable[[Target, int], AttemptScope], read: Read[A]
    ) -> A:
        """What `read` makes of the reply to one request."""
        target, seconds = plan.targets[turn.target], self.room(plan, record, turn, streamed=False)
        with AttemptSpan(record, target, turn, self.clock.now) as span:
            scope = sent(target, span.number)
            seconds = await self.let(plan, record, span, scope, seconds)
            if self.hooks:
                with entered(self.hooks, scope):
                    answer = await in_time(seconds, plan, self._answer(plan, scope, span, read))
                    scope.response = answer if isinstance(answer, Response) else None
            else:
                answer = await in_time(seconds, plan, self._answer(plan, scope, span, read))
            self.hedges.observe((target.name, False), span.answered(answer.usage))
            return answer

    async def let(self, plan: Plan, record: CallRecord, span: AttemptSpan, sent: AttemptScope, seconds: float) -> float:
        """Wait for leave to go out; the seconds that the attempt has then.

        Raises:
            APIError: The call wants to see it fail.
            CircuitOpenError: The breaker of its target is open.
            LocalLimitError: The limits of its target leave no room in time.
        """
        if plan.simulated.primary_down or plan.simulated.rate_limits:
            _simulate(plan, sent)  # before the gate, which would take it for the target's own
        permit = await self.gates.enter(
            self._place(sent.target),
            tokens=len(sent.wire.body) // _BYTES_A_TOKEN + (sent.request.settings.max_output_tokens or 0),
            patience=self._patience(plan, record, sent),
            breaker=plan.breaker,
        )
        if permit.waited:
            try:
                seconds = self.room(plan, record, sent.turn, streamed=sent.call.stream)
            except PolicyError:  # the time went by while it waited: it is not sent
                permit.release()
                raise
        span.let(permit)
        return seconds

    def _patience(self, plan: Plan, record: CallRecord, sent: AttemptScope) -> float:
        """The seconds that an attempt can wait for leave, so that it most likely is answered in time after that.

        Who goes out with too little time left takes the room of one that has enough.
        """
        elsewhere = sent.turn.target + 1 < len(plan.targets)
        longest = plan.retry.patience if elsewhere else plan.retry.longest_wait
        if record.deadline is None:
            return longest
        late = self.hedges.usual((sent.target.name, sent.call.stream), LATE) or 0.0
        return max(min(record.deadline - self.clock.now() - late, longest), 0.0)

    def _place(self, target: Target) -> Place:
        """Where `target` is, for the gates. Targets are few, and asked for often."""
        known = self._places.get(id(target))
        if known is None:
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            endpoint = target.endpoint
            known = target, place_of(target.provider, target.model, endpoint.base_url, endpoint.headers)
            self._places[id(target)] = known
        return known[1]

    async def _answer(self, plan: Plan, sent: AttemptScope, span: AttemptSpan, read: Read[A]) -> A:
        async with await self.open(plan, sent) as reply:
            span.head(reply.headers)
            return await read(sent.target, sent.wire, reply)

    async def open(self, plan: Plan, sent: AttemptScope) -> AbstractAsyncContextManager[Reply]:
        """The reply to a request, which is signed now."""
        target = sent.target
        endpoint = target.endpoint if target.sign is None else await target.sign(target.endpoint, sent.wire)
        return self._transport(target.transport).open(endpoint, sent.wire, plan.timeouts)

    def room(self, plan: Plan, record: CallRecord, turn: Turn, *, streamed: bool) -> float:
        """The seconds that the next attempt may take.

        Raises:
            PolicyError: The budget or the time is used up; or this is not the call's first attempt, and less time is
                left than its target usually takes.
        """
        if limit := record.exceeded():
            raise BudgetExceededError(f"the budget is used up: {limit}", hint="Raise the limit, or ask for less.")
        if record.deadline is None:
            return plan.timeouts.total
        left = record.deadline - self.clock.now()
        if left <= 0:
            raise too_late(plan)
        if turn.number > 1 and left < (self.hedges.usual((plan.targets[turn.target].name, streamed)) or 0.0):
            raise too_late(plan)
        return min(plan.timeouts.total, left)


def _simulate(plan: Plan, sent: AttemptScope) -> None:
    """Fail as the call wants to see it fail.

    Raises:
        APIError: It does.
    """
    if plan.simulated.primary_down and sent.target is plan.targets[0]:
        raise OverloadedError("simulated: the first target is down", status=HTTPStatus.SERVICE_UNAVAILABLE)
    if sent.number <= plan.simulated.rate_limits:
        raise RateLimitError("simulated: too many requests", status=HTTPStatus.TOO_MANY_REQUESTS)


async def summed_up(record: CallRecord, work: Awaitable[T]) -> T:
    """What `work` gives.

    Raises:
        LLMCallError: Its error; where several targets have failed, one that tells of each. That the time or the budget is
            used up has what failed before as its cause.
    """
    try:
        return await work
    except LLMCallError as error:
        if summary := record.failure(error):
            raise summary from error
        if cause := record.cause(error):
            error.rewrite(lambda message: f"{message}; before that: {type(cause).__name__}: {cause.message}")
            raise error from cause
        raise


async def in_time(seconds: float, plan: Plan, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives within `seconds`, which are fewer than an attempt may take where the call's time ends before."""
    try:
        return await within(seconds, work)
    except TimeoutError as error:
        if seconds < plan.timeouts.total:
            raise too_late(plan) from error
        raise AttemptTimeoutError(
            f"no whole answer within {seconds:g} s", hint="Raise the setting timeouts.total."
        ) from error


def too_late(plan: Plan) -> DeadlineExceededError:
    """The error that the call's time is used up."""
    return DeadlineExceededError(f"no answer within {plan.budget.seconds:g} s", hint="Allow more time.")
