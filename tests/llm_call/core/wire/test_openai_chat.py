"""Chat completions towards providers: what goes out, and what the dialect cannot say."""

from typing import Any

import msgspec
import pytest

from llm_call.core.domain.errors import (
    UnsupportedError,
)
from llm_call.core.domain.messages import Media, Message, Part, Reasoning, Text, ToolCall, ToolResult, message
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool, ToolChoice
from llm_call.core.wire.openai_chat import OpenAIChatCodec
from llm_call.core.wire.openai_chat_server import OpenAIChatServerCodec

CODEC = OpenAIChatCodec()
PERSON = {"type": "object", "properties": {"name": {"type": "string"}, "tags": {"type": "array", "uniqueItems": True}}}


_OWN = Reasoning(text="hm", provider_data={"openai_chat": {"field": "reasoning"}})
_OWN_SIGNED = Reasoning(text="hm", signature="s", provider_data={"openai_chat": {"field": "reasoning"}})


def sent(*messages: Message, stream: bool = False, profile: Profile | None = None, **fields: Any) -> dict[str, Any]:
    request = Request(model="m", messages=messages, **fields)
    wire = CODEC.encode_request(request, stream=stream, profile=profile or Profile())
    body: dict[str, Any] = msgspec.json.decode(wire.body)
    return body


def notices(*messages: Message, profile: Profile | None = None, **fields: Any) -> set[tuple[str, str]]:
    request = Request(model="m", messages=messages, **fields)
    wire = CODEC.encode_request(request, stream=False, profile=profile or Profile())
    return {(notice.field, notice.fate) for notice in wire.notices}


def user(*parts: Part) -> Message:
    return Message(role="user", parts=parts)


def test_the_limit_on_output_tokens_has_the_name_that_the_profile_says_and_comes_back_under_both() -> None:
    newer = Profile(output_limit_field="max_completion_tokens")
    settings = Settings(max_output_tokens=5)
    assert sent(message("user", "hi"), settings=settings)["max_tokens"] == 5
    body = sent(message("user", "hi"), settings=settings, profile=newer)
    assert (body["max_completion_tokens"], "max_tokens" in body) == (5, False)
    request, _ = OpenAIChatServerCodec().decode_request(msgspec.json.encode(body))
    assert request.settings == settings


def test_a_request_of_every_field_is_sent_as_the_dialect_says() -> None:
    tool = Tool(name="add", description="Adds.", parameters={"type": "object"}, strict=True)
    body = sent(
        message("developer", "Be brief."),
        Message(role="user", name="ann", parts=(Text(text="see"), Media(media_type="image/png", data=b"\x89PNG"))),
        Message(role="assistant", parts=(ToolCall(id="c1", name="add", arguments='{"a": 1}'),)),
        Message(role="tool", parts=(ToolResult(call_id="c1", parts=(Text(text="2"),)),)),
        stream=True,
        settings=Settings(max_output_tokens=5, temperature=0.0, stop=("END",), seed=1, logprobs=True, top_logprobs=2),
        tools=(tool,),
        tool_choice=ToolChoice(name="add"),
        output=OutputSpec(schema=PERSON, name="person", strict=True),
        provider_options={"top_k": 3},
    )
    assert body == {
        "model": "m",
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "name": "ann",
                "content": [
                    {"type": "text", "text": "see"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "2"},
        ],
        "max_tokens": 5,
        "temperature": 0.0,
        "stop": ["END"],
        "seed": 1,
        "logprobs": True,
        "top_logprobs": 2,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "add",
                    "description": "Adds.",
                    "parameters": {"type": "object"},
                    "strict": True,
                },
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "add"}},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "person", "schema": PERSON, "strict": True},
        },
        "top_k": 3,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_media_go_in_the_part_that_the_dialect_has_for_them() -> None:
    body = sent(
        user(
            Media(
                media_type="image/*",
                url="https://x.org/a",
                provider_data={"openai_chat": {"image_url": {"detail": "low"}}},
            ),
            Media(media_type="audio/mpeg", data=b"abc"),
            Media(media_type="application/pdf", data=b"abc", name="a.pdf"),
            Media(media_type="application/octet-stream", provider_data={"openai_chat": {"file": {"file_id": "f1"}}}),
            Text(text="cached", provider_data={"openai_chat": {"cache_control": {"type": "ephemeral"}}}),
        )
    )
    assert body["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"detail": "low", "url": "https://x.org/a"}},
        {"type": "input_audio", "input_audio": {"data": "YWJj", "format": "mp3"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,YWJj"}},
        {"type": "file", "file": {"file_id": "f1"}},
        {"cache_control": {"type": "ephemeral"}, "type": "text", "text": "cached"},
    ]


@pytest.mark.parametrize(
    "given",
    [
        user(Media(media_type="image/png")),
        user(Media(media_type="audio/wav", url="https://x.org/a.wav")),
        user(Media(media_type="application/pdf", url="https://x.org/a.pdf")),
        user(Media(media_type="video/mp4", data=b"x")),
        user(Reasoning(text="hm")),
        user(ToolCall(id="1", name="f", arguments="")),
        Message(role="assistant", parts=(Media(media_type="image/png", data=b"x"),)),
        Message(role="assistant", parts=(ToolResult(call_id="1"),)),
        Message(role="tool", parts=(Text(text="for which call?"),)),
        Message(role="tool", parts=(ToolResult(call_id="1", parts=(Media(media_type="image/png", data=b"x"),)),)),
        message("user", "\ud800"),
    ],
)
def test_content_that_the_dialect_cannot_say_is_refused(given: Message) -> None:
    with pytest.raises(UnsupportedError):
        sent(given)


@pytest.mark.parametrize(
    "fields",
    [
        {"provider_options": {"n": 2}},
        {"provider_options": {"odd": object()}},
        {"tool_choice": ToolChoice(mode="required")},
        {"tool_choice": ToolChoice(mode="none", name="f"), "tools": (Tool(name="f"),)},
        {"settings": Settings(temperature=float("nan"))},
    ],
)
def test_what_would_mean_something_else_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError):
        sent(message("user", "hi"), **fields)


def test_options_never_replace_what_the_call_itself_says() -> None:
    options = {"model": "other", "messages": [], "stream": True, "temperature": 1, "n": 1, "stream_options": {}}
    body = sent(message("user", "hi"), settings=Settings(temperature=0.5), provider_options=options)
    assert body == {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 1, "n": 1}
    assert notices(message("user", "hi"), provider_options=options) == {
        ("provider_options.model", "dropped"),
        ("provider_options.messages", "dropped"),
        ("provider_options.stream", "dropped"),
        ("provider_options.stream_options", "dropped"),
        ("provider_options.temperature", "kept"),
    }


def test_options_of_the_stream_stand_beside_the_usage() -> None:
    body = sent(message("user", "hi"), stream=True, provider_options={"stream_options": {"include_obfuscation": False}})
    assert body["stream_options"] == {"include_obfuscation": False, "include_usage": True}


@pytest.mark.parametrize(
    ("mode", "schema", "sent_format", "noticed"),
    [
        ("native", None, {"type": "json_object"}, set()),
        ("native", PERSON, {"type": "json_schema", "json_schema": {"name": "answer", "schema": PERSON}}, set()),
        ("json", PERSON, {"type": "json_object"}, {("output", "emulated")}),
        ("json", None, {"type": "json_object"}, set()),
        ("prompted", PERSON, None, {("output", "emulated")}),
    ],
)
def test_the_output_is_asked_for_as_the_profile_says(
    mode: Any, schema: dict[str, Any] | None, sent_format: Any, noticed: set[tuple[str, str]]
) -> None:
    profile, output = Profile(output_mode=mode), OutputSpec(schema=schema)
    assert sent(message("user", "hi"), profile=profile, output=output).get("response_format") == sent_format
    assert notices(message("user", "hi"), profile=profile, output=output) == noticed


def test_what_the_provider_does_not_enforce_is_left_out_and_named() -> None:
    profile = Profile(unenforced_keywords=("uniqueItems", "not"), string_limit=9)
    request = Request(model="m", messages=(), output=OutputSpec(schema=PERSON))
    wire = CODEC.encode_request(request, stream=False, profile=profile)
    assert msgspec.json.decode(wire.body)["response_format"]["json_schema"]["schema"]["properties"] == {
        "name": {"type": "string", "maxLength": 9},
        "tags": {"type": "array"},
    }
    assert [(notice.field, notice.fate) for notice in wire.notices] == [
        ("output.schema", "emulated"),
        ("output.schema", "translated"),
    ]
    assert "`uniqueItems` is checked on the answer" in wire.notices[0].message


def test_reasoning_goes_back_only_where_it_came_in_this_dialect() -> None:
    own = Reasoning(text="hm", provider_data={"openai_chat": {"field": "reasoning"}})
    body = sent(Message(role="assistant", parts=(own, Reasoning(text="x", signature="s"), Text(text="4"))))
    assert body["messages"] == [{"role": "assistant", "reasoning": "hm", "content": "4"}]


@pytest.mark.parametrize(
    ("part", "noticed"),
    [
        (Media(media_type="image/png", data=b"x", url="https://x.org/a"), {("messages[0].parts[0].url", "dropped")}),
        (Media(media_type="image/png", url="https://x.org/a"), {("messages[0].parts[0].media_type", "dropped")}),
        (Media(media_type="image/png", data=b"x", name="a"), {("messages[0].parts[0].name", "dropped")}),
        (Media(media_type="image/png", url="data:image/png;base64,eA=="), {("messages[0].parts[0]", "translated")}),
        (Media(media_type="audio/x-wav", data=b"x"), {("messages[0].parts[0].media_type", "translated")}),
        (Media(media_type="audio/ogg", data=b"x"), set()),
        (Media(media_type="text/plain", data=b"x"), {("messages[0].parts[0].name", "emulated")}),
        (
            Text(text="x", provider_data={"openai_chat": {"type": "y"}}),
            {("messages[0].parts[0].provider_data.type", "dropped")},
        ),
    ],
)
def test_what_a_part_loses_is_named(part: Text | Media, noticed: set[tuple[str, str]]) -> None:
    assert notices(user(part)) == noticed


@pytest.mark.parametrize(
    ("parts", "noticed"),
    [
        ((Reasoning(text="hm"),), {("messages[0].parts[0]", "dropped"), ("messages[0].parts", "translated")}),
        ((_OWN, Text(text="4")), set()),
        ((_OWN_SIGNED, Text(text="4")), {("messages[0].parts[0]", "dropped")}),
        ((_OWN, _OWN, Text(text="4")), {("messages[0].parts", "translated")}),
        ((Text(text="4"), _OWN), {("messages[0].parts", "translated")}),
    ],
)
def test_what_an_assistants_message_loses_is_named(parts: tuple[Part, ...], noticed: set[tuple[str, str]]) -> None:
    assert notices(Message(role="assistant", parts=parts)) == noticed


def test_a_required_tool_that_is_named_and_options_of_a_stream_are_named_too() -> None:
    assert notices(tools=(Tool(name="f"),), tool_choice=ToolChoice(mode="required", name="f")) == {
        ("tool_choice.mode", "translated")
    }
    request = Request(model="m", messages=(), provider_options={"stream_options": {"include_usage": False}})
    wire = CODEC.encode_request(request, stream=True, profile=Profile())
    assert [notice.field for notice in wire.notices] == ["provider_options.stream_options"]


def test_what_a_tool_call_keeps_stands_where_it_was_found() -> None:
    call = ToolCall(
        id="1", name="f", arguments="{}", provider_data={"openai_chat": {"extra": 1, "function": {"strict": True}}}
    )
    given = Message(role="assistant", parts=(call,))
    assert sent(given)["messages"][0]["tool_calls"] == [
        {"extra": 1, "id": "1", "type": "function", "function": {"strict": True, "name": "f", "arguments": "{}"}}
    ]
    wire = CODEC.encode_request(Request(model="m", messages=(given,)), stream=False, profile=Profile())
    assert OpenAIChatServerCodec().decode_request(wire.body)[0].messages == (given,)


def test_each_tool_result_becomes_a_message_before_the_users_words() -> None:
    given = user(
        Text(text="and?"), ToolResult(call_id="1", parts=(Text(text="a"),), is_error=True), ToolResult(call_id="2")
    )
    assert sent(given)["messages"] == [
        {"role": "tool", "tool_call_id": "1", "content": "a"},
        {"role": "tool", "tool_call_id": "2", "content": ""},
        {"role": "user", "content": "and?"},
    ]
    assert notices(given) == {
        ("messages", "translated"),
        ("messages[0].parts[1].is_error", "dropped"),
        ("messages[0].parts[2].parts", "translated"),
    }


def test_knobs_that_need_tools_are_dropped_without_them_and_named() -> None:
    fields: dict[str, Any] = {"tool_choice": ToolChoice(), "settings": Settings(parallel_tool_calls=False)}
    assert sent(message("user", "hi"), **fields).keys() == {"model", "messages"}
    assert notices(message("user", "hi"), **fields) == {
        ("tool_choice", "dropped"),
        ("settings.parallel_tool_calls", "dropped"),
    }
