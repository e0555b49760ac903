"""State in this process."""

import asyncio
import threading

from msgspec import Struct

from llm_call.core.state.memory import MemoryStore
from llm_call.testing.clock import FakeClock


class Count(Struct, frozen=True):
    n: int = 0


def add(count: Count | None, _now: float) -> tuple[Count, int]:
    n = (count.n if count else 0) + 1
    return Count(n), n


def keep(count: Count | None, _now: float) -> tuple[Count | None, None]:
    return count, None


def test_a_state_is_forgotten_some_time_after_its_last_change() -> None:
    clock = FakeClock()
    store = MemoryStore(clock.now)

    async def main() -> None:
        await store.update("k", Count, add, expires=10)
        clock.advance(9)
        assert await store.update("k", Count, add, expires=10) == 2
        clock.advance(9)
        await store.update("k", Count, keep, expires=10)
        assert (await store.read("k", Count))[0] == Count(2)
        clock.advance(1)
        assert await store.read("k", Count) == (None, 19)

    asyncio.run(main())


def test_keys_that_are_used_no_more_take_no_memory() -> None:
    clock = FakeClock()
    store = MemoryStore(clock.now)

    async def main() -> None:
        for number in range(10_000):
            clock.advance(1)
            await store.update(f"k{number}", Count, add, expires=10)

    asyncio.run(main())
    assert len(store._held) < 2_000


def test_threads_lose_nothing_to_each_other() -> None:
    store = MemoryStore()

    async def many() -> None:
        for _ in range(2_000):
            await store.update("k", Count, add, expires=60)

    threads = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asyncio.run(store.read("k", Count))[0] == Count(8_000)
