"""Run every property in full, with a recorded seed, and write what was run and found to docs/reports/prove.md."""

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
REPORT = ROOT / "docs" / "reports" / "prove.md"
_TEST = re.compile(r"^(tests/.+):$", re.MULTILINE)
_EXAMPLES = re.compile(r"(\d+) passing(?: examples)?, (\d+) failing")


def run(seed: int) -> tuple[int, str]:
    """The exit code and the output of every test that is a property, under the profile with the full counts."""
    command = [sys.executable, "-m", "pytest", "-m", "hypothesis or schedules", "-v", f"--hypothesis-seed={seed}"]
    command += ["--hypothesis-show-statistics", "-p", "no:cacheprovider"]
    environment = {**os.environ, "LLM_CALL_TEST_PROFILE": "prove", "PYTHONUNBUFFERED": "1"}
    lines = []
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout or ():
            lines.append(line)
            if "%]" in line:
                print(line.rstrip(), flush=True)
    return running.returncode, "".join(lines)


def rows(output: str) -> list[tuple[str, int, int]]:
    """Each property with its passing and failing examples."""
    parts = _TEST.split(output)[1:]
    found = []
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        counts = _EXAMPLES.search(text)
        if counts:
            found.append((name, int(counts[1]), int(counts[2])))
    return found


def report(seed: int, output: str, properties: list[tuple[str, int, int]], code: int) -> str:
    """The page."""
    lines = [
        "# Properties in full",
        "",
        f"Written by `make prove` on {datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, seed {seed}.",
        f"Outcome: {'every property held' if code == 0 else 'a property failed'}; {_last_line(output)}.",
        "",
        "| property | passing examples | failing examples |",
        "|---|---:|---:|",
        *(f"| `{name}` | {passing} | {failing} |" for name, passing, failing in properties),
        f"| **all {len(properties)}** | {sum(row[1] for row in properties)} | {sum(row[2] for row in properties)} |",
    ]
    return "\n".join(lines) + "\n"


def _last_line(output: str) -> str:
    return output.strip().split("\n")[-1].strip("= ")


def main() -> int:
    """Run, write, and pass on the exit code."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 20261121
    print(f"Running every property in full (seed {seed}); this takes minutes.", flush=True)
    code, output = run(seed)
    properties = rows(output)
    REPORT.write_text(report(seed, output, properties, code), encoding="utf-8")
    if code or not properties:
        print(output[-6000:])
    print(f"{len(properties)} properties, {sum(row[1] for row in properties)} examples: {_last_line(output)}")
    return code or (0 if properties else 1)


if __name__ == "__main__":
    sys.exit(main())
