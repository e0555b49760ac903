"""The tools rung: a model whose answers are rejected is given the tools of a real MCP server, and they are run for it."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llm_call.core.client import Client
from llm_call.core.domain.errors import ConfigError, ConnectionFailedError
from llm_call.core.domain.result import Result
from llm_call.core.router import Router
from llm_call.core.tools.config import Tooling
from llm_call.testing.scripted import ScriptedReply, ScriptedTransport, chat_reply

SERVER = Path(__file__).parent / "tools" / "tool_server.py"
SERVERS = {"mcpServers": {"probe": {"command": sys.executable, "args": [str(SERVER)]}}}
SUM = [{"type": "contains", "params": {"required_text": "42"}}]
CASE: dict[str, Any] = {"model": "openai/small", "question": "40 + 2?", "validation": SUM}


def calls_add(a: int, b: int) -> ScriptedReply:
    function = {"name": "add", "arguments": f'{{"a": {a}, "b": {b}}}'}
    said = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }
    body = {"id": "x", "model": "m", "choices": [{"index": 0, "message": said, "finish_reason": "tool_calls"}]}
    return ScriptedReply(pieces=(msgspec.json.encode(body),))


def call(transport: ScriptedTransport, **config: Any) -> Result[Any]:
    async def inside() -> Result[Any]:
        async with Client(
            router=Router(credentials={"OPENAI_API_KEY": "sk-secret"}),
            transports={"http": lambda: transport},
            tooling=Tooling(variables=os.environ),
        ) as client:
            return await client.call({**CASE, **config})

    return asyncio.run(inside())


def test_after_the_rejected_answers_of_a_case_its_tools_are_run() -> None:
    transport = ScriptedTransport(chat_reply("7"), calls_add(40, 2), chat_reply("It is 42."))
    result = call(transport, max_attempts_before_tool_use=1, debug_tool_mcp_config=SERVERS, debug_tool_name="probe")
    assert (result.ok, result.text, result.rung) == (True, "It is 42.", "tools")
    assert [len(body.get("tools", ())) > 0 for body in transport.bodies] == [False, True, True]
    assert transport.bodies[-1]["messages"][-1] == {"role": "tool", "tool_call_id": "c1", "content": "42"}
    (run,) = result.trace.rounds[-1].tools
    assert (run.name, run.is_error, len(result.trace.rounds[-1].attempts)) == ("add", False, 2)


def test_the_tools_of_a_call_are_there_from_its_first_question_on() -> None:
    transport = ScriptedTransport(calls_add(40, 2), chat_reply("42"))
    result = call(transport, mcp_config=SERVERS)
    assert (result.value, [each.rung for each in result.trace.rounds]) == ("42", ["ask"])


def test_a_model_that_never_stops_calling_tools_has_to_answer_in_the_end() -> None:
    transport = ScriptedTransport(calls_add(1, 1), calls_add(1, 1), calls_add(1, 1), chat_reply("42"))
    result = call(transport, mcp_config=SERVERS)
    assert (result.value, len(result.trace.rounds[0].tools)) == ("42", 2)
    assert any("in a row" in notice.message for notice in result.response.notices)


def test_what_tools_cause_is_bounded_by_the_limits_of_the_call() -> None:
    transport = ScriptedTransport(chat_reply("7"), *(calls_add(number, 1) for number in range(20)))
    result = call(transport, max_attempts_before_tool_use=1, debug_tool_mcp_config=SERVERS, max_total_attempts=3)
    assert (result.ok, len(transport.requests)) == (False, 3)


def test_a_server_that_cannot_be_started_is_an_error_with_its_reason() -> None:
    broken = {"mcpServers": {"probe": {"command": sys.executable, "args": ["-c", "raise SystemExit('no luck')"]}}}
    with pytest.raises(ConnectionFailedError, match="no luck"):
        call(ScriptedTransport(chat_reply("42")), mcp_config=broken)


def test_a_stream_whose_tools_are_run_gives_the_whole_answer_at_the_end() -> None:
    transport = ScriptedTransport(calls_add(40, 2), chat_reply("It is 42."))

    async def read() -> str:
        async with (
            Client(
                router=Router(credentials={"OPENAI_API_KEY": "sk-secret"}),
                transports={"http": lambda: transport},
                tooling=Tooling(variables=os.environ),
            ) as client,
            client.ask_stream("40 + 2?", model="openai/small", mcp_config=SERVERS) as live,
        ):
            return "".join([piece async for piece in live])

    assert asyncio.run(read()) == "It is 42."


def test_a_missing_library_is_missed_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_call.core.tools.config.find_spec", lambda _name: None)
    transport = ScriptedTransport(chat_reply("7"))
    with pytest.raises(ConfigError, match="MCP library"):
        call(transport, max_attempts_before_tool_use=1, debug_tool_mcp_config=SERVERS)
    assert transport.requests == []
