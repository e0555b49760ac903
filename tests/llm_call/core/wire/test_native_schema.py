from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from llm_call.core.client import Client
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Request
from llm_call.core.providers.registry import DialectName, codec
from llm_call.core.providers.rows import ANTHROPIC
from llm_call.core.router import Router
from llm_call.core.wire.base import Notices
from llm_call.core.wire.native_schema import closed_schema, fitting_profile, strict_fields
from llm_call.testing.scripted import ScriptedReply, ScriptedTransport

Schema = dict[str, Any]
PERSON: Schema = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "born": {"type": "string", "format": "date"}},
    "required": ["name"],
}
OPEN: Schema = {"type": "object", "additionalProperties": {"type": "integer"}}
TREE: Schema = {"type": "object", "properties": {"below": {"type": "array", "items": {"$ref": "#"}}}}
CLOSED = ANTHROPIC.profile
STRICT = Profile(schema_rule="strict")


def spec(schema: Schema, **more: Any) -> OutputSpec:
    return OutputSpec(schema=schema, **more)


def test_a_mode_of_closed_objects_is_sent_what_it_takes() -> None:
    notices = Notices()
    assert closed_schema(spec(PERSON), CLOSED, notices) == {
        **PERSON,
        "properties": {**PERSON["properties"], "name": {"type": "string"}},
        "additionalProperties": False,
    }
    assert {(notice.field, notice.fate) for notice in notices} == {
        ("output.schema", "emulated"),
        ("output.schema", "translated"),
    }


def test_one_of_is_sent_as_any_of_where_it_is_not_known() -> None:
    either = {"oneOf": [{"type": "string"}, {"type": "null"}]}
    assert closed_schema(spec(either), CLOSED, Notices()) == {"anyOf": either["oneOf"]}


@pytest.mark.parametrize(
    "schema",
    [
        OPEN,
        TREE,
        {"type": "string", "format": "our-own"},
        {"enum": [{"a": 1}]},
        {"const": [1]},
        {"anyOf": [{"type": "string"}], "oneOf": [{"type": "string"}]},
    ],
)
def test_what_cannot_be_said_with_closed_objects_is_told_in_the_prompt(schema: Schema) -> None:
    assert fitting_profile(CLOSED, spec(schema)).output_mode == "prompted"
    notices = Notices()
    assert closed_schema(spec(schema), CLOSED, notices) is None
    assert not notices


@pytest.mark.parametrize("output", [None, OutputSpec(), spec(PERSON)])
def test_any_other_request_keeps_its_profile(output: OutputSpec | None) -> None:
    assert fitting_profile(CLOSED, output) is CLOSED
    assert fitting_profile(Profile(), spec(OPEN)).output_mode == "native"


def test_a_schema_that_fits_the_strict_mode_is_asked_for_strictly() -> None:
    fits = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    notices = Notices()
    assert strict_fields(spec(fits), STRICT, notices) == {
        "schema": {**fits, "additionalProperties": False},
        "strict": True,
    }
    assert [(notice.field, notice.fate) for notice in notices] == [
        ("output.strict", "translated"),
        ("output.schema", "translated"),
    ]


@pytest.mark.parametrize(
    "schema",
    [
        PERSON,  # not all of its properties are required
        OPEN,
        {"type": "array", "items": {"type": "string"}},  # the root is no object
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}, "required": ["a"]},
    ],
)
def test_one_that_does_not_is_sent_as_it_is_and_that_is_said(schema: Schema) -> None:
    notices = Notices()
    assert strict_fields(spec(schema), STRICT, notices) == {"schema": schema}
    assert [(notice.field, notice.fate) for notice in notices] == [("output.strict", "emulated")]


@pytest.mark.parametrize(
    ("given", "profile", "fields"),
    [
        (spec(PERSON, strict=False), STRICT, {"schema": PERSON, "strict": False}),
        (spec(OPEN, strict=True), STRICT, {"schema": OPEN, "strict": True}),
        (spec(PERSON, strict=True), STRICT, {"schema": {**PERSON, "additionalProperties": False}, "strict": True}),
        (spec(PERSON), Profile(), {"schema": PERSON}),
        (spec(PERSON, strict=True), Profile(), {"schema": PERSON, "strict": True}),
    ],
)
def test_what_the_caller_says_of_strictness_is_what_is_sent(
    given: OutputSpec, profile: Profile, fields: Mapping[str, Any]
) -> None:
    assert strict_fields(given, profile, Notices()) == fields


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses"])
def test_both_of_openais_dialects_ask_strictly(dialect: DialectName) -> None:
    fits = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    request = Request(model="m", messages=(), output=spec(fits))
    body = codec(dialect).encode_request(request, stream=False, profile=STRICT).body
    assert b'"strict":true' in body
    assert b'"additionalProperties":false' in body


ANSWER = msgspec.json.encode(
    {"model": "m", "content": [{"type": "text", "text": '{"name": "Ann"}'}], "stop_reason": "end_turn", "usage": {}}
)


@pytest.mark.parametrize(("schema", "natively"), [(PERSON, True), (OPEN, False)])
def test_a_call_tells_the_schema_in_one_way_or_the_other(schema: Schema, natively: bool) -> None:
    transport = ScriptedTransport(ScriptedReply(pieces=(ANSWER,)))
    router = Router(credentials={"ANTHROPIC_API_KEY": "secret"})
    client = Client(router=router, transports={"http": lambda: transport})
    client.ask_sync("Ann", model=f"anthropic/{ANTHROPIC.default_model}", schema=schema, rounds=1)
    body = transport.bodies[0]
    assert ("output_config" in body) is natively
    assert ("JSON Schema" in body["messages"][-1]["content"]) is not natively
