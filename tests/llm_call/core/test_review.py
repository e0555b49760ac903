"""A person decides: what is handed to them, and what their decision comes to."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from llm_call.core.client import Client
from llm_call.core.domain.errors import CallAbortedError, ConfigError, OutputError
from llm_call.core.domain.result import Result
from llm_call.core.domain.review import Decision, Pending
from llm_call.core.policy.escalation import Ladder, Rung
from llm_call.core.review import CallbackReviewer, Reviewer, ReviewRequest
from llm_call.core.router import Router
from llm_call.core.settling import best, settle
from llm_call.core.validation import build
from llm_call.testing.clock import FakeClock
from llm_call.testing.scripted import ScriptedTransport, Step, chat_reply, error_reply

AGE = {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}}
HUMAN: Ladder = (Rung(kind="human", when="any"),)


class Asked:
    """A client whose calls end with a person, and what that person was shown."""

    def __init__(self, *steps: Step, decisions: list[Decision | Pending], reviewer: Reviewer | None = None) -> None:
        self.transport = ScriptedTransport(*steps)
        self.shown: list[ReviewRequest] = []
        self._decisions = decisions
        self.clock = FakeClock()
        self.client = Client(
            router=Router(credentials={"OPENAI_API_KEY": "sk-secret"}),
            transports={"http": lambda: self.transport},
            clock=self.clock,
            chance=lambda: 0.5,
            reviewer=reviewer or self,
        )

    async def review(self, request: ReviewRequest) -> Decision | Pending:
        self.shown.append(request)
        return self._decisions.pop(0)

    def ask(self, prompt: str = "How old is Ann?", *, ladder: Ladder = HUMAN, **options: Any) -> Result[Any]:
        plan = self.client.plan(prompt, model="openai/gpt-4o", ladder=ladder, **options)
        return self.clock.run(self.client.execute(plan))


def test_a_person_is_asked_about_a_rejected_answer_though_another_model_is_down() -> None:
    ladder = (Rung(kind="model", model="openai/gpt-4o"), Rung(kind="human"))
    asked = Asked(chat_reply("no"), error_reply(503), decisions=[Decision(action="edit", value="yes")])
    plan = asked.client.plan(
        "?", model="openai/small", validate=[{"type": "contains", "params": {"required_text": "yes"}}], ladder=ladder,
        retry={"max_attempts": 1},
    )  # fmt: skip
    assert asked.clock.run(asked.client.execute(plan)).value == "yes"
    assert [each.rung for each in asked.shown[0].trace.rounds] == ["ask", "model"]


def test_what_is_handed_over_can_be_written_down_and_holds_no_key() -> None:
    ours = Asked(chat_reply("old", prompt_tokens=3, completion_tokens=1), decisions=[Decision(action="reject")])
    ours.ask(schema=AGE, api_key="sk-of-the-caller")
    [asked] = ours.shown
    body = msgspec.json.encode(asked)
    assert msgspec.json.decode(body, type=ReviewRequest) == asked
    assert b"sk-" not in body
    assert asked.call.model == "openai/gpt-4o"
    assert (asked.reason, asked.response.text) == ("rejected", "old")  # type: ignore[union-attr]
    assert asked.problems
    assert asked.charges[0].usage.input_tokens == 3


def test_pending_ends_the_call_as_data() -> None:
    ours = Asked(chat_reply("old"), decisions=[Pending(id="r1", reason="rejected")])
    result = ours.ask(schema=AGE)
    assert (result.ok, result.pending, result.rung) == (False, Pending(id="r1", reason="rejected"), "human")
    assert msgspec.json.decode(msgspec.json.encode(result.pending), type=Pending) == result.pending
    with pytest.raises(OutputError, match="review r1 is open"):
        result.unwrap()


def test_an_approved_answer_stands_against_the_validators() -> None:
    ours = Asked(chat_reply('{"age": 7}'), decisions=[Decision(action="approve", by="ann")])
    result = ours.ask(schema=AGE, validate=[{"type": "not_contains", "params": {"text": "7"}}])
    assert (result.ok, result.value) == (True, {"age": 7})
    assert [(each.validator, each.valid, each.severity) for each in result.verdicts[-2:]] == [
        ("not_contains", False, "info"),
        ("human", True, "must"),
    ]


def test_what_does_not_fit_the_form_cannot_be_approved() -> None:
    ours = Asked(chat_reply("old"), decisions=[Decision(action="approve"), Decision(action="reject", reason="no")])
    result = ours.ask(schema=AGE)
    assert ours.shown[1].objections == ours.shown[0].problems
    assert (result.ok, result.verdicts[-1].validator) == (False, "human")
    assert "no" in result.problems[-1]


def test_an_edit_is_judged_as_a_models_answer_is_and_bounces_with_the_same_words() -> None:
    check = {"type": "not_contains", "params": {"text": "7"}}
    ours = Asked(
        chat_reply('{"age": 7}'),
        decisions=[
            Decision(action="edit", value={"age": "x"}),
            Decision(action="edit", value='{"age": 71}'),
            Decision(action="edit", value={"age": 8}, by="bob"),
        ],
    )
    result = ours.ask(schema=AGE, validate=[check])
    assert ours.shown[2].objections == ours.shown[0].problems
    assert "integer" in ours.shown[1].objections[0]
    assert (result.ok, result.value, result.response.model) == (True, {"age": 8}, "human")
    assert result.unwrap() == {"age": 8}


def test_an_edit_gives_an_answer_where_there_was_none() -> None:
    ours = Asked(error_reply(400), decisions=[Decision(action="approve"), Decision(action="edit", value="seven")])
    result = ours.ask()
    assert ours.shown[0].reason == "failed"
    assert ours.shown[0].problems == (ours.shown[0].error,)
    assert "no answer to approve" in ours.shown[1].objections[0]
    assert (result.ok, result.value, result.text) == (True, "seven", "seven")


def test_a_retry_goes_on_with_the_changes_and_the_feedback_in_one_trace() -> None:
    again = Decision(
        action="retry", changes={"model": "openai/gpt-4o-mini", "temperature": 0.1, "feedback": "Digits only."}
    )
    ours = Asked(
        chat_reply("old", prompt_tokens=3, completion_tokens=1),
        chat_reply('{"age": 7}', prompt_tokens=5, completion_tokens=2),
        decisions=[again],
    )
    result = ours.ask(schema=AGE)
    assert (result.ok, result.value) == (True, {"age": 7})
    second = ours.transport.bodies[1]
    assert (second["model"], second["temperature"]) == ("gpt-4o-mini", 0.1)
    assert "Digits only." in second["messages"][-1]["content"]
    assert "old" in second["messages"][-1]["content"]
    assert [each.number for each in result.trace.rounds] == [1, 2]
    assert [each.number for each in result.trace.attempts] == [1, 2]
    assert result.usage.input_tokens == 8
    assert len(result.bill.charges) == 2


def test_a_retry_that_is_rejected_ends_in_the_same_review_again() -> None:
    ours = Asked(
        chat_reply("old"),
        chat_reply("older"),
        decisions=[Decision(action="retry", changes={"rounds": 1}), Decision(action="reject")],
    )
    assert not ours.ask(schema=AGE).ok
    assert [each.response and each.response.text for each in ours.shown] == ["old", "older"]
    assert len(ours.shown[1].trace.rounds) == 2


def test_a_retry_that_nobody_answers_ends_in_the_same_review_again() -> None:
    ours = Asked(chat_reply("old"), error_reply(400), decisions=[Decision(action="retry"), Decision(action="reject")])
    assert not ours.ask(schema=AGE).ok
    assert ours.shown[1].response == ours.shown[0].response
    assert ours.shown[1].error
    assert len(ours.shown[1].trace.attempts) == 2


def test_a_retry_has_what_is_left_of_the_time() -> None:
    ours = Asked(
        chat_reply("old", delay=4.0),
        chat_reply("x", delay=100.0),
        decisions=[Decision(action="retry"), Decision(action="retry"), Decision(action="reject")],
    )
    ours.ask(schema=AGE, timeout=10.0)
    assert ours.shown[1].trace.duration == pytest.approx(10.0)
    assert "timeout is used up" in ours.shown[2].objections[0]


def test_a_person_may_grant_more_time() -> None:
    ours = Asked(
        chat_reply("old", delay=4.5),
        chat_reply('{"age": 7}', delay=5.0),
        decisions=[Decision(action="retry", changes={"timeout": 20})],
    )
    assert ours.ask(schema=AGE, timeout=10.0).ok


@pytest.mark.parametrize("changes", [{"api_base": "http://h"}, {"api_key": "k"}, {"validation": []}, {"modle": "x"}])
def test_where_the_call_goes_and_what_checks_it_is_not_a_reviewers_to_change(changes: dict[str, Any]) -> None:
    ours = Asked(chat_reply("old"), decisions=[Decision(action="retry", changes=changes), Decision(action="reject")])
    ours.ask(schema=AGE)
    assert "unknown key" in ours.shown[1].objections[0]
    assert len(ours.transport.requests) == 1


def test_abort_raises_for_whoever_waits() -> None:
    ours = Asked(chat_reply("old"), decisions=[Decision(action="abort", by="ann", reason="obsolete")])
    with pytest.raises(CallAbortedError, match="ended by ann: obsolete") as caught:
        ours.ask(schema=AGE)
    assert caught.value.trace is not None


def test_a_callback_that_only_gives_what_cannot_be_is_not_asked_for_ever() -> None:
    ours = Asked(chat_reply("old"), decisions=[Decision(action="escalate")] * 9)
    result = ours.ask(schema=AGE)
    assert len(ours.shown) == 5
    assert "no higher level" in result.problems[-1]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_callback_may_be_a_function_or_a_coroutine_function(asynchronous: bool) -> None:
    async def later(request: ReviewRequest) -> Decision:
        return Decision(action="edit", value="7")

    def now(request: ReviewRequest) -> Decision:
        return Decision(action="edit", value="7")

    function: Callable[[ReviewRequest], Any] = later if asynchronous else now
    ours = Asked(chat_reply(""), decisions=[], reviewer=CallbackReviewer(function))
    assert ours.ask().value == "7"


def test_a_ladder_with_a_person_and_nobody_to_ask_is_refused_before_the_first_byte() -> None:
    transport = ScriptedTransport(chat_reply("x"))
    client = Client(transports={"http": lambda: transport})
    plan = replace(client.plan("hi", api_base="http://h", model="m"), ladder=HUMAN)
    with pytest.raises(ConfigError, match="nobody"):
        asyncio.run(client.execute(plan))
    assert transport.requests == []


def test_the_best_answer_is_the_one_that_the_fewest_checks_reject() -> None:
    check = [{"type": "not_contains", "params": {"text": "7"}}, {"type": "contains", "params": {"text": "8"}}]
    ladder = (Rung(kind="again", rounds=2), Rung(kind="human", when="any"))
    ours = Asked(
        chat_reply('{"age": 5}'),
        chat_reply('{"age": 7}'),
        chat_reply("no JSON at all"),
        decisions=[Decision(action="reject")],
    )
    ours.ask(schema=AGE, validate=check, ladder=ladder)
    found = best(ours.shown[0])
    assert found is not None
    assert found.text == '{"age": 5}'


def test_money_that_is_spent_has_to_be_granted_anew() -> None:
    ours = Asked(chat_reply("old"), decisions=[Decision(action="reject")])
    ours.ask(schema=AGE, max_cost=Decimal(1))
    asked = replace(ours.shown[0], spent=Decimal(1))
    bounced = settle(asked, Decision(action="retry"), [build("response_not_empty")])
    assert "max_cost is used up" in bounced.problems[0]  # type: ignore[union-attr]
