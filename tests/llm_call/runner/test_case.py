from typing import Any

import pytest

from llm_call.core.domain.errors import ConfigError
from llm_call.runner.case import Case, Entry, configuration, read_case


def entry(**fields: Any) -> Entry:
    return Entry(test_case_id="a", line=1, fields={"test_case_id": "a", "llm_config": {"model": "m"}, **fields})


def case(**fields: Any) -> Case:
    return read_case(entry(**fields))


def test_a_case_has_the_documented_defaults() -> None:
    assert case() == Case(
        test_case_id="a",
        llm_config={"model": "m"},
        description="",
        expect="passed",
        tags=(),
        priority=5,
        enabled=True,
        depends_on=(),
        repeat=1,
        validation=(),
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tag": ["x"]}, "unknown key 'tag'"),
        ({"expect": "pass"}, "expect"),
        ({"tags": "x"}, "tags"),
        ({"priority": "high"}, "priority"),
        ({"enabled": "no"}, "enabled"),
        ({"llm_config": []}, "llm_config"),
        ({"validation": [], "validation_strategies": []}, "twice"),
        ({"depends_on": ["b"]}, "depends_on is not supported"),
        ({"depends_on": "b"}, "depends_on is not supported"),
        ({"repeat": 3}, "repeat is not supported"),
        ({"repeat": 0}, "repeat is not supported"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_its_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        case(**fields)


def test_a_near_key_is_suggested() -> None:
    with pytest.raises(ConfigError) as caught:
        case(tag=["x"])
    assert caught.value.hint == "Did you mean tags?"


def test_llm_config_is_required_and_a_fault_of_the_json_is_refused() -> None:
    with pytest.raises(ConfigError, match="llm_config"):
        read_case(Entry(test_case_id="a", line=1, fields={"test_case_id": "a"}))
    with pytest.raises(ConfigError, match="stands twice"):
        read_case(Entry(test_case_id="a", line=1, fields={}, faults=("the key 'x' stands twice",)))


def test_what_asks_for_nothing_new_is_accepted_and_a_disabled_case_is_not_examined_further() -> None:
    assert case(depends_on=[], repeat=1).enabled
    assert not case(enabled=False, repeat=3).enabled


def test_the_model_is_overridden_and_the_case_itself_stays_as_it_was() -> None:
    given = case()
    assert configuration(given, "other") == {"model": "other"}
    assert configuration(given, None) == {"model": "m"}


@pytest.mark.parametrize("key", ["validation", "validation_strategies"])
def test_the_checks_of_the_case_join_those_of_its_configuration(key: str) -> None:
    given = case(llm_config={"model": "m", key: [{"type": "json"}]}, **{key: [{"type": "length"}]})
    assert configuration(given, None) == {"model": "m", key: [{"type": "json"}, {"type": "length"}]}


def test_checks_of_the_case_alone_are_used() -> None:
    assert configuration(case(validation=["json"]), None) == {"model": "m", "validation": ["json"]}


def test_checks_that_are_no_list_and_a_missing_model_are_refused() -> None:
    with pytest.raises(ConfigError, match="no list"):
        configuration(case(llm_config={"model": "m", "validation": "json"}, validation=["json"]), None)
    with pytest.raises(ConfigError, match="names no model"):
        configuration(case(llm_config={}), None)
