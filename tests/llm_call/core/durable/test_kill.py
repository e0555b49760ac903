"""Processes that make durable calls and decide reviews are killed at random points: nothing is lost, nothing is doubled."""

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llm_call.core.client import Client
from llm_call.core.durable.desk import Desk
from llm_call.core.durable.journal import REPEATED
from llm_call.core.durable.settings import ReviewSettings

WORKER = Path(__file__).parent / "worker.py"
PROVE = os.environ.get("LLM_CALL_TEST_PROFILE") == "prove"
KILLS = 24 if PROVE else 3
NAMES = tuple(f"{kind}-{number:02}" for number in range(16 if PROVE else 3) for kind in ("call", "review"))
LINES = {"call": '{"age": 7}', "review": "old"}


class Counting:
    """Is set when so many more requests have come as it was told."""

    def __init__(self) -> None:
        self._left = 0
        self._reached = threading.Event()

    def expect(self, requests: int) -> None:
        self._left = requests
        self._reached.clear()

    def count(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._reached.set()

    def wait(self) -> bool:
        return self._reached.wait(5)


class Model(ThreadingHTTPServer):
    """Answers `old`, and a call that is asked again with a number. Counts what it is asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: Counter[str] = Counter()
        self.until = Counting()
        self.pause = threading.Event()  # never set: what it takes a model to answer

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed hears no answer."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Answering(BaseHTTPRequestHandler):
    server: Model

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        messages = body["messages"]
        self.server.asked[json.dumps(messages)] += 1
        self.server.until.count()
        self.server.pause.wait(0.1)
        name = next(name for name in NAMES if name in messages[0]["content"])
        text = LINES[name.partition("-")[0]] if len(messages) > 1 else "old"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        answer = json.dumps({"id": "x", "object": "chat.completion", "model": "m", "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def model() -> Iterator[Model]:
    with Model() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@contextmanager
def worker(database: str, server: Model, folder: Path, who: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(WORKER), database, server.url, str(folder), who, *NAMES]
    errors = (folder / f"{who}.err").open("w+", encoding="utf-8")
    with errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def killed(process: subprocess.Popen[str], server: Model, chance: random.Random) -> bool:
    """Kill the process while a model answers it, or when it has said so much; whether it had not ended by then."""
    assert process.stdout is not None
    if chance.random() < 0.7:
        server.until.expect(chance.randint(1, 4))
        server.until.wait()
    else:
        for _, _line in zip(range(chance.randint(1, 8)), process.stdout, strict=False):
            pass
    process.kill()
    return process.wait() == -9


def come(process: subprocess.Popen[str], errors: Path) -> dict[str, Any]:
    assert process.stdout is not None
    *_, last = process.stdout
    assert process.wait() == 0, errors.read_text(encoding="utf-8")
    return json.loads(last)  # type: ignore[no-any-return]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "durable.db")
    return str(request.getfixturevalue("postgresql_url"))


def test_what_is_killed_at_random_points_is_finished_once(database: str, tmp_path: Path) -> None:
    chance = random.Random(KILLS)  # noqa: S311  (which points: the same again)
    with model() as server:
        kills = 0
        for number in range(KILLS):
            with worker(database, server, tmp_path, f"w{number}") as one:
                if number % 2:
                    with worker(database, server, tmp_path, f"v{number}") as other:
                        kills += killed(other, server, chance)
                kills += killed(one, server, chance)
        with worker(database, server, tmp_path, "x") as one, worker(database, server, tmp_path, "y") as other:
            ends, ends_of_the_other = come(one, tmp_path / "x.err"), come(other, tmp_path / "y.err")
    assert ends == ends_of_the_other
    assert {name: end["value"] for name, end in ends.items()} == {
        name: {"age": 7 if name.startswith("call") else 5} for name in NAMES
    }
    attempts = [attempt for end in ends.values() for attempt in end["attempts"]]
    repeated = sum(REPEATED in why for _, why in attempts)
    assert kills
    again = {body: count - 1 for body, count in server.asked.items() if count > 1}
    assert len(again) <= repeated
    assert sum(again.values()) <= kills * len(NAMES)
    _check_chains(database, tmp_path, {end["id"] for end in ends.values()})


def _check_chains(database: str, folder: Path, ids: set[str]) -> None:
    async def cases() -> Any:
        client = Client(durable=lambda client: Desk(client, ReviewSettings(database=database), state=folder))
        desk: Any = client.durable()
        try:
            return await desk.cases()
        finally:
            await client.close()

    found = asyncio.run(cases())
    assert {case.id for case in found} == ids
    for case in found:
        assert sum(link.came.what == "ended" for link in case.links) == 1
        assert [int(link.id.partition(".")[2] or 0) for link in case.links] == list(range(len(case.links)))
