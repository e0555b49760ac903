import pytest

from llm_call.runner.case import Entry
from llm_call.runner.dataset import DatasetError
from llm_call.runner.selection import select

IDS = ("max_text_001_simple", "max_text_0010", "max_text", "json_001", "odd[1]")
ENTRIES = tuple(Entry(test_case_id=each, line=1, fields={}) for each in IDS)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (None, IDS),
        ("max_text", ("max_text",)),
        ("max_text_001", ("max_text_001_simple", "max_text_0010")),
        ("*_001*", ("max_text_001_simple", "max_text_0010", "json_001")),
        ("json_00?", ("json_001",)),
        ("odd[1]", ("odd[1]",)),
    ],
)
def test_an_exact_id_goes_before_a_beginning_and_that_before_a_pattern(
    wanted: str | None, found: tuple[str, ...]
) -> None:
    assert tuple(entry.test_case_id for entry in select(ENTRIES, wanted)) == found


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("max_txt_001", "Did you mean max_text_0010 or max_text or max_text_001_simple?"),
        ("zzz", "There are 5, first max_text_001_simple."),
        ("", "There are 5, first max_text_001_simple."),
        ("MAX_TEXT*", "There are 5, first max_text_001_simple."),
    ],
)
def test_no_match_is_an_error_with_near_names(wanted: str, hint: str) -> None:
    with pytest.raises(DatasetError, match="no case matches") as caught:
        select(ENTRIES, wanted)
    assert caught.value.hint == hint
