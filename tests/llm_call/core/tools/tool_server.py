"""A real MCP server for the tests of its client: `tool_server.py [FLAG ...]`, or `server()` for an address.

`deaf` heeds neither the end of its input nor SIGTERM, `mute` never answers; `alive=FIFO` holds that FIFO open, in a
child process too, for as long as they live, and writes a byte when both do. `noisy` never stops complaining.
"""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp_types import BlobResourceContents, CallToolResult, EmbeddedResource, ImageContent, ResourceLink, TextContent
from mcp_types import TextResourceContents as TextResource

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 8


def answer(*content: Any, **more: Any) -> CallToolResult:
    return CallToolResult(content=list(content), **more)


def server(name: str = "probe") -> MCPServer[None]:
    probe: MCPServer[None] = MCPServer(name, log_level="ERROR")

    @probe.tool()
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @probe.tool()
    def fail() -> str:
        """Fail."""
        raise ValueError("this tool always fails")

    @probe.tool()
    def environment() -> CallToolResult:
        """What is in the environment, and where it runs."""
        return answer(TextContent(text=json.dumps({**os.environ, "CWD": os.getcwd()})))  # noqa: PTH109  (to be compared)

    @probe.tool()
    def everything() -> CallToolResult:
        """Every kind of content."""
        blob = base64.b64encode(PNG).decode()
        return answer(
            TextContent(text="a text"),
            ImageContent(data=blob, mime_type="image/png"),
            ImageContent(data="no base64", mime_type="image/png"),
            EmbeddedResource(resource=TextResource(uri="memo://1", text="a memo")),
            EmbeddedResource(resource=BlobResourceContents(uri="memo://2", blob=blob, mime_type="image/png")),
            ResourceLink(name="more", uri="memo://3"),
        )

    @probe.tool()
    def structured() -> CallToolResult:
        """Only structured content."""
        return answer(structured_content={"a": [1, 2]})

    @probe.tool(name="a.dotted/name")
    def dotted() -> str:
        """A name that providers do not take."""
        return "dotted"

    @probe.tool()
    async def wait() -> str:
        """Give nothing, ever."""
        await asyncio.Event().wait()
        return ""

    @probe.tool()
    def die() -> str:
        """End the server."""
        sys.stderr.write(f"last words, {os.environ.get('TOOL_KEY')}\n")
        sys.stderr.flush()
        os._exit(3)

    return probe


def main(flags: list[str]) -> None:
    for flag in flags:
        if flag.startswith("alive="):
            held = os.open(flag.removeprefix("alive="), os.O_WRONLY)
            os.set_inheritable(held, True)
            subprocess.Popen(["sleep", "60"], close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            os.write(held, b".")
    if "deaf" in flags:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while "noisy" in flags:
        sys.stderr.write(f"{os.environ['TOOL_KEY']}\n" * 1_000)
    if "mute" in flags:
        signal.pause()
    server().run()
    while "deaf" in flags:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])
