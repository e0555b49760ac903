"""What the benchmarks share: a row of figures, fair timing, the upstream that is called, and tables.

A benchmark is a module here with `measure() -> list[Row]`. CPU time is what is compared, since it means the most on a
machine that others use too; those that are compared take turns, and each one's best round counts.
"""

import asyncio
import os
import resource
import statistics
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import NamedTuple

HERE = Path(__file__).parent
# litellm is spared the fetching of its price list, which would count against it where there is no network.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {
    "LITELLM_LOCAL_MODEL_COST_MAP": "true"
}
AT_A_TIME = 64
PEERS_PYTHON = HERE.parent / ".venv-bench" / "bin" / "python"
"""The Python of the peers that do not go together with what the project itself needs; `make bench` makes it."""
TITLES = ("what", "ours", "unit", "compared with", "theirs", "ratio", "note")


class Row(NamedTuple):
    """One figure, and what it is compared with: the least that the work can cost, or a peer."""

    what: str
    ours: float
    unit: str
    floor: float | None = None
    floor_name: str = ""
    note: str = ""


Job = Callable[[], Awaitable[object]]


async def compare(jobs: Mapping[str, Job], *, count: int, rounds: int = 7) -> dict[str, float]:
    """Best CPU seconds of one run of each job, this process's threads included; 64 of them run at a time."""
    for job in jobs.values():
        await cpu(job, AT_A_TIME * 2)
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            taken[name].append(await cpu(job, count))
    return {name: min(times) for name, times in taken.items()}


async def cpu(job: Job, count: int) -> float:
    """CPU seconds of one of `count` runs of `job`, 64 of them at a time."""
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await job()

    started = process_time()
    await asyncio.gather(*(worker() for _ in range(AT_A_TIME)))
    return (process_time() - started) / count


def child_cpu(commands: Mapping[str, Sequence[str]], *, rounds: int = 9) -> dict[str, float]:
    """Median CPU seconds of a process of each command. A first round, which fills caches, does not count."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            taken[name].append(_child(command))
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def _child(command: Sequence[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def upstream() -> Iterator[str]:
    """The base URL of a stub.c that runs as long as the context."""
    with TemporaryDirectory() as folder:
        program = f"{folder}/stub"
        subprocess.run(["cc", "-O2", "-o", program, str(HERE / "stub.c")], check=True, timeout=60)
        with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stub:
            assert stub.stdout is not None  # noqa: S101  (for the type checker)
            try:
                yield f"http://127.0.0.1:{int(stub.stdout.readline())}/v1"
            finally:
                stub.terminate()


def table(rows: Sequence[Row]) -> str:
    """The rows in aligned columns."""
    cells = [TITLES, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [TITLES, ("---", "---:", "---", "---", "---:", "---:", "---"), *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    if row.floor is None:
        return row.what, _figure(row.ours), row.unit, "", "", "", row.note
    ratio = f"{row.ours / row.floor:.2f}" if row.floor else ""
    return row.what, _figure(row.ours), row.unit, row.floor_name, _figure(row.floor), ratio, row.note


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
