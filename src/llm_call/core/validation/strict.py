"""One strict JSON value at one place of a text.

The parsing is that of the standard library, in C. What that lets through is noted here: numbers that are not finite,
integers longer than Python reads, lone surrogates and duplicate keys.
"""

import math
import re
from collections.abc import Iterable
from json import JSONDecodeError, JSONDecoder
from typing import Any, NamedTuple

import msgspec

MAX_DEPTH = 500
"""The deepest nesting of a value. The interpreter's own limit, where it is lower, is reported in the same words."""

_WINDOW, _GROWTH = 4096, 8
_LITERALS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
_NUMBER_TAIL = re.compile(r"\.|[eE][+-]?")
_ESCAPE_LENGTH = 6

REFUSED = {
    "not_finite": "a number is NaN, infinite or too large for a float",
    "number_too_long": "an integer has more digits than Python reads",
    "lone_surrogate": "a string holds half of a surrogate pair, which no UTF-8 can carry",
}


class Read(NamedTuple):
    """A value that the grammar accepts, its end, and what is unusual about it: codes, `duplicate_key` among them."""

    value: Any
    end: int
    notes: tuple[str, ...]

    @property
    def refusal(self) -> str | None:
        """The code of what makes the value unusable; `None` when nothing does."""
        return next((note for note in self.notes if note in REFUSED), None)


class Failure(NamedTuple):
    """Why there is no value: where reading failed, and whether it failed only because the text ended."""

    at: int
    message: str
    cut: bool


def read(text: str, start: int, end: int) -> Read | Failure:
    """The value that starts exactly at `start`.

    It is read through a growing window, so that a failure costs what was read and not what is left of the text.

    Raises:
        RecursionError: The value is nested too deeply.
    """
    size = _WINDOW
    while True:
        window = text[start : min(start + size, end)]
        try:
            value, length, notes = _decode(window)
        except JSONDecodeError as error:
            cut = _is_cut(window, error)
            if cut and start + size < end:
                size *= _GROWTH
                continue
            return Failure(start + error.pos, error.msg, cut)
        return Read(value, start + length, notes + _defects(value, window[:length]))


def _decode(window: str) -> tuple[Any, int, tuple[str, ...]]:
    try:
        return *_STRICT.raw_decode(window), ()
    except JSONDecodeError:
        raise
    except ValueError:
        return _inspect(window)


def _inspect(window: str) -> tuple[Any, int, tuple[str, ...]]:
    """The same value again, noting what the strict decoder stumbled over."""
    notes: dict[str, None] = {}

    def integer(digits: str) -> int:
        try:
            return int(digits)
        except ValueError:
            notes["number_too_long"] = None
            return 0

    def real(digits: str) -> float:
        number = float(digits)
        if math.isinf(number):
            notes["not_finite"] = None
        return number

    def constant(_name: str) -> None:
        notes["not_finite"] = None

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(members)
        if len(result) != len(members):
            notes["duplicate_key"] = None
        return result

    decoder = JSONDecoder(object_pairs_hook=pairs, parse_int=integer, parse_float=real, parse_constant=constant)
    value, length = decoder.raw_decode(window)
    return value, length, tuple(notes)


def _refuse(name: str) -> None:
    raise ValueError(name)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(digits)
    return number


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(members)
    if len(result) != len(members):
        raise ValueError("duplicate key")
    return result


_STRICT = JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse)


def _is_cut(window: str, error: JSONDecodeError) -> bool:
    """Whether reading failed only because the window ended: what is left is the start of a token, or nothing."""
    rest = window[error.pos : error.pos + 16]
    if error.msg.startswith("Unterminated string"):
        return True
    if error.msg.startswith("Invalid \\u"):
        return error.pos + _ESCAPE_LENGTH > len(window)
    if error.pos + len(rest) < len(window):
        return False
    return any(literal.startswith(rest) for literal in _LITERALS) or bool(_NUMBER_TAIL.fullmatch(rest))


def _defects(value: Any, source: str) -> tuple[str, ...]:
    if source.count("[") + source.count("{") > MAX_DEPTH and _is_too_deep(value):
        raise RecursionError
    if source.isascii() and "\\u" not in source:
        return ()
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        return ("lone_surrogate",)
    return ()


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node) if isinstance(child, (dict, list))]
        if not level:
            return False
    return True


def _children(node: Any) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node
