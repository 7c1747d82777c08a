"""Servers over real HTTP, of both ages of the protocol: calls, refusals, cancellation, going and coming back."""

import socket
from functools import partial
from typing import Any

import pytest
import trio

from caxton.core.config_mcp import McpServer
from caxton.core.errors import CaxtonError, NotFound, ToolFailed, ToolServerFailed, ToolUnavailable
from caxton.tools import Desk, desk, server
from tests.tools.mcp_server import make_server
from tests.tools.serving import Notes, open_desk, open_http

both_ages = pytest.mark.parametrize("is_old", [False, True], ids=["2026", "2025"])


async def failure(found: Desk, name: str, error: type[CaxtonError], timeout_ms: float = 0, **arguments: Any) -> str:
    with pytest.raises(error) as raised:
        await found.call(name, arguments, timeout_ms)
    return str(raised.value)


@both_ages
@pytest.mark.slow
async def test_calls_and_their_answers(is_old: bool) -> None:
    notes = Notes()
    async with open_http(make_server(notes.put), is_old=is_old) as url:
        server = McpServer(name="demo", url=url)
        async with open_desk(server, max_result_size=2048) as (tools, events):
            assert (await tools.call("demo.add", {"a": 1, "b": 2}))["structuredContent"] == {"result": 3}
            assert await tools.call("shout", {"text": "x"}) == {"content": [{"type": "text", "text": "X"}]}
            assert (await failure(tools, "fails", ToolFailed, why="no such city")).endswith("fails: no such city")
            assert "Field required" in await failure(tools, "add", ToolFailed, a=1)
            assert "there is no tool 'ad'" in await failure(tools, "ad", NotFound)
            text = await failure(tools, "long", ToolFailed, size=2000)
            assert text == "long: its answer has 4073 bytes, and 2048 are the most"
            # no answer in time, and then the server is told
            assert "no answer within" in await failure(tools, "hangs", ToolServerFailed, 50)
            assert await notes.wait(2) == ["hangs", "cancelled"]
            # and when the caller goes
            with trio.move_on_after(0.05):
                await tools.call("hangs", {})
            assert await notes.wait(4) == ["hangs", "cancelled"] * 2
            # tools that come
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tools.call, "learn", {})
                assert await events.next("tool.list_changed") == {"server": "demo", "added": ["learnt"], "removed": []}
            assert (await tools.call("learnt", {"text": "y"}))["content"][0]["text"] == "Y"
            (shown,), _ = tools.list()
            assert (shown.state, shown.reason, shown.connections, shown.running) == ("connected", "", 1, 0)
            assert shown.protocol == ("2025-11-25" if is_old else "2026-07-28")
            (add,) = [tool for tool in shown.tools if tool.name == "demo.add"]
            assert (add.description, add.input_schema["required"]) == ("Adds two numbers.", ["a", "b"])
        assert [name for name, _ in events.all] == ["tool.server_connected", "tool.list_changed"]


async def test_only_what_the_operator_lists_may_be_used() -> None:
    async with open_http(make_server(print)) as url:
        async with open_desk(McpServer(name="demo", url=url, capabilities=("sh*", "add"))) as (tools, _):
            assert (await tools.call("add", {"a": 1, "b": 2}))["structuredContent"] == {"result": 3}
            assert sorted(tools.servers["demo"].tools) == ["add", "shout"]
            said = await failure(tools, "demo.fails", NotFound, why="")
            assert said == "the tool server 'demo' has no tool 'fails'; it has add, shout"


async def test_so_many_calls_at_a_time_and_the_others_wait() -> None:
    notes = Notes()
    async with open_http(make_server(notes.put)) as url:
        async with open_desk(McpServer(name="demo", url=url, max_concurrent=2)) as (tools, _):
            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(tools.call, "hangs", {})
                await notes.wait(2)
                said = await failure(tools, "add", ToolUnavailable, 30, a=1, b=2)
                assert said == "add: too many calls at a time; its turn did not come in time"
                nursery.cancel_scope.cancel()
            assert (await tools.call("add", {"a": 1, "b": 2}))["structuredContent"] == {"result": 3}


async def test_the_server_s_own_timeout_is_the_most() -> None:
    async with open_http(make_server(print)) as url:
        async with open_desk(McpServer(name="demo", url=url, timeout=0.05)) as (tools, _):
            assert "no answer within" in await failure(tools, "hangs", ToolServerFailed, 60_000)


@both_ages
@pytest.mark.slow
async def test_a_server_that_goes_and_comes_back(is_old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FIRST_WAIT", 0.01)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with open_desk(McpServer(name="demo", url=f"http://127.0.0.1:{port}/mcp")) as (tools, events):
        said = await failure(tools, "demo.add", ToolUnavailable, a=1, b=2)
        assert said.startswith("the tool server 'demo' is not connected: all attempts to connect")
        with pytest.raises(NotFound) as raised:
            await tools.call("add", {})
        assert raised.value.hint == "not connected: demo"
        for _ in range(2):
            async with open_http(make_server(print), is_old=is_old, port=port):
                await events.next("tool.server_connected")
                await tools.call("add", {"a": 1, "b": 2})
            if tools.servers["demo"].state == "connected":  # nobody has asked since
                with pytest.raises((ToolServerFailed, ToolUnavailable)):
                    await tools.call("add", {"a": 1, "b": 2})
                await events.next("tool.server_failed")
            await failure(tools, "add", ToolUnavailable)
        assert events.all[0][0] == "tool.server_failed"


async def test_an_answer_that_is_no_mcp_says_why() -> None:
    heard: list[bytes] = []

    async def refuse(stream: trio.SocketStream) -> None:
        async with stream:
            heard.append(bytes(await stream.receive_some()))
            await stream.send_all(b"HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, refuse, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/mcp"
        async with open_desk(McpServer(name="demo", url=url, headers={"Authorization": "Bearer k"})) as (tools, events):
            said = await failure(tools, "demo.add", ToolUnavailable)
            assert "HTTP 401 Unauthorized" in said
            assert b"Authorization: Bearer k" in heard[0].replace(b"authorization", b"Authorization")
            assert events.all[0] == ("tool.server_failed", {"server": "demo", "reason": tools.servers["demo"].why})
        nursery.cancel_scope.cancel()


def test_without_the_sdk_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(name: str) -> str:
        raise desk.PackageNotFoundError(name)

    monkeypatch.setattr(desk, "version", found)
    with pytest.raises(CaxtonError, match="the MCP client is not installed") as raised:
        desk.check_sdk()
    assert raised.value.hint == "pip install 'caxton[mcp]'"
    monkeypatch.setattr(desk, "version", lambda name: "1.9.4")
    with pytest.raises(CaxtonError, match=r"mcp 1\.9\.4 is installed, and 2\.x is needed"):
        desk.check_sdk()
