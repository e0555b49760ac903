"""Entries become results: all are checked before the first call, then a bounded number of calls is under way.

A case passes only by an answer that was called for and judged. Whatever goes wrong with one case is that case's
result; the others run.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.domain.errors import ConfigError, LLMCallError, MissingCredentialError, OutputError
from llm_call.core.domain.result import Result
from llm_call.core.domain.trace import Failure
from llm_call.core.timeline import one_line
from llm_call.runner.case import DEFAULT_PRIORITY, Case, CaseResult, Entry, configuration, read_case

_SHORTEST_SECRET = 8  # characters: something shorter is no key, and hiding it would hide ordinary words


class Plan(Protocol):
    """A call that is ready: the name of its model, and what its answer will be checked by (empty: unchecked)."""

    @property
    def model(self) -> str:
        """The model's name."""

    @property
    def checks(self) -> tuple[str, ...]:
        """The names of the checks."""


P = TypeVar("P", bound=Plan)


class Client(Protocol[P]):
    """What the runner calls: `llm_call.core.client.Client`, or a scripted one."""

    def prepare(self, config: Mapping[str, Any]) -> P:
        """The call that `config` describes. No I/O.

        Raises:
            LLMCallError: It cannot be made; `MissingCredentialError` when only the provider's key is missing.
        """

    async def execute(self, plan: P) -> Result[Any]:
        """The result; `ok` is false when the checks rejected the answer.

        Raises:
            LLMCallError: There is no answer to judge.
        """


Guard = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Takes the configuration of a case and gives the one to call with. Raises an `LLMCallError` for what may not be said."""


class Listener(Protocol):
    """Hears of every case as it goes."""

    def started(self, test_case_id: str) -> None:
        """The call begins."""

    def ended(self, result: CaseResult) -> None:
        """The verdict is there. A case that never started has one too."""


class Job(Struct, Generic[P], frozen=True, kw_only=True):
    """A case that is ready to be called. `blank` is its result as far as it is known before the call."""

    case: Case
    plan: P
    blank: CaseResult


class Run(Struct, frozen=True, kw_only=True):
    """The results in the order of the file; `not_run` cases have none. `duration` is in seconds."""

    results: tuple[CaseResult, ...]
    not_run: int
    interrupted: bool
    duration: float


def run(
    client: Client[P],
    entries: tuple[Entry, ...],
    *,
    name: str,
    model: str | None,
    at_once: int,
    listener: Listener,
    guard: Guard = dict,
) -> Run:
    """Run `entries` of the file `name`, at most `at_once` calls at a time; `model` overrides that of every case.

    `guard` refuses what the file may not say.

    Cases of a higher priority start first, equal ones in the order of the file. An interrupt (Ctrl-C) cancels the
    calls that are under way and ends the run with the results so far.
    """
    started = time.perf_counter()
    work = [check(client, entry, name=name, model=model, guard=guard) for entry in entries]
    work.sort(key=lambda item: -(item.case.priority if isinstance(item, Job) else DEFAULT_PRIORITY))
    results: dict[str, CaseResult] = {}
    interrupted = False
    try:
        asyncio.run(_work_off(client, work, results, at_once=at_once, listener=listener))
    except KeyboardInterrupt:
        interrupted = True
    ordered = tuple(results[entry.test_case_id] for entry in entries if entry.test_case_id in results)
    return Run(
        results=ordered,
        not_run=len(entries) - len(ordered),
        interrupted=interrupted,
        duration=time.perf_counter() - started,
    )


def check(client: Client[P], entry: Entry, *, name: str, model: str | None, guard: Guard = dict) -> Job[P] | CaseResult:
    """The job that `entry` of the file `name` describes, or its result where there is nothing to call."""
    result = CaseResult(test_case_id=entry.test_case_id, line=entry.line, outcome="skipped")
    where = f"{name}:{entry.line}: "
    try:
        case = read_case(entry)
    except ConfigError as error:
        return _with_error(result, error, where=where)
    if not case.enabled:
        return replace(result, why="disabled in the file")
    result = replace(result, expected=case.expect, debug=case.llm_config.get("debug_mode") is True)
    try:
        plan = client.prepare(guard(configuration(case, model)))
    except MissingCredentialError as error:
        return replace(result, why=reason(error))
    except Exception as error:  # noqa: BLE001  (one case's fault, whatever it is, must not stop the others)
        return judge(_hidden(_with_error(result, error, where=where), case))
    return Job(case=case, plan=plan, blank=replace(result, model=plan.model, unchecked=not plan.checks))


def judge(result: CaseResult) -> CaseResult:
    """`result` against what was expected of its case. An error that was not expected stays an error."""
    if result.expected == "passed":
        return result
    if result.outcome == result.expected:
        return replace(result, outcome="passed", why=f"{result.outcome} as expected: {result.why}")
    if result.outcome == "error":
        return result
    expected = "an error" if result.expected == "error" else "a rejected answer"
    came = f"the answer was rejected: {result.why}" if result.outcome == "failed" else "the answer was accepted"
    return replace(result, outcome="failed", why=f"{expected} was expected, but {came}")


def reason(error: BaseException) -> str:
    """What `error` says, in one line, with its hint. What is no error of ours is named by its type."""
    if not isinstance(error, LLMCallError):
        return f"{type(error).__name__}: {one_line(str(error))}"
    return one_line(f"{error.message} ({error.hint})" if error.hint else error.message)


async def _work_off(
    client: Client[P],
    work: Sequence[Job[P] | CaseResult],
    results: dict[str, CaseResult],
    *,
    at_once: int,
    listener: Listener,
) -> None:
    """Workers that share one iterator: as many calls are under way as there are workers, never more."""
    remaining = iter(work)

    async def worker() -> None:
        for item in remaining:
            result = await _call(client, item, listener) if isinstance(item, Job) else item
            results[result.test_case_id] = result
            listener.ended(result)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, len(work))):
            group.create_task(worker())


async def _call(client: Client[P], job: Job[P], listener: Listener) -> CaseResult:
    listener.started(job.case.test_case_id)
    started = time.perf_counter()
    result = _hidden(await _answered(client, job), job.case)
    return replace(judge(result), duration=time.perf_counter() - started)


async def _answered(client: Client[P], job: Job[P]) -> CaseResult:
    try:
        answer = await client.execute(job.plan)
    except OutputError as error:
        return _with_answer(job.blank, error.result)
    except asyncio.CancelledError as error:
        if _is_cancelled():
            raise
        return _with_error(job.blank, error)
    except Exception as error:  # noqa: BLE001  (a crash, of a validator for instance, is this case's result)
        return _with_error(job.blank, error)
    return _with_answer(job.blank, answer)


def _is_cancelled() -> bool:
    """Whether this very task is to end, and not only something that it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _with_answer(result: CaseResult, answer: Result[Any]) -> CaseResult:
    return replace(
        result,
        outcome="passed" if answer.ok else "failed",
        why="" if answer.ok else _rejection(answer),
        answered_by=answer.response.model,
        answer=answer.text,
        value=answer.value,
        verdicts=answer.verdicts,
        usage=answer.usage,
        cost=answer.cost,
        charges=answer.bill.charges,
        trace=answer.trace,
    )


def _rejection(answer: Result[Any]) -> str:
    """Every problem that made the answer unacceptable, in one line; before it, who is to decide now."""
    asked = f"a person is asked, `llm-call review show {answer.pending.id}`: " if answer.pending else ""
    rejecting = [verdict for verdict in answer.verdicts if not verdict.valid and verdict.severity == "must"]
    said = "; ".join(f"{verdict.validator}: {verdict.error}" for verdict in rejecting)
    return one_line(asked + (said or "the answer was rejected"))


def _with_error(result: CaseResult, error: BaseException, *, where: str = "") -> CaseResult:
    result = replace(result, outcome="error", why=where + reason(error))
    if isinstance(error, LLMCallError):
        return replace(result, failure=error.failure(), trace=error.trace)
    return replace(result, failure=Failure(kind=type(error).__name__, message=str(error)))


def _hidden(result: CaseResult, case: Case) -> CaseResult:
    """`result` without the case's own key, should a foreign error have quoted it."""
    key = case.llm_config.get("api_key")
    if not isinstance(key, str) or len(key) < _SHORTEST_SECRET:
        return result
    failure = result.failure and replace(result.failure, message=result.failure.message.replace(key, "<hidden>"))
    return replace(result, why=result.why.replace(key, "<hidden>"), failure=failure)
