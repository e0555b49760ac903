"""Run the benchmarks: `python benchmarks/run.py [GROUP ...]`.

Without arguments every group runs and docs/benchmarks.md is written anew. A group that cannot run says why, the others
run all the same, and the exit code is 1.
"""

import os
import platform
import sys
from datetime import UTC, datetime
from importlib import import_module
from types import ModuleType

from harness import HERE, Row, markdown, table

GROUPS = ("core", "gates", "waiting", "peers", "extraction", "http_client", "imports")
REPORT = HERE.parent / "docs" / "benchmarks.md"


def main(names: list[str]) -> int:
    """Run the groups of these names, or all."""
    unknown = [name for name in names if name not in GROUPS]
    if unknown:
        print(f"no such group: {', '.join(unknown)}; there are {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    sections = {name: section for name in names or GROUPS if (section := run(name))}
    complete = len(sections) == len(names or GROUPS)
    if complete and not names:
        REPORT.write_text(report(sections), encoding="utf-8")
    return 0 if complete else 1


def run(name: str) -> tuple[ModuleType, list[Row]] | None:
    """The group's module and its rows, which are printed; `None` if it cannot run."""
    try:
        module = import_module(name)
        rows: list[Row] = module.measure()
    except Exception as error:  # noqa: BLE001  (whatever hinders one group, the others run)
        print(f"{name} cannot run: {type(error).__name__}: {error}\n", file=sys.stderr)
        return None
    print(f"{summary(module)}\n\n{table(rows)}\n")
    return module, rows


def report(sections: dict[str, tuple[ModuleType, list[Row]]]) -> str:
    """The page of all groups."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    parts = [
        "# Benchmarks",
        "Written by `make bench`; not edited by hand.",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine}.",
        "CPU time, the best of interleaved rounds. Absolute figures differ from machine to machine: compare ratios.",
    ]
    for name, (module, rows) in sections.items():
        parts += [f"## {name}", (module.__doc__ or "").strip(), markdown(rows)]
    return "\n\n".join(parts) + "\n"


def summary(module: ModuleType) -> str:
    """The first line of the module's docstring."""
    return (module.__doc__ or "").strip().split("\n")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
