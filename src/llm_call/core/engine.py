"""A call, carried out: rounds of question and judgement, each of attempts at targets, within one budget.

Everything that happens is written into one record. The loop of attempts is `retry.run_attempts`; what follows a
failure is decided by the policies; how a request looks on the wire is the codec's business, how it travels is the
transport's.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, aclosing, asynccontextmanager
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.cache import CacheSlot, Caching, slot_of
from llm_call.core.domain.bill import Pricing, known_price
from llm_call.core.domain.embedding import EmbeddingRequest, Embeddings
from llm_call.core.domain.errors import (
    AttemptTimeoutError,
    BudgetExceededError,
    DeadlineExceededError,
    LLMCallError,
    PolicyError,
)
from llm_call.core.domain.events import Event
from llm_call.core.domain.request import Request
from llm_call.core.domain.response import Response
from llm_call.core.domain.result import Result
from llm_call.core.domain.trace import Skipped
from llm_call.core.exchange import encode, encode_embedding, noted, read_embeddings, streamed, whole
from llm_call.core.hooks import AttemptHook, AttemptScope, CallHook, CallScope, entered
from llm_call.core.live import LiveAnswer
from llm_call.core.policy.budget import Budget
from llm_call.core.policy.retry import RetryPolicy
from llm_call.core.providers.registry import Target, TransportName
from llm_call.core.record import AttemptSpan, CallRecord, Observer
from llm_call.core.retry import Chance, Turn, run_attempts
from llm_call.core.routes import Order
from llm_call.core.transport.base import Clock, Reply, SystemClock, Timeouts, Transport
from llm_call.core.transport.deadline import within
from llm_call.core.validation.base import Answer, Context, Validator
from llm_call.core.validation.judging import Judgement, judge
from llm_call.core.validation.reask import fingerprint, reask
from llm_call.core.wire.base import WireRequest

A = TypeVar("A", Response, Embeddings)
T = TypeVar("T")
Read = Callable[[Target, WireRequest, Reply], Awaitable[A]]


class Plan(Struct, frozen=True, kw_only=True):
    """Everything that one call needs, checked before its first byte.

    `targets` are tried in order; where `order` is given, in the one that it gives for each call. `skipped` are those
    that cannot take the request. `rounds` bounds how often the model is asked in all when its answers are rejected.
    `timeouts` bound one attempt, the budget's seconds the whole call. `strict` refuses a request that the target's
    dialect cannot express in full, instead of noting what was left out.
    """

    model: str
    request: Request
    targets: tuple[Target, ...]
    skipped: tuple[Skipped, ...] = ()
    order: Order | None = None
    validators: tuple[Validator, ...] = ()
    retry: RetryPolicy = RetryPolicy()
    budget: Budget = Budget()
    rounds: int = 3
    timeouts: Timeouts = Timeouts()
    strict: bool = False
    stream: bool = False
    caching: Caching | None = None

    @property
    def checks(self) -> tuple[str, ...]:
        """The names of what is checked on the answer; empty when nothing is."""
        output = self.request.output
        form = () if output is None else ("json" if output.schema is None else "schema",)
        return (*form, *(validator.name for validator in self.validators))


class Engine:
    """Carries out plans.

    `transport` gives the transport of a name; `clock` and `chance` replace time and randomness; `pricing` knows what a
    charge comes to; the hooks are entered around every call and around every attempt; `observe` hears what came of
    each attempt.
    """

    def __init__(
        self,
        transport: Callable[[TransportName], Transport],
        *,
        clock: Clock | None = None,
        chance: Chance | None = None,
        pricing: Pricing = known_price,
        call_hooks: Sequence[CallHook] = (),
        attempt_hooks: Sequence[AttemptHook] = (),
        observe: Observer | None = None,
    ) -> None:
        self._transport = transport
        self._pricing = pricing
        self._call_hooks = tuple(call_hooks)
        self._attempt_hooks = tuple(attempt_hooks)
        self._clock = clock or SystemClock()
        self._chance = chance or random.random
        self._observe = observe

    async def execute(self, plan: Plan) -> Result[Any]:
        """What the call comes to. A rejected answer is a result too: its `ok` is false.

        Raises:
            LLMCallError: There is no answer; the error's trace tells what was tried.
        """
        plan, record = self._ordered(plan), self._record(plan)
        scope = CallScope(plan.model, plan.request, stream=False)
        try:
            if self._call_hooks or plan.caching:
                return await self._surrounded(plan, record, scope)
            return await self._rounds(plan, record, scope)
        except LLMCallError as error:
            self._add_trace(error, record)
            raise

    async def _surrounded(self, plan: Plan, record: CallRecord, scope: CallScope) -> Result[Any]:
        """The rounds, inside the hooks and behind the cache."""
        with entered(self._call_hooks, scope):
            plan = _hooked(plan, scope)
            slot = _slot(plan)
            result = await self._hit(plan, record, slot)
            if result is None:
                result = await _kept(slot, await self._rounds(plan, record, scope))
            scope.result = result
        return result

    async def _rounds(self, plan: Plan, record: CallRecord, scope: CallScope) -> Result[Any]:
        response, judgement = await self._round(plan, record, scope, plan.request)
        while not judgement.ok and record.rounds < plan.rounds:
            before = fingerprint(judgement.verdicts)
            request = reask(plan.request, answer=response.text, verdicts=judgement.verdicts, chance=self._chance())
            try:
                response, judgement = await self._round(plan, record, scope, request)
            except PolicyError:
                break  # the time or the money is used up: the rejected answer is what there is
            if fingerprint(judgement.verdicts) == before:
                break  # the same mistake again: asking the same way once more is idle
        return record.result(response, judgement, self._clock.now())

    async def embed(self, plan: Plan, dimensions: int | None) -> Result[Embeddings]:
        """The texts of the plan's messages as vectors, of the model's own length or with so many `dimensions`.

        Raises:
            LLMCallError: There is no answer; the error's trace tells what was tried.
        """
        plan, record = self._ordered(plan), self._record(plan)
        scope = CallScope(plan.model, plan.request, stream=False)
        try:
            with entered(self._call_hooks, scope):
                found = await self._embedded(_hooked(plan, scope), record, scope, dimensions)
                response = Response(model=found.model, usage=found.usage)
                judgement = Judgement(ok=True, value=found, verdicts=())
                record.end_round("embed", response, judgement)
                scope.result = result = record.result(response, judgement, self._clock.now())
        except LLMCallError as error:
            self._add_trace(error, record)
            raise
        return result

    async def _embedded(self, plan: Plan, record: CallRecord, scope: CallScope, dimensions: int | None) -> Embeddings:
        texts = tuple(message.text for message in plan.request.messages)

        async def attempt(turn: Turn) -> Embeddings:
            def sent(target: Target) -> AttemptScope:
                asked = EmbeddingRequest(model=target.model, texts=texts, dimensions=dimensions)
                wire = encode_embedding(target, asked)
                return AttemptScope(record.attempts + 1, target, wire, call=scope, request=plan.request, turn=turn)

            return await self._attempt(plan, record, turn, sent, read_embeddings(len(texts)))

        return await self._attempts(plan, record, attempt)

    @asynccontextmanager
    async def stream(self, plan: Plan) -> AsyncIterator[LiveAnswer]:
        """The answer as it arrives.

        Until its first event, retries and other targets are free; after it, an error is the caller's. Leaving the
        context closes the request at the peer. A rejected answer is not asked for again: the caller has seen it.

        Raises:
            LLMCallError: There is no answer; the error's trace tells what was tried.
        """
        plan, record = self._ordered(plan), self._record(plan)
        scope = CallScope(plan.model, plan.request, stream=True)
        try:
            with entered(self._call_hooks, scope):
                plan = _hooked(plan, scope)
                slot = _slot(plan)
                scope.result = hit = await self._hit(plan, record, slot)
                if hit is not None:
                    yield LiveAnswer.of(hit)
                    return
                async with self._live(plan, record, scope, slot) as live:
                    yield live
        except LLMCallError as error:
            self._add_trace(error, record)
            raise

    @asynccontextmanager
    async def _live(
        self, plan: Plan, record: CallRecord, scope: CallScope, slot: CacheSlot | None
    ) -> AsyncIterator[LiveAnswer]:
        async def attempt(turn: Turn) -> tuple[AsyncExitStack, LiveAnswer]:
            target, seconds = plan.targets[turn.target], self._room(plan, record)
            async with AsyncExitStack() as stack:
                ending = stack.enter_context(ExitStack())  # left with the attempt, which may be before its context
                span = ending.enter_context(AttemptSpan(record, target, turn, self._clock.now))
                wire = encode(target, plan.request, stream=True, strict=plan.strict)
                sent = AttemptScope(record.attempts + 1, target, wire, call=scope, request=plan.request, turn=turn)
                ending.enter_context(entered(self._attempt_hooks, sent))
                first, events = await _within(seconds, plan, self._begin(plan, sent, record.deadline, stack))
                sent.first_event = span.heard()

                async def finish(response: Response) -> Result[Any]:
                    sent.response = response = noted(response, sent.wire)
                    span.answered(response.usage)
                    ending.close()
                    judgement = self._judge(plan, record, response)
                    scope.result = await _kept(slot, record.result(response, judgement, self._clock.now()))
                    return scope.result

                def fail(error: LLMCallError) -> None:
                    ending.__exit__(type(error), error, error.__traceback__)

                return stack.pop_all(), LiveAnswer(first, events, finish, fail)

        stack, live = await self._attempts(plan, record, attempt)
        async with stack:
            yield live

    async def _begin(
        self, plan: Plan, sent: AttemptScope, deadline: float | None, stack: AsyncExitStack
    ) -> tuple[Event, AsyncIterator[Event]]:
        """The first event of a stream, and the others; `stack` closes it."""
        reply = await stack.enter_async_context(await self._open(plan, sent))
        events = self._timed(streamed(sent.target, reply), deadline)
        await stack.enter_async_context(aclosing(events))
        return await anext(events), events

    def _ordered(self, plan: Plan) -> Plan:
        return replace(plan, targets=plan.order(self._chance, self._clock.now())) if plan.order else plan

    def _record(self, plan: Plan) -> CallRecord:
        now = self._clock.now()
        return CallRecord(plan.model, plan.budget, now, self._pricing, skipped=plan.skipped, observe=self._observe)

    async def _round(
        self, plan: Plan, record: CallRecord, scope: CallScope, request: Request
    ) -> tuple[Response, Judgement]:
        async def attempt(turn: Turn) -> Response:
            def sent(target: Target) -> AttemptScope:
                wire = encode(target, request, stream=plan.stream or target.profile.stream_only, strict=plan.strict)
                return AttemptScope(record.attempts + 1, target, wire, call=scope, request=request, turn=turn)

            return await self._attempt(plan, record, turn, sent, whole)

        response = await self._attempts(plan, record, attempt)
        return response, self._judge(plan, record, response)

    async def _attempt(
        self, plan: Plan, record: CallRecord, turn: Turn, sent: Callable[[Target], AttemptScope], read: Read[A]
    ) -> A:
        target, seconds = plan.targets[turn.target], self._room(plan, record)
        with AttemptSpan(record, target, turn, self._clock.now) as span:
            scope = sent(target)
            if self._attempt_hooks:
                with entered(self._attempt_hooks, scope):
                    answer = await _within(seconds, plan, self._answer(plan, scope, read))
                    scope.response = answer if isinstance(answer, Response) else None
            else:
                answer = await _within(seconds, plan, self._answer(plan, scope, read))
            span.answered(answer.usage)
            return answer

    async def _answer(self, plan: Plan, sent: AttemptScope, read: Read[A]) -> A:
        async with await self._open(plan, sent) as reply:
            return await read(sent.target, sent.wire, reply)

    async def _attempts(self, plan: Plan, record: CallRecord, attempt: Callable[[Turn], Awaitable[T]]) -> T:
        record.begin_round()
        policy = plan.retry if record.deadline is None else replace(plan.retry, deadline=record.deadline)
        try:
            return await run_attempts(
                policy, attempt, clock=self._clock, chance=self._chance, targets=len(plan.targets)
            )
        except LLMCallError as error:
            if summary := record.failure(error):
                raise summary from error
            raise

    def _judge(self, plan: Plan, record: CallRecord, response: Response) -> Judgement:
        judgement = _judged(plan, record.rounds + 1, response)
        record.end_round("reask" if record.rounds else "ask", response, judgement)
        return judgement

    async def _hit(self, plan: Plan, record: CallRecord, slot: CacheSlot | None) -> Result[Any] | None:
        """What the cache holds for this call, if the checks accept it as they are now."""
        response = None if slot is None else await slot.read()
        judgement = None if response is None else _judged(plan, 1, response)
        if response is None or judgement is None or not judgement.ok:
            return None
        record.end_round("cache", response, judgement)
        return record.result(response, judgement, self._clock.now())

    def _add_trace(self, error: LLMCallError, record: CallRecord) -> None:
        """Every error that leaves the engine tells what was tried."""
        error.trace = error.trace or record.trace(self._clock.now())

    async def _open(self, plan: Plan, sent: AttemptScope) -> AbstractAsyncContextManager[Reply]:
        target = sent.target
        endpoint = target.endpoint if target.sign is None else await target.sign(target.endpoint, sent.wire)
        return self._transport(target.transport).open(endpoint, sent.wire, plan.timeouts)

    def _room(self, plan: Plan, record: CallRecord) -> float:
        """The seconds that the next attempt may take.

        Raises:
            PolicyError: The budget or the time is used up.
        """
        if limit := record.exceeded():
            raise BudgetExceededError(f"the budget is used up: {limit}", hint="Raise the limit, or ask for less.")
        if record.deadline is None:
            return plan.timeouts.total
        left = record.deadline - self._clock.now()
        if left <= 0:
            raise _too_late(plan)
        return min(plan.timeouts.total, left)

    async def _timed(self, events: AsyncGenerator[Event, None], deadline: float | None) -> AsyncGenerator[Event, None]:
        """`events`, until the call's time is used up."""
        async with aclosing(events):
            while True:
                left = None if deadline is None else max(0.0, deadline - self._clock.now())
                try:
                    async with asyncio.timeout(left):
                        event = await anext(events)
                except StopAsyncIteration:
                    return
                except TimeoutError as error:
                    raise DeadlineExceededError("the time is used up", hint="Allow more time.") from error
                yield event


def _hooked(plan: Plan, scope: CallScope) -> Plan:
    """`plan` with the request that the hooks made of its own."""
    return plan if scope.request is plan.request else replace(plan, request=scope.request)


def _slot(plan: Plan) -> CacheSlot | None:
    return slot_of(
        plan.caching, request=plan.request, targets=plan.targets, validators=plan.validators, strict=plan.strict
    )


async def _kept(slot: CacheSlot | None, result: Result[Any]) -> Result[Any]:
    return result if slot is None else await slot.keep(result)


def _judged(plan: Plan, number: int, response: Response) -> Judgement:
    if response.tool_calls and response.finish_reason.unified != "length":
        return Judgement(ok=True, value=None, verdicts=())  # it asks for tools: its answer is yet to come
    output = plan.request.output
    schema = output.schema if output else None
    answer = Answer(response.text, schema=schema, finish_reason=response.finish_reason.unified)
    context = Context(request=plan.request, round=number)
    return judge(answer, output=output, validators=plan.validators, context=context)


async def _within(seconds: float, plan: Plan, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives within `seconds`, which are fewer than an attempt may take where the call's time ends before."""
    try:
        return await within(seconds, work)
    except TimeoutError as error:
        if seconds < plan.timeouts.total:
            raise _too_late(plan) from error
        raise AttemptTimeoutError(
            f"no whole answer within {seconds:g} s", hint="Raise the setting timeouts.total."
        ) from error


def _too_late(plan: Plan) -> DeadlineExceededError:
    return DeadlineExceededError(f"no answer within {plan.budget.seconds:g} s", hint="Allow more time.")
