import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.runner.dataset import DatasetError, load

ONE = '{"test_case_id": "a", "llm_config": {}}'


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "cases.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(folder: Path, content: str | bytes) -> str:
    with pytest.raises(DatasetError) as caught:
        load(written(folder, content))
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value.message.removeprefix(f"{folder}/")


def test_a_list_of_cases_is_read_with_the_line_of_each(tmp_path: Path) -> None:
    text = '\n[\n  {"test_case_id": "a"},\n  {"test_case_id":\n "b"}, {"test_case_id": "c"}\n]\n'
    dataset = load(written(tmp_path, text))
    assert [(entry.test_case_id, entry.line) for entry in dataset.entries] == [("a", 3), ("b", 4), ("c", 5)]
    assert dataset.warnings == ()


@pytest.mark.parametrize("text", [f'{{"cases": [{ONE}]}}', f' {{ "cases"\n:\t[ {ONE} ] }} \n', f"\ufeff[{ONE}]"])
def test_cases_may_stand_in_an_object_and_behind_a_byte_order_mark(tmp_path: Path, text: str) -> None:
    dataset = load(written(tmp_path, text))
    assert [entry.fields for entry in dataset.entries] == [{"test_case_id": "a", "llm_config": {}}]
    assert dataset.warnings == ()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.lists(st.dictionaries(st.text(min_size=1), VALUES), min_size=1), st.sampled_from([None, 0, 2]))
def test_strict_files_read_as_the_standard_library_reads_them(
    tmp_path_factory: pytest.TempPathFactory, cases: list[dict[str, Any]], indent: int | None
) -> None:
    for number, case in enumerate(cases):
        case["test_case_id"] = str(number)
    dataset = load(written(tmp_path_factory.getbasetemp(), json.dumps(cases, indent=indent)))
    assert [entry.fields for entry in dataset.entries] == cases
    assert not any(entry.faults for entry in dataset.entries)


def test_what_is_tolerated_is_reported_once_a_kind_with_its_first_line(tmp_path: Path) -> None:
    text = f'Cases of [June]\n\n[\n  // first\n  {ONE[:-1]}, "enabled": True,}}, # last\n]'
    dataset = load(written(tmp_path, text))
    assert dataset.entries[0].fields["enabled"] is True
    assert dataset.entries[0].line == 5
    assert [warning.removeprefix(f"{tmp_path}/") for warning in dataset.warnings] == [
        "cases.json:1: tolerated what is no JSON: text before the first bracket",
        "cases.json:4: tolerated what is no JSON: comment and 1 more",
        "cases.json:5: tolerated what is no JSON: Python's True",
        "cases.json:5: tolerated what is no JSON: trailing comma and 1 more",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[\n  {"a" 1}]', "cases.json:2:8: expected ':' delimiter, found '1}]'"),
        ('[\n  {"a": 1}', "cases.json:2:11: expected ',', found the end of the file"),
        ('[{"a": "open]', "cases.json:1:8: unterminated string starting, found '\"open]'"),
        ("[1] x", "cases.json:1:5: expected the end of the file, found 'x'"),
        ('{"cases": [1], "more": 2}', "cases.json:1:14: expected '}', found ', \"more\": 2}'"),
        ('{"case": []}', "cases.json:1:1: expected '[', found '{\"case\": []}'"),
        ("nothing here", "cases.json:1:1: expected a list of cases, found 'nothing here'"),
        ("// [1]\n", "cases.json:2:1: expected a list of cases, found the end of the file"),
        (b"[\n\xff]", "cases.json:2: not UTF-8 (invalid start byte)"),
        ("", "cases.json is empty"),
        (" \n ", "cases.json is empty"),
        ("[ ]", "cases.json holds no cases"),
        ('{"cases": []}', "cases.json holds no cases"),
        ("[" * 100_000, "cases.json cannot be read as JSON: maximum recursion depth exceeded"),
        (f"[{'1' * 5000}]", "cases.json cannot be read as JSON: Exceeds the limit"),
        (f"[{ONE},\n 7]", "cases.json:2: a case is an object, this is not"),
        (f"[{ONE},\n {{}}]", "cases.json:2: a case without test_case_id"),
        ('[{"test_case_id": null}]', "cases.json:1: a case without test_case_id"),
        ('[{"test_case_id": 5}]', "cases.json:1: test_case_id is no line of printable text"),
        ('[{"test_case_id": " "}]', "cases.json:1: test_case_id is no line of printable text"),
        ('[{"test_case_id": "a\\u001b[2J"}]', "cases.json:1: test_case_id is no line of printable text"),
        ('[{"test_case_id": "\\ud800"}]', "cases.json:1: test_case_id is no line of printable text"),
        (f"[{ONE},\n{ONE}]", "cases.json:2: test_case_id 'a' stands in line 1 already"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line_that_says_where(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    assert refusal(tmp_path, content).startswith(message)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        load(tmp_path / "absent.json")
    with pytest.raises(DatasetError, match="is a directory"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("case", "fault"),
    [
        ('{"test_case_id": "a", "tags": [], "tags": []}', "the key 'tags' stands twice in one object"),
        ('{"test_case_id": "a", "llm_config": {"seed": NaN}}', "NaN is no JSON"),
        ('{"test_case_id": "a", "llm_config": {"seed": -Infinity}}', "-Infinity is no JSON"),
    ],
)
def test_what_the_scanner_would_let_pass_is_a_fault_of_that_case_alone(tmp_path: Path, case: str, fault: str) -> None:
    entries = load(written(tmp_path, f'[{case}, {{"test_case_id": "b"}}]')).entries
    assert [entry.faults for entry in entries] == [(fault,), ()]
