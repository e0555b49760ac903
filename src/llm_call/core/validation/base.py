"""What a validator is, and the one registry that finds it by name.

A validator is a frozen struct: its fields are its parameters, so they are checked, printed and documented from one
place. It does no I/O. `register` gives it its name and the aliases of its parameters.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Protocol, TypeVar

import msgspec

from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.keys import canonical_keys, near_names
from llm_call.core.domain.request import Request
from llm_call.core.domain.response import Finish
from llm_call.core.domain.verdict import Verdict
from llm_call.core.validation.extraction import Extraction, extract


class Answer:
    """What was answered: the text, and the JSON value in it, extracted once however many validators ask."""

    def __init__(
        self, text: str, *, schema: Mapping[str, Any] | bool | None = None, finish_reason: Finish = "stop"
    ) -> None:
        self.text = text
        self.schema = schema
        self.finish_reason = finish_reason

    @cached_property
    def extraction(self) -> Extraction:
        """The JSON value in the text, chosen by the schema that was asked for."""
        return extract(self.text, self.schema)


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked: the request as it was first put, and the number of the round, from 1."""

    request: Request | None = None
    round: int = 1


class Validator(Protocol):
    """Judges one answer. Pure: no I/O, no clock, no chance."""

    @property
    def name(self) -> str:
        """The name that verdicts carry."""

    def validate(self, answer: Answer, context: Context) -> Verdict:
        """The verdict.

        Raises:
            ValidatorError: The validator could not decide.
        """


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A validator in the registry: its type, and which other words its users' files have for its parameters."""

    name: str
    type: type[msgspec.Struct]
    aliases: Mapping[str, str] = {}


S = TypeVar("S", bound=type[msgspec.Struct])
_REGISTRY: dict[str, Registration] = {}


def register(name: str, *also: str, aliases: Mapping[str, str] | None = None) -> Callable[[S], S]:
    """Class decorator: makes a validator known as `name` (and `also`), its parameters also by their `aliases`."""

    def add(type_: S) -> S:
        for each in (name, *also):
            _REGISTRY[each] = Registration(name=each, type=type_, aliases=aliases or {})
        return type_

    return add


def registered() -> Mapping[str, Registration]:
    """Every known validator by name, in the order of their names."""
    return dict(sorted(_REGISTRY.items()))


def build(name: str, params: Mapping[str, Any] | None = None) -> Validator:
    """The validator `name` with `params`.

    Raises:
        ConfigError: The name is unknown, or a parameter is unknown, missing or of the wrong type; the message names
            the right ones.
    """
    entry = _REGISTRY.get(name)
    if entry is None:
        near = near_names(name, _REGISTRY)
        hint = f"Did you mean {' or '.join(near)}?" if near else "`llm-call validators` lists them."
        raise ConfigError(f"unknown validator {name!r}", hint=hint)
    known = entry.type.__struct_fields__
    return _convert(entry, canonical_keys(params or {}, known=known, aliases=entry.aliases, what=f"validator {name!r}"))


def written(validator: Validator) -> dict[str, Any]:
    """`validator` as the entry of `validation` that `build` makes it from again.

    Raises:
        ConfigError: It is not a registered one, or a parameter of it cannot be written down.
    """
    type_: Any = type(validator)
    names = [entry.name for entry in _REGISTRY.values() if entry.type is type_]
    if not names:
        raise ConfigError(
            f"the validator {validator.name!r} is an object that cannot be written down",
            hint="Give it a name with llm_call.register.",
        )
    fields = {field.name: getattr(validator, field.name) for field in msgspec.structs.fields(type_)}
    own = {name: value for name, value in fields.items() if name != "name"}
    try:
        return {"type": names[0], "params": msgspec.to_builtins(own)}
    except TypeError as error:
        raise ConfigError(f"the validator {validator.name!r}: {error}", hint="Its parameters must be JSON.") from error


def _convert(entry: Registration, params: dict[str, Any]) -> Validator:
    try:
        validator: Any = msgspec.convert(params, entry.type)
    except (msgspec.ValidationError, ValueError) as error:
        known = ", ".join(entry.type.__struct_fields__) or "no parameters"
        raise ConfigError(f"validator {entry.name!r}: {error}", hint=f"It takes {known}.") from error
    checked: Validator = validator
    return checked
