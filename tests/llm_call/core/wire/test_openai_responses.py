"""The Responses API towards providers: what goes out, and what the dialect cannot say."""

from typing import Any

import msgspec
import pytest

from llm_call.core.domain.errors import UnsupportedError
from llm_call.core.domain.messages import Media, Message, Part, Reasoning, Text, ToolCall, ToolResult, message
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool, ToolChoice
from llm_call.core.wire.openai_responses import OpenAIResponsesCodec

CODEC = OpenAIResponsesCodec()
PERSON = {"type": "object", "properties": {"name": {"type": "string"}, "tags": {"type": "array", "uniqueItems": True}}}
ENCRYPTED = Reasoning(
    text="hm", signature="gAAA", provider_data={"openai_responses": {"type": "summary_text", "id": "rs_1"}}
)
OPEN = Reasoning(text="hm", provider_data={"openai_responses": {"type": "reasoning_text", "id": "rs_1"}})


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


def assistant(*parts: Part) -> Message:
    return Message(role="assistant", parts=parts)


def test_a_request_of_every_field_is_sent_as_the_dialect_says() -> None:
    tool = Tool(name="add", description="Adds.", parameters={"type": "object"}, strict=True)
    body = sent(
        message("system", "Be brief."),
        user(Text(text="see"), Media(media_type="image/png", data=b"\x89PNG")),
        assistant(ENCRYPTED, Text(text="I add."), ToolCall(id="c1", name="add", arguments='{"a": 1}')),
        Message(role="tool", parts=(ToolResult(call_id="c1", parts=(Text(text="2"),)),)),
        stream=True,
        settings=Settings(
            max_output_tokens=50,
            temperature=0.0,
            logprobs=True,
            top_logprobs=2,
            reasoning_effort="low",
            parallel_tool_calls=False,
        ),
        tools=(tool, Tool(name="now")),
        tool_choice=ToolChoice(name="add"),
        output=OutputSpec(schema=PERSON, name="person", strict=True, description="Who."),
        provider_options={
            "reasoning": {"summary": "auto"},
            "text": {"verbosity": "low"},
            "include": ["x"],
            "user": "a",
        },
    )
    assert body == {
        "model": "m",
        "instructions": "Be brief.",
        "input": [
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "see"},
                    {"type": "input_image", "image_url": "data:image/png;base64,iVBORw==", "detail": "auto"},
                ],
            },
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "hm"}],
                "encrypted_content": "gAAA",
            },
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "I add.", "annotations": []}],
            },
            {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'},
            {"type": "function_call_output", "call_id": "c1", "output": "2"},
        ],
        "tools": [
            {
                "type": "function",
                "name": "add",
                "description": "Adds.",
                "parameters": {"type": "object"},
                "strict": True,
            },
            {"type": "function", "name": "now", "parameters": None},
        ],
        "max_output_tokens": 50,
        "temperature": 0.0,
        "top_logprobs": 2,
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low", "summary": "auto"},
        "tool_choice": {"type": "function", "name": "add"},
        "text": {
            "format": {
                "type": "json_schema",
                "name": "person",
                "schema": PERSON,
                "strict": True,
                "description": "Who.",
            },
            "verbosity": "low",
        },
        "store": False,
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs", "x"],
        "user": "a",
        "stream": True,
    }


def test_the_smallest_call_says_little_and_keeps_nothing_at_the_provider() -> None:
    request = Request(model="m", messages=(message("user", "hi"),))
    wire = CODEC.encode_request(request, stream=False, profile=Profile())
    assert (wire.path, wire.notices) == ("/responses", ())
    assert msgspec.json.decode(wire.body) == {
        "model": "m",
        "input": [{"type": "message", "role": "user", "content": "hi"}],
        "store": False,
    }


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({}, False),
        ({"settings": Settings(reasoning_effort="high")}, True),
        ({"provider_options": {"reasoning": {"summary": "auto"}}}, True),
        ({"messages": (assistant(ENCRYPTED), message("user", "and?"))}, True),
        ({"messages": (assistant(OPEN), message("user", "and?"))}, False),
    ],
)
def test_encrypted_reasoning_is_asked_for_where_the_request_shows_that_the_model_reasons(
    fields: dict[str, Any], asked: bool
) -> None:
    request = Request(**{"model": "m", "messages": (message("user", "hi"),), **fields})
    body = msgspec.json.decode(CODEC.encode_request(request, stream=False, profile=Profile()).body)
    assert ("reasoning.encrypted_content" in body.get("include", [])) is asked


def test_only_a_first_system_message_of_one_plain_text_becomes_the_instructions() -> None:
    extra = Message(role="system", parts=(Text(text="a"),), provider_data={"openai_responses": {"x": 1}})
    for given in ((message("system", "a"),), (extra, message("user", "b")), (message("developer", "a"), extra)):
        body = sent(*given)
        assert "instructions" not in body
        assert [item["role"] for item in body["input"]] == [each.role for each in given]
    body = sent(message("system", "a"), message("system", "b"))
    assert (body["instructions"], body["input"]) == ("a", [{"type": "message", "role": "system", "content": "b"}])


def test_media_go_in_the_part_that_the_dialect_has_for_them() -> None:
    body = sent(
        user(
            Media(media_type="image/*", url="https://x.org/a", provider_data={"openai_responses": {"detail": "low"}}),
            Media(media_type="image/*", provider_data={"openai_responses": {"file_id": "f1"}}),
            Media(media_type="application/pdf", data=b"abc", name="a.pdf"),
            Media(media_type="application/octet-stream", url="https://x.org/a.pdf"),
            Media(media_type="application/octet-stream", provider_data={"openai_responses": {"file_id": "f2"}}),
        )
    )
    assert body["input"][0]["content"] == [
        {"type": "input_image", "image_url": "https://x.org/a", "detail": "low"},
        {"type": "input_image", "file_id": "f1", "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,YWJj"},
        {"type": "input_file", "file_url": "https://x.org/a.pdf"},
        {"type": "input_file", "file_id": "f2"},
    ]


@pytest.mark.parametrize(
    "given",
    [
        user(Media(media_type="image/png")),
        user(Media(media_type="audio/wav", data=b"x")),
        user(Media(media_type="video/mp4", url="https://x.org/a.mp4")),
        user(Reasoning(text="hm")),
        user(ToolCall(id="1", name="f", arguments="")),
        Message(role="system", parts=(Media(media_type="image/png", data=b"x"),)),
        assistant(Media(media_type="image/png", data=b"x")),
        assistant(ToolResult(call_id="1")),
        Message(role="system", parts=(ToolResult(call_id="1"),)),
        Message(role="tool", parts=(Text(text="for which call?"),)),
        Message(role="tool"),
        message("user", "\ud800"),
    ],
)
def test_content_that_the_dialect_cannot_say_is_refused(given: Message) -> None:
    with pytest.raises(UnsupportedError):
        sent(given)


@pytest.mark.parametrize(
    "fields",
    [
        {"provider_options": {"background": True}},
        {"provider_options": {"odd": object()}},
        {"tool_choice": ToolChoice(mode="required")},
        {"tool_choice": ToolChoice(mode="none", name="f"), "tools": (Tool(name="f"),)},
        {"settings": Settings(temperature=float("nan"))},
    ],
)
def test_what_would_mean_something_else_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError):
        sent(message("user", "hi"), **fields)


def test_settings_that_the_dialect_has_no_field_for_are_named() -> None:
    settings = Settings(stop=("END",), seed=1, frequency_penalty=0.5, presence_penalty=0.5, logprobs=False)
    assert sent(message("user", "hi"), settings=settings).keys() == {"model", "input", "store"}
    assert notices(message("user", "hi"), settings=settings) == {
        ("settings.stop", "dropped"),
        ("settings.seed", "dropped"),
        ("settings.frequency_penalty", "dropped"),
        ("settings.presence_penalty", "dropped"),
        ("settings.logprobs", "translated"),
    }


def test_options_never_replace_what_the_call_itself_says_and_may_replace_settings() -> None:
    options = {
        "model": "other",
        "input": [],
        "messages": [],
        "stream": True,
        "stream_options": {"include_obfuscation": False},
        "temperature": 1,
        "store": True,
        "reasoning": {"effort": "high"},
        "top_k": 3,
    }
    settings = Settings(temperature=0.5, reasoning_effort="low")
    body = sent(message("user", "hi"), settings=settings, provider_options=options)
    assert body == {
        "model": "m",
        "input": [{"type": "message", "role": "user", "content": "hi"}],
        "temperature": 1,
        "reasoning": {"effort": "high"},
        "store": True,
        "include": ["reasoning.encrypted_content"],
        "top_k": 3,
    }
    assert notices(message("user", "hi"), settings=settings, provider_options=options) == {
        ("provider_options.model", "dropped"),
        ("provider_options.input", "dropped"),
        ("provider_options.messages", "dropped"),
        ("provider_options.stream", "dropped"),
        ("provider_options.stream_options", "dropped"),
        ("provider_options.temperature", "kept"),
        ("provider_options.reasoning", "kept"),
    }


def test_what_is_included_is_asked_for_once_and_log_probabilities_asked_for_by_option_are_named() -> None:
    settings, twice = Settings(reasoning_effort="low"), ["reasoning.encrypted_content", "x"]
    assert sent(settings=settings, provider_options={"include": twice})["include"] == twice
    assert notices(settings=settings, provider_options={"include": twice}) == {("provider_options.include", "kept")}
    assert not notices(provider_options={"include": twice})
    own = {"include": ["message.output_text.logprobs"]}
    assert sent(provider_options=own)["include"] == own["include"]
    assert notices(provider_options=own) == {("provider_options.include", "kept")}


def test_options_of_the_stream_pass_through() -> None:
    body = sent(message("user", "hi"), stream=True, provider_options={"stream_options": {"include_obfuscation": False}})
    assert (body["stream"], body["stream_options"]) == (True, {"include_obfuscation": False})


@pytest.mark.parametrize(
    ("mode", "schema", "sent_format", "noticed"),
    [
        ("native", None, {"type": "json_object"}, set()),
        ("native", PERSON, {"type": "json_schema", "name": "answer", "schema": PERSON}, set()),
        ("json", PERSON, {"type": "json_object"}, {("output", "emulated")}),
        ("json", None, {"type": "json_object"}, set()),
        ("prompted", PERSON, None, {("output", "emulated")}),
    ],
)
def test_the_output_is_asked_for_as_the_profile_says(
    mode: Any, schema: dict[str, Any] | None, sent_format: Any, noticed: set[tuple[str, str]]
) -> None:
    profile, output = Profile(output_mode=mode), OutputSpec(schema=schema)
    assert sent(message("user", "hi"), profile=profile, output=output).get("text", {}).get("format") == sent_format
    assert notices(message("user", "hi"), profile=profile, output=output) == noticed


def test_what_the_provider_does_not_enforce_is_left_out_and_named() -> None:
    profile = Profile(unenforced_keywords=("uniqueItems", "not"), string_limit=9)
    request = Request(model="m", messages=(), output=OutputSpec(schema=PERSON))
    wire = CODEC.encode_request(request, stream=False, profile=profile)
    assert msgspec.json.decode(wire.body)["text"]["format"]["schema"]["properties"] == {
        "name": {"type": "string", "maxLength": 9},
        "tags": {"type": "array"},
    }
    assert [(notice.field, notice.fate) for notice in wire.notices] == [
        ("output.schema", "emulated"),
        ("output.schema", "translated"),
    ]


def test_parts_of_the_assistant_keep_their_order_and_texts_of_one_item_share_it() -> None:
    first = {"item": {"phase": "commentary"}}
    body = sent(
        assistant(
            Text(text="a", provider_data={"openai_responses": first}),
            Text(text="b", provider_data={"openai_responses": first}),
            Text(text="c"),
            ToolCall(id="1", name="f", arguments="{}", provider_data={"openai_responses": {"namespace": "n"}}),
            Text(text="No.", refusal=True),
            OPEN,
        )
    )
    assert body["input"] == [
        {
            "type": "message",
            "role": "assistant",
            "phase": "commentary",
            "content": [
                {"type": "output_text", "text": "a", "annotations": []},
                {"type": "output_text", "text": "b", "annotations": []},
            ],
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "c", "annotations": []}],
        },
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}", "namespace": "n"},
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "hm"}],
        },
    ]


@pytest.mark.parametrize(
    ("part", "noticed"),
    [
        (ENCRYPTED, set()),
        (OPEN, set()),
        (Reasoning(text="hm", signature="s"), {("messages[0].parts[0]", "dropped")}),
        (
            Reasoning(text="hm", provider_data={"openai_chat": {"field": "reasoning"}}),
            {("messages[0].parts[0]", "dropped")},
        ),
        (
            Reasoning(text="hm", provider_data={"openai_responses": {"type": "summary_text", "id": "rs_1"}}),
            {("messages[0].parts[0]", "dropped"), ("provider_options.include", "emulated")},
        ),
        (
            Text(text="x", provider_data={"openai_responses": {"type": "y"}}),
            {("messages[0].parts[0].provider_data.type", "dropped")},
        ),
    ],
)
def test_what_an_assistants_turn_loses_is_named(part: Part, noticed: set[tuple[str, str]]) -> None:
    assert notices(assistant(part)) == noticed


@pytest.mark.parametrize(
    ("part", "noticed"),
    [
        (Media(media_type="image/png", data=b"x", url="https://x.org/a"), {("messages[0].parts[0].url", "dropped")}),
        (Media(media_type="image/png", url="https://x.org/a"), {("messages[0].parts[0].media_type", "dropped")}),
        (Media(media_type="image/png", data=b"x", name="a"), {("messages[0].parts[0].name", "dropped")}),
        (Media(media_type="image/png", url="data:image/png;base64,eA=="), {("messages[0].parts[0]", "translated")}),
        (
            Media(media_type="application/pdf", url="https://x.org/a.pdf"),
            {("messages[0].parts[0].media_type", "dropped")},
        ),
        (Media(media_type="text/plain", data=b"x"), {("messages[0].parts[0].name", "emulated")}),
        (
            Text(text="x", provider_data={"openai_responses": {"text": "y"}}),
            {("messages[0].parts[0].provider_data.text", "dropped")},
        ),
    ],
)
def test_what_a_part_loses_is_named(part: Text | Media, noticed: set[tuple[str, str]]) -> None:
    assert notices(user(part)) == noticed


def test_what_a_message_loses_is_named() -> None:
    named = Message(role="assistant", name="ann", parts=(Text(text="x"),), provider_data={"openai_responses": {"x": 1}})
    assert notices(named, message("assistant", "y"), Message(role="user"), assistant()) == {
        ("messages[0].name", "dropped"),
        ("messages[0].provider_data.x", "dropped"),
        ("messages", "translated"),
        ("messages[2].parts", "translated"),
        ("messages[3].parts", "translated"),
    }


def test_each_tool_result_becomes_an_item_before_the_users_words() -> None:
    image = Media(media_type="image/png", data=b"x")
    given = user(Text(text="and?"), ToolResult(call_id="1", parts=(image,), is_error=True), ToolResult(call_id="2"))
    assert sent(given)["input"] == [
        {
            "type": "function_call_output",
            "call_id": "1",
            "output": [{"type": "input_image", "image_url": "data:image/png;base64,eA==", "detail": "auto"}],
        },
        {"type": "function_call_output", "call_id": "2", "output": ""},
        {"type": "message", "role": "user", "content": "and?"},
    ]
    assert notices(given) == {
        ("messages", "translated"),
        ("messages[0].parts[1].is_error", "dropped"),
        ("messages[0].parts[2].parts", "translated"),
    }


def test_knobs_that_need_tools_are_dropped_without_them_and_named() -> None:
    fields: dict[str, Any] = {"tool_choice": ToolChoice(), "settings": Settings(parallel_tool_calls=False)}
    assert sent(message("user", "hi"), **fields).keys() == {"model", "input", "store"}
    assert notices(message("user", "hi"), **fields) == {
        ("tool_choice", "dropped"),
        ("settings.parallel_tool_calls", "dropped"),
    }
    named: dict[str, Any] = {"tools": (Tool(name="f"),), "tool_choice": ToolChoice(mode="required", name="f")}
    assert notices(**named) == {("tool_choice.mode", "translated")}


def test_reasoning_without_text_says_that_its_kind_is_lost() -> None:
    empty = Reasoning(text="", provider_data={"openai_responses": {"type": "reasoning_text"}})
    request = Request(model="m", messages=(message("user", "hi"), Message(role="assistant", parts=(empty,))))
    wire = OpenAIResponsesCodec().encode_request(request, stream=False, profile=Profile())
    assert [(notice.field, notice.fate) for notice in wire.notices] == [
        ("messages[1].parts[0].provider_data", "translated")
    ]
