"""What of a JSON Schema a provider's native mode is given, by the facts in the model's profile.

Rules, as the vendors document them:

- `closed` (Anthropic): every object is closed, no schema contains itself, constants are no objects or lists, `oneOf` is
  not known, formats are those of `FORMATS`. A schema that cannot be said so is told in the prompt (`fitting_profile`).
- `strict` (OpenAI): any schema may be sent, but the model is held to it in the strict mode alone, which takes closed
  objects whose properties are all required, and the keywords of `STRICT`. Where the caller leaves it open, that mode is
  asked for when the schema fits it as it is, objects that say nothing of it being closed.

In any case the answer is checked against the caller's own schema.
"""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec
from llm_call.core.wire.base import Notices
from llm_call.core.wire.schema import (
    contains_itself,
    is_object,
    nodes,
    with_any_of,
    with_closed_objects,
    with_string_limit,
    without_keywords,
)

FORMATS = frozenset({"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"})
STRICT = frozenset(
    {
        *("$defs", "$ref", "additionalProperties", "anyOf", "const", "definitions", "description", "enum", "format"),
        *("exclusiveMaximum", "exclusiveMinimum", "items", "maxItems", "maximum", "minItems", "minimum", "multipleOf"),
        *("properties", "required", "title", "type"),
    }
)


def fitting_profile(profile: Profile, output: OutputSpec | None) -> Profile:
    """`profile`, or, where its native mode cannot take the schema of `output`, the same with the form in the prompt."""
    if output is None or output.schema is None or profile.output_mode != "native" or profile.schema_rule != "closed":
        return profile
    return profile if _closed(output.schema, profile) is not None else replace(profile, output_mode="prompted")


def closed_schema(spec: OutputSpec, profile: Profile, notices: Notices) -> Mapping[str, Any] | None:
    """The schema to send to a mode that may take closed objects only; `None` where there is none to send."""
    if spec.schema is None or profile.output_mode != "native":
        return None
    if profile.schema_rule != "closed":
        return native_schema(spec.schema, profile, notices)
    closed = _closed(spec.schema, profile)
    if closed is not None and native_schema(spec.schema, profile, notices) != closed:
        notices.add("output.schema", "translated", "objects are closed, `oneOf` is sent as `anyOf`")
    return closed


def openai_form(spec: OutputSpec, profile: Profile, notices: Notices) -> dict[str, Any] | None:
    """The form of the answer as OpenAI's dialects say it, flat; `None` where the prompt says it."""
    if profile.output_mode == "prompted":
        notices.add("output", "emulated", "this model is told the form of its answer in the prompt")
        return None
    if spec.schema is None or profile.output_mode == "json":
        if spec.schema is not None:
            notices.add("output", "emulated", "this model answers in JSON, and is told the schema in the prompt")
        elif spec != OutputSpec():
            notices.add("output", "dropped", "without a schema, no name, description or strictness is sent")
        return {"type": "json_object"}
    form = {"type": "json_schema", "name": spec.name, **strict_fields(spec, profile, notices)}
    return form if spec.description is None else {**form, "description": spec.description}


def strict_fields(spec: OutputSpec, profile: Profile, notices: Notices) -> dict[str, Any]:
    """The fields `schema` and `strict` of a native mode that may be strict."""
    schema = native_schema(spec.schema or {}, profile, notices)
    if profile.schema_rule != "strict" or spec.strict is False:
        return {"schema": schema} if spec.strict is None else {"schema": schema, "strict": spec.strict}
    closed = with_closed_objects(schema)
    if not spec.strict and (closed is None or not _is_strict(closed)):
        notices.add(
            "output.strict", "emulated", "the schema does not fit the strict mode: the answer is checked instead"
        )
        return {"schema": schema}
    if not spec.strict:
        notices.add("output.strict", "translated", "the schema fits the strict mode, which is asked for")
    if closed not in (None, schema):
        notices.add("output.schema", "translated", "objects are closed, as the strict mode demands")
    return {"schema": closed or schema, "strict": True}


def native_schema(schema: Mapping[str, Any], profile: Profile, notices: Notices) -> Mapping[str, Any]:
    """`schema` without what the native mode does not enforce, and with the bound on strings that the model needs."""
    if profile.unenforced_keywords:
        schema, left_out = without_keywords(schema, profile.unenforced_keywords)
        note_left_out(left_out, notices)
    return limited_strings(schema, profile, notices)


def note_left_out(keywords: tuple[str, ...], notices: Notices) -> None:
    """Note that `keywords` of the schema are not sent."""
    for keyword in keywords:
        notices.add("output.schema", "emulated", f"`{keyword}` is checked on the answer, not by the provider")


def limited_strings(schema: Mapping[str, Any], profile: Profile, notices: Notices) -> Mapping[str, Any]:
    """`schema` with the bound on its strings that a model of this profile needs."""
    if profile.string_limit is None:
        return schema
    schema, bounded = with_string_limit(schema, profile.string_limit)
    if bounded:
        limit = f"{bounded} strings without a bound may have at most {profile.string_limit} characters"
        notices.add("output.schema", "translated", limit)
    return schema


def _closed(schema: Mapping[str, Any], profile: Profile) -> Mapping[str, Any] | None:
    """What of `schema` the rule `closed` takes; `None` where it cannot be said."""
    sent = limited_strings(without_keywords(schema, profile.unenforced_keywords)[0], profile, Notices())
    if contains_itself(sent) or not all(map(_is_sayable, nodes(sent))):
        return None
    return with_closed_objects(with_any_of(sent))


def _is_sayable(node: Any) -> bool:
    if not isinstance(node, Mapping):
        return True
    constants = [*node.get("enum", ()), node.get("const")]
    plain = not any(isinstance(constant, Mapping | list | tuple) for constant in constants)
    return plain and node.get("format", "date") in FORMATS and not {"anyOf", "oneOf"} <= node.keys()


def _is_strict(closed: Mapping[str, Any]) -> bool:
    return closed.get("type") == "object" and all(map(_fits_strict, nodes(closed)))


def _fits_strict(node: Any) -> bool:
    if not isinstance(node, Mapping):
        return True
    all_required = not is_object(node) or {*node.get("properties", ())} <= {*node.get("required", ())}
    return all_required and node.keys() <= STRICT and node.get("format", "date") in FORMATS - {"uri"}
