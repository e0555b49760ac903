"""`llm-call alerts test`, to real servers."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llm_call.cli.main import app
from llm_call.core import api
from llm_call.core.config import load
from llm_call.testing.servers import FaultServer, respond

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("...", *words)`: `llm-call alerts test` where the user's file holds that."""

    def llm_call(text: str, *words: str) -> tuple[int, str, str]:
        file = tmp_path / "config" / "llm_call" / "config.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(0o600)
        for name, value in (("_client", None), ("_settings", None), ("_load", load)):
            monkeypatch.setattr(api, name, value)
        done = CliRunner().invoke(app, ["alerts", "test", *words])
        return done.exit_code, done.stdout, done.stderr

    return llm_call


def test_each_receiver_gets_an_alert_of_its_own_level_and_each_outcome_is_a_line(run: Run) -> None:
    with FaultServer([respond()]) as good, FaultServer([respond(status=400)]) as bad:
        text = (
            f"[alerts.good]\nto = 'webhook'\nurl = '{good.url}'\nlevel = 'critical'\nkinds = ['breaker_open']\n"
            f"[alerts.bad]\nto = 'webhook'\nurl = '{bad.url}'"
        )
        code, output, _ = run(text)
        assert b'"level":"critical","kind":"test"' in good.requests[0].body
        assert b'"level":"warning","kind":"test"' in bad.requests[0].body
    assert code == 4
    first, second = sorted(output.splitlines())
    assert first.startswith("bad: failed: BadRequestError: HTTP 400")
    assert second.startswith("good: delivered (")


def test_a_level_is_sent_to_those_that_take_it(run: Run) -> None:
    with FaultServer([respond()]) as server:
        url = f"to = 'webhook'\nurl = '{server.url}'"
        text = f"[alerts.all]\n{url}\nlevel = 'info'\n[alerts.grave]\n{url}\nlevel = 'critical'"
        code, output, _ = run(text, "--level", "error")
        assert len(server.requests) == 1
    assert code == 0
    assert "grave: not tried, it takes no alert below critical" in output


def test_without_receivers_it_says_how_to_have_one(run: Run) -> None:
    code, output, said = run("")
    assert (code, output) == (2, "")
    assert "there is no receiver of alerts. docs/alerts.md says" in said
