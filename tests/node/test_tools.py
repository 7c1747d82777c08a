"""Guests that call tools of a real MCP server, through a whole node."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from caxton.core.errors import InvalidConfig
from caxton.core.views import Event
from caxton.node import Node
from tests.node.opened import config_of, deploy, log, open_a_node, until
from tests.node.wat import guest, message
from tests.tools.mcp_server import make_server
from tests.tools.serving import Notes, open_http

ALL = ("demo.*",)


@asynccontextmanager
async def open_node_with_tools(folder: Path, *sets: str, **server: Any) -> AsyncIterator[tuple[Node, Notes]]:
    notes = Notes()
    async with open_http(make_server(notes.put)) as url:
        servers = json.dumps([{"name": "demo", "url": url, **server}])
        async with open_a_node(
            folder, "integrations.mcp.enabled=true", f"integrations.mcp.servers={servers}", *sets
        ) as node:
            await node.tools.servers["demo"].settled.wait()
            yield node, notes


def caller(tool: str, **request: Any) -> bytes:
    return guest("caller", json.dumps({"tool": tool, **request}))


async def said(node: Node, name: str = "a", **fields: object) -> str:
    """What the guest writes of its next call."""
    before = len(log(node, name))
    node.bus.post(message(name, **fields))
    await until(node, lambda: len(log(node, name)) > before)
    return log(node, name)[before]


async def event(node: Node, name: str, happens: partial[Any]) -> dict[str, Any]:
    with node.bus.tap(100) as events, trio.fail_after(10):
        happens()
        while True:
            found: Event = await events.receive()
            if found.type == name:
                return found.data


CALLS = [
    ("demo.add", {"arguments": {"a": 1, "b": 2}}, '{"result":3}'),
    ("add", {"arguments": {"a": 1, "b": 2}, "full": True},
     '{"content":[{"type":"text","text":"3"}],"structuredContent":{"result":3}}'),
    ("demo.shout", {"arguments": {"text": "ü"}}, '{"content":[{"type":"text","text":"Ü"}]}'),
    ("demo.fails", {"arguments": {"why": "no such city"}}, "0105 demo.fails: Error executing tool fails: no such city"),
    ("demo.add", {"arguments": {"a": 1}}, "0105 demo.add: Error executing tool add: 1 validation error"),
    ("demo.long", {"arguments": {"size": 1 << 20}},
     "0105 demo.long: its answer has 1048589 bytes, and 1048576 are the most; raise integrations.mcp.max_result_size"),
    ("demo.long", {"arguments": {"size": 9000}}, "9013 the buffer is too short"),
    ("demo.hangs", {"timeout_ms": 50}, "0105 demo.hangs: no answer within 0.0"),
    ("demo.nothing", {}, "0104 the tool server 'demo' has no tool 'nothing'; it has add, dies, environment"),
    ("other.add", {}, "0104 there is no tool 'other.add'; there are demo.add, demo.dies"),
    ("demo.add", {"arguments": [1]}, "0102 not a call of a tool: Expected `object | null`, got `array` - at `$.arg"),
    ("demo.add", {"timeout_ms": -1}, "0102 timeout_ms is -1; it is 0 to 86400000"),
]  # fmt: skip


@pytest.mark.slow
async def test_what_a_guest_is_told(tmp_path: Path) -> None:
    async with open_node_with_tools(tmp_path) as (node, _):
        for number, (tool, request, expected) in enumerate(CALLS):
            await deploy(node, f"a{number}", caller(tool, **request), tools=ALL)
            assert (await said(node, f"a{number}")).startswith(expected)


async def test_an_agent_calls_nothing_until_it_is_allowed(tmp_path: Path) -> None:
    async with open_node_with_tools(tmp_path) as (node, notes):
        await deploy(node, "a", caller("demo.hangs"))
        asked = "and asked for demo.hangs; caxton config set --agent a 'tools="
        assert await said(node) == f"0104 the agent 'a' may call no tools, {asked}[\"demo.hangs\"]'"
        await node.settings.set({"tools": ["demo.add", "shout"]}, who="test", agent="a")
        may = "may call demo.add, shout"
        allowed = '["demo.add","shout","demo.hangs"]'
        assert await said(node) == f"0104 the agent 'a' {may}, {asked}{allowed}'"
        assert notes.all == []
        assert node.agents.get("a").tools == ("demo.add", "shout")


async def test_a_server_without_tools_says_so(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", caller("demo.add"), tools=["*"])
        assert await said(node) == "0104 this server has no tools: integrations.mcp.enabled is false"


async def test_the_server_is_told_who_asks_and_in_what_conversation(tmp_path: Path) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    async with open_node_with_tools(tmp_path) as (node, _):
        await deploy(node, "a", caller("who"), tools=ALL)
        found = json.loads(await said(node, conversation_id="c1", traceparent=trace))
        assert found == {"caxton/agent": "a", "caxton/conversation_id": "c1", "traceparent": trace}


@pytest.mark.parametrize("how", ["deleted", "stopped", "too slow"])
async def test_a_call_ends_with_its_guest(tmp_path: Path, how: str) -> None:
    async with open_node_with_tools(tmp_path) as (node, notes):
        await deploy(node, "a", caller("demo.hangs"), tools=ALL, resources={"timeout": "200ms"})
        node.bus.post(message("a"))
        assert await notes.wait(1) == ["hangs"]
        if how == "deleted":
            await node.agents.delete("a")
        elif how == "stopped":
            await node.agents.stop("a", grace=0, drain=False)
        assert await notes.wait(2) == ["hangs", "cancelled"]
        assert log(node, "a", "err") == []


@pytest.mark.slow
async def test_the_circuit_breaker(tmp_path: Path) -> None:
    async with open_node_with_tools(tmp_path, "integrations.mcp.circuit_breaker.threshold=3") as (node, notes):
        await deploy(node, "a", caller("demo.hangs", timeout_ms=50), tools=ALL)
        await deploy(node, "b", caller("demo.add", arguments={"a": 1, "b": 2}), tools=ALL)
        for _ in range(2):
            assert (await said(node)).startswith("0105 demo.hangs: no answer within")
        await node.settings.set({"circuit_breaker.timeout": "1h"}, who="test", agent="a")
        opened = await event(node, "tool.breaker_opened", partial(node.bus.post, message("a")))
        assert {**opened, "reason": ""} == {
            "agent_id": "a", "server": "demo", "failures": 3, "retry_after": 3600.0, "reason": "",
        }  # fmt: skip
        await until(node, lambda: len(log(node, "a")) == 3)
        refused = await said(node)
        assert refused.startswith(
            "0104 the circuit breaker of the tool server 'demo' is open: 3 calls in a row failed; try again in 3"
        )
        (shown,) = node.agents.get("a").circuit_breakers
        assert (shown.server, shown.state, shown.failures) == ("demo", "open", 3)
        assert 3500 < shown.retry_after <= 3600
        assert notes.all.count("hangs") <= 3  # it was not asked the fourth time
        # another agent is not concerned
        assert await said(node, "b") == '{"result":3}'
        assert node.agents.get("b").circuit_breakers[0].state == "closed"
        # another timeout holds at once: the next call tries, and fails, and it is open again
        await node.settings.set({"circuit_breaker.timeout": "1ms"}, who="test", agent="a")
        assert (await said(node)).startswith("0105")
        assert node.agents.get("a").circuit_breakers[0].failures == 4
        # the agent gets better
        await node.agents.update("a", caller("demo.add", arguments={"a": 1, "b": 2}), None)
        closed = await event(node, "tool.breaker_closed", partial(node.bus.post, message("a")))
        assert closed == {"agent_id": "a", "server": "demo"}
        assert node.agents.get("a").circuit_breakers[0].state == "closed"
        await node.agents.delete("a")
        await deploy(node, "a", caller("demo.add"), tools=ALL)
        assert node.agents.get("a").circuit_breakers == ()


async def test_a_breaker_of_the_server_s_configuration(tmp_path: Path) -> None:
    key = "integrations.mcp.circuit_breaker"
    async with open_node_with_tools(tmp_path, f"{key}.threshold=1", f"{key}.timeout=1h") as (node, _):
        await deploy(node, "a", caller("demo.hangs", timeout_ms=300), tools=ALL)
        assert (await said(node)).startswith("0105")
        assert (await said(node)).startswith(
            "0104 the circuit breaker of the tool server 'demo' is open: 1 call in a row failed"
        )
        await node.settings.set({f"{key}.timeout": "1ms"}, who="test")
        assert (await said(node)).startswith("0105")


async def test_of_one_agent_so_many_calls_at_a_time(tmp_path: Path) -> None:
    key = "integrations.mcp.max_concurrent_per_agent"
    async with open_node_with_tools(tmp_path, f"{key}=1") as (node, notes):
        await deploy(node, "a", caller("demo.hangs", timeout_ms=500), tools=ALL, replicas=3)
        for number in range(3):
            node.bus.post(message("a", conversation_id=f"c{number}"))
        await notes.wait(1)
        with trio.move_on_after(0.1):
            await notes.wait(2)
        assert notes.all == ["hangs"]
        await node.settings.set({key: 3}, who="test")
        assert await notes.wait(3) == ["hangs"] * 3
        (shown,), _ = node.tools.list()
        assert shown.running == 3


async def test_a_larger_answer_from_now_on(tmp_path: Path) -> None:
    async with open_node_with_tools(tmp_path, "integrations.mcp.max_result_size=1KB") as (node, _):
        await deploy(node, "a", caller("demo.long", arguments={"size": 2000}), tools=ALL)
        assert (await said(node)).startswith("0105 demo.long: its answer has 2013 bytes")
        await node.settings.set({"integrations.mcp.max_result_size": "3KB"}, who="test")
        assert (await said(node)).startswith('{"result":"xxx')


BROKEN = [
    ([{"name": "a.b", "url": "http://h/"}], r"servers\[0\]\.name: 'a\.b' is not 1 to 64 letters"),
    ([{"name": "a", "url": "http://h/"}, {"name": "a", "url": "http://h/"}], r"servers\[1\]\.name: 'a' is taken"),
    ([{"name": "a"}], r"servers\[0\]\.url: missing; a server has either a url or a command"),
    ([{"name": "a", "url": "http://h/", "command": "x"}], "both are said; a server has either a url or a command"),
    ([{"name": "a", "url": "ftp://h/"}], "'ftp://h/' is no http or https address; write http://host:port/mcp"),
    ([{"name": "a", "url": "http://u:p@h/"}], "there is a user in it.*use headers instead"),
    ([{"name": "a", "url": "http://h/", "env": {"A": "b"}}], "args and env are for a server with a command"),
    ([{"name": "a", "command": "x", "headers": {"A": "b"}}], "headers: they are for a server with a url"),
    ([{"name": "a", "url": "http://h/", "headers": {"A": "b\nc"}}], r"headers\.A: a name or value that cannot be sent"),
    ([{"name": "a", "url": "http://h/", "timeout": "0s"}], r"servers\[0\]\.timeout: 0s is too small"),
]


@pytest.mark.parametrize(("servers", "expected"), BROKEN)
def test_a_configuration_that_makes_no_sense(tmp_path: Path, servers: list[Any], expected: str) -> None:
    with pytest.raises(InvalidConfig, match=expected):
        config_of(tmp_path, f"integrations.mcp.servers={json.dumps(servers)}")


async def test_without_the_sdk_it_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caxton.tools.desk.version", lambda name: "1.9.4")
    with pytest.raises(InvalidConfig, match=r"integrations\.mcp\.enabled: mcp 1\.9\.4 is installed") as raised:
        async with open_a_node(tmp_path, "integrations.mcp.enabled=true"):
            pass
    assert raised.value.hint == "pip install 'caxton[mcp]'"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def test_a_server_that_is_not_there_keeps_nobody_from_starting(tmp_path: Path) -> None:
    servers = json.dumps([{"name": "demo", "url": f"http://127.0.0.1:{free_port()}/"}])
    async with open_a_node(tmp_path, "integrations.mcp.enabled=true", f"integrations.mcp.servers={servers}") as node:
        await deploy(node, "a", caller("demo.add"), tools=ALL)
        assert (await said(node)).startswith("0104 the tool server 'demo' is not connected: all attempts to connect")
