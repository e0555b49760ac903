"""What a person's decision comes to.

`settle` is the one judge of decisions, whether they come from a callback or, days later, through a durable review: the
form and the validators of the call check a person as they check a model, with the same words.
"""

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.call_config import CallConfig, changed
from llm_call.core.domain.bill import Bill
from llm_call.core.domain.errors import CallAbortedError, ConfigError, LLMCallError, UnsupportedError
from llm_call.core.domain.messages import Text, message
from llm_call.core.domain.request import OutputSpec, Request
from llm_call.core.domain.response import Response, Usage
from llm_call.core.domain.result import Result
from llm_call.core.domain.review import Decision, Pending
from llm_call.core.domain.trace import Trace
from llm_call.core.domain.verdict import Problem, Repair, Verdict, accepted, rejected
from llm_call.core.review import Reviewer, ReviewRequest
from llm_call.core.validation.base import Answer, Context, Validator
from llm_call.core.validation.judging import judge
from llm_call.core.validation.reask import problem_lines, reask

_BOUNCES = 5  # decisions in a row that cannot be: a callback that gives more of them is wrong, not careless
HUMAN = "human"


class Final(Struct, frozen=True, kw_only=True):
    """The decision is applied, and the call has its result."""

    ok: bool
    value: Any
    response: Response
    verdicts: tuple[Verdict, ...]
    repairs: tuple[Repair, ...] = ()


class Bounced(Struct, frozen=True, kw_only=True):
    """The decision cannot be: why, a line each. The review stays open."""

    problems: tuple[str, ...]


class Again(Struct, frozen=True, kw_only=True):
    """The call goes on: `request` is put to a model. `task` is the same without the feedback."""

    call: CallConfig
    request: Request
    task: Request


class Escalated(Struct, frozen=True, kw_only=True):
    """It is for the next level to decide."""


class Aborted(Struct, frozen=True, kw_only=True):
    """The call has ended without a result."""

    by: str
    reason: str

    def error(self) -> CallAbortedError:
        """The error that whoever waits for the call gets."""
        who = f" by {self.by}" if self.by else ""
        why = f": {self.reason}" if self.reason else ""
        return CallAbortedError(
            f"the call was ended{who}{why}", by=self.by, hint="It has no result. Ask anew if need be."
        )


Settlement = Final | Bounced | Again | Escalated | Aborted


def settle(
    asked: ReviewRequest, decision: Decision, validators: Sequence[Validator], *, chance: float = 0.0
) -> Settlement:
    """What `decision` comes to, by the form and the `validators` of the call. `chance` (0..1) goes into the feedback.

    Raises:
        ValidatorError: A validator could not decide.
    """
    match decision.action:
        case "approve":
            return _approved(asked, decision)
        case "edit":
            return _edited(asked, decision, validators)
        case "reject":
            return _refused(asked, decision)
        case "retry":
            return _again(asked, decision, chance)
        case "escalate":
            return Escalated()
        case "abort":
            return Aborted(by=decision.by, reason=decision.reason)


def best(asked: ReviewRequest) -> Response | None:
    """Of all answers that have the form, the one that the fewest validators reject; of several the last."""
    found: tuple[int, Response] | None = None
    for each in asked.trace.rounds:
        if each.response is None or not _judged(asked, each.response.text, each.response, ()).ok:
            continue
        wrong = sum(verdict.severity == "must" and not verdict.valid for verdict in each.verdicts)
        if found is None or wrong <= found[0]:
            found = wrong, each.response
    return found and found[1]


def unanswered(asked: ReviewRequest, bill: Bill) -> Result[Any]:
    """The call as it stands before anybody has decided."""
    return Result(
        ok=False,
        value=None,
        response=asked.response or Response(model=asked.trace.model),
        trace=asked.trace,
        verdicts=asked.verdicts or (rejected("answered", Problem(code="failed", message=asked.error)),),
        usage=sum((charge.usage for charge in asked.charges), start=Usage()),
        bill=bill,
        rung=HUMAN,
    )


def concluded(before: Result[Any], final: Final) -> Result[Any]:
    """The call after the decision."""
    return replace(
        before,
        ok=final.ok,
        value=final.value if final.ok else None,
        response=final.response,
        verdicts=final.verdicts,
        repairs=final.repairs,
    )


def continued(before: Result[Any], later: Result[Any]) -> Result[Any]:
    """A call that went on after a review: `later` tells of what came then, the result of both."""
    return replace(
        later,
        trace=joined(before.trace, later.trace),
        usage=before.usage + later.usage,
        bill=before.bill + later.bill,
    )


def joined(before: Trace, later: Trace) -> Trace:
    """One trace of a call that went on: rounds and attempts are counted on, and so is the time."""
    rounds, attempts, seconds = len(before.rounds), len(before.attempts), before.duration
    moved = (
        replace(
            each,
            number=each.number + rounds,
            attempts=tuple(
                replace(attempt, number=attempt.number + attempts, started=attempt.started + seconds)
                for attempt in each.attempts
            ),
        )
        for each in later.rounds
    )
    return replace(
        before,
        rounds=(*before.rounds, *moved),
        duration=seconds + later.duration,
        skipped=before.skipped + later.skipped,
    )


def reopened(asked: ReviewRequest, again: Again, outcome: Result[Any] | LLMCallError) -> ReviewRequest:
    """The review after a retry that was not accepted, or that nobody answered."""
    trace = outcome.trace or Trace(model=asked.trace.model)
    call = _whole(asked, again.call)
    found = replace(asked, call=call, request=again.task, trace=joined(asked.trace, trace), objections=())
    if isinstance(outcome, LLMCallError):
        return replace(found, error=str(outcome))
    charges = asked.charges + outcome.bill.charges
    spent = None if asked.spent is None or outcome.cost is None else asked.spent + outcome.cost
    return replace(
        found,
        reason="rejected",
        response=outcome.response,
        verdicts=outcome.verdicts,
        error="",
        charges=charges,
        spent=spent,
    )


def _whole(asked: ReviewRequest, rest: CallConfig) -> CallConfig:
    """The call with the budget that it has in all, when `rest` has what was left of it."""
    limits = {name: (getattr(rest, name), used) for name, used in _used(asked).items()}
    return replace(rest, **{name: left + used for name, (left, used) in limits.items() if left is not None})


Execute = Callable[[CallConfig, Request], Awaitable[Result[Any]]]
"""Carries out a call that goes on, without asking a person again."""


async def reviewed(
    reviewer: Reviewer,
    asked: ReviewRequest,
    *,
    bill: Bill,
    validators: Sequence[Validator],
    chance: Callable[[], float],
    execute: Execute,
) -> Result[Any]:
    """What comes of a call that is handed to `reviewer`: its result, or one that is `pending`.

    Raises:
        CallAbortedError: The decision was to end the call.
        ValidatorError: A validator could not decide.
    """
    bounces = 0
    while bounces < _BOUNCES:
        given = await reviewer.review(asked)
        before = unanswered(asked, bill)
        if isinstance(given, Pending):
            return replace(before, pending=given)
        settled = settle(asked, given, validators, chance=chance())
        match settled:
            case Final():
                return concluded(before, settled)
            case Aborted():
                raise settled.error()
            case Bounced():
                asked, bounces = replace(asked, objections=settled.problems), bounces + 1
            case Escalated():
                asked, bounces = replace(asked, objections=("there is no higher level",)), bounces + 1
            case Again():
                outcome = await attempted(execute, settled)
                if isinstance(outcome, Result):
                    if outcome.ok:
                        return continued(before, outcome)
                    bill += outcome.bill
                asked, bounces = reopened(asked, settled, outcome), 0
    problem = Problem(code="review", message=f"no decision could be applied: {'; '.join(asked.objections)}")
    return replace(before, verdicts=(*before.verdicts, rejected(HUMAN, problem)))


async def attempted(execute: Execute, again: Again) -> Result[Any] | LLMCallError:
    """What a retry comes to; its error, where nobody answered."""
    try:
        return await execute(again.call, again.request)
    except LLMCallError as error:
        return error


def _judged(asked: ReviewRequest, text: str, response: Response | None, validators: Sequence[Validator]) -> Any:
    output = asked.request.output
    finish = "stop" if response is None else response.finish_reason.unified
    answer = Answer(text, schema=output.schema if output else None, finish_reason=finish)
    context = Context(request=asked.request, round=len(asked.trace.rounds) + 1)
    return judge(answer, output=output, validators=validators, context=context)


def _approved(asked: ReviewRequest, decision: Decision) -> Final | Bounced:
    if asked.response is None:
        return Bounced(problems=("there is no answer to approve: edit gives one, retry asks again",))
    return approval(asked, asked.response, decision)


def approval(asked: ReviewRequest, response: Response, decision: Decision) -> Final | Bounced:
    """What it comes to that `response` is taken as the answer."""
    judgement = _judged(asked, response.text, response, ())
    if not judgement.ok:
        return Bounced(problems=problem_lines(judgement.verdicts))
    waived = tuple(verdict if verdict.valid else replace(verdict, severity="info") for verdict in asked.verdicts)
    return Final(
        ok=True,
        value=judgement.value,
        response=response,
        verdicts=(*waived, accepted(HUMAN, {"action": decision.action, "by": decision.by})),
        repairs=judgement.repairs,
    )


def _edited(asked: ReviewRequest, decision: Decision, validators: Sequence[Validator]) -> Final | Bounced:
    if decision.value is None:
        return Bounced(problems=("an edit needs a value",))
    text = _written(decision.value, asked.request.output)
    judgement = _judged(asked, text, None, validators)
    if not judgement.ok:
        return Bounced(problems=problem_lines(judgement.verdicts))
    verdicts = (*judgement.verdicts, accepted(HUMAN, {"action": "edit", "by": decision.by}))
    response = Response(model=HUMAN, parts=(Text(text=text),))
    return Final(ok=True, value=judgement.value, response=response, verdicts=verdicts, repairs=judgement.repairs)


def _written(value: Any, output: OutputSpec | None) -> str:
    """A person's value as a model would have written it."""
    if not isinstance(value, str):
        return msgspec.json.encode(value).decode()
    if output is not None and not Answer(value).extraction.found:
        return msgspec.json.encode(value).decode()  # the form may well be a plain text
    return value


def _refused(asked: ReviewRequest, decision: Decision) -> Final:
    who = f" by {decision.by}" if decision.by else ""
    problem = Problem(code="rejected", message=f"rejected{who}{f': {decision.reason}' if decision.reason else ''}")
    return Final(
        ok=False,
        value=None,
        response=asked.response or Response(model=asked.trace.model),
        verdicts=(*asked.verdicts, rejected(HUMAN, problem)),
    )


def _again(asked: ReviewRequest, decision: Decision, chance: float) -> Again | Bounced:
    changes = dict(decision.changes)
    feedback = changes.pop("feedback", None)
    if feedback is not None and not isinstance(feedback, str):
        return Bounced(problems=("feedback is a text for the model",))
    try:
        call, task = changed(asked.call, asked.request, changes)
    except (ConfigError, UnsupportedError) as error:
        return Bounced(problems=(" ".join(filter(None, (f"{error.message}.", error.hint))),))
    left = _left(asked, call, changes)
    if isinstance(left, str):
        return Bounced(problems=(left,))
    request = task if not feedback else _with_feedback(asked, task, feedback, chance)
    return Again(call=left, request=request, task=task)


def _with_feedback(asked: ReviewRequest, task: Request, feedback: str, chance: float) -> Request:
    if asked.response is None:
        return replace(task, messages=(*task.messages, message("user", feedback)))
    verdicts = (rejected(HUMAN, Problem(code="feedback", message=feedback)),)
    return reask(task, answer=asked.response.text, verdicts=verdicts, chance=chance)


def _left(asked: ReviewRequest, call: CallConfig, changes: dict[str, Any]) -> CallConfig | str:
    """The call with what is left of its budget; in words, where nothing is. A person may grant more."""
    for name, used in _used(asked).items():
        granted = getattr(call, name)
        if granted is None or name in changes:
            continue
        if granted <= used:
            return f"{name} is used up: a retry needs a new one"
        call = replace(call, **{name: granted - used})
    return call


def _used(asked: ReviewRequest) -> dict[str, Any]:
    """What the call has used of each limit of its budget, by the name of the limit."""
    usage = sum((charge.usage for charge in asked.charges), start=Usage())
    return {
        "timeout": asked.trace.duration,
        "max_cost": asked.spent or Decimal(0),
        "max_total_tokens": (usage.input_tokens or 0) + (usage.output_tokens or 0),
        "max_total_attempts": len(asked.trace.attempts),
    }
