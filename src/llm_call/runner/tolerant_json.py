"""Nearly JSON, as people write it, made strict: comments, trailing commas, Python's constants, prose in front.

The law: what is tolerated is overwritten in place by as many characters, and newlines stay. So every position in the
strict text is the same position in the file, and strings are never touched. One pass, in linear time.
"""

import re
from json import JSONDecodeError

from msgspec import Struct

_PYTHON_CONSTANTS = {"True": "true", "False": "false", "None": "null"}
_COMMENT = r"//[^\n]*+|\#[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/)?"
_TOKEN = re.compile(
    rf"""
      (?P<string>  "(?:[^"\\]|\\.)*+ (?:"|\\?\Z) )
    | (?P<comment> {_COMMENT} )
    | (?P<word>    [A-Za-z_]\w*+ )
    | (?P<other>   [,\]}}/] | [^\s",\]}}/\#A-Za-z_]++ )
    """,
    re.VERBOSE | re.DOTALL,
)
_SPACE_AND_COMMENTS = re.compile(rf"(?:\s|{_COMMENT})*+")
_BRACKET_FIRST_ON_ITS_LINE = re.compile(r"^[ \t]*([\[{])", re.MULTILINE)
_NOT_NEWLINE = re.compile(r"[^\n]")


class Edit(Struct, frozen=True, kw_only=True):
    """One thing that strict JSON does not allow: what, where (a character position), and what it became."""

    position: int
    what: str
    replacement: str


def to_strict(text: str) -> tuple[str, tuple[Edit, ...]]:
    """`text` with everything that is tolerated overwritten (what is left may still not be JSON), and the edits.

    Raises:
        JSONDecodeError: No list or object begins in the text, or a comment is not closed.
    """
    start = _document_start(text)
    edits = [_blank("text before the first bracket", 0, text[:start])] if start else []
    scanner = _Scanner()
    for token in _TOKEN.finditer(text, start):
        scanner.take(token)
    edits += sorted(scanner.edits, key=lambda edit: edit.position)
    return _apply(text, edits), tuple(edits)


class _Scanner:
    """Tokens in, edits out. A comma after a value is in suspense until it is known whether a bracket closes next."""

    def __init__(self) -> None:
        self.edits: list[Edit] = []
        self._comma: int | None = None
        self._last = ""  # the last significant character

    def take(self, token: re.Match[str]) -> None:
        """Take in the next token."""
        found, position = token[0], token.start()
        if token.lastgroup == "comment":
            self._take_comment(token)
            return
        if found in ("]", "}") and self._comma is not None:
            self._edit(self._comma, "trailing comma", " ")
        if found in _PYTHON_CONSTANTS:
            self._edit(position, f"Python's {found}", _PYTHON_CONSTANTS[found])
        self._comma = position if found == "," and self._last not in ("", "[", "{", ":", ",") else None
        self._last = found[-1]

    def _take_comment(self, token: re.Match[str]) -> None:
        found = token[0]
        if found.startswith("/*") and (len(found) < len("/**/") or not found.endswith("*/")):
            raise JSONDecodeError("Expecting '*/' at the end of this comment", token.string, token.start())
        self.edits.append(_blank("comment", token.start(), found))

    def _edit(self, position: int, what: str, replacement: str) -> None:
        self.edits.append(Edit(position=position, what=what, replacement=replacement))


def _document_start(text: str) -> int:
    """Where tokens begin: at the start, or, where prose stands in front, at the first list or object behind it."""
    leading = _SPACE_AND_COMMENTS.match(text)
    position = leading.end() if leading else 0
    if text[position : position + 1] in ("[", "{"):
        return 0
    own_line = _BRACKET_FIRST_ON_ITS_LINE.search(text, position)
    start = own_line.start(1) if own_line else text.find("[", position)
    if start < 0:
        raise JSONDecodeError("Expecting a list of cases", text, position)
    return start


def _blank(what: str, position: int, text: str) -> Edit:
    return Edit(position=position, what=what, replacement=_NOT_NEWLINE.sub(" ", text))


def _apply(text: str, edits: list[Edit]) -> str:
    pieces: list[str] = []
    copied = 0
    for edit in edits:
        pieces += text[copied : edit.position], edit.replacement
        copied = edit.position + len(edit.replacement)
    return "".join((*pieces, text[copied:]))
