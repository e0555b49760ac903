"""A file of cases, read: strictly where it is JSON, tolerantly (and saying so) where it is nearly JSON.

What concerns the file as a whole stops here: nothing of it runs. What concerns one case is kept with that case.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any

from msgspec import Struct

from llm_call.core.domain.errors import ConfigError
from llm_call.runner.case import Entry
from llm_call.runner.tolerant_json import Edit, to_strict

_SPACE = re.compile(r"[ \t\n\r]*+")
_WRAPPER = re.compile(r'\s*+\{\s*+"cases"\s*+:\s*+(?=\[)')
_FORM = 'A file of cases is a JSON list, or {"cases": [...]}.'
_SHOWN = 20  # characters of what stands where something else was expected


class DatasetError(ConfigError):
    """The file of cases cannot be used, or no case is selected: nothing runs."""


class Dataset(Struct, frozen=True, kw_only=True):
    """The entries of a file in its order, and `warnings`: what was tolerated in reading them."""

    name: str
    entries: tuple[Entry, ...]
    warnings: tuple[str, ...] = ()


def load(path: Path) -> Dataset:
    """The cases of the file at `path`.

    Raises:
        DatasetError: The file cannot be read, holds no cases, or a case has no id of its own.
    """
    name, text = str(path), _read(path)
    edits: tuple[Edit, ...] = ()
    try:
        try:
            elements = _Reader(text).elements()
        except JSONDecodeError:
            strict, edits = to_strict(text)
            elements = _Reader(strict).elements()
    except JSONDecodeError as error:
        raise _syntax_error(name, error) from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{name} cannot be read as JSON: {error}") from error
    if not elements:
        raise DatasetError(f"{name} holds no cases", hint=_FORM)
    return Dataset(name=name, entries=_entries(name, elements), warnings=tuple(_warnings(name, text, edits)))


class _Element(Struct, frozen=True):
    line: int
    value: Any
    faults: tuple[str, ...]


class _Reader:
    """The list of a document, element by element with the line of each, by the fast scanner of the standard library.

    What that scanner would let pass (a key twice, NaN) becomes a fault of the element that it stands in.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._faults: list[str] = []
        self._decode = JSONDecoder(object_pairs_hook=self._object, parse_constant=self._constant).raw_decode

    def elements(self) -> list[_Element]:
        """Every element.

        Raises:
            JSONDecodeError: The text is not JSON, or not of the form of a file of cases.
            ValueError: A number is too long.
            RecursionError: It is nested too deeply.
        """
        wrapper = _WRAPPER.match(self._text)
        elements, position = self._list(wrapper.end() if wrapper else self._skip(0))
        if wrapper:
            position = self._expect("}", position)
        if position < len(self._text):
            raise JSONDecodeError("Expecting the end of the file", self._text, position)
        return elements

    def _list(self, position: int) -> tuple[list[_Element], int]:
        elements: list[_Element] = []
        position = self._expect("[", position)
        if self._text.startswith("]", position):
            return elements, self._skip(position + 1)
        line, counted = 1, 0
        while True:
            line, counted = line + self._text.count("\n", counted, position), position
            value, position = self._decode(self._text, position)
            elements.append(_Element(line, value, tuple(self._faults)))
            self._faults.clear()
            position = self._skip(position)
            if self._text.startswith("]", position):
                return elements, self._skip(position + 1)
            position = self._expect(",", position)

    def _expect(self, character: str, position: int) -> int:
        if not self._text.startswith(character, position):
            raise JSONDecodeError(f"Expecting {character!r}", self._text, position)
        return self._skip(position + 1)

    def _skip(self, position: int) -> int:
        space = _SPACE.match(self._text, position)
        return space.end() if space else position

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
            self._faults.append(f"the key {twice!r} stands twice in one object")
        return result

    def _constant(self, name: str) -> None:
        self._faults.append(f"{name} is no JSON")


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DatasetError(f"no such file: {path}") from error
    except IsADirectoryError as error:
        raise DatasetError(f"{path} is a directory", hint="Name one file of cases.") from error
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DatasetError(f"{path}:{line}: not UTF-8 ({error.reason})", hint="Save the file as UTF-8.") from error
    if not text.strip():
        raise DatasetError(f"{path} is empty", hint=_FORM)
    return text


def _entries(name: str, elements: list[_Element]) -> tuple[Entry, ...]:
    lines: dict[str, int] = {}
    entries: list[Entry] = []
    for element in elements:
        where = f"{name}:{element.line}"
        if not isinstance(element.value, dict):
            raise DatasetError(f"{where}: a case is an object, this is not", hint=_FORM)
        identity = _identity(where, element.value)
        if identity in lines:
            raise DatasetError(f"{where}: test_case_id {identity!r} stands in line {lines[identity]} already")
        lines[identity] = element.line
        entries.append(Entry(test_case_id=identity, line=element.line, fields=element.value, faults=element.faults))
    return tuple(entries)


def _identity(where: str, fields: Mapping[str, Any]) -> str:
    identity = fields.get("test_case_id")
    if identity is None:
        raise DatasetError(f"{where}: a case without test_case_id")
    # It is printed as it is, on a line of its own.
    if not isinstance(identity, str) or not identity.strip() or not identity.isprintable():
        raise DatasetError(f"{where}: test_case_id is no line of printable text")
    return identity


def _syntax_error(name: str, error: JSONDecodeError) -> DatasetError:
    rest = error.doc[error.pos : error.pos + _SHOWN].split("\n")[0].strip()
    found = f"found {rest!r}" if error.pos < len(error.doc.rstrip()) else "found the end of the file"
    expected = error.msg[0].lower() + error.msg[1:].removesuffix(" at")
    expected = expected.replace("expecting", "expected", 1)
    return DatasetError(f"{name}:{error.lineno}:{error.colno}: {expected}, {found}", hint=_FORM)


def _warnings(name: str, text: str, edits: tuple[Edit, ...]) -> Iterator[str]:
    first: dict[str, Edit] = {}
    for edit in edits:
        first.setdefault(edit.what, edit)
    counts = Counter(edit.what for edit in edits)
    for what, edit in first.items():
        line = text.count("\n", 0, edit.position) + 1
        more = f" and {counts[what] - 1} more" if counts[what] > 1 else ""
        yield f"{name}:{line}: tolerated what is no JSON: {what}{more}"
