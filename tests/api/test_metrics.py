"""Metrics over HTTP: at the API's port, at a port of their own, and of the API itself."""

import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from caxton.api.metrics import serve_metrics
from caxton.api.server import Address
from caxton.node import Node
from tests.api.serving import Served, code_of, open_server, request_to
from tests.node.opened import deploy, eventually, open_a_node

ON = "observability.metrics.enabled=true"
REQUESTS = "http_server_request_duration_seconds_count"


@asynccontextmanager
async def served(folder: Path, *sets: str) -> AsyncIterator[Served[Node]]:
    async with open_a_node(folder, *sets) as node, open_server(node=node) as server:
        yield server


async def samples(http: httpx.AsyncClient, name: str) -> dict[tuple[str, ...], float]:
    """Of one metric, by the values of its labels in their order."""
    text = (await http.get("/metrics")).text
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


async def requests(http: httpx.AsyncClient, number: int) -> dict[tuple[str, ...], float]:
    """How many there were, by method, status and route, when there were so many: one counts when its answer is sent."""
    while sum((found := await samples(http, REQUESTS)).values()) < number:
        number += 1  # the look itself
    return found


async def test_metrics_are_at_the_api_s_port(tmp_path: Path) -> None:
    async with served(tmp_path, ON) as server:
        answer = await server.http.get("/metrics")
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "caxton_ready 1.0" in answer.text
        accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        answer = await server.http.get("/api/v1/metrics", headers={"Accept": accept})
        assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert answer.text.endswith("# EOF\n")
        assert list(read_openmetrics(answer.text))
        assert "agents" in (await server.http.get("/api/v1/metrics/system")).json()


async def test_metrics_that_are_off_say_how_to_turn_them_on(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        answer = await server.http.get("/metrics")
        assert code_of(answer) == (404, "NOT_FOUND")
        assert "observability.metrics.enabled=true" in answer.json()["error"]["hint"]


async def test_requests_are_counted_by_route(tmp_path: Path) -> None:
    async with served(tmp_path, ON) as server:
        await deploy(server.node, "a")
        await server.post(request_to("a"))
        await server.http.post("/api/v1/messages", content=b"{")
        for name in ("a", "b", "a", "x/y"):
            await server.http.get(f"/api/v1/agents/{name}")
        await server.http.request("BREW", "/api/v1/agents/a")
        await server.http.get("/made/up")
        found = await requests(server.http, 8)
        assert found["POST", "200", "/api/v1/messages"] == 1
        assert found["POST", "400", "/api/v1/messages"] == 1
        assert found["GET", "200", "/api/v1/agents/{name}"] == 2
        assert found["GET", "404", "/api/v1/agents/{name}"] == 2
        assert found["_OTHER", "405", ""] == 1
        assert found["GET", "404", ""] == 1
        durations = await samples(server.http, "http_server_request_duration_seconds_sum")
        assert durations["GET", "200", "/api/v1/agents/{name}"] > 0


async def test_who_leaves_before_the_answer_has_no_status(tmp_path: Path) -> None:
    async with served(tmp_path, ON) as server:
        async with await trio.open_tcp_stream(server.address.host, server.address.port) as stream:
            await stream.send_all(b"POST /api/v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")

        async def is_counted() -> bool:
            return ("POST", "", "/api/v1/messages") in await samples(server.http, REQUESTS)

        await eventually(is_counted)


async def test_refused_requests_are_counted(tmp_path: Path) -> None:
    limits = ("security.rate_limiting.enabled=true", "security.rate_limiting.requests_per_second=0.001")
    async with served(tmp_path, ON, *limits, "security.rate_limiting.burst_size=4") as server:
        for _ in range(5):
            await server.post(request_to("nobody"))
        assert await samples(server.http, "caxton_http_rate_limited_total") == {("messages",): 1}
        assert (await requests(server.http, 5))["POST", "429", ""] == 1


async def test_a_request_s_trace_is_its_message_s(tmp_path: Path) -> None:
    sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with served(tmp_path) as server:
        await deploy(server.node, "a")
        headers = {"traceparent": sampled}
        posted = [
            await server.http.post("/api/v1/messages", json=request_to("a"), headers=headers),
            await server.http.post("/api/v1/messages?", json=request_to("a"), headers=headers),
            await server.http.post(
                "/api/v1/messages", content=json.dumps(request_to("a")),
                headers={**headers, "content-type": "application/x-ndjson"},
            ),
            await server.http.post("/api/v1/messages", json=request_to("a"), headers={"traceparent": b"\xfc"}),
            await server.http.post("/api/v1/messages", json=request_to("a", traceparent="own"), headers=headers),
        ]  # fmt: skip
        assert [answer.status_code for answer in posted] == [200] * 5
        seen, _ = server.node.scheduler.history(None, 0, 10)
        assert [one.traceparent for _, one in seen] == [sampled, sampled, sampled, None, "own"]


# -- a listener of its own --


@asynccontextmanager
async def listener(node: Node, port: int = 0) -> AsyncIterator[Address | None]:
    stop = trio.Event()
    async with trio.open_nursery() as nursery:

        async def run(task_status: Any) -> None:
            await serve_metrics(node, "127.0.0.1", port, stop=stop, task_status=task_status)

        yield await nursery.start(run)
        stop.set()


async def test_a_port_for_metrics_alone(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, ON) as node, listener(node) as address:
        assert address is not None
        async with httpx.AsyncClient(base_url=address.url) as http:
            answer = await http.get("/metrics")
            assert (answer.status_code, answer.headers["content-type"][:10]) == (200, "text/plain")
            assert "caxton_agents" in answer.text
            head = await http.head("/metrics")
            assert (head.status_code, head.content) == (200, b"")
            assert (await http.post("/metrics")).status_code == 405
            for path in ("/", "/api/v1/agents", "/metrics/"):
                assert (await http.get(path)).status_code == 404, path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def answers(port: int) -> bool:
    try:
        async with httpx.AsyncClient() as http:
            return (await http.get(f"http://127.0.0.1:{port}/metrics")).status_code == 200
    except httpx.HTTPError:
        return False


async def is_silent(port: int) -> bool:
    return not await answers(port)


async def test_it_listens_while_metrics_are_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def turn(on: bool) -> None:
        await node.settings.set({"observability.metrics.enabled": on}, who="a test")

    port = free_port()
    async with open_a_node(tmp_path) as node, listener(node, port) as address:
        assert (address, await answers(port)) == (None, False)
        await turn(True)
        await eventually(partial(answers, port))
        await turn(False)
        await eventually(partial(is_silent, port))
        # it is another's now
        with socket.create_server(("127.0.0.1", port)), caplog.at_level(logging.ERROR):
            await turn(True)
            await eventually(lambda: "metrics are not served at" in caplog.text)
        assert "in use" in caplog.text
        await turn(False)
        await turn(True)
        await eventually(partial(answers, port))


async def test_a_port_that_is_taken_at_the_start_is_said(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, ON) as node:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            with pytest.raises(OSError, match="in use"):
                await serve_metrics(node, "127.0.0.1", taken.getsockname()[1], stop=trio.Event())
