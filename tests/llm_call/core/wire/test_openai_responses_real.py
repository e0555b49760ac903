"""The Responses API against a real server of it: llama.cpp's own HTTP server, with the embedded model.

What that server leaves out is as telling as what it has: its events have no sequence numbers and no places in the
output, the model is named in the last of them only, `text.format` is ignored (`response_format` is heeded), and an
answer that `max_output_tokens` cut off calls itself completed.
"""

import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from llm_call.core.domain.errors import BadRequestError, ContextWindowExceededError
from llm_call.core.domain.events import PartDelta, ResponseStart, fold
from llm_call.core.domain.messages import Message, Reasoning, Text, ToolCall, ToolResult, message
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import Request, Settings, Tool
from llm_call.core.transport.model_file import find_model
from llm_call.core.wire.base import WireRequest
from llm_call.core.wire.openai_responses import OpenAIResponsesCodec

pytestmark = pytest.mark.model

CODEC = OpenAIResponsesCodec()
HI = message("user", "Say hello.")
PERSON = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "age"],
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    xllamacpp = pytest.importorskip("xllamacpp")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(find_model(None, ""))
    parameters.n_ctx, parameters.n_parallel, parameters.n_gpu_layers = 512, 1, 0
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.port, parameters.hostnames, parameters.verbosity = 0, ["127.0.0.1"], -1
    parameters.use_jinja = parameters.offline = parameters.no_extra_bufts = True
    parameters.cache_prompt = parameters.ui = False
    server = xllamacpp.Server(parameters)
    yield f"{server.listening_address}/v1"
    del server


def asked(*messages: Message, stream: bool = False, **fields: Any) -> WireRequest:
    options = {"cache_prompt": False, **fields.pop("provider_options", {})}
    settings = Settings(max_output_tokens=fields.pop("limit", 8), temperature=0.0)
    request = Request(model="m", messages=messages, settings=settings, provider_options=options, **fields)
    return CODEC.encode_request(request, stream=stream, profile=Profile())


def post(address: str, wire: WireRequest) -> bytes:
    request = urllib.request.Request(address + wire.path, data=wire.body, headers=dict(wire.headers))  # noqa: S310  # our own server's
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as reply:
            body: bytes = reply.read()
            return body
    except urllib.error.HTTPError as error:
        with error:
            raise CODEC.decode_error(error.code, {}, error.read()) from None


def test_a_plain_answer_is_read(address: str) -> None:
    response = CODEC.decode_response(post(address, asked(message("system", "Be brief."), HI)))
    assert response.text
    assert response.id
    assert response.model
    assert (response.finish_reason.unified, response.finish_reason.raw) == ("stop", "completed")
    assert response.usage.input_tokens
    assert response.usage.output_tokens == 8
    assert not response.provider_data


def test_a_streamed_answer_is_the_plain_one_in_pieces(address: str) -> None:
    plain = CODEC.decode_response(post(address, asked(HI)))
    stream = post(address, asked(HI, stream=True))
    for step in (1, 7, len(stream)):
        decoder = CODEC.stream_decoder()
        cuts = [stream[start : start + step] for start in range(0, len(stream), step)]
        events = [*(event for cut in cuts for event in decoder.feed(cut)), *decoder.close()]
        assert isinstance(events[0], ResponseStart)
        assert sum(isinstance(event, PartDelta) for event in events) > 3
        response = fold(events)
        assert (response.parts, response.usage) == (plain.parts, plain.usage)
        assert response.provider_data["openai_responses"]["model"] == plain.model  # it is not named before the end


def test_a_conversation_with_reasoning_and_a_tool_call_is_taken(address: str) -> None:
    turn = Message(
        role="assistant",
        parts=(
            Reasoning(text="I add.", provider_data={"openai_responses": {"type": "reasoning_text", "id": "rs_1"}}),
            Text(text="Let me see."),
            ToolCall(id="c1", name="add", arguments='{"a":2}'),
        ),
    )
    result = Message(role="tool", parts=(ToolResult(call_id="c1", parts=(Text(text="4"),)),))
    given = (message("system", "Be brief."), HI, message("assistant", "Hello!"), message("user", "2+2?"), turn, result)
    tools = (Tool(name="add", description="Adds.", parameters={"type": "object"}),)
    assert CODEC.decode_response(post(address, asked(*given, tools=tools))).usage.output_tokens
    first = CODEC.decode_response(post(address, asked(HI)))
    again = asked(HI, Message(role="assistant", parts=first.parts), message("user", "And again?"))
    assert CODEC.decode_response(post(address, again)).usage.output_tokens


def test_an_answer_of_a_given_form_comes_by_the_servers_own_option(address: str) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    wire = asked(message("user", "Ann is 34."), limit=60, provider_options={"response_format": form})
    assert msgspec.json.decode(CODEC.decode_response(post(address, wire)).text).keys() == {"name", "age"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_told_apart(address: str, stream: bool) -> None:
    with pytest.raises(ContextWindowExceededError) as caught:
        post(address, asked(message("user", "word " * 600), stream=stream))
    assert "the window 512" in caught.value.hint


def test_a_wrong_request_is_a_bad_request(address: str) -> None:
    with pytest.raises(BadRequestError):
        post(address, WireRequest(path="/responses", body=b'{"model": "m"}'))
