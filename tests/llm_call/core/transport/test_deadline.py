import asyncio

import pytest

from llm_call.core.transport.deadline import is_late, within
from llm_call.testing.clock import FakeClock


async def sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return f"slept {seconds:g}"


async def outcome(limit: float, seconds: float) -> tuple[str, float]:
    loop = asyncio.get_running_loop()
    try:
        said = await within(limit, sleep(seconds))
    except TimeoutError:
        said = "late"
    return said, loop.time()


def test_what_ends_in_time_is_given_back() -> None:
    assert FakeClock().run(within(2, sleep(1))) == "slept 1"


def test_what_takes_too_long_is_cancelled_at_its_time() -> None:
    said, at = FakeClock().run(outcome(2, 3))
    assert (said, at) == ("late", 2)


def test_each_of_many_has_its_own_time_whatever_their_order() -> None:
    async def many() -> list[tuple[str, float]]:
        return list(await asyncio.gather(outcome(5, 9), outcome(1, 9), outcome(3, 2), outcome(2, 9), outcome(1, 0.5)))

    assert FakeClock().run(many()) == [("late", 5), ("late", 1), ("slept 2", 2), ("late", 2), ("slept 0.5", 0.5)]


def test_one_after_another_on_the_same_loop_each_has_its_whole_time() -> None:
    async def one_by_one() -> list[tuple[str, float]]:
        return [await outcome(10, 1), await outcome(10, 8), await outcome(10, 11)]

    assert FakeClock().run(one_by_one()) == [("slept 1", 1), ("slept 8", 9), ("late", 19)]


def test_a_cancelled_caller_is_cancelled_not_late() -> None:
    async def cancelled() -> float:
        task = asyncio.create_task(outcome(5, 9))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return asyncio.get_running_loop().time()

    assert FakeClock().run(cancelled()) == 1


def test_the_inner_of_two_deadlines_does_not_end_the_outer() -> None:
    async def nested() -> tuple[str, float]:
        return await within(5, outcome(1, 9))

    assert FakeClock().run(nested()) == ("late", 1)


def test_the_outer_of_two_deadlines_ends_the_inner() -> None:
    async def nested() -> str:
        try:
            await within(1, outcome(5, 9))
        except TimeoutError:
            return "outer"
        return "inner"

    assert FakeClock().run(nested()) == "outer"


@pytest.mark.parametrize("outer", [5, 60])
@pytest.mark.parametrize("inner", [5, 60])
def test_a_caller_who_leaves_in_the_moment_in_which_a_time_is_up_is_heeded(outer: int, inner: int) -> None:
    async def tidy() -> str:
        try:
            await within(inner, sleep(90))
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if not is_late():
                raise
        return "answer"

    async def leave() -> None:
        task = asyncio.create_task(within(outer, tidy()))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_at(5.0, task.cancel)
        await task

    assert FakeClock().run(within(outer, tidy())) == "answer"
    with pytest.raises(asyncio.CancelledError):
        FakeClock().run(leave())
