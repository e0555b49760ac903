"""A process with a client made from its settings, for the tests of several: `python caller.py NAME`.

It says `ready`, and then does what each line of JSON on its input asks for, all at the same time; what it says is JSON too,
a line each: what came of a call, and what the client tells of the shared state. It ends when its input does.
"""
# ruff: noqa: T201  (what it prints is its answer)

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from llm_call import Client, LLMCallError
from llm_call.core.config import build_client, load
from llm_call.core.domain.alert import Alert

_NAME = sys.argv[1]


class Log(logging.Handler):
    """Says what is logged of the shared state."""

    def emit(self, record: logging.LogRecord) -> None:
        _say(log=record.getMessage())


def _alert(alert: Alert) -> None:
    _say(alert=alert.kind)


def _say(**what: Any) -> None:
    print(msgspec.json.encode(what).decode(), flush=True)


async def _ask(client: Client, **options: Any) -> str:
    """The text of the answer, or the name of the error."""
    try:
        result = await client.ask(f"{_NAME} asks.", **options)
    except LLMCallError as error:
        return type(error).__name__
    return result.text


async def _asks(client: Client, times: int, options: dict[str, Any]) -> None:
    """Ask so many times at once."""

    async def ask() -> None:
        _say(answer=await _ask(client, **options))

    await asyncio.gather(*(ask() for _ in range(times)))


async def _goes_on(client: Client, until: str, options: dict[str, Any]) -> None:
    """Ask again and again until the answer is `until`, or for ever; and say how often each answer came."""
    said: dict[str, int] = {}
    _going.add(asyncio.current_task())
    try:
        while until not in said:
            text = await _ask(client, **options)
            said[text] = said.get(text, 0) + 1
            await asyncio.sleep(0.002)  # a pace, for the other processes of the test
    except asyncio.CancelledError:
        _say(went_on=said)
    else:
        _say(until=said)


_going: set[Any] = set()


async def main() -> None:
    client = build_client(load(os.environ, folder=Path.cwd()), alert=_alert)
    logging.getLogger("llm_call.state").addHandler(Log())
    _say(ready=True)
    async with client, asyncio.TaskGroup() as tasks:
        while line := await asyncio.to_thread(sys.stdin.readline):
            work = msgspec.json.decode(line)
            if "times" in work:
                tasks.create_task(_asks(client, work["times"], work["options"]))
            else:
                tasks.create_task(_goes_on(client, work["until"], work["options"]))
        for task in _going:
            task.cancel()
    _say(closed=True)


if __name__ == "__main__":
    asyncio.run(main())
