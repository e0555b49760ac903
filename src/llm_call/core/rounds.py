"""Rounds of question and judgement: the first one, and those that the ladder adds while the answer is not accepted."""

from collections.abc import Coroutine
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.attempts import Attempts
from llm_call.core.domain.bill import Bill
from llm_call.core.domain.errors import (
    BudgetExceededError,
    ConfigError,
    DeadlineExceededError,
    LLMCallError,
    NoEligibleTargetError,
    ValidatorError,
)
from llm_call.core.domain.request import Request
from llm_call.core.domain.response import Notice, Response
from llm_call.core.domain.result import Result
from llm_call.core.exchange import encode, whole
from llm_call.core.hooks import AttemptScope, CallScope
from llm_call.core.plan import Plan
from llm_call.core.policy.escalation import ALWAYS, Event, Rung, Standing, climb
from llm_call.core.providers.registry import Target
from llm_call.core.record import CallRecord
from llm_call.core.retry import Turn
from llm_call.core.review import Reviewer, ReviewRequest
from llm_call.core.settling import HUMAN, reviewed
from llm_call.core.tools.config import Toolset
from llm_call.core.validation.base import Answer, Context
from llm_call.core.validation.judging import Judgement, judge
from llm_call.core.validation.reask import fingerprint, reask

_FIRST = Standing()


class Judged(Struct, frozen=True, kw_only=True):
    """An answer and what the checks say of it."""

    response: Response
    judgement: Judgement

    @property
    def event(self) -> Event:
        """What a ladder is told of it, where it was not accepted."""
        return "rejected" if self.response.text.strip() else "empty"


class Rounds:
    """The rounds of one call."""

    def __init__(
        self, attempts: Attempts, plan: Plan, record: CallRecord, scope: CallScope, reviewer: Reviewer | None = None
    ) -> None:
        self._attempts = attempts
        self._plan = plan
        self._record = record
        self._scope = scope
        self._reviewer = _reviewer_for(plan, reviewer)
        self._last: Judged | None = None
        self._error: LLMCallError | None = None
        self._mistakes: object = None
        self._is_spent = False

    async def run(self) -> Result[Any]:
        """What the call comes to. A rejected answer is a result too.

        Raises:
            LLMCallError: There is no answer.
        """
        standing: Standing | None = _FIRST
        while standing is not None:
            if standing.rung >= 0 and self._rung(standing).kind == "human":
                return await self._reviewed()
            standing = await self._tried(standing)
        if self._last is None:
            raise self._error or NoEligibleTargetError("nothing was asked")
        return self._standing(self._last)

    async def _tried(self, standing: Standing) -> Standing | None:
        """A round, and where to go on after it; `None` where the answer was accepted, or the ladder ends with it.

        Raises:
            LLMCallError: There is no answer, and no rung for that.
        """
        try:
            self._last = last = await self._round(standing)
        except ValidatorError:
            raise
        except LLMCallError as error:
            self._error = error
            return self._after_failure(standing, error)
        self._is_spent = self._record.rounds >= self._plan.rounds
        if last.judgement.ok:
            return None
        before, self._mistakes = self._mistakes, fingerprint(last.judgement.verdicts)
        repeated = before == self._mistakes
        return climb(self._plan.rungs, standing, last.event, repeated=repeated, spent=self._is_spent)

    def _after_failure(self, standing: Standing, error: LLMCallError) -> Standing | None:
        """Where to go on without an answer. One that was rejected before still stands: a rung that asks others is for it.

        Raises:
            LLMCallError: The error, where no rung is left.
        """
        self._record.fail_round(self._kind(standing))
        used_up = isinstance(error, BudgetExceededError | DeadlineExceededError)
        self._is_spent |= used_up and not self._has_share(standing)
        if used_up and self._last is not None:
            return climb(self._plan.rungs, standing, self._last.event, repeated=True, spent=self._is_spent)
        following = climb(self._plan.rungs, standing, "failed", repeated=used_up, spent=self._is_spent)
        if following is None and self._last is not None:
            following = self._others(standing, self._last.event)
        if following is None:
            raise error
        return following

    def _others(self, failed: Standing, event: Event) -> Standing | None:
        """The next rung that asks others than the one that has `failed`."""
        following = climb(self._plan.rungs, failed, event, repeated=True, spent=self._is_spent)
        while following is not None and self._asked_by(following) == self._asked_by(failed):
            following = climb(self._plan.rungs, following, event, repeated=True, spent=self._is_spent)
        return following

    def _asked_by(self, standing: Standing) -> str | None:
        """The model that is asked there, or a person; `None` is the call's own model."""
        rung = self._rung(standing) if standing.rung >= 0 else None
        return None if rung is None else HUMAN if rung.kind == HUMAN else rung.model

    def _kind(self, standing: Standing) -> str:
        return self._rung(standing).kind if standing.rung >= 0 else "ask"

    def _has_share(self, standing: Standing) -> bool:
        return standing.rung >= 0 and self._rung(standing).share is not None

    def _rung(self, standing: Standing) -> Rung:
        return self._plan.rungs[standing.rung]

    async def _round(self, standing: Standing) -> Judged:
        """One question, and what the checks say of its answer."""
        plan, request = self._plan, self._plan.request
        rung = self._rung(standing) if standing.rung >= 0 else None
        if rung is not None:
            if standing.rounds == 1:
                self._record.allow(rung.share, self._attempts.clock.now())
            if rung.model is not None:
                plan = replace(plan, targets=plan.elsewhere[rung.model])
            request = self._question(rung)
        toolset = plan.toolsets.get(rung.tools if rung and rung.tools else ALWAYS)
        response = await (self._with_tools(plan, request, toolset) if toolset else self._hedged(plan, request))
        judged = Judged(response=response, judgement=judged_of(plan, self._record.rounds + 1, response))
        self._record.end_round(self._kind(standing), response, judged.judgement)
        return judged

    def _question(self, rung: Rung) -> Request:
        if rung.kind == "again" or self._last is None:
            return self._plan.request
        last = self._last
        return reask(
            self._plan.request,
            answer=last.response.text,
            verdicts=last.judgement.verdicts,
            chance=self._attempts.chance(),
        )

    def _asked(self, plan: Plan, request: Request) -> Coroutine[Any, Any, Response]:
        def attempt(turn: Turn) -> Coroutine[Any, Any, Response]:
            def sent(target: Target, number: int) -> AttemptScope:
                wire = encode(target, request, stream=plan.stream or target.profile.stream_only, strict=plan.strict)
                return AttemptScope(number, target, wire, call=self._scope, request=request, turn=turn)

            return self._attempts.whole(plan, self._record, turn, sent, whole)

        return self._attempts.run(plan, self._record, attempt)

    async def _with_tools(self, plan: Plan, request: Request, toolset: Toolset) -> Response:
        """The answer of a model whose calls of tools are run for it, each of its turns an attempt or more."""
        from llm_call.core.tools.conversing import converse  # noqa: PLC0415  (start-up: few calls have tools)
        from llm_call.core.tools.mcp import open_tools  # noqa: PLC0415  (start-up: few calls have tools)

        def left() -> float | None:
            deadline = self._record.deadline
            return None if deadline is None else max(0.0, deadline - self._attempts.clock.now())

        taken, settings, seconds = [tool.name for tool in request.tools], toolset.settings, left()
        if seconds is not None:
            settings = replace(settings, start_seconds=min(settings.start_seconds, seconds))
        async with open_tools(toolset.servers, only=toolset.only, settings=settings, taken=taken) as box:
            said = await converse(
                lambda asked: self._hedged(plan, asked),
                request,
                box,
                toolset.settings,
                left=left,
                observe=self._record.add_tool,
                now=self._attempts.clock.now,
            )
        notes = tuple(
            Notice(field="tools", fate="dropped", message=note) for note in (*box.notes, said.exhausted) if note
        )
        return replace(said.response, notices=(*said.response.notices, *notes)) if notes else said.response

    def _hedged(self, plan: Plan, request: Request) -> Coroutine[Any, Any, Response]:
        def is_good(response: Response) -> bool:
            return judged_of(plan, self._record.rounds + 1, response).ok

        return self._attempts.hedged(plan, lambda chosen: self._asked(chosen, request), streamed=False, is_good=is_good)

    async def _reviewed(self) -> Result[Any]:
        """What a person decides, or where their decision will be found."""
        plan, reviewer = self._plan, self._reviewer
        assert reviewer is not None  # noqa: S101  (a plan with this rung was refused without one)
        assert plan.again is not None  # noqa: S101  (the same)
        bill = self._record.bill
        return await reviewed(
            reviewer,
            self._question_for_review(bill),
            bill=bill,
            validators=plan.validators,
            chance=self._attempts.chance,
            execute=plan.again,
        )

    def _question_for_review(self, bill: Bill) -> ReviewRequest:
        plan, last = self._plan, self._last
        return ReviewRequest(
            call=plan.call,
            request=plan.request,
            reason="failed" if last is None else "rejected",
            trace=self._record.trace(self._attempts.clock.now()),
            response=last.response if last else None,
            verdicts=last.judgement.verdicts if last else (),
            error=str(self._error or "") if last is None else "",
            charges=bill.charges,
            spent=bill.total,
        )

    def _standing(self, last: Judged) -> Result[Any]:
        return self._record.result(last.response, last.judgement, self._attempts.clock.now())


def _reviewer_for(plan: Plan, reviewer: Reviewer | None) -> Reviewer | None:
    """The reviewer, where the plan asks for one. Nothing is sent that could only end in nobody's hands."""
    if plan.ladder is None or not any(rung.kind == HUMAN for rung in plan.ladder):
        return None
    if reviewer is None or plan.again is None:
        hint = "Give the client a reviewer, for example CallbackReviewer(function)."
        raise ConfigError("the ladder asks a person, and there is nobody who does", hint=hint)
    return reviewer


def judged_of(plan: Plan, number: int, response: Response) -> Judgement:
    """What the checks of `plan` say of the answer of the round with this number."""
    if response.tool_calls and response.finish_reason.unified != "length":
        return Judgement(ok=True, value=None, verdicts=())  # it asks for tools: its answer is yet to come
    output = plan.request.output
    schema = output.schema if output else None
    answer = Answer(response.text, schema=schema, finish_reason=response.finish_reason.unified)
    context = Context(request=plan.request, round=number)
    return judge(answer, output=output, validators=plan.validators, context=context)
