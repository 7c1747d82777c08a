"""Agents that live outside, attached over a WebSocket."""

import json
from typing import Any

import pytest
import trio
import websockets.sync.client
from trio_websocket import ConnectionClosed, ConnectionRejected

from caxton.api import stream
from caxton.api.batch import join_batch, split_batch
from tests.api.serving import Served, open_server, request_to
from tests.api.small_node import SmallNode

ALICE = "/api/v1/agents/alice/stream"


async def receive(websocket: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(await websocket.get_message())
    return value


async def send(websocket: Any, value: object) -> None:
    await websocket.send_message(json.dumps(value))


async def refusal(server: Served[SmallNode], path: str) -> tuple[int, str]:
    with pytest.raises(ConnectionRejected) as caught:
        async with server.websocket(path):
            pass
    return caught.value.status_code, json.loads(caught.value.body)["error"]["code"]


async def wait_until_attached(server: Served[SmallNode], name: str, attached: bool = True) -> None:
    with trio.fail_after(5):
        while (server.node.agents.resident(name).attachment is not None) is not attached:
            await trio.lowlevel.checkpoint()


async def close_of(websocket: Any) -> tuple[int, str]:
    """How the server ends the connection."""
    with trio.fail_after(5):
        while True:
            try:
                await websocket.get_message()
            except ConnectionClosed as closed:
                return closed.reason.code, closed.reason.reason or ""


async def test_an_attached_agent_receives_its_messages():
    async with open_server() as server:
        await server.attach("alice")
        async with server.websocket(ALICE) as alice:
            receipt = (await server.post(request_to("alice", {"n": 1}))).json()
            message = await receive(alice)
            assert (message["content"], message["message_id"]) == ({"n": 1}, receipt["message_id"])


async def test_what_it_sends_is_sent_in_its_own_name():
    async with open_server() as server:
        await server.attach("alice")
        await server.attach("bob")
        async with server.websocket(ALICE) as alice, server.websocket("/api/v1/agents/bob/stream") as bob:
            await send(alice, request_to("bob") | {"sender": "somebody else"})
            (receipt,) = (await receive(alice))["receipts"]
            message = await receive(bob)
            assert (message["sender"], message["message_id"]) == ("alice", receipt["message_id"])


async def test_a_foreign_agent_talks_to_a_hosted_one():
    async with open_server() as server:
        await server.deploy("echo")
        async with server.websocket(f"{ALICE}?create=1") as alice:
            await send(alice, request_to("echo", {"n": 5}, reply_with="r"))
            frames = [await receive(alice), await receive(alice)]
            reply = next(frame for frame in frames if "performative" in frame)
            assert (reply["content"], reply["in_reply_to"], reply["sender"]) == ({"n": 5}, "r", "echo")


async def test_several_messages_in_one_frame_have_receipts_in_order():
    async with open_server() as server, server.websocket(f"{ALICE}?create=1") as alice:
        batch = [request_to("alice", 1), request_to("nobody", 2), {"performative": "shout"}, request_to("alice", 3)]
        binary = join_batch(json.dumps(message).encode() for message in batch)
        for frame in (json.dumps(batch), binary):
            await alice.send_message(frame)
            answer: dict[str, Any] = {}
            while answer.get("type") != "receipts":
                answer = await receive(alice)
            codes = [entry["error"]["code"] if "error" in entry else "" for entry in answer["receipts"]]
            assert codes == ["", "AGENT_NOT_FOUND", "INVALID_MESSAGE", ""]


async def test_its_mailbox_waits_while_it_is_away():
    async with open_server() as server:
        async with server.websocket(f"{ALICE}?create=1"):
            pass
        await wait_until_attached(server, "alice", attached=False)
        for number in range(3):
            await server.post(request_to("alice", number))
        async with server.websocket(ALICE) as alice:
            assert [(await receive(alice))["content"] for _ in range(3)] == [0, 1, 2]


async def test_what_is_not_acknowledged_comes_again():
    async with open_server() as server:
        async with server.websocket(f"{ALICE}?create=1") as alice:
            for number in range(2):
                await server.post(request_to("alice", number))
            first, _ = await receive(alice), await receive(alice)
            await send(alice, {"type": "ack", "message_ids": [first["message_id"]]})
            await alice.send_message(b"")  # answered: the acknowledgement before it has been read
            assert (await receive(alice))["receipts"] == []
        await wait_until_attached(server, "alice", attached=False)
        async with server.websocket(ALICE) as alice:
            assert (await receive(alice))["content"] == 1


async def test_batches_to_the_client():
    async with open_server() as server:
        await server.attach("alice")
        for number in range(1000):
            server.node.bus.post(json.dumps(request_to("alice", number)).encode())
        seen: list[int] = []
        async with server.websocket(f"{ALICE}?batch=1") as alice:
            while len(seen) < 1000:
                frame = await alice.get_message()
                bodies = split_batch(frame)
                assert len(bodies) <= stream.BATCH_MESSAGES
                seen += [json.loads(body)["content"] for body in bodies]
        assert seen == list(range(1000))


async def test_batches_by_subprotocol():
    async with open_server() as server:
        await server.attach("alice")
        await server.post(request_to("alice"))
        async with server.websocket(ALICE, subprotocols=["other", "caxton.batch.v1"]) as alice:
            assert alice.subprotocol == "caxton.batch.v1"
            assert len(split_batch(await alice.get_message())) == 1


async def test_who_may_attach():
    async with open_server() as server:
        await server.deploy("echo")
        for query in ("", "?create=0", "?batch=1"):
            assert await refusal(server, ALICE + query) == (404, "AGENT_NOT_FOUND")
        assert await refusal(server, f"{ALICE}?create=perhaps") == (400, "INVALID_REQUEST")
        assert await refusal(server, "/api/v1/agents/echo/stream") == (409, "INVALID_STATE")
        assert await refusal(server, "/api/v1/agents/ams/stream?create=1") == (400, "INVALID_CONFIG")
        async with server.websocket(f"{ALICE}?create=1"):
            assert await refusal(server, ALICE) == (409, "INVALID_STATE")


async def test_a_takeover_pushes_the_other_out():
    async with open_server() as server, server.websocket(f"{ALICE}?create=1") as old:
        async with server.websocket(f"{ALICE}?takeover=1") as new:
            code, reason = await close_of(old)
            assert (code, "took over" in reason) == (1008, True)
            await server.post(request_to("alice", 1))
            assert (await receive(new))["content"] == 1


async def test_deletion_ends_the_stream():
    async with open_server() as server, server.websocket(f"{ALICE}?create=1") as alice:
        await server.http.delete("/api/v1/agents/alice")
        code, reason = await close_of(alice)
        assert (code, "deleted" in reason) == (1001, True)


async def test_frames_that_cannot_be_read_end_it():
    async with open_server() as server:
        await server.attach("alice")
        for frame in (b"\1", b"\xff\0\0\0short", "[{]", "[1,"):
            async with server.websocket(ALICE) as alice:
                await alice.send_message(frame)
                code, reason = await close_of(alice)
                assert (code, bool(reason)) == (1007, True), frame
            await wait_until_attached(server, "alice", attached=False)


async def test_one_bad_message_does_not_end_it():
    async with open_server() as server, server.websocket(f"{ALICE}?create=1") as alice:
        for text in ("{", "null", '{"type":"ack","message_ids":7}', '{"type":"dance"}'):
            await alice.send_message(text)
            (entry,) = (await receive(alice))["receipts"]
            assert entry["error"]["code"] == "INVALID_MESSAGE"


async def test_a_frame_over_the_limit_ends_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stream, "MAX_FRAME", 1000)
    async with open_server() as server, server.websocket(f"{ALICE}?create=1") as alice:
        await alice.send_message(bytes(1001))
        code, reason = await close_of(alice)
        assert (code, "1000" in reason) == (1009, True)


async def test_pings_are_answered():
    async with open_server() as server, server.websocket(f"{ALICE}?create=1") as alice:
        with trio.fail_after(5):
            await alice.ping(b"there?")


async def test_another_client_library_attaches():
    """PyPI `websockets`, with its compression, in a thread."""

    def talk(url: str) -> list[Any]:
        with websockets.sync.client.connect(url) as alice:
            alice.send(json.dumps(request_to("echo", "ça va", reply_with="r")))
            frames = [json.loads(alice.recv(10)), json.loads(alice.recv(10))]
            alice.send(b"")
            frames.append(json.loads(alice.recv(10)))
            return frames

    async with open_server() as server:
        await server.deploy("echo")
        url = server.address.url.replace("http", "ws") + f"{ALICE}?create=1"
        frames = await trio.to_thread.run_sync(talk, url)
        assert [frame["content"] for frame in frames if "content" in frame] == ["ça va"]
        assert frames[-1] == {"type": "receipts", "receipts": []}
