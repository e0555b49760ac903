from pathlib import Path

import pytest

from llm_call.core.config import Settings, build_client, load, shown
from llm_call.core.domain.errors import ConfigError, UnsupportedError


def settings(tmp_path: Path, text: str = "", **environment: str) -> Settings:
    folder = tmp_path / "llm_call"
    folder.mkdir(exist_ok=True)
    if text:
        (folder / "config.toml").write_text(text, encoding="utf-8")
    return load({"XDG_CONFIG_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), **environment})


def test_without_anything_the_defaults_hold(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert found.origins == {}
    assert found.config.claude_proxy_url == "http://localhost:8002"
    assert {origin for _, _, origin in shown(found)} == {"default"}


def test_the_environment_comes_before_the_file_and_each_value_tells_its_origin(tmp_path: Path) -> None:
    text = 'default_model = "openai/a"\n[local]\nthreads = 2\ncontext_tokens = 512\n'
    found = settings(tmp_path, text, LLM_CALL_DEFAULT_MODEL="openai/b", LLM_CALL_LOCAL_THREADS="3")
    assert (found.config.default_model, found.config.local.threads, found.config.local.context_tokens) == ("openai/b", 3, 512)  # fmt: skip
    origins = {name: origin for name, _, origin in shown(found)}
    assert origins["default_model"] == "environment"
    assert origins["local.threads"] == "environment"
    assert origins["local.context_tokens"] == "file"
    assert origins["timeouts.connect"] == "default"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("defalt_model = 'x'", "default_model"),
        ("[local]\nthread = 1", "threads"),
        ("[local]\nthreads = 'many'", "threads"),
        ("[local]\nthreads = 0", "at least 1"),
        ("local = 3", "local"),
        ("not toml", "config.toml"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, text)
    assert said in caught.value.message + caught.value.hint


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, LLM_CALL_LOCAL_THREADS="many")
    assert "threads" in caught.value.message
    assert "LLM_CALL_LOCAL_THREADS" in caught.value.hint


def test_keys_are_taken_up_and_never_shown(tmp_path: Path) -> None:
    found = settings(tmp_path, OPENAI_API_KEY="sk-secret")
    assert "sk-secret" not in repr(found)
    target = build_client(found).router.resolve("openai/gpt-4o")
    assert target.endpoint.headers["authorization"] == "Bearer sk-secret"


def test_the_client_takes_the_default_model_and_the_proxy(tmp_path: Path) -> None:
    ours = build_client(settings(tmp_path, 'default_model = "local/smollm2-135m"', OPENAI_API_KEY="k"))
    assert ours.plan("hi").model == "local/smollm2-135m"
    with pytest.raises(UnsupportedError):
        ours.plan("hi", model="max/opus")
    proxied = build_client(settings(tmp_path, LLM_CALL_CLAUDE_PROXY_URL="http://localhost:9000"))
    assert proxied.plan("hi", model="max/opus").targets[0].endpoint.base_url == "http://localhost:9000/v1"


def test_another_model_file_names_another_model(tmp_path: Path) -> None:
    ours = build_client(settings(tmp_path, LLM_CALL_LOCAL_MODEL="/models/Tiny-Q4.gguf"))
    assert ours.plan("hi").model == "local/tiny-q4"
