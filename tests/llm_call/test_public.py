"""What the package shows of itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import llm_call

ROOT = Path(__file__).parent.parent.parent

COLD = """
import sys
before = set(sys.modules)
opened = []
sys.addaudithook(lambda event, args: opened.append((event, args)) if event in watched else None)
watched = {"socket.connect", "socket.bind", "subprocess.Popen", "os.putenv", "os.mkdir"}
import llm_call
loaded = {name for name in sys.modules if name not in before}
print(sorted(loaded), opened)
"""


def test_the_public_names_are_these_and_each_is_there() -> None:
    names = sorted(llm_call.__all__)
    assert len(names) <= 40
    assert dir(llm_call) == names
    for name in names:
        assert getattr(llm_call, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        getattr(llm_call, "nonsense")  # noqa: B009  (a type checker refuses the plain form)


def test_importing_the_package_loads_nothing_of_it_and_does_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", COLD], capture_output=True, text=True, check=True)
    loaded, _, effects = done.stdout.strip().partition("] ")
    assert "'llm_call'" in loaded
    assert not any(name in loaded for name in ("llm_call.core", "asyncio", "msgspec", "typer"))
    assert effects == "[]"


def test_type_checkers_see_every_public_name() -> None:
    stub = ast.parse((ROOT / "src/llm_call/__init__.pyi").read_text(encoding="utf-8"))
    imported = {alias.asname for node in ast.walk(stub) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported | {"__version__"} == set(llm_call.__all__)


def test_what_is_generated_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_type_checker_accepts_the_public_names_and_refuses_others(tmp_path: Path) -> None:
    good = "import llm_call\nresult = llm_call.ask_sync('hi', model='x', timeout=3.0)\nprint(result.text, result.unwrap())\n"
    bad = "import llm_call\nllm_call.nonsense\nllm_call.ask_sync('hi', modle='x')\nllm_call.ask_sync('hi', timeout='soon')\n"
    (tmp_path / "good.py").write_text(good, encoding="utf-8")
    (tmp_path / "bad.py").write_text(bad, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-incremental",
        "--follow-imports=silent",
        "good.py",
        "bad.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    lines = [line.split(" error:")[0] for line in done.stdout.splitlines() if " error:" in line]
    assert lines == ["bad.py:2:", "bad.py:3:", "bad.py:4:"], done.stdout
