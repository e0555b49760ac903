"""The Responses API towards clients."""

from typing import Any

import msgspec
import pytest

from llm_call.core.domain.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ContentFilteredError,
    ContextWindowExceededError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UnsupportedError,
)
from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart, fold
from llm_call.core.domain.messages import Media, Message, Reasoning, Text, ToolCall, ToolResult, message
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Settings, Tool, ToolChoice
from llm_call.core.domain.response import FinishReason, Response, Usage
from llm_call.core.wire.openai_chat import OpenAIChatCodec
from llm_call.core.wire.openai_responses import OpenAIResponsesCodec
from llm_call.core.wire.openai_responses_server import OpenAIResponsesServerCodec

SERVER = OpenAIResponsesServerCodec()


def body(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "m", "input": "hi", **fields})


def content(part: dict[str, Any]) -> bytes:
    return body(input=[{"role": "user", "content": [part]}])


@pytest.mark.parametrize(
    ("sent", "where"),
    [
        (b"", "truncated"),
        (b"{}", "`model`"),
        (b"[]", "object"),
        (b'{"model": "m", "input": [], "x": ' + b"[" * 100_000, "recursion"),
        (body(input=5), r"\$\.input"),
        (body(input=[5]), r"\$\.input\[0\]"),
        (body(input=[{"role": "robot", "content": "x"}]), r"\$\.input\[0\]\.role"),
        (body(input=[{"role": "user"}]), r"`content` - at `\$\.input\[0\]`"),
        (body(input=[{"role": "user", "content": 5}]), r"\$\.input\[0\]\.content"),
        (body(input=[{"content": "x"}]), r"`type` - at `\$\.input\[0\]`"),
        (body(input=[{"type": "item_reference", "id": "msg_1"}]), r"\$\.input\[0\]\.type"),
        (body(input=[{"type": "function_call", "name": "f", "arguments": ""}]), r"`call_id` - at `\$\.input\[0\]`"),
        (body(input=[{"type": "function_call_output", "call_id": "1"}]), r"`output` - at `\$\.input\[0\]`"),
        (body(input=[{"type": "function_call_output", "role": "assistant", "call_id": "1", "output": ""}]), r"role"),
        (body(input=[{"type": "reasoning", "summary": [5]}]), r"\$\.input\[0\]\.summary\[0\]"),
        (content({"type": "input_text"}), r"`text` - at `\$\.input\[0\]\.content\[0\]`"),
        (content({"type": "smell"}), r"content\[0\]\.type"),
        (content({"type": "input_image"}), r"content\[0\] has neither image_url nor file_id"),
        (content({"type": "input_image", "image_url": "data:x,y"}), r"\[0\]\.image_url is no base64 data URL"),
        (content({"type": "input_file"}), r"content\[0\] has none of"),
        (content({"type": "input_file", "file_data": "data:a/b;base64,?"}), r"\[0\]\.file_data is no base64"),
        (body(temperature="hot"), r"\$\.temperature"),
        (body(max_output_tokens=1.5), r"\$\.max_output_tokens"),
        (body(tools=[{"type": "function"}]), r"\$\.tools\[0\]\.name is missing"),
        (body(tool_choice={"type": "function", "name": "f", "colour": 1}), "colour"),
        (body(tool_choice="maybe"), r"\$\.tool_choice"),
        (body(tool_choice={"type": "function"}), r"\$\.tool_choice\.name is missing"),
        (body(text={"format": {"type": "json_schema"}}), r"\$\.text\.format needs a name and a schema"),
        (body(reasoning="much"), r"\$\.reasoning"),
    ],
)
def test_a_wrong_request_is_refused_with_its_place(sent: bytes, where: str) -> None:
    with pytest.raises(BadRequestError, match=where) as caught:
        SERVER.decode_request(sent)
    assert caught.value.status == 400


def test_every_setting_is_understood() -> None:
    request, stream = SERVER.decode_request(
        body(
            instructions="Be brief.",
            max_output_tokens=5,
            temperature=1,
            top_logprobs=2,
            include=["message.output_text.logprobs", "reasoning.encrypted_content", "file_search_call.results"],
            reasoning={"effort": "low", "summary": "auto"},
            text={"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"},
            tools=[{"type": "function", "name": "f", "parameters": None, "strict": None}],
            tool_choice={"type": "function", "name": "f"},
            parallel_tool_calls=False,
            stream=True,
            store=False,
            previous_response_id=None,
            user="ann",
        )
    )
    assert stream
    assert request.messages == (message("system", "Be brief."), message("user", "hi"))
    assert request.settings == Settings(
        max_output_tokens=5,
        temperature=1.0,
        logprobs=True,
        top_logprobs=2,
        reasoning_effort="low",
        parallel_tool_calls=False,
    )
    assert (request.tools, request.tool_choice) == ((Tool(name="f"),), ToolChoice(name="f"))
    assert request.output == OutputSpec(schema={}, name="n")
    assert request.provider_options == {
        "previous_response_id": None,
        "user": "ann",
        "reasoning": {"summary": "auto"},
        "text": {"verbosity": "low"},
        "include": ["file_search_call.results"],
    }


@pytest.mark.parametrize(
    ("fields", "output", "options"),
    [
        ({"text": {"format": {"type": "text"}}}, None, {}),
        ({"text": {"format": {"type": "json_object"}}}, OutputSpec(), {}),
        ({"store": True}, None, {"store": True}),
        ({"include": ["reasoning.encrypted_content"]}, None, {"include": ["reasoning.encrypted_content"]}),
    ],
)
def test_what_a_field_says_is_kept_where_it_is_not_implied(
    fields: dict[str, Any], output: OutputSpec | None, options: dict[str, Any]
) -> None:
    request, stream = SERVER.decode_request(body(**fields))
    assert (request.output, request.provider_options, stream) == (output, options, False)


def test_items_of_the_assistant_that_follow_each_other_are_one_message() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "2+2?", "x": 1}], "weight": 0},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "g", "status": "completed"},
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "phase": "commentary",
            "content": [{"type": "output_text", "text": "I add.", "annotations": [], "logprobs": []}],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "add", "arguments": "{}", "namespace": "n"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "file_id": "f"}], "x": 1},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    ]
    request, _ = SERVER.decode_request(body(input=items))
    image = Media(media_type="image/*", provider_data={"openai_responses": {"file_id": "f"}})
    assert request.messages == (
        Message(
            role="user",
            parts=(Text(text="2+2?", provider_data={"openai_responses": {"x": 1}}),),
            provider_data={"openai_responses": {"weight": 0}},
        ),
        Message(
            role="assistant",
            parts=(
                Reasoning(
                    text="", signature="g", provider_data={"openai_responses": {"type": "summary_text", "id": "rs_1"}}
                ),
                Text(text="I add.", provider_data={"openai_responses": {"item": {"phase": "commentary"}}}),
                ToolCall(id="c", name="add", arguments="{}", provider_data={"openai_responses": {"namespace": "n"}}),
            ),
        ),
        Message(
            role="tool", parts=(ToolResult(call_id="c", parts=(image,), provider_data={"openai_responses": {"x": 1}}),)
        ),
        Message(role="assistant", parts=(Text(text="No.", refusal=True),)),
    )


def test_an_answer_is_written_as_clients_expect_it() -> None:
    response = Response(
        id="r1",
        model="m",
        parts=(
            Reasoning(
                text="hm", signature="g", provider_data={"openai_responses": {"type": "summary_text", "id": "rs_9"}}
            ),
            Text(text="4"),
            ToolCall(id="a", name="f", arguments="{}"),
        ),
        finish_reason=FinishReason(unified="tool_calls", raw="tool_use"),
        usage=Usage(input_tokens=7, output_tokens=3, cached_input_tokens=2, reasoning_tokens=1),
        provider_data={
            "openai_responses": {"service_tier": "flex", "output": [{"type": "web_search_call"}], "usage": {"cost": 1}}
        },
    )
    assert msgspec.json.decode(SERVER.encode_response(response)) == {
        "id": "r1",
        "object": "response",
        "created_at": 0,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "model": "m",
        "service_tier": "flex",
        "output": [
            {
                "type": "reasoning",
                "id": "rs_9",
                "status": "completed",
                "summary": [{"type": "summary_text", "text": "hm"}],
                "encrypted_content": "g",
            },
            {
                "type": "message",
                "id": "msg_r1_1",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "4", "annotations": [], "logprobs": []}],
            },
            {
                "type": "function_call",
                "id": "fc_r1_2",
                "status": "completed",
                "call_id": "a",
                "name": "f",
                "arguments": "{}",
            },
            {"type": "web_search_call"},
        ],
        "usage": {
            "input_tokens": 7,
            "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
            "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": 10,
            "cost": 1,
        },
    }


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        (FinishReason(unified="stop", raw="end_turn"), "completed", None),
        (FinishReason(unified="tool_calls"), "completed", None),
        (FinishReason(unified="length", raw="max_tokens"), "incomplete", {"reason": "max_output_tokens"}),
        (FinishReason(unified="content_filter", raw="completed"), "completed", None),
        (FinishReason(unified="content_filter", raw="SAFETY"), "incomplete", {"reason": "content_filter"}),
        (FinishReason(unified="other", raw="eos"), "incomplete", {"reason": "eos"}),
        (FinishReason(unified="other"), "completed", None),
    ],
)
def test_a_finish_reason_is_said_in_words_that_clients_know(reason: FinishReason, status: str, details: Any) -> None:
    wire = msgspec.json.decode(SERVER.encode_response(Response(model="m", finish_reason=reason)))
    assert (wire["status"], wire["incomplete_details"]) == (status, details)


def test_an_answer_that_the_dialect_cannot_hold_is_refused() -> None:
    with pytest.raises(UnsupportedError):
        SERVER.encode_response(Response(model="m", parts=(Media(media_type="image/png", data=b"x"),)))


def events_of(stream: bytes) -> list[dict[str, Any]]:
    frames = [frame.split(b"\ndata: ") for frame in stream.split(b"\n\n")[:-1]]
    events = [msgspec.json.decode(data) for _, data in frames]
    assert [name.decode() for name, _ in frames] == [f"event: {event['type']}" for event in events]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def test_a_stream_is_written_event_by_event_and_says_what_the_whole_answer_says() -> None:
    encoder = SERVER.stream_encoder()
    reason = FinishReason(unified="tool_calls", raw="completed")
    events: tuple[Event, ...] = (
        ResponseStart(model="m", id="r1"),
        PartStart(
            index=2, part=Reasoning(text="", provider_data={"openai_responses": {"type": "summary_text", "id": "rs_9"}})
        ),
        PartDelta(index=2, text="hm"),
        PartEnd(index=2, signature="g"),
        PartStart(index=4, part=Text(text="")),
        PartStart(index=7, part=ToolCall(id="a", name="f", arguments="")),
        PartDelta(index=7, text="{}"),
        PartDelta(index=4, text="4"),
        PartEnd(index=7, provider_data={"openai_responses": {"namespace": "n"}}),
        PartEnd(index=4),
        ResponseEnd(finish_reason=reason, usage=Usage(input_tokens=1, output_tokens=2)),
    )
    written = events_of(b"".join(encoder.encode(event) for event in events))
    assert [(event["type"].removeprefix("response."), event.get("output_index")) for event in written] == [
        ("created", None),
        ("in_progress", None),
        ("output_item.added", 0),
        ("reasoning_summary_part.added", 0),
        ("reasoning_summary_text.delta", 0),
        ("reasoning_summary_text.done", 0),
        ("reasoning_summary_part.done", 0),
        ("output_item.done", 0),
        ("output_item.added", 1),
        ("content_part.added", 1),
        ("output_item.added", 2),
        ("function_call_arguments.delta", 2),
        ("output_text.delta", 1),
        ("function_call_arguments.done", 2),
        ("output_item.done", 2),
        ("output_text.done", 1),
        ("content_part.done", 1),
        ("output_item.done", 1),
        ("completed", None),
    ]
    ids: dict[int, set[str]] = {}
    for event in written:
        if "output_index" in event:
            ids.setdefault(event["output_index"], set()).add(event.get("item_id") or event["item"]["id"])
    assert ids == {0: {"rs_9"}, 1: {"msg_r1_1"}, 2: {"fc_r1_2"}}
    assert written[-1]["response"] == msgspec.json.decode(SERVER.encode_response(fold(events)))


def test_reasoning_that_says_nothing_and_raw_thoughts_have_no_summary_in_a_stream() -> None:
    encoder = SERVER.stream_encoder()
    events: tuple[Event, ...] = (
        PartStart(index=0, part=Reasoning(text="", provider_data={"openai_responses": {"type": "summary_text"}})),
        PartEnd(index=0, signature="g"),
        PartStart(index=1, part=Reasoning(text="h", provider_data={"openai_responses": {"type": "reasoning_text"}})),
        PartDelta(index=1, text="m"),
        PartEnd(index=1),
    )
    written = events_of(b"".join(encoder.encode(event) for event in events))
    assert [event["type"].removeprefix("response.") for event in written] == [
        "output_item.added",
        "output_item.done",
        "output_item.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "output_item.done",
    ]
    assert (written[1]["item"]["summary"], written[1]["item"]["encrypted_content"]) == ([], "g")
    assert written[-1]["item"]["content"] == [{"type": "reasoning_text", "text": "hm"}]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadRequestError("x", code="odd"), 400),
        (ContextWindowExceededError("x", code="exceed_context_size_error"), 400),
        (ContentFilteredError("x"), 400),
        (AuthenticationError("x"), 401),
        (PermissionDeniedError("x"), 403),
        (NotFoundError("x"), 404),
        (RateLimitError("x"), 429),
        (ServerError("x"), 502),
        (OverloadedError("x"), 503),
    ],
)
def test_an_error_of_a_provider_keeps_its_class_on_the_way(error: APIError, status: int) -> None:
    code, wire = SERVER.encode_error(error)
    assert code == status
    assert type(OpenAIResponsesCodec().decode_error(code, {}, wire)) is type(error)
    with pytest.raises(type(error)):
        OpenAIResponsesCodec().stream_decoder().feed(SERVER.stream_encoder().encode_error(error))


def test_an_error_in_a_stream_says_what_the_apis_own_event_says() -> None:
    (event,) = events_of(SERVER.stream_encoder().encode_error(BudgetExceededError("too much", hint="Wait.")))
    assert (event["type"], event["code"], event["message"], event["param"]) == (
        "error",
        "budget_exceeded",
        "too much Wait.",
        None,
    )


def test_tools_that_the_provider_runs_and_choices_of_several_go_back_as_they_came() -> None:
    tools = [{"type": "function", "name": "f", "parameters": None}, {"type": "web_search", "filters": {"x": 1}}]
    choice = {"type": "allowed_tools", "mode": "auto", "tools": tools[1:]}
    request, _ = SERVER.decode_request(body(tools=tools, tool_choice=choice))
    assert request.tools == (Tool(name="f"),)
    wire = OpenAIResponsesCodec().encode_request(request, stream=False, profile=Profile())
    sent = msgspec.json.decode(wire.body)
    assert (sent["tools"], sent["tool_choice"]) == (tools, choice)
    elsewhere = OpenAIChatCodec().encode_request(request, stream=False, profile=Profile())
    named = {notice.field for notice in elsewhere.notices if notice.fate == "dropped"}
    assert {"provider_options.tools", "provider_options.tool_choice"} <= named


def test_an_unknown_finish_reason_is_a_completed_answer() -> None:
    answer = msgspec.json.decode(SERVER.encode_response(Response(model="m")))
    assert (answer["status"], answer["incomplete_details"]) == ("completed", None)


def test_the_usage_has_every_number_that_the_vendors_types_demand() -> None:
    known = Response(model="m", usage=Usage(input_tokens=2, output_tokens=3))
    assert msgspec.json.decode(SERVER.encode_response(known))["usage"] == {
        "input_tokens": 2,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 5,
    }
    half_known = Response(model="m", usage=Usage(output_tokens=3))
    assert msgspec.json.decode(SERVER.encode_response(half_known))["usage"] is None


def test_the_pieces_of_a_text_have_their_list_of_logprobs() -> None:
    encoder = SERVER.stream_encoder()
    events = (PartStart(index=0, part=Text(text="")), PartDelta(index=0, text="hi"), PartEnd(index=0))
    written = events_of(b"".join(encoder.encode(event) for event in events))
    assert [event["logprobs"] for event in written if "output_text" in event["type"]] == [[], []]


def test_the_arguments_that_are_done_say_whose_they_are() -> None:
    encoder = SERVER.stream_encoder()
    events = (PartStart(index=0, part=ToolCall(id="c", name="f", arguments="{}")), PartEnd(index=0))
    written = events_of(b"".join(encoder.encode(event) for event in events))
    assert [event["name"] for event in written if event["type"].endswith("arguments.done")] == ["f"]
