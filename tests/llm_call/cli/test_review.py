"""`llm-call review`, as it is typed."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llm_call.cli.main import app
from llm_call.core import api
from llm_call.core.client import Client
from llm_call.core.durable.desk import Desk
from llm_call.core.durable.settings import ReviewSettings
from llm_call.testing.scripted import ScriptedTransport, chat_reply

ASKED = {
    "model": "m",
    "api_base": "http://127.0.0.1:9",
    "question": "How old is Ann?",
    "schema": {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}},
    "ladder": ["human"],
}


@pytest.fixture
def second() -> str:
    """What the model answers when it is asked again."""
    return '{"age": 7}'


@pytest.fixture
def review(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: str) -> str:
    """An open review; the commands find it."""
    transport = ScriptedTransport(chat_reply("old"), chat_reply(second))
    client = Client(
        transports={"http": lambda: transport},
        durable=lambda client: Desk(client, ReviewSettings(), state=tmp_path / "state"),
    )
    monkeypatch.setattr(api, "_client", client)

    async def opened() -> str:
        try:
            result = await client.call(ASKED)
        finally:
            await client.close()
        assert result.pending is not None
        return result.pending.id

    return asyncio.run(opened())


def typed(*words: str) -> Any:
    return CliRunner().invoke(app, ["review", *words])


def test_what_is_open_is_listed_shown_decided_and_audited(review: str) -> None:
    assert review in typed("list").stdout
    shown = typed("show", review).stdout
    assert "user: How old is Ann?" in shown
    assert "answer: old" in shown
    assert "problem:" in shown
    bounced = typed("edit", review, "--value", '{"age": "x"}', "--by", "ann")
    assert (bounced.exit_code, "integer" in bounced.stderr) == (1, True)
    assert typed("retry", review, "--feedback", "Digits.", "--set", "rounds=1", "--by", "bob").exit_code == 0
    late = typed("reject", review, "--by", "cyd")
    assert (late.exit_code, "bob was first: retry" in late.stderr) == (1, True)
    assert typed("wait", review).stdout == '{"age": 7}\n'
    assert "How old is Ann?" in typed("list", "--all").stdout
    assert "answer: old" in typed("show", review).stdout
    assert review not in typed("list").stdout
    lines = typed("audit", review).stdout.splitlines()
    assert [line.split()[2:4] for line in lines[2:]] == [["ann", "command"], ["bob", "command"], ["cyd", "command"]]


def test_a_wrong_word_is_one_line_and_exit_2(review: str) -> None:
    for words in (("show", "r0"), ("edit", review), ("collect",), ("edit", review, "--file", "nowhere")):
        done = typed(*words)
        assert (done.exit_code, done.stderr.count("\n"), "Traceback" in done.output) == (2, 1, False), words


@pytest.mark.parametrize("second", ["older"])
def test_a_retry_that_was_rejected_again_says_so(review: str, second: str) -> None:
    again = typed("retry", review, "--set", "rounds=1")
    assert again.exit_code == 0
    assert f"{review}: open: the new answer was rejected too; a person is asked, level 0" in again.stderr
    assert f"answer: {second}" in typed("show", review).stdout


def test_an_option_is_named_as_it_was_typed(review: str) -> None:
    assert "--set 'rounds' has no value" in typed("retry", review, "--set", "rounds").stderr
