from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.embedding import EmbeddingRequest, Embeddings
from llm_call.core.domain.errors import ProtocolError, UnsupportedError
from llm_call.core.domain.response import Usage
from llm_call.core.wire.embedding import (
    EMBEDDING_CODECS,
    EmbeddingCodec,
    GeminiEmbeddingCodec,
    OpenAIEmbeddingCodec,
)
from llm_call.testing import strategies

OPENAI, GEMINI = OpenAIEmbeddingCodec(), GeminiEmbeddingCodec()
BOTH = pytest.mark.parametrize("codec", [OPENAI, GEMINI])
TWO = EmbeddingRequest(model="m", texts=("a", "ä"), dimensions=2)


def openai(*data: Any, **more: Any) -> bytes:
    return msgspec.json.encode({"object": "list", "data": data, "model": "m-1", **more})


def vector(*numbers: Any, index: int | None = None) -> dict[str, Any]:
    return {"object": "embedding", "embedding": numbers} | ({} if index is None else {"index": index})


def test_openais_form_is_one_list_of_texts() -> None:
    wire = OPENAI.encode(TWO)
    assert (wire.path, wire.headers, wire.stream) == ("/embeddings", {"content-type": "application/json"}, False)
    assert msgspec.json.decode(wire.body) == {
        "model": "m",
        "input": ["a", "ä"],
        "encoding_format": "float",
        "dimensions": 2,
    }
    assert b"dimensions" not in OPENAI.encode(EmbeddingRequest(model="m", texts=("a",))).body


@pytest.mark.parametrize("model", ["m", "models/m"])
def test_geminis_form_is_an_entry_for_each_text(model: str) -> None:
    wire = GEMINI.encode(EmbeddingRequest(model=model, texts=("a", "ä"), dimensions=2))
    assert wire.path == "/models/m:batchEmbedContents"
    assert msgspec.json.decode(wire.body) == {
        "requests": [
            {"model": "models/m", "content": {"parts": [{"text": text}]}, "outputDimensionality": 2}
            for text in ("a", "ä")
        ]
    }
    assert b"outputDimensionality" not in GEMINI.encode(EmbeddingRequest(model="m", texts=("a",))).body


@BOTH
@pytest.mark.parametrize(
    "given_", [EmbeddingRequest(model="m", texts=()), EmbeddingRequest(model="m", texts=("a",), dimensions=0)]
)
def test_what_cannot_be_embedded_is_refused(codec: EmbeddingCodec, given_: EmbeddingRequest) -> None:
    with pytest.raises(UnsupportedError):
        codec.encode(given_)


@BOTH
def test_a_text_that_is_no_unicode_is_refused(codec: EmbeddingCodec) -> None:
    with pytest.raises(UnsupportedError, match="JSON"):
        codec.encode(EmbeddingRequest(model="m", texts=("\ud800",)))


def test_a_name_that_could_change_the_path_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="path"):
        GEMINI.encode(EmbeddingRequest(model="m/../x", texts=("a",)))


def test_openais_vectors_stand_where_their_index_says() -> None:
    body = openai(vector(3, 4.5, index=1), vector(1, 2, index=0), usage={"prompt_tokens": 7, "total_tokens": 7})
    assert OPENAI.decode(body, 2) == Embeddings(
        model="m-1", vectors=((1.0, 2.0), (3.0, 4.5)), usage=Usage(input_tokens=7, output_tokens=0)
    )


def test_without_an_index_the_order_is_that_of_the_texts() -> None:
    assert OPENAI.decode(openai(vector(1), vector(2)), 2).vectors == ((1.0,), (2.0,))


def test_geminis_vectors_are_read_in_their_order() -> None:
    body = {"embeddings": [{"values": [1, 2]}, {"values": [3, 4]}], "usageMetadata": {"promptTokenCount": 5}}
    assert GEMINI.decode(msgspec.json.encode(body), 2) == Embeddings(
        model="", vectors=((1.0, 2.0), (3.0, 4.0)), usage=Usage(input_tokens=5, output_tokens=0)
    )
    assert GEMINI.decode(b'{"embeddings": [{"values": [1]}]}', 1).usage == Usage()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (openai(vector(1, index=0)), "1 vectors for 2 texts"),
        (openai(vector(1), vector(2), vector(3)), "3 vectors for 2 texts"),
        (openai(vector(1, index=0), vector(2, index=0)), "each text once"),
        (openai(vector(1, index=0), vector(2, index=2)), "each text once"),
        (openai(vector(1, index=0), vector(2)), "each text once"),
        (openai(vector(1, 2), vector(3)), r"\[1, 2\] numbers"),
        (openai(vector(), vector()), r"\[0\] numbers"),
        (openai(vector("1"), vector(2)), "float"),
        (openai(vector(True), vector(2)), "float"),
        (openai(vector(None), vector(2)), "float"),
        (openai({"embedding": "AAAA"}, vector(2)), "array"),
        (b'{"error": {"message": "no"}}', "data"),
        (b"[]", "object"),
        (b"", "what came: nothing"),
        (b"<html>", "what came: <html>"),
    ],
)
def test_what_is_no_answer_to_the_texts_is_a_protocol_error(body: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        OPENAI.decode(body, 2)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"embeddings": [{"values": [1]}]}, "1 vectors for 2 texts"),
        ({"embeddings": [{"values": [1]}, {"values": ["x"]}]}, "float"),
        ({"embedding": {"values": [1]}}, "embeddings"),
        ({"error": {"code": 400}}, "embeddings"),
    ],
)
def test_the_same_holds_for_gemini(body: Any, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        GEMINI.decode(msgspec.json.encode(body), 2)


def test_a_number_that_is_not_finite_is_none() -> None:
    with pytest.raises(ProtocolError):
        OPENAI.decode(b'{"data": [{"embedding": [1e999]}]}', 1)


@BOTH
@given(body=st.binary(max_size=60) | strategies.json_values().map(msgspec.json.encode), count=st.integers(0, 3))
def test_any_bytes_are_read_or_raise_an_error_of_ours(codec: EmbeddingCodec, body: bytes, count: int) -> None:
    try:
        vectors = codec.decode(body, count).vectors
    except ProtocolError:
        return
    assert len(vectors) == count


def test_each_dialect_that_embeds_has_its_form() -> None:
    assert EMBEDDING_CODECS.keys() == {"openai_chat", "openai_responses", "gemini"}
