"""JSON Schema checks: drafts 7, 2019-09 and 2020-12, chosen by `$schema`, the last where it says nothing.

`format` is checked in every draft. Nothing is ever fetched: a reference out of the schema is an error of its writer.
"""

from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, Protocol

import msgspec

from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.verdict import Problem

Schema = Mapping[str, Any] | bool

MAX_PROBLEMS = 50
"""How many problems of one value are reported."""
SNIPPET = 200
"""The longest `got` and `expected` of a problem, in characters."""

_UNEXPECTED = {"additionalProperties", "unevaluatedProperties", "unevaluatedItems"}


class _Compiled(Protocol):
    def is_valid(self, instance: Any) -> bool: ...
    def iter_errors(self, instance: Any) -> Any: ...


class Checker:
    """A compiled schema."""

    def __init__(self, schema: Any, compiled: _Compiled) -> None:
        self._schema = schema
        self._compiled = compiled
        self.fits = compiled.is_valid

    def may_be_wrapped_in(self, key: str) -> bool:
        """Whether an object whose only key is `key` can be a mere wrapping of what this schema describes.

        Not where the schema knows the key, nor where it names no type: then nearly anything inside would fit.
        """
        return (
            isinstance(self._schema, dict) and "type" in self._schema and key not in self._schema.get("properties", ())
        )

    def problems(self, value: Any) -> tuple[Problem, ...]:
        """What is wrong with `value`, each with its JSON pointer and the schema's keyword; empty when it fits."""
        return tuple(_problem(error) for error in islice(self._compiled.iter_errors(value), MAX_PROBLEMS))


def checker(schema: Schema) -> Checker:
    """The compiled `schema`; compiled once however often it is asked for.

    Raises:
        ConfigError: It is no JSON Schema, or refers to something outside itself; the message says where and what.
    """
    try:
        canonical = msgspec.json.encode(schema, enc_hook=dict, order="deterministic")
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"the schema is not JSON: {error}") from error
    return _compile(canonical)


@lru_cache(maxsize=256)
def _compile(canonical: bytes) -> Checker:
    import jsonschema_rs  # noqa: PLC0415  # costs 20 ms of start-up: only who has a schema pays

    try:
        compiled = jsonschema_rs.validator_for(
            canonical.decode(), mask="the value", offline=True, validate_formats=True
        )
    except jsonschema_rs.ValidationError as error:
        where = _pointer(error.instance_path) or "its root"
        raise ConfigError(
            f"the schema is not a JSON Schema that can be used: at {where}: {snippet(error.message)} ({show(error.instance)})",
            hint="References outside the schema are never fetched: put what they name under $defs.",
        ) from error
    return Checker(msgspec.json.decode(canonical), compiled)


def snippet(text: str) -> str:
    """`text`, cut to `SNIPPET` characters."""
    return text if len(text) <= SNIPPET else text[: SNIPPET - 1] + "…"


def show(value: Any) -> str:
    """The start of `value` as JSON."""
    return snippet(msgspec.json.encode(value).decode())


def _problem(error: Any) -> Problem:
    return Problem(
        path=_pointer(error.instance_path),
        code=error.kind.name,
        message=snippet(error.message),
        expected=_expected(error.kind),
        got=show(error.instance),
    )


def _expected(kind: Any) -> str | None:
    if kind.name in {"anyOf", "oneOf"}:
        branches = ("; ".join(error.message for error in branch) for branch in kind.value)
        return snippet(" | ".join(filter(None, branches)))
    if kind.name in _UNEXPECTED or kind.value is None:
        return None
    try:
        return show(kind.value)
    except TypeError:
        return None


def _pointer(path: list[str | int]) -> str:
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)
