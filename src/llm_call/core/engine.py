"""A call, carried out: rounds of question and judgement, each of attempts at targets, within one budget.

Everything that happens is written into one record. The loop of attempts is `retry.run_attempts`; what follows a
failure is decided by the policies; how a request looks on the wire is the codec's business, how it travels is the
transport's.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    aclosing,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.domain.bill import Pricing, known_price
from llm_call.core.domain.errors import (
    AttemptTimeoutError,
    BudgetExceededError,
    DeadlineExceededError,
    LLMCallError,
    PolicyError,
    UnsupportedError,
)
from llm_call.core.domain.events import Event, Folding, ResponseEnd
from llm_call.core.domain.messages import Media
from llm_call.core.domain.request import Request
from llm_call.core.domain.response import Response
from llm_call.core.domain.result import Result
from llm_call.core.hooks import AttemptHook, AttemptScope, CallHook, CallScope
from llm_call.core.live import LiveAnswer
from llm_call.core.policy.budget import Budget
from llm_call.core.policy.retry import RetryPolicy
from llm_call.core.providers.registry import Target, TransportName
from llm_call.core.record import AttemptSpan, CallRecord
from llm_call.core.retry import Chance, Turn, run_attempts
from llm_call.core.transport.base import Clock, Reply, SystemClock, Timeouts, Transport
from llm_call.core.validation.asking import with_instruction
from llm_call.core.validation.base import Answer, Context, Validator
from llm_call.core.validation.judging import Judgement, judge
from llm_call.core.validation.reask import fingerprint, reask
from llm_call.core.wire.base import WireRequest
from llm_call.core.wire.native_schema import fitting_profile

S = TypeVar("S")
T = TypeVar("T")


class Plan(Struct, frozen=True, kw_only=True):
    """Everything that one call needs, checked before its first byte.

    `targets` are tried in order. `rounds` bounds how often the model is asked in all when its answers are rejected.
    `timeouts` bound one attempt, the budget's seconds the whole call. `strict` refuses a request that the target's
    dialect cannot express in full, instead of noting what was left out.
    """

    model: str
    request: Request
    targets: tuple[Target, ...]
    validators: tuple[Validator, ...] = ()
    retry: RetryPolicy = RetryPolicy()
    budget: Budget = Budget()
    rounds: int = 3
    timeouts: Timeouts = Timeouts()
    strict: bool = False
    stream: bool = False

    @property
    def checks(self) -> tuple[str, ...]:
        """The names of what is checked on the answer; empty when nothing is."""
        output = self.request.output
        form = () if output is None else ("json" if output.schema is None else "schema",)
        return (*form, *(validator.name for validator in self.validators))


class Engine:
    """Carries out plans.

    `transport` gives the transport of a name; `clock` and `chance` replace time and randomness; `pricing` knows what a
    charge comes to; the hooks are entered around every call and around every attempt.
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
    ) -> None:
        self._transport = transport
        self._pricing = pricing
        self._call_hooks = tuple(call_hooks)
        self._attempt_hooks = tuple(attempt_hooks)
        self._clock = clock or SystemClock()
        self._chance = chance or random.random

    async def execute(self, plan: Plan) -> Result[Any]:
        """What the call comes to. A rejected answer is a result too: its `ok` is false.

        Raises:
            LLMCallError: There is no answer; the error's trace tells what was tried.
        """
        record = self._record(plan)
        scope = CallScope(plan.model, plan.request, stream=False)
        with self._traced(record), _entered(self._call_hooks, scope):
            scope.result = await self._rounds(_hooked(plan, scope), record)
            return scope.result

    async def _rounds(self, plan: Plan, record: CallRecord) -> Result[Any]:
        response, judgement = await self._round(plan, record, plan.request)
        while not judgement.ok and record.rounds < plan.rounds:
            before = fingerprint(judgement.verdicts)
            request = reask(plan.request, answer=response.text, verdicts=judgement.verdicts, chance=self._chance())
            try:
                response, judgement = await self._round(plan, record, request)
            except PolicyError:
                break  # the time or the money is used up: the rejected answer is what there is
            if fingerprint(judgement.verdicts) == before:
                break  # the same mistake again: asking the same way once more is idle
        return record.result(response, judgement, self._clock.now())

    @asynccontextmanager
    async def stream(self, plan: Plan) -> AsyncIterator[LiveAnswer]:
        """The answer as it arrives.

        Until its first event, retries and other targets are free; after it, an error is the caller's. Leaving the
        context closes the request at the peer. A rejected answer is not asked for again: the caller has seen it.

        Raises:
            LLMCallError: There is no answer; the error's trace tells what was tried.
        """
        record = self._record(plan)
        scope = CallScope(plan.model, plan.request, stream=True)
        with self._traced(record), _entered(self._call_hooks, scope):
            async with self._live(_hooked(plan, scope), record, scope) as live:
                yield live

    @asynccontextmanager
    async def _live(self, plan: Plan, record: CallRecord, scope: CallScope) -> AsyncIterator[LiveAnswer]:
        async def attempt(turn: Turn) -> tuple[AsyncExitStack, LiveAnswer]:
            target, seconds = plan.targets[turn.target], self._room(plan, record)
            async with AsyncExitStack() as stack:
                span = stack.enter_context(AttemptSpan(record, target, turn, self._clock.now))
                sent = AttemptScope(record.attempts + 1, target, _encode(plan, target, plan.request, stream=True))
                stack.enter_context(_entered(self._attempt_hooks, sent))
                async with _limited(plan, seconds):
                    reply = await stack.enter_async_context(self._open(plan, sent))
                    events = self._timed(_events(target, reply), record.deadline)
                    await stack.enter_async_context(aclosing(events))
                    first = await anext(events)

                def finish(response: Response) -> Result[Any]:
                    sent.response = response = _noted(response, sent.wire)
                    span.answered(response)
                    scope.result = record.result(response, self._judge(plan, record, response), self._clock.now())
                    return scope.result

                return stack.pop_all(), LiveAnswer(first, events, finish)

        stack, live = await self._attempts(plan, record, attempt)
        async with stack:
            yield live

    def _record(self, plan: Plan) -> CallRecord:
        return CallRecord(plan.model, plan.budget, self._clock.now(), self._pricing)

    async def _round(self, plan: Plan, record: CallRecord, request: Request) -> tuple[Response, Judgement]:
        async def attempt(turn: Turn) -> Response:
            target, seconds = plan.targets[turn.target], self._room(plan, record)
            with AttemptSpan(record, target, turn, self._clock.now) as span:
                wire = _encode(plan, target, request, stream=plan.stream or target.profile.stream_only)
                sent = AttemptScope(record.attempts + 1, target, wire)
                with _entered(self._attempt_hooks, sent):
                    async with _limited(plan, seconds), self._open(plan, sent) as reply:
                        response = _noted(await _whole(target, sent.wire, reply), sent.wire)
                    sent.response = response
                span.answered(response)
                return response

        response = await self._attempts(plan, record, attempt)
        return response, self._judge(plan, record, response)

    async def _attempts(self, plan: Plan, record: CallRecord, attempt: Callable[[Turn], Awaitable[T]]) -> T:
        record.begin_round()
        policy = replace(plan.retry, deadline=record.deadline)
        try:
            return await run_attempts(
                policy, attempt, clock=self._clock, chance=self._chance, targets=len(plan.targets)
            )
        except LLMCallError as error:
            if summary := record.failure(error):
                raise summary from error
            raise

    def _judge(self, plan: Plan, record: CallRecord, response: Response) -> Judgement:
        output = plan.request.output
        schema = output.schema if output else None
        answer = Answer(response.text, schema=schema, finish_reason=response.finish_reason.unified)
        context = Context(request=plan.request, round=record.rounds + 1)
        judgement = judge(answer, output=output, validators=plan.validators, context=context)
        record.end_round("reask" if record.rounds else "ask", response, judgement)
        return judgement

    @contextmanager
    def _traced(self, record: CallRecord) -> Iterator[None]:
        """Every error that leaves the engine tells what was tried."""
        try:
            yield
        except LLMCallError as error:
            error.trace = error.trace or record.trace(self._clock.now())
            raise

    @asynccontextmanager
    async def _open(self, plan: Plan, sent: AttemptScope) -> AsyncIterator[Reply]:
        target = sent.target
        endpoint = await target.sign(target.endpoint, sent.wire) if target.sign else target.endpoint
        async with self._transport(target.transport).open(endpoint, sent.wire, plan.timeouts) as reply:
            yield reply

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


def _entered(hooks: Sequence[Callable[[S], AbstractContextManager[None]]], scope: S) -> AbstractContextManager[object]:
    """All `hooks` around what follows."""
    if not hooks:
        return nullcontext()
    stack = ExitStack()
    with stack:
        for hook in hooks:
            stack.enter_context(hook(scope))
        return stack.pop_all()


def _hooked(plan: Plan, scope: CallScope) -> Plan:
    """`plan` with the request that the hooks made of its own."""
    return plan if scope.request is plan.request else replace(plan, request=scope.request)


@asynccontextmanager
async def _limited(plan: Plan, seconds: float) -> AsyncIterator[None]:
    """An attempt within `seconds`, which are fewer than an attempt may take where the call's time ends before."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        if seconds < plan.timeouts.total:
            raise _too_late(plan) from error
        raise AttemptTimeoutError(f"no whole answer within {seconds:g} s") from error


def _encode(plan: Plan, target: Target, request: Request, *, stream: bool) -> WireRequest:
    _refuse_unseen(target, request)
    profile = fitting_profile(target.profile, request.output)
    shaped = with_instruction(replace(request, model=target.model), profile)
    wire = target.codec.encode_request(shaped, stream=stream, profile=profile)
    lost = [notice for notice in wire.notices if notice.fate == "dropped"] if plan.strict else []
    if lost:
        raise UnsupportedError(
            f"{target.name}: {lost[0].field}: {lost[0].message}", hint="Leave it out, or not strict."
        )
    return wire


def _refuse_unseen(target: Target, request: Request) -> None:
    seen = target.profile.media
    if seen is None:
        return
    media = [part for message in request.messages for part in message.parts if isinstance(part, Media)]
    for part in media:
        if not any(fnmatchcase(part.media_type, pattern) for pattern in seen):
            raise UnsupportedError(f"{target.name} takes no {part.media_type}", hint="Choose a model that does.")


async def _whole(target: Target, wire: WireRequest, reply: Reply) -> Response:
    if not _is_success(reply):
        raise target.codec.decode_error(reply.status, reply.headers, await reply.read())
    if not wire.stream:
        return target.codec.decode_response(await reply.read())
    folding = Folding()
    async for event in _events(target, reply):
        folding.add(event)
    return folding.response()


async def _events(target: Target, reply: Reply) -> AsyncGenerator[Event, None]:
    """The events of a streamed reply, up to the first that ends it."""
    if not _is_success(reply):
        raise target.codec.decode_error(reply.status, reply.headers, await reply.read())
    decoder = target.codec.stream_decoder()
    async for chunk in reply.chunks():
        for event in decoder.feed(chunk):
            yield event
            if isinstance(event, ResponseEnd):
                return
    for event in decoder.close():
        yield event


def _is_success(reply: Reply) -> bool:
    return 200 <= reply.status < 300  # noqa: PLR2004  (what HTTP calls a success)


def _noted(response: Response, wire: WireRequest) -> Response:
    """`response` with what its request lost on the way out."""
    return replace(response, notices=wire.notices + response.notices) if wire.notices else response


def _too_late(plan: Plan) -> DeadlineExceededError:
    return DeadlineExceededError(f"no answer within {plan.budget.seconds:g} s", hint="Allow more time.")
