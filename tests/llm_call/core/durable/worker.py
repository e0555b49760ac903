"""A process to be killed at any moment: python worker.py DATABASE MODEL_URL FOLDER WHO NAME...

It begins a durable call for each name, unless it was begun, decides what it is asked, and prints what all came to.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from llm_call.core.client import Client
from llm_call.core.domain.errors import ConfigError, DeadlineExceededError
from llm_call.core.domain.review import Decision
from llm_call.core.durable.desk import Desk
from llm_call.core.durable.settings import ReviewSettings

AGE = {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}}


def say(*words: object) -> None:
    print(*words, flush=True)  # noqa: T201  (its answer)


async def main(database: str, url: str, folder: Path, who: str, names: list[str]) -> None:
    client = Client(durable=lambda client: Desk(client, ReviewSettings(database=database), state=folder))
    desk: Any = client.durable()
    await desk.open()
    await desk.backend.take_over_all()
    say("open")
    try:
        ids = {name: await _begun(client, url, name) for name in names}
        say("begun")
        say(json.dumps({name: await _ended(client, desk, identity, who) for name, identity in ids.items()}))
    finally:
        await client.close()


async def _begun(client: Client, url: str, name: str) -> str:
    ladder = ["reask", "human"] if name.startswith("review") else ["reask"]
    config = {"model": "m", "api_base": url, "question": name, "schema": AGE, "ladder": ladder}
    return await client.submit(config, key=name)


async def _ended(client: Client, desk: Any, identity: str, who: str) -> Any:
    while True:
        try:
            result = await client.wait(identity, timeout=0.1)
        except DeadlineExceededError:
            say("waiting", identity)
            await _decide(desk, identity, who)
            continue
        attempts = [[each.number, each.why] for each in result.trace.attempts]
        return {"id": identity, "value": result.value, "attempts": attempts}


async def _decide(desk: Any, identity: str, who: str) -> None:
    came = (await desk.case(identity, seconds=0.0)).standing
    if came is None or came.what != "open":
        return
    again = Decision(action="retry", by=who, changes={"feedback": "Once more."})
    edit = Decision(action="edit", by=who, value={"age": 5})
    try:
        await desk.decide(identity, again if len(came.asked.trace.rounds) <= 2 else edit, face="test")
    except ConfigError:  # the other one's decision is being carried out
        return


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4], sys.argv[5:]))
