"""Tools over REST, on the real node with a real MCP server."""

import json
from pathlib import Path

from tests.api.serving import code_of, open_server
from tests.node.opened import deploy
from tests.node.test_tools import caller, open_node_with_tools, said

URL = "/api/v1/tools"


async def test_tools_are_listed_and_called(tmp_path: Path) -> None:
    async with open_node_with_tools(tmp_path, "integrations.mcp.circuit_breaker.threshold=1") as (node, _):
        async with open_server(node=node) as server:
            await deploy(node, "a", caller("demo.hangs", timeout_ms=50), tools=["demo.*"])
            await said(node)
            found = (await server.http.get(URL)).json()
            (shown,) = found["servers"]
            assert found["enabled"] is True
            assert (shown["name"], shown["state"], shown["protocol"]) == ("demo", "connected", "2026-07-28")
            assert shown["since"].endswith("Z")
            assert "demo.add" in [tool["name"] for tool in shown["tools"]]
            (breaker,) = found["circuit_breakers"]
            assert (breaker["agent_id"], breaker["server"], breaker["state"]) == ("a", "demo", "open")
            agent = (await server.http.get("/api/v1/agents/a")).json()
            assert agent["tools"] == ["demo.*"]
            assert agent["circuit_breakers"][0]["state"] == "open"
            inspected = (await server.http.get("/api/v1/agents/a/inspect")).json()
            assert inspected["agent"]["circuit_breakers"][0]["failures"] == 1

            answer = await server.http.post(f"{URL}/demo.add", json={"arguments": {"a": 1, "b": 2}})
            assert answer.json()["structuredContent"] == {"result": 3}
            assert (await server.http.post(f"{URL}/shout", json={"arguments": {"text": "x"}})).json() == {
                "content": [{"type": "text", "text": "X"}]
            }
            for path, body, expected in [
                ("nothing", {}, (404, "NOT_FOUND")),
                ("fails", {"arguments": {"why": "no"}}, (502, "TOOL_FAILED")),
                ("hangs", {"timeout_ms": 50}, (502, "TOOL_SERVER_FAILED")),
                ("add", {"arguments": []}, (400, "INVALID_REQUEST")),
                ("add", {"timeout_ms": -1}, (400, "INVALID_REQUEST")),
                ("add", {"argument": {}}, (400, "INVALID_REQUEST")),
            ]:
                assert code_of(await server.http.post(f"{URL}/{path}", json=body)) == expected
            text = {"content": json.dumps({}), "headers": {"content-type": "text/plain"}}
            assert code_of(await server.http.post(f"{URL}/add", **text)) == (415, "UNSUPPORTED_MEDIA_TYPE")
