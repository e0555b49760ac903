"""The gate before each place: leave for an attempt and back, with nothing to wait for, and what idle gates cost."""

import asyncio
import tracemalloc
from collections.abc import Mapping
from time import process_time

from harness import Row

from llm_call.core.state.gates import Gates, Place, place_of
from llm_call.core.transport.base import SystemClock

PLACE = place_of("openai", "gpt-5", "https://api.example.com/v1", {"authorization": "Bearer x"})
HEADERS = {
    "content-type": "application/json",
    "x-ratelimit-remaining-requests": "99",
    "x-ratelimit-remaining-tokens": "9",
}
TIMES = 10_000
ROUNDS = 7
GATES = 10_000


def measure() -> list[Row]:
    """All figures of this file."""
    return [
        Row("a permit: enter, success, exit", permits({}), "us", note="target 5 us"),
        Row("the same, with quota headers", permits(HEADERS), "us", note="target 5 us"),
        Row("an idle gate", asyncio.run(_idle()), "bytes", note=f"of {GATES:,}"),
    ]


def permits(headers: Mapping[str, str]) -> float:
    """Microseconds of one permit of a closed breaker, state in this process, no limits."""
    return min(asyncio.run(_permits(headers)) for _ in range(ROUNDS)) * 1e6


async def _permits(headers: Mapping[str, str]) -> float:
    gates = Gates(clock=SystemClock())
    started = process_time()
    for _ in range(TIMES):
        with await gates.enter(PLACE) as permit:
            permit.succeeded(0.5, headers)
    return (process_time() - started) / TIMES


async def _idle() -> float:
    tracemalloc.start()
    gates = Gates(clock=SystemClock())
    for number in range(GATES):
        with await gates.enter(Place(provider="p", model=f"m{number}")) as permit:
            permit.succeeded(0.5, {})
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken / GATES
