import asyncio
import threading
from decimal import Decimal
from typing import Any

import pytest

import llm_call
from llm_call.core.client import Client
from llm_call.core.domain.errors import (
    ConfigError,
    LLMCallError,
    MissingCredentialError,
    UnknownModelError,
    UnsupportedError,
)
from llm_call.core.options import AskOptions, Check
from llm_call.core.policy.backoff import Backoff
from llm_call.core.policy.retry import RetryPolicy
from llm_call.core.portal import run_sync
from llm_call.core.router import Router
from llm_call.core.validation import build
from llm_call.testing.clock import FakeClock
from llm_call.testing.scripted import ScriptedTransport, Step, chat_reply, error_reply, stream_reply

PERSON = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}


def client(*steps: Step, clock: FakeClock | None = None) -> tuple[Client, ScriptedTransport]:
    transport = ScriptedTransport(*(steps or (chat_reply("hello"),)))
    router = Router(credentials={"OPENAI_API_KEY": "sk-secret"})
    return Client(router=router, transports={"http": lambda: transport}, clock=clock, chance=lambda: 0.5), transport


def test_ask_returns_the_answer_and_sends_what_was_asked() -> None:
    ours, transport = client()
    result = ours.ask_sync("hi", model="openai/gpt-4o", system="Be brief.", max_tokens=5, temperature=0.0, seed=1)
    assert (result.ok, result.value) == (True, "hello")
    body = transport.bodies[0]
    assert body["model"] == "gpt-4o"
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    assert (body["temperature"], body["seed"]) == (0.0, 1)
    assert transport.endpoints[0].headers == {"authorization": "Bearer sk-secret"}


def test_ask_sync_works_inside_a_running_loop() -> None:
    ours, _ = client()

    async def inside() -> Any:
        return ours.ask_sync("hi").value

    assert asyncio.run(inside()) == "hello"


def test_one_client_serves_many_threads_at_once() -> None:
    ours, transport = client()
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(ours.ask_sync("hi").value)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["hello"] * 8
    assert len(transport.requests) == 8


def test_an_error_crosses_the_threads_with_its_trace() -> None:
    ours, _ = client(error_reply(401))
    with pytest.raises(LLMCallError) as caught:
        ours.ask_sync("hi")
    assert caught.value.trace is not None


def test_run_sync_returns_what_a_coroutine_returns() -> None:
    async def seven() -> int:
        return 7

    assert run_sync(seven()) == 7


def test_a_schema_makes_the_value_json() -> None:
    ours, _ = client(chat_reply('It is {"name": "Alice"}.'))
    assert ours.ask_sync("who?", schema=PERSON).unwrap() == {"name": "Alice"}


def test_checks_are_given_by_name_by_description_or_as_objects() -> None:
    ours, _ = client(chat_reply("hello"))
    checks: list[Check] = [
        "response_not_empty",
        {"type": "contains", "params": {"text": "HELL"}},
        build("length", {"max_length": 9}),
    ]
    result = ours.ask_sync("hi", validate=checks)
    assert [verdict.validator for verdict in result.verdicts] == ["response_not_empty", "contains", "length"]


def test_an_empty_answer_is_rejected_unless_that_is_switched_off() -> None:
    ours, _ = client(chat_reply(""))
    assert not ours.ask_sync("hi").ok
    assert ours.ask_sync("hi", default_validate=False).ok
    assert ours.plan("hi", default_validate=False).checks == ()


def test_a_stream_gives_pieces_and_then_the_result() -> None:
    ours, _ = client(stream_reply(["hel", "lo"]))

    async def read() -> tuple[list[str], Any]:
        async with ours.ask_stream("hi") as answer:
            with pytest.raises(LLMCallError, match="not complete"):
                answer.result  # noqa: B018  (reading it is what raises)
            return [piece async for piece in answer], answer.result

    pieces, result = asyncio.run(read())
    assert (pieces, result.value) == (["hel", "lo"], "hello")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"model": "opnai/x"}, UnknownModelError, "openai"),
        ({"model": "max/opus"}, UnsupportedError, "another model"),
        ({"validate": ["contians"]}, ConfigError, "contains"),
        ({"validate": [{"type": "length", "params": {"max": 3}}]}, ConfigError, "max_length"),
        ({"schema": {"type": "nonsense"}}, ConfigError, "at /type"),
        ({"timeout": 0}, ConfigError, "timeout"),
        ({"timeout": float("nan")}, ConfigError, "timeout"),
        ({"max_cost": -1}, ConfigError, "max_cost"),
        ({"max_cost": float("nan")}, ConfigError, "max_cost"),
        ({"max_cost": float("inf")}, ConfigError, "max_cost"),
        ({"rounds": 0}, ConfigError, "rounds"),
        ({"retry": {"max_attempts": 0}}, ConfigError, "max_attempts"),
        ({"api_base": "localhost"}, ConfigError, "http"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_before_anything_is_sent(
    options: AskOptions, error: type[LLMCallError], said: str
) -> None:
    ours, transport = client()
    with pytest.raises(error) as caught:
        ours.ask_sync("hi", **options)
    assert said in caught.value.message + caught.value.hint
    assert transport.requests == []


def test_call_takes_the_dictionary_of_a_case() -> None:
    ours, transport = client(chat_reply('{"name": "Alice"}'))
    config = {
        "model": "openai/gpt-4o",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "who?"}]}],
        "max_tokens": 9,
        "temperature": 0,
        "response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}},
        "validation": [{"type": "field_present", "params": {"field_name": "name"}}],
        "retry_config": {"max_attempts": 2, "initial_delay": 0.5, "use_jitter": False},
        "timeout": 30,
    }
    plan = ours.prepare(config)
    assert plan.checks == ("schema", "response_not_empty", "field_present")
    assert plan.retry == RetryPolicy(max_attempts=2, backoff=Backoff(base=0.5, cap=60, jitter=None))
    assert (plan.budget.seconds, plan.rounds, plan.model) == (30, 2, "openai/gpt-4o")
    assert ours.call_sync(config).value == {"name": "Alice"}
    assert transport.bodies[0]["response_format"]["json_schema"]["schema"] == {**PERSON, "additionalProperties": False}


def test_a_question_is_one_user_message() -> None:
    ours, transport = client()
    assert ours.call_sync({"question": "hi", "provider": "openai", "model": "gpt-4o", "max_cost": "0.10"}).ok
    assert transport.bodies[0]["messages"] == [{"role": "user", "content": "hi"}]
    assert ours.prepare({"question": "hi", "max_cost": "0.10"}).budget.usd == Decimal("0.10")


@pytest.mark.parametrize(
    ("config", "error", "said"),
    [
        ({}, ConfigError, "nothing to ask"),
        ({"question": "hi", "messages": [{"role": "user", "content": "x"}]}, ConfigError, "both"),
        ({"qestion": "hi"}, ConfigError, "Did you mean question?"),
        ({"question": "hi", "max_token": 3}, ConfigError, "Did you mean max_tokens?"),
        ({"question": "hi", "temperature": "hot"}, ConfigError, "temperature"),
        ({"question": "hi", "timeout": "soon"}, ConfigError, "timeout"),
        ({"messages": "hi"}, ConfigError, "messages"),
        ({"messages": [{"role": "king", "content": "hi"}]}, ConfigError, "role"),
        ({"question": "hi", "model": 7}, ConfigError, "model"),
        ({"question": "hi", "validation": [{"params": {}}]}, ConfigError, "type"),
        ({"question": "hi", "validation": [{"type": "json", "parms": {}}]}, ConfigError, "params"),
        ({"question": "hi", "validation": "json"}, ConfigError, "validation"),
        ({"question": "hi", "batch_mode": True}, UnsupportedError, "batch_mode"),
        ({"question": "hi", "tools": object()}, ConfigError, "JSON"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "/etc/passwd"}}]}]},
            LLMCallError,
            "/etc/passwd",
        ),
    ],
    ids=str,
)
def test_a_wrong_case_says_what_is_wrong_with_it(config: dict[str, Any], error: type[LLMCallError], said: str) -> None:
    ours, transport = client()
    with pytest.raises(error) as caught:
        ours.call_sync(config)
    assert said in caught.value.message + " " + caught.value.hint
    assert transport.requests == []


def test_a_missing_key_is_its_own_error() -> None:
    with pytest.raises(MissingCredentialError):
        Client().prepare({"question": "hi", "model": "openai/gpt-4o"})


def test_fallback_models_are_asked_in_turn() -> None:
    clock = FakeClock()
    ours, transport = client(error_reply(503), chat_reply("second"), clock=clock)
    once = {"max_attempts": 1}
    result = clock.run(ours.ask("hi", model="openai/one", fallback_models=["openai/two"], retry=once))
    assert result.value == "second"
    assert [body["model"] for body in transport.bodies] == ["one", "two"]


def test_a_key_never_shows_in_a_plan_or_a_result() -> None:
    ours, _ = client()
    plan = ours.plan("hi", model="openai/gpt-4o")
    assert "sk-secret" not in repr(plan)
    assert "sk-secret" not in repr(ours.ask_sync("hi", model="openai/gpt-4o"))


def test_the_functions_of_the_package_use_the_users_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from llm_call.core import api  # noqa: PLC0415  (its module state is what is replaced)

    ours, _ = client()
    monkeypatch.setattr(api, "_client", ours)
    assert llm_call.ask_sync("hi").value == "hello"
    assert llm_call.call_sync({"question": "hi"}).value == "hello"
    assert asyncio.run(llm_call.ask("hi")).value == "hello"
    assert asyncio.run(llm_call.call({"question": "hi"})).value == "hello"


@pytest.mark.parametrize("prompt", [None, 1, b"hi", ["hi"], {"role": "user"}])
def test_a_prompt_that_is_neither_text_nor_messages_is_refused(prompt: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Client().ask_sync(prompt, model="local/smollm2-135m")
    assert "a prompt is text, or messages" in caught.value.message


def test_an_unknown_argument_is_refused_and_not_passed_over() -> None:
    ours, transport = client()
    with pytest.raises(ConfigError, match="modle") as caught:
        ours.ask_sync("hi", modle="openai/gpt-4o")  # type: ignore[call-arg]  # the mistake itself
    assert "model" in caught.value.hint
    with pytest.raises(ConfigError, match="temperature"):
        ours.ask_sync("hi", temperature="hot")  # type: ignore[arg-type]  # the mistake itself
    with pytest.raises(ConfigError, match="timeout"):
        ours.ask_sync("hi", timeout="soon")  # type: ignore[arg-type]  # the mistake itself
    assert transport.requests == []
