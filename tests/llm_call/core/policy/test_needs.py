from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.messages import Media, Message, Text, ToolCall, ToolResult, message
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool
from llm_call.core.policy.needs import Needs, needs_of, shortfall

PNG = Media(media_type="image/png", data=b"x")
SCHEMA = OutputSpec(schema={"type": "object"})


def request(*parts: Any, **fields: Any) -> Request:
    return Request(model="", messages=(Message(role="user", parts=parts or (Text(text="hi"),)),), **fields)


def test_a_plain_question_needs_nothing_but_room_for_its_text() -> None:
    assert needs_of(request()) == Needs(texts=("hi",))


def test_media_tools_and_limits_are_needs() -> None:
    asked = request(PNG, tools=(Tool(name="t"),), settings=Settings(max_output_tokens=9))
    needs = needs_of(asked)
    assert (needs.media, needs.tools, needs.output_tokens) == (("image/png",), True, 9)


def test_a_picture_that_a_tool_gave_back_is_seen_too_and_its_history_needs_tools() -> None:
    needs = needs_of(request(ToolCall(id="1", name="t", arguments="{}"), ToolResult(call_id="1", parts=(PNG,))))
    assert (needs.media, needs.tools) == (("image/png",), True)


def test_only_a_strict_call_needs_a_schema_mode() -> None:
    assert not needs_of(request(output=SCHEMA)).own_schema_mode
    assert needs_of(request(output=SCHEMA), strict=True).own_schema_mode
    assert not needs_of(request(output=OutputSpec()), strict=True).own_schema_mode


@pytest.mark.parametrize(
    ("needs", "profile", "said"),
    [
        (Needs(media=("image/png",)), Profile(media=()), "takes no image/png"),
        (Needs(media=("audio/wav",)), Profile(media=("image/*",)), "takes no audio/wav"),
        (Needs(tools=True), Profile(tools=False), "has no tools"),
        (Needs(own_schema_mode=True), Profile(output_mode="prompted"), "no schema mode"),
        (Needs(output_tokens=9), Profile(output_tokens=8), "writes 8 tokens at most, 9"),
        (Needs(texts=("a b c", "d")), Profile(context_tokens=2), "reads 2 tokens at most"),
        (Needs(texts=("a", "b", "c")), Profile(context_tokens=2), "the request has 3 words"),
    ],
)
def test_a_known_lack_is_told(needs: Needs, profile: Profile, said: str) -> None:
    assert said in shortfall(needs, profile)


@pytest.mark.parametrize(
    ("needs", "profile"),
    [
        (Needs(media=("image/png",)), Profile(media=("image/*",))),
        (Needs(media=("image/*",)), Profile(media=("image/png",))),
        (Needs(tools=True), Profile(tools=True)),
        (Needs(own_schema_mode=True), Profile()),
        (Needs(output_tokens=8), Profile(output_tokens=8)),
        (Needs(output_tokens=None), Profile(output_tokens=8)),
        (Needs(texts=("a b",)), Profile(context_tokens=2)),
        (Needs(texts=("x" * 100_000,)), Profile(context_tokens=2)),
    ],
)
def test_what_fits_or_may_fit_is_taken(needs: Needs, profile: Profile) -> None:
    assert shortfall(needs, profile) == ""


@given(
    st.builds(
        Needs,
        media=st.lists(st.sampled_from(["image/png", "audio/wav"]), max_size=2).map(tuple),
        tools=st.booleans(),
        own_schema_mode=st.booleans(),
        output_tokens=st.none() | st.integers(1, 10**9),
        texts=st.lists(st.text(), max_size=3).map(tuple),
    )
)
def test_a_model_of_which_nothing_is_known_is_never_left_out(needs: Needs) -> None:
    assert shortfall(needs, Profile()) == ""


@given(st.lists(st.text("ab ", max_size=9), max_size=5), st.integers(0, 12))
def test_counting_less_never_changes_the_verdict(texts: list[str], window: int) -> None:
    needs = Needs(texts=tuple(texts))
    assert bool(shortfall(needs, Profile(context_tokens=window))) == (needs.least_tokens() > window)


def test_all_reasons_are_told_at_once() -> None:
    told = shortfall(Needs(media=("image/png",), tools=True), Profile(media=(), tools=False))
    assert told == "takes no image/png, has no tools"


def test_an_estimate_counts_four_characters_a_token_and_all_the_output_that_is_allowed() -> None:
    usage = needs_of(Request(model="", messages=(message("user", "x" * 400),))).estimated_usage()
    assert (usage.input_tokens, usage.output_tokens) == (100, 1000)
    assert Needs(output_tokens=7).estimated_usage().output_tokens == 7
