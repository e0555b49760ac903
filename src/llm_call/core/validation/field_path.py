"""Paths into a JSON value: `user.name`, `items.0.name`, `items[0].name`, `users.*.name`, `["a.b"].c`.

A dotted number is a list's index in a list and a key in an object; a number in brackets is only ever an index. There
are no negative indices. `*` is every element of a list, or every value of an object.
"""

import json
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final, Literal, NamedTuple

_STEP = re.compile(
    r"""(?:(?P<dot>\.)?(?P<name>[^.\[\]]+)|\[(?:(?P<index>[0-9]+)|(?P<every>\*)|(?P<key>"(?:[^"\\]|\\.)*"|'[^']*'))\])"""
)


class _Missing(Enum):
    MISSING = 0


MISSING: Final = _Missing.MISSING
"""What stands at a path that leads nowhere."""


class _Every(Enum):
    EVERY = 0


Step = str | int | Literal[_Every.EVERY]


class Place(NamedTuple):
    """One place that a path leads to: its JSON pointer, and its value or `MISSING`."""

    pointer: str
    value: Any


def parse(path: str) -> tuple[Step, ...]:
    """The steps of `path`.

    Raises:
        ValueError: It is no path.
    """
    steps: list[Step] = []
    position = 0
    while position < len(path):
        found = _STEP.match(path, position)
        if found is None or (found["name"] is not None and bool(found["dot"]) != bool(steps)):
            raise ValueError(f"{path!r} is no path: a name, an index or * is expected at character {position + 1}")
        steps.append(_step(found))
        position = found.end()
    if not steps:
        raise ValueError("the path is empty")
    return tuple(steps)


def find(value: Any, steps: tuple[Step, ...], pointer: str = "") -> Iterator[Place]:
    """Every place that `steps` lead to from `value`; one that is `MISSING` for each that is not there."""
    if not steps:
        yield Place(pointer, value)
        return
    children = list(_children(value, steps[0]))
    if not children:
        yield Place(pointer + _token(steps[0]), MISSING)
    for key, child in children:
        yield from find(child, steps[1:], pointer + _token(key))


def _step(found: re.Match[str]) -> Step:
    if found["index"] is not None:
        return int(found["index"])
    if found["every"] is not None or found["name"] == "*":
        return _Every.EVERY
    if (key := found["key"]) is not None:
        return str(json.loads(key)) if key.startswith('"') else key[1:-1]
    return found["name"]


def _children(value: Any, step: Step) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        if step is _Every.EVERY:
            yield from value.items()
        elif step in value:
            yield str(step), value[step]
    elif isinstance(value, list):
        if step is _Every.EVERY:
            yield from enumerate(value)
        elif (index := _index(step)) is not None and index < len(value):
            yield index, value[index]


def _index(step: Step) -> int | None:
    if isinstance(step, int):
        return step
    return int(step) if isinstance(step, str) and step.isascii() and step.isdigit() else None


def _token(step: Step) -> str:
    text = "*" if step is _Every.EVERY else str(step)
    return f"/{text.replace('~', '~0').replace('/', '~1')}"
