"""Every row at once: whoever adds one has nothing to add here."""

import re

import msgspec
import pytest

from llm_call.core.client import Client
from llm_call.core.domain.errors import ConfigError, MissingCredentialError, UnknownModelError
from llm_call.core.providers.auth import credential_headers
from llm_call.core.providers.registry import DIALECTS, Provider
from llm_call.core.providers.rows import PROVIDERS
from llm_call.core.router import PROVIDER_PATTERNS, Router
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
HTTP = [row for row in PROVIDERS if row.transport == "http" and row.base_url]
KEYS = {row.credential_env: "sk-secret" for row in PROVIDERS if row.credential_env}


def a_model_of(row: Provider) -> str:
    return f"{row.name}/{'pod/' if '{}' in row.base_url else ''}some-model"


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
    assert endpoint.base_url == row.base_url.format("pod")
    assert endpoint.headers == credential_headers(row.auth, KEYS.get(row.credential_env or ""))
    assert "some-model" in (transport.bodies[0].get("model", ""), *transport.requests[0].path.split("/")[-1].split(":"))


@pytest.mark.parametrize("row", [row for row in HTTP if row.credential_env], ids=lambda row: row.name)
def test_a_missing_key_is_named(row: Provider) -> None:
    with pytest.raises(MissingCredentialError) as caught:
        Router().resolve(a_model_of(row))
    assert str(row.credential_env) in caught.value.hint


@pytest.mark.parametrize("name", ["runpod/model", "runpod/a.evil.com%2F/model", "runpod/-/model", "runpod/a@b/model"])
def test_a_place_in_a_name_cannot_change_the_host(name: str) -> None:
    with pytest.raises(UnknownModelError):
        Router(credentials=KEYS).resolve(name)


def test_a_key_goes_where_the_row_says() -> None:
    assert credential_headers("bearer", "k") == {"authorization": "Bearer k"}
    assert credential_headers("x-api-key", "k") == {"x-api-key": "k"}
    assert credential_headers("bearer", None) == {}


@pytest.mark.parametrize("key", ["", "a\nb", "a b", "clé"])
def test_a_key_that_is_none_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        credential_headers("bearer", key)
    assert not key or key not in caught.value.message
