"""`llm-call simulate`: tables, JSON, refusals."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from llm_call.cli.main import app

POLICY = 'default_model = "openai/gpt-4o-mini"\n[retry]\nmax_attempts = {attempts}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, attempts in (("one", 1), ("three", 3)):
        (tmp_path / f"{name}.toml").write_text(POLICY.format(attempts=attempts), encoding="utf-8")
    return tmp_path


def simulate(*words: object) -> Result:
    return CliRunner().invoke(app, ["simulate", *map(str, words)])


def test_policies_stand_side_by_side(folder: Path) -> None:
    done = simulate("-p", folder / "one.toml", "-p", folder / "three.toml", "--calls", 60, "--rate", 0.1)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert done.exit_code == 0
    assert lines[0][:3] == ["policy", "calls", "success"]
    assert [line[:2] for line in lines[1:3]] == [["one", "60"], ["three", "60"]]
    assert [line[:2] for line in lines[5:]] == [["one", "openai/gpt-4o-mini"], ["three", "openai/gpt-4o-mini"]]


def test_the_report_is_json_where_it_is_asked_for(folder: Path) -> None:
    done = simulate("-p", folder / "one.toml", "--scenario", "throttle", "--duration", 20, "--seed", 5, "--json")
    report = json.loads(done.stdout)
    assert (report["scenario"], report["seed"], report["policies"][0]["calls"]) == ("throttle", 5, 200)


def test_recorded_traces_are_played(folder: Path) -> None:
    attempt = {"target": "openai/gpt-4o-mini", "duration": 3.0}
    (folder / "traces.jsonl").write_text(json.dumps({"rounds": [{"attempts": [attempt]}]}), encoding="utf-8")
    words = ("--scenario", "recorded-trace", "--traces", folder / "traces.jsonl", "--calls", 20, "--json")
    report = json.loads(simulate("-p", folder / "one.toml", *words).stdout)
    assert report["policies"][0]["p50"] == pytest.approx(3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-p", "none.toml"], "no policy file"),
        (["-p", "one.toml", "--scenario", "recorded-trace"], "needs a file of traces"),
        (["-p", "one.toml", "--traces", "x.json"], "needs a file of traces"),
        (["-p", "one.toml", "--scenario", "storm"], "scenario storm"),
        (["-p", "one.toml", "--model", "no name"], "no model name"),
        (["-p", "one.toml", "--duration", "inf"], "too many"),
        (["-p", "one.toml", "--rate", "inf", "--calls", "7"], "too many"),
        (["-p", "one.toml", "--calls", "7", "--rate", "1", "--duration", "3"], "are not 7"),
    ],
)
def test_what_cannot_be_is_one_line_and_exits_with_2(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(folder)
    done = simulate(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_section_that_has_no_part_is_told(folder: Path) -> None:
    (folder / "one.toml").write_text('default_model = "openai/x"\n[telemetry]\nenabled = true\n', encoding="utf-8")
    done = simulate("-p", folder / "one.toml", "--calls", 3)
    assert "telemetry: no part of a simulation" in done.stderr


def test_calls_that_end_before_anything_goes_wrong_are_pointed_out(folder: Path) -> None:
    early = simulate("-p", folder / "one.toml", "--scenario", "outage", "--calls", 20)
    assert "nothing goes wrong: the last call begins after 2 s" in early.stderr
    assert "nothing goes wrong" not in simulate("-p", folder / "one.toml", "--calls", 20, "--rate", 0.1).stderr
