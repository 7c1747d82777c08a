"""The API over the real node: WebAssembly guests, the native scheduler and the store, with clients we did not write."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import websockets.sync.client
from trio_websocket import WebSocketConnection

from caxton.core.config import load_config
from caxton.node import open_node
from tests.api.serving import Served, code_of, open_server, request_to

ECHO = (Path(__file__).parents[2] / "examples" / "echo" / "echo.wasm").read_bytes()
STREAM = "/api/v1/agents/outside/stream"


@asynccontextmanager
async def open_real_server(folder: Path) -> AsyncIterator[Served[Any]]:
    config = load_config(environ={"CAXTON_DATA_DIR": str(folder)}, sets=["runtime.max_agents=16"])
    async with open_node(config) as node, open_server(node=node) as server:
        yield server


async def deploy_echo(server: Served[Any], name: str = "echo", **config: object) -> httpx.Response:
    text = json.dumps({"name": name, **config})
    return await server.http.post("/api/v1/agents", files={"wasm": ("echo.wasm", ECHO)}, data={"config": text})


async def receive(websocket: WebSocketConnection) -> dict[str, Any]:
    with trio.fail_after(10):
        value: dict[str, Any] = json.loads(await websocket.get_message())
    return value


async def test_a_guest_is_deployed_and_answers(tmp_path: Path):
    async with open_real_server(tmp_path) as server:
        assert (await server.http.get("/ready")).status_code == 200
        assert (await deploy_echo(server)).status_code == 201
        assert code_of(await deploy_echo(server)) == (409, "AGENT_ALREADY_EXISTS")
        response = await server.post(request_to("echo", {"n": 1}, conversation_id="c", reply_with="r"), wait="10")
        reply = response.json()
        assert (reply["sender"], reply["content"], reply["in_reply_to"]) == ("echo", {"n": 1}, "r")
        page = (await server.http.get("/api/v1/messages?conversation_id=c")).json()
        assert [message["performative"] for message in page["messages"]] == ["request", "inform"]
        agent = (await server.http.get("/api/v1/agents/echo")).json()
        assert (agent["status"], agent["metrics"]["messages_processed"]) == ("running", 1)
        figures = (await server.http.get("/api/v1/metrics/system")).json()
        assert figures["agents"] == {"total": 1, "running": 1, "failed": 0}
        assert figures["timestamp"].endswith("Z")
        assert (await server.http.get("/api/v1/agents/echo/inspect")).json()["replicas"]


async def test_what_is_wrong_is_named(tmp_path: Path):
    async with open_real_server(tmp_path) as server:
        files = {"wasm": ("x.wasm", ECHO[:100])}
        response = await server.http.post("/api/v1/agents", files=files, data={"config": "name: cut"})
        assert code_of(response) == (400, "INVALID_WASM")
        assert code_of(await server.post(request_to("nobody"))) == (404, "AGENT_NOT_FOUND")
        assert code_of(await server.http.post("/api/v1/messages", content=b"{")) == (400, "INVALID_MESSAGE")
        response = await server.http.post("/api/v1/messages/validate", json={"performative": "shout"})
        assert response.json()["valid"] is False
        response = await server.http.post("/api/v1/messages/validate", json=request_to("x"))
        assert response.json()["valid"] is True


async def test_a_batch_reaches_the_guest(tmp_path: Path):
    async with open_real_server(tmp_path) as server:
        await deploy_echo(server)
        await server.attach("outside")
        line = json.dumps(request_to("echo") | {"sender": "outside"})
        response = await server.http.post(
            "/api/v1/messages",
            content="\n".join([line] * 1200 + ["{"]),
            headers={"content-type": "application/x-ndjson"},
        )
        assert response.status_code == 207
        assert response.headers["x-caxton-failed"] == "1"
        assert len({json.loads(text)["message_id"] for text in response.text.splitlines()[:-1]}) == 1200


async def test_an_agent_outside_talks_to_a_guest(tmp_path: Path):
    async with open_real_server(tmp_path) as server:
        await deploy_echo(server)
        async with server.websocket(f"{STREAM}?create=1") as outside:
            await outside.send_message(json.dumps(request_to("echo", "hello", reply_with="r")))
            assert "message_id" in (await receive(outside))["receipts"][0]  # before any reply
            reply = await receive(outside)
            assert (reply["sender"], reply["content"]) == ("echo", "hello")
            await outside.send_message(b"")
            assert await receive(outside) == {"type": "receipts", "receipts": []}


async def test_how_safe_a_message_must_be(tmp_path: Path):
    async with open_real_server(tmp_path) as server:
        await deploy_echo(server, delivery="Volatile")
        config = (await server.http.get("/api/v1/agents/echo/inspect")).json()["config"]
        assert config["delivery"] == "volatile"
        refused = await deploy_echo(server, "other", delivery="safe")
        assert code_of(refused) == (400, "INVALID_CONFIG")
        assert "'safe' is not one of durable, relaxed, volatile" in refused.json()["error"]["message"]
        refused = await server.post(request_to("echo", delivery="safe"))
        assert code_of(refused) == (400, "INVALID_MESSAGE")
        assert "delivery: expected durable, relaxed or volatile" in refused.json()["error"]["message"]
        await server.attach("outside")
        for said in ("durable", "relaxed", "volatile"):
            await server.post(request_to("outside", delivery=said.upper()))
        await server.post(request_to("outside"))
        async with server.websocket(STREAM) as outside:
            found = [await receive(outside) for _ in range(4)]
            assert [message.get("delivery") for message in found] == ["durable", "relaxed", "volatile", None]
        async with server.websocket(f"{STREAM}?takeover=1") as outside:
            again = [await receive(outside) for _ in range(4)]
            assert again == [message | {"delivery_attempt": 2, "redelivered": True} for message in found]


async def test_websockets_attaches_too(tmp_path: Path):
    def talk(url: str) -> list[Any]:
        with websockets.sync.client.connect(url) as outside:
            outside.send(json.dumps(request_to("echo", "ça va")))
            return [json.loads(outside.recv(10)) for _ in range(2)]

    async with open_real_server(tmp_path) as server:
        await deploy_echo(server)
        url = server.address.url.replace("http", "ws") + f"{STREAM}?create=1"
        frames = await trio.to_thread.run_sync(talk, url)
        assert [frame["content"] for frame in frames if "content" in frame] == ["ça va"]


async def test_a_mailbox_waits_and_what_was_not_acknowledged_comes_again(tmp_path: Path):
    async with open_real_server(tmp_path) as server:
        await server.attach("outside")
        for number in range(3):
            await server.post(request_to("outside", number))
        async with server.websocket(STREAM) as outside:
            messages = [await receive(outside) for _ in range(3)]
            ack = {"type": "ack", "message_ids": [messages[0]["message_id"], messages[2]["message_id"]]}
            await outside.send_message(json.dumps(ack))
            await outside.send_message(b"")
            assert (await receive(outside))["receipts"] == []
        async with server.websocket(f"{STREAM}?takeover=1") as outside:
            assert (await receive(outside))["content"] == 1


async def test_events_are_seen_on_both_ways(tmp_path: Path):
    async with open_real_server(tmp_path) as server, server.websocket("/ws") as watcher:
        await watcher.send_message(json.dumps({"type": "subscribe", "events": ["agent.deployed"]}))
        await watcher.send_message(json.dumps({"type": "subscribe", "filter": {"performatives": ["inform"]}}))
        assert [(await receive(watcher))["type"] for _ in range(2)] == ["subscribed"] * 2
        await deploy_echo(server)
        assert (await receive(watcher))["agent_id"] == "echo"
        await server.post(request_to("echo", 1), wait="10")
        event = await receive(watcher)
        assert (event["type"], event["from"], event["performative"]) == ("message.sent", "echo", "inform")
        assert [event.type for event in server.node.bus.events_since(0)].count("agent.deployed") == 1


async def test_agents_come_back_with_the_server(tmp_path: Path):
    async with open_real_server(tmp_path) as server:
        await deploy_echo(server)
        await server.attach("outside")
        await server.http.post("/api/v1/agents/outside/stop", json={"grace_period_seconds": 0})
    async with open_real_server(tmp_path) as server:
        page = (await server.http.get("/api/v1/agents")).json()
        assert [(agent["name"], agent["status"]) for agent in page["agents"]] == [
            ("echo", "running"),
            ("outside", "stopped"),
        ]
        assert (await server.post(request_to("echo", 5), wait="10")).json()["content"] == 5


async def test_an_agent_s_life(tmp_path: Path):
    async with open_real_server(tmp_path) as server:
        await deploy_echo(server, replicas=2)
        stopped = await server.http.post("/api/v1/agents/echo/stop", json={"grace_period_seconds": 1})
        assert stopped.json()["status"] == "stopped"
        assert (await server.http.post("/api/v1/agents/echo/start")).json()["status"] == "running"
        updated = await server.http.put("/api/v1/agents/echo", json={"config": {"capabilities": ["echoing"]}})
        assert (updated.json()["version"], updated.json()["status"]) == (2, "running")
        response = await server.post(request_to("capability:echoing", 7), wait="10")
        assert response.json()["content"] == 7
        assert (await server.http.delete("/api/v1/agents/echo")).json()["status"] == "removed"
        assert code_of(await server.post(request_to("echo"))) == (404, "AGENT_NOT_FOUND")


@pytest.mark.slow
async def test_no_reply_is_a_timeout_with_a_hint(tmp_path: Path):
    async with open_real_server(tmp_path) as server:
        await server.attach("outside")
        response = await server.post(request_to("outside"), wait="0.05")
        assert code_of(response) == (504, "REPLY_TIMEOUT")
        assert response.json()["error"]["hint"]


async def test_who_of_several_receivers_is_nowhere_is_in_the_receipt(tmp_path: Path):
    async with open_real_server(tmp_path) as server:
        await server.attach("outside")
        response = await server.post(request_to(["ghost", "outside"]))
        receipt = response.json()
        assert (response.status_code, receipt["delivered_to"], receipt["not_found"]) == (200, 1, ["ghost"])
        assert "not_found" not in (await server.post(request_to(["outside"]))).json()
        refused = await server.post(request_to(["ghost", "phantom"]))
        assert code_of(refused) == (404, "AGENT_NOT_FOUND")
        assert refused.json()["error"]["details"]["receiver"] == ["ghost", "phantom"]


async def test_nobody_outside_sends_as_an_agent_of_the_platform(tmp_path: Path):
    async with open_real_server(tmp_path) as server:
        await server.attach("outside")
        node = server.node.store.meta.node_id
        for sender in ("ams", "df", "cnp", "AMS", f"df@{node}"):
            response = await server.post(request_to("outside") | {"sender": sender})
            assert code_of(response) == (403, "FORBIDDEN"), sender
            assert response.json()["error"]["details"]["field"] == "sender"
        lines = [json.dumps(request_to("outside") | {"sender": sender}) for sender in ("ams", "amsel")]
        headers = {"content-type": "application/x-ndjson"}
        answers = await server.http.post("/api/v1/messages", content="\n".join(lines), headers=headers)
        first, second = (json.loads(line) for line in answers.text.splitlines())
        assert (first["error"]["code"], second["status"]) == ("FORBIDDEN", "queued")
        assert (await server.post(request_to("outside") | {"sender": "ams@elsewhere"})).status_code == 200
