"""Google's dialect over real HTTP, against a server of our own: the path, the query, and pieces cut anywhere."""

import asyncio

import msgspec
import pytest

from llm_call.core.domain.errors import StreamInterruptedError
from llm_call.core.domain.events import Event, fold
from llm_call.core.domain.messages import message
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import Request
from llm_call.core.transport.base import Endpoint, Timeouts
from llm_call.core.transport.http import HttpTransport
from llm_call.core.wire.gemini import GeminiCodec
from llm_call.testing.servers import FaultServer, respond, stream

CODEC = GeminiCodec()
REQUEST = Request(model="gemini-3-flash", messages=(message("user", "hi"),))
USAGE = '"usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3}'
FIRST = '{"candidates": [{"content": {"parts": [{"text": "Grüß"}]}}], "modelVersion": "m"}'
LAST = '{"candidates": [{"content": {"parts": [{"text": " dich"}]}, "finishReason": "STOP"}], %s}' % USAGE  # noqa: UP031  # braces
STREAM = f"data: {FIRST}\r\n\r\ndata: {LAST}\r\n\r\n".encode()


async def ask(url: str, *, streamed: bool) -> list[Event] | bytes:
    wire = CODEC.encode_request(REQUEST, stream=streamed, profile=Profile())
    transport = HttpTransport()
    try:
        async with transport.open(Endpoint(base_url=f"{url}/v1beta"), wire, Timeouts()) as reply:
            if not streamed:
                return await reply.read()
            decoder = CODEC.stream_decoder()
            events = [event async for chunk in reply.chunks() for event in decoder.feed(chunk)]
            return [*events, *decoder.close()]
    finally:
        await transport.close()


def test_a_call_reaches_the_method_of_the_model_whole_and_streamed() -> None:
    pieces = [STREAM[at : at + 7] for at in range(0, len(STREAM), 7)]
    whole = FIRST.replace("Grüß", "Grüß dich").replace("]}}]", f']}}, "finishReason": "STOP"}}], {USAGE}')
    with FaultServer([respond(whole.encode()), stream(pieces)]) as server:
        body = asyncio.run(ask(server.url, streamed=False))
        events = asyncio.run(ask(server.url, streamed=True))
        requests = list(server.requests)
    assert isinstance(body, bytes)
    assert isinstance(events, list)
    assert CODEC.decode_response(body) == fold(events)
    assert fold(events).text == "Grüß dich"
    assert [request.path for request in requests] == [
        "/v1beta/models/gemini-3-flash:generateContent",
        "/v1beta/models/gemini-3-flash:streamGenerateContent?alt=sse",
    ]
    assert {msgspec.json.decode(request.body)["contents"][0]["role"] for request in requests} == {"user"}


def test_a_stream_that_ends_early_is_interrupted_with_what_had_arrived() -> None:
    with (
        FaultServer([stream([STREAM[: len(STREAM) // 2]])]) as server,
        pytest.raises(StreamInterruptedError) as caught,
    ):
        asyncio.run(ask(server.url, streamed=True))
    assert caught.value.text == "Grüß"
