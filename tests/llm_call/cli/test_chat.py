"""`llm-call chat` through a pipe and at a terminal of its own, and the commands about what it keeps."""

import json
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from llm_call.core import api
from llm_call.testing.scripted import chat_reply, error_reply, stream_reply
from llm_call.testing.servers import Behaviour, FaultServer, Gate, respond, stream

Make = Callable[..., Any]
ROOT = Path(__file__).parents[3]


def test_each_line_of_a_pipe_is_a_turn_and_only_answers_are_on_standard_output(shell: Make) -> None:
    ours = shell(stream_reply(["one"]), stream_reply(["two"]))
    done = ours("chat", "-m", "openai/x", "--system", "Count.", input="first\n\n  \n/exit is a word\n")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "one\ntwo\n", "")
    said = [(each["role"], each["content"]) for each in ours.transport.bodies[-1]["messages"]]
    assert said == [("system", "Count."), ("user", "first"), ("assistant", "one"), ("user", "/exit is a word")]


def test_an_error_is_one_line_and_the_conversation_goes_on(shell: Make) -> None:
    done = shell(error_reply(401, message="bad key"), stream_reply(["two"]))("chat", input="first\nsecond\n")
    assert (done.exit_code, done.stdout) == (4, "two\n")
    error, trace = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert trace.startswith("trace ")
    assert "bad key" in done.stderr
    assert [each.text for each in api.chat(api.conversations()[0].id).messages] == ["second", "two"]


def test_a_rejected_answer_exits_with_1(shell: Make) -> None:
    done = shell(stream_reply([" "]))("chat", input="first\n")
    assert done.exit_code == 1
    assert "rejected" in done.stderr


def test_it_goes_on_with_the_last_one_or_a_given_one_and_another_model(shell: Make) -> None:
    ours = shell(stream_reply(["one"]))
    ours("chat", "-m", "openai/x", input="first\n")
    ours("chat", "--last", input="second\n")
    identity = api.conversations()[0].id
    assert ours("chat", "--continue", identity, "-m", "openai/y", input="third\n").exit_code == 0
    body = ours.transport.bodies[-1]
    assert (body["model"], len(body["messages"])) == ("y", 5)
    assert len(api.conversations()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--last"], "no conversation"),
        (["--continue", "x"], "no conversation 'x'"),
        (["--continue", "x", "--last"], "exclude"),
    ],
    ids=str,
)
def test_a_conversation_that_is_not_there_is_refused(shell: Make, words: list[str], said: str) -> None:
    done = shell(chat_reply("x"))("chat", *words, input="hi\n")
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_conversations_are_listed_shown_and_deleted(shell: Make) -> None:
    ours = shell(stream_reply(["one"]))
    assert ours("conversations", "list").stdout == ""
    ours("chat", "-m", "openai/x", "-s", "Count.", input="first\nsecond\n")
    (kept,) = api.conversations()
    listed = ours("conversations", "list").stdout
    assert re.fullmatch(rf"{kept.id}  \d{{4}}-\d\d-\d\d \d\d:\d\d    2 turns  openai/x  first\n", listed)
    assert ours("conversations", "show", kept.id).stdout.splitlines() == [
        "system: Count.",
        "user: first",
        "assistant: one",
        "user: second",
        "assistant: one",
    ]
    assert len(json.loads(ours("conversations", "show", kept.id, "--json").stdout)) == 4
    assert ours("conversations", "delete", kept.id).exit_code == 0
    assert api.conversations() == ()
    assert ours("conversations", "show", kept.id).exit_code == 2


# A process of a new session gets the first terminal that it opens as its own, and with it Ctrl-C.
IN_A_TERMINAL = "import os; os.open(os.ttyname(0), os.O_RDWR); from llm_call.cli.main import main; main()"


class Terminal:
    """`llm-call chat` in a terminal of its own. `expect` reads until something stands there."""

    def __init__(self, *words: str, home: Path) -> None:
        self._ours, theirs = pty.openpty()
        environment = {
            **os.environ,
            "TERM": "dumb",
            "PYTHONPATH": str(ROOT / "src"),
            "HOME": str(home),
            "OPENAI_API_KEY": "sk-secret",
        }
        command = [sys.executable, "-c", IN_A_TERMINAL, "chat", *words]
        self._process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        )
        os.close(theirs)
        self.screen = ""

    def send(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def expect(self, pattern: str) -> str:
        """What stands on the screen up to `pattern`, and is then taken away."""
        while not (found := re.search(pattern, self.screen)):
            ready, _, _ = select.select([self._ours], [], [], 30)
            assert ready, f"{pattern!r} is not in {self.screen!r}"
            self.screen += os.read(self._ours, 4096).decode()
        text, self.screen = self.screen[: found.end()], self.screen[found.end() :]
        return text

    def type(self, text: str, answer: str) -> str:
        """Type at the prompt, and not before: until it stands there, the terminal itself handles the keys."""
        self.expect("> ")
        self.send(text)
        return self.expect(answer)

    def ended(self) -> int:
        return self._process.wait(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


def words(*texts: str | Gate) -> list[bytes | Gate]:
    """A streamed answer of `texts`, with gates between."""
    whole = list(stream_reply([each for each in texts if isinstance(each, str)]).pieces)
    return [each if isinstance(each, Gate) else whole.pop(0) for each in texts] + whole


def test_at_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    script: list[Behaviour] = [
        stream(words("one")),
        stream(words("half", gate, "never")),
        stream(words("again")),
        respond(b'{"error": {"message": "wrong"}}', status=400),
        stream(words("lines")),
    ]
    with FaultServer(script) as server:
        settings = tmp_path / "config" / "llm_call"
        settings.mkdir(parents=True)
        monkeypatch.setenv("LLM_CALL_CLAUDE_PROXY_URL", server.url)
        with Terminal("-m", "max/opus", home=tmp_path) as terminal:
            terminal.expect("new.*/help lists the commands")
            terminal.type("first\n", "one\r\n")
            terminal.type("second\n", "half")
            terminal.send("\x03")
            terminal.expect("interrupted: it is not kept; /retry asks again")
            gate.open()
            terminal.type("/retry\n", "again\r\n")
            assert "Traceback" not in terminal.type("third\n", "error: .*wrong")
            terminal.type("dropped", "dropped")  # echoed: the line is being read, and an interrupt is seen at once
            terminal.send("\x03")
            terminal.expect("\n")
            terminal.type("/sytem\n", "no command /sytem. Did you mean /system")
            terminal.type("/model nonsense\n", "no provider for")
            terminal.type("/system Be brief.\n", "system prompt: Be brief.")
            terminal.type('"""/one\ntwo"""\n', "lines\r\n")
            terminal.type("/undo\n", "forgotten: /one\r?\ntwo")
            terminal.type("\x04", "To go on: llm-call chat --continue [0-9a-f]{8}")
            assert terminal.ended() == 0
        last = json.loads(server.requests[-1].body)["messages"]
    assert [(each["role"], each["content"]) for each in last] == [
        ("system", "Be brief."),
        ("user", "first"),
        ("assistant", "one"),
        ("user", "second"),
        ("assistant", "again"),
        ("user", "/one\ntwo"),
    ]
    (kept,) = api.conversations()
    assert kept.turns == 2


@pytest.mark.model
def test_the_embedded_model_talks_at_a_terminal(tmp_path: Path) -> None:
    with Terminal("-m", "local/smollm2-135m", home=tmp_path) as terminal:
        terminal.type("Say hello.\n", "Say hello.\r\n")
        terminal.expect(r"\w[^\r]*\r\n")
        terminal.type("/exit\n", "To go on")
        assert terminal.ended() == 0
