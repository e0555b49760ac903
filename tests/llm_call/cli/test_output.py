import io
import re
from collections.abc import Sequence

import pytest

from llm_call.cli.output import print_table, tell_error
from llm_call.core.domain.errors import AllTargetsFailedError, LLMCallError, ServerError
from llm_call.core.domain.trace import Attempt, Failure, Round, Trace

COLUMNS = ("provider", "base URL")
LINES = (("openai", "https://api.openai.com/v1"), ("a", "https://{region}.example.com/[bold]x[/bold]/" + "y" * 60))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_is_plain_columns_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, (("a", "b c"), ("longer name", "d")))
    assert capsys.readouterr().out == "provider     base URL\na            b c\nlonger name  d\n"


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: Sequence[str], *lines: Sequence[str]) -> list[str]:
    """The lines of the table where a terminal has room for 60 characters."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(columns, lines)
    return re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()


def test_where_it_is_too_narrow_for_columns_addresses_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "https://api.example.com/" + "y" * 30
    columns = ("provider", "state", "tested", "base URL")
    lines = on_a_terminal(monkeypatch, columns, ("openai", "needs a key", "never", address))
    assert lines == ["provider  state; tested; base URL", "openai    needs a key; never;", f"          {address}"]


def test_on_a_terminal_it_is_folded_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_a_terminal(monkeypatch, COLUMNS, *LINES)
    assert max(map(len, lines)) <= 60
    assert LINES[1][1] in "".join(line[10:].strip() for line in lines)


def trace(attempts: int) -> Trace:
    failure = Failure(kind="ServerError", message="no")
    tried = (Attempt(number=1, target="a/b", started=0, duration=0, failure=failure),) * attempts
    return Trace(model="a/b", rounds=(Round(number=1, rung="ask", attempts=tried),))


@pytest.mark.parametrize(
    ("error", "attempts", "line"),
    [
        (ServerError("it failed"), 1, "error: it failed"),
        (ServerError("it failed"), 3, "error: it failed (3 attempts)"),
        (ServerError("it failed.", hint="Wait."), 3, "error: it failed (3 attempts). Wait."),
        (ServerError("it failed", hint="Wait."), 0, "error: it failed. Wait."),
        (AllTargetsFailedError("no target answered\na/b: no", errors=()), 3, "error: no target answered\n  a/b: no"),
    ],
)
def test_an_error_is_told_with_how_often_it_was_tried(
    capsys: pytest.CaptureFixture[str], error: LLMCallError, attempts: int, line: str
) -> None:
    error.trace = trace(attempts) if attempts else None
    tell_error(error)
    assert capsys.readouterr().err == f"{line}\n"
