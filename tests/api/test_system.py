"""Health, figures, and the answers of the edge itself."""

from typing import Any

import pytest
import trio

from caxton.api.errors import as_caxton_error
from caxton.core.errors import NotFound
from tests.api.serving import code_of, open_server


async def test_health_and_readiness():
    async with open_server() as server:
        assert (await server.http.get("/health")).json()["status"] == "healthy"
        assert (await server.http.get("/ready")).status_code == 200
        server.node.is_ready = False
        assert (await server.http.get("/ready")).status_code == 503


async def test_figures_by_group():
    async with open_server() as server:
        everything = (await server.http.get("/api/v1/metrics/system")).json()
        assert everything.keys() >= {"timestamp", "agents", "messages", "resources", "performance"}
        some = (await server.http.get("/api/v1/metrics/system?fields=agents,messages")).json()
        assert some.keys() == {"timestamp", "agents", "messages"}
        assert code_of(await server.http.get("/api/v1/metrics/system?fields=moods")) == (400, "INVALID_REQUEST")


async def test_unknown_routes_and_methods_have_the_same_shape():
    async with open_server() as server:
        assert code_of(await server.http.get("/api/v2/agents")) == (404, "NOT_FOUND")
        response = await server.http.patch("/api/v1/agents")
        assert code_of(response) == (405, "METHOD_NOT_ALLOWED")
        assert "POST" in response.headers["allow"]
        for refused in (response, await server.http.get("/nowhere")):
            assert refused.json()["error"].keys() == {"code", "message", "details", "hint", "trace_id"}


async def test_a_refusal_before_the_body_was_read_leaves_no_broken_connection():
    async with open_server() as server:
        head = b"PUT /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{"
        async with await trio.open_tcp_stream(server.address.host, server.address.port) as stream:
            await stream.send_all(head)
            answer = b""
            with trio.fail_after(5):
                while part := await stream.receive_some():  # to its end: the connection is of no more use
                    answer += part
        assert answer.startswith(b"HTTP/1.1 404")


async def test_an_unexpected_failure_is_500_and_tells_nothing_of_the_inside(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("the secret")

    async with open_server() as server:
        monkeypatch.setattr(server.node.bus, "post", fail)
        monkeypatch.setattr(server.node, "health", fail)
        seen = set()
        for response in (await server.post({}), await server.post({}, other="1"), await server.http.get("/health")):
            seen.add(response.headers["x-trace-id"])
            assert code_of(response) == (500, "INTERNAL_ERROR")
            assert "secret" not in response.text
        assert "the secret" in caplog.text
        assert {record.__dict__["trace_id"] for record in caplog.records if record.exc_info} == seen


def test_a_group_of_one_is_its_member():
    error = NotFound("x")
    assert as_caxton_error(ExceptionGroup("", [ExceptionGroup("", [error])]), "t") is error
