"""The subset of JSON Schema that `responseJsonSchema` takes."""

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.wire.gemini_schema import UNTAKEN, subset
from llm_call.testing import strategies


@pytest.mark.parametrize(
    ("schema", "sent", "left_out", "translated"),
    [
        (
            {"type": ["string", "null"], "enum": ["a", 1, 2.5]},
            {"type": ["string", "null"], "enum": ["a", 1, 2.5]},
            (),
            (),
        ),
        ({"type": "string", "pattern": "a", "maxLength": 3}, {"type": "string"}, ("maxLength", "pattern"), ()),
        ({"properties": {"pattern": {"not": {}}}}, {"properties": {"pattern": {}}}, ("not",), ()),
        ({"const": "a"}, {"enum": ["a"]}, (), ("const",)),
        ({"const": True, "type": "boolean"}, {"type": "boolean"}, ("const",), ()),
        ({"enum": ["a", None]}, {}, ("enum",), ()),
        ({"oneOf": [{"const": 1}]}, {"oneOf": [{"enum": [1]}]}, (), ("const", "oneOf")),
        ({"items": [{"minLength": 1}, True]}, {"prefixItems": [{}, True]}, ("minLength",), ("items",)),
        ({"items": {"items": {"multipleOf": 2}}}, {"items": {"items": {}}}, ("multipleOf",), ()),
        (
            {"patternProperties": {"^x": {}}, "additionalProperties": False},
            {},
            ("additionalProperties", "patternProperties"),
            (),
        ),
        (
            {"$ref": "#/definitions/A", "definitions": {"A": {"allOf": []}}, "title": "T", "minItems": 1},
            {"anyOf": [{"$ref": "#/$defs/A"}], "$defs": {"A": {}}, "title": "T"},
            ("allOf", "minItems"),
            ("$ref", "definitions"),
        ),
        ({"$ref": "#/$defs/A", "$defs": {"A": {}}}, {"$ref": "#/$defs/A", "$defs": {"A": {}}}, (), ()),
        ({"additionalProperties": {"const": None}}, {"additionalProperties": {}}, ("const",), ()),
        ({"default": {"const": 1}, "x-note": 1}, {"default": {"const": 1}, "x-note": 1}, (), ()),
    ],
)
def test_a_schema_is_sent_in_the_subset_and_what_changed_is_told(
    schema: dict[str, Any], sent: dict[str, Any], left_out: tuple[str, ...], translated: tuple[str, ...]
) -> None:
    taken = subset(schema)
    assert (taken.schema, taken.left_out, taken.translated) == (sent, left_out, translated)


def test_what_a_profile_names_is_left_out_too() -> None:
    assert subset({"minItems": 1, "maxItems": 2}, ("minItems",)).left_out == ("minItems",)


@given(strategies.schemas(), strategies.json_values())
def test_what_is_sent_accepts_all_that_the_schema_accepts(schema: dict[str, Any], value: Any) -> None:
    before = repr(schema)
    taken = subset(schema)
    assert repr(schema) == before
    if jsonschema_rs.is_valid(schema, value):
        assert jsonschema_rs.is_valid(dict(taken.schema), value)


@given(strategies.schemas(), st.sampled_from(sorted(UNTAKEN)))
def test_nothing_changes_in_silence(schema: dict[str, Any], keyword: str) -> None:
    taken = subset({"properties": {"a": schema}, keyword: {}})
    assert keyword in taken.left_out
    assert keyword not in taken.schema
    alone = subset(schema)
    assert alone.schema == schema or alone.left_out or alone.translated
