"""`llm-call embed`: texts as vectors, one JSON list a line."""

import sys
from collections.abc import Sequence

import msgspec
import typer

from llm_call.cli.output import refuse_no_text, run, waiting
from llm_call.cli.tracing import Tracing
from llm_call.core.api import default_client
from llm_call.core.client import Client
from llm_call.core.domain.embedding import Embeddings
from llm_call.core.domain.errors import ConfigError, LLMCallError
from llm_call.core.domain.result import Result
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
    tracing, client = Tracing("embed"), default_client()
    with tracing.around(client):
        try:
            with waiting("embedding"):
                result = run(_embedded(client, said, options, dimensions))
        except LLMCallError as error:
            tracing.failed(error, "\n".join(said))
            raise
        for vector in result.unwrap().vectors:
            typer.echo(msgspec.json.encode(vector))
        tracing.answered(result, "\n".join(said))


async def _embedded(
    client: Client, texts: Sequence[str], options: EmbedOptions, dimensions: int | None
) -> Result[Embeddings]:
    async with client:
        return await client.embed(texts, dimensions=dimensions, **options)
