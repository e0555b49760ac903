from typing import Any

import pytest

import llm_call.core.validation
from llm_call.core.domain.errors import ConfigError
from llm_call.core.validation.base import Answer, Context, build, registered

PARAMS: dict[str, dict[str, Any]] = {
    "contains": {"required_text": "a"},
    "ends_with": {"suffix": "a"},
    "equals": {"expected": "a"},
    "field_present": {"field_name": "a"},
    "length": {"min_length": 1},
    "max_length": {"max_length": 1},
    "min_length": {"min_length": 1},
    "not_contains": {"forbidden_text": "a"},
    "regex": {"pattern": "a"},
    "response_contains": {"required_text": "a"},
    "schema": {"schema": {"type": "object"}},
    "starts_with": {"prefix": "a"},
}


def test_importing_the_package_registers_the_vocabulary() -> None:
    assert llm_call.core.validation.registered is registered
    assert {*PARAMS, "json", "json_string", "response_not_empty", "not_empty"} <= set(registered())


@pytest.mark.parametrize("name", [*PARAMS, "json", "json_string", "response_not_empty", "not_empty"])
def test_a_verdict_carries_the_name_that_was_asked_for(name: str) -> None:
    validator = build(name, PARAMS.get(name))
    assert validator.name == name
    assert validator.validate(Answer('{"a": 1}'), Context()).validator == name


@pytest.mark.parametrize("name", [*PARAMS, "json", "json_string", "response_not_empty", "not_empty"])
def test_every_alias_stands_for_a_parameter_and_hides_none(name: str) -> None:
    entry = registered()[name]
    fields = entry.type.__struct_fields__
    assert set(entry.aliases.values()) <= set(fields)
    assert not set(entry.aliases) & set(fields)


@pytest.mark.parametrize(
    ("wrong", "right"), [("containz", "contains"), ("json_strin", "json_string"), ("regexp", "regex")]
)
def test_an_unknown_name_gets_a_suggestion(wrong: str, right: str) -> None:
    with pytest.raises(ConfigError, match=wrong) as caught:
        build(wrong)
    assert right in caught.value.hint


def test_an_unknown_parameter_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="'patterns'") as caught:
        build("regex", {"patterns": "a"})
    assert "pattern" in caught.value.hint


@pytest.mark.parametrize(("name", "params"), [("regex", {}), ("json", {"schema": {}}), ("length", {"min_length": "1"})])
def test_missing_and_wrong_parameters_name_the_validator_and_what_it_takes(name: str, params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"'{name}'") as caught:
        build(name, params)
    assert "takes" in caught.value.hint


def test_a_parameter_given_twice_is_an_error() -> None:
    with pytest.raises(ConfigError, match="twice"):
        build("contains", {"required_text": "a", "text": "b"})


def test_an_answer_is_extracted_once() -> None:
    answer = Answer('{"a": 1}')
    assert answer.extraction is answer.extraction
