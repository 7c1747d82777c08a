"""Tools from the command line."""

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from tests.cli.conftest import FakeServer

Run = Callable[..., Result]

SERVERS = [
    {"name": "web", "address": "http://h/mcp", "state": "connected", "reason": "", "running": 2,
     "tools": [{"name": "web.search", "description": "Searches.\nWith more lines."}]},
    {"name": "files", "address": "npx", "state": "failing", "reason": "no such program", "running": 0, "tools": []},
]  # fmt: skip
BREAKERS = [
    {"agent_id": "ann", "server": "web", "state": "open", "failures": 5, "retry_after": 12.5},
    {"agent_id": "bob", "server": "web", "state": "closed", "failures": 0, "retry_after": 0},
]


def test_the_list(run: Run, api: FakeServer) -> None:
    api.answers["GET /api/v1/tools"] = {"enabled": True, "servers": SERVERS, "circuit_breakers": BREAKERS}
    lines = [line.split() for line in run("tool", "list").stdout.splitlines()]
    assert lines == [
        ["SERVER", "ADDRESS", "STATE", "CALLS"],
        ["web", "http://h/mcp", "connected", "2"],
        ["files", "npx", "failing", "0"],
        ["files:", "no", "such", "program"],
        [],
        ["TOOL", "DESCRIPTION"],
        ["web.search", "Searches."],
        [],
        ["AGENT", "SERVER", "BREAKER", "FAILURES", "NEXT", "CALL", "IN"],
        ["ann", "web", "open", "5", "12.5", "s"],
    ]


def test_a_server_without_tools_says_so(run: Run, api: FakeServer) -> None:
    api.answers["GET /api/v1/tools"] = {"enabled": False, "servers": [], "circuit_breakers": []}
    assert run("tool", "list").stdout == "This server uses no tools: integrations.mcp.enabled is false.\n"


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ({"content": [], "structuredContent": {"sum": 3}}, '{\n  "sum": 3\n}\n'),
        ({"content": [{"type": "text", "text": "grey"}, {"type": "image", "data": ""}]}, "grey\n(image)\n"),
    ],
)
def test_one_is_called(run: Run, api: FakeServer, found: Any, shown: str) -> None:
    api.answers["POST /api/v1/tools/web.search"] = found
    done = run("tool", "call", "web.search", "--arguments", '{"query": "FIPA"}', "--timeout", "2")
    assert done.stdout == shown
    assert api.asked[-1].json() == {"arguments": {"query": "FIPA"}, "timeout_ms": 2000.0}


@pytest.mark.parametrize("arguments", ["{", "[]"])
def test_arguments_that_are_none(run: Run, api: FakeServer, arguments: str) -> None:
    done = run("tool", "call", "x", "--arguments", arguments)
    assert done.exit_code == 1
    assert "--arguments is not" in done.output
    assert api.asked == []


def test_an_open_breaker_is_part_of_an_agent_s_status(run: Run, api: FakeServer) -> None:
    api.answers["GET /api/v1/agents/ann"] = {
        "status": "running", "replicas": 1, "replicas_ready": 1, "reason": "", "circuit_breakers": BREAKERS,
    }  # fmt: skip
    assert run("agent", "status", "ann").stdout.splitlines()[1:] == [
        "  circuit breaker of web: open, next call in 12.5 s"
    ]
