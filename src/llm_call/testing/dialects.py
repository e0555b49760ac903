"""Every dialect with what a property over all of them needs: its codecs, its requests, and its answers as recordings.

Needs hypothesis, which is no dependency of the library: import this module in tests only.

A new dialect is one more entry of `DIALECTS`, and every law holds for it too.
"""

import re
from collections.abc import Callable
from copy import copy
from typing import Any

from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.domain.messages import Media, Message, ToolResult
from llm_call.core.domain.request import Request
from llm_call.core.domain.response import Response
from llm_call.core.wire.anthropic_messages import AnthropicMessagesCodec
from llm_call.core.wire.anthropic_messages_server import AnthropicMessagesServerCodec
from llm_call.core.wire.base import Codec, ServerCodec
from llm_call.core.wire.gemini import GeminiCodec
from llm_call.core.wire.openai_chat import OpenAIChatCodec
from llm_call.core.wire.openai_chat_server import OpenAIChatServerCodec
from llm_call.core.wire.openai_responses import OpenAIResponsesCodec
from llm_call.core.wire.openai_responses_server import OpenAIResponsesServerCodec
from llm_call.testing import answers, gemini, laws, strategies
from llm_call.testing.strategies import Fields, sampled


class Recording(Struct, frozen=True, kw_only=True):
    """One answer, as a body and as a stream; `response` is what it was made from, where it was made from a response."""

    whole: bytes
    stream: bytes
    response: Response | None = None


class Dialect(Struct, frozen=True, kw_only=True):
    """One dialect.

    `unified` is the normal form of a request in it: what it says in one way only is said in that way. `end` matches
    where an answer says that it is complete, which nothing else in it does.
    """

    codec: Codec
    server: ServerCodec | None
    read: laws.RequestReader
    requests: st.SearchStrategy[Request]
    recordings: st.SearchStrategy[Recording]
    end: re.Pattern[bytes]
    unified: Callable[[Request], Request] = copy

    @property
    def name(self) -> str:
        """The name of its codec."""
        return self.codec.name

    def __repr__(self) -> str:
        """The name: a failing example shows it."""
        return self.name


def _served(server: ServerCodec, codec: Codec, made: st.SearchStrategy[Response], **more: Any) -> Dialect:
    """A dialect that has a server codec: it reads the requests and writes the answers."""

    def recorded(response: Response, piece: int) -> Recording:
        stream = laws.encoded(server.stream_encoder(), laws.events_of(response, piece))
        return Recording(whole=server.encode_response(response), stream=stream, response=response)

    return Dialect(
        codec=codec,
        server=server,
        read=lambda wire: server.decode_request(wire.body),
        recordings=st.builds(recorded, made, st.sampled_from([1, 2, 5, 100])),
        **more,
    )


def _responses_requests() -> st.SearchStrategy[Request]:
    """The requests of every dialect, and turns, stored files and options as this one brings them."""
    name = "openai_responses"
    media = st.one_of(
        st.just(Media(media_type="application/pdf", url="https://example.org/a.pdf", name="a")),
        st.builds(
            Media, media_type=st.just("image/*"), provider_data=sampled(name, {"file_id": "f_1", "detail": "low"})
        ),
        st.builds(
            Media, media_type=st.just("application/octet-stream"), provider_data=sampled(name, {"file_id": "f_1"})
        ),
    )
    shown = st.lists(media, min_size=1, max_size=2).map(tuple)
    results = st.builds(ToolResult, call_id=strategies.names(), parts=shown)
    own = (
        st.builds(Message, role=st.just("assistant"), parts=answers.responses_parts())
        | st.builds(Message, role=st.just("user"), parts=shown)
        | st.builds(Message, role=st.just("tool"), parts=st.tuples(results))
    )
    options: st.SearchStrategy[Fields] = st.sampled_from(
        [
            *([{}] * 4),
            {"include": ["file_search_call.results"]},
            {"include": ["reasoning.encrypted_content"]},
            {"reasoning": {"summary": "auto"}},
            {"text": {"verbosity": "low"}},
            {"store": True},
            {"store": False},
        ]
    )
    return st.builds(
        lambda request, more, options: replace(
            request,
            messages=request.messages + more,
            provider_options={**request.provider_options, **options},
        ),
        strategies.requests(name),
        st.just(()) | own.map(lambda message: (message,)),
        options,
    )


def _gemini_recordings() -> st.SearchStrategy[Recording]:
    def recorded(answer: answers.GeminiAnswer, piece: int, per_chunk: int, late: bool) -> Recording:  # noqa: FBT001  # drawn
        return Recording(whole=answer.whole(), stream=answer.stream(piece, per_chunk, late=late))

    lengths = st.sampled_from([1, 2, 5, 100])
    return st.builds(recorded, answers.gemini_answers(), lengths, st.sampled_from([1, 2, 3, 100]), st.booleans())


def _gemini_requests() -> st.SearchStrategy[Request]:
    """Every result names its function, by its message: the dialect takes no other."""
    return strategies.requests("gemini").map(
        lambda request: replace(request, messages=tuple(map(_naming, request.messages)))
    )


def _naming(message: Message) -> Message:
    holds_results = any(isinstance(part, ToolResult) for part in message.parts)
    return replace(message, name="f") if holds_results else message


DIALECTS: tuple[Dialect, ...] = (
    _served(
        OpenAIChatServerCodec(),
        OpenAIChatCodec(),
        answers.chat_answers(),
        requests=strategies.requests("openai_chat"),
        end=re.compile(rb'"finish_reason"\s*:\s*"'),
    ),
    _served(
        OpenAIResponsesServerCodec(),
        OpenAIResponsesCodec(),
        answers.responses_answers(),
        requests=_responses_requests(),
        end=re.compile(rb"response\.(?:completed|incomplete)"),
    ),
    _served(
        AnthropicMessagesServerCodec(),
        AnthropicMessagesCodec(),
        answers.messages_answers(),
        requests=strategies.requests("anthropic_messages"),
        end=re.compile(rb'"stop_reason"\s*:\s*"'),
    ),
    Dialect(
        codec=GeminiCodec(),
        server=None,
        read=gemini.read_request,
        unified=gemini.unified,
        requests=_gemini_requests(),
        recordings=_gemini_recordings(),
        end=re.compile(rb'"finishReason"\s*:\s*"'),
    ),
)


def recorded() -> st.SearchStrategy[tuple[Dialect, Recording]]:
    """An answer of any dialect."""
    return st.one_of(*(st.tuples(st.just(dialect), dialect.recordings) for dialect in DIALECTS))


def asked() -> st.SearchStrategy[tuple[Dialect, Request]]:
    """A request to any dialect."""
    return st.one_of(*(st.tuples(st.just(dialect), dialect.requests) for dialect in DIALECTS))
