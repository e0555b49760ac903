"""A whole call: `ask` beside its own transport, and beside the libraries that do the same work.

CPU of one call, 64 at a time to the same stub. Each contestant is a process, since the peers cannot all be installed
together; they take turns, and each one's best round counts. What is not installed is left out, and said so.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from contestant import CONTESTANTS
from harness import AT_A_TIME, ENVIRONMENT, HERE, PEERS_PYTHON, Row, upstream

ROUNDS = 5
SECONDS = 0.25  # of CPU that a round takes, about
MOST = 3000  # calls in a round
OURS = {"ask": "an ask", "ask uvloop": "an ask under uvloop"}
BARE = "its transport alone"
TARGETS = {"an ask": "target 150 us", "an ask under uvloop": "target 90 us"}


class Process(NamedTuple):
    """A contestant that waits for a count. `name` is its own, with `uvloop` behind it where that is its loop."""

    name: str
    version: str
    popen: subprocess.Popen[str]

    def cpu(self, count: int) -> float:
        """CPU seconds of one of `count` calls."""
        assert self.popen.stdin is not None  # noqa: S101  (for the type checker)
        assert self.popen.stdout is not None  # noqa: S101  (the same)
        self.popen.stdin.write(f"{count}\n")
        self.popen.stdin.flush()
        return float(self.popen.stdout.readline())


def measure() -> list[Row]:
    """All figures of this file."""
    commands = {name: [sys.executable, name] for name in ("ask", "transport", "litellm")}
    commands |= {f"{name} uvloop": [sys.executable, name, "uvloop"] for name in ("ask", "transport")}
    commands |= {name: [str(PEERS_PYTHON), name] for name in CONTESTANTS if name not in commands}
    with upstream() as url, ExitStack() as stack:
        processes = [
            process
            for name, command in commands.items()
            if (process := stack.enter_context(started(name, command, url))) is not None
        ]
        return rows(best(processes), {process.name: process.version for process in processes})


@contextmanager
def started(name: str, command: Sequence[str], url: str) -> Iterator[Process | None]:
    """The contestant's process; `None`, with a word about it, where its library is not installed."""
    python, contestant, *loop = command
    whole = [python, str(HERE / "contestant.py"), contestant, url, *loop]
    pipe = subprocess.PIPE
    try:
        popen = subprocess.Popen(whole, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT)
    except FileNotFoundError:
        print(f"{name} is left out: there is no {python}", file=sys.stderr)
        yield None
        return
    with popen:
        assert popen.stdout is not None  # noqa: S101  (for the type checker)
        try:
            version = popen.stdout.readline().strip()
            ready = Process(name, version, popen) if version and _answers(name, version, popen) else None
            if ready is None:
                print(f"{name} is left out: it is not installed, or does not start", file=sys.stderr)
            yield ready
        finally:
            popen.terminate()


def _answers(name: str, version: str, popen: subprocess.Popen[str]) -> bool:
    try:
        Process(name, version, popen).cpu(AT_A_TIME)
    except (ValueError, BrokenPipeError):
        return False
    return True


def best(processes: Sequence[Process]) -> dict[str, float]:
    """CPU seconds of a call of each: the best of rounds in which they take turns."""
    counts = {each.name: min(MOST, max(AT_A_TIME, int(SECONDS / each.cpu(2 * AT_A_TIME)))) for each in processes}
    taken: dict[str, list[float]] = {each.name: [] for each in processes}
    for _ in range(ROUNDS):
        for each in processes:
            taken[each.name].append(each.cpu(counts[each.name]))
    return {name: min(times) for name, times in taken.items()}


def rows(taken: dict[str, float], versions: dict[str, str]) -> list[Row]:
    """Ours beside its transport, under either loop, and beside each peer."""
    found = []
    for name, what in OURS.items():
        bare = name.replace("ask", "transport")
        if name in taken:
            floor = taken[bare] * 1e6 if bare in taken else None
            found.append(Row(what, taken[name] * 1e6, "us", floor, BARE, TARGETS[what]))
    peers = [name for name in taken if name.partition(" ")[0] not in {"ask", "transport"}]
    return found + [
        Row("an ask", taken["ask"] * 1e6, "us", taken[name] * 1e6, f"{name} {versions[name]}") for name in peers
    ]
