"""What a caller gets for every fault: the laws of all cases, and the page that shows them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from llm_call.testing import fault_matrix
from llm_call.testing.fault_matrix import ATTEMPTS, TEXT, Case, Outcome, Peers

PAGE = Path(__file__).parent.parent.parent.parent / "docs" / "fault_matrix.md"
CASES = fault_matrix.cases()

Found = Sequence[tuple[Case, Outcome]]


@pytest.fixture(scope="module")
def found() -> Found:
    return tuple(zip(CASES, fault_matrix.outcomes(CASES), strict=True))


def test_the_page_shows_what_happens(found: Found) -> None:
    shown = fault_matrix.page(CASES, [outcome for _, outcome in found])
    assert PAGE.read_text(encoding="utf-8").partition("\n\n")[2] == shown, "run `make docs`"


def test_an_answer_is_the_whole_right_text(found: Found) -> None:
    for case, outcome in found:
        if outcome.error is None:
            assert outcome.text == TEXT, case
            assert outcome.delivered == (TEXT if case.form != "plain" else ""), case


def test_what_a_failed_stream_has_delivered_is_the_beginning_of_the_answer_and_is_in_the_error(found: Found) -> None:
    for case, outcome in found:
        if outcome.error is not None and outcome.error != "refusal":
            assert TEXT.startswith(outcome.delivered), case
            assert outcome.part == outcome.delivered, case
            assert bool(outcome.delivered) == (case.form == "broken stream"), case


def test_no_server_sees_more_requests_than_a_target_has_attempts(found: Found) -> None:
    for case, outcome in found:
        assert max(outcome.requests) <= ATTEMPTS, case


def test_a_right_answer_is_returned_however_odd_it_comes(found: Found) -> None:
    right = [(case, outcome) for case, outcome in found if case.expected == "answer"]
    assert right
    for case, outcome in right:
        assert outcome.error is None, case
        assert sum(outcome.requests) == 1, case


# Whom it happens to -> whether there is an answer in the end, and the requests that each server has seen.
AGAIN: Mapping[Peers, tuple[bool, tuple[int, ...]]] = {
    "once": (True, (2,)),
    "always": (False, (ATTEMPTS,)),
    "another": (True, (ATTEMPTS, 1)),
}
ELSEWHERE: Mapping[Peers, tuple[bool, tuple[int, ...]]] = {
    "once": (False, (1,)),
    "always": (False, (1,)),
    "another": (True, (1, 1)),
}
NEVER: Mapping[Peers, tuple[bool, tuple[int, ...]]] = {
    "once": (False, (1,)),
    "always": (False, (1,)),
    "another": (False, (1, 0)),
}


@pytest.mark.parametrize(
    ("expected", "follows"),
    [("again", AGAIN), ("elsewhere", ELSEWHERE), ("never", NEVER)],
    ids=["again", "elsewhere", "never"],
)
def test_each_fault_leads_to_what_the_catalogue_says(
    found: Found, expected: str, follows: Mapping[Peers, tuple[bool, tuple[int, ...]]]
) -> None:
    for case, outcome in found:
        if case.expected == expected and not case.fault.refuses:
            assert (outcome.error is None, outcome.requests) == follows[case.peers], case


def test_a_stream_that_had_begun_is_asked_for_again_as_often_as_one_that_had_not(found: Found) -> None:
    for case, outcome in found:
        # A stream that falls silent after it had begun is no silent route.
        if case.expected == "restart" and (case.fault.expected == "again" or case.fault.name == "stalled"):
            assert (outcome.error is None, outcome.requests) == AGAIN[case.peers], case
        elif case.expected == "restart":
            came = (outcome.error is None, outcome.requests)
            assert came in (ELSEWHERE[case.peers], NEVER[case.peers]), case


def test_a_server_that_nobody_is_costs_no_request_and_leads_to_the_next_target(found: Found) -> None:
    refused = [(case.peers, outcome) for case, outcome in found if case.fault.refuses]
    assert {peers for peers, _ in refused} == {"always", "another"}
    for peers, outcome in refused:
        assert outcome.requests == ((0, 1) if peers == "another" else (0,))
        assert outcome.error == (None if peers == "another" else "ConnectionFailedError")


def test_an_empty_answer_is_asked_for_once_more_where_nobody_has_seen_it(found: Found) -> None:
    empty = [(case, outcome) for case, outcome in found if case.expected == "reask"]
    assert empty
    for case, outcome in empty:
        assert (outcome.error is None) == (case.form == "plain" and case.peers == "once"), case


def test_a_hint_that_cannot_be_heeded_is_told_to_the_caller(found: Found) -> None:
    for case, outcome in found:
        if case.fault.hint is not None and outcome.error is not None:
            assert outcome.hint == case.fault.hint, case


def test_only_a_hint_of_less_than_the_backoff_leaves_the_backoff_as_it_is(found: Found) -> None:
    waits = {outcome.waited for case, outcome in found if case.expected == "again" and case.peers == "once"}
    assert waits == {0.001}
