import io
import re

import pytest

from llm_call.cli.output import print_table

COLUMNS = ("provider", "base URL")
LINES = (("openai", "https://api.openai.com/v1"), ("a", "https://{region}.example.com/[bold]x[/bold]/" + "y" * 60))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_is_plain_columns_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, (("a", "b c"), ("longer name", "d")))
    assert capsys.readouterr().out == "provider     base URL\na            b c\nlonger name  d\n"


def test_on_a_terminal_it_is_folded_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(COLUMNS, LINES)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()
    assert max(map(len, lines)) <= 60
    assert LINES[1][1] in "".join(line[10:].strip() for line in lines)
