"""Texts as vectors: what is asked, and what comes back."""

from msgspec import Struct

from llm_call.core.domain.response import Usage


class EmbeddingRequest(Struct, frozen=True, kw_only=True):
    """Texts to embed. `dimensions` is the length of each vector, `None` the model's own."""

    model: str
    texts: tuple[str, ...]
    dimensions: int | None = None


class Embeddings(Struct, frozen=True, kw_only=True):
    """One vector for each text, in the order of the texts; all are of one length."""

    model: str
    vectors: tuple[tuple[float, ...], ...]
    usage: Usage = Usage()
