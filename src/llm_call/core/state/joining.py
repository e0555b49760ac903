"""Updates of one key that wait in one event loop, carried out as one.

A shared store takes a round trip for each update, and tasks that want the same key at the same time would only get into
each other's way. So while one update is on its way, the others wait in a line, and then go together: a thousand calls
that start at once ask a shared limit twice, not a thousand times. The work is done in a task of its own, so that a call
that is cancelled breaks off nobody's command.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from msgspec import Struct

from llm_call.core.state.store import Change, S

_Place: TypeAlias = tuple[asyncio.AbstractEventLoop, str]


class _Update(NamedTuple):
    change: Change[Any, Any]
    expires: float
    answer: "asyncio.Future[Any]"


class _Raised(Struct, frozen=True):
    error: Exception


class CarryOut(Protocol):
    """What an update is done with in the end: `SharedStore.update`."""

    async def __call__(self, key: str, type_: type[S], change: Change[S, Any], *, expires: float) -> Any:
        """The answer of `change`."""


class Joining:
    """The lines in which updates wait. Those of one event loop know nothing of another's."""

    def __init__(self, carry_out: CarryOut) -> None:
        self._carry_out = carry_out
        self._lines: dict[_Place, list[_Update]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def update(self, key: str, type_: type[S], change: Change[S, Any], *, expires: float) -> Any:
        """As `SharedStore.update`."""
        loop = asyncio.get_running_loop()
        update = _Update(change, expires, loop.create_future())
        line = self._lines.get((loop, key))
        if line is not None:
            line.append(update)
        else:
            self._lines[loop, key] = [update]
            task = loop.create_task(self._serve((loop, key), type_))
            self._tasks.add(task)  # a loop holds its tasks weakly
            task.add_done_callback(self._tasks.discard)
        return await update.answer

    async def _serve(self, place: _Place, type_: type[Any]) -> None:
        updates: list[_Update] = []
        try:
            while updates := self._lines[place]:
                self._lines[place] = []
                await self._serve_together(place[1], type_, [each for each in updates if not each.answer.done()])
        finally:
            for update in (*updates, *self._lines.pop(place)):  # some are left where the loop ends
                update.answer.cancel()

    async def _serve_together(self, key: str, type_: type[Any], updates: Sequence[_Update]) -> None:
        if not updates:  # all were cancelled before they began
            return
        expires = max(each.expires for each in updates)
        try:
            answers = await self._carry_out(key, type_, _together([each.change for each in updates]), expires=expires)
        except Exception as error:  # noqa: BLE001  (a state that cannot be written, say: theirs to hear)
            answers = [_Raised(error)] * len(updates)
        for update, answer in zip(updates, answers, strict=True):
            _settle(update.answer, answer)


def _together(changes: Iterable[Change[Any, Any]]) -> Change[Any, list[Any]]:
    """One change that does what `changes` do one after the other. One that raises leaves the state to the next."""

    def change(state: Any, now: float) -> tuple[Any, list[Any]]:
        answers: list[Any] = []
        for each in changes:
            try:
                state, answer = each(state, now)
            except Exception as error:  # noqa: BLE001  (its caller's, and no other's)
                answer = _Raised(error)
            answers.append(answer)
        return state, answers

    return change


def _settle(future: "asyncio.Future[Any]", answer: Any) -> None:
    if future.done():  # its caller was cancelled meanwhile
        return
    if isinstance(answer, _Raised):
        future.set_exception(answer.error)
    else:
        future.set_result(answer)
