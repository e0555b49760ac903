"""The tools of real MCP servers, over standard input and output and over HTTP."""

import asyncio
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvicorn

from llm_call.core.domain.errors import ConfigError, ConnectionFailedError
from llm_call.core.domain.messages import Media, Text, ToolCall, ToolResult
from llm_call.core.tools.base import ToolBox
from llm_call.core.tools.config import Server, ToolSettings, read_servers
from llm_call.core.tools.mcp import open_tools

T = TypeVar("T")
HERE = Path(__file__).parent
SCRIPT = HERE / "tool_server.py"
PROBE = runpy.run_path(str(SCRIPT))  # tests are no package: nothing in them can be imported


def program(*flags: str, **more: Any) -> dict[str, Any]:
    return {"command": sys.executable, "args": [str(SCRIPT), *flags], **more}


def servers(**entries: Any) -> tuple[Server, ...]:
    return read_servers({"mcpServers": entries}, folder=HERE, variables=os.environ)


def with_box(given: tuple[Server, ...], use: Callable[[ToolBox], Awaitable[T]], **options: Any) -> T:
    async def main() -> T:
        async with open_tools(given, **options) as box:
            return await use(box)

    return asyncio.run(main())


async def run(box: ToolBox, name: str, seconds: float | None = 30.0, **arguments: Any) -> ToolResult:
    return await box.run(ToolCall(id="1", name=name, arguments=json.dumps(arguments)), seconds=seconds)


def said(result: ToolResult) -> str:
    return "".join(part.text for part in result.parts if isinstance(part, Text))


def test_a_program_gives_its_tools_and_what_they_give(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MY_TOOL_KEY", "sesame-sesame")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-servers")
    monkeypatch.setenv("SHELL", "/bin/not-for-servers")

    async def use(box: ToolBox) -> None:
        names = {tool.name for tool in box.tools}
        assert {"add", "fail", "a_dotted_name"} < names
        add = next(tool for tool in box.tools if tool.name == "add")
        assert (add.description, add.parameters["required"]) == ("Add two numbers.", ["a", "b"])
        assert await run(box, "add", a=1, b=2) == ToolResult(call_id="1", parts=(Text(text="3"),))
        assert said(await run(box, "a_dotted_name")) == "dotted"
        assert (await run(box, "fail")).is_error
        everything = await run(box, "everything")
        image = Media(media_type="image/png", data=PROBE["PNG"])
        texts = [Text(text=each) for each in ("a text", "[image: it is damaged]", "a memo", "more: memo://3")]
        assert everything.parts == (texts[0], image, texts[1], texts[2], image, texts[3])
        assert said(await run(box, "structured")) == '{"a":[1,2]}'
        environment = json.loads(said(await run(box, "environment")))
        assert environment.keys() - {"LC_CTYPE"} == {"PATH", "HOME", "LANG", "TOOL_KEY", "CWD"} & {
            *os.environ,
            "TOOL_KEY",
            "CWD",
        }
        assert environment["TOOL_KEY"] == "<hidden>"  # the tool said it aloud: the model does not hear it
        assert environment["CWD"] == str(tmp_path)
        assert box.notes == ()

    with_box(servers(probe=program(env={"TOOL_KEY": "env:MY_TOOL_KEY"}, cwd=str(tmp_path))), use)


def test_what_is_wrong_with_a_call_is_told_to_the_model() -> None:
    async def use(box: ToolBox) -> None:
        unknown = await run(box, "ad")
        assert unknown.is_error
        assert "There are: add," in said(unknown)
        for arguments, why in (("{", "no JSON"), ("[1]", "one JSON object"), ('{"a": 1, "b": "x"}', "/b: ")):
            result = await box.run(ToolCall(id="7", name="add", arguments=arguments), seconds=5)
            assert (result.is_error, result.call_id) == (True, "7")
            assert why in said(result)
        # One that gives nothing has its time, and others run beside it and after it.
        late, two = await asyncio.gather(run(box, "wait", seconds=0.05), run(box, "add", a=1, b=1))
        assert said(late) == "The tool gave nothing within 0.05 seconds."
        assert (late.is_error, said(two)) == (True, "2")
        assert said(await run(box, "add", a=1, b=2)) == "3"

    with_box(servers(probe=program()), use)


def test_a_server_that_dies_is_an_error_result_and_a_note_and_the_others_go_on(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOOL_KEY", "sesame-sesame")

    async def use(box: ToolBox) -> tuple[str, ...]:
        results = await asyncio.gather(run(box, "one__die"), run(box, "one__wait"))
        for result in (*results, await run(box, "one__add", a=1, b=1)):
            assert said(result) == "The server of this tool has ended. Do without it."
            assert result.is_error
        assert said(await run(box, "two__add", a=1, b=1)) == "2"
        return box.notes

    one = program(env={"TOOL_KEY": "env:MY_TOOL_KEY"})
    notes = with_box(servers(one=one, two=program(), absent={"command": "no-such-program"}), use)
    died, absent = notes
    assert died.startswith("one: it ended while it was needed; it said: last words, <hidden>\n")
    assert died.endswith("ended with code 3")
    assert absent.startswith("absent: ")
    assert absent.endswith("no-such-program cannot be started: No such file or directory")
    assert capfd.readouterr() == ("", "")  # nothing of the servers is mixed into what we print


def test_a_server_that_does_not_start_has_its_time_and_without_any_other_it_is_an_error(tmp_path: Path) -> None:
    async def use(box: ToolBox) -> None:
        raise AssertionError

    with pytest.raises(ConnectionFailedError, match=r"probe: it did not start within 0\.2 seconds"):
        with_box(servers(probe=program("mute")), use, settings=ToolSettings(start_seconds=0.2))


def test_a_program_that_complains_without_end_holds_nobody_and_its_keys_are_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_TOOL_KEY", "sesame-sesame")

    async def use(box: ToolBox) -> None:
        raise AssertionError

    noisy = program("noisy", env={"TOOL_KEY": "env:MY_TOOL_KEY"})
    with pytest.raises(ConnectionFailedError) as caught:
        with_box(servers(probe=noisy), use, settings=ToolSettings(start_seconds=0.5))
    _, _, said = caught.value.message.partition("it said: ")
    assert set(said.split("\n")[:-1]) == {"<hidden>"}


def test_only_one_tool_is_given_when_it_is_named_and_under_a_name_that_is_free() -> None:
    async def use(box: ToolBox) -> list[str]:
        return [tool.name for tool in box.tools]

    assert with_box(servers(probe=program()), use, only="add", taken=("add",)) == ["probe__add"]


def test_only_one_server_is_started_when_it_is_named(tmp_path: Path) -> None:
    async def use(box: ToolBox) -> int:
        assert box.notes == ()
        return len(box.tools)

    other = {"command": "/bin/sh", "args": ["-c", f"touch {tmp_path}/started"]}
    assert with_box(servers(probe=program(), other=other), use, only="probe") == 8
    assert not (tmp_path / "started").exists()


def test_a_name_that_nothing_has_is_refused_with_near_ones() -> None:
    async def use(box: ToolBox) -> None:
        raise AssertionError

    with pytest.raises(ConfigError) as caught:
        with_box(servers(probe=program()), use, only="added")
    assert caught.value.hint == "Did you mean add?"


def test_no_servers_are_no_tools() -> None:
    async def use(box: ToolBox) -> ToolResult:
        assert box.tools == ()
        return await run(box, "any")

    assert with_box((), use).is_error


class Life:
    """Told by a FIFO that a server and its child hold open: when all of them have ended, reading it comes to its end."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "alive"
        os.mkfifo(self.path)
        self._reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def has_begun(self) -> bool:
        return self._read() == b"."

    def has_ended(self) -> bool:
        while said := self._read():
            assert said == b"."
        return said == b""

    def _read(self) -> bytes | None:
        readable, _, _ = select.select([self._reader], [], [], 20)
        return os.read(self._reader, 1) if readable else None


@pytest.mark.parametrize("flags", [(), ("deaf",)], ids=["heeding", "deaf"])
def test_a_server_and_what_it_started_have_ended_when_the_context_is_left(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    life = Life(tmp_path)

    async def use(box: ToolBox) -> None:
        assert said(await run(box, "add", a=1, b=2)) == "3"

    with_box(servers(probe=program(*flags, f"alive={life.path}")), use)
    assert life.has_ended()


@pytest.mark.parametrize("when", ["being made", "starting", "running"])
def test_servers_end_when_the_call_is_cancelled(tmp_path: Path, when: str) -> None:
    life = Life(tmp_path)
    given = servers(probe=program(*([] if when == "running" else ["mute"]), f"alive={life.path}"))

    async def hold(inside: asyncio.Event) -> None:
        async with open_tools(given) as box:
            inside.set()
            await run(box, "wait", seconds=None)

    async def main() -> None:
        inside = asyncio.Event()
        task = asyncio.create_task(hold(inside))
        if when == "running":
            await inside.wait()
        await asyncio.sleep(0)
        if when != "being made":
            assert await asyncio.to_thread(life.has_begun)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    gc.collect()  # a process that is left behind warns when it is forgotten
    if when != "being made":
        assert life.has_ended()


def test_servers_end_when_we_are_killed(tmp_path: Path) -> None:
    life = Life(tmp_path)
    code = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from llm_call.core.tools.config import read_servers\n"
        "from llm_call.core.tools.mcp import open_tools\n"
        "async def main():\n"
        f"    entry = {program('deaf', f'alive={life.path}')!r}\n"
        "    given = read_servers({'mcpServers': {'probe': entry}}, folder=Path('.'), variables=os.environ)\n"
        "    async with open_tools(given):\n"
        "        os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert life.has_ended()


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[str]:
    """The app, served in a thread on a free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=serving.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            serving.should_exit = True
            await asyncio.to_thread(thread.join)


@pytest.mark.parametrize("kind", ["http", "sse"])
def test_a_server_at_an_address_gives_its_tools(kind: str) -> None:
    seen: list[str] = []
    probe = PROBE["server"]()
    inner = probe.streamable_http_app() if kind == "http" else probe.sse_app()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(value.decode() for name, value in scope.get("headers", ()) if name == b"x-tool-key")
        await inner(scope, receive, send)

    async def main() -> None:
        async with listening(app) as base:
            path = "mcp" if kind == "http" else "sse"
            entry = {"type": kind, "url": f"{base}/{path}", "headers": {"x-tool-key": "a-key-of-ours"}}
            async with open_tools(servers(probe=entry)) as box:
                assert said(await run(box, "add", a=20, b=22)) == "42"
                assert said(await run(box, "wait", seconds=0.05)) == "The tool gave nothing within 0.05 seconds."
                assert (await run(box, "fail")).is_error
                assert box.notes == ()

    asyncio.run(main())
    assert set(seen) == {"a-key-of-ours"}


def test_an_address_where_nothing_listens_is_noted_without_its_key() -> None:
    async def use(box: ToolBox) -> None:
        raise AssertionError

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp?key=a-key-of-ours"
    with pytest.raises(ConnectionFailedError) as caught:
        with_box(servers(probe={"url": url}), use)
    assert "probe: " in caught.value.message
    assert "a-key-of-ours" not in caught.value.message
