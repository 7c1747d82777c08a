"""An MCP server whose tools do all that a tool may do. Run as a program it speaks over its standard streams.

`python -m tests.tools.mcp_server NOTES` writes what happens to it into the file NOTES.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import trio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError

Note = Callable[[str], None]


def make_server(note: Note) -> MCPServer:
    server = MCPServer("demo")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Adds two numbers."""
        return a + b

    @server.tool(structured_output=False)
    def shout(text: str) -> str:
        return text.upper()

    @server.tool()
    def fails(why: str) -> str:
        raise ToolError(why)

    @server.tool()
    async def hangs() -> str:
        note("hangs")
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            note("cancelled")
            raise

    @server.tool()
    def long(size: int) -> str:
        return "x" * size

    @server.tool()
    def who(context: Context) -> dict[str, Any]:
        meta = context.request_context.meta or {}
        return {key: value for key, value in meta.items() if "caxton" in key or "trace" in key}

    @server.tool()
    async def learn(context: Context) -> str:
        server.add_tool(shout, name="learnt")
        await context.session.send_tool_list_changed()  # for clients before 2026
        await context.notify_tools_changed()
        return "learnt"

    @server.tool()
    def dies() -> str:
        print("out of paper", file=sys.stderr, flush=True)
        os._exit(3)

    @server.tool()
    def environment() -> list[str]:
        return sorted(os.environ)

    return server


def main() -> None:
    path = sys.argv[1]

    def note(text: str) -> None:
        with open(path, "a") as notes:
            notes.write(f"{text}\n")

    def on_term(number: int, frame: object) -> None:
        note("SIGTERM")
        os._exit(1)

    signal.signal(signal.SIGTERM, on_term)
    note(f"started {os.getpid()}")
    print("ready to serve", file=sys.stderr, flush=True)
    trio.run(make_server(note).run_stdio_async)
    note("ended")


if __name__ == "__main__":
    main()
