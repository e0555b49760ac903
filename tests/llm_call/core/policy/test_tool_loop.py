"""When tools run, and that a conversation with them ends."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from llm_call.core.domain.messages import Media, Text, ToolCall, ToolResult
from llm_call.core.domain.response import Response
from llm_call.core.policy.tool_loop import Exhausted, Finish, Run, ToolLimits, Turn, fitted, next_step, size_of

LIMITS = ToolLimits(turns=4, calls=2, result_bytes=10, total_bytes=30)


def call(name: str = "look", arguments: str = "{}") -> ToolCall:
    return ToolCall(id="1", name=name, arguments=arguments)


def asking(*calls: ToolCall) -> Response:
    return Response(model="m", parts=(Text(text="let me see"), *calls))


def turns(*said: str, size: int = 1) -> Sequence[Turn]:
    return [Turn(calls=(call(arguments=each),), size=size) for each in said]


def test_an_answer_without_calls_is_the_answer() -> None:
    assert next_step(asking(), [], LIMITS) == Finish()


def test_a_call_of_a_tool_of_the_callers_is_for_the_caller() -> None:
    assert next_step(asking(call(), call("theirs")), [], LIMITS, foreign={"theirs"}) == Finish()


def test_calls_run_at_once_up_to_the_limit_and_the_rest_is_refused() -> None:
    first, second, third = call("a"), call("b"), call("c")
    assert next_step(asking(first, second, third), [], LIMITS) == Run(calls=(first, second), refused=(third,))


def test_no_tool_runs_after_the_last_turn() -> None:
    step = next_step(asking(call()), turns("[1]", "[2]", "[3]", "[4]"), LIMITS)
    assert step == Exhausted(why="tools were used in 4 turns, and more are not allowed")


def test_no_tool_runs_after_the_last_byte() -> None:
    assert isinstance(next_step(asking(call()), turns("[1]", "[2]", size=14), LIMITS), Run)
    assert isinstance(next_step(asking(call()), turns("[1]", "[2]", size=15), LIMITS), Exhausted)


@pytest.mark.parametrize(
    ("before", "now", "ends"),
    [
        (("{}", "{}"), "{}", True),
        (('{"a": 1, "b": 2}', '{"b":2,"a":1}'), '{"a":1,"b":2}', True),
        (("no json", "no json"), "no json", True),
        (("{}",), "{}", False),
        (("{}", '{"a":1}'), "{}", False),
        (("{}", "{}"), '{"a":1}', False),
        (("{}", "{}", '{"a":1}'), "{}", False),
    ],
)
def test_the_same_call_three_times_in_a_row_ends_it(before: tuple[str, ...], now: str, ends: bool) -> None:
    step = next_step(asking(call(arguments=now)), turns(*before), LIMITS)
    assert isinstance(step, Exhausted) is ends


def test_the_order_of_calls_in_an_answer_makes_them_no_others() -> None:
    both = (call("a"), call("b"))
    before = [Turn(calls=both, size=0), Turn(calls=both[::-1], size=0)]
    assert isinstance(next_step(asking(*both), before, LIMITS), Exhausted)


def test_what_fits_stays_as_it_is() -> None:
    result = ToolResult(call_id="1", parts=(Text(text="äöü"), Media(media_type="image/png", data=b"1234")))
    assert fitted(result, text=6, total=10) == (result, 10)


def test_too_long_a_text_is_cut_between_characters_and_the_rest_is_counted() -> None:
    result, taken = fitted(ToolResult(call_id="1", parts=(Text(text="aöü"), Text(text="b"))), text=4, total=100)
    assert taken == 4
    assert [part.text for part in result.parts if isinstance(part, Text)] == [
        "aö",
        "b",
        "[2 bytes more are left out: the result is too large]",
    ]


def test_an_image_is_kept_whole_or_not_at_all() -> None:
    image = Media(media_type="image/png", data=b"12345")
    result, taken = fitted(ToolResult(call_id="1", parts=(image, Text(text="hi"))), text=10, total=4)
    assert taken == 2
    assert result.parts == (Text(text="hi"), Text(text="[5 bytes more are left out: the result is too large]"))


PARTS = st.one_of(
    st.builds(Text, text=st.text(max_size=40)),
    st.builds(Media, media_type=st.just("image/png"), data=st.binary(max_size=40)),
)


@given(parts=st.lists(PARTS, max_size=6), text=st.integers(0, 60), total=st.integers(0, 60))
def test_what_is_taken_of_a_result_is_within_its_bounds_and_begins_as_the_result_does(
    parts: list[Text | Media], text: int, total: int
) -> None:
    whole = ToolResult(call_id="1", parts=tuple(parts))
    kept, taken = fitted(whole, text=text, total=total)
    whole_size = size_of(whole)
    note = kept.parts[-1:] if taken < whole_size else ()
    shown = kept.parts[: len(kept.parts) - len(note)]
    assert taken == size_of(replace(kept, parts=shown)) <= total
    said = "".join(part.text for part in shown if isinstance(part, Text))
    assert len(said.encode("utf-8", "replace")) <= text
    if whole_size <= min(text, total):
        assert shown == whole.parts
