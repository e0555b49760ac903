"""The documentation is run: its Python blocks work, its console blocks print what they say, its links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")


def blocks(language: str) -> list[Any]:
    found = []
    for page in PAGES:
        if "reports" in page.parts:
            continue  # they are the output of a run already
        for number, (name, text) in enumerate(_BLOCK.findall(page.read_text(encoding="utf-8"))):
            if name == language:
                found.append(pytest.param(text, id=f"{page.relative_to(ROOT)}:{number}"))
    return found


@pytest.mark.model
@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks_run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.model
@pytest.mark.parametrize("session", blocks("console"))
def test_console_blocks_print_what_they_say(session: str) -> None:
    command, _, expected = session.removeprefix("$ ").partition("\n")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S602  (our own page)
    assert done.stdout == expected, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link
