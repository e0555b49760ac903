import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.errors import (
    ConfigError,
    LLMCallError,
    MissingCredentialError,
    UnknownModelError,
    UnknownProviderError,
    UnsupportedError,
)
from llm_call.core.providers.registry import Provider
from llm_call.core.providers.rows import PROVIDERS
from llm_call.core.router import PROVIDER_PATTERNS, Router

MESSAGES = [{"role": "user", "content": "test"}]


def route(model: str, router: Router | None = None, **kwargs: Any) -> dict[str, Any]:
    return asyncio.run((router or Router()).route_request(model, MESSAGES, **kwargs))


def test_max_model_routing() -> None:
    assert route("max/text-general") == {
        "provider": "claude_proxy",
        "endpoint": "http://localhost:8002",
        "headers": {"X-Model-Type": "text-general"},
        "model": "max/text-general",
        "formatted_request": {"model": "max/text-general", "messages": MESSAGES},
    }


def test_max_model_routing_hands_on_other_arguments() -> None:
    formatted = route("max/text-general", temperature=0.2, stream=True)["formatted_request"]
    assert formatted == {"model": "max/text-general", "messages": MESSAGES, "temperature": 0.2, "stream": True}


@pytest.mark.parametrize(
    ("model", "label"),
    [
        ("MAX/Opus", "Opus"),
        ("max", "default"),
        ("claude/max/vision", "vision"),
        ("claude-code/max/opus", "opus"),
        ("max/a/b", "a/b"),
    ],
)
def test_max_models_in_all_their_spellings(model: str, label: str) -> None:
    found = route(model)
    assert (found["provider"], found["headers"]) == ("claude_proxy", {"X-Model-Type": label})


@pytest.mark.parametrize("model", ["maximus/x", "maxi", "foo/max/x"])
def test_names_that_only_look_like_max(model: str) -> None:
    assert route(model)["provider"] != "claude_proxy"


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("openai/gpt-4o", "openai"),
        ("gpt-4o-mini", "openai"),
        ("OpenAI/gpt-4o", "openai"),
        ("local/smollm2-135m", "local"),
        ("openrouter/meta/llama", "openrouter"),
        ("someone/meta/llama", "litellm"),
    ],
)
def test_other_providers_by_prefix_or_bare_name(model: str, provider: str) -> None:
    assert route(model)["provider"] == provider


def test_arguments_cannot_replace_the_model_or_the_messages() -> None:
    with pytest.raises(TypeError):
        route("max/x", **{"model": "evil"})  # type: ignore[arg-type]  # noqa: PIE804  (the mistake itself)


def test_the_proxy_has_one_setting() -> None:
    assert route("max/x", Router(proxy_url="http://localhost:9000"))["endpoint"] == "http://localhost:9000"


@pytest.mark.parametrize(
    "model", ["", "max/", "/", "a//b", " ", "max/a b", "max/a\r\nX-Evil: 1", "openai/gpt\x00", "max/é", "gpt\u2028"]
)
def test_impossible_names_are_refused_with_a_suggestion(model: str) -> None:
    with pytest.raises(UnknownModelError) as caught:
        route(model)
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_patterns_are_built_from_the_rows_and_end_with_the_fallback() -> None:
    assert list(PROVIDER_PATTERNS) == [pattern for row in PROVIDERS for pattern in row.patterns]
    assert list(PROVIDER_PATTERNS.items())[-1] == ("*", "litellm")
    assert PROVIDER_PATTERNS["max/*"] == "claude_proxy"


def test_the_users_rows_come_first() -> None:
    mine = Provider(name="mine", patterns=("openai/*",), base_url="http://localhost:1/v1")
    router = Router(rows=[mine])
    assert route("openai/x", router)["provider"] == "mine"
    target = router.resolve("openai/x")
    assert (target.provider, target.model, target.endpoint.base_url) == ("mine", "x", "http://localhost:1/v1")


def test_a_target_carries_its_key_and_never_shows_it() -> None:
    target = Router(credentials={"OPENAI_API_KEY": "sk-secret"}).resolve("openai/gpt-4o")
    assert target.endpoint.headers == {"authorization": "Bearer sk-secret"}
    assert target.name == "openai/gpt-4o"
    assert "sk-secret" not in repr(target)


def test_a_missing_key_names_its_variable() -> None:
    with pytest.raises(MissingCredentialError) as caught:
        Router().resolve("openai/gpt-4o")
    assert "OPENAI_API_KEY" in caught.value.hint


def test_a_key_from_the_environment_never_goes_to_another_host() -> None:
    router = Router(credentials={"OPENAI_API_KEY": "sk-secret"})
    target = router.resolve("openai/gpt-4o", api_base="http://localhost:9/v1/")
    assert target.endpoint.headers == {}
    assert (target.endpoint.base_url, target.model) == ("http://localhost:9/v1", "gpt-4o")
    assert router.resolve("openai/x", api_base="http://h", api_key="k").endpoint.headers == {
        "authorization": "Bearer k"
    }


def test_any_name_works_with_a_base_url() -> None:
    target = Router().resolve("meta/llama-3", api_base="http://localhost:9/v1")
    assert (target.provider, target.model) == ("custom", "meta/llama-3")


@pytest.mark.parametrize("api_base", ["localhost:9", "ftp://x", "http://", "http:// x"])
def test_a_base_url_must_be_one(api_base: str) -> None:
    with pytest.raises(ConfigError):
        Router().resolve("x", api_base=api_base)


@pytest.mark.parametrize("key", ["a\nb", "clé", "a b"])
def test_a_key_with_impossible_characters_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Router().resolve("openai/x", api_key=key)
    assert key not in caught.value.message


def test_an_unknown_provider_is_told_with_near_names() -> None:
    with pytest.raises(UnknownProviderError) as caught:
        Router().resolve("opnai")
    assert caught.value.did_you_mean[0] == "openai/..."
    assert "openai" in caught.value.hint


@pytest.mark.parametrize(
    ("model", "hints"),
    [
        ("opnai/gpt-4o", ("openai/...", 'pip install "llm-call[litellm]"')),
        ("zzzzzz/gpt-4o", ("llm-call models", 'pip install "llm-call[litellm]"', "api_base")),
        ("litellm/openai/gpt-4o", ('pip install "llm-call[litellm]"',)),
    ],
)
def test_without_litellm_the_long_tail_names_the_command(
    monkeypatch: pytest.MonkeyPatch, model: str, hints: tuple[str, ...]
) -> None:
    monkeypatch.setattr("llm_call.core.router.installed", lambda: False)
    with pytest.raises(UnknownProviderError) as caught:
        Router().resolve(model)
    assert all(hint in caught.value.hint for hint in hints)


@pytest.mark.parametrize(
    ("model", "wire"), [("litellm/openai/gpt-4o", "openai/gpt-4o"), ("someone/some-model", "someone/some-model")]
)
def test_litellm_takes_its_own_prefix_and_those_that_no_row_has(
    monkeypatch: pytest.MonkeyPatch, model: str, wire: str
) -> None:
    monkeypatch.setattr("llm_call.core.router.installed", lambda: True)
    target = Router().resolve(model, api_key="k")
    assert (target.provider, target.transport, target.model) == ("litellm", "litellm", wire)
    assert (target.name, target.endpoint.base_url) == (f"litellm/{wire}", "")
    assert target.endpoint.headers == {"authorization": "Bearer k"}


def test_litellm_keeps_the_base_url_only_for_its_own_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_call.core.router.installed", lambda: True)
    named = Router().resolve("litellm/openai/m", api_base="http://localhost:9/v1/")
    assert (named.transport, named.endpoint.base_url) == ("litellm", "http://localhost:9/v1")
    assert Router().resolve("openai2/m", api_base="http://localhost:9/v1").transport == "http"
    with pytest.raises(ConfigError):
        Router().resolve("litellm/openai/m", api_base="localhost:9")


def test_an_unknown_local_model_names_the_right_one() -> None:
    with pytest.raises(UnknownModelError) as caught:
        Router().resolve("local/gpt-4")
    assert "local/smollm2-135m" in caught.value.hint


def test_max_models_are_honest_about_not_being_callable_yet() -> None:
    with pytest.raises(UnsupportedError, match="not supported in this version"):
        Router().resolve("max/opus")


def test_max_models_go_to_a_proxy_that_is_set() -> None:
    target = Router(proxy_url="http://localhost:9000").resolve("max/opus")
    assert (target.transport, target.endpoint.base_url) == ("http", "http://localhost:9000/v1")
    assert target.endpoint.headers == {"x-model-type": "opus"}
    assert (target.name, target.model) == ("max/opus", "max/opus")


def test_without_a_model_the_first_provider_with_a_key_answers_and_the_embedded_one_else() -> None:
    assert Router().default_model() == "local/smollm2-135m"
    assert Router(credentials={"OPENAI_API_KEY": "k"}).default_model() == "openai/gpt-4o-mini"


@given(st.text(max_size=40))
def test_any_name_is_routed_or_refused_by_our_own_error(model: str) -> None:
    try:
        found = route(model)
    except LLMCallError:
        return
    assert found["model"] == model
    assert all("\n" not in value and "\r" not in value and value.isascii() for value in found["headers"].values())
