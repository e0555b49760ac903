"""The tables of providers, and where keys go."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llm_call.core.config import Settings, build_client
from llm_call.core.domain.errors import ConfigError, MissingCredentialError
from llm_call.core.providers.registry import Target

Loaded = Callable[..., Settings]
ELSEWHERE = "[providers.openai]\nbase_url = 'https://mirror.example/v1'\n"
UNBOUND = f"{ELSEWHERE}credential_env = []\n"


def target(settings: Settings, model: str = "openai/gpt-4o") -> Target:
    return build_client(settings).router.resolve(model)


def test_a_key_from_the_environment_goes_to_its_own_host(loaded: Loaded) -> None:
    found = target(loaded(OPENAI_API_KEY="sk-own"))
    assert found.endpoint.base_url == "https://api.openai.com/v1"
    assert found.endpoint.headers == {"authorization": "Bearer sk-own"}


@pytest.mark.parametrize(
    "url",
    ["https://mirror.example/v1", "http://api.openai.com/v1", "https://api.openai.com:444", "http://localhost:1/v1"],
)
def test_when_a_provider_moves_its_table_must_say_which_key_goes_there(loaded: Loaded, url: str) -> None:
    moved = f"[providers.openai]\nbase_url = '{url}'"
    with pytest.raises(ConfigError, match=r"config\.toml:1: \[providers\.openai\] is at another host") as caught:
        loaded(user=moved, OPENAI_API_KEY="sk-own")
    assert 'credential_env = ["OPENAI_API_KEY"]' in caught.value.hint
    found = target(loaded(user=f"{moved}\ncredential_env = []", OPENAI_API_KEY="sk-own"))
    assert (found.endpoint.base_url, found.endpoint.headers) == (url, {})


def test_a_provider_without_a_key_moves_without_a_word(loaded: Loaded) -> None:
    found = target(loaded(user="[providers.ollama]\nbase_url = 'http://box:11434/v1'"), "ollama/x")
    assert (found.endpoint.base_url, found.endpoint.headers) == ("http://box:11434/v1", {})


def test_what_signs_for_one_host_signs_for_no_other_unasked(loaded: Loaded) -> None:
    moved = "[providers.vertex]\nbase_url = 'https://mirror.example/v1'\n"
    with pytest.raises(ConfigError, match=r"vertex\] is at another host"):
        loaded(user=moved)
    (row,) = loaded(user=f"{moved}credential_env = []").rows
    assert row.signing is None
    (row,) = loaded(user=f"{moved}credential_env = 'MY_TOKEN'").rows
    assert (row.signing, row.credential_env) == ("google", ("MY_TOKEN",))


def test_it_stays_behind_with_an_api_base_too(loaded: Loaded) -> None:
    router = build_client(loaded(OPENAI_API_KEY="sk-own")).router
    assert router.resolve("openai/gpt-4o", api_base="https://mirror.example/v1").endpoint.headers == {}


def test_another_path_of_the_same_host_is_still_its_own(loaded: Loaded) -> None:
    user = "[providers.openai]\nbase_url = 'https://API.openai.com/v2'"
    assert target(loaded(user=user, OPENAI_API_KEY="sk-own")).endpoint.headers == {"authorization": "Bearer sk-own"}


@pytest.mark.parametrize("binding", ["api_key = 'env:OPENAI_API_KEY'", "credential_env = 'OPENAI_API_KEY'"])
def test_the_users_file_may_bind_it_to_another_host(loaded: Loaded, binding: str) -> None:
    found = target(loaded(user=f"{ELSEWHERE}{binding}", OPENAI_API_KEY="sk-own"))
    assert found.endpoint.base_url == "https://mirror.example/v1"
    assert found.endpoint.headers == {"authorization": "Bearer sk-own"}


def test_a_provider_of_ones_own_is_asked_in_its_dialect_with_its_key(loaded: Loaded) -> None:
    user = (
        "[providers.work]\nbase_url = 'https://llm.work.example/v1'\napi_key = 'env:WORK_KEY'\n"
        "patterns = ['work/*', 'house-*']\ncodec = 'anthropic_messages'\nauth = 'x-api-key'"
    )
    settings = loaded(user=user, WORK_KEY="sk-work")
    for model in ("work/house-1", "house-1"):
        found = target(settings, model)
        assert (found.model, found.name) == ("house-1", "work/house-1")
        assert found.endpoint.headers == {"x-api-key": "sk-work"}


def test_a_users_row_takes_the_place_of_the_one_of_its_name(loaded: Loaded) -> None:
    router = build_client(loaded(user=UNBOUND)).router
    assert [row.base_url for row in router.rows if row.name == "openai"] == ["https://mirror.example/v1"]


def test_a_key_that_is_not_set_is_named(loaded: Loaded) -> None:
    settings = loaded(user=f"{ELSEWHERE}api_key = 'env:WORK_KEY'", OPENAI_API_KEY="sk-own")
    with pytest.raises(MissingCredentialError) as caught:
        target(settings)
    assert "WORK_KEY" in caught.value.hint


def test_a_broken_reference_of_an_unused_provider_breaks_nothing(loaded: Loaded) -> None:
    user = "[providers.groq]\napi_key = 'file:not/there'\n[providers.mistral]\napi_key = 'keyring:a/b'"
    settings = loaded(user=user, OPENAI_API_KEY="sk-own")
    assert target(settings).endpoint.headers == {"authorization": "Bearer sk-own"}
    assert build_client(settings).plan("hi").model == "openai/gpt-4o-mini"
    with pytest.raises(MissingCredentialError, match="not/there"):
        target(settings, "groq/x")


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("[providers.work]\ncodec = 'gemini'", "config.toml:1: .providers.work.: there is no such provider"),
        ("[providers.'my work']\nbase_url = 'http://h'", "config.toml:1: .*'my work' is no name"),
        ("[providers.local]\nbase_url = 'http://h'", "config.toml:1: .*no settings of this kind"),
    ],
)
def test_a_table_that_is_no_row_is_refused(loaded: Loaded, user: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        loaded(user=user)


def test_two_files_never_mix_the_key_of_one_with_the_host_of_the_other(loaded: Loaded, project: Path) -> None:
    user = "[providers.work]\nbase_url = 'https://llm.work.example/v1'\napi_key = 'env:WORK_KEY'"
    settings = loaded(user=user, shared="[providers.work]\nbase_url = 'http://localhost:9/v1'", WORK_KEY="sk-work")
    found = target(settings, "work/x")
    assert (found.endpoint.base_url, found.endpoint.headers) == ("http://localhost:9/v1", {})
    assert settings.origins["providers.work"] == f"project file {project / 'llm_call.toml'}"
