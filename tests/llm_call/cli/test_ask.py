import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_call.core.domain.errors import AttemptTimeoutError, ConnectionFailedError
from llm_call.core.providers import catalog
from llm_call.testing.scripted import Step, chat_reply, error_reply, stream_reply

Make = Callable[..., Any]
PERSON = '{"type": "object", "required": ["name"]}'


@pytest.fixture
def schema(tmp_path: Path) -> str:
    path = tmp_path / "person.json"
    path.write_text(PERSON, encoding="utf-8")
    return str(path)


SILENT = AttemptTimeoutError("silent", stage="first byte")


def test_standard_output_holds_the_answer_alone(shell: Make) -> None:
    done = shell(chat_reply("hello"))("ask", "hi")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "hello\n", "")


def test_json_by_schema_is_printed_as_json(shell: Make, schema: str) -> None:
    done = shell(chat_reply('Here: {"name": "Zoë", "age": 3}'))("ask", "who?", "--schema", schema)
    assert json.loads(done.stdout) == {"name": "Zoë", "age": 3}
    assert "Zoë" in done.stdout


def test_a_dash_reads_standard_input(shell: Make) -> None:
    ours = shell(chat_reply("hello"))
    assert ours("ask", "-", input="from a pipe").exit_code == 0
    assert ours.transport.bodies[0]["messages"][-1]["content"] == "from a pipe"


def test_options_reach_the_request(shell: Make) -> None:
    ours = shell(chat_reply("hello"))
    ours("ask", "hi", "-m", "openai/x", "-s", "Be brief.", "-t", "0", "--max-tokens", "7")
    body = ours.transport.bodies[0]
    assert (body["model"], body["temperature"]) == ("x", 0.0)
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert 7 in (body.get("max_tokens"), body.get("max_completion_tokens"))


def test_a_rejected_answer_is_not_on_standard_output_and_exits_with_1(shell: Make) -> None:
    done = shell(chat_reply("no"))("ask", "hi", "--validate", "contains:text=yes", "--rounds", "1")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "rejected" in done.stderr
    assert "'no'" in done.stderr


def test_checks_take_values_of_every_kind(shell: Make) -> None:
    done = shell(chat_reply("hello, world"))(
        "ask", "hi", "-v", "length:min_length=3,max_length=20", "-v", "contains:text=hello, world", "-v", 'contains:text=["hello","world"]', "--debug"
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "  valid: response_not_empty, length, contains, contains\n" in done.stderr


def told(stderr: str) -> tuple[list[str], list[str]]:
    """What `--debug` tells of each attempt as it goes, and the whole at the end."""
    live, _, whole = stderr.partition("\n\n")
    return live.splitlines(), whole.splitlines()


def test_debug_tells_each_attempt_and_then_the_whole_on_standard_error(shell: Make) -> None:
    done = shell(SILENT, chat_reply("hello", prompt_tokens=3, completion_tokens=4))(
        "ask", "hi", "-m", "openai/a", "--fallback", "openai/b", "--debug"
    )
    assert done.stdout == "hello\n"
    live, whole = told(done.stderr)
    assert [line.split("s  ", 1)[1].split(":")[0] for line in live] == [
        "attempt 1 openai/a ...",
        "attempt 1 openai/a",
        "attempt 2 openai/b ... (AttemptTimeoutError)",
        "attempt 2 openai/b",
    ]
    assert whole[0] == "round 1: ask"
    assert whole[1].endswith(" s  AttemptTimeoutError: silent")
    assert " s  answered (after AttemptTimeoutError), 3 tokens in, 4 out" in whole[2]
    assert whole[3] == "  answer scripted: stop: [5 characters, sha256 2cf24dba]"
    assert whole[4] == "  valid: response_not_empty"


def test_debug_shows_answers_where_that_is_asked_for(shell: Make) -> None:
    done = shell(chat_reply("no"), chat_reply("no, \x1b[2Jnever"))(
        "ask", "hi", "-v", "contains:text=yes", "--rounds", "2", "--debug", "--payloads"
    )
    whole = told(done.stderr)[1]
    assert "  answer scripted: stop: no" in whole
    assert "  answer scripted: stop: no, \\x1b[2Jnever" in whole
    alone = shell(chat_reply("no"))("ask", "hi", "--payloads")
    assert (alone.exit_code, alone.stdout) == (2, "")


def test_the_timeline_begins_with_what_was_not_tried(shell: Make) -> None:
    done = shell(chat_reply("hello"))("ask", "hi", "-m", "openai/a", "--fallback", "anthropic/b", "--debug")
    assert told(done.stderr)[1][0].startswith("skipped anthropic/b: anthropic needs a key. Set ANTHROPIC_API_KEY")


@pytest.mark.parametrize(("installed", "times"), [(False, 1), (True, 0)])
def test_debug_says_once_that_prices_are_an_extra(
    shell: Make, monkeypatch: pytest.MonkeyPatch, installed: bool, times: int
) -> None:
    monkeypatch.setattr(catalog, "find_spec", lambda name: object() if installed else None)
    done = shell(chat_reply("{}"), chat_reply("ok"))(
        "ask", "hi", "-m", "openai/gpt-4o", "-v", "contains:text=ok", "--debug"
    )
    assert done.stderr.count('pip install "llm-call[prices]"') == times


def test_the_timeline_is_shown_where_no_answer_came_too(shell: Make) -> None:
    done = shell(error_reply(401))("ask", "hi", "--debug")
    assert done.exit_code == 4
    whole = told(done.stderr)[1]
    assert whole[0] == "round 1: ask"
    assert "AuthenticationError" in whole[1]
    assert whole[-2].startswith("error: ")
    assert whole[-1].startswith("trace ")


def test_a_stream_is_printed_as_it_comes(shell: Make) -> None:
    done = shell(stream_reply(["hel", "lo"]))("ask", "hi", "--stream")
    assert (done.exit_code, done.stdout) == (0, "hello\n")


def test_json_output_is_the_whole_result(shell: Make) -> None:
    done = shell(chat_reply("hello", prompt_tokens=3, completion_tokens=4))("ask", "hi", "--json")
    result = json.loads(done.stdout)
    assert (result["ok"], result["value"], result["usage"]["input_tokens"]) == (True, "hello", 3)
    assert len(result["trace"]["rounds"]) == 1


@pytest.mark.parametrize(
    ("words", "step", "code", "said"),
    [
        (["--model", "opnai"], chat_reply("x"), 2, "Did you mean openai"),
        (["--model", "max/opus"], chat_reply("x"), 2, "not supported in this version"),
        (["--model", "a\nb"], chat_reply("x"), 2, "is no model name"),
        (["--schema", "/nowhere.json"], chat_reply("x"), 2, "/nowhere.json"),
        (["--validate", "contians"], chat_reply("x"), 2, "Did you mean contains"),
        (["--validate", "length:3"], chat_reply("x"), 2, "key=value"),
        (["--validate", "length:max=3"], chat_reply("x"), 2, "max_length"),
        (["--max-cost", "much"], chat_reply("x"), 2, "--max-cost"),
        (["--timeout", "-1"], chat_reply("x"), 2, "timeout"),
        ([], error_reply(401, message="bad key"), 4, "bad key"),
        ([], error_reply(400, message="wrong"), 4, "wrong"),
        (["--api-base", "nonsense"], chat_reply("x"), 2, "http"),
        (["--nonsense"], chat_reply("x"), 2, "--nonsense"),
    ],
    ids=str,
)
def test_an_error_is_one_line_with_what_to_do_and_its_exit_code(
    shell: Make, words: list[str], step: Step, code: int, said: str
) -> None:
    done = shell(step)("ask", "hi", *words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "sk-secret" not in done.stderr


def test_several_failed_attempts_are_told_line_by_line(shell: Make) -> None:
    done = shell(SILENT, ConnectionFailedError("refused"), error_reply(403))(
        "ask", "hi", "-m", "openai/a", "--fallback", "openai/b"
    )
    assert done.exit_code == 4
    assert [line.strip().split(":")[0] for line in done.stderr.splitlines()[1:-1]] == [
        "openai/a",
        "openai/b",
        "openai/b",
    ]


@pytest.mark.parametrize("content", ["{", "[1]", "\x80"], ids=["broken", "no object", "no text"])
def test_a_file_that_holds_no_schema_is_refused(shell: Make, tmp_path: Path, content: str) -> None:
    path = tmp_path / "schema.json"
    path.write_bytes(content.encode("latin-1"))
    done = shell(chat_reply("x"))("ask", "hi", "--schema", str(path))
    assert done.exit_code == 2
    assert "schema.json" in done.stderr


def test_a_folder_is_no_schema(shell: Make, tmp_path: Path) -> None:
    assert shell(chat_reply("x"))("ask", "hi", "--schema", str(tmp_path)).exit_code == 2


def test_an_empty_prompt_is_refused(shell: Make) -> None:
    assert shell(chat_reply("x"))("ask", " ").exit_code == 2


def test_every_setting_reaches_the_request(shell: Make) -> None:
    ours = shell(chat_reply("hello"))
    words = ("--top-p", "0.5", "--stop", "a", "--stop", "b", "--seed", "7", "--reasoning-effort", "low")
    more = ("--provider-option", "logit_bias={}", "--provider-option", "user=me", "--routing-key", "k", "--strict")
    done = ours("ask", "hi", "-m", "openai/x", *words, *more)
    assert done.exit_code == 0, done.stderr
    wanted = {
        "top_p": 0.5,
        "stop": ["a", "b"],
        "seed": 7,
        "reasoning_effort": "low",
        "logit_bias": {},
        "user": "me",
    }
    assert ours.transport.bodies[0].items() >= wanted.items()


def test_strict_refuses_what_the_dialect_cannot_express(shell: Make) -> None:
    ours = shell(chat_reply("hello"))
    done = ours("ask", "hi", "-m", "responses/x", "--seed", "7", "--strict")
    assert (done.exit_code, done.stdout, ours.transport.requests) == (2, "", [])
    assert "seed" in done.stderr


def test_a_provider_option_without_a_value_is_refused(shell: Make) -> None:
    done = shell(chat_reply("hello"))("ask", "hi", "--provider-option", "user")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "KEY=VALUE" in done.stderr


def test_the_key_for_a_server_is_taken_from_the_variable_that_is_named(
    shell: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOUSE_KEY", "house-secret")
    ours = shell(chat_reply("hello"))
    done = ours("ask", "hi", "-m", "x", "--api-base", "http://127.0.0.1:9/v1", "--api-key-env", "HOUSE_KEY", "--debug")
    assert "house-secret" in str(dict(ours.transport.endpoints[0].headers))
    assert "house-secret" not in done.stdout + done.stderr


def test_a_key_in_the_place_of_a_variable_is_not_repeated(shell: Make) -> None:
    done = shell(chat_reply("hello"))("ask", "hi", "--api-key-env", "house-secret")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "not set" in done.stderr
    assert "house-secret" not in done.stderr


def test_an_answer_that_was_cut_off_tells_which_option_gives_it_room(shell: Make) -> None:
    done = shell(chat_reply("on", finish_reason="length"))("ask", "hi", "--rounds", "1")
    assert done.exit_code == 1
    assert "--max-tokens" in done.stderr
    assert "--max-tokens" not in shell(chat_reply("no"))("ask", "hi", "-v", "contains:text=yes").stderr


def test_a_server_that_asks_to_wait_longer_than_the_call_may_take_is_told(shell: Make) -> None:
    done = shell(error_reply(429, headers={"retry-after": "100"}))("ask", "hi", "--timeout", "5")
    assert done.exit_code == 4
    assert "The server asks to wait 100 s. Ask less often, or name another model" in done.stderr


def test_a_stream_that_breaks_off_does_not_doubt_the_address(shell: Make) -> None:
    broken = ConnectionFailedError("reset", hint="Check the address.")
    done = shell(stream_reply(["Hel"], finish_reason=None, error=broken))("ask", "hi", "--stream")
    assert (done.exit_code, done.stdout) == (4, "Hel\n")
    assert "address" not in done.stderr
    assert "Ask again" in done.stderr
