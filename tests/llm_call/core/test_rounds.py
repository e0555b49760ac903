from collections.abc import Mapping
from typing import Any

import pytest

from llm_call.core.client import Client
from llm_call.core.domain.errors import ConfigError, OverloadedError
from llm_call.core.domain.result import Result
from llm_call.core.router import Router
from llm_call.testing.clock import FakeClock
from llm_call.testing.scripted import ScriptedTransport, Step, chat_reply, error_reply

YES = [{"type": "contains", "params": {"required_text": "yes"}}]


def call(*steps: Step, **config: Any) -> tuple[Result[Any], ScriptedTransport, FakeClock]:
    clock, transport = FakeClock(), ScriptedTransport(*steps)
    client = Client(
        router=Router(credentials={"OPENAI_API_KEY": "sk-secret"}),
        transports={"http": lambda: transport},
        clock=clock,
        chance=lambda: 0.5,
    )
    asked: Mapping[str, Any] = {"model": "openai/small", "question": "hi", "validation": YES, **config}
    return clock.run(client.call(asked)), transport, clock


def rungs(result: Result[Any]) -> list[str]:
    return [each.rung for each in result.trace.rounds]


def test_an_empty_answer_is_asked_for_once_more_as_it_was() -> None:
    result, transport, _ = call(chat_reply(""), chat_reply("yes"))
    assert (result.value, rungs(result)) == ("yes", ["ask", "again"])
    assert transport.bodies[0] == transport.bodies[1]


def test_a_stronger_model_is_asked_with_what_was_wrong() -> None:
    result, transport, _ = call(chat_reply("no"), chat_reply("yes"), ladder=[{"kind": "model", "model": "openai/big"}])
    assert (result.value, rungs(result)) == ("yes", ["ask", "model"])
    assert [body["model"] for body in transport.bodies] == ["small", "big"]
    assert "What is wrong with it" in transport.bodies[1]["messages"][-1]["content"]


def test_the_same_mistake_twice_goes_to_the_next_rung() -> None:
    ladder = [{"kind": "reask", "rounds": 5}, {"kind": "model", "model": "openai/big"}]
    result, _, _ = call(chat_reply("no"), ladder=ladder)
    assert (result.ok, rungs(result)) == (False, ["ask", "reask", "model"])


def test_a_rung_for_failures_is_taken_where_no_target_answers() -> None:
    ladder = [{"kind": "model", "model": "openai/big", "when": "failed"}]
    steps = (error_reply(503), error_reply(503), chat_reply("yes"))
    result, transport, _ = call(*steps, ladder=ladder, retry_config={"max_attempts": 2})
    assert result.value == "yes"
    assert [body["model"] for body in transport.bodies] == ["small", "small", "big"]


def test_a_rung_for_failures_has_all_its_rounds() -> None:
    steps = (error_reply(503), error_reply(503), error_reply(503), chat_reply("yes"))
    ladder = [{"kind": "again", "when": "failed", "rounds": 3}]
    result, _, _ = call(*steps, ladder=ladder, retry_config={"max_attempts": 1})
    assert (result.value, rungs(result)) == ("yes", ["ask", "again", "again", "again"])


def test_a_rejected_answer_still_has_its_rungs_where_a_later_rung_fails() -> None:
    ladder = [{"kind": "model", "model": "openai/big"}, {"kind": "model", "model": "openai/other"}]
    steps = (chat_reply("no"), error_reply(503), chat_reply("yes"))
    result, transport, _ = call(*steps, ladder=ladder, retry_config={"max_attempts": 1})
    assert [body["model"] for body in transport.bodies] == ["small", "big", "other"]
    assert (result.value, rungs(result)) == ("yes", ["ask", "model", "model"])


def test_where_the_last_rung_fails_its_error_is_raised_and_its_trace_tells_of_all() -> None:
    ladder = [{"kind": "model", "model": "openai/big"}]
    with pytest.raises(OverloadedError) as raised:
        call(chat_reply("no"), error_reply(503), ladder=ladder, retry_config={"max_attempts": 1})
    assert raised.value.trace is not None
    assert [each.rung for each in raised.value.trace.rounds] == ["ask", "model"]


def test_an_open_breaker_leaves_the_other_models_of_the_ladder() -> None:
    ladder = [{"kind": "model", "model": "openai/big", "when": "failed"}]
    steps = (error_reply(503), chat_reply("yes"))
    config = {"circuit_breaker_config": {"failure_threshold": 1}, "enable_circuit_breaker": True, "max_attempts": 2}
    result, transport, _ = call(*steps, ladder=ladder, retry_config=config, timeout=20)
    assert (result.value, [body["model"] for body in transport.bodies]) == ("yes", ["small", "big"])


def test_without_a_rung_for_failures_they_are_raised() -> None:
    with pytest.raises(OverloadedError):
        call(error_reply(503), ladder=["reask"], retry_config={"max_attempts": 2})


def test_a_rung_uses_no_more_than_its_share_of_the_time() -> None:
    ladder = [{"kind": "reask", "share": 0.5}, {"kind": "model", "model": "openai/big"}]
    steps = (chat_reply("no"), chat_reply("yes", delay=30), chat_reply("yes", delay=5))
    result, transport, _ = call(*steps, ladder=ladder, timeout=40)
    assert (result.value, [body["model"] for body in transport.bodies]) == ("yes", ["small", "small", "big"])
    assert result.trace.duration == pytest.approx(20 + 10)


def test_a_rung_uses_no_more_than_its_share_of_the_tokens() -> None:
    ladder = [{"kind": "reask", "rounds": 9, "share": 0.2}, {"kind": "model", "model": "openai/big"}]
    replies = [chat_reply(f"no {word}", prompt_tokens=90, completion_tokens=10) for word in "abcdefgh"]
    result, transport, _ = call(*replies, ladder=ladder, max_total_tokens=1000)
    assert [body["model"] for body in transport.bodies] == ["small", "small", "small", "big"]
    assert result.usage.input_tokens == 4 * 90


def test_the_limits_on_tokens_and_attempts_span_the_call() -> None:
    replies = [chat_reply(f"no {word}", prompt_tokens=90, completion_tokens=10) for word in "abcdefgh"]
    assert len(call(*replies, rounds=8, max_total_tokens=250)[1].requests) == 3
    assert len(call(*replies, rounds=8, max_total_attempts=2)[1].requests) == 2


def test_the_simulated_faults_ask_nobody() -> None:
    result, transport, clock = call(chat_reply("yes"), simulate_rate_limit=2)
    assert (len(transport.requests), len(result.trace.attempts), len(clock.sleeps)) == (1, 3, 2)
    result, transport, _ = call(
        chat_reply("yes"), simulate_primary_failure=True, fallback_models=["openai/other"], retry_config={"max_attempts": 2}
    )  # fmt: skip
    assert [body["model"] for body in transport.bodies] == ["other"]
    assert [each.failure.status if each.failure else None for each in result.trace.attempts] == [503, 503, None]


def test_the_simulated_faults_say_nothing_of_the_target() -> None:
    breaker = {"enable_circuit_breaker": True, "circuit_breaker_config": {"failure_threshold": 1}, "max_attempts": 2}
    result, transport, _ = call(chat_reply("yes"), simulate_rate_limit=1, retry_config=breaker)
    assert (result.value, [each.sent for each in result.trace.attempts]) == ("yes", [False, True])
    with pytest.raises(OverloadedError):
        call(chat_reply("yes"), simulate_primary_failure=True, retry_config=breaker)
    assert len(transport.requests) == 1


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"ladder": ["reask"], "max_attempts_before_human": 2}, "both ladder and"),
        ({"max_attempts_before_tool_use": 1}, "needs tools"),
        ({"ladder": [{"kind": "judge"}]}, "kind"),
        ({"ladder": [{"kind": "model", "model": "nobody/x y"}]}, "nobody"),
        ({"ladder": [{"kind": "reask", "shares": 1}]}, "shares"),
        ({"max_attempts_before_tool_use": 1, "debug_tool_mcp_config": {"mcpServers": {"a": {}}}}, "mcpServers.a"),
    ],
)  # fmt: skip
def test_a_ladder_that_cannot_be_is_refused_before_anything_is_asked(config: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        call(chat_reply("yes"), **config)
