"""The commands as a shell starts them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llm_call import __version__

NAMES = """
default_model = "safe"
[aliases]
fast = "local/smollm2-135m"
[routes.safe]
targets = ["openai/x", "fast"]
[routes.spread]
strategy = "weighted"
targets = [{ model = "openai/x", weight = 3 }, "fast"]
"""


def llm_call(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "llm_call.cli.main", *words]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60
    )


def test_help_names_every_command() -> None:
    done = llm_call("--help")
    assert done.returncode == 0
    for command in ("ask", "models", "providers", "validators", "config", "test"):
        assert command in done.stdout


def test_models_tells_what_can_be_used_now() -> None:
    done = llm_call("models")
    assert done.returncode == 0
    assert "needs OPENAI_API_KEY" in done.stdout
    assert "max/*" in done.stdout
    assert "ready" in llm_call("models", OPENAI_API_KEY="sk-secret").stdout


def test_models_of_one_provider_and_of_none() -> None:
    done = llm_call("models", "--provider", "gemini")
    assert "\ngemini/" in done.stdout
    assert "openai" not in done.stdout
    wrong = llm_call("models", "--provider", "opnai")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "Did you mean openai?" in wrong.stderr


def test_providers_tells_for_each_what_it_needs() -> None:
    environment = {"OPENAI_API_KEY": "sk-secret", "AWS_BEARER_TOKEN_BEDROCK": "sk-secret", "AZURE_API_KEY": "sk-secret"}
    done = llm_call("providers", **environment, AWS_REGION="eu-west-1")
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in done.stdout.splitlines()}
    assert lines["openai"].startswith("ready OPENAI_API_KEY is set documented form openai_chat https://api.openai.com")
    assert lines["bedrock"].startswith("ready AWS_BEARER_TOKEN_BEDROCK is set")
    assert lines["azure"].startswith("ready, as azure/<resource>/<model> AZURE_API_KEY is set")
    assert lines["groq"].startswith("needs GROQ_API_KEY not set")
    assert lines["llamacpp"].startswith("ready needs none real server")
    assert lines["github"].startswith("retired")
    assert "sk-secret" not in done.stdout + done.stderr


def test_validators_lists_them_and_describes_one() -> None:
    assert "field_present" in llm_call("validators").stdout
    described = llm_call("validators", "contains").stdout
    assert "required_text" in described
    assert "substring" in described
    wrong = llm_call("validators", "contians")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "Did you mean contains" in wrong.stderr


def test_config_show_tells_every_value_and_its_origin() -> None:
    done = llm_call("config", "show", LLM_CALL_DEFAULT_MODEL="openai/x", OPENAI_API_KEY="sk-secret")
    assert 'default_model = "openai/x"  # environment' in done.stdout
    assert "OPENAI_API_KEY is set" in done.stdout
    assert "sk-secret" not in done.stdout + done.stderr


def test_a_wrong_setting_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "llm_call").mkdir()
    (tmp_path / "llm_call" / "config.toml").write_text("nonsense = 1", encoding="utf-8")
    done = llm_call("config", "show", XDG_CONFIG_HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["nonsense"], ["ask"]])
def test_a_wrong_command_line_exits_with_2(words: list[str]) -> None:
    done = llm_call(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_the_version_is_told_in_one_line() -> None:
    done = llm_call("--version")
    assert (done.returncode, done.stdout) == (0, f"llm-call {__version__}\n")


@pytest.mark.parametrize("words", [[], ["ask"], ["conversations", "list"]])
def test_the_short_name_of_help_works_everywhere(words: list[str]) -> None:
    assert llm_call(*words, "-h").stdout == llm_call(*words, "--help").stdout


def column_begins_alike(lines: list[str], name: str) -> bool:
    """Whether the column of that name begins at the same place in every line."""
    start = lines[0].index(name)
    return all(line[start - 2 : start].isspace() and not line[start].isspace() for line in lines)


def test_models_are_in_columns_however_long_a_name_is() -> None:
    models, _, patterns = llm_call("models").stdout.partition("\n\n")
    assert column_begins_alike(models.splitlines(), "state")
    assert column_begins_alike(patterns.splitlines()[1:], "patterns")
    assert column_begins_alike(patterns.splitlines()[1:], "state")


def test_models_lists_the_names_of_the_user_with_what_they_stand_for(tmp_path: Path) -> None:
    (tmp_path / "llm_call").mkdir()
    (tmp_path / "llm_call" / "config.toml").write_text(NAMES, encoding="utf-8")
    shown = llm_call("models", XDG_CONFIG_HOME=str(tmp_path)).stdout
    lines = {line.split(" ")[0]: " ".join(line.split()[1:]) for line in shown.splitlines() if line}
    assert lines["fast"] == "local/smollm2-135m"
    assert lines["safe"] == "priority: openai/x, fast (default)"
    assert lines["spread"] == "weighted: openai/x (3), fast (1)"
    assert "fast" not in llm_call("models", "--provider", "openai", XDG_CONFIG_HOME=str(tmp_path)).stdout


def test_an_empty_list_says_so(tmp_path: Path) -> None:
    for words in (("conversations", "list"), ("trust", "--list")):
        done = llm_call(*words, XDG_STATE_HOME=str(tmp_path))
        assert (done.returncode, done.stdout) == (0, "")
        assert "no " in done.stderr


@pytest.mark.parametrize("locale", ["strict", "surrogateescape"])
@pytest.mark.parametrize("words", [["ask", "-"], ["chat"], ["embed", "-"]])
def test_input_that_is_no_text_is_one_line(words: list[str], locale: str, tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "PYTHONIOENCODING": f"utf-8:{locale}"}
    command = [sys.executable, "-m", "llm_call", *words]
    done = subprocess.run(command, input=b"\xff\n", env=environment, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"error: the input is no UTF-8. Convert it, for example with iconv.\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_cannot_be_written_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "llm_call", "config", "show"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the output cannot be written")
    assert "Traceback" not in done.stderr
