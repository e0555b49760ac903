import json
from json import JSONDecodeError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.runner.tolerant_json import to_strict

TRICKY = st.sampled_from(
    ["https://a.b/c", "True, False, None", "# no comment", "/* none */", 'say "x"', ",]", "\\", "[1,]"]
)
KEYS = st.text() | TRICKY
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | TRICKY,
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=12,
)
DOCUMENTS = st.lists(VALUES) | st.dictionaries(KEYS, VALUES)

LINES = st.text(st.characters(exclude_characters="\n"))
NOISE = st.lists(
    st.sampled_from([" ", "\n", "\t"])
    | LINES.map("//{}\n".format)
    | LINES.map("#{}\n".format)
    | st.text().map(lambda text: "/*" + text.replace("*/", "") + " */"),
    max_size=2,
).map("".join)


def untidy(data: st.DataObject, value: Any) -> str:
    """`value` as somebody might have typed it."""

    def noise() -> str:
        return data.draw(NOISE)

    def joined(items: list[str], opening: str, closing: str) -> str:
        trailing = data.draw(st.sampled_from(["", ","])) if items else ""
        return noise() + opening + ",".join(items) + noise() + trailing + noise() + closing + noise()

    if isinstance(value, dict):
        pairs = [f"{noise()}{json.dumps(key)}{noise()}:{untidy(data, each)}" for key, each in value.items()]
        return joined(pairs, "{", "}")
    if isinstance(value, list):
        return joined([untidy(data, each) for each in value], "[", "]")
    plain = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    constant = value is None or isinstance(value, bool)
    return noise() + (str(value) if constant and data.draw(st.booleans()) else plain) + noise()


@given(st.data(), DOCUMENTS)
def test_untidy_json_reads_to_the_same_value_and_every_position_stays(data: st.DataObject, value: Any) -> None:
    text = untidy(data, value)
    strict, _ = to_strict(text)
    assert json.loads(strict) == value
    assert len(strict) == len(text)
    assert [at for at, each in enumerate(strict) if each == "\n"] == [
        at for at, each in enumerate(text) if each == "\n"
    ]


@given(DOCUMENTS)
def test_strict_json_is_left_alone(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert to_strict(text) == (text, ())


@given(st.text(alphabet='[]{},:"\\/*# \nTrueNa1') | st.text())
def test_any_text_is_read_or_refused_in_the_same_length(text: str) -> None:
    try:
        strict, _ = to_strict(text)
    except JSONDecodeError:
        return
    assert len(strict) == len(text)


def test_strings_are_never_touched() -> None:
    text = '["https://x.y // not a comment", "True /* stays */", "a,]", "say \\"# hi\\"" , ]'
    assert json.loads(to_strict(text)[0]) == [
        "https://x.y // not a comment",
        "True /* stays */",
        "a,]",
        'say "# hi"',
    ]


def test_prose_before_the_list_is_passed_over_with_its_brackets_and_quotes() -> None:
    text = 'These are "the cases. Don\'t change [them], see {x}.\n\n  [{"a": 1}]\n'
    strict, edits = to_strict(text)
    assert json.loads(strict) == [{"a": 1}]
    assert [edit.what for edit in edits] == ["text before the first bracket"]


def test_prose_on_the_same_line_as_the_list_is_passed_over() -> None:
    assert json.loads(to_strict("The cases: [1, 2]")[0]) == [1, 2]


@pytest.mark.parametrize("text", ["[,]", "[1,,]", "[1 2]", "{,}", "[nope]", '{"a":,}', "[1,"])
def test_what_is_not_listed_as_tolerated_stays_wrong(text: str) -> None:
    with pytest.raises(JSONDecodeError):
        json.loads(to_strict(text)[0])


@pytest.mark.parametrize(("text", "position"), [("[1] /* open", 4), ("[1] /*/", 4)])
def test_a_comment_that_is_not_closed_is_refused_where_it_begins(text: str, position: int) -> None:
    with pytest.raises(JSONDecodeError) as caught:
        to_strict(text)
    assert caught.value.pos == position


def test_every_edit_says_what_and_where() -> None:
    _, edits = to_strict("[True, // yes\nNone,]")
    assert [(edit.what, edit.position) for edit in edits] == [
        ("Python's True", 1),
        ("comment", 7),
        ("Python's None", 14),
        ("trailing comma", 18),
    ]
