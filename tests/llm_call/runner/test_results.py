import json
import math
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.response import Usage
from llm_call.core.domain.trace import Attempt, Round, Trace
from llm_call.core.domain.verdict import Problem, rejected
from llm_call.runner.case import CaseResult
from llm_call.runner.results import Results, ResultsFile, results_of
from llm_call.runner.run import Run

CASE = CaseResult(
    test_case_id="a",
    outcome="failed",
    line=3,
    why="contains: no",
    model="m",
    answered_by="n",
    duration=0.5,
    answer="half \ud83d é",
    value={"k": [1]},
    verdicts=(rejected("contains", Problem(code="c", message="no")),),
    usage=Usage(input_tokens=3),
    cost=Decimal("0.00000012"),
    trace=Trace(
        model="m",
        rounds=(Round(number=1, rung="ask", attempts=(Attempt(number=1, target="t", started=0, duration=1),)),),
    ),
)


def results(*cases: CaseResult) -> Results:
    run = Run(results=cases, not_run=1, interrupted=True, duration=2.5)
    return results_of(run, started=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC), file="cases.json", model="other")


def write(path: Path, *cases: CaseResult) -> dict[str, object]:
    with ResultsFile(path, cases=path.with_name("cases.json")) as target:
        target.write(results(*cases))
    content: dict[str, object] = json.loads(path.read_bytes())
    return content


def test_the_file_holds_the_run_and_everything_known_of_each_case(tmp_path: Path) -> None:
    content = write(tmp_path / "out.json", CASE)
    cases = content.pop("cases")
    assert content == {
        "version": 1,
        "started": "2030-01-02T03:04:05Z",
        "duration": 2.5,
        "file": "cases.json",
        "model": "other",
        "interrupted": True,
        "summary": {"passed": 0, "failed": 1, "errors": 0, "skipped": 0, "not_run": 1},
    }
    assert isinstance(cases, list)
    (case,) = cases
    assert set(case) == set(CaseResult.__struct_fields__)
    assert case["answer"] == "half \ud83d é"
    assert case["cost"] == "1.2E-7"
    assert case["value"] == {"k": [1]}
    assert case["verdicts"][0]["problems"][0]["message"] == "no"
    assert case["trace"]["rounds"][0]["attempts"][0]["target"] == "t"


def test_a_value_that_json_does_not_know_does_not_lose_the_file(tmp_path: Path) -> None:
    odd = CaseResult(test_case_id="a", outcome="passed", line=1, value={1: {2.5}, "x": math.inf, "y": 1j})
    write(tmp_path / "out.json", odd)
    (case,) = msgspec.json.decode((tmp_path / "out.json").read_bytes())["cases"]
    assert case["value"] == {"1": [2.5], "x": "Infinity", "y": "1j"}


def test_results_replace_what_stood_there_and_leave_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "out.json").symlink_to("real.json")
    assert write(tmp_path / "out.json")["cases"] == []
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out.json", "real.json"]
    assert (tmp_path / "out.json").is_symlink()


def test_without_results_what_stood_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), ResultsFile(path, cases=tmp_path / "cases.json"):
        raise KeyboardInterrupt
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    cases = tmp_path / "cases.json"
    cases.write_text("[]")
    (tmp_path / "link.json").symlink_to(cases)
    os.mkfifo(tmp_path / "fifo")
    for name, message in {
        "absent/out.json": "cannot write .*No such file",
        "cases.json/out.json": "cannot write .*Not a directory",
        ".": "no regular file",
        "fifo": "no regular file",
        "cases.json": "is the file of cases",
        "link.json": "is the file of cases",
    }.items():
        with pytest.raises(ConfigError, match=message):
            ResultsFile(tmp_path / name, cases=cases)
    assert cases.read_text() == "[]"
