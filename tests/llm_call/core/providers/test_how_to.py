"""The how-to is carried out: its table through the user's settings, its row through a copy of our own sources."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from llm_call.cli.listing import provider_lines
from llm_call.core.client import Client
from llm_call.core.config import load
from llm_call.core.providers.user_rows import ProviderTable, user_rows
from llm_call.core.router import Router
from llm_call.testing.scripted import ScriptedTransport, chat_reply

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "how_to_add_a_provider.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def the_row() -> str:
    """The row of the how-to, as it stands there."""
    block = blocks("python")[0]
    (call,) = [
        node
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Provider"
    ]
    return ast.get_source_segment(block, call) or ""


def test_its_table_makes_a_provider_that_answers_and_is_listed() -> None:
    rows = user_rows(tomllib.loads(blocks("toml")[0])["providers"])
    transport = ScriptedTransport(chat_reply("hello"))
    router = Router(rows=rows, credentials={"EXAMPLE_API_KEY": "sk-secret"})
    client = Client(router=router, transports={"http": lambda: transport})
    assert client.ask_sync("hi", model="example/some-model").value == "hello"
    assert transport.endpoints[0].base_url == "https://api.example.com/v1"
    assert transport.endpoints[0].headers == {"authorization": "Bearer sk-secret"}
    line = provider_lines(router, load({}))[0]
    assert line[:3] == ("example", "ready", "EXAMPLE_API_KEY is set")
    assert "sk-secret" not in str(line)


@pytest.mark.parametrize("text", blocks("toml"))
def test_every_table_of_the_page_is_one(text: str) -> None:
    assert user_rows(tomllib.loads(text)["providers"])


def test_the_page_tells_every_key_of_a_table() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == set(ProviderTable.__struct_fields__)


def test_its_row_has_at_most_eight_lines() -> None:
    assert the_row().count("\n") + 1 <= 8


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our sources with the row of the how-to among the others, and no other edit."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("src", "scripts", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    tests = folder / "tests" / "llm_call" / "core" / "providers"
    tests.mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copy(ROOT / "tests" / "conftest.py", folder / "tests")
    shutil.copy(Path(__file__).with_name("test_rows.py"), tests)
    rows = folder / "src" / "llm_call" / "core" / "providers" / "rows.py"
    text = rows.read_text(encoding="utf-8")
    rows.write_text(text.replace("COMPATIBLE = (", f"COMPATIBLE = (\n{the_row()},", 1), encoding="utf-8")
    return folder


def run(folder: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_row_is_tested_without_another_edit(copy: Path) -> None:
    told = run(copy, "-m", "pytest", "-p", "no:cacheprovider", "-vv", "tests/llm_call/core/providers/test_rows.py")
    tested = set(re.findall(r"::(test_\w+)\[example\] PASSED", told))
    assert tested == {
        "test_a_row_is_well_formed",
        "test_a_request_goes_there_in_its_dialect_with_its_key_under_its_models_name",
        "test_a_missing_key_is_named",
        "test_each_of_its_variables_may_hold_the_key",
    }


def test_its_row_stands_in_the_table_of_the_docs_without_another_edit(copy: Path) -> None:
    command = "import generate; print(generate.providers_page())"
    told = run(copy, "-c", f"import sys; sys.path.insert(0, 'scripts'); {command}")
    assert "| example | `example/*`, `example-*` | openai_chat | EXAMPLE_API_KEY | https://api.example.com/v1 |" in told


def test_its_row_is_listed_by_the_command_without_another_edit(copy: Path) -> None:
    told = run(copy, "-m", "llm_call.cli.main", "providers")
    assert re.search(r"^example +needs EXAMPLE_API_KEY +not set", told, re.MULTILINE)
    assert "https://api.example.com/v1" in run(copy, "-m", "llm_call.cli.main", "providers")
