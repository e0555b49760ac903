"""Secrets in what is about to be written: known ones wherever they stand, and what looks like a key.

A known secret is found as it is and as JSON writes it, in one piece or cut anywhere by the pieces of a stream. One that
a model spells out letter by letter, with other text between, is not found: nothing can tell it from prose.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import msgspec

HIDDEN = "<hidden>"
_SHORTEST = 8  # characters: something shorter is no key, and hiding it would hide ordinary words
_KEY_SHAPES = (
    rb"(?<![\w-])(?:(?:sk|pk|rk|xai|nvapi|pplx)-[\w-]{16,}|(?:gsk|hf|ghp|ghs|github_pat|sk|r8)_\w{16,}|AIza[\w-]{30,}"
    rb"|AKIA[0-9A-Z]{16}|ya29\.[\w.-]{20,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,})"
)
_KEY_PARAMETER = re.compile(r"key|token|secret|signature|\bsig\b|code|password", re.IGNORECASE)
# Headers of requests whose values stand for no one: all others may carry a credential.
_HARMLESS = frozenset({"accept", "anthropic-beta", "anthropic-version", "content-type", "user-agent", "x-model-type"})


class Secrets:
    """The secrets known so far."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._pattern = re.compile(_KEY_SHAPES)
        self.learn(values)

    def learn(self, values: Iterable[str]) -> None:
        """Hide `values` from now on, where they are long enough to be keys."""
        new = {value for value in values if len(value) >= _SHORTEST} - self._known
        if not new:
            return
        self._known |= new
        quoted = {msgspec.json.encode(value)[1:-1].decode() for value in self._known}
        forms = {*self._known, *quoted, *(each.replace("/", r"\/") for each in quoted)}  # as some write JSON
        known = [re.escape(form.encode()) for form in sorted(forms, key=len, reverse=True)]
        self._pattern = re.compile(b"|".join([*known, _KEY_SHAPES]))

    def text(self, text: str) -> str:
        """`text` without secrets."""
        return self._pattern.sub(HIDDEN.encode(), text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")

    def value(self, value: Any) -> Any:
        """A JSON value without secrets, its keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(key): self.value(each) for key, each in value.items()}
        return [self.value(each) for each in value] if isinstance(value, list | tuple) else value

    def pieces(self, pieces: Sequence[bytes]) -> list[bytes]:
        """`pieces` of one body without secrets; one that several pieces share is hidden in the first of them."""
        whole = b"".join(pieces)
        spans = [found.span() for found in self._pattern.finditer(whole)]
        shown, start = [], 0
        for piece in pieces:
            shown.append(_shown(whole, start, start + len(piece), spans) if spans else piece)
            start += len(piece)
        return shown


def secrets_of(base_url: str, headers: Mapping[str, str]) -> set[str]:
    """What may be secret of a place and its headers: passwords and keys in the URL, the words of the headers."""
    parts = urlsplit(base_url)
    queried = [value for name, value in parse_qsl(parts.query) if _KEY_PARAMETER.search(name)]
    named = [unquote(part) for part in (parts.username, parts.password) if part]
    given = [value for name, value in headers.items() if name.lower() not in _HARMLESS]
    return {*queried, *named, *given, *(word for value in given for word in value.split())}


def without_keys(query: str) -> str:
    """A query with the values of what sounds like a key hidden."""
    pairs = parse_qsl(query, keep_blank_values=True)
    return urlencode([(name, HIDDEN if _KEY_PARAMETER.search(name) else value) for name, value in pairs], safe="<>")


def _shown(whole: bytes, start: int, end: int, spans: Sequence[tuple[int, int]]) -> bytes:
    """What is left of `whole[start:end]` when `spans` are hidden."""
    shown, at = b"", start
    for left, right in spans:
        if right <= start or left >= end:
            continue
        shown += whole[at : max(at, left)] + (HIDDEN.encode() if left >= start else b"")
        at = right
    return shown + whole[at:end]
