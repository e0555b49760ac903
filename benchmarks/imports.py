"""Start-up: CPU of whole processes, beside a Python that does nothing.

Compiled bytecode is used, whatever PYTHONDONTWRITEBYTECODE says here. The file of the user is not read.
"""

import subprocess
import sys
from pathlib import Path

from harness import PEERS_PYTHON, Row, child_cpu, upstream

ASK = 'import llm_call; llm_call.ask_sync("hi", model="openai/gpt-4o-mini", api_base={url!r}, api_key="x").unwrap()'

PEERS = {
    "openai": str(PEERS_PYTHON),
    "any_llm": str(PEERS_PYTHON),
    "pydantic_ai": str(PEERS_PYTHON),
    "litellm": sys.executable,
}


def measure() -> list[Row]:
    """All figures of this file."""
    with upstream() as url:
        taken = child_cpu(
            {
                "python that does nothing": [sys.executable, "-c", "pass"],
                "import llm_call": [sys.executable, "-c", "import llm_call"],
                "llm-call --help": [sys.executable, "-m", "llm_call", "--help"],
                "the client and its HTTP transport": [sys.executable, "-c", "import llm_call.core.transport.http"],
                "process start to the first answer of ask_sync": [sys.executable, "-c", ASK.format(url=url)],
            }
        )
    floor = taken.pop("python that does nothing")
    return [
        Row(what, seconds * 1e3, "ms", floor * 1e3, "python that does nothing", f"{(seconds - floor) * 1e3:+.0f} ms")
        for what, seconds in taken.items()
    ] + peers(taken["import llm_call"] - floor)


def peers(ours: float) -> list[Row]:
    """What importing each peer costs beside importing ours, both without the bare Python under them."""
    commands = {
        f"import {name}": [python, "-c", f"import {name}"] for name, python in PEERS.items() if _imports(python, name)
    }
    bare = {f"python of {python}": [python, "-c", "pass"] for python in {command[0] for command in commands.values()}}
    taken = child_cpu({**bare, **commands}, rounds=2)
    return [
        Row("import llm_call", ours * 1e3, "ms", (taken[what] - taken[f"python of {command[0]}"]) * 1e3, what)
        for what, command in commands.items()
    ]


def _imports(python: str, name: str) -> bool:
    command = [python, "-c", f"import importlib.util, sys; sys.exit(not importlib.util.find_spec({name!r}))"]
    there = Path(python).exists() and subprocess.run(command, check=False, timeout=60).returncode == 0
    if not there:
        print(f"{name} is left out: it is not installed", file=sys.stderr)
    return there
