"""The Messages dialect towards providers: what goes out, and what the dialect cannot say."""

from typing import Any

import msgspec
import pytest

from llm_call.core.domain.errors import UnsupportedError
from llm_call.core.domain.messages import (
    CacheMarker,
    Media,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    message,
)
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool, ToolChoice
from llm_call.core.wire.anthropic_messages import ANSWER_TOKENS, THOUGHT_TOKENS, AnthropicMessagesCodec
from llm_call.core.wire.base import WireRequest

CODEC = AnthropicMessagesCodec()
PERSON = {"type": "object", "properties": {"name": {"type": "string"}, "tags": {"type": "array", "uniqueItems": True}}}
CACHED = {"cache_control": {"type": "ephemeral"}}
LIMIT = Settings(max_output_tokens=9)
FILE = {"source": {"type": "file", "file_id": "f1"}}


def encoded(
    *messages: Message, stream: bool = False, profile: Profile | None = None, settings: Settings = LIMIT, **fields: Any
) -> WireRequest:
    request = Request(model="m", messages=messages, settings=settings, **fields)
    return CODEC.encode_request(request, stream=stream, profile=profile or Profile())


def sent(*messages: Message, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(encoded(*messages, **fields).body)
    return body


def notices(*messages: Message, **fields: Any) -> set[tuple[str, str]]:
    return {(notice.field, notice.fate) for notice in encoded(*messages, **fields).notices}


def content(*parts: Part, role: Any = "user") -> Any:
    return sent(Message(role=role, parts=parts))["messages"][0]["content"]


def user(*parts: Part) -> Message:
    return Message(role="user", parts=parts)


def test_a_request_of_every_field_is_sent_as_the_dialect_says() -> None:
    wire = encoded(
        message("system", "Be brief."),
        user(
            Text(text="see", cache=CacheMarker()),
            Media(media_type="image/png", data=b"\x89PNG"),
        ),
        Message(
            role="assistant",
            parts=(
                Reasoning(text="hm", signature="sig", provider_data={"anthropic_messages": {"type": "thinking"}}),
                Reasoning(text="", provider_data={"anthropic_messages": {"type": "redacted_thinking", "data": "enc"}}),
                Text(text="I add."),
                ToolCall(id="c1", name="add", arguments='{"a": 1.0}'),
            ),
        ),
        Message(role="tool", parts=(ToolResult(call_id="c1", parts=(Text(text="2"),), is_error=True),)),
        stream=True,
        settings=Settings(
            max_output_tokens=5,
            temperature=0.0,
            top_p=0.5,
            stop=("END",),
            reasoning_effort="high",
            parallel_tool_calls=False,
        ),
        tools=(Tool(name="add", description="Adds.", parameters={"type": "object"}, strict=True),),
        tool_choice=ToolChoice(mode="required"),
        output=OutputSpec(schema=PERSON),
        provider_options={"top_k": 3, "betas": ["new-2026-01-01", "b"]},
    )
    assert (wire.path, wire.stream) == ("/messages", True)
    assert wire.headers == {
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "new-2026-01-01,b",
    }
    assert b'"input":{"a": 1.0}' in wire.body
    assert msgspec.json.decode(wire.body) == {
        "model": "m",
        "system": "Be brief.",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "see", **CACHED},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "sig"},
                    {"type": "redacted_thinking", "data": "enc"},
                    {"type": "text", "text": "I add."},
                    {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1.0}},
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "2", "is_error": True}],
            },
        ],
        "max_tokens": 5,
        "temperature": 0.0,
        "top_p": 0.5,
        "stop_sequences": ["END"],
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": PERSON}},
        "tools": [{"name": "add", "description": "Adds.", "input_schema": {"type": "object"}, "strict": True}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "top_k": 3,
        "stream": True,
    }
    assert [(notice.field, notice.fate) for notice in wire.notices] == [("provider_options.betas", "translated")]


def test_a_plain_request_has_nothing_but_what_must_be_there() -> None:
    assert sent(message("user", "hi"), message("assistant", "ho"), message("user", "hi")) == {
        "model": "m",
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "ho"},
            {"role": "user", "content": "hi"},
        ],
        "max_tokens": 9,
    }


@pytest.mark.parametrize(
    ("settings", "options", "limit"),
    [
        (Settings(), {}, ANSWER_TOKENS),
        (Settings(reasoning_effort="none"), {}, ANSWER_TOKENS),
        (Settings(reasoning_effort="low"), {}, ANSWER_TOKENS + THOUGHT_TOKENS),
        (Settings(), {"thinking": {"type": "enabled", "budget_tokens": 2000}}, ANSWER_TOKENS + 2000),
    ],
)
def test_a_limit_is_always_sent_and_one_of_ours_is_named(
    settings: Settings, options: dict[str, Any], limit: int
) -> None:
    given: dict[str, Any] = {"settings": settings, "provider_options": options}
    assert sent(message("user", "hi"), **given)["max_tokens"] == limit
    assert ("settings.max_output_tokens", "emulated") in notices(message("user", "hi"), **given)


@pytest.mark.parametrize(
    ("effort", "thinking", "config"),
    [
        ("none", {"type": "disabled"}, None),
        ("minimal", {"type": "adaptive"}, {"effort": "low"}),
        ("max", {"type": "adaptive"}, {"effort": "max"}),
    ],
)
def test_an_effort_is_adaptive_thinking(effort: str, thinking: Any, config: Any) -> None:
    body = sent(message("user", "hi"), settings=Settings(reasoning_effort=effort))
    assert (body["thinking"], body.get("output_config")) == (thinking, config)


def test_a_budget_for_thoughts_is_given_by_the_options_and_stands_beside_the_schema() -> None:
    options = {"thinking": {"type": "enabled", "budget_tokens": 2000}, "output_config": {"effort": "max"}}
    body = sent(message("user", "hi"), output=OutputSpec(schema=PERSON), provider_options=options)
    assert body["thinking"] == options["thinking"]
    assert body["output_config"] == {"effort": "max", "format": {"type": "json_schema", "schema": PERSON}}
    both = {"settings": Settings(max_output_tokens=9, reasoning_effort="low"), "provider_options": options}
    assert notices(message("user", "hi"), **both) == {
        ("provider_options.thinking", "kept"),
        ("provider_options.output_config.effort", "kept"),
    }


def test_system_messages_wherever_they_stand_are_one_prompt_and_the_move_is_named() -> None:
    cached = Message(role="developer", parts=(Text(text="b", cache=CacheMarker()),))
    given = (message("system", "a"), cached, message("user", "hi"), message("system", "c"))
    body = sent(*given)
    assert body["system"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b", **CACHED},
        {"type": "text", "text": "c"},
    ]
    assert [each["role"] for each in body["messages"]] == ["user"]
    assert notices(*given) == {("messages", "translated"), ("messages[1].role", "translated")}


def test_results_of_parallel_calls_go_in_one_message_and_before_the_users_words() -> None:
    results = [
        Message(
            role="tool",
            parts=(ToolResult(call_id=each, parts=(Text(text=each),)),),
            provider_data={"anthropic_messages": {each: 1}},
        )
        for each in "ab"
    ]
    mixed = user(Text(text="and?"), ToolResult(call_id="c"))
    assert sent(*results, mixed)["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "a"},
                {"type": "tool_result", "tool_use_id": "b", "content": "b"},
            ],
            "a": 1,
            "b": 1,
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c"}, {"type": "text", "text": "and?"}]},
    ]
    assert notices(*results, mixed) == {("messages", "translated"), ("messages[2].parts", "translated")}


def test_results_in_messages_of_the_tool_and_of_the_user_go_in_one_message_too() -> None:
    given = (Message(role="tool", parts=(ToolResult(call_id="a"),)), user(ToolResult(call_id="b")))
    assert [len(each["content"]) for each in sent(*given)["messages"]] == [2]


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (Media(media_type="image/*", url="https://x.org/a"), {"type": "image", "source": {"type": "url"}}),
        (
            Media(media_type="image/webp", url="data:image/png;base64,eA=="),
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "eA=="}},
        ),
        (Media(media_type="image/*", provider_data={"anthropic_messages": FILE}), {"type": "image", **FILE}),
        (
            Media(
                media_type="application/pdf",
                data=b"%PDF",
                name="a.pdf",
                cache=CacheMarker(),
                provider_data={"anthropic_messages": {"context": "c"}},
            ),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
                "title": "a.pdf",
                "context": "c",
                **CACHED,
            },
        ),
        (
            Media(media_type="application/pdf", url="https://x.org/a"),
            {"type": "document", "source": {"type": "url"}},
        ),
        (
            Media(media_type="text/markdown", data="# ä".encode()),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "# ä"}},
        ),
        (
            Media(media_type="application/octet-stream", provider_data={"anthropic_messages": FILE}),
            {"type": "document", **FILE},
        ),
        (
            Text(text="", provider_data={"anthropic_messages": {"block": {"type": "search_result", "x": 1}}}),
            {"type": "search_result", "x": 1},
        ),
    ],
)
def test_a_part_goes_in_the_block_that_the_dialect_has_for_it(part: Part, block: dict[str, Any]) -> None:
    if block.get("source") == {"type": "url"}:
        block = {**block, "source": {"type": "url", "url": "https://x.org/a"}}
    assert content(part) == [block]
    result = content(ToolResult(call_id="1", parts=(part,)), role="tool")  # type: ignore[arg-type]
    assert result == [{"type": "tool_result", "tool_use_id": "1", "content": [block]}]


@pytest.mark.parametrize(
    "given",
    [
        user(Media(media_type="image/png")),
        user(Media(media_type="audio/wav", data=b"x")),
        user(Media(media_type="video/mp4", url="https://x.org/a")),
        user(Media(media_type="text/plain", url="https://x.org/a")),
        user(Media(media_type="text/plain", data=b"\xff")),
        user(Media(media_type="application/zip", data=b"x")),
        user(Media(media_type="image/png", url="data:,x")),
        user(Reasoning(text="hm")),
        user(ToolCall(id="1", name="f", arguments="")),
        Message(role="assistant", parts=(Media(media_type="image/png", data=b"x"),)),
        Message(role="assistant", parts=(ToolResult(call_id="1"),)),
        Message(role="system", parts=(Media(media_type="image/png", data=b"x"),)),
        Message(role="tool", parts=(Text(text="for which call?"),)),
        Message(role="tool", parts=(ToolResult(call_id="1"), Text(text="and this"))),
        Message(role="tool"),
        message("user", "\ud800"),
        Message(role="assistant", parts=(ToolCall(id="1", name="f", arguments='{"a": "\ud800"}'),)),
    ],
)
def test_content_that_the_dialect_cannot_say_is_refused(given: Message) -> None:
    with pytest.raises(UnsupportedError):
        sent(given)


@pytest.mark.parametrize(
    "fields",
    [
        {"provider_options": {"odd": object()}},
        {"provider_options": {"betas": "one"}},
        {"provider_options": {"betas": 1}},
        {"provider_options": {"betas": [1]}},
        {"provider_options": {"betas": ["a\r\nx-api-key: b"]}},
        {"tool_choice": ToolChoice(mode="required")},
        {"tool_choice": ToolChoice(name="f")},
        {"tool_choice": ToolChoice(mode="none", name="f"), "tools": (Tool(name="f"),)},
        {"settings": Settings(temperature=float("nan"))},
    ],
)
def test_what_would_mean_something_else_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError):
        sent(message("user", "hi"), **fields)


@pytest.mark.parametrize(
    ("part", "noticed"),
    [
        (Media(media_type="image/png", data=b"x", url="https://x.org/a"), {("messages[0].parts[0].url", "dropped")}),
        (Media(media_type="image/png", url="https://x.org/a"), {("messages[0].parts[0].media_type", "dropped")}),
        (Media(media_type="image/png", data=b"x", name="a"), {("messages[0].parts[0].name", "dropped")}),
        (Media(media_type="image/png", url="data:image/png;base64,eA=="), {("messages[0].parts[0]", "translated")}),
        (Media(media_type="text/css", data=b"x"), {("messages[0].parts[0].media_type", "translated")}),
        (
            Media(media_type="image/png", provider_data={"anthropic_messages": FILE}),
            {("messages[0].parts[0].media_type", "dropped")},
        ),
        (
            Media(media_type="image/png", data=b"x", provider_data={"anthropic_messages": FILE}),
            {("messages[0].parts[0].provider_data.source", "dropped")},
        ),
        (
            Text(text="x", provider_data={"anthropic_messages": {"type": "y"}}),
            {("messages[0].parts[0].provider_data.type", "dropped")},
        ),
        (Text(text=" \n"), {("messages[0].parts[0]", "dropped"), ("messages", "dropped")}),
        (ToolResult(call_id="1"), {("messages[0].role", "translated")}),
    ],
)
def test_what_a_part_loses_is_named(part: Part, noticed: set[tuple[str, str]]) -> None:
    assert notices(user(part)) == noticed


@pytest.mark.parametrize(
    ("part", "block", "noticed"),
    [
        (ToolCall(id="1", name="f", arguments='{"a": 1}'), {"a": 1}, set()),
        (ToolCall(id="1", name="f", arguments=""), {}, {("messages[0].parts[0].arguments", "translated")}),
        (ToolCall(id="1", name="f", arguments=" {}"), {}, {("messages[0].parts[0].arguments", "translated")}),
        (
            ToolCall(id="1", name="f", arguments='{"a": '),
            {"INVALID_JSON": '{"a": '},
            {("messages[0].parts[0].arguments", "emulated")},
        ),
        (
            ToolCall(id="1", name="f", arguments="[1]"),
            {"INVALID_JSON": "[1]"},
            {("messages[0].parts[0].arguments", "emulated")},
        ),
    ],
)
def test_arguments_are_sent_as_an_object_whatever_they_are(
    part: ToolCall, block: dict[str, Any], noticed: set[tuple[str, str]]
) -> None:
    assert content(part, role="assistant")[0]["input"] == block
    assert notices(Message(role="assistant", parts=(part,))) == noticed


def test_reasoning_goes_back_only_where_it_came_in_this_dialect() -> None:
    foreign = Reasoning(text="x", signature="s", provider_data={"openai_chat": {"field": "reasoning"}})
    refused = Text(text="No.", refusal=True)
    given = Message(role="assistant", parts=(foreign, refused), name="bob")
    assert sent(given)["messages"] == [{"role": "assistant", "content": "No."}]
    assert notices(given) == {
        ("messages[0].parts[0]", "dropped"),
        ("messages[0].parts[1].refusal", "dropped"),
        ("messages[0].name", "dropped"),
    }


def test_options_never_replace_what_the_call_itself_says() -> None:
    options = {"model": "other", "messages": [], "stream": True, "temperature": 1, "metadata": {"user_id": "u"}}
    given: dict[str, Any] = {"settings": Settings(max_output_tokens=9, temperature=0.5), "provider_options": options}
    assert sent(message("user", "hi"), **given) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 9,
        "temperature": 1,
        "metadata": {"user_id": "u"},
    }
    assert notices(message("user", "hi"), **given) == {
        ("provider_options.model", "dropped"),
        ("provider_options.messages", "dropped"),
        ("provider_options.stream", "dropped"),
        ("provider_options.temperature", "kept"),
    }


@pytest.mark.parametrize(
    ("mode", "output", "sent_format", "noticed"),
    [
        ("native", OutputSpec(schema=PERSON), PERSON, set()),
        (
            "native",
            OutputSpec(schema=PERSON, name="person", strict=True, description="d"),
            PERSON,
            {("output.name", "dropped"), ("output.strict", "dropped"), ("output.description", "dropped")},
        ),
        ("native", OutputSpec(), None, {("output", "emulated")}),
        ("json", OutputSpec(schema=PERSON), None, {("output", "emulated")}),
        ("prompted", OutputSpec(schema=PERSON), None, {("output", "emulated")}),
    ],
)
def test_the_output_is_asked_for_as_the_profile_says(
    mode: Any, output: OutputSpec, sent_format: Any, noticed: set[tuple[str, str]]
) -> None:
    profile = Profile(output_mode=mode)
    config = sent(message("user", "hi"), profile=profile, output=output).get("output_config")
    assert config == (sent_format and {"format": {"type": "json_schema", "schema": sent_format}})
    assert notices(message("user", "hi"), profile=profile, output=output) == noticed


def test_what_the_provider_does_not_enforce_is_left_out_and_named() -> None:
    wire = encoded(
        profile=Profile(unenforced_keywords=("uniqueItems", "not"), string_limit=9), output=OutputSpec(schema=PERSON)
    )
    assert msgspec.json.decode(wire.body)["output_config"]["format"]["schema"]["properties"] == {
        "name": {"type": "string", "maxLength": 9},
        "tags": {"type": "array"},
    }
    assert [(notice.field, notice.fate) for notice in wire.notices] == [
        ("output.schema", "emulated"),
        ("output.schema", "translated"),
    ]


@pytest.mark.parametrize(
    ("choice", "parallel", "wire", "noticed"),
    [
        (ToolChoice(), None, {"type": "auto"}, set()),
        (ToolChoice(mode="none"), None, {"type": "none"}, set()),
        (ToolChoice(name="f"), None, {"type": "tool", "name": "f"}, set()),
        (
            ToolChoice(mode="required", name="f"),
            None,
            {"type": "tool", "name": "f"},
            {("tool_choice.mode", "translated")},
        ),
        (None, True, {"type": "auto", "disable_parallel_tool_use": False}, {("tool_choice", "translated")}),
        (ToolChoice(mode="none"), False, {"type": "none"}, {("settings.parallel_tool_calls", "dropped")}),
    ],
)
def test_a_choice_of_tools_says_too_whether_calls_may_be_parallel(
    choice: ToolChoice | None, parallel: bool | None, wire: dict[str, Any], noticed: set[tuple[str, str]]
) -> None:
    settings = Settings(max_output_tokens=9, parallel_tool_calls=parallel)
    fields: dict[str, Any] = {
        "tools": (Tool(name="f", parameters={"type": "object"}),),
        "tool_choice": choice,
        "settings": settings,
    }
    assert sent(message("user", "hi"), **fields)["tool_choice"] == wire
    assert notices(message("user", "hi"), **fields) == noticed


def test_what_the_dialect_has_no_setting_for_is_dropped_and_named() -> None:
    settings = Settings(
        max_output_tokens=9,
        seed=1,
        frequency_penalty=0.1,
        presence_penalty=0.1,
        logprobs=True,
        top_logprobs=2,
        parallel_tool_calls=True,
    )
    fields: dict[str, Any] = {"settings": settings, "tool_choice": ToolChoice()}
    assert sent(message("user", "hi"), **fields).keys() == {"model", "messages", "max_tokens"}
    assert notices(message("user", "hi"), **fields) == {
        ("settings.seed", "dropped"),
        ("settings.frequency_penalty", "dropped"),
        ("settings.presence_penalty", "dropped"),
        ("settings.logprobs", "dropped"),
        ("settings.top_logprobs", "dropped"),
        ("settings.parallel_tool_calls", "dropped"),
        ("tool_choice", "dropped"),
    }


def test_a_tool_without_parameters_has_an_empty_object_of_them() -> None:
    tools = (Tool(name="now"),)
    body = sent(message("user", "hi"), tools=tools)
    assert body["tools"] == [{"name": "now", "input_schema": {"type": "object", "properties": {}}}]
    assert notices(message("user", "hi"), tools=tools) == {("tools[0].parameters", "translated")}
