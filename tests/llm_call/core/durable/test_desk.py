"""Durable calls and reviews, on the default store."""

import asyncio
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from llm_call.core.domain.errors import CallAbortedError, ConfigError, DeadlineExceededError, LLMCallError
from llm_call.core.domain.result import Result
from llm_call.core.domain.review import Decision
from llm_call.testing.scripted import chat_reply, error_reply

AGE = {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}}
ASKED = {
    "model": "openai/gpt-4o",
    "question": "How old is Ann?",
    "schema": AGE,
    "ladder": ["human"],
    "validation": [{"type": "not_contains", "params": {"text": "9"}}],
}
Make = Callable[..., Any]


def run(ours: Any, work: Callable[[], Awaitable[Any]]) -> Any:
    async def closed() -> Any:
        try:
            return await work()
        finally:
            await ours.client.close()

    return asyncio.run(closed())


def test_a_durable_call_comes_to_what_the_call_comes_to(office: Make, tmp_path: Path) -> None:
    ours = office(chat_reply('{"age": 7}', prompt_tokens=3, completion_tokens=2))

    async def work() -> Any:
        identity = await ours.client.submit("How old is Ann?", model="openai/gpt-4o", schema=AGE)
        return await ours.client.wait(identity, timeout=20)

    result = run(ours, work)
    assert (result.ok, result.value, result.usage.input_tokens) == (True, {"age": 7}, 3)
    assert result.cost is None or result.cost >= 0
    file = tmp_path / "state" / "durable.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"sk-secret" not in file.read_bytes()


def test_the_error_of_a_durable_call_reaches_whoever_waits(office: Make) -> None:
    ours = office(error_reply(401))

    async def work() -> Any:
        return await ours.client.wait(await ours.client.submit("hi", model="openai/gpt-4o"), timeout=20)

    with pytest.raises(LLMCallError) as caught:
        run(ours, work)
    assert type(caught.value).__name__ == "AuthenticationError"
    assert caught.value.trace is not None


def test_a_call_that_a_person_must_decide_is_pending_and_comes_to_what_they_say(office: Make) -> None:
    ours = office(chat_reply("old"))

    async def work() -> tuple[Result[Any], list[Any], Result[Any]]:
        first = await ours.client.call(ASKED)
        identity = first.pending.id
        came = [
            await ours.desk.decide(identity, decision, face="test")
            for decision in (
                Decision(action="approve", by="ann"),
                Decision(action="edit", value={"age": 9}, by="bob"),
                Decision(action="edit", value={"age": 8}, by="bob"),
                Decision(action="reject", by="ann"),
            )
        ]
        return first, came, await ours.client.wait(first, timeout=5)

    first, came, result = run(ours, work)
    assert (first.ok, first.rung) == (False, "human")
    assert [each.what for each in came] == ["bounced", "bounced", "ended", "late"]
    assert came[3].note.startswith("bob was first: edit")
    assert (result.ok, result.value, result.rung) == (True, {"age": 8}, "human")


def test_the_same_key_is_the_same_decision(office: Make) -> None:
    ours = office(chat_reply("old"))

    async def work() -> tuple[Any, Any, Any]:
        identity = (await ours.client.call(ASKED)).pending.id
        decision = Decision(action="reject", by="ann")
        once = await ours.desk.decide(identity, decision, face="file", key="k")
        again = await ours.desk.decide(identity, decision, face="file", key="k")
        return once, again, await ours.desk.case(identity)

    once, again, case = run(ours, work)
    assert once == again
    assert len(case.links) == 2


def test_of_many_who_decide_at_once_one_is_first_and_the_others_are_told(office: Make) -> None:
    ours = office(chat_reply('{"age": 9}'))

    async def work() -> list[Any]:
        identity = (await ours.client.call(ASKED)).pending.id
        names = ("ann", "bob", "cyd", "dan")
        return await asyncio.gather(
            *(ours.desk.decide(identity, Decision(action="approve", by=name), face="test") for name in names)
        )

    came = run(ours, work)
    assert sorted(each.what for each in came) == ["ended", "late", "late", "late"]
    assert len({each.note for each in came if each.what == "late"}) == 1


def test_a_retry_goes_on_and_a_rejected_one_leaves_the_review_open(office: Make) -> None:
    ours = office(chat_reply("old"), chat_reply("older"), chat_reply('{"age": 8}'))

    async def work() -> tuple[Any, Result[Any]]:
        first = await ours.client.call(ASKED)
        again = Decision(action="retry", changes={"feedback": "Digits.", "rounds": 1})
        came = await ours.desk.decide(first.pending.id, again, face="test")
        await ours.desk.decide(first.pending.id, again, face="test")
        return came, await ours.client.wait(first, timeout=5)

    came, result = run(ours, work)
    assert (came.what, came.asked.response.text) == ("open", "older")
    assert (result.value, len(result.trace.rounds), len(result.bill.charges)) == ({"age": 8}, 3, 3)


def test_abort_raises_for_whoever_waits(office: Make) -> None:
    ours = office(chat_reply("old"))

    async def work() -> None:
        first = await ours.client.call(ASKED)
        await ours.desk.decide(first.pending.id, Decision(action="abort", by="ann"), face="test")
        await ours.client.wait(first, timeout=5)

    with pytest.raises(CallAbortedError, match="ended by ann"):
        run(ours, work)


def test_waiting_in_vain_loses_nothing(office: Make) -> None:
    ours = office(chat_reply("old"))

    async def work() -> None:
        await ours.client.wait(await ours.client.call(ASKED), timeout=0)

    with pytest.raises(DeadlineExceededError, match="waits for a person"):
        run(ours, work)


@pytest.mark.parametrize(
    ("policy", "answer", "ok"),
    [("fail", '{"age": 9}', False), ("accept_best", '{"age": 9}', True), ("accept_best", "old", False)],
)
def test_what_nobody_decides_the_policy_does(office: Make, policy: str, answer: str, ok: bool) -> None:
    ours = office(chat_reply(answer), on_expiry=policy, expires_after=60.0)

    async def work() -> Any:
        first = await ours.client.call(ASKED)
        ours.time.now += 61
        return await ours.client.wait(first, timeout=5)

    assert run(ours, work).ok is ok


def test_expiry_hands_it_to_the_next_level_and_then_fails(office: Make) -> None:
    webhooks = ("http://127.0.0.1:9/a", "http://127.0.0.1:9/b")
    ours = office(chat_reply("old"), on_expiry="escalate", expires_after=60.0, webhooks=webhooks)

    async def work() -> tuple[int, Result[Any]]:
        first = await ours.client.call(ASKED)
        ours.time.now += 61
        case = await ours.desk.case(first.pending.id)
        ours.time.now += 61
        return case.standing.level, await ours.client.wait(first, timeout=5)

    level, result = run(ours, work)
    assert level == 1
    assert "nobody has decided in time" in result.problems[-1]


def test_what_must_not_be_stored_is_refused_before_the_first_byte(office: Make) -> None:
    ours = office(chat_reply("x"))

    class Own:
        name = "own"

        def validate(self, answer: Any, context: Any) -> Any:
            raise AssertionError

    for options in ({"api_key": "k"}, {"validate": [Own()]}, {"routing_key": "sk-abcdefghijklmnopqrstuvwxyz"}):
        with pytest.raises(ConfigError):
            run(ours, lambda: ours.client.submit("hi", model="openai/gpt-4o", **options))  # noqa: B023
    assert ours.transport.requests == []


def test_one_process_has_one_store(office: Make) -> None:
    ours, others = office(chat_reply("x")), office(chat_reply("x"))

    async def work() -> None:
        await ours.client.submit("hi", model="openai/gpt-4o")
        await others.client.submit("hi", model="openai/gpt-4o")

    with pytest.raises(ConfigError, match="another durable store"):
        run(ours, work)


def test_an_unknown_id_is_refused(office: Make) -> None:
    ours = office(chat_reply("x"))
    with pytest.raises(ConfigError, match="no call or review"):
        run(ours, lambda: ours.client.wait("c0"))


def test_the_same_key_is_the_same_call(office: Make) -> None:
    ours = office(chat_reply("x"))

    async def work() -> tuple[str, str]:
        once = await ours.client.submit("hi", model="openai/gpt-4o", key="order 1")
        await ours.client.wait(once, timeout=20)
        return once, await ours.client.submit("hi", model="openai/gpt-4o", key="order 1")

    once, again = run(ours, work)
    assert once == again
    assert len(ours.transport.requests) == 1
