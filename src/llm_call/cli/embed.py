"""`llm-call embed`: texts as vectors, one JSON list a line."""

import sys
from collections.abc import Sequence

import msgspec
import typer

from llm_call.cli.output import refuse_no_text, run, waiting
from llm_call.core.api import default_client
from llm_call.core.domain.embedding import Embeddings
from llm_call.core.domain.errors import ConfigError
from llm_call.core.options import EmbedOptions


def embed(texts: Sequence[str], options: EmbedOptions, dimensions: int | None) -> None:
    """Print the vectors of `texts` in their order; `-` alone stands for the lines of standard input.

    Raises:
        ConfigError: There is no text.
        LLMCallError: There is no answer.
    """
    said = [line for line in sys.stdin.read().splitlines() if line.strip()] if list(texts) == ["-"] else list(texts)
    refuse_no_text("".join(said))
    if not all(text.strip() for text in said) or not said:
        raise ConfigError("there is no text to embed", hint="Give texts, or - to read one for each line.")
    with waiting("embedding"):
        vectors = run(_embedded(said, options, dimensions)).vectors
    for vector in vectors:
        typer.echo(msgspec.json.encode(vector))


async def _embedded(texts: Sequence[str], options: EmbedOptions, dimensions: int | None) -> Embeddings:
    async with default_client() as client:
        return (await client.embed(texts, dimensions=dimensions, **options)).unwrap()
