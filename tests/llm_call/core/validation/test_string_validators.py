from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.errors import ConfigError, ValidatorError
from llm_call.core.domain.verdict import Verdict
from llm_call.core.validation.base import Answer, Context, Validator, build
from llm_call.core.validation.string_validators import Contains, NotContains, Regex


def verdict_of(text: str, name: str, /, **params: Any) -> Verdict:
    return build(name, params).validate(Answer(text), Context())


@pytest.mark.parametrize(
    ("name", "params", "text", "valid"),
    [
        ("response_not_empty", {}, "x", True),
        ("response_not_empty", {}, "", False),
        ("not_empty", {}, " \n\ufeff\u200b ", False),
        ("contains", {"required_text": "paris"}, "PARIS it is", True),
        ("contains", {"substring": "paris", "case_sensitive": True}, "PARIS", False),
        ("contains", {"text": ["one", "two"]}, "Two, one", True),
        ("contains", {"text": ["one", "two"]}, "one", False),
        ("contains", {"text": "strasse"}, "STRAßE", True),
        ("contains", {"text": "\u00e9t\u00e9"}, "E\u0301TE\u0301", True),
        ("contains", {"text": "\u0390"}, "\u03aa\u0301", True),
        ("contains", {"text": "\u00e9t\u00e9", "case_sensitive": True}, "e\u0301te\u0301", True),
        ("response_contains", {"substring": "a"}, "A", True),
        ("not_contains", {"text": ["x", "y"]}, "abc", True),
        ("not_contains", {"required_text": "B"}, "abc", False),
        ("not_contains", {"forbidden_text": "B", "case_sensitive": True}, "abc", True),
        ("starts_with", {"prefix": "Dear"}, "\nDear Ann", True),
        ("starts_with", {"text": "dear"}, "Dear Ann", False),
        ("starts_with", {"text": "dear", "case_sensitive": False}, "Dear Ann", True),
        ("ends_with", {"suffix": "Bob."}, "Yours, Bob.\n", True),
        ("ends_with", {"suffix": "Bob"}, "Yours, Bob.", False),
        ("equals", {"expected": "yes"}, " yes\n", True),
        ("equals", {"value": "yes"}, "Yes", False),
        ("equals", {"text": "yes", "case_sensitive": False}, "Yes", True),
        ("equals", {"expected": ""}, "", True),
        ("length", {"min_length": 2}, "ab", True),
        ("length", {"min_length": 2}, "é", False),
        ("length", {"max_length": 1}, "\U0001f600", True),
        ("length", {"min_length": 1, "max_length": 2}, "abc", False),
        ("length", {"min_length": 0, "max_length": 0}, "", True),
        ("min_length", {"min_length": 3}, "ab", False),
        ("min_length", {"length": 2}, "ab", True),
        ("max_length", {"max_length": 1}, "ab", False),
        ("max_length", {"value": 2}, "ab", True),
        ("regex", {"pattern": r"\d{3}"}, "no 123", True),
        ("regex", {"pattern": r"^\d{3}$"}, "no 123", False),
        ("regex", {"pattern": "^B$", "flags": "im"}, "a\nb", True),
        ("regex", {"pattern": "a b", "flags": "x"}, "ab", True),
        ("regex", {"pattern": r"(\w)\1"}, "hello", True),
        ("regex", {"pattern": "x(?!y)"}, "xy", False),
    ],
)
def test_the_text_passes_or_not(name: str, params: dict[str, Any], text: str, valid: bool) -> None:
    verdict = verdict_of(text, name, **params)
    assert verdict.valid is valid
    assert verdict.validator == name
    assert bool(verdict.problems) is not valid


def test_every_text_that_is_missing_is_named() -> None:
    verdict = verdict_of("b", "contains", required_text=["a", "b", "c"])
    assert [problem.expected for problem in verdict.problems] == ["a", "c"]


def test_long_answers_are_not_quoted_whole() -> None:
    (problem,) = verdict_of("x" * 10_000, "contains", required_text="y").problems
    assert problem.got is not None
    assert len(problem.got) == 200


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("contains", {"required_text": ""}, "required_text"),
        ("contains", {"required_text": []}, "required_text"),
        ("contains", {"required_text": ["a", ""]}, "required_text"),
        ("contains", {"required_text": 5}, "required_text"),
        ("not_contains", {"text": ""}, "forbidden_text"),
        ("starts_with", {"prefix": ""}, "prefix"),
        ("ends_with", {}, "suffix"),
        ("length", {}, "min_length, max_length"),
        ("length", {"min_length": 3, "max_length": 2}, "min_length 3 is above max_length 2"),
        ("length", {"min_length": -1}, "0 or more"),
        ("min_length", {"min_length": "3"}, "min_length"),
        ("max_length", {"max_length": -3}, "0 or more"),
        ("regex", {"pattern": "("}, "no regular expression"),
        ("regex", {"pattern": "(?<=a+"}, "no regular expression"),
        ("regex", {"pattern": "a", "flags": "q"}, "flags"),
        ("regex", {"pattern": "a", "timeout": 0}, "timeout"),
    ],
)
def test_wrong_parameters_are_found_when_it_is_built(name: str, params: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(name, params)
    assert said in f"{caught.value.message} {caught.value.hint}"


def test_a_pattern_that_would_run_for_ever_is_no_verdict() -> None:
    with pytest.raises(ValidatorError, match=r"more than 0\.05 s"):
        verdict_of("a" * 60 + "b", "regex", pattern=r"^(a|aa|aaa)*\1?c(?=x)|^(?=(a|a?)+$)", timeout=0.05)


def test_a_pattern_that_can_run_in_linear_time_does() -> None:
    assert not verdict_of("a" * 100_000 + "b", "regex", pattern="^(a+)+$", timeout=0.001).valid


def test_half_a_surrogate_pair_is_no_verdict() -> None:
    with pytest.raises(ValidatorError, match="surrogate"):
        verdict_of("\ud83d", "regex", pattern="a")


def test_a_validator_is_made_in_code_as_well() -> None:
    validators: list[Validator] = [Contains(required_text="a"), Regex(pattern="a")]
    assert [validator.validate(Answer("a"), Context()).valid for validator in validators] == [True, True]


@given(st.text(), st.text(min_size=1), st.booleans())
def test_contains_and_not_contains_are_opposites(text: str, part: str, case_sensitive: bool) -> None:
    contains = Contains(required_text=part, case_sensitive=case_sensitive)
    lacks = NotContains(forbidden_text=part, case_sensitive=case_sensitive)
    assert contains.validate(Answer(text), Context()).valid != lacks.validate(Answer(text), Context()).valid
