"""Agents over REST."""

from caxton.core.views import EdgeLimits
from tests.api.serving import MODULE, MODULE_BASE64, code_of, open_server


async def test_a_module_is_deployed_as_multipart():
    async with open_server() as server:
        for name, config in (("json", '{"name": "json"}'), ("yaml", "name: yaml\nreplicas: 2\n")):
            response = await server.http.post(
                "/api/v1/agents", files={"wasm": ("x.wasm", MODULE, "application/wasm")}, data={"config": config}
            )
            assert response.status_code == 201
            assert response.headers["location"] == f"/api/v1/agents/{name}"
            assert response.json().keys() >= {"agent_id", "name", "status", "deployed_at", "version"}
        toml = {"wasm": ("x.wasm", MODULE), "config": ("agent.toml", b'name = "toml"\nreplicas = 3\n')}
        response = await server.http.post("/api/v1/agents", files=toml)
        assert (response.json()["name"], response.json()["replicas"]) == ("toml", 3)


async def test_a_module_is_deployed_as_json():
    async with open_server() as server:
        body = {"name": "one", "wasm_module": MODULE_BASE64, "config": {"resources": {"memory": "10MB"}}}
        response = await server.http.post("/api/v1/agents", json=body)
        assert (response.status_code, response.json()["name"]) == (201, "one")
        assert code_of(await server.http.post("/api/v1/agents", json=body)) == (409, "AGENT_ALREADY_EXISTS")


async def test_an_attached_agent_has_no_module():
    async with open_server() as server:
        response = await server.attach("outside")
        assert (response.status_code, response.json()["kind"]) == (201, "attached")
        body = {"kind": "attached", "wasm_module": MODULE_BASE64, "config": {"name": "both"}}
        assert code_of(await server.http.post("/api/v1/agents", json=body)) == (400, "INVALID_REQUEST")


async def test_what_is_no_deployment_is_refused():
    multipart = {"content-type": "multipart/form-data; boundary=x"}
    async with open_server() as server:

        async def refusal(**request: object) -> tuple[int, str]:
            return code_of(await server.http.post("/api/v1/agents", **request))  # type: ignore[arg-type]

        assert await refusal(json={"config": {"name": "a"}}) == (400, "INVALID_REQUEST")
        assert await refusal(json={"wasm_module": "%%", "config": {"name": "a"}}) == (400, "INVALID_REQUEST")
        assert await refusal(json={"wasm_module": MODULE_BASE64, "colour": 1}) == (400, "INVALID_REQUEST")
        assert await refusal(json={"wasm_module": MODULE_BASE64, "strategy": "canary"}) == (400, "INVALID_REQUEST")
        assert await refusal(json={"wasm_module": MODULE_BASE64, "config": {}}) == (400, "INVALID_CONFIG")
        assert await refusal(json={"wasm_module": MODULE_BASE64, "config": "a: ["}) == (400, "INVALID_CONFIG")
        assert await refusal(json={"wasm_module": "AAAA", "config": {"name": "a"}}) == (400, "INVALID_WASM")
        assert await refusal(json=[1]) == (400, "INVALID_REQUEST")
        assert await refusal(content=b"x", headers={"content-type": "text/plain"}) == (415, "UNSUPPORTED_MEDIA_TYPE")
        assert await refusal(content=b"junk", headers=multipart) == (400, "INVALID_REQUEST")
        assert await refusal(content=b"--x\r\n", headers={"content-type": "multipart/form-data"}) == (
            400,
            "INVALID_REQUEST",
        )
        assert await refusal(files={"virus": MODULE}, data={"config": "name: a"}) == (400, "INVALID_REQUEST")
        assert await refusal(files={"wasm": MODULE}, data={"config": "name: a", "colour": "red"}) == (
            400,
            "INVALID_REQUEST",
        )
        assert server.node.agents.list(None, 10, 0)[1] == 0


async def test_a_module_over_the_limit_is_refused():
    async with open_server(EdgeLimits(max_module_size=1000)) as server:
        for size in (1001, 3 << 20):
            files = {"wasm": MODULE.ljust(size, b"\0")}
            response = await server.http.post("/api/v1/agents", files=files, data={"config": "name: a"})
            assert code_of(response) == (413, "REQUEST_TOO_LARGE")


async def test_agents_are_listed_page_by_page():
    async with open_server() as server:
        for name in "abcde":
            await server.deploy(name)
        await server.http.post("/api/v1/agents/c/stop")
        seen: list[str] = []
        offset = 0
        while offset is not None:
            page = (await server.http.get(f"/api/v1/agents?status=running&limit=3&offset={offset}")).json()
            seen += [agent["name"] for agent in page["agents"]]
            assert page["total"] == 4
            offset = page["next_offset"]
        assert seen == ["a", "b", "d", "e"]
        assert code_of(await server.http.get("/api/v1/agents?status=happy")) == (400, "INVALID_REQUEST")


async def test_an_agent_s_life():
    async with open_server() as server:
        await server.deploy("team/one")
        url = "/api/v1/agents/team/one"
        agent = (await server.http.get(url)).json()
        assert agent["resources"].keys() == {"limits", "usage"}
        assert agent["metrics"].keys() >= {"messages_processed", "average_latency_ms", "uptime_seconds"}
        assert code_of(await server.http.post(f"{url}/start")) == (409, "INVALID_STATE")
        stopped = await server.http.post(f"{url}/stop", json={"grace_period_seconds": 5, "drain_messages": True})
        assert stopped.json()["status"] == "stopped"
        assert (await server.http.get(f"{url}/status")).json()["status"] == "stopped"
        assert (await server.http.post(f"{url}/start")).json()["status"] == "running"
        updated = await server.http.put(url, json={"wasm_module": MODULE_BASE64, "config": {"replicas": 2}})
        assert (updated.status_code, updated.json()["version"]) == (200, 2)
        assert updated.json()["deployment_id"]
        assert "lifecycle" in (await server.http.get(f"{url}/inspect")).json()
        removed = await server.http.delete(url)
        assert (removed.status_code, removed.json()["status"]) == (200, "removed")
        for response in (
            await server.http.get(url),
            await server.http.delete(url),
            await server.http.post(f"{url}/start"),
            await server.http.post(f"{url}/stop"),
            await server.http.put(url, json={"config": {}}),
        ):
            assert code_of(response) == (404, "AGENT_NOT_FOUND")


async def test_stop_and_update_check_their_bodies():
    async with open_server() as server:
        await server.deploy("a")
        for body in (b"{", b'{"grace_period_seconds": -1}', b'{"grace_period_seconds": 1e9}', b'{"now": true}'):
            response = await server.http.post("/api/v1/agents/a/stop", content=body)
            assert code_of(response) == (400, "INVALID_REQUEST")
        assert code_of(await server.http.put("/api/v1/agents/a", json={})) == (400, "INVALID_REQUEST")


async def test_log_lines_are_read_by_agent():
    async with open_server() as server:
        await server.deploy("a")
        await server.deploy("b")
        lines = (await server.http.get("/api/v1/logs?agents=a")).json()["lines"]
        assert [(line["agent"], line["text"]) for line in lines] == [("a", "deployed")]
        assert (await server.http.get("/api/v1/logs?since=99999999999")).json()["lines"] == []


async def test_a_module_may_be_longer_than_the_parsers_chunks():
    """An interpreter is some 18 MB; once a module of a mebibyte was refused as too large."""
    async with open_server() as server:
        module = {"wasm": ("x.wasm", MODULE + bytes(range(256)) * (12 << 10))}
        response = await server.http.post("/api/v1/agents", files=module, data={"config": "name: large"})
        assert response.status_code == 201
