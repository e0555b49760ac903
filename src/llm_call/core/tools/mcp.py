"""The tools of MCP servers: programs of ours spoken to over their standard input and output, and addresses.

The rule: a server lives in a task of its own, from its start to its end, so that one that fails takes nothing with it.
When the context is left, whatever the reason, every server has ended. Needs the extra `mcp`, which is imported when a
server is started, not before.
"""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any, TextIO

from msgspec.structs import replace

from llm_call.core.domain.errors import ConfigError, ConnectionFailedError, LLMCallError, UnsupportedError
from llm_call.core.domain.keys import near_names
from llm_call.core.domain.messages import Media, Text, ToolCall, ToolResult
from llm_call.core.domain.request import Tool
from llm_call.core.tools.base import ToolBox, arguments, failed, fault
from llm_call.core.tools.config import Address, Program, Server, ToolSettings, chosen, hidden
from llm_call.core.tools.mcp_content import parts, unique_names

MAX_TOOLS = 128
"""Tools that are offered at most: the most that OpenAI's API takes in one request."""
CLOSING_SECONDS = 5.0
"""The longest that the end of a server at an address is waited for. A program is killed after two."""

_TAIL = 2_048  # bytes that are kept of what a program says to its standard error
_PIPE = 65_536  # bytes that a pipe holds at most
_GONE = "The server of this tool has ended. Do without it."
_CONNECT = 30.0  # seconds for a connection and for what is sent; answers have the time of their tool
_PAGES = 100  # a list of tools that never ends does not hold us
_SUPERVISOR = Path(__file__).with_name("supervisor.py")


@asynccontextmanager
async def open_tools(
    servers: tuple[Server, ...],
    *,
    only: str | None = None,
    settings: ToolSettings | None = None,
    taken: Collection[str] = (),
) -> AsyncIterator[ToolBox]:
    """The tools of `servers`, which run until the context is left. `only` keeps those of one server, or one tool.

    A server that cannot be used is noted, and the others are. No tool gets a name that is in `taken`.

    Raises:
        ConfigError: The extra is not installed, or nothing is called as `only` says.
        ConnectionFailedError: There are servers, and none can be used.
    """
    if servers:
        _require()
    connections = [_Connection(server) for server in chosen(servers, only)]
    seconds = (settings or ToolSettings()).start_seconds
    tasks = [asyncio.create_task(each.serve(seconds)) for each in connections]
    try:
        await asyncio.gather(*(each.ready.wait() for each in connections))
        yield _McpBox(connections, only=only, taken=taken)
    finally:
        for each in connections:
            each.end()
        await _ended(tasks)


class _McpBox:
    """The tools of some servers under names that all providers take."""

    def __init__(self, connections: Sequence["_Connection"], *, only: str | None, taken: Collection[str]) -> None:
        self._connections = connections
        offered = [(each, tool) for each in connections for tool in each.tools]
        names = unique_names([(each.server.name, tool.name) for each, tool in offered], taken)
        meant = {
            name: (each, tool)
            for name, (each, tool) in zip(names, offered, strict=True)
            if only is None or only in {each.server.name, tool.name, name}
        }
        if connections and not meant:
            raise _nothing(only, names, connections)
        self._offered = dict(islice(meant.items(), MAX_TOOLS))
        left_out = len(meant) - len(self._offered)
        self._notes = (f"{left_out} tools more than {MAX_TOOLS} are left out",) if left_out else ()
        self.tools = tuple(replace(tool, name=name) for name, (_, tool) in self._offered.items())

    @property
    def notes(self) -> tuple[str, ...]:
        """What became of servers, and what was left out."""
        return (*self._notes, *(note for each in self._connections for note in each.notes))

    async def run(self, call: ToolCall, *, seconds: float | None) -> ToolResult:
        """What the tool gives, or why it gives nothing."""
        if call.name not in self._offered:
            return failed(call, f"There is no tool {call.name!r}. There are: {', '.join(self._offered)}.")
        connection, tool = self._offered[call.name]
        given = arguments(call, tool)
        if isinstance(given, str):
            return failed(call, given)
        return await connection.run(call, tool.name, given, seconds)


class _Connection:
    """One server. `ready` is set when it can be used, or never can; `notes` say what became of it."""

    def __init__(self, server: Server) -> None:
        import anyio  # noqa: PLC0415  (comes with the extra)

        self.server = server
        self.ready = asyncio.Event()
        self.tools: tuple[Tool, ...] = ()
        self.notes: list[str] = []
        self._client: Any = None
        self._errors = _Tail()
        self._stop = asyncio.Event()
        self._scope = anyio.CancelScope()

    async def serve(self, seconds: float) -> None:
        """Start the server, list its tools within `seconds`, and keep it until `end`."""
        self._scope.deadline = asyncio.get_running_loop().time() + seconds
        try:
            with self._scope, self._errors.open() as errors:
                await self._live(errors)
        except Exception as error:  # noqa: BLE001  (whatever it is, the model works on without this server)
            self._gone(_why(error))
        if self._scope.cancelled_caught and not self._stop.is_set():
            self._gone(f"it did not start within {seconds:g} seconds")
        self._client = None
        self.ready.set()

    def end(self) -> None:
        """End the server, soon; at once where it has not started yet."""
        self._stop.set()
        if not self.ready.is_set():
            self._scope.cancel()

    async def _live(self, errors: TextIO) -> None:
        from mcp import Client  # noqa: PLC0415  (an optional extra)

        async with Client(_transport(self.server, errors), cache=None) as client:
            self.tools = await self._listed(client)
            self._client, self._scope.deadline = client, inf
            self.ready.set()
            await self._stop.wait()
            self._scope.deadline = asyncio.get_running_loop().time() + CLOSING_SECONDS

    async def _listed(self, client: Any) -> tuple[Tool, ...]:
        found: list[Tool] = []
        cursor = None
        for _ in range(_PAGES):
            page = await client.list_tools(cursor=cursor)
            for each in page.tools:
                if why := fault(each.input_schema):
                    self._note(f"its tool {each.name!r} is left out: {why}")
                else:
                    found.append(Tool(name=each.name, description=each.description or "", parameters=each.input_schema))
            cursor = page.next_cursor
            if not cursor:
                break
        return tuple(found)

    async def run(self, call: ToolCall, tool: str, given: dict[str, Any], seconds: float | None) -> ToolResult:
        """What `tool` gives. Never raises but when it is cancelled."""
        import anyio  # noqa: PLC0415  (comes with the extra)

        if self._client is None:
            return failed(call, _GONE)
        try:
            with anyio.move_on_after(seconds) as scope:
                result = await self._client.call_tool(tool, given)
        except Exception as error:  # noqa: BLE001  (whatever it is, the model is told)
            return failed(call, self._failure(error))
        if scope.cancelled_caught:
            return failed(call, f"The tool gave nothing within {seconds:g} seconds.")
        given_back = tuple(self._safe(part) for part in parts(result))
        return ToolResult(call_id=call.id, parts=given_back, is_error=result.is_error)

    def _failure(self, error: Exception) -> str:
        """What the model is told. What a program said to its standard error may be secret: only the notes say it."""
        from mcp_types import CONNECTION_CLOSED  # noqa: PLC0415  (an optional extra)

        if getattr(error, "code", None) != CONNECTION_CLOSED:
            return f"The tool failed: {hidden(_why(error), self.server.secrets)}"
        if self._client is not None:  # of several calls that were under way, the first says so
            self._client = None
            self._gone("it ended while it was needed")
        return _GONE

    def _gone(self, why: str) -> None:
        said = self._errors.text()
        self._note(f"{why}; it said: {said}" if said else why)

    def _note(self, why: str) -> None:
        self.notes.append(hidden(f"{self.server.name}: {why}", self.server.secrets))

    def _safe(self, part: Text | Media) -> Text | Media:
        return Text(text=hidden(part.text, self.server.secrets)) if isinstance(part, Text) else part


class _Tail:
    """The end of what a program says to its standard error: not mixed into ours, and kept for the note on its failure."""

    def __init__(self) -> None:
        self._bytes = b""
        self._reader = -1

    @contextmanager
    def open(self) -> Iterator[TextIO]:
        """A file for programs to write to. It is read as they write, so that none of them has to wait."""
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._reader, self._read)
        try:
            with os.fdopen(writer, "w") as file:
                yield file
        finally:
            loop.remove_reader(self._reader)
            self._read()
            os.close(self._reader)
            self._reader = -1

    def text(self) -> str:
        """The last of it, in whole lines: a secret that was cut could not be found, and so not be hidden."""
        if self._reader >= 0:
            self._read()
        said = self._bytes if len(self._bytes) < _TAIL else self._bytes.partition(b"\n")[2]
        return said.decode("utf-8", "replace").strip()

    def _read(self) -> None:
        with suppress(BlockingIOError):  # once: a program that never stops writing does not hold us
            self._bytes = (self._bytes + os.read(self._reader, _PIPE))[-_TAIL:]


def _require() -> None:
    try:
        import mcp  # noqa: F401, PLC0415  (an optional extra)
    except ImportError:
        raise ConfigError("tools need the MCP library", hint='Run: pip install "llm-call[mcp]"') from None
    for name in ("mcp", "client"):  # what they log is for who asks for it; without a handler it is printed
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


async def _ended(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Wait until all `tasks` have ended, also while we are cancelled: what they end would outlive us otherwise."""
    cancelled: asyncio.CancelledError | None = None
    while any(not task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def _transport(server: Server, errors: TextIO) -> AbstractAsyncContextManager[Any]:
    if isinstance(server, Program):
        return _program(server, errors)
    return _address(server)


@asynccontextmanager
async def _program(server: Program, errors: TextIO) -> AsyncIterator[Any]:
    import anyio  # noqa: PLC0415  (comes with the extra)
    from mcp import StdioServerParameters, stdio_client  # noqa: PLC0415  (an optional extra)

    if os.name != "posix":
        raise UnsupportedError("programs as tools need a POSIX system", hint="Run the server, and give its address.")
    supervisor = ("-I", "-S", str(_SUPERVISOR), str(os.getpid()), ",".join(server.env))
    parameters = StdioServerParameters(
        command=sys.executable,
        args=[*supervisor, server.command, *server.args],
        env=dict(server.env),
        cwd=server.cwd,
        encoding_error_handler="replace",
    )
    # Cancelled while it is being made, a process would be nobody's: that moment is shielded.
    with anyio.CancelScope(shield=True) as making:
        async with stdio_client(parameters, errlog=errors) as streams:
            making.shield = False
            yield streams


def _address(server: Address) -> AbstractAsyncContextManager[Any]:
    if not server.sse:
        return _streamable(server)
    from mcp.client.sse import sse_client  # noqa: PLC0415  (an optional extra)

    return sse_client(server.url, headers=dict(server.headers))


@asynccontextmanager
async def _streamable(server: Address) -> AsyncIterator[Any]:
    from httpx2 import AsyncClient, Timeout  # noqa: PLC0415  (comes with the extra)
    from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415  (an optional extra)

    async with (
        AsyncClient(headers=dict(server.headers), timeout=Timeout(_CONNECT, read=None)) as http,
        streamable_http_client(server.url, http_client=http) as streams,
    ):
        yield streams


def _nothing(only: str | None, names: Sequence[str], connections: Sequence[_Connection]) -> LLMCallError:
    """Why there is no tool at all."""
    notes = [note for each in connections for note in each.notes]
    if only is not None and names:
        near = near_names(only, names)
        hint = f"Did you mean {' or '.join(near)}?" if near else "Leave debug_tool_name out for all tools."
        return ConfigError("; ".join([f"no MCP server and no tool is called {only!r}", *notes]), hint=hint)
    why = "; ".join(notes) or "there are no tools"
    return ConnectionFailedError(f"no MCP server can be used: {why}", hint="Start it by hand, and look.")


def _why(error: BaseException) -> str:
    """What went wrong, of an error that may hold others."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(_why(each) for each in error.exceptions))
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
