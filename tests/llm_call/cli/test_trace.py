"""Traces as the commands keep and show them."""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_call.core import api
from llm_call.testing.scripted import chat_reply, error_reply, stream_reply

Make = Callable[..., Any]
OURS = ("-m", "openai/gpt-4o")


def kept(home: Path) -> Path:
    return home / "state" / "llm_call" / "traces.db"


def identity(stderr: str) -> str:
    """The id that the last line of standard error tells."""
    found = re.fullmatch(r"trace (\w{10}): llm-call trace show \1", stderr.splitlines()[-1])
    assert found, stderr
    return found[1]


@pytest.mark.parametrize("words", [["ask", "hi", *OURS], ["ask", "hi", *OURS, "--json"]])
def test_a_good_call_is_kept_in_silence(shell: Make, words: list[str], tmp_path: Path) -> None:
    ours = shell(chat_reply("hello"))
    assert ours(*words).stderr == ""
    listed = ours("trace", "list").stdout.splitlines()
    assert len(listed) == 2
    assert "ask openai/gpt-4o" in listed[1]
    assert "answered, 1 attempt in" in listed[1]
    assert stat.S_IMODE(kept(tmp_path).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("words", "step", "code", "outcome"),
    [
        (["ask", "hi"], error_reply(401), 4, "AuthenticationError"),
        (["ask", "hi", "-v", "contains:text=yes", "--rounds", "1"], chat_reply("no"), 1, "rejected"),
        (["ask", "hi", "--stream"], error_reply(400), 4, "BadRequestError"),
        (["ask", "hi", "--stream"], stream_reply(["a"], finish_reason=None), 4, "StreamInterruptedError"),
        (["embed", "hi"], error_reply(401), 4, "AuthenticationError"),
    ],
    ids=str,
)
def test_a_failure_says_where_its_trace_is(shell: Make, words: list[str], step: Any, code: int, outcome: str) -> None:
    ours = shell(step)
    done = ours(*words, *OURS)
    assert done.exit_code == code
    shown = ours("trace", "show", identity(done.stderr))
    assert shown.exit_code == 0
    assert outcome in shown.stdout
    assert "attempt 1 openai/gpt-4o" in shown.stdout


def test_a_turn_of_a_chat_is_kept_too(shell: Make) -> None:
    ours = shell(error_reply(401), stream_reply(["hello"]))
    done = ours("chat", *OURS, input="first\nsecond\n")
    assert identity(done.stderr)
    assert ours("trace", "list").stdout.count("chat openai/gpt-4o") == 2


def test_what_was_said_is_in_no_file_and_on_no_screen_unless_asked_for(
    shell: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = shell(chat_reply("xyzzy"))
    ours("ask", "plugh", *OURS)
    assert b"xyzzy" not in kept(tmp_path).read_bytes()
    assert b"plugh" not in kept(tmp_path).read_bytes()
    done = ours("trace", "show", "--payloads")
    assert "xyzzy" not in done.stdout
    assert "traces.payloads" in done.stderr
    monkeypatch.setenv("LLM_CALL_TRACES_PAYLOADS", "true")
    monkeypatch.setattr(api, "_settings", None)
    ours("ask", "plugh", *OURS)
    assert "[5 characters, sha256 " in ours("trace", "show").stdout
    assert "xyzzy" not in ours("trace", "show").stdout
    shown = ours("trace", "show", "--payloads").stdout
    assert "asked: plugh\n" in shown
    assert "answer scripted: stop: xyzzy\n" in shown


def test_it_is_told_as_text_json_or_markdown(shell: Make) -> None:
    ours = shell(chat_reply("hello", prompt_tokens=3, completion_tokens=4))
    ours("ask", "hi", *OURS, "--no-trace")
    done = ours("ask", "hi", *OURS, "--trace")
    name = identity(done.stderr)
    text = ours("trace", "show").stdout
    assert text.startswith(f"trace {name}, ")
    assert "answered, 3 tokens in, 4 out" in text
    told = json.loads(ours("trace", "show", name[:8], "--format", "json").stdout)
    assert (told["version"], told["id"], told["command"], told["outcome"]) == (1, name, "ask", "answered")
    assert told["trace"]["rounds"][0]["attempts"][0]["usage"]["input_tokens"] == 3
    table = ours("trace", "show", "last", "-f", "markdown").stdout
    assert table.startswith(f"### trace {name}, ")
    assert "| at | what | took | what came of it |" in table


def test_own_prices_tell_the_money(shell: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config" / "llm_call" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[prices."openai/gpt-4o"]\ninput = 1000\noutput = 1000', encoding="utf-8")
    ours = shell(chat_reply("hello", prompt_tokens=3, completion_tokens=4))
    ours("ask", "hi", *OURS)
    assert "answered, 3 tokens in, 4 out, $0.007" in ours("trace", "show").stdout
    assert json.loads(ours("trace", "show", "-f", "json").stdout)["cost"] == "0.007"


@pytest.mark.parametrize("way", ["option", "setting"])
def test_nothing_is_kept_where_that_is_not_wanted(
    shell: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "setting":
        monkeypatch.setenv("LLM_CALL_TRACES_KEEP", "false")
    ours = shell(error_reply(401))
    done = ours("ask", "hi", *OURS, *(["--no-trace"] if way == "option" else []))
    assert len(done.stderr.splitlines()) == 1
    assert not kept(tmp_path).exists()


@pytest.mark.parametrize("words", [["ask", "hi", *OURS], ["chat", *OURS]])
def test_a_trace_that_cannot_be_kept_is_a_line_and_no_failure(shell: Make, words: list[str], tmp_path: Path) -> None:
    kept(tmp_path).parent.mkdir(parents=True)
    kept(tmp_path).write_bytes(b"my own notes, of more than a hundred bytes" * 10)
    reply = stream_reply(["hello"]) if words[0] == "chat" else chat_reply("hello")
    done = shell(reply)(*words, input="hi\n")
    assert (done.exit_code, done.stdout) == (0, "hello\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: the trace was not kept: ")


def test_a_failure_whose_trace_cannot_be_kept_keeps_its_exit_code(shell: Make, tmp_path: Path) -> None:
    kept(tmp_path).parent.mkdir(parents=True)
    kept(tmp_path).mkdir()
    done = shell(error_reply(401))("ask", "hi", *OURS)
    assert done.exit_code == 4
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["warning", "error"]


def test_they_are_deleted_one_by_one_or_all(shell: Make) -> None:
    ours = shell(chat_reply("hello"))
    for _ in range(3):
        ours("ask", "hi", *OURS)
    first = ours("trace", "list").stdout.splitlines()[3].split()[0]
    assert ours("trace", "delete", first).stderr == f"deleted {first}\n"
    assert len(ours("trace", "list", "-n", "1").stdout.splitlines()) == 2
    assert ours("trace", "delete", "--all").stderr == "deleted 2 traces\n"
    assert "there is no trace" in ours("trace", "list").stderr
    for words in ([], [first, "--all"]):
        assert ours("trace", "delete", *words).exit_code == 2
    for words in (["show"], ["show", "zz"], ["delete", "zz"]):
        done = ours("trace", *words)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)


def cases(tmp_path: Path, *configs: dict[str, Any]) -> str:
    path = tmp_path / "cases.json"
    listed = [
        {"test_case_id": f"case_{number}", "llm_config": {"model": "openai/gpt-4o", "question": "hi", **config}}
        for number, config in enumerate(configs, start=1)
    ]
    path.write_text(json.dumps(listed), encoding="utf-8")
    return str(path)


def test_a_run_keeps_all_traces_and_says_where_those_of_failures_are(shell: Make, tmp_path: Path) -> None:
    ours = shell(chat_reply("hello"), error_reply(401), chat_reply("hello"))
    done = ours("test", "run", cases(tmp_path, {}, {}, {}))
    assert done.stdout.splitlines()[-1] == "Results: 2 passed, 0 failed, 1 error"
    (line,) = done.stderr.splitlines()
    assert "AuthenticationError" in ours("trace", "show", identity(line)).stdout
    listed = ours("trace", "list").stdout.splitlines()[1:]
    assert [re.split(r" {2,}", each)[2] for each in listed] == [f"test run case_{number}" for number in (3, 2, 1)]


def test_a_case_in_debug_mode_shows_its_timeline_below_its_verdict(shell: Make, tmp_path: Path) -> None:
    ours = shell(chat_reply("hello", prompt_tokens=3, completion_tokens=4))
    done = ours("test", "run", cases(tmp_path, {"debug_mode": True}, {}, {"debug_mode": False}), "--no-trace")
    assert done.stderr.count("round 1: ask") == 1
    lines = done.output.splitlines()
    assert lines[1] == "✅ case_1 passed"
    assert lines[2] == "round 1: ask"
    assert "answered, 3 tokens in, 4 out" in lines[3]
    assert not kept(tmp_path).exists()


def test_debug_mode_is_yes_or_no(shell: Make, tmp_path: Path) -> None:
    done = shell(chat_reply("hello"))("test", "run", cases(tmp_path, {"debug_mode": "loud"}))
    assert "debug_mode" in done.stdout
    assert done.exit_code == 1


@pytest.fixture
def terminal() -> Callable[..., str]:
    """Runs a command on a terminal of so many columns; what is seen there."""
    pty = pytest.importorskip("pty")
    fcntl, struct, termios = (pytest.importorskip(name) for name in ("fcntl", "struct", "termios"))

    def run(columns: int, *words: str, **environment: str) -> str:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        plain = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "NO_COLOR"}}
        command = [sys.executable, "-m", "llm_call", *words]
        with subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env={**plain, "TERM": "xterm", **environment}
        ) as process:
            os.close(theirs)
            seen = b""
            while piece := _read(ours):
                seen += piece
        os.close(ours)
        assert process.returncode == 0, seen
        return seen.decode().replace("\r\n", "\n")

    return run


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # how Linux says that nobody writes any more
        return b""


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_there_are_bars_in_its_width(shell: Make, terminal: Callable[..., str], columns: int) -> None:
    shell(error_reply(429, headers={"retry-after": "0.01"}), chat_reply("hello"))("ask", "hi", *OURS)
    seen = terminal(columns, "trace", "show")
    assert "\x1b[1mround 1: ask\x1b[0m" in seen
    lines = re.sub(r"\x1b\[[0-9;]*m", "", seen).splitlines()
    bars = [line for line in lines if "attempt" in line and ("█" in line or "░" in line)]
    assert [len(line) for line in bars] == [columns, columns]
    assert max(len(line) for line in lines[2:]) <= columns
    assert "\x1b[" not in terminal(columns, "trace", "show", NO_COLOR="1").replace("\x1b[1m", "").replace("\x1b[0m", "")


def test_a_terminal_without_such_letters_gets_others(shell: Make, terminal: Callable[..., str]) -> None:
    shell(chat_reply("hello"))("ask", "hi", *OURS)
    seen = terminal(80, "trace", "show", PYTHONIOENCODING="ascii")
    assert "####" in seen


def test_the_list_of_commands_is_there_without_a_database() -> None:
    program = (
        "import sys, llm_call.cli.main; print([m for m in ('sqlite3', 'msgspec', 'rich.console') if m in sys.modules])"
    )
    started = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert started.stdout == "[]\n"
