"""What cases may say about keys and hosts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_call.core.config import Settings
from llm_call.core.config.cases import CaseGuard, case_guard
from llm_call.core.config.trust import TrustStore
from llm_call.core.domain.errors import ConfigError, MissingCredentialError
from llm_call.core.router import Router

FOREIGN = "https://mirror.example/v1"


@pytest.fixture
def store(loaded: Callable[..., Settings]) -> TrustStore:
    return loaded().trust


@pytest.fixture
def guard(project: Path, loaded: Callable[..., Settings]) -> CaseGuard:
    return case_guard(project / "cases.json", loaded(RUNPOD_API_KEY="k"), {"MINE": "sk-mine"})


@pytest.mark.parametrize(
    "config",
    [
        {"model": "openai/x"},
        {"model": "openai/x", "api_base": FOREIGN},
        {"model": "openai/x", "api_key": "sk-case"},
        {"model": "openai/x", "api_key": "sk-case", "api_base": "https://api.openai.com/v1"},
        {"model": "x", "provider": "openai", "api_key": "sk-case", "api_base": "https://api.openai.com/v2/"},
        {"model": "x", "api_key": "sk-case", "api_base": "http://127.0.0.1:8000/v1"},
        {"model": "x", "api_key": 3, "api_base": 4},
    ],
)
def test_what_sends_no_key_abroad_passes_as_it_is(guard: CaseGuard, config: dict[str, Any]) -> None:
    assert guard(config) == config


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model": "openai/x", "api_key": "sk-case", "api_base": FOREIGN}, "to another host"),
        ({"model": "x", "api_key": "sk-case", "api_base": "http://api.openai.com/v1"}, "to another host"),
        ({"model": "openai/x", "api_key": "env:MINE"}, "says where a key is"),
        ({"model": "runpod/their-pod/m"}, "whose machine gets a key"),
        (
            {"model": "openai/x", "ladder": [{"kind": "model", "model": "runpod/their-pod/m"}]},
            "whose machine gets a key",
        ),
        ({"model": "openai/x", "fallback_models": ["runpod/their-pod/m"]}, "whose machine gets a key"),
        ({"model": "azure/theirs/m", "api_key": "sk-case"}, "whose machine gets a key"),
        ({"model": "openai/x", "api_key": "env:MINE", "api_base": FOREIGN}, "says where a key is"),
    ],
)
def test_what_does_needs_a_folder_that_is_trusted(
    guard: CaseGuard, store: TrustStore, project: Path, config: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        guard(config)
    assert f"llm-call trust {project}" in caught.value.hint
    assert "sk-case" not in f"{caught.value.message}{caught.value.hint}"
    store.add(project)
    assert guard(config)["model"] == config["model"]


def test_in_a_trusted_folder_a_reference_is_looked_up(guard: CaseGuard, store: TrustStore, project: Path) -> None:
    store.add(project)
    assert guard({"model": "openai/x", "api_key": "env:MINE"})["api_key"] == "sk-mine"
    with pytest.raises(MissingCredentialError):
        guard({"model": "openai/x", "api_key": "env:OTHER"})


def test_a_key_of_the_environment_never_follows_the_api_base_of_a_case() -> None:
    router = Router(credentials={"OPENAI_API_KEY": "sk-own"})
    assert router.resolve("openai/x", api_base=FOREIGN).endpoint.headers == {}
    assert router.resolve("openai/x", api_base="https://api.openai.com/v1").endpoint.headers == {}


SERVERS = {"mcpServers": {"files": {"command": "file-server", "args": ["/"]}}}


@pytest.mark.parametrize("key", ["mcp_config", "debug_tool_mcp_config"])
def test_tools_are_started_for_a_case_only_where_the_user_allows_it(
    project: Path, loaded: Callable[..., Settings], key: str
) -> None:
    case = {"model": "openai/x", key: SERVERS}
    with pytest.raises(ConfigError, match=r"(?s)files: .*file-server /") as caught:
        case_guard(project / "cases.json", loaded(), {})(case)
    assert "--allow-tools" in caught.value.hint
    assert case_guard(project / "cases.json", loaded(), {}, allow_tools=True)(case) == case
    assert case_guard(project / "cases.json", loaded(user="tools.allow = true"), {})(case) == case
