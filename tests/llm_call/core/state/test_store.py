"""What holds of every store: in this process, and on a real server."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from llm_call.core.state.memory import MemoryStore
from llm_call.core.state.store import Change, SharedStore
from llm_call.core.state.valkey import ValkeyStore


class Log(Struct, frozen=True, kw_only=True):
    lines: tuple[str, ...] = ()


def write(line: str) -> Change[Log, tuple[str, ...]]:
    """Append `line`; the answer is what stood there."""

    def change(log: Log | None, _now: float) -> tuple[Log, tuple[str, ...]]:
        lines = log.lines if log else ()
        return Log(lines=(*lines, line)), lines

    return change


def look(log: Log | None, _now: float) -> tuple[Log | None, tuple[str, ...]]:
    return log, log.lines if log else ()


def remove(log: Log | None, _now: float) -> tuple[None, bool]:
    return None, log is not None


def fail(log: Log | None, _now: float) -> tuple[Log | None, tuple[str, ...]]:
    raise LookupError("mine")


@pytest.fixture(params=["memory", "valkey"])
def stores(request: pytest.FixtureRequest, url: str) -> Callable[[], tuple[SharedStore, SharedStore]]:
    """Makes two users of one store."""

    def in_memory() -> tuple[SharedStore, SharedStore]:
        store = MemoryStore()
        return store, store

    def on_the_server() -> tuple[SharedStore, SharedStore]:
        kept.append((ValkeyStore(url, timeout=20), ValkeyStore(url, timeout=20)))
        return kept[-1]

    kept: list[tuple[SharedStore, SharedStore]] = []  # until their event loop has closed their connections

    return in_memory if request.param == "memory" else on_the_server


Stores = Callable[[], tuple[SharedStore, SharedStore]]
Step = tuple[str, int]
# Of each task: what it does, and how long it waits before each time, in turns of the event loop.
PLANS = st.lists(
    st.lists(st.tuples(st.sampled_from(["write", "write", "look", "fail"]), st.integers(0, 6)), max_size=5),
    min_size=2,
    max_size=6,
)


async def _task(store: SharedStore, key: str, name: int, steps: list[Step]) -> list[tuple[str, tuple[str, ...]]]:
    """What the task wrote (nothing: it only looked) and what it saw each time."""
    seen = []
    for number, (kind, turns) in enumerate(steps):
        for _ in range(turns):
            await asyncio.sleep(0)
        line = f"{name}.{number}" if kind == "write" else ""
        change = {"write": write(line), "look": look, "fail": fail}[kind]
        try:
            seen.append((line, await store.update(key, Log, change, expires=60)))
        except LookupError:
            assert kind == "fail"
    return seen


@given(plans=PLANS)
def test_updates_of_many_tasks_happen_as_if_one_after_the_other(
    stores: Stores, new_key: Callable[[], str], plans: list[list[Step]]
) -> None:
    key = new_key()

    async def main() -> tuple[list[list[tuple[str, tuple[str, ...]]]], tuple[str, ...]]:
        users = stores()
        tasks = (_task(users[number % 2], key, number, steps) for number, steps in enumerate(plans))
        seen = await asyncio.gather(*tasks)
        log, _ = await users[0].read(key, Log)
        return seen, log.lines if log else ()

    seen, lines = asyncio.run(main())
    written = [line for each in seen for line, _ in each if line]
    assert sorted(lines) == sorted(written)  # nothing is lost, nothing is there twice
    for each in seen:
        assert [saw for _, saw in each] == sorted((saw for _, saw in each), key=len)  # nobody sees time go back
        for line, saw in each:
            assert lines[: len(saw)] == saw
            assert not line or lines[len(saw)] == line  # what it saw is what it replaced


def test_none_is_given_where_there_is_nothing_yet_and_removes_what_is_there(stores: Stores, key: str) -> None:
    async def main() -> None:
        store, other = stores()
        assert (await store.read(key, Log))[0] is None
        assert not await store.update(key, Log, remove, expires=60)
        await store.update(key, Log, write("a"), expires=60)
        assert (await other.read(key, Log))[0] == Log(lines=("a",))
        assert await other.update(key, Log, remove, expires=60)
        assert (await store.read(key, Log))[0] is None

    asyncio.run(main())


def test_time_does_not_go_back_and_is_the_same_for_a_read(stores: Stores, key: str) -> None:
    async def main() -> list[float]:
        store, other = stores()
        return [
            await store.update(key, Log, lambda _, now: (None, now), expires=60),
            (await other.read(key, Log))[1],
            await other.update(key, Log, lambda _, now: (None, now), expires=60),
        ]

    times = asyncio.run(main())
    assert times == sorted(times)
    assert times[2] - times[0] < 60


def test_an_error_of_a_change_is_its_callers_and_changes_nothing(stores: Stores, key: str) -> None:
    async def main() -> None:
        store, _ = stores()
        one, two, three = await asyncio.gather(
            store.update(key, Log, write("a"), expires=60),
            store.update(key, Log, fail, expires=60),
            store.update(key, Log, write("b"), expires=60),
            return_exceptions=True,
        )
        assert (one, three) == ((), ("a",))
        assert isinstance(two, LookupError)

    asyncio.run(main())
