"""Google's dialect towards providers: what goes out, and what the dialect cannot say."""

from typing import Any

import msgspec
import pytest

from llm_call.core.domain.errors import UnsupportedError
from llm_call.core.domain.messages import Media, Message, Part, Reasoning, Text, ToolCall, ToolResult, message
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool, ToolChoice
from llm_call.core.wire.gemini import GeminiCodec

CODEC = GeminiCodec()
PERSON = {"type": "object", "properties": {"name": {"type": "string"}, "tags": {"type": "array", "uniqueItems": True}}}
CALL = ToolCall(id="c1", name="add", arguments='{"a": 1.0}')
TOOL = Tool(name="f")


def sent(*messages: Message, model: str = "gemini-3-flash", profile: Profile | None = None, **fields: Any) -> Any:
    request = Request(model=model, messages=messages, **fields)
    wire = CODEC.encode_request(request, stream=False, profile=profile or Profile())
    return msgspec.json.decode(wire.body)


def notices(
    *messages: Message, model: str = "m", profile: Profile | None = None, **fields: Any
) -> set[tuple[str, str]]:
    request = Request(model=model, messages=messages, **fields)
    wire = CODEC.encode_request(request, stream=False, profile=profile or Profile())
    return {(notice.field, notice.fate) for notice in wire.notices}


def config(**fields: Any) -> Any:
    return sent(message("user", "hi"), **fields).get("generationConfig")


def user(*parts: Part) -> Message:
    return Message(role="user", parts=parts)


def assistant(*parts: Part) -> Message:
    return Message(role="assistant", parts=parts)


def result(call_id: str, *parts: Text | Media, **fields: Any) -> Message:
    return Message(role="tool", parts=(ToolResult(call_id=call_id, parts=parts, **fields),))


def test_a_request_of_every_field_is_sent_as_the_dialect_says() -> None:
    tool = Tool(name="add", description="Adds.", parameters={"type": "object", "allOf": []})
    body = sent(
        message("system", "Be brief."),
        user(Text(text="see"), Media(media_type="image/png", data=b"\x89PNG")),
        assistant(CALL),
        result("c1", Text(text="2")),
        settings=Settings(
            max_output_tokens=5,
            temperature=0.0,
            top_p=0.5,
            stop=("END",),
            seed=1,
            frequency_penalty=0.1,
            presence_penalty=0.2,
            logprobs=True,
            top_logprobs=2,
            reasoning_effort="low",
        ),
        tools=(tool,),
        tool_choice=ToolChoice(name="add"),
        output=OutputSpec(schema={"type": "object"}),
        provider_options={"safetySettings": [], "generationConfig": {"topK": 3}},
    )
    assert body == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {
                "role": "user",
                "parts": [{"text": "see"}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}}],
            },
            {"role": "model", "parts": [{"functionCall": {"name": "add", "args": {"a": 1.0}, "id": "c1"}}]},
            {
                "role": "user",
                "parts": [{"functionResponse": {"name": "add", "response": {"output": "2"}, "id": "c1"}}],
            },
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "add",
                        "description": "Adds.",
                        "parametersJsonSchema": {"type": "object", "allOf": []},
                    }
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["add"]}},
        "generationConfig": {
            "maxOutputTokens": 5,
            "temperature": 0.0,
            "topP": 0.5,
            "stopSequences": ["END"],
            "seed": 1,
            "frequencyPenalty": 0.1,
            "presencePenalty": 0.2,
            "responseLogprobs": True,
            "logprobs": 2,
            "thinkingConfig": {"thinkingLevel": "low"},
            "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "object"},
            "topK": 3,
        },
        "safetySettings": [],
    }


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        ("gemini-3-pro-preview", False, "/models/gemini-3-pro-preview:generateContent"),
        ("gemini-2.5-flash", True, "/models/gemini-2.5-flash:streamGenerateContent?alt=sse"),
        ("models/gemma-3@001", False, "/models/gemma-3@001:generateContent"),
    ],
)
def test_the_model_and_the_way_of_answering_stand_in_the_path(model: str, stream: bool, path: str) -> None:
    request = Request(model=model, messages=(message("user", "hi"),))
    wire = CODEC.encode_request(request, stream=stream, profile=Profile())
    assert (wire.path, wire.stream) == (path, stream)
    assert msgspec.json.decode(wire.body) == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


@pytest.mark.parametrize(
    "model",
    [
        *("", ".", "..", "../files", "a/b", "a/../b", "models/", "models/models/a", "\\a", "http://x.org"),
        *("a:countTokens", "a?key=x", "a#b", "a%2Fb", "a b", "a\n", "a\x00", "ä", "a\u2215b", "@a", "-a"),
    ],
)
def test_a_model_that_could_change_the_path_is_refused(model: str) -> None:
    with pytest.raises(UnsupportedError, match="cannot stand in a path"):
        sent(model=model)


# Messages


def test_system_and_developer_messages_go_into_the_system_instruction() -> None:
    given = (
        message("system", "a"),
        message("user", "hi"),
        Message(role="developer", parts=(Text(text="b"), Text(text="c")), provider_data={"gemini": {"x": 1}}),
    )
    assert sent(*given) == {
        "systemInstruction": {"parts": [{"text": "a"}, {"text": "b"}, {"text": "c"}]},
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
    }
    assert notices(*given) == {
        ("messages", "translated"),
        ("messages[2].role", "translated"),
        ("messages[2].provider_data", "dropped"),
    }


def test_results_that_follow_each_other_go_into_one_content_and_name_their_functions() -> None:
    given = (
        assistant(CALL, ToolCall(id="c2", name="sub", arguments="{}"), ToolCall(id="c3", name="see", arguments="")),
        result("c2", Text(text="a"), Text(text="b"), is_error=True),
        result("c1"),
        result("c3", Media(media_type="image/png", data=b"x"), Text(text="seen")),
        message("user", "and?"),
    )
    assert [content["role"] for content in sent(*given)["contents"]] == ["model", "user", "user"]
    assert sent(*given)["contents"][1]["parts"] == [
        {"functionResponse": {"name": "sub", "response": {"error": "a\n\nb"}, "id": "c2"}},
        {"functionResponse": {"name": "add", "response": {"output": ""}, "id": "c1"}},
        {
            "functionResponse": {
                "name": "see",
                "response": {"output": "seen"},
                "id": "c3",
                "parts": [{"inlineData": {"mimeType": "image/png", "data": "eA=="}}],
            }
        },
    ]
    assert notices(*given) == {
        ("messages", "translated"),
        ("messages[0].parts[2].arguments", "translated"),
        ("messages[1].parts[0].parts", "translated"),
        ("messages[2].parts[0].parts", "translated"),
        ("messages[3].parts[0].parts", "translated"),
    }


def test_a_result_without_its_call_takes_the_functions_name_from_the_message() -> None:
    given = Message(role="tool", name="add", parts=(ToolResult(call_id="c9", parts=(Text(text="2"),)),))
    assert sent(given)["contents"][0]["parts"][0]["functionResponse"]["name"] == "add"
    assert not notices(given)
    said = (ToolResult(call_id="c1", parts=(Text(text="2"),)),)
    assert not notices(assistant(CALL), Message(role="tool", name="add", parts=said))
    assert notices(assistant(CALL), Message(role="tool", name="ann", parts=said)) == {("messages[1].name", "dropped")}


def test_a_call_and_its_result_may_share_a_users_message_with_words() -> None:
    mixed = user(ToolResult(call_id="c1", parts=(Text(text="2"),)), Text(text="go on"))
    assert [*sent(assistant(CALL), mixed)["contents"][1]["parts"][1]] == ["text"]


def test_an_id_that_was_made_up_is_sent_neither_with_the_call_nor_with_its_result() -> None:
    call = ToolCall(id="call_0", name="f", arguments="{}", provider_data={"gemini": {"functionCall": {"id": None}}})
    contents = sent(assistant(call), result("call_0", Text(text="1")))["contents"]
    assert contents[0]["parts"] == [{"functionCall": {"name": "f", "args": {}}}]
    assert contents[1]["parts"] == [{"functionResponse": {"name": "f", "response": {"output": "1"}}}]


def test_where_ids_come_again_the_latest_call_before_a_result_is_meant() -> None:
    first, second = (ToolCall(id="call_0", name=name, arguments="{}") for name in ("f", "g"))
    contents = sent(assistant(first), result("call_0"), assistant(second), result("call_0"))["contents"]
    assert [contents[at]["parts"][0]["functionResponse"]["name"] for at in (1, 3)] == ["f", "g"]


def test_arguments_go_out_byte_by_byte_as_the_model_wrote_them() -> None:
    text = '{"big": 123456789012345678901234567890, "tiny":1.10,\n "a":1e5}'
    request = Request(model="m", messages=(assistant(ToolCall(id="1", name="f", arguments=text)),))
    assert text.encode() in CODEC.encode_request(request, stream=False, profile=Profile()).body


def test_thoughts_and_signatures_go_back_where_they_were() -> None:
    given = assistant(
        Reasoning(text="hm", signature="s1", provider_data={"gemini": {"thought": True}}),
        Text(text="so", provider_data={"gemini": {"thoughtSignature": "s2"}}),
        ToolCall(id="c", name="f", arguments="{}", provider_data={"gemini": {"thoughtSignature": "s3"}}),
        Media(media_type="image/png", data=b"x", provider_data={"gemini": {"thoughtSignature": "s4"}}),
        Text(text="", provider_data={"gemini": {"thoughtSignature": "s5"}}),
        Text(text="", provider_data={"gemini": {"executableCode": {"code": "1"}, "thoughtSignature": "s6"}}),
    )
    assert sent(given)["contents"][0]["parts"] == [
        {"text": "hm", "thought": True, "thoughtSignature": "s1"},
        {"thoughtSignature": "s2", "text": "so"},
        {"thoughtSignature": "s3", "functionCall": {"name": "f", "args": {}, "id": "c"}},
        {"thoughtSignature": "s4", "inlineData": {"mimeType": "image/png", "data": "eA=="}},
        {"thoughtSignature": "s5", "text": ""},
        {"executableCode": {"code": "1"}, "thoughtSignature": "s6"},
    ]
    assert not notices(given)


def test_media_go_in_the_part_that_the_dialect_has_for_them() -> None:
    given = user(
        Media(
            media_type="application/pdf", data=b"abc", provider_data={"gemini": {"inlineData": {"displayName": "a"}}}
        ),
        Media(media_type="video/mp4", url="https://x.org/v", provider_data={"gemini": {"videoMetadata": {"fps": 1}}}),
        Media(media_type="image/*", url="gs://bucket/a"),
        Media(media_type="image/*", url="data:image/gif;base64,eA=="),
    )
    assert sent(given)["contents"][0]["parts"] == [
        {"inlineData": {"displayName": "a", "mimeType": "application/pdf", "data": "YWJj"}},
        {"videoMetadata": {"fps": 1}, "fileData": {"fileUri": "https://x.org/v", "mimeType": "video/mp4"}},
        {"fileData": {"fileUri": "gs://bucket/a"}},
        {"inlineData": {"mimeType": "image/gif", "data": "eA=="}},
    ]


@pytest.mark.parametrize(
    "given",
    [
        user(Media(media_type="image/png")),
        user(Media(media_type="image/svg+xml", url="data:image/svg+xml,<svg/>")),
        user(Reasoning(text="hm", provider_data={"gemini": {"thought": True}})),
        user(CALL),
        assistant(ToolResult(call_id="1")),
        assistant(ToolCall(id="1", name="f", arguments="[1]")),
        assistant(ToolCall(id="1", name="f", arguments='{"a": ')),
        assistant(ToolCall(id="1", name="f", arguments='{"a": NaN}')),
        Message(role="system", parts=(Media(media_type="image/png", data=b"x"),)),
        Message(role="tool", parts=(Text(text="for which call?"),)),
        Message(role="tool"),
        result("nobody asked"),
        message("user", "\ud800"),
        user(Text(text="x", provider_data={"gemini": {"odd": object()}})),
    ],
)
def test_content_that_the_dialect_cannot_say_is_refused(given: Message) -> None:
    with pytest.raises(UnsupportedError):
        sent(given)


@pytest.mark.parametrize(
    ("given", "noticed"),
    [
        (Message(role="user", name="ann", parts=(Text(text="x"),)), {("messages[0].name", "dropped")}),
        (user(), {("messages[0].parts", "translated")}),
        (assistant(Reasoning(text="hm", signature="s"), Text(text="x")), {("messages[0].parts[0]", "dropped")}),
        (
            assistant(Text(text="no", refusal=True)),
            {("messages[0].parts[0].refusal", "dropped")},
        ),
        (
            user(Text(text="x", provider_data={"gemini": {"text": "y"}})),
            {("messages[0].parts[0].provider_data.text", "dropped")},
        ),
        (
            Message(role="user", parts=(Text(text="x"),), provider_data={"gemini": {"role": "y"}}),
            {("messages[0].provider_data.role", "dropped")},
        ),
        (
            user(Media(media_type="image/png", data=b"x", url="https://x.org/a", name="a")),
            {("messages[0].parts[0].url", "dropped"), ("messages[0].parts[0].name", "dropped")},
        ),
        (
            user(Media(media_type="image/png", data=b"x", provider_data={"gemini": {"inlineData": {"data": "y"}}})),
            {("messages[0].parts[0].provider_data.inlineData.data", "dropped")},
        ),
    ],
)
def test_what_a_message_loses_is_named(given: Message, noticed: set[tuple[str, str]]) -> None:
    assert notices(given) == noticed


def test_what_another_dialect_thought_leaves_no_trace() -> None:
    assert sent(assistant(Reasoning(text="hm", signature="s"), Text(text="4")))["contents"] == [
        {"role": "model", "parts": [{"text": "4"}]}
    ]


# Tools and settings


NAMED = {("tool_choice.mode", "translated")}


@pytest.mark.parametrize(
    ("choice", "strict", "calling", "noticed"),
    [
        (None, None, None, set()),
        (ToolChoice(), None, {"mode": "AUTO"}, set()),
        (ToolChoice(mode="none"), None, {"mode": "NONE"}, set()),
        (ToolChoice(mode="required"), None, {"mode": "ANY"}, set()),
        (ToolChoice(mode="required", name="f"), None, {"mode": "ANY", "allowedFunctionNames": ["f"]}, NAMED),
        (ToolChoice(name="f"), None, {"mode": "ANY", "allowedFunctionNames": ["f"]}, set()),
        (None, True, {"mode": "VALIDATED"}, {("tools[0].strict", "translated")}),
        (
            ToolChoice(),
            True,
            {"mode": "VALIDATED"},
            {("tools[0].strict", "translated"), ("tool_choice", "translated")},
        ),
        (ToolChoice(mode="required"), True, {"mode": "ANY"}, {("tools[0].strict", "translated")}),
        (ToolChoice(mode="none"), True, {"mode": "NONE"}, {("tools[0].strict", "dropped")}),
        (None, False, None, {("tools[0].strict", "dropped")}),
    ],
)
def test_the_choice_and_the_strictness_of_tools_are_one_mode(
    choice: ToolChoice | None, strict: bool | None, calling: Any, noticed: set[tuple[str, str]]
) -> None:
    fields: dict[str, Any] = {"tools": (Tool(name="f", strict=strict),), "tool_choice": choice}
    body = sent(message("user", "hi"), **fields)
    assert body.get("toolConfig", {}).get("functionCallingConfig") == calling
    assert notices(message("user", "hi"), **fields) == noticed


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "noticed"),
    [
        ("gemini-3-flash", "minimal", {"thinkingLevel": "minimal"}, set()),
        ("gemini-3-flash", "high", {"thinkingLevel": "high"}, set()),
        ("gemini-3-flash", "ultra", {"thinkingLevel": "ultra"}, set()),
        ("gemini-3-flash", "none", {"thinkingLevel": "minimal"}, {"translated"}),
        ("gemini-3-flash", "xhigh", {"thinkingLevel": "high"}, {"translated"}),
        ("gemini-2.5-pro", "low", {"thinkingBudget": 1024}, {"translated"}),
        ("models/gemini-2.5-flash", "none", {"thinkingBudget": 0}, {"translated"}),
        ("gemini-2.5-pro", "xhigh", None, {"dropped"}),
    ],
)
def test_the_effort_of_reasoning_is_a_level_or_for_older_models_a_budget(
    model: str, effort: str, thinking: Any, noticed: set[str]
) -> None:
    settings = Settings(reasoning_effort=effort)
    assert (config(model=model, settings=settings) or {}).get("thinkingConfig") == thinking
    assert notices(model=model, settings=settings) == {("settings.reasoning_effort", fate) for fate in noticed}


@pytest.mark.parametrize(
    ("fields", "noticed"),
    [
        ({"tool_choice": ToolChoice()}, {("tool_choice", "dropped")}),
        ({"settings": Settings(parallel_tool_calls=True)}, {("settings.parallel_tool_calls", "dropped")}),
        (
            {"settings": Settings(parallel_tool_calls=True), "tools": (TOOL,)},
            {("settings.parallel_tool_calls", "translated")},
        ),
        (
            {"settings": Settings(parallel_tool_calls=False), "tools": (TOOL,)},
            {("settings.parallel_tool_calls", "dropped")},
        ),
    ],
)
def test_a_knob_that_the_dialect_has_not_is_named(fields: dict[str, Any], noticed: set[tuple[str, str]]) -> None:
    assert notices(message("user", "hi"), **fields) == noticed


@pytest.mark.parametrize(
    "fields",
    [
        {"provider_options": {"generationConfig": {"candidateCount": 2}}},
        {"provider_options": {"odd": object()}},
        {"tool_choice": ToolChoice(mode="required")},
        {"tool_choice": ToolChoice(mode="none", name="f"), "tools": (TOOL,)},
        {"settings": Settings(temperature=float("nan"))},
    ],
)
def test_what_would_mean_something_else_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError):
        sent(message("user", "hi"), **fields)


def test_options_never_replace_what_the_call_itself_says() -> None:
    ours = {"model": "x", "contents": [], "systemInstruction": {}, "system_instruction": {}, "stream": True, "alt": "x"}
    assert sent(message("user", "hi"), provider_options=ours).keys() == {"contents"}
    assert notices(provider_options=ours) == {(f"provider_options.{name}", "dropped") for name in ours}


def test_options_are_laid_over_the_requests_own_fields_one_by_one() -> None:
    search: dict[str, Any] = {"googleSearch": {}}
    options = {
        "generationConfig": {"temperature": 1, "topK": 3, "candidateCount": 1},
        "toolConfig": {"functionCallingConfig": {"streamFunctionCallArguments": False}, "includeX": True},
        "tools": [search],
        "cachedContent": "cachedContents/c",
    }
    fields: dict[str, Any] = {
        "settings": Settings(temperature=0.5, top_p=0.5),
        "tools": (TOOL,),
        "tool_choice": ToolChoice(),
        "provider_options": options,
    }
    body = sent(message("user", "hi"), **fields)
    assert body["generationConfig"] == {"temperature": 1, "topP": 0.5, "topK": 3, "candidateCount": 1}
    assert body["toolConfig"] == {
        "functionCallingConfig": {"mode": "AUTO", "streamFunctionCallArguments": False},
        "includeX": True,
    }
    assert body["tools"] == [{"functionDeclarations": [{"name": "f"}]}, search]
    assert body["cachedContent"] == "cachedContents/c"
    assert notices(message("user", "hi"), **fields) == {
        ("provider_options.generationConfig.temperature", "kept"),
        ("provider_options.tools", "kept"),
    }


# The form of the answer


@pytest.mark.parametrize(
    ("mode", "output", "asked", "noticed"),
    [
        ("native", OutputSpec(), {"responseMimeType": "application/json"}, set()),
        ("native", OutputSpec(name="p"), {"responseMimeType": "application/json"}, {("output", "dropped")}),
        (
            "native",
            OutputSpec(schema={"type": "object"}, name="p", strict=True, description="Who."),
            {
                "responseMimeType": "application/json",
                "responseJsonSchema": {"type": "object", "description": "Who."},
            },
            {("output.name", "dropped"), ("output.strict", "translated"), ("output.description", "translated")},
        ),
        (
            "native",
            OutputSpec(schema={"description": "It."}, strict=False, description="Who."),
            {"responseMimeType": "application/json", "responseJsonSchema": {"description": "It."}},
            {("output.strict", "dropped"), ("output.description", "dropped")},
        ),
        ("json", OutputSpec(schema=PERSON), {"responseMimeType": "application/json"}, {("output", "emulated")}),
        ("json", OutputSpec(), {"responseMimeType": "application/json"}, set()),
        ("prompted", OutputSpec(schema=PERSON), None, {("output", "emulated")}),
    ],
)
def test_the_output_is_asked_for_as_the_profile_says(
    mode: Any, output: OutputSpec, asked: Any, noticed: set[tuple[str, str]]
) -> None:
    assert config(profile=Profile(output_mode=mode), output=output) == asked
    assert notices(profile=Profile(output_mode=mode), output=output) == noticed


def test_what_the_dialect_and_the_profile_do_not_enforce_is_left_out_and_named() -> None:
    profile = Profile(unenforced_keywords=("minItems",), string_limit=9)
    schema = {
        "properties": {"name": {"type": "string"}, "tags": {"minItems": 1, "uniqueItems": True}, "k": {"const": 1}}
    }
    request = Request(model="m", messages=(), output=OutputSpec(schema=schema))
    wire = CODEC.encode_request(request, stream=False, profile=profile)
    assert msgspec.json.decode(wire.body)["generationConfig"]["responseJsonSchema"]["properties"] == {
        "name": {"type": "string", "maxLength": 9},
        "tags": {},
        "k": {"enum": [1]},
    }
    assert [(notice.fate, notice.message.split(" ")[0]) for notice in wire.notices] == [
        ("emulated", "`minItems`"),
        ("emulated", "`uniqueItems`"),
        ("translated", "`const`"),
        ("translated", "1"),
    ]


def test_several_system_messages_become_one_and_an_empty_one_none_with_a_notice() -> None:
    first, second = message("system", "a"), message("system", "b")
    assert sent(first, second, message("user", "hi"))["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "b"}]}
    assert notices(first, second, message("user", "hi")) == {("messages", "translated")}
    assert notices(Message(role="system"), message("user", "hi")) == {("messages", "dropped")}


def test_results_alone_in_a_users_message_and_space_around_arguments_are_named() -> None:
    call = ToolCall(id="c1", name="add", arguments=' {"a": 1}\n')
    given = (assistant(call), user(ToolResult(call_id="c1", parts=(Text(text="2"),))))
    assert notices(*given) == {("messages[0].parts[0].arguments", "translated"), ("messages[1].role", "translated")}
