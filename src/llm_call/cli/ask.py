"""`llm-call ask`: one prompt, one checked answer."""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import msgspec
import typer

from llm_call.cli.cassette import Tape
from llm_call.cli.output import REJECTED, refuse_no_text, run, say, tell_result, waiting
from llm_call.cli.tracing import Tracing
from llm_call.core.api import default_client, default_settings
from llm_call.core.client import Client
from llm_call.core.domain.errors import ConfigError, LLMCallError, MissingCredentialError
from llm_call.core.domain.result import Result
from llm_call.core.options import AskOptions
from llm_call.core.store.responses import SQLiteCache


def ask(prompt: str, options: AskOptions, *, tape: Tape, tracing: Tracing, stream: bool, as_json: bool) -> None:
    """Print the answer; a rejected one is told on standard error and exits with 1."""
    client = default_client()
    text = sys.stdin.read() if prompt == "-" else prompt
    refuse_no_text(text)
    if not text.strip():
        raise ConfigError("the prompt is empty", hint="Give a prompt, or - to read standard input.")
    if options.get("cache_key") and default_settings().config.cache.mode == "memory":
        client.cache = SQLiteCache(default_settings().cache / "responses.db")  # a process of its own remembers nothing
    with tracing.around(client):
        try:
            with tape.around(client):
                result = run(_streamed(client, text, options) if stream else _whole(client, text, options, tracing))
        except LLMCallError as error:
            tracing.failed(error, text)
            raise
        if tracing.debug:
            tracing.show(result.trace, result.bill.costs)
            tell_result(result)
        _print(result, stream=stream, as_json=as_json)
        if not result.ok:
            _tell_rejection(result)
        tracing.answered(result, text)
    if not result.ok:
        raise typer.Exit(REJECTED)


def _print(result: Result[Any], *, stream: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(_summary(result)), indent=2).decode())
    elif result.ok and not stream:
        typer.echo(
            result.value if isinstance(result.value, str) else json.dumps(result.value, indent=2, ensure_ascii=False)
        )


async def _whole(client: Client, prompt: str, options: AskOptions, tracing: Tracing) -> Result[Any]:
    plan = client.plan(prompt, **options)
    with nullcontext() if tracing.debug else waiting(f"asking {plan.model}"):
        result = await client.execute(plan)
    await client.close()
    return result


async def _streamed(client: Client, prompt: str, options: AskOptions) -> Result[Any]:
    async with client.ask_stream(prompt, **options) as answer:
        try:
            async for piece in answer:
                typer.echo(piece, nl=False)
        finally:
            typer.echo()  # an error begins a line of its own
    await client.close()
    return answer.result


def _summary(result: Result[Any]) -> dict[str, Any]:
    return {
        "ok": result.ok,
        "value": result.value,
        "text": result.text,
        "model": result.response.model,
        "problems": result.problems,
        "repairs": result.repairs,
        "usage": result.usage,
        "cost": result.cost,
        "finish_reason": result.response.finish_reason,
        "trace": result.trace,
    }


def _tell_rejection(result: Result[Any]) -> None:
    say("error: the answer was rejected after the last round.", color="red")
    for problem in result.problems:
        say(f"  {problem}")
    if result.response.finish_reason.unified == "length":
        say("  a higher --max-tokens leaves room for a longer answer")
    say(f"  the answer was: {result.text[:500]!r}")


# What is the same here and in the library.
_SAME = (
    *("model", "system", "timeout", "max_tokens", "temperature", "top_p", "seed", "reasoning_effort", "strict"),
    *("rounds", "routing_key", "api_base"),
)


def ask_options(given: Mapping[str, Any]) -> AskOptions:
    """The library's options that the arguments of the command come to.

    Raises:
        ConfigError: One cannot be read.
    """
    cost = given["max_cost"]
    options = {name: given[name] for name in _SAME} | {
        "schema": read_schema(given["schema"]) if given["schema"] else None,
        "validate": [read_check(text) for text in given["validate"] or ()],
        "stop": tuple(given["stop"] or ()),
        "provider_options": read_provider_options(given["provider_option"] or ()),
        "max_cost": None if cost is None else Decimal(str(cost)),
        "fallback_models": given["fallback"] or (),
        "api_key": key_in(given["api_key_env"]),
        "cache_key": "llm-call ask" if given["cache"] or given["refresh"] else None,
        "force_refresh": given["refresh"],
    }
    return cast("AskOptions", options)


def key_in(variable: str | None) -> str | None:
    """The key in an environment variable: on the command line itself, others could read it.

    Raises:
        MissingCredentialError: It is not set.
    """
    if variable is None:
        return None
    if not (key := os.environ.get(variable)):
        raise MissingCredentialError(
            "--api-key-env names a variable that is not set", hint="Give the name of the variable, not the key."
        )
    return key


def read_provider_options(texts: Sequence[str], *, option: str = "--provider-option") -> dict[str, Any]:
    """`KEY=VALUE` entries of `option` as a dictionary. Values are JSON where they can be read so.

    Raises:
        ConfigError: There is no `=`.
    """
    pairs = [text.partition("=") for text in texts]
    for key, equals, _ in pairs:
        if not equals:
            raise ConfigError(f"{option} {key!r} has no value", hint=f"Write {option} KEY=VALUE.")
    return {key: _read_value(value) for key, _, value in pairs}


def read_schema(path: Path) -> dict[str, Any]:
    """The JSON object in the file at `path`.

    Raises:
        ConfigError: There is no such file, or it holds no JSON object; the message says where.
    """
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="Give the path of a JSON Schema.") from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}:{error.colno}: {error.msg}", hint="Mend the JSON.") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}", hint="A schema is JSON in UTF-8.") from error
    if not isinstance(schema, dict):
        raise ConfigError(f"{path}: a schema is a JSON object", hint='For example {"type": "object", ...}.')
    return schema


def read_check(text: str) -> dict[str, Any]:
    """`NAME` or `NAME:key=value,key=value` as an entry of `validation`. Values are JSON where they can be read so.

    A comma ends a value only where another `key=` follows it.
    """
    name, _, rest = text.partition(":")
    pairs = [pair.partition("=") for pair in re.split(r",(?=\w+=)", rest)] if rest else []
    for key, equals, _ in pairs:
        if not equals:
            raise ConfigError(f"--validate {text!r}: {key!r} has no value", hint="Write NAME:key=value,key=value.")
    return {"type": name, "params": {key: _read_value(value) for key, _, value in pairs}}


def _read_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
