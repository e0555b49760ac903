"""What a run says: its lines on standard output, its exit code."""

import os
from typing import TextIO

from msgspec import Struct

from llm_call.runner.case import CaseResult, Outcome
from llm_call.runner.run import Run

_SYMBOLS: dict[Outcome, str] = {"passed": "✅", "failed": "❌", "error": "⚠️", "skipped": "⏭️"}
_WORDS: dict[Outcome, str] = {"passed": "PASS", "failed": "FAIL", "error": "ERROR", "skipped": "SKIP"}
_LONGEST_REASON = 300  # characters of a line; the results file has all of it


class Summary(Struct, frozen=True, kw_only=True):
    """How many cases came to what; `not_run` ones were left when the run was interrupted."""

    passed: int
    failed: int
    errors: int
    skipped: int
    not_run: int


def summarize(run: Run) -> Summary:
    """The counts of `run`."""
    outcomes = [result.outcome for result in run.results]
    return Summary(
        passed=outcomes.count("passed"),
        failed=outcomes.count("failed"),
        errors=outcomes.count("error"),
        skipped=outcomes.count("skipped"),
        not_run=run.not_run,
    )


def exit_code(run: Run, *, allow_skipped: bool) -> int:
    """130 interrupted; 1 a case failed, errored or was lost, or all were skipped without leave; else 0."""
    if run.interrupted:
        return 130
    summary = summarize(run)
    if summary.failed or summary.errors or summary.not_run:
        return 1
    return 0 if summary.passed or allow_skipped else 1


def summary_line(summary: Summary) -> str:
    """`Results: 1 passed, 0 failed`, with the errors and the skipped cases where there are any."""
    line = f"Results: {summary.passed} passed, {summary.failed} failed"
    line += f", {summary.errors} error{'s' if summary.errors > 1 else ''}" if summary.errors else ""
    return line + (f", {summary.skipped} skipped" if summary.skipped else "")


def verdict(result: CaseResult) -> str:
    """A case's verdict in one line, without its symbol."""
    line = f"{result.test_case_id} {result.outcome}"
    if result.outcome != "passed":
        return f"{line}: {_shortened(result.why)}"
    if result.expected != "passed":
        return f"{line} ({result.expected} as expected)"
    return f"{line} (unchecked)" if result.unchecked else line


class Printer:
    """Listens to a run and prints its lines to `out` as they come.

    Symbols become words where `out` cannot encode them. When nobody reads on (a closed pipe), the run goes on unheard.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._encoding = out.encoding or "ascii"
        self._symbols = _SYMBOLS if self._encodes("".join(_SYMBOLS.values())) else _WORDS

    def started(self, test_case_id: str) -> None:
        """Say that the case begins."""
        self.line(f"Running {test_case_id}...")

    def ended(self, result: CaseResult) -> None:
        """Say what the case came to."""
        self.line(f"{self._symbols[result.outcome]} {verdict(result)}")

    def line(self, text: str) -> None:
        """One whole line, at once."""
        if not self._encodes(text):
            text = text.encode(self._encoding, "backslashreplace").decode(self._encoding)
        try:
            print(text, file=self._out, flush=True)
        except BrokenPipeError:
            _discard(self._out)

    def _encodes(self, text: str) -> bool:
        try:
            text.encode(self._encoding)
        except UnicodeEncodeError:
            return False
        return True


def _shortened(why: str) -> str:
    return why if len(why) <= _LONGEST_REASON else f"{why[:_LONGEST_REASON]}..."


def _discard(stream: TextIO) -> None:
    """Let `stream` end nowhere, so that neither the next line nor the flush at the end of the process fails."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
