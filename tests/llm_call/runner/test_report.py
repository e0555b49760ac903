import io
import os
from typing import Any

import pytest

from llm_call.runner.case import CaseResult, Outcome
from llm_call.runner.report import Printer, Summary, exit_code, summarize, summary_line, verdict
from llm_call.runner.run import Run


def result(outcome: Outcome, **fields: Any) -> CaseResult:
    return CaseResult(**{"test_case_id": "a_1", "line": 1, "outcome": outcome, "why": "because", **fields})


def run(*outcomes: Outcome, not_run: int = 0, interrupted: bool = False) -> Run:
    return Run(results=tuple(map(result, outcomes)), not_run=not_run, interrupted=interrupted, duration=1.0)


def printed(*results: CaseResult, encoding: str) -> list[str]:
    raw = io.BytesIO()
    printer = Printer(io.TextIOWrapper(raw, encoding=encoding, newline="\n"))
    for each in results:
        printer.ended(each)
    return raw.getvalue().decode(encoding).splitlines()


ALL = (result("passed"), result("failed"), result("error"), result("skipped"))


def test_verdicts_are_the_documented_lines() -> None:
    assert printed(*ALL, encoding="utf-8") == [
        "✅ a_1 passed",
        "❌ a_1 failed: because",
        "⚠️ a_1 error: because",
        "⏭️ a_1 skipped: because",
    ]


def test_words_stand_for_symbols_where_these_cannot_be_encoded() -> None:
    odd = result("failed", test_case_id="é", why="✅")
    assert printed(*ALL, odd, encoding="ascii") == [
        "PASS a_1 passed",
        "FAIL a_1 failed: because",
        "ERROR a_1 error: because",
        "SKIP a_1 skipped: because",
        "FAIL \\xe9 failed: \\u2705",
    ]


def test_half_a_surrogate_pair_is_escaped() -> None:
    assert printed(result("failed", why="\ud83d"), encoding="utf-8") == ["❌ a_1 failed: \\ud83d"]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (result("passed", unchecked=True), "a_1 passed (unchecked)"),
        (result("passed", expected="failed"), "a_1 passed (failed as expected)"),
        (result("passed", expected="error", unchecked=True), "a_1 passed (error as expected)"),
        (result("failed", why="x" * 400), f"a_1 failed: {'x' * 300}..."),
    ],
)
def test_a_verdict_says_what_is_particular_about_it(given: CaseResult, line: str) -> None:
    assert verdict(given) == line


def test_the_summary_counts_and_names_errors_and_skipped_only_where_there_are_any() -> None:
    summary = summarize(run("passed", "failed", "passed", "error", "skipped", not_run=4))
    assert summary == Summary(passed=2, failed=1, errors=1, skipped=1, not_run=4)
    assert summary_line(summary) == "Results: 2 passed, 1 failed, 1 error, 1 skipped"
    assert summary_line(summarize(run("passed"))) == "Results: 1 passed, 0 failed"


@pytest.mark.parametrize(
    ("done", "code"),
    [
        (run("passed", "passed"), 0),
        (run("passed", "skipped"), 0),
        (run("passed", "failed"), 1),
        (run("passed", "error"), 1),
        (run("skipped", "skipped"), 1),
        (run("passed", not_run=1), 1),
        (run("passed", not_run=1, interrupted=True), 130),
        (run("failed", interrupted=True), 130),
    ],
)
def test_the_exit_code_is_zero_only_when_something_passed_and_nothing_else_happened(done: Run, code: int) -> None:
    assert exit_code(done, allow_skipped=False) == code


def test_a_run_of_skipped_cases_alone_may_be_allowed() -> None:
    assert exit_code(run("skipped"), allow_skipped=True) == 0
    assert exit_code(run("skipped", "error"), allow_skipped=True) == 1


def test_every_line_is_there_at_once() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as out:
        Printer(out).started("a_1")
        assert os.read(reading, 100) == b"Running a_1...\n"
    os.close(reading)


def test_a_reader_that_goes_away_does_not_end_the_run() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as out:
        printer = Printer(out)
        printer.started("a_1")
        printer.ended(result("passed"))
    assert out.closed
