"""A call, carried out within one budget: hooks around it, the cache before it, rounds or a stream in it.

Everything that happens is written into one record. What follows a failure or a rejected answer is decided by the
policies; how a request looks on the wire is the codec's business, how it travels is the transport's.
"""

import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace

from llm_call.core.attempts import Attempts
from llm_call.core.cache import CacheSlot, slot_of
from llm_call.core.domain.alert import Alert
from llm_call.core.domain.bill import Pricing, known_price
from llm_call.core.domain.embedding import EmbeddingRequest, Embeddings
from llm_call.core.domain.errors import LLMCallError
from llm_call.core.domain.response import Response
from llm_call.core.domain.result import Result
from llm_call.core.exchange import encode_embedding, read_embeddings
from llm_call.core.hooks import AttemptScope, CallHook, CallScope, entered
from llm_call.core.live import LiveAnswer
from llm_call.core.plan import Plan
from llm_call.core.policy.alert_levels import alert_of
from llm_call.core.policy.escalation import ALWAYS
from llm_call.core.providers.registry import Target
from llm_call.core.record import CallRecord, Observer
from llm_call.core.retry import Turn
from llm_call.core.review import Reviewer
from llm_call.core.rounds import Rounds, judged_of
from llm_call.core.streaming import Stream
from llm_call.core.validation.judging import Judgement


class Engine:
    """Carries out plans.

    `attempts` makes the attempts; `pricing` knows what a charge comes to; the hooks are entered around every call;
    `observe` hears what came of each attempt; `reviewer` has people decide; `alert` tells
    people of errors that leave a call.
    """

    def __init__(
        self,
        attempts: Attempts,
        *,
        pricing: Pricing = known_price,
        call_hooks: Sequence[CallHook] = (),
        observe: Observer | None = None,
        reviewer: Reviewer | None = None,
        alert: Callable[[Alert], None] | None = None,
    ) -> None:
        self._attempts = attempts
        self._now = attempts.clock.now
        self._pricing = pricing
        self._call_hooks = tuple(call_hooks)
        self._observe = observe
        self._reviewer = reviewer
        self._alert = alert

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
            self._leave(error, record)
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

    def _rounds(self, plan: Plan, record: CallRecord, scope: CallScope) -> Coroutine[Any, Any, Result[Any]]:
        return Rounds(self._attempts, plan, record, scope, self._reviewer).run()

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
                scope.result = result = record.result(response, judgement, self._now())
        except LLMCallError as error:
            self._leave(error, record)
            raise
        return result

    async def _embedded(self, plan: Plan, record: CallRecord, scope: CallScope, dimensions: int | None) -> Embeddings:
        texts = tuple(message.text for message in plan.request.messages)

        async def attempt(turn: Turn) -> Embeddings:
            def sent(target: Target, number: int) -> AttemptScope:
                asked = EmbeddingRequest(model=target.model, texts=texts, dimensions=dimensions)
                wire = encode_embedding(target, asked)
                return AttemptScope(number, target, wire, call=scope, request=plan.request, turn=turn)

            return await self._attempts.whole(plan, record, turn, sent, read_embeddings(len(texts)))

        return await self._attempts.run(plan, record, attempt)

    @asynccontextmanager
    async def stream(self, plan: Plan) -> AsyncIterator[LiveAnswer]:
        """The answer as it arrives.

        Until its first event, retries and other targets are free; after it, another attempt may only go on where it
        repeats what was given (`Plan.recovery`). Leaving the context closes the request at the peer. A rejected answer
        is not asked for again: the caller has seen it. A call whose tools are run for the model gives nothing before
        the whole answer is there.

        Raises:
            LLMCallError: There is no answer; the error's trace tells what was tried.
        """
        if plan.recovery == "buffer" or ALWAYS in plan.toolsets:
            yield LiveAnswer.of(await self.execute(replace(plan, stream=True)))
            return
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
                stream = await self._begun(plan, record, scope)
                try:
                    yield self._live(stream, plan, record, scope, slot)
                finally:
                    await stream.close()
        except LLMCallError as error:
            self._leave(error, record)
            raise

    async def _begun(self, plan: Plan, record: CallRecord, scope: CallScope) -> Stream:
        async def begin(chosen: Plan) -> Stream:
            stream = Stream(self._attempts, chosen, record, scope)
            await stream.begin()
            return stream

        return await self._attempts.hedged(
            plan, begin, streamed=True, is_good=lambda _stream: True, discard=Stream.close
        )

    def _live(
        self, stream: Stream, plan: Plan, record: CallRecord, scope: CallScope, slot: CacheSlot | None
    ) -> LiveAnswer:
        async def finish(response: Response) -> Result[Any]:
            judgement = judged_of(plan, 1, response)
            record.end_round("ask", response, judgement)
            scope.result = result = await _kept(slot, record.result(response, judgement, self._now()))
            return result

        return LiveAnswer(stream, finish, lambda error: self._leave(error, record))

    def _ordered(self, plan: Plan) -> Plan:
        return replace(plan, targets=plan.order(self._attempts.chance, self._now())) if plan.order else plan

    def _record(self, plan: Plan) -> CallRecord:
        return CallRecord(
            plan.model, plan.budget, self._now(), self._pricing, skipped=plan.skipped, observe=self._observe
        )

    async def _hit(self, plan: Plan, record: CallRecord, slot: CacheSlot | None) -> Result[Any] | None:
        """What the cache holds for this call, if the checks accept it as they are now."""
        response = None if slot is None else await slot.read()
        judgement = None if response is None else judged_of(plan, 1, response)
        if response is None or judgement is None or not judgement.ok:
            return None
        record.end_round("cache", response, judgement)
        return record.result(response, judgement, self._now())

    def _leave(self, error: LLMCallError, record: CallRecord) -> None:
        """Every error that leaves the engine tells what was tried, and people where it is worth that; but once."""
        if error.trace is not None:
            return  # it has left before: through the stream of this call, or a call inside it
        error.trace = record.trace(self._now())
        if self._alert is not None and (alert := alert_of(error)):
            try:
                self._alert(alert)
            except Exception:  # whoever is told badly: the caller gets the call's own error
                logging.getLogger("llm_call.alerts").exception("nobody could be told of an error")


def _hooked(plan: Plan, scope: CallScope) -> Plan:
    """`plan` with the request that the hooks made of its own."""
    return plan if scope.request is plan.request else replace(plan, request=scope.request)


def _slot(plan: Plan) -> CacheSlot | None:
    return slot_of(
        plan.caching, request=plan.request, targets=plan.targets, validators=plan.validators, strict=plan.strict
    )


async def _kept(slot: CacheSlot | None, result: Result[Any]) -> Result[Any]:
    return result if slot is None else await slot.keep(result)
