"""Validators of the answer's text as it stands: what it contains, how it begins and ends, how long it is.

Texts are compared in the normal form NFC, so that an accent written in two ways is one; where case does not matter,
by Unicode's full case folding. Lengths are counted in characters (code points) of the answer as it came.
"""

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar

from msgspec import Struct

from llm_call.core.domain.errors import ValidatorError
from llm_call.core.domain.verdict import Problem, Verdict, accepted, rejected
from llm_call.core.validation.base import Answer, Context, register
from llm_call.core.validation.candidates import INVISIBLE
from llm_call.core.validation.schema import snippet

_TAIL = 100
_Search = Callable[[str, float], bool]


class _TextValidator(Struct, frozen=True, kw_only=True):
    """A validator that looks at the text alone."""

    name: ClassVar[str]

    def validate(self, answer: Answer, context: Context) -> Verdict:  # noqa: ARG002  # the protocol's
        """The verdict, with the text."""
        problems = self.problems(answer.text)
        return rejected(self.name, *problems) if problems else accepted(self.name, answer.text)

    def problems(self, text: str) -> tuple[Problem, ...]:
        """What is wrong with `text`."""
        raise NotImplementedError


@register("response_not_empty")
class ResponseNotEmpty(_TextValidator, frozen=True, kw_only=True):
    """The answer has at least one visible character."""

    name: ClassVar[str] = "response_not_empty"

    def problems(self, text: str) -> tuple[Problem, ...]:
        """What is wrong with `text`."""
        return () if _trimmed(text) else (Problem(code="empty", message="the answer is empty"),)


@register("not_empty")
class NotEmpty(ResponseNotEmpty, frozen=True, kw_only=True):
    """The same as `response_not_empty`."""

    name: ClassVar[str] = "not_empty"


@register("contains", aliases={"substring": "required_text", "text": "required_text"})
class Contains(_TextValidator, frozen=True, kw_only=True):
    """The answer contains `required_text`: one text or several, and then all of them. Case does not matter by default."""

    name: ClassVar[str] = "contains"

    required_text: str | tuple[str, ...]
    case_sensitive: bool = False

    def __post_init__(self) -> None:
        _check_texts("required_text", self.required_text)

    def problems(self, text: str) -> tuple[Problem, ...]:
        """What is wrong with `text`."""
        found = _found(_texts(self.required_text), text, case_sensitive=self.case_sensitive)
        missing = [wanted for wanted in _texts(self.required_text) if wanted not in found]
        return tuple(_missing("contains", "the answer does not contain it", wanted, text) for wanted in missing)


@register("response_contains", aliases={"substring": "required_text", "text": "required_text"})
class ResponseContains(Contains, frozen=True, kw_only=True):
    """The same as `contains`."""

    name: ClassVar[str] = "response_contains"


@register(
    "not_contains",
    aliases={"substring": "forbidden_text", "text": "forbidden_text", "required_text": "forbidden_text"},
)
class NotContains(_TextValidator, frozen=True, kw_only=True):
    """The answer contains none of `forbidden_text`: one text or several. Case does not matter by default."""

    name: ClassVar[str] = "not_contains"

    forbidden_text: str | tuple[str, ...]
    case_sensitive: bool = False

    def __post_init__(self) -> None:
        _check_texts("forbidden_text", self.forbidden_text)

    def problems(self, text: str) -> tuple[Problem, ...]:
        """What is wrong with `text`."""
        found = _found(_texts(self.forbidden_text), text, case_sensitive=self.case_sensitive)
        return tuple(
            Problem(code="not_contains", message="the answer contains what it must not", got=snippet(each))
            for each in found
        )


@register("starts_with", aliases={"text": "prefix", "required_text": "prefix", "substring": "prefix"})
class StartsWith(_TextValidator, frozen=True, kw_only=True):
    """The answer starts with `prefix`; white space around the answer does not count."""

    name: ClassVar[str] = "starts_with"

    prefix: str
    case_sensitive: bool = True

    def __post_init__(self) -> None:
        _check_texts("prefix", self.prefix)

    def problems(self, text: str) -> tuple[Problem, ...]:
        """What is wrong with `text`."""
        prefix = _comparable(self.prefix, case_sensitive=self.case_sensitive)
        if _comparable(_trimmed(text), case_sensitive=self.case_sensitive).startswith(prefix):
            return ()
        return (_missing("starts_with", "the answer starts otherwise", self.prefix, text),)


@register("ends_with", aliases={"text": "suffix", "required_text": "suffix", "substring": "suffix"})
class EndsWith(_TextValidator, frozen=True, kw_only=True):
    """The answer ends with `suffix`; white space around the answer does not count."""

    name: ClassVar[str] = "ends_with"

    suffix: str
    case_sensitive: bool = True

    def __post_init__(self) -> None:
        _check_texts("suffix", self.suffix)

    def problems(self, text: str) -> tuple[Problem, ...]:
        """What is wrong with `text`."""
        suffix = _comparable(self.suffix, case_sensitive=self.case_sensitive)
        if _comparable(_trimmed(text), case_sensitive=self.case_sensitive).endswith(suffix):
            return ()
        return (_missing("ends_with", "the answer ends otherwise", self.suffix, text[-_TAIL:]),)


@register("equals", aliases={"text": "expected", "value": "expected", "required_text": "expected"})
class Equals(_TextValidator, frozen=True, kw_only=True):
    """The answer is `expected`; white space around either does not count."""

    name: ClassVar[str] = "equals"

    expected: str
    case_sensitive: bool = True

    def problems(self, text: str) -> tuple[Problem, ...]:
        """What is wrong with `text`."""
        expected = _comparable(_trimmed(self.expected), case_sensitive=self.case_sensitive)
        if _comparable(_trimmed(text), case_sensitive=self.case_sensitive) == expected:
            return ()
        return (_missing("equals", "the answer is another text", self.expected, text),)


@register("length")
class Length(_TextValidator, frozen=True, kw_only=True):
    """The answer has at least `min_length` and at most `max_length` characters; at least one of them is given."""

    name: ClassVar[str] = "length"

    min_length: int | None = None
    max_length: int | None = None

    def __post_init__(self) -> None:
        if self.min_length is None and self.max_length is None:
            raise ValueError("min_length, max_length or both are needed")
        _check_length(self.min_length, self.max_length)

    def problems(self, text: str) -> tuple[Problem, ...]:
        """What is wrong with `text`."""
        return _length_problems(text, self.min_length, self.max_length)


@register("min_length", aliases={"length": "min_length", "value": "min_length"})
class MinLength(_TextValidator, frozen=True, kw_only=True):
    """The answer has at least `min_length` characters."""

    name: ClassVar[str] = "min_length"

    min_length: int

    def __post_init__(self) -> None:
        _check_length(self.min_length, None)

    def problems(self, text: str) -> tuple[Problem, ...]:
        """What is wrong with `text`."""
        return _length_problems(text, self.min_length, None)


@register("max_length", aliases={"length": "max_length", "value": "max_length"})
class MaxLength(_TextValidator, frozen=True, kw_only=True):
    """The answer has at most `max_length` characters."""

    name: ClassVar[str] = "max_length"

    max_length: int

    def __post_init__(self) -> None:
        _check_length(None, self.max_length)

    def problems(self, text: str) -> tuple[Problem, ...]:
        """What is wrong with `text`."""
        return _length_problems(text, None, self.max_length)


@register("regex")
class Regex(_TextValidator, frozen=True, kw_only=True):
    r"""`pattern` is found anywhere in the answer. `flags` are letters of `imsx`, as in `(?imsx)`.

    It runs in linear time. A pattern that cannot (references back, looking around) may take `timeout` seconds; then
    the validator has no verdict. In both, `\d`, `\w`, `\s` and `\b` are of ASCII.
    """

    name: ClassVar[str] = "regex"

    pattern: str
    flags: str = ""
    timeout: float = 1.0

    def __post_init__(self) -> None:
        if not self.timeout > 0:
            raise ValueError("timeout, in seconds, must be above 0")
        if unknown := set(self.flags) - set("imsx"):
            raise ValueError(f"flags may be i, m, s and x, not {', '.join(sorted(unknown))}")
        _compiled(self._source)

    def problems(self, text: str) -> tuple[Problem, ...]:
        """What is wrong with `text`.

        Raises:
            ValidatorError: The search took too long, or the text cannot be searched.
        """
        if _compiled(self._source)(text, self.timeout):
            return ()
        return (_missing("regex", "the answer does not match the pattern", self.pattern, text),)

    @property
    def _source(self) -> str:
        return f"(?{self.flags}){self.pattern}" if self.flags else self.pattern


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> _Search:
    """A search for `pattern`: does a text hold it, within so many seconds?

    Raises:
        ValueError: It is no regular expression.
    """
    import re2  # noqa: PLC0415  # only who has a pattern pays for it

    options = re2.Options()
    options.log_errors = False
    try:
        linear = re2.compile(pattern, options)
    except re2.error:
        return _backtracking(pattern)

    def search(text: str, _timeout: float) -> bool:
        try:
            return linear.search(text) is not None
        except UnicodeEncodeError as error:
            raise ValidatorError("the answer holds half of a surrogate pair and cannot be searched") from error

    return search


def _backtracking(pattern: str) -> _Search:
    # It ships no types; only who has such a pattern pays for it.
    import regex  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        compiled = regex.compile(pattern, regex.ASCII)
    except regex.error as error:
        raise ValueError(f"pattern is no regular expression: {error}") from error

    def search(text: str, timeout: float) -> bool:
        try:
            return compiled.search(text, timeout=timeout) is not None
        except TimeoutError as error:
            raise ValidatorError(
                f"the search for {snippet(pattern)!r} took more than {timeout} s",
                hint="Write the pattern without references back and looking around: then it runs in linear time.",
            ) from error

    return search


def _trimmed(text: str) -> str:
    return text.strip().strip(INVISIBLE).strip()


def _texts(given: str | tuple[str, ...]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else given


def _check_texts(name: str, given: str | tuple[str, ...]) -> None:
    if not all(_texts(given)) or not given:
        raise ValueError(f"{name} must not be empty")


def _comparable(text: str, *, case_sensitive: bool) -> str:
    # Folding can undo the normal form, so it is made twice (Unicode Standard, 3.13, D145).
    normal = unicodedata.normalize("NFC", text)
    return normal if case_sensitive else unicodedata.normalize("NFC", normal.casefold())


def _found(texts: tuple[str, ...], text: str, *, case_sensitive: bool) -> tuple[str, ...]:
    where = _comparable(text, case_sensitive=case_sensitive)
    return tuple(each for each in texts if _comparable(each, case_sensitive=case_sensitive) in where)


def _missing(code: str, message: str, expected: str, got: str) -> Problem:
    return Problem(code=code, message=message, expected=snippet(expected), got=snippet(got))


def _check_length(low: int | None, high: int | None) -> None:
    if any(limit is not None and limit < 0 for limit in (low, high)):
        raise ValueError("a length is 0 or more")
    if low is not None and high is not None and low > high:
        raise ValueError(f"min_length {low} is above max_length {high}")


def _length_problems(text: str, low: int | None, high: int | None) -> tuple[Problem, ...]:
    length = len(text)
    if low is not None and length < low:
        return (_length_problem("min_length", f"at least {low}", length),)
    if high is not None and length > high:
        return (_length_problem("max_length", f"at most {high}", length),)
    return ()


def _length_problem(code: str, limit: str, length: int) -> Problem:
    message = f"the answer has {length} characters"
    return Problem(code=code, message=message, expected=f"{limit} characters", got=str(length))
