"""Validators of JSON answers: is there a value, does it fit a schema, does a field of it hold what it should."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Struct

from llm_call.core.domain.verdict import Problem, Verdict, accepted, rejected
from llm_call.core.validation.base import Answer, Context, register
from llm_call.core.validation.extraction import Extraction, extract, same
from llm_call.core.validation.field_path import MISSING, Place, find, parse
from llm_call.core.validation.schema import Schema, checker, show, snippet

JSONType = Literal["string", "number", "integer", "boolean", "object", "array", "null"]

_JSON_SPACE = " \t\r\n"
_AMBIGUOUS = Problem(code="ambiguous", message="another JSON value in the answer might be meant as well")


class JSONExtractionValidator(Struct, frozen=True, kw_only=True):
    """The JSON value in a text, in one call.

    JSONExtractionValidator().validate(text)["data"]
    """

    def validate(self, response: str, expected_schema: Schema | None = None) -> Verdict:
        """{"valid": True, "data": value}, its repairs in `repairs`, or {"valid": False, "error": why}.

        A value that may not be the one that was meant is valid and has a problem of code `ambiguous`.

        Raises:
            ConfigError: `expected_schema` is no JSON Schema.
        """
        return _verdict("json", extract(response, expected_schema))


@register("json")
class JSON(Struct, frozen=True, kw_only=True):
    """A JSON value stands in the answer."""

    name: ClassVar[str] = "json"

    def validate(self, answer: Answer, context: Context) -> Verdict:  # noqa: ARG002  # the protocol's
        """The verdict, with the value."""
        return _verdict(self.name, _any_json(answer))


@register("json_string")
class JSONString(Struct, frozen=True, kw_only=True):
    """The whole answer is JSON, with nothing but white space around it."""

    name: ClassVar[str] = "json_string"

    def validate(self, answer: Answer, context: Context) -> Verdict:  # noqa: ARG002  # the protocol's
        """The verdict, with the value."""
        extraction = _any_json(answer)
        around = answer.text[: extraction.start] + answer.text[extraction.end :]
        if extraction.found and around.strip(_JSON_SPACE):
            problem = Problem(
                code="not_only_json", message="there is more than JSON in the answer", got=snippet(around)
            )
            return rejected(self.name, problem)
        return _verdict(self.name, extraction)


@register("schema")
class FitsSchema(Struct, frozen=True, kw_only=True):
    """A JSON value in the answer fits `schema`: a JSON Schema, or true or false."""

    name: ClassVar[str] = "schema"

    schema: dict[str, Any] | bool

    def __post_init__(self) -> None:
        checker(self.schema)

    def validate(self, answer: Answer, context: Context) -> Verdict:  # noqa: ARG002  # the protocol's
        """The verdict, with the value."""
        asked = answer.schema is not None and same(self.schema, answer.schema)
        return _verdict(self.name, answer.extraction if asked else extract(answer.text, self.schema))


@register("field_present", aliases={"field_path": "field_name", "present": "should_exist"})
class FieldPresent(Struct, frozen=True, kw_only=True):
    """The answer's JSON value has the field `field_name`, a path as in `field_path`.

    `expected_value` (null too) and `expected_type` (a JSON type's name) say more of it. With `should_exist=False` the
    field must not be there. A wildcard must lead to at least one place, and every place must be right.
    """

    name: ClassVar[str] = "field_present"

    field_name: str
    expected_value: Any = UNSET
    should_exist: bool = True
    expected_type: JSONType | None = None

    def __post_init__(self) -> None:
        parse(self.field_name)
        if not self.should_exist and (self.expected_value is not UNSET or self.expected_type):
            raise ValueError("a field that should not exist has no expected_value and no expected_type")

    def validate(self, answer: Answer, context: Context) -> Verdict:  # noqa: ARG002  # the protocol's
        """The verdict, with the whole JSON value."""
        extraction = _any_json(answer)
        if not extraction.found:
            return rejected(self.name, *extraction.problems)
        places = find(extraction.value, parse(self.field_name))
        problems = [problem for place in places if (problem := self._problem(place))]
        return rejected(self.name, *problems) if problems else accepted(self.name, extraction.value)

    def _problem(self, place: Place) -> Problem | None:
        pointer, value = place
        if (value is not MISSING) != self.should_exist:
            message = f"{self.field_name} is missing" if self.should_exist else f"{self.field_name} must not be there"
            return Problem(
                path=pointer, code="field_missing" if self.should_exist else "field_present", message=message
            )
        if value is MISSING:
            return None
        if self.expected_type and not _IS_TYPE[self.expected_type](value):
            message = f"the value is not of type {self.expected_type}"
            return Problem(path=pointer, code="type", message=message, expected=self.expected_type, got=show(value))
        if self.expected_value is not UNSET and not same(value, self.expected_value):
            wanted = show(self.expected_value)
            return Problem(path=pointer, code="value", message="another value", expected=wanted, got=show(value))
        return None


_IS_TYPE: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda value: (
        not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
    ),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
}


def _any_json(answer: Answer) -> Extraction:
    """The value that was asked for, else any other: the schema is not the business of who calls this."""
    if answer.schema is None or answer.extraction.found:
        return answer.extraction
    return extract(answer.text)


def _verdict(name: str, extraction: Extraction) -> Verdict:
    if not extraction.found:
        return rejected(name, *extraction.problems)
    verdict = accepted(name, extraction.value)
    problems = (_AMBIGUOUS,) if extraction.ambiguous else ()
    return msgspec.structs.replace(verdict, problems=problems, repairs=extraction.repairs)
