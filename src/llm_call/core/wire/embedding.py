"""Embeddings on the wire: OpenAI's form, which most servers speak, and Gemini's.

Rule: an answer has one vector for each text, of finite numbers, all of one length, or it is a `ProtocolError`: a vector
that is taken for another text's would never be noticed. OpenAI's form says by an index which text each is of; servers
that leave it out mean the order. Errors are those of the provider's dialect: its codec decodes them.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import Struct

from llm_call.core.domain.embedding import EmbeddingRequest, Embeddings
from llm_call.core.domain.errors import UnsupportedError
from llm_call.core.domain.response import Usage
from llm_call.core.wire.base import WireRequest
from llm_call.core.wire.reading import MalformedError, unreadable
from llm_call.core.wire.writing import encode_body, path_name

_HEADERS = {"content-type": "application/json"}
A = TypeVar("A", bound=Struct)


class EmbeddingCodec(Protocol):
    """A form of embedding requests, from our side."""

    def encode(self, request: EmbeddingRequest) -> WireRequest:
        """The request in this form.

        Raises:
            UnsupportedError: There is nothing to embed, or it cannot be expressed.
        """

    def decode(self, body: bytes, count: int) -> Embeddings:
        """The vectors of the `count` texts that were sent.

        Raises:
            ProtocolError: It cannot be read, or is no answer to so many texts.
        """


class _OpenAIVector(Struct):
    embedding: tuple[float, ...]
    index: int | None = None


class _OpenAIUsage(Struct):
    prompt_tokens: int | None = None


class _OpenAIAnswer(Struct):
    data: list[_OpenAIVector]
    model: str | None = None
    usage: _OpenAIUsage | None = None


class _GeminiVector(Struct):
    values: tuple[float, ...]


class _GeminiUsage(Struct, rename="camel"):
    prompt_token_count: int | None = None


class _GeminiAnswer(Struct, rename="camel"):
    embeddings: list[_GeminiVector]
    usage_metadata: _GeminiUsage | None = None


_decode_openai = msgspec.json.Decoder(_OpenAIAnswer)
_decode_gemini = msgspec.json.Decoder(_GeminiAnswer)


class OpenAIEmbeddingCodec:
    """`EmbeddingCodec` for a POST to `embeddings`."""

    def encode(self, request: EmbeddingRequest) -> WireRequest:
        """The request, its texts as one list, its vectors wanted as numbers."""
        _check(request)
        body: dict[str, Any] = {"model": request.model, "input": request.texts, "encoding_format": "float"}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        return WireRequest(path="/embeddings", body=encode_body(lambda: body), headers=_HEADERS)

    def decode(self, body: bytes, count: int) -> Embeddings:
        """The vectors, each in the place that its index says."""
        answer = _read(body, _decode_openai)
        try:
            vectors = _checked([each.embedding for each in _in_order(answer.data)], count)
        except MalformedError as error:
            raise unreadable("the answer", error, body) from error
        usage = _usage(answer.usage.prompt_tokens if answer.usage else None)
        return Embeddings(model=answer.model or "", vectors=vectors, usage=usage)


class GeminiEmbeddingCodec:
    """`EmbeddingCodec` for a POST to `models/{model}:batchEmbedContents`."""

    def encode(self, request: EmbeddingRequest) -> WireRequest:
        """The request, one entry for each text."""
        _check(request)
        model = f"models/{path_name(request.model.removeprefix('models/'))}"
        wanted = {} if request.dimensions is None else {"outputDimensionality": request.dimensions}
        entries = [{"model": model, "content": {"parts": [{"text": text}]}, **wanted} for text in request.texts]
        body = encode_body(lambda: {"requests": entries})
        return WireRequest(path=f"/{model}:batchEmbedContents", body=body, headers=_HEADERS)

    def decode(self, body: bytes, count: int) -> Embeddings:
        """The vectors, in their order. The answer names no model."""
        answer = _read(body, _decode_gemini)
        try:
            vectors = _checked([each.values for each in answer.embeddings], count)
        except MalformedError as error:
            raise unreadable("the answer", error, body) from error
        usage = _usage(answer.usage_metadata.prompt_token_count if answer.usage_metadata else None)
        return Embeddings(model="", vectors=vectors, usage=usage)


EMBEDDING_CODECS: Mapping[str, EmbeddingCodec] = {
    "openai_chat": OpenAIEmbeddingCodec(),
    "openai_responses": OpenAIEmbeddingCodec(),
    "gemini": GeminiEmbeddingCodec(),
}
"""The form of embeddings that goes with each dialect; Anthropic's has none."""


def _check(request: EmbeddingRequest) -> None:
    if not request.texts:
        raise UnsupportedError("there is nothing to embed", hint="Give at least one text.")
    if request.dimensions is not None and request.dimensions < 1:
        raise UnsupportedError(f"a vector has at least 1 dimension, not {request.dimensions}", hint="Leave it out.")


def _read(body: bytes, decoder: msgspec.json.Decoder[A]) -> A:
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise unreadable("the answer", error, body) from error


def _in_order(vectors: Sequence[_OpenAIVector]) -> Sequence[_OpenAIVector]:
    if all(each.index is None for each in vectors):
        return vectors
    by_index = {each.index: each for each in vectors}
    if by_index.keys() != set(range(len(vectors))):
        raise MalformedError("data[].index does not name each text once")
    return [by_index[index] for index in range(len(vectors))]


def _checked(vectors: Sequence[tuple[float, ...]], count: int) -> tuple[tuple[float, ...], ...]:
    if len(vectors) != count:
        raise MalformedError(f"there are {len(vectors)} vectors for {count} texts")
    lengths = {len(vector) for vector in vectors}
    if len(lengths) > 1 or 0 in lengths:
        raise MalformedError(f"the vectors have {sorted(lengths)} numbers")
    if not all(isfinite(number) for vector in vectors for number in vector):
        raise MalformedError("a number is not finite")
    return tuple(vectors)


def _usage(tokens: int | None) -> Usage:
    """The usage: no token is written. A count that is none is unknown."""
    return Usage() if tokens is None or tokens < 0 else Usage(input_tokens=tokens, output_tokens=0)
