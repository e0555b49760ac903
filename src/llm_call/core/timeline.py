"""A trace as a timeline: what happened, when, for how long, and what came of it.

`timeline` gives lines as data; `plain`, `charted` and `markdown` put them into words, `document` gives the trace as JSON.
All show what is in the trace: `core.domain.redaction` says what may be in it. No text of a peer can steer a terminal.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec
from msgspec import Struct

from llm_call.core.domain.messages import Part, Reasoning, Text, ToolCall
from llm_call.core.domain.response import Response, Usage
from llm_call.core.domain.trace import Attempt, Failure, Round, Timings, Trace
from llm_call.core.domain.verdict import Problem

Kind = Literal["skip", "round", "wait", "gate", "attempt", "answer", "tool", "notice", "verdict"]
Status = Literal["", "ok", "failed"]

DOCUMENT_VERSION = 1
"""Of the form of `document`. A field may be added without a new number; none changes its meaning or goes without one."""


class Line(Struct, frozen=True, kw_only=True):
    """One thing that happened. `offset` (from the call's start) and `duration` are in seconds.

    `text` is who or what it is about, `outcome` what came of it. `cost` is in US dollars, `None` where it is unknown.
    """

    kind: Kind
    text: str
    offset: float = 0.0
    duration: float = 0.0
    status: Status = ""
    outcome: str = ""
    tokens: Usage | None = None
    cost: Decimal | None = None
    timings: Timings | None = None

    @property
    def timed(self) -> bool:
        """Whether it took time of its own."""
        return self.kind in {"wait", "gate", "attempt"}


def timeline(trace: Trace, costs: Sequence[Decimal | None] = ()) -> tuple[Line, ...]:
    """The lines of `trace`, in order. `costs` are those of its answered attempts, where there is one for each."""
    answered = [attempt.number for attempt in trace.attempts if attempt.usage is not None]
    by_number = dict(zip(answered, costs, strict=True)) if len(answered) == len(costs) else {}
    lines = [Line(kind="skip", text=each.target, outcome=each.why) for each in trace.skipped]
    for each in trace.rounds:
        lines.append(_round(each))
        for attempt in each.attempts:
            lines += _attempt(attempt, by_number.get(attempt.number))
        lines += _judged(each)
    return tuple(lines)


def _round(each: Round) -> Line:
    begin = min((attempt.started - attempt.wait for attempt in each.attempts), default=0.0)
    end = max((attempt.started + attempt.duration for attempt in each.attempts), default=begin)
    return Line(kind="round", text=f"round {each.number}: {each.rung}", offset=begin, duration=end - begin)


def _attempt(attempt: Attempt, cost: Decimal | None) -> Iterator[Line]:
    if attempt.wait:
        begin = attempt.started - attempt.wait
        yield Line(kind="wait", text="wait", outcome=attempt.why, offset=begin, duration=attempt.wait)
    held = attempt.timings.held if attempt.timings else 0.0
    if held or not attempt.sent:
        what = "waited for leave to ask" if attempt.sent else "nothing was sent"
        yield Line(kind="gate", text=f"gate {attempt.target}", outcome=what, offset=attempt.started, duration=held)
    why = f" (after {attempt.why})" if attempt.why and not attempt.wait else ""
    yield Line(
        kind="attempt",
        text=f"attempt {attempt.number} {attempt.target}",
        offset=attempt.started,
        duration=attempt.duration,
        status="failed" if attempt.failure else "ok",
        outcome=(_failed(attempt.failure) if attempt.failure else "answered") + why,
        tokens=attempt.usage,
        cost=cost,
        timings=attempt.timings,
    )


def _failed(failure: Failure) -> str:
    told = failure.message.startswith(f"HTTP {failure.status}")
    words = ["" if told else str(failure.status or ""), failure.kind, failure.code or ""]
    said = f": {failure.message}" if failure.message else ""
    request = f" (request {failure.request_id})" if failure.request_id else ""
    return " ".join(filter(None, words)) + said + request


def _judged(each: Round) -> Iterator[Line]:
    ends = [attempt.started + attempt.duration for attempt in each.attempts]
    at = max(ends, default=0.0)
    if each.response is not None:
        yield from _answer(each.response, at)
    if valid := [verdict.validator for verdict in each.verdicts if verdict.valid]:
        yield Line(kind="verdict", text="valid", offset=at, status="ok", outcome=", ".join(valid))
    for verdict in each.verdicts:
        if not verdict.valid:
            said = "; ".join(map(_told, verdict.problems))
            text = f"rejected by {verdict.validator}"
            yield Line(kind="verdict", text=text, offset=at, status="failed", outcome=said)


def _told(problem: Problem) -> str:
    """The problem with its code, which stays where its words are held back."""
    return f"{problem.code} {problem}" if problem.message.startswith("[") else str(problem)


def _answer(response: Response, at: float) -> Iterator[Line]:
    for part in response.parts:
        if isinstance(part, ToolCall):
            yield Line(kind="tool", text=f"tool {part.name}", offset=at, outcome=part.arguments)
    said = " ".join(filter(None, map(_said, response.parts)))
    reason = response.finish_reason
    raw = f" ({reason.raw})" if reason.raw not in {None, reason.unified} else ""
    outcome = f"{reason.unified}{raw}: {said}" if said else f"{reason.unified}{raw}"
    yield Line(kind="answer", text=f"answer {response.model}", offset=at, outcome=outcome)
    for notice in response.notices:
        yield Line(kind="notice", text=f"notice {notice.field}", offset=at, outcome=f"{notice.fate}: {notice.message}")


def _said(part: Part) -> str:
    match part:
        case Text(text=text):
            return text
        case Reasoning(text=text):
            return f"[reasoning: {text}]"
    return ""


# Words


def one_line(text: str) -> str:
    """`text` on one line; what cannot be printed is escaped, so that no answer can steer a terminal."""
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)


def detail(line: Line) -> str:
    """What came of it, with its tokens, its money and the stages that it went through."""
    parts = [line.outcome, _tokens(line.tokens), "" if line.cost is None else f"${line.cost:f}"]
    said = one_line(", ".join(filter(None, parts)))
    stages = _stages(line.timings)
    return f"{said}; {stages}" if stages else said


def _tokens(usage: Usage | None) -> str:
    if usage is None or usage.input_tokens is None:
        return ""
    return f"{usage.input_tokens} tokens in, {usage.output_tokens} out"


def _stages(timings: Timings | None) -> str:
    if timings is None:
        return ""
    named = (("head", timings.head), ("first event", timings.first_event))
    return ", ".join(f"{name} after {seconds:.2f} s" for name, seconds in named if seconds is not None)


def plain(lines: Sequence[Line]) -> Iterator[str]:
    """A line of text for each: for logs, pipes and mails."""
    width = max((len(line.text) for line in lines if line.timed), default=0)
    for line in lines:
        said = detail(line)
        if line.timed:
            text = one_line(line.text)
            yield f"  {line.offset:7.2f} s  {text.ljust(width)}  {line.duration:7.2f} s  {said}"
        else:
            indent = " " * _INDENT.get(line.kind, 0)
            yield f"{indent}{_titled(line)}{f': {said}' if said else ''}"


def _titled(line: Line) -> str:
    return one_line(f"skipped {line.text}" if line.kind == "skip" else line.text)


_INDENT: Mapping[Kind, int] = {"answer": 2, "tool": 2, "notice": 2, "verdict": 2}  # columns


def markdown(lines: Sequence[Line]) -> str:
    """A table for an issue or a report."""
    rows = ["| at | what | took | what came of it |", "|---:|---|---:|---|"]
    for line in lines:
        took = f"{line.duration:.2f} s" if line.timed or line.kind == "round" else ""
        at = "" if line.kind == "skip" else f"{line.offset:.2f} s"
        rows.append(f"| {at} | {_escaped(_titled(line))} | {took} | {_escaped(detail(line))} |")
    return "\n".join(rows) + "\n"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*<\[|])", r"\\\1", text)


def document(trace: Trace, costs: Sequence[Decimal | None] = (), **facts: Any) -> bytes:
    """The trace as JSON: `version`, `facts`, `costs` (those of the answered attempts, in US dollars) and `trace`."""
    whole = {"version": DOCUMENT_VERSION, **facts, "costs": costs, "trace": trace}
    return msgspec.json.format(msgspec.json.encode(whole), indent=2)


# Bars


class Glyphs(Struct, frozen=True, kw_only=True):
    """What bars are drawn with: what passes before anything is sent, before the answer begins, while it comes."""

    waiting: str = "·"
    asking: str = "░"
    answering: str = "█"
    cut: str = "…"


ASCII = Glyphs(waiting=".", asking="-", answering="#", cut="~")
"""For terminals that cannot show the others."""

_MARGIN, _TOOK = 11, 9  # columns of an offset and of a duration, with the space around them
_LEAST_BAR = 16  # columns


class Row(Struct, frozen=True, kw_only=True):
    """A row of a chart: `text`, in any length, begins in the column `indent`; `line` is what it tells of."""

    line: Line
    indent: int
    text: str


def charted(lines: Sequence[Line], width: int, glyphs: Glyphs) -> Iterator[Row]:
    """The rows of a chart with bars along time in `width` columns; what came of it stands under its bar."""
    total = max((line.offset + line.duration for line in lines), default=0.0)
    room = width - _MARGIN - _TOOK
    label = min(max((len(line.text) for line in lines if line.timed), default=0), max(8, room - _LEAST_BAR - 2))
    for line in lines:
        said = detail(line)
        if line.timed:
            bar = _bar(line, total, max(1, room - label - 2), glyphs)
            text = _cut(one_line(line.text), label, glyphs.cut).ljust(label)
            yield Row(line=line, indent=0, text=f"{line.offset:7.2f} s  {text}  {bar}{line.duration:7.2f} s")
            yield Row(line=line, indent=_MARGIN, text=said)
        else:
            text = _titled(line)
            yield Row(line=line, indent=_INDENT.get(line.kind, 0), text=f"{text}: {said}" if said else text)


def _cut(text: str, length: int, mark: str) -> str:
    """`text` without its middle where it is too long: names of models differ at their ends."""
    if len(text) <= length:
        return text
    left = (length - 1) // 2
    return f"{text[:left]}{mark}{text[len(text) - (length - 1 - left) :]}"


_INSTANT = 1e-9
"""Seconds below which nothing has a length that could be drawn."""


def _bar(line: Line, total: float, cells: int, glyphs: Glyphs) -> str:
    """`cells` columns of which those are drawn in which the line's time passes, at least one."""
    scale = cells / total if total > _INSTANT else 0.0
    start = min(round(line.offset * scale), cells - 1)
    end = max(start + 1, min(cells, round((line.offset + line.duration) * scale)))
    drawn = _drawn(line, end - start, glyphs)
    return (" " * start + drawn).ljust(cells)


def _drawn(line: Line, cells: int, glyphs: Glyphs) -> str:
    if line.kind != "attempt":
        return glyphs.waiting * cells
    timings = line.timings
    if timings is None or line.duration <= _INSTANT:
        return glyphs.answering * cells
    begun = timings.first_event if timings.first_event is not None else timings.head
    scale = cells / line.duration
    held = min(cells, round(timings.held * scale))
    asked = max(held, min(cells, round((line.duration if begun is None else begun) * scale)))
    return glyphs.waiting * held + glyphs.asking * (asked - held) + glyphs.answering * (cells - asked)
