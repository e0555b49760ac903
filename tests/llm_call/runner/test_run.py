import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping
from decimal import Decimal
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.domain.errors import ConfigError, MissingCredentialError, OutputError, ServerError
from llm_call.core.domain.messages import Text
from llm_call.core.domain.response import Response, Usage
from llm_call.core.domain.result import Result
from llm_call.core.domain.review import Pending
from llm_call.core.domain.trace import Trace
from llm_call.core.domain.verdict import Problem, accepted, rejected
from llm_call.core.timeline import one_line
from llm_call.runner.case import CaseResult, Entry
from llm_call.runner.run import Run, run


class ScriptedPlan(Struct, frozen=True, kw_only=True):
    model: str
    checks: tuple[str, ...]


def answered(text: str, *problems: str) -> Result[Any]:
    verdict = rejected("contains", *(Problem(code="c", message=each) for each in problems))
    return Result(
        ok=not problems,
        value=None if problems else text,
        response=Response(model="really", parts=(Text(text=text),)),
        trace=Trace(model="m"),
        verdicts=(verdict if problems else accepted("contains", text),),
        usage=Usage(input_tokens=3),
    )


class ScriptedClient:
    """The model's name says what happens; `during` happens in every call."""

    def __init__(self, during: Callable[[str], Coroutine[Any, Any, None]] | None = None) -> None:
        self.called: list[str] = []
        self.prepared: list[Mapping[str, Any]] = []
        self._during = during

    def prepare(self, config: Mapping[str, Any]) -> ScriptedPlan:
        assert not self.called, "a case was checked after the first call"
        self.prepared.append(config)
        match config["model"]:
            case "keyless":
                raise MissingCredentialError("no key", hint="Set SOME_KEY.")
            case "faulty":
                raise ConfigError("unknown validator 'contians'", hint="Did you mean contains?")
            case "crashing":
                raise TypeError(f"unhashable, key {config.get('api_key')}")
        return ScriptedPlan(
            model=config["model"], checks=() if config.get("default_validate") is False else ("contains",)
        )

    async def execute(self, plan: ScriptedPlan) -> Result[Any]:
        self.called.append(plan.model)
        if self._during:
            async with asyncio.timeout(10):  # only so that a broken runner fails, and does not hang
                await self._during(plan.model)
        match plan.model.split("-")[0]:
            case "pending":
                return replace(answered("no", "too short"), pending=Pending(id="r1", reason="rejected"))
            case "rejected":
                return answered("no", "'x' is missing", "too short")
            case "exhausted":
                raise OutputError("rejected", result=answered("no", "still wrong"))
            case "down":
                raise ServerError("upstream failed", status=503, hint="Try again.")
            case "crash":
                raise RuntimeError("a validator\ncrashed, key sk-12345678")
            case "cancelled":
                raise asyncio.CancelledError
        return answered("yes")


class Heard:
    def __init__(self) -> None:
        self.events: list[str] = []

    def started(self, test_case_id: str) -> None:
        self.events.append(f"started {test_case_id}")

    def ended(self, result: CaseResult) -> None:
        self.events.append(f"{result.outcome} {result.test_case_id}")


def entry(model: str, test_case_id: str = "", *, config: Mapping[str, Any] | None = None, **fields: Any) -> Entry:
    identity = test_case_id or model
    fields = {"test_case_id": identity, "llm_config": {"model": model, **(config or {})}, **fields}
    return Entry(test_case_id=identity, line=7, fields=fields)


def ran(
    *entries: Entry,
    client: ScriptedClient | None = None,
    at_once: int = 1,
    model: str | None = None,
    listener: Heard | None = None,
) -> Run:
    client, listener = client or ScriptedClient(), listener or Heard()
    return run(client, entries, name="f.json", model=model, at_once=at_once, listener=listener)


def only(given: Entry) -> CaseResult:
    (result,) = ran(given).results
    return result


def test_an_accepted_answer_passes_with_its_evidence() -> None:
    result = only(entry("fine"))
    assert result.duration > 0
    assert replace(result, duration=0.0) == CaseResult(
        test_case_id="fine",
        outcome="passed",
        line=7,
        model="fine",
        answered_by="really",
        answer="yes",
        value="yes",
        verdicts=(accepted("contains", "yes"),),
        usage=Usage(input_tokens=3),
        cost=Decimal(0),
        trace=Trace(model="m"),
    )


@pytest.mark.parametrize(
    ("model", "why"), [("rejected", "contains: 'x' is missing; too short"), ("exhausted", "contains: still wrong")]
)
def test_a_rejected_answer_fails_and_says_why(model: str, why: str) -> None:
    result = only(entry(model))
    assert (result.outcome, result.why, result.answer, result.value) == ("failed", why, "no", None)


def test_a_case_that_waits_for_a_person_fails_and_names_the_review() -> None:
    result = only(entry("pending"))
    assert result.outcome == "failed"
    assert result.why == "a person is asked, `llm-call review show r1`: contains: too short"


@pytest.mark.parametrize(
    ("model", "why", "kind"),
    [
        ("down", "upstream failed (Try again.)", "ServerError"),
        ("crash", "RuntimeError: a validator crashed, key sk-12345678", "RuntimeError"),
        ("cancelled", "CancelledError: ", "CancelledError"),
        ("faulty", "f.json:7: unknown validator 'contians' (Did you mean contains?)", "ConfigError"),
        ("crashing", "f.json:7: TypeError: unhashable, key None", "TypeError"),
    ],
)
def test_everything_else_is_an_error_and_never_a_pass(model: str, why: str, kind: str) -> None:
    result = only(entry(model))
    assert (result.outcome, result.why) == ("error", why)
    assert result.failure is not None
    assert result.failure.kind == kind


@pytest.mark.parametrize("model", ["crash", "crashing"])
def test_a_key_that_a_foreign_error_quotes_is_hidden(model: str) -> None:
    result = only(entry(model, config={"api_key": "sk-12345678"}))
    assert result.outcome == "error"
    assert "key <hidden>" in result.why
    assert "sk-12345678" not in repr(result)


def test_the_reason_of_a_rejection_names_what_was_expected_and_leaves_out_what_did_not_matter() -> None:
    class Client(ScriptedClient):
        async def execute(self, plan: ScriptedPlan) -> Result[Any]:
            advice = replace(rejected("tone", Problem(code="t", message="rude")), severity="should")
            missing = Problem(code="c", path="/a/0", message="it is missing", expected="a name")
            return replace(answered("no", "x"), verdicts=(advice, rejected("field", missing)))

    (result,) = ran(entry("fine"), client=Client()).results
    assert result.why == "field: /a/0: it is missing (expected a name)"


def test_a_missing_key_or_a_disabled_case_is_skipped_with_the_reason() -> None:
    keyless, disabled = ran(entry("keyless"), entry("fine", enabled=False)).results
    assert (keyless.outcome, keyless.why) == ("skipped", "no key (Set SOME_KEY.)")
    assert (disabled.outcome, disabled.why) == ("skipped", "disabled in the file")


def test_an_unknown_key_in_a_case_is_an_error_with_its_line_and_the_others_run() -> None:
    wrong, right = ran(entry("fine", "wrong", tag=[]), entry("fine", "right")).results
    assert (wrong.outcome, wrong.why) == ("error", "f.json:7: case: unknown key 'tag' (Did you mean tags?)")
    assert right.outcome == "passed"


def test_a_case_that_nothing_checks_is_marked() -> None:
    assert [only(entry("fine", config=config)).unchecked for config in ({}, {"default_validate": False})] == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("expect", "model", "outcome", "why"),
    [
        ("failed", "rejected", "passed", "failed as expected: contains: 'x' is missing; too short"),
        ("failed", "fine", "failed", "a rejected answer was expected, but the answer was accepted"),
        ("failed", "down", "error", "upstream failed (Try again.)"),
        ("failed", "faulty", "error", "f.json:7: unknown validator 'contians' (Did you mean contains?)"),
        ("error", "down", "passed", "error as expected: upstream failed (Try again.)"),
        ("error", "fine", "failed", "an error was expected, but the answer was accepted"),
        ("error", "exhausted", "failed", "an error was expected, but the answer was rejected: contains: still wrong"),
        ("error", "keyless", "skipped", "no key (Set SOME_KEY.)"),
        ("passed", "fine", "passed", ""),
    ],
)
def test_a_case_passes_when_exactly_what_was_expected_comes_out(
    expect: str, model: str, outcome: str, why: str
) -> None:
    result = only(entry(model, expect=expect))
    assert (result.outcome, result.why, result.expected) == (outcome, why, expect)


MIXED = ("fine-1", "rejected", "down", "keyless", "crash", "fine-2", "faulty", "exhausted", "fine-3")


def test_one_at_a_time_each_verdict_follows_its_start_in_the_order_of_the_file() -> None:
    heard = Heard()
    ran(*map(entry, ("fine", "faulty", "rejected", "keyless")), listener=heard)
    assert heard.events == [
        "started fine",
        "passed fine",
        "error faulty",
        "started rejected",
        "failed rejected",
        "skipped keyless",
    ]


def test_in_parallel_the_outcomes_and_their_order_are_those_of_one_at_a_time() -> None:
    def plain(run_: Run) -> list[CaseResult]:
        return [replace(result, duration=0.0) for result in run_.results]

    entries = tuple(map(entry, MIXED))
    assert plain(ran(*entries)) == plain(ran(*entries, at_once=4)) == plain(ran(*entries, at_once=10**9))


def test_the_bound_is_reached_and_never_passed() -> None:
    barrier, under_way, most = asyncio.Barrier(3), 0, 0

    async def during(_: str) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await barrier.wait()  # goes on only when three are here at once
        under_way -= 1

    entries = [entry(f"fine-{number}") for number in range(12)]
    done = ran(*entries, client=ScriptedClient(during), at_once=3)
    assert len(done.results) == 12
    assert most == 3


def test_the_next_case_starts_as_soon_as_one_ends() -> None:
    second_is_done = asyncio.Event()

    async def during(model: str) -> None:
        if model == "fine-slow":
            await second_is_done.wait()
        if model == "fine-3":
            second_is_done.set()

    entries = [entry(model) for model in ("fine-slow", "fine-1", "fine-2", "fine-3")]
    assert len(ran(*entries, client=ScriptedClient(during), at_once=2).results) == 4


def test_higher_priorities_start_first_and_results_keep_the_order_of_the_file() -> None:
    client = ScriptedClient()
    priorities = {"fine-a": 1, "fine-b": 5, "fine-c": 9, "fine-d": 5}
    done = ran(*(entry(model, priority=priority) for model, priority in priorities.items()), client=client)
    assert client.called == ["fine-c", "fine-b", "fine-d", "fine-a"]
    assert [result.test_case_id for result in done.results] == list(priorities)


def test_one_model_can_be_asked_instead_of_each_case_s_own() -> None:
    client = ScriptedClient()
    done = ran(entry("down"), entry("faulty"), client=client, model="fine")
    assert client.called == ["fine", "fine"]
    assert [result.outcome for result in done.results] == ["passed", "passed"]


@pytest.mark.parametrize("at_once", [1, 2])
def test_an_interrupt_cancels_what_is_under_way_and_keeps_what_is_done(at_once: int) -> None:
    cancelled: list[str] = []

    async def during(model: str) -> None:
        if model == "fine-done":
            return
        if model == "fine-interrupted":
            signal.raise_signal(signal.SIGINT)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(model)
            raise

    client = ScriptedClient(during)
    done = ran(
        *map(entry, ("fine-done", "fine-interrupted", "fine-other", "fine-last")), client=client, at_once=at_once
    )
    assert done.interrupted
    assert [result.test_case_id for result in done.results] == ["fine-done"]
    assert done.not_run == 3
    assert sorted(cancelled) == ["fine-interrupted", "fine-other"][:at_once]


def test_reasons_are_one_line_that_cannot_steer_a_terminal() -> None:
    assert one_line(" a\n\tb\u2028c  d ") == "a b c d"
    assert one_line("red \x1b[31m \ud800 é ✅") == "red \\x1b[31m \\ud800 é ✅"
