"""Ten thousand calls that wait in backoff: what they cost in memory, and what they do meanwhile, which should be nothing.

Each has a prompt of its own of 1 KB and has been told by its peer, with 503 and `retry-after`, to come again in a
minute. Memory is what the process has grown by since before the first of them, its prompts included; CPU is what it
uses in three seconds of the real clock while all of them wait. Breaker and retry budget are off: with them, most of the
calls would not be sent, or would give up.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import process_time

from harness import Row

from llm_call import Client, Router
from llm_call.core.policy.breaker import BreakerPolicy
from llm_call.core.policy.retry_budget import RetryBudgetPolicy
from llm_call.core.state.gates import GatePolicies
from llm_call.core.transport.base import Endpoint, Reply, Timeouts
from llm_call.core.wire.base import WireRequest

CALLS = 10_000
SECONDS = 3.0
_OPEN_GATES = GatePolicies(breaker=BreakerPolicy(enabled=False), retry_budget=RetryBudgetPolicy(enabled=False))
_PAGE = os.sysconf("SC_PAGE_SIZE")
_ANSWER = b'{"id":"x","model":"m","choices":[{"index":0,"message":{"content":"ok"},"finish_reason":"stop"}]}'
_REFUSAL = b'{"error":{"message":"come again"}}'


def measure() -> list[Row]:
    """All figures of this file, from a process of its own."""
    done = subprocess.run([sys.executable, __file__], check=True, capture_output=True, text=True, timeout=120)
    found = json.loads(done.stdout)
    return [
        Row("10,000 waiting calls", found["rss"] / 1e6, "MB", note="target 200 MB"),
        Row("one waiting call", found["rss"] / CALLS / 1e3, "KB", note="its prompt of 1 KB included"),
        Row("CPU while they wait", found["cpu"] / SECONDS * 100, "%", note="of one core; target 0"),
    ]


class _Reply:
    def __init__(self, status: int) -> None:
        self.status = status
        self.headers = {"retry-after": "60"} if status != _GOOD else {}

    async def read(self) -> bytes:
        return _ANSWER if self.status == _GOOD else _REFUSAL

    async def chunks(self) -> AsyncIterator[bytes]:
        yield await self.read()


_GOOD = 200


class Refusing:
    """Answers the first requests, then refuses as many as `bad`, and sets `all_refused`."""

    def __init__(self, good: int, bad: int) -> None:
        self.good = good
        self.bad = bad
        self.asked = 0
        self.all_refused = asyncio.Event()

    @asynccontextmanager
    async def open(self, endpoint: Endpoint, request: WireRequest, timeouts: Timeouts) -> AsyncIterator[Reply]:  # noqa: ARG002  (the protocol's)
        """An answer or a refusal."""
        self.asked += 1
        if self.asked == self.good + self.bad:
            self.all_refused.set()
        yield _Reply(_GOOD if self.asked <= self.good else 503)

    async def close(self) -> None:
        """Nothing is held."""


async def waiting(calls: int, seconds: float) -> dict[str, float]:
    """How many bytes `calls` take that wait, and the CPU time that passes in `seconds` of it."""
    warm = 200
    peer = Refusing(good=warm, bad=calls)
    router = Router(credentials={"OPENAI_API_KEY": "x"})
    client = Client(router=router, transports={"http": lambda: peer}, gates=_OPEN_GATES)
    for number in range(warm):
        await client.ask(_prompt(number), model="openai/gpt-4o-mini")
    before = _resident()
    tasks = [asyncio.create_task(client.ask(_prompt(each), model="openai/gpt-4o-mini")) for each in range(calls)]
    await peer.all_refused.wait()
    await asyncio.sleep(0.2)
    started = process_time()
    await asyncio.sleep(seconds)
    found = {"cpu": process_time() - started, "rss": _resident() - before, "asked": peer.asked - warm}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return found


def _prompt(number: int) -> str:
    return f"{number:>8} ".ljust(1024, "x")


def _resident() -> int:
    """The process's resident memory in bytes (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE


if __name__ == "__main__":
    print(json.dumps(asyncio.run(waiting(CALLS, SECONDS))))
