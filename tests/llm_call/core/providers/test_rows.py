"""Every row at once: whoever adds one has nothing to add here."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from llm_call.core.client import Client
from llm_call.core.domain.errors import ConfigError, MissingCredentialError, UnsupportedError
from llm_call.core.providers import rows
from llm_call.core.providers.auth import credential_headers
from llm_call.core.providers.places import gaps
from llm_call.core.providers.registry import DIALECTS, Provider
from llm_call.core.providers.rows import PROVIDERS
from llm_call.core.router import ALSO_SERVED, PROVIDER_PATTERNS, Router
from llm_call.testing.scripted import ScriptedReply, ScriptedTransport, chat_reply

PART = {"type": "output_text", "text": "hello", "annotations": []}
ITEM = {"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": [PART]}
BLOCKS = [{"type": "text", "text": "hello"}]
CANDIDATE = {"content": {"role": "model", "parts": [{"text": "hello"}]}, "finishReason": "STOP"}


def reply(**body: object) -> ScriptedReply:
    return ScriptedReply(pieces=(msgspec.json.encode(body),))


REPLIES = {
    "openai_chat": chat_reply("hello"),
    "openai_responses": reply(id="r", object="response", model="m", status="completed", output=[ITEM]),
    "anthropic_messages": reply(
        id="m", type="message", role="assistant", model="m", content=BLOCKS, stop_reason="end_turn", usage={}
    ),
    "gemini": reply(candidates=[CANDIDATE]),
}
HTTP = [row for row in PROVIDERS if row.transport == "http" and row.base_url and row.tested != "retired"]
KEYS = {name: "sk-secret" for row in PROVIDERS for name in row.credential_env}


def a_model_of(row: Provider) -> str:
    return f"{row.name}/{''.join('somewhere/' for _ in gaps(row))}some-model"


def test_names_and_patterns_are_unique() -> None:
    assert len({row.name for row in PROVIDERS}) == len(PROVIDERS)
    assert sum(len(row.patterns) for row in PROVIDERS) == len(PROVIDER_PATTERNS)


@pytest.mark.parametrize("row", HTTP, ids=lambda row: row.name)
def test_a_row_is_well_formed(row: Provider) -> None:
    assert re.fullmatch(r"[a-z0-9]+", row.name)
    assert f"{row.name}/*" in row.patterns
    assert row.base_url.startswith("https://" if row.credential_env else "http://localhost:")
    assert not row.base_url.endswith("/")
    assert row.codec in DIALECTS


@pytest.mark.parametrize("row", HTTP, ids=lambda row: row.name)
def test_a_request_goes_there_in_its_dialect_with_its_key_under_its_models_name(row: Provider) -> None:
    transport = ScriptedTransport(REPLIES[row.codec])
    ours = Client(router=Router(credentials=KEYS), transports={"http": lambda: transport})
    result = ours.ask_sync("hi", model=a_model_of(row))
    assert result.value == "hello"
    assert result.trace.attempts[0].target == f"{row.name}/some-model"
    endpoint = transport.endpoints[0]
    assert endpoint.base_url == re.sub(r"\{\w+\}", "somewhere", row.base_url)
    assert endpoint.headers == row.headers("sk-secret" if row.credential_env else None)
    assert "some-model" in (transport.bodies[0].get("model", ""), *transport.requests[0].path.split("/")[-1].split(":"))


@pytest.mark.parametrize(
    "row", [row for row in HTTP if row.credential_env and not row.signing], ids=lambda row: row.name
)
def test_a_missing_key_is_named(row: Provider) -> None:
    with pytest.raises(MissingCredentialError) as caught:
        Router().resolve(a_model_of(row))
    assert all(name in caught.value.hint for name in row.credential_env)


@pytest.mark.parametrize("row", [row for row in HTTP if row.credential_env], ids=lambda row: row.name)
def test_each_of_its_variables_may_hold_the_key(row: Provider) -> None:
    for name in row.credential_env:
        found = Router(credentials={name: "sk-secret"}).resolve(a_model_of(row))
        assert "sk-secret" in "".join(found.endpoint.headers.values())
        assert found.sign is None


@pytest.mark.parametrize("row", [row for row in HTTP if gaps(row)], ids=lambda row: row.name)
def test_a_missing_place_is_named(row: Provider) -> None:
    with pytest.raises(ConfigError) as caught:
        Router(credentials=KEYS).resolve(f"{row.name}/some-model")
    assert gaps(row)[0] in caught.value.message
    assert f"{row.name}/<{gaps(row)[0]}>/<model>" in caught.value.hint


@pytest.mark.parametrize("row", [row for row in PROVIDERS if row.tested == "retired"], ids=lambda row: row.name)
def test_what_its_vendor_retired_is_refused(row: Provider) -> None:
    with pytest.raises(UnsupportedError, match="retired"):
        Router(credentials=KEYS).resolve(a_model_of(row))
    assert not any(row.name in others for others in ALSO_SERVED.values())


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("bedrock/openai.gpt-oss-120b", "bedrock"),
        ("bedrock/anthropic.claude-haiku-5-5", "bedrockclaude"),
        ("bedrock/eu.anthropic.claude-haiku-5-5", "bedrockclaude"),
        ("bedrock/eu-west-1/anthropic.claude-haiku-5-5", "bedrockclaude"),
        ("grok-4.3", "xai"),
        ("sonar", "perplexity"),
    ],
)
def test_a_model_goes_to_the_row_that_speaks_its_dialect(model: str, provider: str) -> None:
    assert Router().provider_of(model).name == provider


def test_perplexitys_own_model_keeps_its_prefix() -> None:
    router = Router(credentials=KEYS)
    for name in ("sonar", "perplexity/sonar", "perplexity/perplexity/sonar"):
        assert router.resolve(name).model == "perplexity/sonar"
    assert router.resolve("perplexity/openai/gpt-5").model == "openai/gpt-5"


@pytest.mark.parametrize(
    ("model", "dialect"),
    [
        ("openai/gpt-4o", "openai_chat"),
        ("responses/gpt-4o", "openai_responses"),
        ("o3-pro", "openai_responses"),
        ("openai/gpt-5-codex", "openai_responses"),
        ("gpt-5", "openai_chat"),
    ],
)
def test_openais_models_are_asked_in_the_dialect_that_they_speak(model: str, dialect: str) -> None:
    assert Router(credentials=KEYS).resolve(model).codec.name == dialect


def test_a_key_goes_where_the_row_says() -> None:
    assert credential_headers("bearer", "k") == {"authorization": "Bearer k"}
    assert credential_headers("x-api-key", "k") == {"x-api-key": "k"}
    assert credential_headers("bearer", None) == {}


@pytest.mark.parametrize("key", ["", "a\nb", "a b", "clé"])
def test_a_key_that_is_none_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        credential_headers("bearer", key)
    assert not key or key not in caught.value.message


def rows_in(source: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and "name" in {k.arg for k in node.keywords}:
            yield node


def test_a_row_has_at_most_eight_lines() -> None:
    found = list(rows_in(Path(rows.__file__).read_text(encoding="utf-8")))
    assert len(found) >= len(PROVIDERS) - 1  # LOCAL is made from another
    assert {ast.unparse(row): size for row in found if (size := (row.end_lineno or 0) - row.lineno + 1) > 8} == {}
