from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from llm_call.core.domain.messages import CacheMarker, Media, Message, Text, ToolCall, ToolResult, message
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import Request, Tool
from llm_call.core.providers.registry import DialectName, codec
from llm_call.core.wire.anthropic_messages_server import AnthropicMessagesServerCodec
from llm_call.core.wire.base import ServerCodec, WireRequest
from llm_call.core.wire.caching import cache_field, take_marker
from llm_call.core.wire.openai_chat_server import OpenAIChatServerCodec

SHORT, LONG = CacheMarker(), CacheMarker(ttl="1h")
REQUEST = Request(
    model="m",
    messages=(
        Message(role="system", parts=(Text(text="Be brief.", cache=LONG),)),
        Message(role="user", parts=(Text(text="?", cache=SHORT), Media(media_type="image/png", data=b"x", cache=LONG))),
        Message(role="assistant", parts=(ToolCall(id="c", name="f", arguments="{}"),)),
        Message(role="tool", parts=(ToolResult(call_id="c", parts=(Text(text="2"),), cache=SHORT),)),
    ),
    tools=(Tool(name="f", parameters={"type": "object"}, cache=SHORT),),
)
PLACES = [
    "messages[0].parts[0].cache",
    "messages[1].parts[0].cache",
    "messages[1].parts[1].cache",
    "messages[3].parts[0].cache",
    "tools[0].cache",
]


def encoded(dialect: DialectName, profile: Profile) -> WireRequest:
    return codec(dialect).encode_request(REQUEST, stream=False, profile=profile)


@pytest.mark.parametrize(
    ("dialect", "server"),
    [("anthropic_messages", AnthropicMessagesServerCodec()), ("openai_chat", OpenAIChatServerCodec())],
)
def test_markers_go_out_and_come_back_where_they_are_taken(dialect: DialectName, server: ServerCodec) -> None:
    wire = encoded(dialect, Profile(cache_markers=True))
    request, _ = server.decode_request(wire.body)
    assert (request.messages, request.tools) == (REQUEST.messages, REQUEST.tools)
    assert wire.body.count(b'"cache_control":{"type":"ephemeral","ttl":"1h"}') == 2
    assert not [notice for notice in wire.notices if notice.fate == "dropped"]


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses", "gemini"])
def test_markers_are_left_out_with_a_notice_each_where_they_are_not(dialect: DialectName) -> None:
    wire = encoded(dialect, Profile())
    assert b"cache_control" not in wire.body
    assert [notice.field for notice in wire.notices if notice.fate == "dropped"] == PLACES
    plain = replace(REQUEST, messages=REQUEST.messages[:1])
    assert codec(dialect).encode_request(plain, stream=False, profile=Profile()).body.count(b"Be brief.") == 1


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_a_marker_on_a_message_of_the_chat_dialect_is_one_of_its_last_part(role: str) -> None:
    body = {"model": "m", "messages": [{"role": role, "content": "hi", "cache_control": {"type": "ephemeral"}}]}
    request, _ = OpenAIChatServerCodec().decode_request(msgspec.json.encode(body))
    assert request.messages[0].parts == (Text(text="hi", cache=SHORT),)
    assert not request.messages[0].provider_data


def test_a_marker_inside_of_a_function_is_one_of_its_tool() -> None:
    function = {"name": "f", "cache_control": {"type": "ephemeral", "ttl": "5m"}}
    body = {"model": "m", "messages": [], "tools": [{"type": "function", "function": function}]}
    request, _ = OpenAIChatServerCodec().decode_request(msgspec.json.encode(body))
    assert request.tools == (Tool(name="f", cache=CacheMarker(ttl="5m")),)


@pytest.mark.parametrize(
    "given", [{"type": "other"}, {"type": "ephemeral", "ttl": "2h"}, {"type": "ephemeral", "x": 1}, "yes", None, {}]
)
def test_what_is_no_marker_that_we_know_is_kept_as_it_is(given: Any) -> None:
    fields = {"cache_control": given}
    assert take_marker(fields) is None
    assert fields == {"cache_control": given}


@pytest.mark.parametrize("marker", [None, SHORT, LONG, CacheMarker(ttl="5m")])
def test_a_marker_is_read_as_it_was_written(marker: CacheMarker | None) -> None:
    fields = cache_field(marker)
    assert take_marker(fields) == marker
    assert not fields


def test_a_request_without_markers_is_sent_without_a_word() -> None:
    request = Request(model="m", messages=(message("user", "hi"),))
    assert not codec("openai_chat").encode_request(request, stream=False, profile=Profile()).notices
