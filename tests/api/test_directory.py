"""Capabilities and the directory over REST, on the real node."""

import json
from pathlib import Path
from typing import Any

from tests.api.serving import Served, code_of
from tests.api.test_end_to_end import deploy_echo, open_real_server

URL = "/api/v1/capabilities"


async def get(server: Served[Any], path: str, status: int = 200) -> Any:
    response = await server.http.get(f"/api/v1/{path}")
    assert response.status_code == status, response.text
    return response.json()


async def test_a_declared_capability_has_providers(tmp_path: Path) -> None:
    async with open_real_server(tmp_path) as server:
        await deploy_echo(server, "one", capabilities=["data_analysis:v2"])
        await deploy_echo(server, "two", capabilities=["data-analysis"])
        found = await get(server, "capabilities")
        assert found["total"] == 1
        [capability] = found["capabilities"]
        assert capability["capability"] == "data-analysis"
        assert [(each["agent_id"], each["version"], each["status"]) for each in capability["providers"]] == [
            ("one", "2", "active"),
            ("two", "1.0.0", "active"),
        ]
        assert (await get(server, "capabilities?agent_id=two"))["capabilities"][0]["providers"][0]["priority"] == 50
        assert (await get(server, "capabilities?status=draining"))["total"] == 0
        assert (await get(server, "capabilities?status=asleep", 400))["error"]["code"] == "INVALID_REQUEST"
        assert (await get(server, "capabilities/data-analysis?version=2"))["providers"][0]["agent_id"] == "one"
        missing = (await get(server, "capabilities/data-mining", 404))["error"]
        assert missing["details"]["suggested_alternatives"] == ["capability:data-analysis"]
        health = await get(server, "capabilities/data-analysis/health")
        assert health == {"capability": "data-analysis", "status": "healthy", "providers": 2, "active": 2}
        assert await get(server, "capabilities/health") == {"capabilities": [health]}


async def test_an_operator_registers_a_capability(tmp_path: Path) -> None:
    async with open_real_server(tmp_path) as server:
        await deploy_echo(server, "one")
        await deploy_echo(server, "two", capabilities=["sums"])
        asked = {"agent_id": "one", "capability": "sums", "priority": 900, "metadata": {"unit": "EUR"}}
        response = await server.http.post(URL, json=asked)
        assert response.status_code == 201
        registration = response.json()
        assert registration["status"] == "active"
        assert response.headers["Location"] == f"{URL}/{registration['registration_id']}"
        assert code_of(await server.http.post(URL, json=asked)) == (409, "AGENT_ALREADY_EXISTS")
        assert code_of(await server.http.post(URL, json=asked | {"agent_id": "x"})) == (404, "AGENT_NOT_FOUND")
        assert code_of(await server.http.post(URL, json=asked | {"priority": 1001})) == (400, "INVALID_REQUEST")
        assert code_of(await server.http.post(URL, json=asked | {"capability": "a b"})) == (400, "INVALID_REQUEST")
        providers = (await get(server, "capabilities/sums"))["providers"]
        assert [(each["agent_id"], each["routing_score"]) for each in providers] == [("one", 900.0), ("two", 50.0)]
        changed = await server.http.put(f"{URL}/{registration['registration_id']}", json={"priority": 1})
        assert (changed.json()["priority"], changed.json()["metadata"]) == (1, {"unit": "EUR"})
        providers = (await get(server, "capabilities/sums"))["providers"]
        assert [each["agent_id"] for each in providers] == ["two", "one"]
        assert code_of(await server.http.put(f"{URL}/reg_0", json={})) == (404, "NOT_FOUND")
    async with open_real_server(tmp_path) as server:  # it is kept
        assert len((await get(server, "capabilities/sums"))["providers"]) == 2
        assert (await server.http.delete(f"{URL}/one/sums")).status_code == 204
        assert code_of(await server.http.delete(f"{URL}/one/sums")) == (404, "NOT_FOUND")
        assert len((await get(server, "capabilities/sums"))["providers"]) == 1


async def test_the_directory_is_searched(tmp_path: Path) -> None:
    async with open_real_server(tmp_path) as server:
        for number in range(3):
            await deploy_echo(server, f"a{number}", capabilities=["sums", f"kind{number}"])
        found = await get(server, "directory/agents?type=sums&limit=2")
        assert ([each["name"] for each in found["agents"]], found["truncated"]) == (["a0", "a1"], True)
        assert found["agents"][0]["lease_time"].endswith("Z")
        rest = await get(server, f"directory/agents?type=sums&limit=2&cursor={found['next_cursor']}")
        assert ([each["name"] for each in rest["agents"]], rest["next_cursor"]) == (["a2"], None)
        both = await get(server, "directory/agents?type=sums&type=kind1")
        assert [each["name"] for each in both["agents"]] == ["a1"]
        template = {"description": {"services": [{"type": "kind2"}]}, "constraints": {"max_results": -1}}
        response = await server.http.post("/api/v1/directory/search", json=template)
        assert [each["name"] for each in response.json()["agents"]] == ["a2"]
        response = await server.http.post("/api/v1/directory/search", json={"description": {"nom": "x"}})
        assert code_of(response) == (400, "INVALID_REQUEST")
        assert response.json()["error"]["details"]["error"] == "unexpected-parameter"


async def test_a_websocket_tells_what_changes(tmp_path: Path) -> None:
    async with open_real_server(tmp_path) as server, server.websocket("/ws/capabilities") as websocket:
        assert json.loads(await websocket.get_message())["type"] == "subscribed"
        await deploy_echo(server, "one", capabilities=["sums"])
        event = json.loads(await websocket.get_message())
        assert (event["type"], event["agent_id"], event["capability"]) == ("capability.registered", "one", "sums")
        await server.http.delete("/api/v1/agents/one")
        event = json.loads(await websocket.get_message())
        assert (event["type"], event["capability"]) == ("capability.unregistered", "sums")
