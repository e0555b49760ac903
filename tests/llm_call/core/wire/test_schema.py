"""What is changed in a schema before a provider gets it."""

from copy import deepcopy
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.wire.schema import (
    contains_itself,
    is_object,
    nodes,
    with_closed_objects,
    with_string_limit,
    without_keywords,
)
from llm_call.testing import strategies

Schema = dict[str, Any]
_KEYWORDS = ("not", "uniqueItems", "patternProperties", "pattern")


def test_keywords_go_and_properties_of_the_same_name_stay() -> None:
    schema = {
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "pattern": "^a"},
            "tags": {"type": "array", "uniqueItems": True, "items": [{"pattern": "b"}, True]},
        },
        "$defs": {"uniqueItems": {"anyOf": [{"uniqueItems": True}, {"const": {"pattern": "data"}}]}},
        "required": ["pattern"],
        "default": {"pattern": "data"},
    }
    before = deepcopy(schema)
    assert without_keywords(schema, ("pattern", "uniqueItems", "if")) == (
        {
            "type": "object",
            "properties": {"pattern": {"type": "string"}, "tags": {"type": "array", "items": [{}, True]}},
            "$defs": {"uniqueItems": {"anyOf": [{}, {"const": {"pattern": "data"}}]}},
            "required": ["pattern"],
            "default": {"pattern": "data"},
        },
        ("pattern", "uniqueItems"),
    )
    assert schema == before


def test_a_condition_that_would_say_something_else_goes_whole() -> None:
    schema = {"not": {"properties": {"a": {"uniqueItems": True}}}, "if": {"const": 1}, "then": {"uniqueItems": True}}
    assert without_keywords(schema, ["uniqueItems"]) == ({"if": {"const": 1}, "then": {}}, ("not", "uniqueItems"))


def test_an_object_is_no_longer_closed_when_its_patterns_are_left_out() -> None:
    schema = {"patternProperties": {"^x": {}}, "additionalProperties": False, "minProperties": 1}
    assert without_keywords(schema, ["patternProperties"]) == (
        {"minProperties": 1},
        ("additionalProperties", "patternProperties"),
    )


@given(strategies.schemas(), strategies.json_values() | st.dictionaries(strategies.names(), strategies.json_values()))
def test_what_the_schema_accepts_the_one_without_keywords_accepts_too(schema: dict[str, Any], value: Any) -> None:
    looser, _ = without_keywords(schema, _KEYWORDS)
    if jsonschema_rs.is_valid(schema, value):
        assert jsonschema_rs.is_valid(dict(looser), value)


@given(strategies.schemas())
def test_without_keywords_nothing_of_them_is_left_and_without_any_nothing_changes(schema: dict[str, Any]) -> None:
    looser, _ = without_keywords(schema, _KEYWORDS)
    assert without_keywords(looser, _KEYWORDS) == (looser, ())
    assert without_keywords(schema, ()) == (schema, ())


def test_only_strings_that_nothing_bounds_get_a_limit() -> None:
    plain: dict[str, Any] = {"type": "string"}
    schema = {
        "properties": {
            "a": plain,
            "b": {"type": ["null", "string"], "minLength": 50},
            "c": {**plain, "pattern": "x"},
            "d": {**plain, "maxLength": 3},
            "e": {"not": plain},
            "f": {"type": "integer"},
            "type": {**plain, "enum": ["string"]},
        },
        "items": plain,
    }
    limited, count = with_string_limit(schema, 20)
    assert count == 3
    assert limited == {
        "properties": schema["properties"]
        | {"a": {**plain, "maxLength": 20}, "b": {"type": ["null", "string"], "minLength": 50, "maxLength": 50}},
        "items": {**plain, "maxLength": 20},
    }


@pytest.mark.parametrize(
    "odd", [{"properties": 1}, {"items": "x"}, {"anyOf": {}}, {"type": 7, "not": []}, {"minLength": 1}]
)
def test_a_schema_that_is_none_goes_through_as_it_is(odd: dict[str, Any]) -> None:
    assert with_string_limit(odd, 5) == (odd, 0)
    assert without_keywords(odd, ["uniqueItems"]) == (odd, ())


PERSON = {"type": "object", "properties": {"name": {"type": "string"}}}
CLOSED_PERSON = {**PERSON, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "closed"),
    [
        (PERSON, CLOSED_PERSON),
        (CLOSED_PERSON, CLOSED_PERSON),
        ({"type": "array", "items": PERSON}, {"type": "array", "items": CLOSED_PERSON}),
        ({"anyOf": [PERSON, {"type": "null"}]}, {"anyOf": [CLOSED_PERSON, {"type": "null"}]}),
        (
            {"$ref": "#/$defs/p", "$defs": {"p": PERSON}},
            {"$ref": "#/$defs/p", "$defs": {"p": CLOSED_PERSON}},
        ),
        (
            {"type": ["object", "null"], "properties": {"type": {"enum": ["object"]}}},
            {"type": ["object", "null"], "properties": {"type": {"enum": ["object"]}}, "additionalProperties": False},
        ),
        ({"type": "object", "additionalProperties": False}, {"type": "object", "additionalProperties": False}),
        ({"type": "string"}, {"type": "string"}),
    ],
)
def test_objects_are_closed_where_they_do_not_say_otherwise(schema: Schema, closed: Schema) -> None:
    before = deepcopy(schema)
    assert with_closed_objects(schema) == closed
    assert schema == before


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "properties": {}},
        {**PERSON, "additionalProperties": True},
        {**PERSON, "additionalProperties": {"type": "string"}},
        {**PERSON, "anyOf": [{"type": "object", "properties": {"age": {"type": "integer"}}}]},
        {"allOf": [PERSON, {"type": "object", "properties": {"age": {"type": "integer"}}}]},
        {**PERSON, "patternProperties": {"^x": {"type": "string"}}},
        {"type": "object", "properties": {"any": {}}},
        {"type": "object", "properties": {"any": True}},
        {"type": "array", "items": {"description": "anything"}},
        {},
    ],
)
def test_a_schema_that_means_open_objects_is_not_closed(schema: Schema) -> None:
    assert with_closed_objects(schema) is None


@pytest.mark.parametrize(
    ("schema", "itself"),
    [
        ({"$ref": "#"}, True),
        ({"type": "array", "items": {"$ref": "#"}}, True),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}, True),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, True),
        ({"$ref": "https://example.org/a"}, True),
        ({"$ref": "#/properties/a"}, True),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": PERSON}}, False),
        ({"$ref": "#/definitions/a", "definitions": {"a": PERSON}}, False),
        ({"type": "object", "properties": {"$ref": {"type": "string"}}}, False),
        (PERSON, False),
    ],
)
def test_a_schema_that_contains_itself_is_known(schema: Schema, itself: bool) -> None:
    assert contains_itself(schema) is itself


@given(strategies.schemas())
def test_a_closed_schema_accepts_nothing_more_and_every_object_in_it_is_closed(schema: Schema) -> None:
    closed = with_closed_objects(schema)
    if closed is None:
        return
    assert with_closed_objects(closed) == closed
    assert all(node["additionalProperties"] is False for node in nodes(closed) if is_object(node))
