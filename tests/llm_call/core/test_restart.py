from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, fold, unfold
from llm_call.core.domain.messages import Reasoning, Text, ToolCall
from llm_call.core.domain.response import FinishReason, Response
from llm_call.core.restart import DiffersError, Verifier, is_repeatable, text_of

TEXTS = st.text("ab", max_size=6)
PARTS = st.lists(st.one_of(TEXTS.map(lambda t: Text(text=t)), TEXTS.map(lambda t: Reasoning(text=t))), max_size=3)


def response(parts: Sequence[Text | Reasoning]) -> Response:
    return Response(model="m", parts=tuple(parts), finish_reason=FinishReason(unified="stop"))


def cut(events: Sequence[Event], sizes: Sequence[int]) -> list[Event]:
    """The same answer, its deltas cut into pieces."""
    found: list[Event] = []
    for event in events:
        if isinstance(event, PartDelta):
            text, count = event.text, 0
            while text:
                size = sizes[count % len(sizes)] if sizes else len(text)
                found.append(PartDelta(index=event.index, text=text[:size]))
                text, count = text[size:], count + 1
        else:
            found.append(event)
    return found


@given(PARTS, PARTS, st.integers(0, 30), st.lists(st.integers(1, 4), max_size=4))
def test_what_is_delivered_over_a_restart_is_one_of_the_answers_whole_or_an_error(
    first: list[Text | Reasoning], second: list[Text | Reasoning], seen: int, sizes: list[int]
) -> None:
    delivered = cut(unfold(response(first)), [1])[:-1][:seen]
    again = cut(unfold(response(second)), sizes)
    verifier, given_on = Verifier(delivered), list(delivered)
    try:
        for event in again:
            given_on.extend(verifier.feed(event))
    except DiffersError:
        assert not _begins_with(second, delivered) or given_on == delivered
        return
    whole = fold([again[0], *(e for e in given_on if e != again[0])])
    assert whole == response(second)


def _begins_with(parts: Sequence[Text | Reasoning], delivered: Sequence[Event]) -> bool:
    told = cut(unfold(response(parts)), [1])
    return told[: len(delivered)] == list(delivered)


@given(PARTS, st.integers(0, 30), st.lists(st.integers(1, 4), max_size=4))
def test_an_attempt_that_repeats_what_was_delivered_is_never_refused(
    parts: list[Text | Reasoning], seen: int, sizes: list[int]
) -> None:
    delivered = cut(unfold(response(parts)), [1])[:-1][:seen]
    again, verifier = cut(unfold(response(parts)), sizes), Verifier(delivered)
    beyond = [each for event in again for each in verifier.feed(event)]
    start = [] if delivered else [again[0]]
    assert fold([*start, *delivered, *beyond]) == response(parts)


def test_nothing_beyond_is_given_before_everything_was_seen_again() -> None:
    delivered: list[Event] = [PartStart(index=0, part=Text(text="")), PartDelta(index=0, text="ab")]
    verifier = Verifier(delivered)
    assert verifier.feed(delivered[0]) == ()
    assert verifier.feed(PartStart(index=1, part=Text(text=""))) == ()
    assert verifier.feed(PartDelta(index=1, text="x")) == ()
    assert verifier.feed(PartDelta(index=0, text="a")) == ()
    assert [type(each) for each in verifier.feed(PartDelta(index=0, text="bc"))] == [PartStart, PartDelta, PartDelta]


def test_a_part_that_was_complete_may_not_grow() -> None:
    delivered: list[Event] = [PartStart(index=0, part=Text(text="")), PartDelta(index=0, text="a"), PartEnd(index=0)]
    verifier = Verifier(delivered)
    verifier.feed(delivered[0])
    with pytest.raises(DiffersError):
        verifier.feed(PartDelta(index=0, text="ab"))


def test_tool_calls_are_never_compared() -> None:
    assert not is_repeatable([PartStart(index=0, part=ToolCall(id="c", name="f", arguments=""))])
    assert is_repeatable([PartStart(index=0, part=Reasoning(text=""))])


def test_the_text_leaves_out_what_was_thought() -> None:
    events: list[Event] = [
        PartStart(index=0, part=Reasoning(text="")),
        PartDelta(index=0, text="hmm"),
        PartStart(index=1, part=Text(text="")),
        PartDelta(index=1, text="yes"),
    ]
    assert text_of(events) == "yes"
