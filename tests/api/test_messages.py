"""Messages over REST."""

import json
from collections.abc import AsyncIterator

import msgspec
import pytest
import trio

from caxton.api import bodies
from caxton.core.views import EdgeLimits
from tests.api.serving import code_of, open_server, request_to

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_a_message_is_accepted_with_a_receipt():
    async with open_server() as server:
        await server.attach("alice")
        response = await server.post(request_to("alice", {"n": 1}))
        receipt = response.json()
        assert response.status_code == 200
        assert receipt["status"] == "delivered"
        assert receipt["delivered_to"] == 1
        assert receipt["delivered_at"].endswith("Z")
        assert server.node.agents.resident("alice").mailbox.waiting[0].message_id == receipt["message_id"]


async def test_an_unknown_receiver_is_an_error_with_a_trace_id():
    async with open_server() as server:
        response = await server.post(request_to("nobody"))
        assert code_of(response) == (404, "AGENT_NOT_FOUND")
        assert response.json()["error"]["trace_id"] == response.headers["x-trace-id"]


async def test_the_caller_s_trace_goes_on():
    async with open_server() as server:
        for path in ("/health", "/api/v1/messages"):
            response = await server.http.get(path, headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
            assert response.headers["x-trace-id"] == TRACE
        headers = {"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"}
        response = await server.http.post("/api/v1/messages", content=b"{", headers=headers)
        assert response.headers["x-trace-id"] not in ("0" * 32, TRACE)


async def test_what_is_not_a_message_is_refused():
    async with open_server() as server:
        for body in (b"", b"{", b"[]", b'{"performative":"shout","receiver":"x"}', b"\xff", b"null"):
            response = await server.http.post("/api/v1/messages", content=body)
            assert code_of(response) == (400, "INVALID_MESSAGE"), body


async def test_other_media_types_are_refused_on_every_way_in():
    async with open_server() as server:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        for path in ("/api/v1/messages", "/api/v1/messages?wait=1", "/api/v1/messages/validate"):
            response = await server.http.post(path, content=b"{}", headers=headers)
            assert code_of(response) == (415, "UNSUPPORTED_MEDIA_TYPE"), path
            assert "application/json" in response.json()["error"]["hint"]


async def test_a_message_over_the_limit_is_refused_while_it_arrives():
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    async with open_server(EdgeLimits(max_message_size=1000)) as server:
        for path in ("/api/v1/messages", "/api/v1/messages?wait=1", "/api/v1/messages/validate"):
            for content in (b" " * 1001, b" " * 3_000_000, endless()):
                response = await server.http.post(path, content=content)
                assert code_of(response) == (413, "MESSAGE_TOO_LARGE"), path


async def test_wait_gives_the_reply():
    async with open_server() as server:
        await server.deploy("echo")
        response = await server.post(request_to("echo", {"n": 7}, reply_with="r-1"), wait="5")
        assert response.status_code == 200
        reply = response.json()
        assert (reply["performative"], reply["content"], reply["in_reply_to"]) == ("inform", {"n": 7}, "r-1")


async def test_no_reply_in_time_is_504():
    async with open_server() as server:
        await server.attach("silent")
        response = await server.post(request_to("silent"), wait="0.05")
        assert code_of(response) == (504, "REPLY_TIMEOUT")
        assert response.json()["error"]["hint"]
        response = await server.post(request_to("silent", conversation_id="c-9"), wait="0.01")
        assert response.json()["error"]["details"]["conversation_id"] == "c-9"


async def test_wait_is_a_number_of_seconds():
    async with open_server() as server:
        for wait in ("soon", "-1", "0", "nan", "1e9"):
            assert code_of(await server.post(request_to("echo"), wait=wait)) == (400, "INVALID_REQUEST")


async def test_a_client_that_hangs_up_stops_waiting():
    async with open_server() as server:
        await server.attach("silent")
        with trio.move_on_after(0.1):
            await server.post(request_to("silent"), wait="60")
        with trio.fail_after(5):
            while server.node.bus.clients:
                await trio.lowlevel.checkpoint()


async def test_a_client_that_leaves_amid_its_body_is_no_failure(caplog: pytest.LogCaptureFixture):
    async with open_server() as server:
        head = b"POST /api/v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"
        async with await trio.open_tcp_stream(server.address.host, server.address.port) as stream:
            await stream.send_all(head)
        await server.http.get("/health")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_body_that_does_not_come_is_a_timeout(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bodies, "BODY_TIMEOUT", 0.05)
    async with open_server() as server:
        for path in (b"/api/v1/messages", b"/api/v1/messages?wait=1"):
            async with await trio.open_tcp_stream(server.address.host, server.address.port) as stream:
                await stream.send_all(b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{" % path)
                answer = b""
                while part := await stream.receive_some():
                    answer += part
                assert answer.startswith(b"HTTP/1.1 408")
                assert b"REQUEST_TIMEOUT" in answer


async def test_a_batch_gives_one_outcome_per_line():
    async with open_server() as server:
        await server.attach("alice")
        good, bad = json.dumps(request_to("alice")), json.dumps(request_to("nobody"))
        response = await server.http.post(
            "/api/v1/messages",
            content=f"{good}\n\n{bad}\r\n{{\n{good}",
            headers={"content-type": "application/x-ndjson; charset=utf-8"},
        )
        assert response.status_code == 207
        assert (response.headers["x-caxton-accepted"], response.headers["x-caxton-failed"]) == ("2", "2")
        lines = [json.loads(line) for line in response.text.splitlines()]
        assert [line.get("line") for line in lines] == [None, 3, 4, None]
        assert [line["error"]["code"] for line in lines[1:3]] == ["AGENT_NOT_FOUND", "INVALID_MESSAGE"]
        assert lines[0]["message_id"] != lines[3]["message_id"]


async def test_a_batch_without_errors_is_200_and_may_be_empty():
    async with open_server() as server:
        headers = {"content-type": "application/x-ndjson"}
        response = await server.http.post("/api/v1/messages", content=b"\n", headers=headers)
        assert (response.status_code, response.text) == (200, "")
        response = await server.http.post("/api/v1/messages?wait=1", content=b"\n", headers=headers)
        assert code_of(response) == (400, "INVALID_REQUEST")


async def test_a_conversation_is_read_page_by_page():
    async with open_server() as server:
        await server.attach("alice")
        for number in range(5):
            await server.post(request_to("alice", number, conversation_id="c-1"))
            await server.post(request_to("alice", -1, conversation_id="c-2"))
        seen: list[int] = []
        params = {"conversation_id": "c-1", "limit": "2"}
        while True:
            page = (await server.http.get("/api/v1/messages", params=params)).json()
            seen += [message["content"] for message in page["messages"]]
            if page["next_cursor"] is None:
                break
            params["cursor"] = page["next_cursor"]
        assert seen == [0, 1, 2, 3, 4]
        assert page["messages"][0].keys() >= {"message_id", "performative", "sender", "receiver", "timestamp"}


async def test_paging_arguments_are_checked():
    async with open_server() as server:
        for query in ("limit=0", "limit=1001", "limit=1.5", "limit=x", "cursor=-1"):
            assert code_of(await server.http.get(f"/api/v1/messages?{query}")) == (400, "INVALID_REQUEST"), query


async def test_validate_sends_nothing():
    async with open_server() as server:
        await server.attach("alice")
        good = await server.http.post("/api/v1/messages/validate", json=request_to("alice"))
        bad = await server.http.post("/api/v1/messages/validate", json=request_to("alice") | {"performative": "shout"})
        assert good.json()["valid"] is True
        assert good.json()["message"]["receiver"] == "alice"
        assert (bad.status_code, bad.json()["valid"], bad.json()["error"]["code"]) == (200, False, "INVALID_MESSAGE")
        assert not server.node.agents.resident("alice").mailbox.waiting


async def test_both_code_paths_of_post_answer_alike():
    """The plain ASGI route in front of Quart, and Quart's own (reached by an unknown query argument)."""
    async with open_server() as server:
        await server.attach("alice")
        for message in (request_to("alice"), request_to("nobody"), {"performative": "shout"}):
            hot, cold = await server.post(message), await server.post(message, unknown="1")
            assert hot.status_code == cold.status_code
            assert shape(hot.content) == shape(cold.content)
            assert set(hot.headers) == set(cold.headers)


def shape(body: bytes) -> object:
    value = msgspec.json.decode(body)
    return value["error"]["code"] if "error" in value else list(value)
