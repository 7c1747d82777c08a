"""What tools are called, who may call them, and what a call asks for and gives.

A tool's whole name is `server.tool`; the part after the dot is enough while one server alone has such a tool.

Rule 1: an agent calls what its `tools` name, and nothing else. A pattern is matched against whole names; a tool's own
        name stands for the tool that it finds, and for none when it finds several.
Rule 2: a refusal says what was asked, what there is, and how to allow it.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from caxton.core.decoding import UNREADABLE
from caxton.core.errors import Forbidden, InvalidRequest, NotFound

# the tools of each server that may be used
Offers = Mapping[str, Collection[str]]

NAMES_SHOWN = 10  # of what there is, in an error
LONGEST = 86_400_000  # milliseconds


class ToolRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a guest asks for. `full` asks for all that the tool gives, in MCP's shape."""

    tool: str
    arguments: dict[str, Any] | None = None  # Any: JSON
    timeout_ms: float = 0
    full: bool = False


_request = msgspec.json.Decoder(ToolRequest)


def decode_request(text: bytes) -> ToolRequest:
    """Raises InvalidRequest."""
    try:
        request = _request.decode(text)
    except UNREADABLE as error:
        raise InvalidRequest(
            f"not a call of a tool: {error}", hint='{"tool": "server.tool", "arguments": {}, "timeout_ms": 5000}'
        ) from None
    if not 0 <= request.timeout_ms <= LONGEST:
        raise InvalidRequest(f"timeout_ms is {request.timeout_ms:g}; it is 0 to {LONGEST}")
    return request


def find_tool(asked: str, offers: Offers) -> tuple[str, str]:
    """Server and tool of a name. Raises NotFound."""
    server, dot, tool = asked.partition(".")
    if dot and tool in offers.get(server, ()):
        return server, tool
    having = [name for name, tools in offers.items() if asked in tools]
    if len(having) == 1:
        return having[0], asked
    if having:
        which = " or ".join(f"{name}.{asked}" for name in having)
        raise NotFound(f"{len(having)} servers have a tool {asked!r}; say {which}")
    if dot and server in offers:
        raise NotFound(f"the tool server {server!r} has no tool {tool!r}; it has {_names(offers[server])}")
    known = _names([f"{name}.{tool}" for name, tools in offers.items() for tool in tools])
    raise NotFound(f"there is no tool {asked!r}; there are {known}")


def check_allowed(agent: str, patterns: Sequence[str], server: str, tool: str, offers: Offers) -> None:
    """Raises Forbidden."""
    whole = f"{server}.{tool}"
    for pattern in patterns:
        if fnmatchcase(whole, pattern):
            return
        with suppress(NotFound):
            if find_tool(pattern, offers) == (server, tool):
                return
    raise forbidden(agent, patterns, whole)


def forbidden(agent: str, patterns: Sequence[str], asked: str) -> Forbidden:
    may = f"may call {_names(patterns)}" if patterns else "may call no tools"
    allowed = msgspec.json.encode([*patterns, asked]).decode()
    return Forbidden(
        f"the agent {agent!r} {may}, and asked for {asked}",
        hint=f"caxton config set --agent {agent} 'tools={allowed}'",
    )


def _names(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:NAMES_SHOWN]) or "none"
    return shown + (f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else "")


# Any: JSON
def answer_of(result: Mapping[str, Any], full: bool) -> Any:
    """What the caller gets of an MCP result: what the tool gave as structured content, or its content."""
    if full or "structuredContent" not in result:
        return {key: result[key] for key in ("content", "structuredContent") if key in result}
    return result["structuredContent"]


def words_of(result: Mapping[str, Any]) -> str:
    """The text among a result's content: in an error, what went wrong."""
    return "\n".join(part["text"] for part in result.get("content", ()) if part.get("type") == "text")
