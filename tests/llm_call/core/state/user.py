"""A process that uses shared state, for the tests of several: `python user.py URL TASKS UPDATES SHIFT`.

It first shifts its own clocks by SHIFT seconds. Then TASKS tasks each try UPDATES times to take from one bucket, and one
line of JSON says what they took. With `outage` behind it, it goes on through one.
"""
# ruff: noqa: T201  (what it prints is its answer)

import asyncio
import json
import sys
import time

_SHIFT = float(sys.argv[4])
_real_time, _real_monotonic = time.time, time.monotonic
time.time = lambda: _real_time() + _SHIFT  # before anything takes hold of them
time.monotonic = lambda: _real_monotonic() + _SHIFT

from msgspec import Struct  # noqa: E402

from llm_call.core.state.store import StoreChange  # noqa: E402
from llm_call.core.state.valkey import ValkeyStore  # noqa: E402


class Bucket(Struct, frozen=True, kw_only=True):
    left: int


def take(bucket: Bucket | None, now: float) -> tuple[Bucket, tuple[int | None, float]]:
    """One of a thousand; `None` when all are taken."""
    left = bucket.left if bucket else 1_000
    return Bucket(left=max(0, left - 1)), (left or None, now)


async def _takes(store: ValkeyStore, updates: int) -> list[tuple[int | None, float]]:
    return [await store.update("bucket", Bucket, take, expires=600) for _ in range(updates)]


async def contention(url: str, tasks: int, updates: int) -> None:
    """Say `ready`, wait for a line of input, and say which numbers were taken, and at what times."""
    store = ValkeyStore(url, timeout=20, listen=_tell)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    taken = [each for task in await asyncio.gather(*(_takes(store, updates) for _ in range(tasks))) for each in task]
    print(json.dumps({"taken": [number for number, _ in taken if number], "times": [now for _, now in taken]}))


async def outage(url: str, tasks: int, updates: int) -> None:
    """Go on through an outage: say `running`, then what is told, as soon as it is; the clock jumps at a line of input."""
    clock = [0.0]
    told = ["running"]

    def listen(change: StoreChange) -> None:
        told.append(change.status)

    store = ValkeyStore(url, timeout=20, listen=listen, now=lambda: clock[0])
    for number in range(3):
        while number >= len(told):
            await asyncio.gather(*(_takes(store, updates) for _ in range(tasks)))
        print(told[number], flush=True)
        if told[number] == "away":
            await asyncio.to_thread(sys.stdin.readline)  # the server is there again
            clock[0] += 100
    print(json.dumps(told))


def _tell(change: StoreChange) -> None:
    print(change.why, file=sys.stderr)


if __name__ == "__main__":
    work = outage if sys.argv[5:] == ["outage"] else contention
    asyncio.run(work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
