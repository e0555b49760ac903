import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.validation.candidates import MAX_CANDIDATES, MAX_LENGTH, Scan
from llm_call.core.validation.extraction import Extraction, extract, same
from llm_call.core.validation.strict import MAX_DEPTH


def codes(extraction: Extraction) -> list[str]:
    return [problem.code for problem in extraction.problems]


# Laws

NASTY = st.sampled_from(
    ["```", "~~~", "<think>", "</think>", "<answer>", "{", "]", '"', "\\", "\u2028", "\ufeff", "é😀"]
)
TEXTS = st.text(max_size=20) | st.lists(NASTY, max_size=4).map("".join)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
CONTAINERS: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
).flatmap(lambda value: st.sampled_from([[value], {"key": value}, [value, value]]))
PROSE = st.text(alphabet="abc ,.:;!?()\n'*#-", max_size=40)
WRAPPERS: list[Callable[[str], str]] = [
    lambda text: text,
    lambda text: f"```json\n{text}\n```",
    lambda text: f"```\n{text}\n```",
    lambda text: f"~~~~ json5 \r\n{text}\n~~~~",
    lambda text: f"```{text}```",
    lambda text: f"<answer>{text}</answer>",
    lambda text: f"<answer>\n```json\n{text}\n```\n</answer>",
]
THOUGHTS = [
    "",
    "<think></think>",
    '<think>a {"draft": [1]} or "b</think>',
    '[{"draft": 1}] so </thinking>',
    "<think>\n```\n</think>",
]


def texts_of(value: Any) -> st.SearchStrategy[str]:
    return st.builds(
        json.dumps,
        st.just(value),
        ensure_ascii=st.booleans(),
        indent=st.none() | st.integers(0, 3),
        sort_keys=st.just(False),
    )


@given(st.data())
def test_noise_that_loses_nothing_changes_nothing(data: st.DataObject) -> None:
    value = data.draw(CONTAINERS | SCALARS, label="value")
    wrapped = data.draw(st.sampled_from(WRAPPERS), label="wrapper")(data.draw(texts_of(value)))
    if isinstance(value, (dict, list)):
        wrapped = data.draw(PROSE) + wrapped + " " + data.draw(PROSE)
    text = data.draw(st.sampled_from(["", "\ufeff", " \n\u200b"])) + data.draw(st.sampled_from(THOUGHTS)) + wrapped
    extraction = extract(text)
    assert extraction.found, extraction.problems
    assert json.dumps(extraction.value) == json.dumps(value)
    assert extraction.repairs == ()
    assert not extraction.ambiguous


@given(CONTAINERS.flatmap(texts_of), st.sampled_from(["", "```json\n", 'First {"a": 1}, then:\n']), st.data())
def test_every_beginning_of_a_value_is_incomplete(text: str, before: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(text) - 1))
    extraction = extract(before + text[:cut])
    assert not extraction.found
    assert extraction.incomplete


PIECES = st.sampled_from(
    [
        *'{}[]":,\\-1ae \n<',
        "```",
        "~~~",
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        '{"a":1}',
        "[1]",
        "NaN",
        "1e400",
        "\ud83d",
    ]
)
HOSTILE = st.text(max_size=60) | st.lists(PIECES, max_size=60).map("".join)


@given(HOSTILE, st.sampled_from([None, {}, {"type": "object"}, {"type": "array"}]))
def test_what_is_found_stands_in_the_text(text: str, schema: Any) -> None:
    extraction = extract(text, schema)
    assert extraction.found or extraction.problems
    if extraction.found and not extraction.repairs:
        assert json.dumps(extraction.value) == json.dumps(json.loads(text[extraction.start : extraction.end]))


@given(HOSTILE)
def test_candidates_are_apart_and_in_order(text: str) -> None:
    spans = [(candidate.start, candidate.end) for candidate in Scan(text).candidates]
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


# Limits

ENDLESS = [
    ("`" * 2048, "no_json"),
    ("{" * 16_000, "too_much_work"),
    ("{" * 200_000, "too_much_work"),
    ("[" * 100_000, "too_deep"),
    ('{"a":' * 50_000, "too_deep"),
    ('{"' * 50_000, "incomplete"),
    ("{'a' " * 20_000, "incomplete"),
    ('["' + "x" * 10_000_000, "incomplete"),
    ('["\\' * 20_000, "incomplete"),
    ('{"' + '\\"' * 20_000, "incomplete"),
    ("```json" + " \n" * 1000, "no_json"),
    ("```json\n" * 20_000, "no_json"),
    ("<think>" * 20_000, "incomplete"),
    ("</think>" * 20_000, "no_json"),
    ("<think " * 20_000, "no_json"),
    ("{x} " * 20_000, "no_json"),
    ("[0, 1) " * 20_000, "too_much_work"),
    (("[1," * 400 + "x ") * 100, "too_much_work"),
    ("{} " * (MAX_CANDIDATES + 1), "too_many"),
    (" " * MAX_LENGTH + "{}", "too_long"),
]


@pytest.mark.parametrize(("text", "code"), ENDLESS, ids=[f"{text[:8]!r}-{code}" for text, code in ENDLESS])
def test_hostile_texts_end_with_an_honest_problem(text: str, code: str) -> None:
    extraction = extract(text)
    assert (extraction.found, codes(extraction)) == (False, [code])


@pytest.mark.parametrize(
    "piece", ["{", "[0, 1) ", "[1,[1,x ", "{x} ", "{'a': 1} ", '{"a" "b"} ', "</think>{", "```{", '{"[[[" ']
)
def test_work_done_in_vain_grows_no_faster_than_the_text(piece: str) -> None:
    texts = [piece * count for count in (20_000, 40_000)]
    short, long = (Scan(text).work for text in texts)
    assert long <= 3 * short
    assert long <= 7 * len(texts[1])


def test_depth_is_limited() -> None:
    assert extract("[" * MAX_DEPTH + "]" * MAX_DEPTH).found
    assert codes(extract("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))) == ["too_deep"]


def test_a_large_value_is_read_whole() -> None:
    value = {"rows": [{"id": number, "text": "é" * 50} for number in range(5000)]}
    assert extract(f"Here:\n```json\n{json.dumps(value)}\n```").value == value


@given(CONTAINERS | SCALARS, CONTAINERS | SCALARS)
def test_same_is_equality_of_json(left: Any, right: Any) -> None:
    assert same(left, json.loads(json.dumps(left)))
    if json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True):
        assert same(left, right)
    assert same(left, right) == same(right, left)
