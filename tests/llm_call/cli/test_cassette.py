"""What the commands keep of answers: `--cache` and `--cassette`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_call.testing.scripted import chat_reply

Make = Callable[..., Any]


def test_the_cache_answers_the_same_question_and_refresh_asks_anew(shell: Make) -> None:
    def asked(text: str, *words: str) -> str:
        return str(shell(chat_reply(text))("ask", "hi", *words).stdout)

    assert [asked("one", "--cache"), asked("two", "--cache"), asked("three")] == ["one\n", "one\n", "three\n"]
    assert [asked("four", "--refresh"), asked("five", "--cache")] == ["four\n", "four\n"]


def test_a_cassette_is_recorded_and_replayed(shell: Make, tmp_path: Path) -> None:
    tape = str(tmp_path / "c.jsonl")
    assert shell(chat_reply("one"))("ask", "hi", "--cassette", tape).stdout == "one\n"
    ours = shell(chat_reply("two"))
    assert ours("ask", "hi", "--cassette", tape, "--replay").stdout == "one\n"
    assert ours.transport.requests == []
    done = ours("ask", "ho", "--cassette", tape, "--replay")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "messages[0].content" in done.stderr
    assert ours("ask", "ho", "--cassette", tape, "--record").stdout == "two\n"
    done = ours("ask", "hi", "--cassette", tape, "--replay")
    assert done.exit_code == 2


def test_recordings_that_a_replay_did_not_use_are_told(shell: Make, tmp_path: Path) -> None:
    tape = str(tmp_path / "c.jsonl")
    ours = shell(chat_reply("one"))
    ours("ask", "hi", "--cassette", tape)
    ours("ask", "ho", "--cassette", tape)
    assert "1 of its recordings were not used" in ours("ask", "ho", "--cassette", tape, "--replay").stderr


@pytest.mark.parametrize("words", [["--record"], ["--replay"], ["--record", "--replay", "--cassette", "x"]], ids=str)
def test_the_options_of_a_cassette_must_go_together(shell: Make, words: list[str]) -> None:
    assert shell(chat_reply("x"))("ask", "hi", *words).exit_code == 2


def test_a_run_of_cases_is_recorded_and_replayed(shell: Make, tmp_path: Path) -> None:
    cases = tmp_path / "cases.json"
    config = {"model": "openai/x", "question": "hi", "validation": [{"type": "contains", "params": {"text": "one"}}]}
    cases.write_text(json.dumps([{"test_case_id": "a", "llm_config": config}]), encoding="utf-8")
    tape = str(tmp_path / "c.jsonl")
    words = ("test", "run", str(cases), "--cassette", tape)
    assert shell(chat_reply("one"))(*words).exit_code == 0
    ours = shell(chat_reply("two"))
    assert ours(*words, "--replay").exit_code == 0
    assert ours.transport.requests == []
    assert ours(*words, "--record").exit_code == 1
