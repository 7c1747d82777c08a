"""Two platforms over real HTTP: two Caxtons, and a Caxton with a JADE that is played from a script, byte for byte."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio

from caxton.api.app import create_app
from caxton.api.server import serve
from caxton.core.acl import mtp, string
from caxton.core.acl.message import AclLimits, AgentId
from caxton.core.config import load_config
from caxton.core.config_keys import Config
from caxton.core.errors import InvalidConfig
from caxton.core.manifest import parse_agent_config
from caxton.core.views import EventFilter
from caxton.node import Node, open_node

pytestmark = pytest.mark.slow
ECHO = (Path(__file__).parents[2] / "examples" / "echo" / "echo.wasm").read_bytes()
LIMITS = AclLimits()


def free_port() -> int:
    """The servers have to know each other's address before they listen."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@attrs.frozen
class Served:
    node: Node
    http: httpx.AsyncClient

    async def attach(self, name: str) -> None:
        await self.node.agents.attach(parse_agent_config({"name": name}))

    async def receive(self, name: str) -> dict[str, Any]:
        """The next message of an attached agent, as its program sees it."""
        with trio.fail_after(10):
            async with self.node.bus.stream(name) as session:
                (message,) = await session.receive(1)
                session.ack([message.message_id])
        fields: dict[str, Any] = json.loads(message.to_json())
        return fields

    async def platform(self, name: str) -> dict[str, Any]:
        known = (await self.http.get("/api/v1/platforms")).json()["platforms"]
        found: dict[str, Any] = next(each for each in known if each["name"] == name)
        return found


def config_of(folder: Path, server: dict[str, Any], keys: dict[str, Any]) -> Config:
    file = folder / "caxton.yaml"
    folder.mkdir(exist_ok=True)
    file.write_text(json.dumps({"server": server, "integrations": {"fipa": {"http_mtp": keys}}}))
    return load_config(file, environ={"CAXTON_DATA_DIR": str(folder)}, sets=["runtime.max_agents=16"])


@asynccontextmanager
async def open_platform(folder: Path, port: int, name: str, **mtp_keys: Any) -> AsyncIterator[Served]:
    keys = {"enabled": True, "platform_name": name, "retry_delay": "10ms", "attempts": 3} | mtp_keys
    config = config_of(folder, {"host": "127.0.0.1", "port": port}, keys)
    stop = trio.Event()
    with trio.fail_after(30):
        async with open_node(config) as node, trio.open_nursery() as nursery:

            async def run(task_status: Any) -> None:
                app = create_app(node)
                await serve(app, "127.0.0.1", port, shutdown_trigger=stop.wait, task_status=task_status)

            address = await nursery.start(run)
            async with httpx.AsyncClient(base_url=address.url, timeout=10) as http:
                yield Served(node, http)
            stop.set()


@asynccontextmanager
async def open_two(tmp_path: Path) -> AsyncIterator[tuple[Served, Served]]:
    """`left` knows where `right` is; `right` learns it."""
    ports = free_port(), free_port()
    urls = [f"http://127.0.0.1:{port}/acc" for port in ports]
    async with (
        open_platform(tmp_path / "left", ports[0], "left", platforms=[{"name": "right", "url": urls[1]}]) as left,
        open_platform(tmp_path / "right", ports[1], "right", learn=[urls[0]]) as right,
    ):
        yield left, right


# -- two Caxtons ------------------------------------------------------------------------------------------------------


async def test_a_question_and_its_answer_cross(tmp_path: Path) -> None:
    async with open_two(tmp_path) as (left, right):
        await right.node.agents.deploy(ECHO, parse_agent_config({"name": "echo"}))
        asked = {
            "performative": "request",
            "receiver": "echo@right",
            "content": {"n": 1, "text": 'two\nlines, "quotes"\\'},
            "conversation_id": "c",
            "reply_with": "r",
        }
        answer = (await left.http.post("/api/v1/messages?wait=10", json=asked)).json()
        assert (answer["sender"], answer["content"], answer["in_reply_to"]) == ("echo@right", asked["content"], "r")
        assert (await right.platform("left"))["learned"] is True
        assert (await right.platform("left"))["sent"] == 1
        assert (await left.platform("right"))["received"] == 1


async def test_all_that_a_message_says_crosses(tmp_path: Path) -> None:
    async with open_two(tmp_path) as (left, right):
        await left.attach("seller")
        await right.attach("buyer")
        sent = {
            "performative": "propose",
            "sender": "seller",
            "receiver": ["buyer@right", "other@right"],
            "reply_to": ["seller", "boss@elsewhere"],
            "content": [1.5, None, {"ü": True}],
            "language": "json",
            "ontology": "pens",
            "protocol": "fipa-contract-net",
            "conversation_id": "c 1",
            "reply_with": "a",
            "in_reply_to": "b",
            "reply_by": "2099-11-21T23:00:00.123456Z",
            "message_id": "0199c0de-0000-7000-8000-000000000001",
            "priority": "high",
            "params": {"X-colour": "blue", "deep": {"er": [1]}},
        }
        await left.http.post("/api/v1/messages", json=sent)
        got = await right.receive("buyer")
        expected = sent | {
            "sender": "seller@left",
            "receiver": ["buyer", "other"],
            "reply_to": ["seller@left", "boss@elsewhere"],
        }
        assert got == expected


async def test_a_signed_message_crosses_and_a_changed_one_does_not(tmp_path: Path) -> None:
    async with open_two(tmp_path) as (left, right):
        await left.node.agents.attach(parse_agent_config({"name": "seller", "signing": {"sign": True}}))
        await left.attach("liar")
        await right.node.agents.attach(parse_agent_config({"name": "buyer", "signing": {"verify": "always"}}))
        key = (await left.http.get("/api/v1/keys/seller")).json()
        assert (key["held_by"], key["platform"]) == ("server", "left")
        for name in ("seller@left", "liar@left"):
            body = {"public_key": key["public_key"]}
            assert (await right.http.put(f"/api/v1/keys/{name}", json=body)).status_code == 200
        message = {"performative": "inform", "receiver": "buyer@right", "content": {"price": 1.50}, "ontology": "pens"}
        async with left.node.bus.stream("seller") as session:
            session.send([json.dumps(message).encode()])
        got = await right.receive("buyer")
        assert (got["sender"], got["content"]) == ("seller@left", message["content"])
        copied = message | {"params": got["params"]}
        async with left.node.bus.stream("liar") as session:
            session.send([json.dumps(copied).encode()])
        failure = await left.receive("liar")
        assert (failure["sender"], failure["performative"]) == ("ams@right", "failure")
        assert failure["content"]["reason"]["mts_error"] == "not-authorised"


async def test_mail_outlives_a_restart_and_waits_for_the_other(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    url = f"http://127.0.0.1:{ports[1]}/acc"
    keys = {"platforms": [{"name": "right", "url": url}], "attempts": 100, "retry_delay": "20ms"}
    async with open_platform(tmp_path / "right", ports[1], "right") as right:
        await right.attach("buyer")  # it is there from the start, when mail may come before anybody could attach it
    async with open_platform(tmp_path / "left", ports[0], "left", **keys) as left:
        for n in range(3):
            await left.http.post(
                "/api/v1/messages",
                json={"performative": "inform", "receiver": "buyer@right", "sender": "s", "content": n},
            )
    learn = [f"http://127.0.0.1:{ports[0]}/acc"]
    async with open_platform(tmp_path / "left", ports[0], "left", **keys):
        async with open_platform(tmp_path / "right", ports[1], "right", learn=learn) as right:
            assert [(await right.receive("buyer"))["content"] for _ in range(3)] == [0, 1, 2]


async def test_what_cannot_be_delivered_is_a_dead_letter_and_a_failure(tmp_path: Path) -> None:
    port = free_port()
    closed = f"http://127.0.0.1:{free_port()}/acc"
    async with open_platform(tmp_path, port, "left", platforms=[{"name": "gone", "url": closed}]) as left:
        await left.attach("seller")
        sent = {"performative": "inform", "sender": "seller", "receiver": "x@gone", "conversation_id": "c"}
        await left.http.post("/api/v1/messages", json=sent)
        failure = await left.receive("seller")
        assert (failure["performative"], failure["sender"], failure["conversation_id"]) == ("failure", "ams", "c")
        assert failure["content"]["reason"]["mts_error"] == "foreign-agent-unreachable"
        letters = (await left.http.get("/api/v1/dead-letters")).json()
        assert [(each["agent"], each["reason"]) for each in letters["dead_letters"]] == [
            ("@gone", "foreign-agent-unreachable")
        ]
        assert (await left.platform("gone"))["state"] == "unreachable"


async def test_what_the_other_refuses_is_not_tried_again(tmp_path: Path) -> None:
    async with open_two(tmp_path) as (left, _):
        await left.attach("seller")
        sent = {"performative": "inform", "sender": "seller", "receiver": "nobody@right"}
        await left.http.post("/api/v1/messages", json=sent)
        failure = await left.receive("seller")
        assert failure["content"]["reason"]["mts_error"] == "foreign-agent-refused"
        assert "404" in failure["content"]["reason"]["text"]


async def test_what_was_learned_is_known_after_a_restart_and_can_be_forgotten(tmp_path: Path) -> None:
    port = free_port()
    learn = ["http://10.9.8.7/"]
    async with open_platform(tmp_path, port, "left", learn=learn) as left:
        await left.attach("b")
        assert (
            await left.http.post("/acc", **request_of(sender="a@far", url="http://10.9.8.7/acc"))
        ).status_code == 200
    async with open_platform(tmp_path, port, "left", learn=learn) as left:
        assert (await left.platform("far"))["url"] == "http://10.9.8.7/acc"
        assert (await left.http.delete("/api/v1/platforms/far")).status_code == 200
        assert (await left.http.delete("/api/v1/platforms/near")).status_code == 404
    async with open_platform(tmp_path, port, "left", learn=learn) as left:
        assert (await left.http.get("/api/v1/platforms")).json()["platforms"] == []


# -- while it runs ----------------------------------------------------------------------------------------------------


async def change(served: Served, **keys: Any) -> None:
    changes = {f"integrations.fipa.http_mtp.{key}": value for key, value in keys.items()}
    await served.node.settings.set(changes, who="a test")


async def undo(served: Served) -> None:
    await served.node.settings.rollback(None, who="a test")


async def say(served: Served, receiver: str) -> int:
    sent = {"performative": "inform", "sender": "seller", "receiver": receiver}
    status: int = (await served.http.post("/api/v1/messages", json=sent)).status_code
    return status


async def test_platforms_come_and_go(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    urls = [f"http://127.0.0.1:{port}/acc" for port in ports]
    async with (
        open_platform(tmp_path / "left", ports[0], "left") as left,
        open_platform(tmp_path / "right", ports[1], "right") as right,
    ):
        await left.attach("seller")
        await right.attach("buyer")
        assert await say(left, "buyer@right") == 404
        await change(left, platforms=[{"name": "right", "url": urls[1]}], public_url="http://127.0.0.1:1/acc")
        await change(right, learn=["http://127.0.0.1:1/"])
        assert await say(left, "buyer@right") == 200
        assert (await right.receive("buyer"))["sender"] == "seller@left"
        assert (await right.platform("left"))["url"] == "http://127.0.0.1:1/acc", "as our envelopes say it"
        await undo(left)
        assert (await left.http.get("/api/v1/platforms")).json() == {
            "platform": {"name": "left", "url": urls[0]},
            "platforms": [],
        }
        await say(left, "buyer@right")
        failure = await left.receive("seller")
        assert failure["content"]["reason"]["mts_error"] == "foreign-agent-unreachable"
        assert failure["content"]["reason"]["text"] == "it is not known any more"
        await undo(right)
        assert (await right.http.get("/api/v1/platforms")).json()["platforms"] == []
        await change(right, learn=["http://127.0.0.1:1/"])
        assert (await right.platform("left"))["url"] == "http://127.0.0.1:1/acc", "it was remembered"


async def test_who_may_send_changes(tmp_path: Path) -> None:
    async with open_platform(tmp_path, free_port(), "left", learn=["http://far/"], max_learned=1) as left:
        await left.attach("b")

        async def status(**fields: str) -> int:
            code: int = (await left.http.post("/acc", **request_of(**fields))).status_code
            return code

        assert await status() == 200
        assert await status(sender="a@other") == 429
        await change(left, max_learned=2)
        assert await status(sender="a@other") == 200
        await change(left, accept_from=["10.0.0.0/8"])
        assert await status() == 403
        await undo(left)
        assert await status() == 200
        await change(left, learn=[])
        assert await status() == 403
        await change(left, platforms=[{"name": "far", "url": "http://far/acc"}], max_request_size="1KB")
        assert (await left.http.post("/acc", content=b"x" * 2000)).status_code == 413
        await change(left, max_request_size="1MB")
        assert await status() == 200


async def test_how_long_and_how_often_it_is_tried_changes(tmp_path: Path) -> None:
    (silent,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    urls = [f"http://127.0.0.1:{port}/acc" for port in (free_port(), silent.socket.getsockname()[1])]
    platforms = [{"name": name, "url": url} for name, url in zip(("gone", "silent"), urls, strict=True)]
    keys = {"platforms": platforms, "attempts": 100, "retry_delay": "1h", "max_retry_delay": "1h", "timeout": "50ms"}
    async with silent, open_platform(tmp_path, free_port(), "left", **keys) as left:
        await left.attach("seller")
        for name in ("gone", "silent"):
            with left.node.bus.tap(10, EventFilter(types=("message.dead",))) as events:
                await say(left, f"x@{name}")
                while (await left.platform(name))["state"] == "ok":
                    await trio.lowlevel.checkpoint()
                with pytest.raises(trio.WouldBlock):
                    events.receive_nowait()
                await change(left, max_retry_delay="1ms", attempts=4)
                await events.receive()
            await undo(left)
            text = (await left.receive("seller"))["content"]["reason"]["text"]
            assert text.endswith(", 4 times")


async def test_what_needs_a_restart_says_why(tmp_path: Path) -> None:
    async with open_platform(tmp_path, free_port(), "left") as left:
        for key, why in (("enabled", "ports of other platforms open"), ("platform_name", "others know our agents by")):
            with pytest.raises(InvalidConfig, match=f"{key}: needs a restart .*{why}"):
                await change(left, **{key: False})


# -- who may send -----------------------------------------------------------------------------------------------------


def request_of(sender: str = "a@far", url: str = "http://far/acc", receiver: str = "b@left") -> dict[str, Any]:
    message = string.decode(b"(inform :content hello)")
    message = type(message)(performative="inform", sender=AgentId(sender, (url,)), content="hello")
    envelope = mtp.Envelope(to=(AgentId(receiver),), sender=message.sender, representation=string.NAME)
    kind, body = mtp.write_request(message, envelope, boundary="x1", now_ms=1)
    return {"content": body, "headers": {"Content-Type": kind}}


async def test_who_may_send_and_to_whom(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, str], int]] = [
        ({}, 200),
        ({"sender": "a@unknown"}, 403),
        ({"sender": "a@unknown", "url": "http://allowed/acc"}, 200),
        ({"sender": "ams@left"}, 403),
        ({"sender": "b"}, 403),
        ({"receiver": "b@far"}, 404),
        ({"receiver": "topic:x@left"}, 404),
        ({"receiver": "nobody@left"}, 404),
    ]
    platforms = [{"name": "far", "url": "http://far/acc"}]
    async with open_platform(tmp_path, free_port(), "left", platforms=platforms, learn=["http://allowed/"]) as left:
        await left.attach("b")
        for fields, status in cases:
            response = await left.http.post("/acc", **request_of(**fields))
            assert (fields, response.status_code) == (fields, status)
            if status == 200:
                assert (await left.receive("b"))["sender"] == fields.get("sender", "a@far")


async def test_nobody_sends_from_another_network(tmp_path: Path) -> None:
    platforms = [{"name": "far", "url": "http://far/acc", "accept_from": ["10.0.0.0/8"]}]
    async with open_platform(tmp_path, free_port(), "left", platforms=platforms) as left:
        await left.attach("b")
        response = await left.http.post("/acc", **request_of())
        assert (response.status_code, response.json()["error"]["code"]) == (403, "FORBIDDEN")


async def test_a_request_has_a_bound_and_without_the_switch_there_is_nothing(tmp_path: Path) -> None:
    async with open_platform(tmp_path / "on", free_port(), "left", max_request_size="1KB") as left:
        response = await left.http.post("/acc", content=b"x" * 2000)
        assert response.status_code == 413
    async with open_platform(tmp_path / "off", free_port(), "left", enabled=False) as left:
        for response in (await left.http.post("/acc"), await left.http.get("/api/v1/platforms")):
            assert (response.status_code, response.json()["error"]["code"]) == (404, "NOT_FOUND")


# -- JADE, from a script ----------------------------------------------------------------------------------------------

JADE_BODY = (
    "This is not part of the MIME multipart encoded message.\r\n"
    "--Da17Pg8uWBaQzLv3\r\n"
    "Content-Type: application/xml\r\n"
    "\r\n"
    '<?xml version="1.0"?>\n'
    '<envelope><params index="1"><to><agent-identifier><name>echo@left</name><addresses>'
    "<url>{caxton}</url></addresses></agent-identifier></to><from><agent-identifier>"
    "<name>da0@10.0.0.5:1099/JADE</name><addresses><url>{jade}</url></addresses></agent-identifier></from>"
    "<acl-representation>fipa.acl.rep.string.std</acl-representation><payload-length>{size}</payload-length>"
    "<date>20261121Z160102345</date><intended-receiver><agent-identifier><name>echo@left</name><addresses>"
    "<url>{caxton}</url></addresses></agent-identifier></intended-receiver></params></envelope>\n"
    "--Da17Pg8uWBaQzLv3\r\n"
    "Content-Type: application/text\r\n"
    "\r\n"
    "{acl}\r\n"
    "--Da17Pg8uWBaQzLv3--\r\n"
)
JADE_ACL = (
    "(REQUEST\n"
    " :sender  ( agent-identifier :name da0@10.0.0.5:1099/JADE  :addresses (sequence {jade} ))\n"
    " :receiver  (set ( agent-identifier :name echo@left  :addresses (sequence {caxton} )) )\n"
    ' :content  "((action (agent-identifier :name echo@left) (say \\"hi\\")))" \n'
    " :reply-with  R1409275609029_0  :language  fipa-sl0  :protocol  fipa-request\n"
    " :conversation-id  C24156_1409275609025 )"
)
JADE_OK = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: no-cache\r\nConnection: Keep-Alive\r\n\r\n"
    b"<HTML><BODY><H1>200 OK</H1></BODY></HTML>\n"
)


async def read_http(stream: trio.SocketStream) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some()
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += await stream.receive_some()
    return head, body


async def test_a_jade_asks_and_is_answered(tmp_path: Path) -> None:
    """Its request line has the whole address, its body a line end too many, its answer no length and no end."""
    port = free_port()
    caxton = f"http://127.0.0.1:{port}/acc"
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    jade = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/acc"
    async with listener, open_platform(tmp_path, port, "left", learn=[jade]) as left:
        await left.node.agents.deploy(ECHO, parse_agent_config({"name": "echo"}))
        acl = JADE_ACL.format(jade=jade, caxton=caxton)
        body = JADE_BODY.format(jade=jade, caxton=caxton, acl=acl, size=len(acl))
        head = (
            f"POST {caxton} HTTP/1.1\r\nCache-Control: no-cache\r\nMime-Version: 1.0\r\nHost: 127.0.0.1:{port}\r\n"
            f'Content-Type: multipart/mixed ; boundary="Da17Pg8uWBaQzLv3"\r\nContent-Length: {len(body)}\r\n'
            "Connection: Keep-Alive\r\n\r\n"
        )
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all((head + body + "\n").encode())
            answer = b""
            while piece := await stream.receive_some():
                answer += piece
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer.lower()
        assert answer.count(b"HTTP/1.1") == 1

        async with await listener.accept() as stream:
            head_of_reply, body_of_reply = await read_http(stream)
            await stream.send_all(JADE_OK)
            assert head_of_reply.startswith(b"POST /acc HTTP/1.1\r\n")
            envelope, reply = mtp.read_request(content_type_of(head_of_reply), body_of_reply, now_ms=1, limits=LIMITS)
            assert envelope.intended == (AgentId("da0@10.0.0.5:1099/JADE", (jade,)),)
            assert reply.sender == AgentId("echo@left", (caxton,))
            assert (reply.performative, reply.in_reply_to) == ("inform", "R1409275609029_0")
            assert reply.conversation_id == "C24156_1409275609025"
            assert reply.content == '((action (agent-identifier :name echo@left) (say "hi")))'
            assert_jade_reads(body_of_reply)
            with trio.fail_after(10):  # Caxton does not wait for the end of an answer that has none
                assert await stream.receive_some() == b""
        assert (await left.platform("10.0.0.5:1099/JADE"))["sent"] == 1


def content_type_of(head: bytes) -> str:
    line = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-type: "))
    return line.partition(b": ")[2].decode()


def assert_jade_reads(body: bytes) -> None:
    """What JADE's reader does, line by line: each part in one line, the boundaries alone in theirs."""
    lines = body.split(b"\r\n")
    boundary = next(line for line in lines if line.startswith(b"--"))
    start = lines.index(boundary)
    assert b"" not in lines[:start]
    assert lines[start + 1] == b"Content-Type: application/xml"
    middle = lines.index(boundary, start + 1)
    assert lines[middle + 1].startswith(b"Content-Type: application/")
    assert lines[middle + 3].startswith(b"(INFORM ")
    assert lines[middle + 4] == boundary + b"--"
