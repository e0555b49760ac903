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
_TEST = re.compile(r"^(tests/\S+):$", re.MULTILINE)
_EXAMPLES = re.compile(
    r"during generate phase.*?(\d+) passing examples, (\d+) failing examples, (\d+) invalid", re.DOTALL
)


def run(seed: int) -> subprocess.CompletedProcess[str]:
    """Every test that is a property, under the profile with the full counts."""
    command = [sys.executable, "-m", "pytest", "-m", "hypothesis", f"--hypothesis-seed={seed}"]
    command += ["--hypothesis-show-statistics", "-p", "no:cacheprovider"]
    environment = {**os.environ, "LLM_CALL_TEST_PROFILE": "prove"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


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
    done = run(seed)
    properties = rows(done.stdout)
    REPORT.write_text(report(seed, done.stdout, properties, done.returncode), encoding="utf-8")
    if done.returncode or not properties:
        print(done.stdout[-6000:], done.stderr[-2000:], sep="\n")
    print(f"{len(properties)} properties, {sum(row[1] for row in properties)} examples: {_last_line(done.stdout)}")
    return done.returncode or (0 if properties else 1)


if __name__ == "__main__":
    sys.exit(main())
