import subprocess
import sys
from typing import Any

import pytest

from llm_call.core.domain.errors import ConfigError
from llm_call.core.validation import JSONExtractionValidator
from llm_call.core.validation.base import Answer, Context, build
from llm_call.core.validation.field_path import MISSING, find, parse

PERSON = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}


def verdict_of(text: str, name: str, *, asked: Any = None, **params: Any) -> Any:
    return build(name, params).validate(Answer(text, schema=asked), Context())


# JSONExtractionValidator


def test_json_in_a_fence_is_extracted() -> None:
    result = JSONExtractionValidator().validate('Here\'s the data: ```json\n{"key": "value"}\n```')
    assert result["valid"] is True
    assert result["data"]["key"] == "value"
    assert "error" not in result


def test_a_text_without_json_is_an_error() -> None:
    result = JSONExtractionValidator().validate("I cannot help with that.")
    assert result["valid"] is False
    assert "no JSON" in result["error"]
    assert "data" not in result


@pytest.mark.parametrize("text", ["{}", "[]", "0", "false", "null"])
def test_the_schema_checks_values_that_are_false_too(text: str) -> None:
    result = JSONExtractionValidator().validate(text, PERSON)
    assert result["valid"] is False
    assert result["error"]


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ('{"a": 1}\n{"b": 2}', {"b": 2}),
        ('Use {x} as in {"a": 1} and {y}.', {"a": 1}),
        ('[{"a": 1}]', [{"a": 1}]),
        ("7", 7),
        ('```json\n{a}\n```\n```json\n{"a": 1}\n```', {"a": 1}),
        ('```sh\nls\n```\n{"a": 1}', {"a": 1}),
        ('{"a": {"b": 1}, "c": 2}', {"a": {"b": 1}, "c": 2}),
    ],
)
def test_what_patterns_get_wrong_is_right(text: str, data: Any) -> None:
    assert JSONExtractionValidator().validate(text)["data"] == data


@pytest.mark.parametrize("text", ['{"a": 1,}', '{"a": NaN}', "[" * 100_000, None])
def test_what_cannot_be_read_is_an_error_and_no_crash(text: Any) -> None:
    assert JSONExtractionValidator().validate(text)["valid"] is False


def test_repairs_and_ambiguity_are_told() -> None:
    repaired = JSONExtractionValidator().validate('{"a": 1, "a": 2}')
    assert [repair.kind for repair in repaired.repairs] == ["duplicate_key"]
    ambiguous = JSONExtractionValidator().validate('{"a": 1} {"a": 2}')
    assert ambiguous["valid"] is True
    assert [problem.code for problem in ambiguous.problems] == ["ambiguous"]


def test_a_schema_that_is_none_is_the_callers_error() -> None:
    with pytest.raises(ConfigError, match="/type"):
        JSONExtractionValidator().validate("{}", {"type": "text"})


def test_importing_the_package_loads_no_engine() -> None:
    code = (
        "import sys, llm_call.core.validation as v\n"
        "assert {'json', 'contains', 'regex', 'schema'} <= set(v.registered())\n"
        "print(sorted({'jsonschema_rs', 're2', 'regex'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# json, json_string, schema


def test_json_is_found_among_prose() -> None:
    verdict = verdict_of('It is {"a": 1}.', "json")
    assert (verdict.validator, verdict.valid, verdict.value) == ("json", True, {"a": 1})
    assert not verdict_of("It is one.", "json").valid


def test_json_does_not_ask_for_the_schema() -> None:
    assert verdict_of('{"a": 1}', "json", asked=PERSON).value == {"a": 1}
    assert verdict_of('{"a": 1} {"name": "Ann"} {"a": 2}', "json", asked=PERSON).value == {"name": "Ann"}


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (' {"a": 1}\n', True),
        ('"text"', True),
        ('{"a": 1} {"a": 1}', False),
        ('```json\n{"a": 1}\n```', False),
        ('\ufeff{"a": 1}', False),
        ('{"a": 1', False),
        ('\ud83d {"a": 1}', False),
        ("", False),
    ],
)
def test_json_string_takes_nothing_but_json(text: str, valid: bool) -> None:
    assert verdict_of(text, "json_string").valid is valid


@pytest.mark.parametrize("asked", [None, PERSON, {"type": "array"}])
def test_schema_checks_its_own_schema(asked: Any) -> None:
    verdict = verdict_of('[1] {"name": "Ann"} {"name": 7}', "schema", asked=asked, schema=PERSON)
    assert (verdict.valid, verdict.value) == (True, {"name": "Ann"})
    wrong = verdict_of('{"name": 7}', "schema", asked=asked, schema=PERSON)
    assert [(problem.path, problem.code) for problem in wrong.problems] == [("/name", "type")]


def test_schema_may_be_true_or_false() -> None:
    assert verdict_of("null", "schema", schema=True).valid
    assert not verdict_of("null", "schema", schema=False).valid


def test_a_wrong_schema_is_found_when_the_validator_is_built() -> None:
    with pytest.raises(ConfigError, match="/properties/a/type"):
        build("schema", {"schema": {"properties": {"a": {"type": "text"}}}})


# field_present

DOCUMENT = (
    '{"user": {"name": "Ann", "age": 3, "nick": null}, "a.b": [{"c": 1}, {"c": 2, "d": true}], "none": [], "0": "zero"}'
)


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("user", True),
        ("user.name", True),
        ("user.nick", True),
        ("user.name.first", False),
        ("user.town", False),
        ('["a.b"]', True),
        ("['a.b'].0.c", True),
        ('["a.b"][1].d', True),
        ('["a.b"][2]', False),
        ('["a.b"].-1', False),
        ("a.b", False),
        ('["a.b"].*.c', True),
        ('["a.b"][*].c', True),
        ('["a.b"].*.d', False),
        ("none", True),
        ("none.*.c", False),
        ("0", True),
        ("[0]", False),
        ("user.*", True),
    ],
)
def test_a_path_leads_to_a_field_or_not(path: str, there: bool) -> None:
    assert verdict_of(DOCUMENT, "field_present", field_name=path).valid is there


@pytest.mark.parametrize(
    ("params", "valid"),
    [
        ({"field_path": "user.age", "expected_value": 3}, True),
        ({"field_path": "user.age", "expected_value": 3.0}, True),
        ({"field_path": "user.age", "expected_value": "3"}, False),
        ({"field_name": "user.nick", "expected_value": None}, True),
        ({"field_name": "user.name", "expected_value": None}, False),
        ({"field_name": '["a.b"][1].d', "expected_value": 1}, False),
        ({"field_name": "user.age", "expected_type": "integer"}, True),
        ({"field_name": "user.age", "expected_type": "number"}, True),
        ({"field_name": "user.nick", "expected_type": "null"}, True),
        ({"field_name": "user", "expected_type": "object"}, True),
        ({"field_name": "none", "expected_type": "array"}, True),
        ({"field_name": '["a.b"][1].d', "expected_type": "integer"}, False),
        ({"field_name": '["a.b"][1].d', "expected_type": "boolean"}, True),
        ({"field_name": "user.name", "expected_type": "string"}, True),
        ({"field_name": "user.name", "expected_type": "number"}, False),
        ({"field_name": "user.town", "should_exist": False}, True),
        ({"field_name": "user.town", "present": False}, True),
        ({"field_name": "user.name", "present": False}, False),
        ({"field_name": '["a.b"].*.d', "present": False}, False),
    ],
)
def test_a_field_holds_what_it_should(params: dict[str, Any], valid: bool) -> None:
    assert verdict_of(DOCUMENT, "field_present", **params).valid is valid


def test_every_wrong_place_is_named() -> None:
    verdict = verdict_of('{"users": [{"name": "a"}, {}, {"x": 1}]}', "field_present", field_name="users.*.name")
    assert [(problem.path, problem.code) for problem in verdict.problems] == [
        ("/users/1/name", "field_missing"),
        ("/users/2/name", "field_missing"),
    ]


@pytest.mark.parametrize("present", [True, False])
def test_an_answer_without_json_has_no_field_and_lacks_none(present: bool) -> None:
    assert not verdict_of("no JSON", "field_present", field_name="a", should_exist=present).valid


@pytest.mark.parametrize(
    "params",
    [
        {"field_name": ""},
        {"field_name": "a..b"},
        {"field_name": ".a"},
        {"field_name": "a[-1]"},
        {"field_name": "a["},
        {"field_name": "a[0]b"},
        {"field_name": "a", "expected_type": "text"},
        {"field_name": "a", "should_exist": False, "expected_value": 1},
        {},
    ],
)
def test_wrong_parameters_of_field_present_are_found_when_it_is_built(params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="field_present"):
        build("field_present", params)


def test_places_carry_json_pointers() -> None:
    assert list(find({"a/b": {"~": 1}}, parse("a/b.~"))) == [("/a~1b/~0", 1)]
    assert list(find({}, parse('["a.b"]'))) == [("/a.b", MISSING)]
