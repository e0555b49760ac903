from collections.abc import Mapping
from typing import Any

import pytest

from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.profile import Profile
from llm_call.core.providers.rows import OPENAI, PROVIDERS
from llm_call.core.providers.user_rows import ProviderTable, user_rows
from llm_call.core.router import Router

URL = "https://api.example.com/v1"


def test_a_table_makes_a_provider() -> None:
    (row,) = user_rows({"example": {"base_url": f"{URL}/", "credential_env": "EXAMPLE_API_KEY"}})
    assert (row.name, row.patterns, row.base_url) == ("example", ("example/*",), URL)
    target = Router(rows=[row], credentials={"EXAMPLE_API_KEY": "k"}).resolve("example/a/b")
    assert (target.model, target.endpoint.headers) == ("a/b", {"authorization": "Bearer k"})


def test_every_key_is_taken() -> None:
    table = {
        "base_url": "https://{place}.example.com/v1",
        "codec": "anthropic_messages",
        "places": {"place": "here"},
        "patterns": ["example/*", "ex-*"],
        "credential_env": ["A", "B"],
        "auth": "api-key",
        "default_model": "m",
        "models": ["m", "n"],
        "profile": {"output_mode": "json", "tools": False},
        "api_key": "sk-secret",
    }
    assert set(table) == set(ProviderTable.__struct_fields__)
    (row,) = user_rows({"example": table})
    assert row.profile_of("m") == Profile(output_mode="json", tools=False)
    assert "sk-secret" not in repr(row)
    router = Router(rows=[row], credentials={"B": "k"})
    target = router.resolve("ex-m" if "ex-m" in row.models else "example/n")
    assert (target.endpoint.base_url, target.endpoint.headers) == ("https://here.example.com/v1", {"api-key": "k"})
    assert router.default_model() == "example/m"


def test_the_table_of_a_built_in_provider_changes_only_what_it_says() -> None:
    (row,) = user_rows({"openai": {"base_url": "http://localhost:1/v1"}})
    assert (row.base_url, row.patterns, row.profiles) == ("http://localhost:1/v1", OPENAI.patterns, OPENAI.profiles)
    router = Router(rows=[row], credentials={"OPENAI_API_KEY": "k"})
    assert router.resolve("gpt-4o").endpoint.base_url == "http://localhost:1/v1"
    assert [each.name for each in router.rows] == [each.name for each in PROVIDERS]


def test_a_key_under_the_providers_name_comes_before_its_variables() -> None:
    credentials = {"OPENAI_API_KEY": "a", "openai": "b", "ollama": "c"}
    router = Router(credentials=credentials)
    assert router.resolve("gpt-4o").endpoint.headers == {"authorization": "Bearer b"}
    assert router.resolve("ollama/m").endpoint.headers == {"authorization": "Bearer c"}


def test_a_key_is_looked_up_only_when_it_is_needed() -> None:
    class Broken(dict[str, str]):
        def __getitem__(self, key: str) -> str:
            raise ConfigError(f"{key} cannot be read")

    router = Router(credentials=Broken(openai="?", mistral="?"))
    assert router.resolve("ollama/m").endpoint.headers == {}
    with pytest.raises(ConfigError, match="mistral cannot be read"):
        router.resolve("mistral/m")


def test_a_place_of_the_table_fills_the_gap() -> None:
    rows = user_rows({"bedrock": {"places": {"region": "eu-west-1"}}})
    router = Router(rows=rows, credentials={"AWS_BEARER_TOKEN_BEDROCK": "k"}, places={"AWS_REGION": "us-east-1"})
    assert "eu-west-1" in router.resolve("bedrock/openai.gpt-oss-20b").endpoint.base_url
    assert router.provider_of("bedrock/anthropic.claude-x").name == "bedrockclaude"


@pytest.mark.parametrize(
    ("name", "table", "said"),
    [
        ("opnai", {"api_key": "k"}, "Did you mean openai"),
        ("example", {}, "needs a base_url"),
        ("example", {"base_ur": URL}, "Did you mean base_url"),
        ("example", {"base_url": URL, "profile": {"output_mod": "json"}}, "Did you mean output_mode"),
        ("example", {"base_url": "localhost:1"}, "no URL"),
        ("example", {"base_url": "https://user:pass@h/v1"}, "no URL"),
        ("example", {"base_url": "https://h/v1?key=1"}, "no URL"),
        ("example", {"base_url": 3}, "base_url"),
        ("example", {"base_url": URL, "codec": "openai"}, "codec"),
        ("example", {"base_url": URL, "patterns": "example/*"}, "patterns"),
        ("Exa mple", {"base_url": URL}, "no name"),
        ("example", {"base_url": URL, "auth": "basic"}, "auth"),
        ("claude_proxy", {"base_url": URL}, "Remove the table"),
        ("local", {"base_url": URL}, "Remove the table"),
        ("example", "https://h/v1", "a table is expected"),
    ],
)
def test_a_wrong_table_says_which_and_what(name: str, table: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        user_rows({name: table})
    assert f"[providers.{name}" in caught.value.message
    assert said in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("table", [{"api_key": "sk-secret", "codec": "x"}, {"base_url": "https://u:sk-secret@h"}])
def test_no_message_shows_a_secret(table: Mapping[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        user_rows({"openai": table})
    assert "sk-secret" not in f"{caught.value.message} {caught.value.hint}"
