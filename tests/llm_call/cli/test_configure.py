"""Settings of one run, and folders that are trusted, from the command line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llm_call.cli.main import app
from llm_call.core import api
from llm_call.core.config import load
from llm_call.testing.scripted import ScriptedTransport, chat_reply

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    (folder / ".git").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, project: Path) -> Run:
    """Each run is a process of its own, as far as the settings are concerned."""

    def llm_call(*words: str) -> tuple[int, str, str]:
        for name, value in (("_client", None), ("_settings", None), ("_load", load)):
            monkeypatch.setattr(api, name, value)
        done = CliRunner().invoke(app, list(words))
        return done.exit_code, done.stdout, done.stderr

    return llm_call


def test_set_changes_a_setting_for_one_run(run: Run) -> None:
    code, out, _ = run("--set", "timeouts.connect=3", "--set", "default_model=a/b", "config", "show")
    assert code == 0
    assert "timeouts.connect = 3.0  # argument" in out
    assert 'default_model = "a/b"  # argument' in out
    assert "timeouts.connect = 10.0  # default" in run("config", "show")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["timeouts.conn=3"], "Did you mean timeouts.connect?"),
        (["timeouts.connect"], "has no value"),
        (["timeouts.connect=soon"], "Expected `float`"),
    ],
)
def test_a_wrong_setting_is_one_line(run: Run, words: list[str], said: str) -> None:
    code, out, err = run("--set", *words, "config", "show")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_config_show_names_the_files_and_where_each_value_comes_from(
    run: Run, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config" / "llm_call" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[providers.work]\nbase_url = 'https://h/v1'\napi_key = 'env:WORK'", encoding="utf-8")
    (project / "llm_call.toml").write_text("timeouts.total = 3", encoding="utf-8")
    monkeypatch.setenv("WORK", "sk-secret")
    monkeypatch.setenv("LLM_CALL_DEFALT_MODEL", "x")
    code, out, err = run("config", "show")
    lines = out.splitlines()
    assert code == 0
    assert lines[:2] == [f"# user file: {file}", f"# project file: {project / 'llm_call.toml'}"]
    assert f"timeouts.total = 3.0  # project file {project / 'llm_call.toml'}" in lines
    assert f'providers.work.api_key = "<set by env:WORK>"  # user file {file}' in lines
    assert "# WORK is set" in lines
    assert "sk-secret" not in out
    assert err == "warning: LLM_CALL_DEFALT_MODEL is no setting. Did you mean LLM_CALL_DEFAULT_MODEL?\n"


def test_a_folder_is_trusted_until_its_file_changes(run: Run, project: Path) -> None:
    file = project / "llm_call.toml"
    file.write_text("[http]\nproxy = 'off'", encoding="utf-8")
    code, out, err = run("models")
    assert (code, out) == (2, "")
    assert err == (
        f"error: {file}:2: a project may set http.proxy only in a folder that you trust."
        f" Look at the file; then run `llm-call trust {project}`, or take it out.\n"
    )
    assert run("trust") == (0, f"{project} is trusted. Its llm_call.toml sets: http.proxy\n", "")
    code, out, _ = run("config", "show")
    assert code == 0
    assert f"# project file: {file} (trusted)" in out
    assert run("trust", "--list") == (0, f"{project}\n", "")
    file.write_text("[http]\nproxy = 'off'\nca_file = 'x'", encoding="utf-8")
    assert run("config", "show")[0] == 2
    assert run("trust", "--list")[1] == f"{project}  (changed since: not trusted)\n"


def test_trust_can_be_taken_back(run: Run, project: Path) -> None:
    assert run("trust", str(project)) == (0, f"{project} is trusted\n", "")
    assert run("trust", "--remove") == (0, f"{project} is trusted no more\n", "")
    assert run("trust", "--list") == (0, "", "no folder is trusted\n")
    code, _, err = run("trust", "--remove")
    assert code == 2
    assert err.startswith(f"error: {project} is not trusted.")


@pytest.mark.parametrize("how", ["option", "variable"])
def test_trust_for_one_run(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    (project / "llm_call.toml").write_text("http.proxy = 'off'", encoding="utf-8")
    if how == "variable":
        monkeypatch.setenv("LLM_CALL_TRUST", "1")
    code, out, _ = run(*(["--trust"] if how == "option" else []), "config", "show")
    assert code == 0
    assert 'http.proxy = "off"' in out
    assert run("trust", "--list")[1] == ""


def test_a_folder_with_a_wrong_file_or_none_at_all_is_not_trusted(run: Run, project: Path) -> None:
    assert run("trust", "nowhere")[0] == 2
    (project / "llm_call.toml").write_text("nonsense = 1", encoding="utf-8")
    code, _, err = run("trust")
    assert code == 2
    assert "unknown key 'nonsense'" in err
    assert run("trust", "--list")[1] == ""


def test_a_case_may_send_its_key_elsewhere_only_from_a_trusted_folder(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = ScriptedTransport(chat_reply("fine"))
    monkeypatch.setattr("llm_call.core.providers.transports._http", lambda _: transport)
    (project / "cases").mkdir()
    (project / "cases" / "cases.json").write_text(
        '[{"test_case_id": "a", "llm_config": {"model": "openai/gpt-4o", "question": "hi", "api_key": "sk-of-the-case",'
        ' "api_base": "https://mirror.example/v1"}}]',
        encoding="utf-8",
    )
    code, out, _ = run("test", "run", "cases/cases.json")
    assert code == 1
    assert "cases.json:1: llm_config sends a key to another host than its provider's" in out
    assert transport.requests == []
    run("trust")
    code, out, _ = run("test", "run", "cases/cases.json")
    assert (code, transport.endpoints[0].base_url) == (0, "https://mirror.example/v1")


def test_a_warning_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "config" / "llm_call" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[providers.groq]\napi_key = 'zq-012345'", encoding="utf-8")
    file.chmod(0o644)
    command = [sys.executable, "-m", "llm_call", "config", "show"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == f"warning: a key is in {file}, which others may read: run chmod 600 {file}\n"
