"""What a validator says of an answer, and what an extractor changed to read it."""

from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Struct

Risk = Literal["safe", "risky"]
Severity = Literal["must", "should", "info"]


class Repair(Struct, frozen=True, kw_only=True):
    """One change that was made to read a value: `before` stood at `start:end` (characters), `after` was read.

    `safe` changes no token inside a string or a number; everything else is `risky`.
    """

    kind: str
    start: int
    end: int
    before: str
    after: str
    risk: Risk


class Problem(Struct, frozen=True, kw_only=True):
    """One thing that is wrong: where (`path`, a JSON pointer), what, what was expected and what was got."""

    code: str
    message: str
    path: str = ""
    expected: str | None = None
    got: str | None = None

    def told(self, limit: int) -> str:
        """The problem in one line; `expected` and `got` with at most `limit` characters each."""
        sides = [f"{word} {side[:limit]}" for word, side in (("expected", self.expected), ("got", self.got)) if side]
        where = f"{self.path}: " if self.path else ""
        line = f"{where}{self.message} ({', '.join(sides)})" if sides else f"{where}{self.message}"
        return " ".join(line.split())

    def __str__(self) -> str:
        return self.told(80)


class Verdict(Struct, frozen=True, kw_only=True):
    """A validator's word. It also reads as the mapping {"valid": True, "data": ...} or {"valid": False, "error": ...}."""

    validator: str
    valid: bool
    value: Any = None
    problems: tuple[Problem, ...] = ()
    repairs: tuple[Repair, ...] = ()
    severity: Severity = "must"

    @property
    def error(self) -> str | None:
        """All problems in one line; `None` when valid."""
        return None if self.valid else "; ".join(map(str, self.problems))

    def keys(self) -> tuple[str, str]:
        """The keys of the mapping: `valid`, and `data` or `error`."""
        return ("valid", "data") if self.valid else ("valid", "error")

    def __getitem__(self, key: str) -> Any:
        if key not in self.keys():
            raise KeyError(key)
        return self.value if key == "data" else getattr(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        """The mapping's value for `key`, or `default`."""
        return self[key] if key in self.keys() else default

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())


def accepted(validator: str, value: Any = None) -> Verdict:
    """The verdict that nothing is wrong."""
    return Verdict(validator=validator, valid=True, value=value)


def rejected(validator: str, *problems: Problem) -> Verdict:
    """The verdict that `problems` are wrong."""
    return Verdict(validator=validator, valid=False, problems=problems)
