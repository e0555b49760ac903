"""What a modelled provider says, as it stands on the wire of each dialect."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart
from llm_call.core.domain.messages import Text
from llm_call.core.domain.response import FinishReason, Response, Usage
from llm_call.core.wire.anthropic_messages_server import AnthropicMessagesServerCodec
from llm_call.core.wire.base import ServerCodec
from llm_call.core.wire.openai_chat_server import OpenAIChatServerCodec
from llm_call.core.wire.openai_responses_server import OpenAIResponsesServerCodec

PIECES = 4
"""In how many pieces a streamed text comes: enough to break off between them."""

_SERVERS: dict[str, ServerCodec] = {
    each.name: each for each in (OpenAIChatServerCodec(), OpenAIResponsesServerCodec(), AnthropicMessagesServerCodec())
}
_FINISHED = FinishReason(unified="stop", raw=None)


@lru_cache(maxsize=4096)
def whole(dialect: str, model: str, text: str, prompt_tokens: int, answer_tokens: int) -> bytes:
    """The body of an answer."""
    usage = Usage(input_tokens=prompt_tokens, output_tokens=answer_tokens)
    server = _SERVERS.get(dialect)
    if server is None:
        return msgspec.json.encode(_gemini(text, usage))
    parts = (Text(text=text),) if text else ()
    return server.encode_response(
        Response(model=model, parts=parts, finish_reason=_FINISHED, usage=usage, id="simulated")
    )


@lru_cache(maxsize=4096)
def pieces(dialect: str, model: str, text: str, prompt_tokens: int, answer_tokens: int) -> tuple[bytes, ...]:
    """The same as a stream: what begins it, `PIECES` pieces of the text, and what ends it."""
    usage = Usage(input_tokens=prompt_tokens, output_tokens=answer_tokens)
    texts = [text[start::PIECES] for start in range(PIECES)]
    server = _SERVERS.get(dialect)
    if server is None:
        return (b"", *(_event(_gemini(each, None)) for each in texts), _event(_gemini("", usage)))
    encoder = server.stream_encoder()
    return tuple(b"".join(map(encoder.encode, events)) for events in _events(model, texts, usage))


def error(status: int, code: str | None = None) -> bytes:
    """The body of a refusal, in the form that all dialects share."""
    return msgspec.json.encode({"error": {"message": "simulated", "code": code or _CODES.get(status)}})


_CODES = {429: "rate_limit_exceeded"}


def _events(model: str, texts: list[str], usage: Usage) -> Iterator[tuple[Event, ...]]:
    yield ResponseStart(model=model, id="simulated"), PartStart(index=0, part=Text(text=""))
    for text in texts:
        yield (PartDelta(index=0, text=text),)
    yield PartEnd(index=0), ResponseEnd(finish_reason=_FINISHED, usage=usage)


def _gemini(text: str, usage: Usage | None) -> dict[str, Any]:
    """Google's dialect, which we do not serve."""
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": [{"text": text}] if text else []}}
    if usage is None:
        return {"candidates": [candidate]}
    counts = {"promptTokenCount": usage.input_tokens, "candidatesTokenCount": usage.output_tokens}
    return {"candidates": [{**candidate, "finishReason": "STOP"}], "usageMetadata": counts}


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\r\n\r\n"
