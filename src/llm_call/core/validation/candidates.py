"""Where strict JSON stands in a text: every outermost value with its place, in one pass and in linear time.

The rule: nothing is guessed. A bracket either starts a value that the JSON grammar accepts, or it is prose, or it
starts a broken value, and then nothing inside that one counts: a part of a broken answer is a wrong answer. The pass
ends early, with the reason in `Scan.stopped`, where the text ends inside a value and where a limit is reached.

Fences, answer tags and reasoning tags count only outside values, so no string inside a value can imitate one.
"""

import re
import string
from typing import Any, NamedTuple

from llm_call.core.domain.verdict import Problem
from llm_call.core.validation.strict import REFUSED, Failure, Read, read

MAX_LENGTH = 16 * 1024 * 1024
"""The longest text that is read, in characters."""
MAX_CANDIDATES = 10_000
"""The most values that one text may hold."""
MAX_WORK_FACTOR = 4
"""Failed readings may cost this many times the length of the text, and `MAX_WORK_BASE` characters beside."""
MAX_WORK_BASE = 65_536

INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060"
"""Byte order mark and zero-width characters: no part of an answer at either end of it."""

_BLANK = string.whitespace + INVISIBLE
_SPACE = re.compile(f"[{_BLANK}]*")
_MARK = re.compile(r"\{|\[|<|```+|~~~+")
_INFO = re.compile(r"[^\n`~\"\[{<]*\n|(?:json)?[ \t]*", re.IGNORECASE)
_TAG = re.compile(r"<(/?)(thinking|think|reasoning|answer)\b[^<>]*>", re.IGNORECASE)
_REASONING_END = {name: re.compile(rf"</(?i:{name})\s*>") for name in ("thinking", "think", "reasoning")}
_TEXT_END = re.compile(r"\s*\Z")
_FENCE_END = re.compile(r"\s*(?:```|~~~|\Z)")
_ANSWER_END = re.compile(r"\s*(?:</answer\s*>|\Z)", re.IGNORECASE)
# Strings, which hide brackets, and what ends a broken value: its own bracket, a fence, a tag.
_TO_CLOSER = {
    opener: re.compile(
        rf'"(?:[^"\\\n]|\\.)*+"|\\.|[{pair}]|```|~~~|<(?i:/?(?:thinking|think|reasoning|answer))\b', re.DOTALL
    )
    for opener, pair in (("{", "{}"), ("[", r"\[\]"))
}
# What makes a bracket the start of an intended value rather than a mark in a sentence.
_VALUE_LIKE = re.compile(
    r"""\{\s*(?:["'}]|#\s|/[/*]|\.\.\.|[\w$-]+\s*:)|\[\s*(?:["'{\[]|#\s|/[/*]|(?:True|False|None)\s*[,\]])"""
)
_SCALAR_STARTS = frozenset('"-0123456789tfnNI')


class Candidate(NamedTuple):
    """A value at `start:end`. `marked` is whether it stands in a fence or an answer tag."""

    value: Any
    start: int
    end: int
    marked: bool
    notes: tuple[str, ...]

    @property
    def weight(self) -> int:
        """How likely the value is what was meant: objects and arrays of objects, other arrays, scalars."""
        if isinstance(self.value, list):
            return 2 if self.value and all(isinstance(item, dict) for item in self.value) else 1
        return 2 if isinstance(self.value, dict) else 0


class Broken(NamedTuple):
    """What was meant as a value at `start` and is none: what is wrong `at` which place."""

    start: int
    at: int
    code: str
    message: str
    marked: bool
    weight: int

    def problem(self, text: str) -> Problem:
        """The same for a reader, with line and column."""
        line = text.count("\n", 0, self.at) + 1
        column = self.at - text.rfind("\n", 0, self.at)
        return Problem(
            code=self.code,
            message=f"the JSON cannot be read at line {line}, column {column}: {self.message}",
            got=text[self.start : self.start + 200],
        )


class Scan:
    """One pass over `text`.

    `candidates` and `broken` are in the order of the text. `stopped` is why the pass ended early: code `incomplete`
    where the text ends inside a value or inside reasoning, else the limit that was reached. `work` counts the
    characters that were read in vain.

    Raises:
        RecursionError: A value is nested too deeply.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.candidates: list[Candidate] = []
        self.broken: list[Broken] = []
        self.stopped: Problem | None = None
        self.work = 0
        self._origin = 0
        self._end = len(text.rstrip(_BLANK))
        self._fence = ""
        self._in_answer = False
        if len(text) > MAX_LENGTH:
            self._stop("too_long", f"the text is longer than {MAX_LENGTH} characters")
        else:
            self._run()

    def _run(self) -> None:
        text, end = self.text, self._end
        position = self._scalar(self._origin, _TEXT_END)
        while mark := _MARK.search(text, position, end):
            start = mark.start()
            match text[start]:
                case "{" | "[":
                    position = self._bracket(start)
                case "<":
                    position = self._tag(start)
                case _:
                    position = self._fence_line(mark)

    def _bracket(self, start: int) -> int:
        reading = read(self.text, start, self._end)
        if isinstance(reading, Read):
            return self._add(start, reading)
        return self._skip(start, reading)

    def _add(self, start: int, reading: Read) -> int:
        candidate = Candidate(reading.value, start, reading.end, self._marked, reading.notes)
        if refusal := reading.refusal:
            self.broken.append(Broken(start, start, refusal, REFUSED[refusal], candidate.marked, candidate.weight))
        else:
            self.candidates.append(candidate)
        if len(self.candidates) > MAX_CANDIDATES:
            return self._stop("too_many", f"the text holds more than {MAX_CANDIDATES} JSON values")
        return reading.end

    def _skip(self, start: int, failure: Failure) -> int:
        """Where to go on behind a bracket that starts no value."""
        text = self.text
        meant = bool(_VALUE_LIKE.match(text, start)) or _holds_value(text, start + 1, failure.at)
        closer = self._end if failure.cut else self._closer(start)
        self.work += failure.at - start + (self._end if closer is None else closer) - start
        if self.work > MAX_WORK_FACTOR * len(text) + MAX_WORK_BASE:
            return self._stop("too_much_work", "the text holds too many brackets that start no JSON value")
        if failure.cut or (closer is None and meant):
            return self._stop("incomplete", "the text ends inside a JSON value")
        if closer is None:
            return start + 1
        if meant:
            weight = 2 if text[start] == "{" or text[_end_of(_SPACE, text, start + 1, closer)] == "{" else 1
            self.broken.append(Broken(start, failure.at, "invalid_json", failure.message, self._marked, weight))
        return closer

    def _closer(self, start: int) -> int | None:
        """The end of the broken value: behind its bracket, or before the fence or the tag that it runs into."""
        opener = self.text[start]
        depth = 0
        for token in _TO_CLOSER[opener].finditer(self.text, start, self._end):
            first = token[0][0]
            if first == opener:
                depth += 1
            elif first in "}]":
                depth -= 1
                if not depth:
                    return token.end()
            elif first in "`~<":
                return token.start()
        return None

    def _fence_line(self, mark: re.Match[str]) -> int:
        run, end = mark[0], mark.end()
        if self._fence and (run[0] != self._fence[0] or len(run) < len(self._fence)):
            return end
        if self._fence and not self.text[end : end + 1].isalnum():
            self._fence = ""
            return end
        self._fence = run
        return self._scalar(_end_of(_INFO, self.text, end, self._end), _FENCE_END)

    def _tag(self, start: int) -> int:
        tag = _TAG.match(self.text, start, self._end)
        if tag is None:
            return start + 1
        closing, name = bool(tag[1]), tag[2].lower()
        if name == "answer":
            self._in_answer = not closing
            return tag.end() if closing else self._scalar(tag.end(), _ANSWER_END)
        if closing:
            return self._forget(tag.end())
        return self._reasoning(tag, name)

    def _forget(self, end: int) -> int:
        """Behind an orphan closing tag: all before it was reasoning."""
        self.candidates.clear()
        self.broken.clear()
        self._fence, self._in_answer = "", False
        self._origin = end
        return self._scalar(end, _TEXT_END)

    def _reasoning(self, tag: re.Match[str], name: str) -> int:
        close = _REASONING_END[name].search(self.text, tag.end(), self._end)
        if close is None:
            return self._stop("incomplete", "the text ends inside the reasoning")
        if _end_of(_SPACE, self.text, self._origin, self._end) != tag.start():
            return close.end()
        self._origin = close.end()
        return self._scalar(close.end(), _TEXT_END)

    def _scalar(self, position: int, terminator: re.Pattern[str]) -> int:
        """Behind the scalar that is all there is from `position` to `terminator`, or `position` where there is none."""
        start = _end_of(_SPACE, self.text, position, self._end)
        if self.text[start : start + 1] not in _SCALAR_STARTS:
            return position
        reading = read(self.text, start, self._end)
        if isinstance(reading, Read):
            return self._add(start, reading) if terminator.match(self.text, reading.end, self._end) else position
        if reading.cut and self.text[start] == '"':
            return self._stop("incomplete", "the text ends inside a JSON string")
        return position

    @property
    def _marked(self) -> bool:
        return bool(self._fence) or self._in_answer

    def _stop(self, code: str, message: str) -> int:
        self.stopped = Problem(code=code, message=message)
        return self._end


def _end_of(pattern: re.Pattern[str], text: str, start: int, end: int) -> int:
    """The end of what `pattern` matches at `start`."""
    found = pattern.match(text, start, end)
    return found.end() if found else start


def _holds_value(text: str, start: int, end: int) -> bool:
    return text.find('"', start, end) >= 0 or text.find("{", start, end) >= 0
