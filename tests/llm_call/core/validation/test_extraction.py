import json
from pathlib import Path
from typing import Any

import pytest

from llm_call.core.domain.errors import ConfigError
from llm_call.core.validation.extraction import Extraction, extract, same

CITY = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}


def codes(extraction: Extraction) -> list[str]:
    return [problem.code for problem in extraction.problems]


# What stands in the text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"city": "Oslo"}', {"city": "Oslo"}),
        ('\ufeff{"city": "Oslo"}\u200b\n', {"city": "Oslo"}),
        ('Sure, here you are: {"city": "Oslo"} - anything else?', {"city": "Oslo"}),
        ('Mind the {braces}, then {"city": "Oslo"}, and {more}.', {"city": "Oslo"}),
        ('Mind the { brace, then {"city": "Oslo"}', {"city": "Oslo"}),
        ('It is in [0, 1) of the scale: {"score": 0.5}', {"score": 0.5}),
        ('As [1] and [2] say: {"city": "Oslo"} [3]', {"city": "Oslo"}),
        ('[{"city": "Oslo"}]', [{"city": "Oslo"}]),
        ("The list: [3, 4]", [3, 4]),
        ('```\n{"city": "Oslo"}\n```', {"city": "Oslo"}),
        ('~~~ json\n{"city": "Oslo"}\n~~~', {"city": "Oslo"}),
        ('```json\n{"city": "Oslo"}', {"city": "Oslo"}),
        ('```json {"city": "Oslo"}```', {"city": "Oslo"}),
        ('```python\nprint({1, 2})\n```\nprints nothing like {"city": "Oslo"}', {"city": "Oslo"}),
        ('```json\n{"city": Oslo}\n```\nNo, this:\n```json\n{"city": "Oslo"}\n```', {"city": "Oslo"}),
        ('```json\n{"city": \n```\nNo, this:\n```json\n{"city": "Oslo"}\n```', {"city": "Oslo"}),
        ('````\n```json\n{"city": "Oslo"}\n```\n````', {"city": "Oslo"}),
        ('{"code": "```js\\nf({})\\n```"}', {"code": "```js\nf({})\n```"}),
        ('<answer>{"city": "Oslo"}</answer> {"city": "Rome"', None),
        ('<answer>{"city": "Oslo"}</answer> or {x}', {"city": "Oslo"}),
        ('<think>{"city": "Rome"}?</think>{"city": "Oslo"}', {"city": "Oslo"}),
        ('<Reasoning lang="en">[7]</REASONING>\n[8]', [8]),
        ('{"city": "Rome"} hm, no\n</think>\n{"city": "Oslo"}', {"city": "Oslo"}),
        ('{"a": True} hm, no</think>[1]', [1]),
        ('A draft:\n```\n</think>\n{"a": 1} or\n```\n{"a": 2}\n```', {"a": 2}),
        ('{"tag": "</think>"}', {"tag": "</think>"}),
        ('{"tag": "<think>"} {"tag": "<thinking>"}', {"tag": "<thinking>"}),
        ("{}", {}),
        ("[]", []),
        ("0", 0),
        ("false", False),
        (' "text" \u200b\n', "text"),
        ("```\n42\n```", 42),
        ("The answer is\n```json\n-1.5\n```\nas asked.", -1.5),
        ("<think>2 + 2</think> 4", 4),
        ("<answer>true</answer>", True),
        ('{"n": 123456789012345678901234567890}', {"n": 123456789012345678901234567890}),
    ],
)
def test_the_value_in_the_text_is_found(text: str, value: Any) -> None:
    extraction = extract(text)
    assert (extraction.found, extraction.value) == (value is not None, value)


def test_null_is_a_value() -> None:
    extraction = extract("null")
    assert extraction.found
    assert extraction.value is None


@pytest.mark.parametrize(
    "text",
    ["I have 3 of 4.", "true enough", "42 apples", 'He said "yes"', "", " \n", "name: Ann", "So <think>2</think> 4"],
)
def test_no_scalar_is_picked_out_of_prose(text: str) -> None:
    assert not extract(text).found


def test_the_span_is_of_the_original_text() -> None:
    text = '\ufeff<think>{"a": 0}</think>\nHere: {"a": 1}.'
    extraction = extract(text)
    assert text[extraction.start : extraction.end] == '{"a": 1}'


@pytest.mark.parametrize("text", [None, 7, b'{"a": 1}', {"a": 1}])
def test_what_is_no_text_is_a_problem(text: Any) -> None:
    assert codes(extract(text)) == ["not_text"]


# The choice


@pytest.mark.parametrize(
    ("text", "value", "ambiguous"),
    [
        ('{"city": "Rome"} rather {"city": "Oslo"}', {"city": "Oslo"}, True),
        ('{"city": "Oslo"} again {"city": "Oslo"}', {"city": "Oslo"}, False),
        ('{"a": 1} {"a": true}', {"a": True}, True),
        ('```json\n{"city": "Oslo"}\n```\nunlike {"city": "Rome"}', {"city": "Oslo"}, True),
        ('<answer>{"city": "Oslo"}</answer> unlike {"city": "Rome"}', {"city": "Oslo"}, True),
        ('```\n{"a": 1}\n```\n```\n{"a": 2}\n```', {"a": 2}, True),
        ('````\n```json\n{"a": 1}\n```\n{"a": 2}\n````\n{"a": 3}', {"a": 2}, True),
        ('~~~\n```\n{"a": 1}\n~~~\n{"a": 2}', {"a": 1}, True),
        ('```json\n{"a": 1,\n```json\n{"a": 2}\n```\n{"a": 3}', {"a": 2}, True),
        ("```json\n[1]\n```\nunlike {a: 1}", [1], True),
        ("[1, 2] or ['a']", [1, 2], True),
        ('[{"a": 1}] [2]', [{"a": 1}], False),
        ('{"a": 1} [] []', {"a": 1}, False),
        ("```\n5\n```\n```\n[5]\n```", [5], False),
        ('{"a": 1} but later {"a": 2,}', {"a": 1}, True),
        ('{"a": 1,} but later {"a": 2}', {"a": 2}, False),
    ],
)
def test_without_a_schema_place_and_form_choose(text: str, value: Any, ambiguous: bool) -> None:
    extraction = extract(text)
    assert (extraction.value, extraction.ambiguous) == (value, ambiguous)
    assert same(extraction.value, value)


@pytest.mark.parametrize("schema", [{}, True])
def test_a_schema_that_takes_everything_chooses_as_none_does(schema: Any) -> None:
    assert extract('{"a": 1} [1]', schema).value == {"a": 1}


def test_the_schema_chooses_before_place_and_form() -> None:
    text = '{"city": "Oslo"} is one, 2 is\n```json\n{"town": "Rome"}\n```\nand [{"city": 7}]'
    extraction = extract(text, CITY)
    assert extraction.value == {"city": "Oslo"}
    assert not extraction.ambiguous


def test_the_last_of_those_that_fit_wins() -> None:
    extraction = extract('{"city": "Rome"}, {"city": "Oslo"}, {"city": 7}', CITY)
    assert (extraction.value, extraction.ambiguous) == ({"city": "Oslo"}, True)


def test_an_array_is_not_taken_apart() -> None:
    extraction = extract('[{"city": "Oslo"}]', CITY)
    assert not extraction.found
    assert codes(extraction) == ["type"]


@pytest.mark.parametrize("text", ["{}", "[]", "0", "false", "null", '""'])
def test_values_that_are_false_are_checked_too(text: str) -> None:
    assert not extract(text, CITY).found
    assert extract(text, {}).found
    assert not extract(text, False).found


def test_problems_say_where_what_and_what_instead() -> None:
    schema = {"type": "object", "properties": {"a/b~c": {"type": "array", "items": {"type": "integer"}}}}
    (problem,) = extract(json.dumps({"a/b~c": [1, "x" * 300]}), schema).problems
    assert (problem.path, problem.code, problem.expected) == ("/a~1b~0c/1", "type", '["integer"]')
    assert "xxx" not in problem.message
    assert problem.got is not None
    assert len(problem.got) == 200


def test_the_problems_are_those_of_the_likeliest_candidate() -> None:
    (problem,) = extract('{"city": 3}, see [1]', CITY).problems
    assert problem.path == "/city"


def test_the_branches_of_a_union_are_reported() -> None:
    (problem,) = extract('{"a": 3}', {"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}).problems
    assert problem.expected is not None
    assert "string" in problem.expected
    assert "null" in problem.expected


@pytest.mark.parametrize(
    "draft", ["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"]
)
def test_formats_are_checked_in_every_draft(draft: str) -> None:
    schema = {"$schema": draft, "properties": {"mail": {"format": "email"}}}
    assert codes(extract('{"mail": "nobody"}', schema)) == ["format"]


@pytest.mark.parametrize(
    ("schema", "where"),
    [
        ({"properties": {"a": {"type": 5}}}, "/properties/a/type"),
        ({"$ref": "http://127.0.0.1:9/schema"}, "http://127.0.0.1:9/schema"),
        ({"$ref": "file:///schema.json"}, "file:///schema.json"),
        ({"$ref": "#/nowhere"}, "/nowhere"),
        (7, "its root"),
        ({"const": object()}, "not JSON"),
    ],
)
def test_what_is_no_schema_is_the_callers_error(schema: Any, where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        extract("{}", schema)


def test_a_reference_out_of_the_schema_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text('{"type": "object"}')
    with pytest.raises(ConfigError, match=r"schema\.json"):
        extract("{}", {"$ref": (tmp_path / "schema.json").as_uri()})


# Unwrapping


def test_json_inside_a_json_string_is_decoded_where_the_schema_wants_it() -> None:
    text = json.dumps(json.dumps({"city": "Oslo"}))
    extraction = extract(text, CITY)
    assert extraction.value == {"city": "Oslo"}
    (repair,) = extraction.repairs
    assert (repair.kind, repair.risk, repair.before, repair.after) == (
        "double_encoding",
        "safe",
        text,
        '{"city": "Oslo"}',
    )
    assert extract(text).value == '{"city": "Oslo"}'
    assert extract(text, {"type": "string"}).repairs == ()


@pytest.mark.parametrize(
    "inner", ['{"city": "Oslo"} or so', '{"city": "Oslo", "size": NaN}', '{"city": "Oslo"', "Oslo"]
)
def test_a_string_that_is_not_all_json_stays_a_string(inner: str) -> None:
    assert not extract(json.dumps(inner), CITY).found


def test_the_ledger_of_what_is_inside_is_kept() -> None:
    repairs = extract(json.dumps('{"city": "Rome", "city": "Oslo"}'), CITY).repairs
    assert [repair.kind for repair in repairs] == ["double_encoding", "duplicate_key"]


def test_the_only_key_is_opened_where_its_value_fits_and_the_whole_does_not() -> None:
    extraction = extract('{"answer": {"city": "Oslo"}}', CITY)
    assert extraction.value == {"city": "Oslo"}
    assert [(repair.kind, repair.risk) for repair in extraction.repairs] == [("envelope", "safe")]
    assert extract('{"answer": {"city": "Oslo"}}', {"type": "object"}).repairs == ()
    assert not extract('{"answer": {"city": "Oslo"}, "more": 1}', CITY).found


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ('{"town": 5}', {"required": ["city"]}),
        ('{"person": {}}', {"type": "object", "properties": {"person": {"required": ["name"]}}}),
    ],
)
def test_a_wrong_object_is_no_envelope(text: str, schema: Any) -> None:
    extraction = extract(text, schema)
    assert not extraction.found
    assert codes(extraction) == ["required"]


def test_wrappings_are_opened_one_after_the_other() -> None:
    extraction = extract(json.dumps({"answer": json.dumps({"city": "Oslo"})}), CITY)
    assert [repair.kind for repair in extraction.repairs] == ["envelope", "double_encoding"]
    assert extraction.value == {"city": "Oslo"}


def test_a_scalar_out_of_an_envelope_is_risky() -> None:
    (repair,) = extract('{"error": "I cannot say"}', {"type": "string"}).repairs
    assert repair.risk == "risky"


def test_duplicate_keys_are_in_the_ledger() -> None:
    extraction = extract('{"a": 1, "b": {"c": 1, "c": 2}}')
    assert extraction.value == {"a": 1, "b": {"c": 2}}
    assert [(repair.kind, repair.risk) for repair in extraction.repairs] == [("duplicate_key", "risky")]


# Refused


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"a": NaN}', "not_finite"),
        ('{"a": [-Infinity], "b": [1]}', "not_finite"),
        ('{"a": 1e400}', "not_finite"),
        ('{"a": "\\ud83d"}', "lone_surrogate"),
        ('{"a": "\ud83d"}', "lone_surrogate"),
        ('{"a": ' + "9" * 5000 + ', "b": [1]}', "number_too_long"),
        ('{"a": True, "b": [1, 2]}', "invalid_json"),
        ('{"a": "one\ntwo", "b": [1, 2]}', "invalid_json"),
        ("{'a': [1, 2]}", "invalid_json"),
        ("{a: [1, 2]}", "invalid_json"),
        ('{"a": [{"b": 1},]}', "invalid_json"),
        ('{"a": [1, 2], /* why */ "b": 3}', "invalid_json"),
        ('[{"a": 1}, ...]', "invalid_json"),
        ('{"a": ["x", "y", "b": {"c": 3}}', "invalid_json"),
        ('See [1]: {"a": True}', "invalid_json"),
        ("I cannot answer that.", "no_json"),
        (" ", "empty"),
    ],
)
def test_what_cannot_be_read_is_a_problem_and_no_part_of_it_is_taken(text: str, code: str) -> None:
    extraction = extract(text)
    assert not extraction.found
    assert codes(extraction) == [code]


def test_a_broken_value_is_reported_with_its_place() -> None:
    (problem,) = extract('So:\n{"a": 1,}').problems
    assert "line 2, column 8" in problem.message or "line 2, column 9" in problem.message


# Cut off


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1} and then {"a": 2, "b": [3, {"c": 4}',
        '```json\n{"a": "she lik',
        '{"a": 1}\n```json\n{',
        '{name: \'Ann\', tags: [{"a": 1}, {"a": 2}',
        '"a string without an en',
        "[1.",
        "[-",
        "[2e+",
        "[t",
        "[N",
        '["\\u00',
        '["\\ud83d\\u',
        "[1, 2\u200b",
        '<think>perhaps {"a": 1}',
    ],
)
def test_a_text_that_ends_inside_a_value_gives_nothing(text: str) -> None:
    extraction = extract(text)
    assert (extraction.found, extraction.incomplete, codes(extraction)) == (False, True, ["incomplete"])


# Equality


def test_same_tells_true_from_one_and_not_one_from_one_point_zero() -> None:
    assert not same({"a": [True]}, {"a": [1]})
    assert same([1], [1.0])
    assert not same([], {})
    assert not same({"a": 1}, {"b": 1})
    assert not same([1], [1, 2])
