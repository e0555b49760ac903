"""Names of tools that every provider takes."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.tools.mcp_content import unique_names


@pytest.mark.parametrize(
    ("tools", "taken", "names"),
    [
        ([("a", "look"), ("b", "read")], (), ["look", "read"]),
        ([("a", "look"), ("b", "look"), ("b", "read")], (), ["a__look", "b__look", "read"]),
        ([("a", "look")], ("look",), ["a__look"]),
        ([("a", "look"), ("a", "look")], (), ["a__look", "a__look_2"]),
        ([("a b", "files/read"), ("c", "files.read")], (), ["a_b__files_read", "c__files_read"]),
        ([("a", "x" * 99)], (), ["x" * 64]),
        ([("a" * 99, "x"), ("a" * 98, "x")], (), ["a" * 64, f"{'a' * 62}_2"]),
        ([("a", "")], (), ["tool"]),
    ],
)
def test_a_tool_keeps_its_name_where_it_can(
    tools: Sequence[tuple[str, str]], taken: Sequence[str], names: Sequence[str]
) -> None:
    assert unique_names(tools, taken) == names


SHORT = st.text(st.sampled_from("ab_/."), max_size=3) | st.text(max_size=80)


@given(tools=st.lists(st.tuples(SHORT, SHORT), max_size=12), taken=st.lists(SHORT, max_size=4))
def test_names_are_all_different_and_such_as_providers_take(tools: list[tuple[str, str]], taken: list[str]) -> None:
    names = unique_names(tools, taken)
    assert len({*names, *taken}) == len(names) + len({*taken})
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)
