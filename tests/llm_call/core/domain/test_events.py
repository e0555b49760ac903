import pytest

from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart, fold
from llm_call.core.domain.messages import Reasoning, Text, ToolCall
from llm_call.core.domain.response import FinishReason, Response, Usage

START = ResponseStart(model="m", id="r1")
END = ResponseEnd(finish_reason=FinishReason(unified="stop", raw="stop"), usage=Usage(output_tokens=3))


def test_overlapping_parts_are_put_together_in_the_order_of_their_index() -> None:
    response = fold(
        [
            START,
            PartStart(index=1, part=ToolCall(id="c", name="f", arguments="")),
            PartStart(index=0, part=Text(text="")),
            PartDelta(index=1, text='{"a"'),
            PartDelta(index=0, text="he"),
            PartDelta(index=1, text=":1}"),
            PartDelta(index=0, text="llo"),
            PartEnd(index=0),
            PartEnd(index=1, provider_data={"gemini": {"x": 1}}),
            END,
        ]
    )
    assert response == Response(
        id="r1",
        model="m",
        parts=(Text(text="hello"), ToolCall(id="c", name="f", arguments='{"a":1}', provider_data={"gemini": {"x": 1}})),
        finish_reason=FinishReason(unified="stop", raw="stop"),
        usage=Usage(output_tokens=3),
    )
    assert response.text == "hello"
    assert [call.name for call in response.tool_calls] == ["f"]


def test_a_signature_comes_with_the_end_of_its_part() -> None:
    middle: list[Event] = [
        PartStart(index=0, part=Reasoning(text="")),
        PartDelta(index=0, text="hm"),
        PartEnd(index=0, signature="s"),
    ]
    assert fold([START, *middle, END]).parts == (Reasoning(text="hm", signature="s"),)


@pytest.mark.parametrize(
    "events",
    [[], [START], [END], [START, PartStart(index=0, part=Text(text="")), END]],
    ids=["nothing", "no end", "no start", "an open part"],
)
def test_what_is_incomplete_does_not_fold(events: list[object]) -> None:
    with pytest.raises(ValueError, match="complete"):
        fold(events)  # type: ignore[arg-type]  # events, all of them
