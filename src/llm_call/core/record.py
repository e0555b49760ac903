"""What has happened so far in one call: the open round, the closed ones, and what they cost."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

from msgspec.structs import replace

from llm_call.core.domain.bill import Bill, Charge, Pricing
from llm_call.core.domain.errors import (
    AllTargetsFailedError,
    BudgetExceededError,
    DeadlineExceededError,
    LLMCallError,
)
from llm_call.core.domain.response import Notice, Response, Usage
from llm_call.core.domain.result import Result
from llm_call.core.domain.trace import Attempt, Failure, Round, Skipped, Timings, ToolRun, Trace
from llm_call.core.policy.budget import Budget, Spent
from llm_call.core.providers.registry import Target
from llm_call.core.retry import Turn
from llm_call.core.state.gates import Permit
from llm_call.core.validation.judging import Judgement

Observer = Callable[[Target, float, LLMCallError | None, float], None]
"""Hears of each attempt: its target, how long its answer was waited for, its error if there was one, the time."""


class CallRecord:
    """Written by the engine, an attempt and a round at a time. Times are in seconds from `started`.

    `attempts` is how many requests were sent in all rounds, those on their way too; `number` is the one of the next.
    """

    def __init__(
        self,
        model: str,
        budget: Budget,
        started: float,
        pricing: Pricing,
        *,
        skipped: tuple[Skipped, ...] = (),
        observe: Observer | None = None,
    ) -> None:
        self._model = model
        self._budget = budget
        self._allowed = budget
        self.started = started
        self._rounds: list[Round] = []
        self._attempts: list[Attempt] = []
        self._tools: list[ToolRun] = []
        self._last_errors: dict[str, LLMCallError] = {}
        self._pricing = pricing
        self._charges: list[Charge] = []
        self.attempts = 0
        self.number = 1
        self._skipped = skipped
        self.observe = observe

    @property
    def deadline(self) -> float | None:
        """When the time is used up, on the clock that gave `started`."""
        return None if self._allowed.seconds is None else self.started + self._allowed.seconds

    @property
    def rounds(self) -> int:
        """How many rounds have ended."""
        return len(self._rounds)

    def exceeded(self) -> str | None:
        """Which limit of the budget leaves no room for another attempt."""
        return self._spent().exceeds(self._allowed) if self._allowed.is_limited else None

    def allow(self, share: float | None, now: float) -> None:
        """From now on, only this `share` of what is left of the budget may be used; all of it without one."""
        self._allowed = self._budget if share is None else self._spent().share(self._budget, now - self.started, share)

    def _spent(self) -> Spent:
        return Spent(usd=self._known_cost(), usage=self._usage(), attempts=self.attempts)

    def begin_round(self) -> None:
        """The errors of earlier rounds are told in the trace; they are no reason why this one fails."""
        self._last_errors = {}

    def next_number(self) -> int:
        """The number of the attempt that begins now: two may be on their way."""
        self.number += 1
        return self.number - 1

    def add_attempt(self, attempt: Attempt, *, charge: Charge | None, error: LLMCallError | None) -> None:
        """An attempt has ended, with `error` or with an answer that has its `charge`."""
        self._attempts.append(attempt)
        if error is not None:
            self._last_errors[attempt.target] = error
        if charge is not None:
            self._charges.append(charge)

    def replay(self, attempt: Attempt, *, charge: Charge | None, error: LLMCallError | None) -> None:
        """An attempt of an earlier run of this call, as it was then."""
        self.number += 1
        self.attempts += attempt.sent
        self.add_attempt(attempt, charge=charge, error=error)

    def add_tool(self, run: ToolRun) -> None:
        """A tool was run for the model."""
        self._tools.append(run)

    def _usage(self) -> Usage:
        usages = [charge.usage for charge in self._charges]
        return usages[0] if len(usages) == 1 else sum(usages, start=Usage())

    def _known_cost(self) -> Decimal:
        """Prices are looked up only where money is limited."""
        if self._budget.usd is None:
            return Decimal(0)
        return sum((self._pricing(charge) or Decimal(0) for charge in self._charges), start=Decimal(0))

    def _noted(self, response: Response) -> Response:
        """`response`, which says so where money is limited and a price is not known."""
        unknown = [] if self._budget.usd is None else [each for each in self._charges if self._pricing(each) is None]
        if not unknown:
            return response
        why = f"the price of {unknown[0].provider}/{unknown[0].model} is unknown: the limit cannot hold"
        return replace(response, notices=(*response.notices, Notice(field="max_cost", fate="dropped", message=why)))

    def end_round(self, rung: str, response: Response, judgement: Judgement) -> None:
        """A round has ended with a judgement."""
        self._rounds.append(replace(self._open_round(rung), verdicts=judgement.verdicts, response=response))
        self._attempts, self._tools = [], []

    def fail_round(self, rung: str) -> None:
        """A round has ended without an answer. One in which nothing was tried is none."""
        if self._attempts or self._tools:
            self._rounds.append(self._open_round(rung))
        self._attempts, self._tools = [], []

    def _open_round(self, rung: str) -> Round:
        number, tools = len(self._rounds) + 1, tuple(self._tools)
        attempts = tuple(sorted(self._attempts, key=lambda attempt: attempt.number))
        return Round(number=number, rung=rung, attempts=attempts, tools=tools)

    def trace(self, now: float) -> Trace:
        """Everything so far, an unfinished round included."""
        rounds = tuple(self._rounds)
        if self._attempts:
            rounds += (self._open_round("reask" if rounds else "ask"),)
        return Trace(model=self._model, rounds=rounds, duration=now - self.started, skipped=self._skipped)

    @property
    def bill(self) -> Bill:
        """What everything so far is charged as."""
        return Bill(tuple(self._charges), self._pricing)

    def result(self, response: Response, judgement: Judgement, now: float) -> Result[Any]:
        """What the call came to."""
        return Result(
            ok=judgement.ok,
            value=judgement.value if judgement.ok else None,
            response=self._noted(response),
            trace=self.trace(now),
            verdicts=judgement.verdicts,
            repairs=judgement.repairs,
            usage=self._usage(),
            bill=self.bill,
            rung=self._rounds[-1].rung,
        )

    def cause(self, last: LLMCallError) -> LLMCallError | None:
        """What had failed in this round before `last`, where that is only that the time or the budget is used up."""
        if not isinstance(last, BudgetExceededError | DeadlineExceededError):
            return None
        earlier = [error for error in self._last_errors.values() if type(error) is not type(last)]
        return earlier[-1] if earlier else None

    def failure(self, last: LLMCallError) -> LLMCallError | None:
        """One error that tells of every target, where several were tried and none answered; `last` is the last one's."""
        if len(self._last_errors) < _SEVERAL or isinstance(last, BudgetExceededError | DeadlineExceededError):
            return None
        lines = [
            f"{attempt.target}: {attempt.failure.kind}: {attempt.failure.message}"
            for attempt in self._attempts
            if attempt.failure
        ]
        errors = tuple(self._last_errors.values())
        return AllTargetsFailedError("\n".join(["no target answered", *lines]), errors=errors, hint=last.hint)


_SEVERAL = 2


class AttemptSpan:
    """The span of one attempt. It writes itself into the record once: answered, failed, or left before its end.

    `let` and `head` are told when the attempt had leave to go out, and when the head of its reply was there. What came
    of it is told to the one who gave that leave.
    """

    def __init__(self, record: CallRecord, target: Target, turn: Turn, now: Callable[[], float]) -> None:
        self._record = record
        self._target = target
        self._turn = turn
        self._now = now
        self.number = record.next_number()
        self._begun = now()
        self._written = False
        self._permit: Permit | None = None
        self._head: float | None = None
        self._first_event: float | None = None
        self._headers: Mapping[str, str] = {}

    def let(self, permit: Permit) -> None:
        """The request leaves now."""
        self._permit = permit
        self._record.attempts += 1

    def head(self, headers: Mapping[str, str]) -> None:
        """The head of the reply is there."""
        self._head = self._now() - self._begun
        self._headers = headers

    def heard(self) -> float:
        """A stream has begun: that is what its caller has waited for. How long its target took, in seconds."""
        now = self._now()
        self._first_event = now - self._begun
        self._observe(None, now)
        return self._taken(now)

    def answered(self, usage: Usage) -> float:
        """The attempt gave an answer that used so many tokens. How long its target took, in seconds."""
        now = self._now()
        taken = self._taken(now)
        if self._first_event is None:
            self._observe(None, now)
        if self._permit is not None:
            self._permit.succeeded(taken, self._headers, usage)
        self._write(now - self._begun, usage=usage)
        return taken

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._written:
            return
        now = self._now()
        seconds = now - self._begun
        if isinstance(error, LLMCallError):
            if self._permit is not None:
                self._permit.failed(error, self._taken(now))
                self._observe(error, now)
            self._write(seconds, error=error, failure=error.failure())
        else:
            if self._permit is not None:
                self._permit.release()
            why = "the caller left before the end" if error is None else type(error).__name__
            self._write(seconds, failure=Failure(kind="Abandoned", message=why))

    def _observe(self, error: LLMCallError | None, now: float) -> None:
        if self._record.observe is not None:
            self._record.observe(self._target, self._taken(now), error, now)

    def _taken(self, now: float) -> float:
        """The seconds since the request has left: what it was held back for is not the target's doing."""
        return now - self._begun - (0.0 if self._permit is None else self._permit.waited)

    def _write(
        self,
        duration: float,
        *,
        usage: Usage | None = None,
        error: LLMCallError | None = None,
        failure: Failure | None = None,
    ) -> None:
        self._written = True
        held = 0.0 if self._permit is None else self._permit.waited
        attempt = Attempt(
            number=self.number,
            target=self._target.name,
            started=self._begun - self._record.started,
            duration=duration,
            wait=self._turn.wait,
            why=self._turn.why,
            usage=usage,
            failure=failure,
            timings=Timings(held=held, head=self._head, first_event=self._first_event, end=duration),
            sent=self._permit is not None,
        )
        self._record.add_attempt(
            attempt, charge=charge_of(self._target, usage) if usage is not None else None, error=error
        )


def charge_of(target: Target, usage: Usage) -> Charge:
    """What `usage` at `target` is charged as."""
    prices = target.profile.prices
    provider = target.provider if target.listed else "custom"
    return Charge(provider=provider, model=target.model, usage=usage, prices=prices)
