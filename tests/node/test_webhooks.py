"""Webhooks over real sockets: a receiver that answers what a test tells it, on this machine."""

import hashlib
import hmac
import json
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import msgspec
import pytest
import trio

import caxton
from caxton.bus.events import EventLog
from caxton.bus.webhook_client import open_webhook_client
from caxton.core.config import load, load_config
from caxton.core.config_lint import Machine, lint
from caxton.core.config_tree import leaves, shown_values
from caxton.core.config_webhooks import RetryPolicy, WebhookEndpoint, WebhooksConfig
from caxton.core.errors import NotFound, StoreError
from caxton.core.views import Event
from caxton.core.webhooks import EVENTS, sign
from caxton.node import webhook_queue
from caxton.node import webhooks as taking_in
from caxton.node.webhooks import Webhooks
from caxton.store import open_store
from tests.certificates import Authority
from tests.node.opened import config_of, deploy, open_a_node
from tests.store.disk import Disk, faulty_disk

HERE = ("127.0.0.0/8",)
SECRET = "0123456789abcdef0123"
SOON = RetryPolicy(delay=0.001)


@pytest.fixture(autouse=True)
def look_at_the_store_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking_in, "STORE_PAUSE", 0.05)
    monkeypatch.setattr(webhook_queue, "STORE_PAUSE", 0.05)


@attrs.define(eq=False)
class Receiver:
    """Takes POSTs, and answers them with what stands in `answers`; then with 204."""

    port: int = 0
    answers: list[bytes] = attrs.field(factory=list)
    came: list[tuple[str, dict[str, str], bytes]] = attrs.field(factory=list)
    connections: int = 0
    changed: trio.Event = attrs.field(factory=trio.Event)
    on_request: Callable[[], object] = lambda: None
    gate: trio.Event | None = None  # answers come when it is open
    left: trio.Event = attrs.field(factory=trio.Event)  # a client did not wait for its answer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?a=1"

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, _, body in self.came]

    async def handle(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        data = bytearray()
        while b"\r\n\r\n" not in data:
            if not (more := await stream.receive_some()):
                return
            data += more
        head, _, body = bytes(data).partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        while len(body) < int(headers["content-length"]):
            body += await stream.receive_some()
        self.came.append((first, headers, body))
        self.on_request()
        if self.gate is not None:
            self.notify()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.watch, stream, nursery.cancel_scope)
                await self.gate.wait()
                nursery.cancel_scope.cancel()
        answer = self.answers.pop(0) if self.answers else b"HTTP/1.1 204 No Content\r\n\r\n"
        if answer:
            await stream.send_all(answer)
        self.notify()

    def notify(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def watch(self, stream: trio.abc.Stream, scope: trio.CancelScope) -> None:
        if not await stream.receive_some():
            self.left.set()
            scope.cancel()

    async def wait(self, number: int) -> None:
        with trio.fail_after(10):
            while len(self.came) < number:
                await self.changed.wait()


@asynccontextmanager
async def open_receiver(*answers: bytes) -> AsyncIterator[Receiver]:
    receiver = Receiver(answers=list(answers))

    async def closing(stream: trio.SocketStream) -> None:
        async with stream:
            await receiver.handle(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, closing, 0, host="127.0.0.1"))
        receiver.port = listener.socket.getsockname()[1]
        yield receiver
        nursery.cancel_scope.cancel()


async def at_once() -> None:
    await trio.lowlevel.checkpoint()


def keys(*endpoints: WebhookEndpoint, **given: Any) -> WebhooksConfig:
    return WebhooksConfig(enabled=True, endpoints=endpoints, **{"allowed_networks": HERE, **given})


@asynccontextmanager
async def open_all(
    config: WebhooksConfig, *, written: Callable[[], Awaitable[None]] = at_once, folder: Path | None = None
) -> AsyncIterator[Webhooks]:
    with TemporaryDirectory() as own:
        async with open_store(folder or Path(own)) as store, trio.open_nursery() as nursery:
            webhooks = Webhooks(config, EventLog(), store, written)
            await nursery.start(webhooks.run)
            yield webhooks
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_webhooks(
    *endpoints: WebhookEndpoint, written: Callable[[], Awaitable[None]] = at_once, **given: Any
) -> AsyncIterator[EventLog]:
    async with open_all(keys(*endpoints, **given), written=written) as webhooks:
        yield webhooks.events


def to(receiver: Receiver, **fields: Any) -> WebhookEndpoint:
    return WebhookEndpoint(url=receiver.url, **{"retry_policy": SOON, **fields})


def answered(status: int, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} Said\r\n{headers}content-length: 0\r\n\r\n".encode()


async def settled(webhooks: Webhooks) -> None:
    """Until nothing waits in the store."""
    with trio.fail_after(10):
        while any(row["waiting"] for row in (await webhooks.list())["endpoints"]):
            await trio.lowlevel.checkpoint()


async def failure(events: EventLog, happens: Callable[[], None]) -> Event:
    """What is told of an event that was given up."""
    with events.tap(10, None) as tap, trio.fail_after(10):
        happens()
        while (event := await tap.receive()).type != "webhook.failed":
            pass
    return event


def happen(events: EventLog, name: str = "agent.failed", **data: Any) -> None:
    events.emit(name, {"agent_id": "a", **data}, 1_700_000_000.25)


async def test_an_event_is_told_and_signed() -> None:
    async with open_receiver() as receiver, open_all(keys(to(receiver, secret=SECRET))) as webhooks:
        events, node_id = webhooks.events, webhooks.store.meta.node_id
        happen(events, "agent.started")  # nobody asked for it
        happen(events, reason="it crashed")
        await receiver.wait(1)
        ((line, headers, body),) = receiver.came
        assert line == "POST /hook?a=1 HTTP/1.1"
        assert headers["host"] == f"127.0.0.1:{receiver.port}"
        assert json.loads(body) == {
            "type": "agent.failed",
            "event_id": 2,
            "timestamp": "2023-11-14T22:13:20.250000Z",
            "node_id": node_id,
            "agent_id": "a",
            "reason": "it crashed",
        }
        assert headers["caxton-event"] == "agent.failed"
        assert headers["caxton-delivery"].startswith(f"{node_id}-2-")
        found = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", headers["caxton-signature"])
        assert found
        wanted = hmac.new(SECRET.encode(), found[1].encode() + b"." + body, hashlib.sha256).hexdigest()
        assert found[2] == wanted


async def test_without_a_secret_there_is_no_signature() -> None:
    async with open_receiver() as receiver, open_webhooks(to(receiver, events=("agent.*",))) as events:
        happen(events, "agent.started")
        await receiver.wait(1)
        assert "caxton-signature" not in receiver.came[0][1]


async def test_what_fails_is_tried_again_and_comes_in_order() -> None:
    answers = (answered(503), b"", answered(200))
    async with open_receiver(*answers) as receiver, open_webhooks(to(receiver)) as events:
        happen(events, number=1)
        happen(events, number=2)
        await receiver.wait(4)
        assert [body["number"] for body in receiver.bodies] == [1, 1, 1, 2]
        assert [headers["caxton-attempt"] for _, headers, _ in receiver.came] == ["1", "2", "3", "1"]
        assert len({headers["caxton-delivery"] for _, headers, _ in receiver.came}) == 2


@pytest.mark.parametrize(
    ("answer", "attempts", "reason"),
    [
        (answered(500), 3, "127.0.0.1 answered 500"),
        (answered(429), 3, "127.0.0.1 answered 429"),
        (answered(404), 1, "127.0.0.1 answered 404"),
        (b"", 3, "Server disconnected without sending a response."),
        (b"nonsense\r\n\r\n", 3, "illegal status line"),
    ],
)
async def test_what_is_given_up_is_told(
    answer: bytes, attempts: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_receiver(*[answer] * attempts) as receiver, open_webhooks(to(receiver, events=("*",))) as events:
        event = await failure(events, lambda: happen(events))
        assert event.data["attempts"] == attempts == len(receiver.came)
        assert reason in event.data["reason"]
        assert event.data["webhook"] == f"http://127.0.0.1:{receiver.port}"  # not the path, which may be a secret
        assert "did not take agent.failed" in caplog.text
        happen(events, "agent.stopped")
        await receiver.wait(attempts + 1)
        assert receiver.bodies[-1]["type"] == "agent.stopped"  # and not webhook.failed


async def test_redirects_are_not_followed() -> None:
    async with open_receiver() as target:
        away = answered(307, f"location: {target.url}\r\n")
        async with open_receiver(away) as receiver, open_webhooks(to(receiver)) as events:
            event = await failure(events, lambda: happen(events))
            assert "redirects are not followed" in event.data["reason"]
            assert (len(receiver.came), target.connections) == (1, 0)


async def test_addresses_that_are_not_allowed_are_not_connected_to() -> None:
    async with open_receiver() as receiver:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"):
            endpoint = WebhookEndpoint(url=f"http://{host}:{receiver.port}/", retry_policy=SOON)
            async with open_webhooks(endpoint, allowed_networks=("10.0.0.0/8",)) as events:
                event = await failure(events, lambda: happen(events))
                assert "is not public" in event.data["reason"], host
        assert receiver.connections == 0


async def endless(stream: trio.SocketStream, begin: bytes, more: bytes, pause: float) -> None:
    with suppress(trio.BrokenResourceError):
        await stream.send_all(begin)
        while True:
            await stream.send_all(more)
            await trio.sleep(pause)


@pytest.mark.parametrize(
    ("begin", "more", "pause", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"x", 0.01, "no answer within 0.2 s"),  # drop by drop
        (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 1000, 0, "too large|too many|Receive buffer too long"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.001, "no answer within 0.2 s"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 100_000, 0, ""),  # a body that has no end is not read
    ],
)
async def test_answers_without_an_end(begin: bytes, more: bytes, pause: float, said: str) -> None:
    async with trio.open_nursery() as nursery, open_webhook_client(HERE, 0.2) as client:
        (listener,) = await nursery.start(
            partial(trio.serve_tcp, partial(endless, begin=begin, more=more, pause=pause), 0, host="127.0.0.1")
        )
        with trio.fail_after(2):
            outcome = await client.post(f"http://127.0.0.1:{listener.socket.getsockname()[1]}/", {}, b"{}")
        assert outcome.is_delivered is (said == "")
        assert re.search(said, outcome.reason, re.I), outcome.reason
        nursery.cancel_scope.cancel()


async def test_cookies_are_not_kept_and_users_not_sent() -> None:
    """Those of one name would go to the next at the same address."""
    async with open_receiver(answered(200, "set-cookie: a=b; path=/\r\n")) as receiver:
        async with open_webhook_client(HERE, 5) as client:
            for url in (receiver.url, receiver.url.replace("//", "//me:word@")):
                assert (await client.post(url, {}, b"{}")).is_delivered
            for url in ("http://127.0.0.1:port/", "nonsense", "http://"):
                assert not (await client.post(url, {}, b"{}")).is_delivered, url
    for _, headers, _ in receiver.came:
        assert not {"cookie", "authorization"} & set(headers)
        assert headers["host"] == f"127.0.0.1:{receiver.port}"


class Names(trio.abc.HostnameResolver):
    """A name server that says another thing each time."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []

    async def getaddrinfo(  # type: ignore[override]
        self, host: bytes, port: int, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        self.asked.append(host)
        return [(socket.AF_INET, type, 6, "", (address, port)) for address in self.answers.pop(0)]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


async def test_the_address_that_was_looked_at_is_the_one_that_is_called() -> None:
    """A name that is harmless when it is looked at, and this machine's a moment later, is asked for once."""
    async with open_receiver() as receiver, open_webhook_client(("127.0.0.2/32",), 5) as client:
        url = f"http://hook.example:{receiver.port}/x"
        names = Names(["127.0.0.2"], ["127.0.0.1"], ["127.0.0.2", "127.0.0.1"])
        trio.socket.set_custom_hostname_resolver(names)
        try:
            first = await client.post(url, {}, b"{}")  # nobody listens at 127.0.0.2
            assert not first.is_delivered
            assert first.may_retry
            for _ in range(2):
                again = await client.post(url, {}, b"{}")
                assert "127.0.0.1 is not public" in again.reason
                assert not again.may_retry
        finally:
            trio.socket.set_custom_hostname_resolver(None)
        assert names.asked == [b"hook.example"] * 3
        assert receiver.connections == 0


async def test_certificates_are_of_the_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(*authority.issue("server"))  # of localhost and 127.0.0.1
    trusting = ssl.create_default_context(cafile=authority.path)
    receiver = Receiver()

    async def over_tls(stream: trio.SocketStream) -> None:
        secure = trio.SSLStream(stream, server, server_side=True, https_compatible=True)
        try:
            async with secure:
                await receiver.handle(secure)
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, over_tls, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        names = Names(["127.0.0.1"], ["127.0.0.1"])
        trio.socket.set_custom_hostname_resolver(names)
        try:
            async with open_webhook_client(HERE, 5, trusting) as client:
                assert (await client.post(f"https://localhost:{port}/", {}, b"{}")).is_delivered
                other = await client.post(f"https://other.example:{port}/", {}, b"{}")
                assert "certificate verify failed" in other.reason.lower().replace("_", " ")
        finally:
            trio.socket.set_custom_hostname_resolver(None)
            nursery.cancel_scope.cancel()
    assert len(receiver.came) == 1


async def test_nothing_is_told_before_it_is_in_the_store() -> None:
    gate = trio.Event()
    fails = [StoreError("the disk is full")]

    async def written() -> None:
        await trio.lowlevel.checkpoint()
        if fails:
            raise fails.pop()
        await gate.wait()

    async with open_receiver() as receiver, open_webhooks(to(receiver), written=written) as events:
        happen(events)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert receiver.connections == 0
        gate.set()
        await receiver.wait(1)


async def test_a_full_queue_leaves_out_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async with open_receiver() as receiver, open_all(keys(to(receiver), queue_size=3)) as webhooks:
        for number in range(6):
            happen(webhooks.events, number=number)
        await receiver.wait(3)
        assert "some are left out" in caplog.text
        await settled(webhooks)
        happen(webhooks.events, number=6)
        await receiver.wait(5)
        assert [body.get("number") for body in receiver.bodies] == [0, 1, 2, None, 6]
        assert receiver.bodies[3]["details"] == {"missed": 3}
        (row,) = (await webhooks.list())["endpoints"]
        assert (row["left_out"], row["delivered"]) == (3, 5)


async def test_one_that_is_slow_holds_up_nobody() -> None:
    async with open_receiver() as receiver:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            slow = WebhookEndpoint(url=f"http://127.0.0.1:{silent.getsockname()[1]}/", retry_policy=SOON)
            async with open_webhooks(slow, to(receiver), timeout=0.05) as events:
                event = await failure(events, lambda: happen(events))
                assert event.data["reason"] == "no answer within 0.05 s" or "imeout" in event.data["reason"]
                await receiver.wait(1)


async def test_a_node_tells(tmp_path: Path) -> None:
    async with open_receiver() as receiver:
        endpoint = json.dumps([{"url": receiver.url, "secret": SECRET}])
        sets = (
            "integrations.webhooks.enabled=true",
            f"integrations.webhooks.endpoints={endpoint}",
            'integrations.webhooks.allowed_networks=["127.0.0.1"]',
        )
        async with open_a_node(tmp_path, *sets) as node:
            await deploy(node, "a")
            await receiver.wait(1)
            assert SECRET not in json.dumps(node.settings.describe())
        assert [(body["type"], body["agent_id"]) for body in receiver.bodies] == [("agent.deployed", "a")]


# -- what waits is in the store --


async def test_what_waits_is_sent_by_the_next_process_with_its_attempts(tmp_path: Path) -> None:
    patient = RetryPolicy(delay=60, max_attempts=3)
    async with open_receiver(answered(503)) as receiver:
        async with open_all(keys(to(receiver, retry_policy=patient)), folder=tmp_path) as webhooks:
            happen(webhooks.events, number=1)
            happen(webhooks.events, number=2)
            await receiver.wait(1)
            while not (row := (await webhooks.list())["endpoints"][0])["next_attempt_at"]:
                await trio.lowlevel.checkpoint()
            assert (row["status"], row["waiting"], row["last_error"]) == ("retrying", 2, "127.0.0.1 answered 503")
            assert 20 < row["next_attempt_at"] - time.time() < 61
        async with open_all(keys(to(receiver, retry_policy=patient)), folder=tmp_path) as webhooks:
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert len(receiver.came) == 1, "it waits as it did"
            await webhooks.store.write(
                lambda connection: connection.execute("UPDATE webhook_deliveries SET next_at = 0") and None
            )
        async with open_all(keys(to(receiver)), folder=tmp_path) as webhooks:
            await receiver.wait(3)
            await settled(webhooks)
        assert [body["number"] for body in receiver.bodies] == [1, 1, 2]
        heads = [headers for _, headers, _ in receiver.came]
        assert [head["caxton-attempt"] for head in heads] == ["1", "2", "1"]
        assert heads[0]["caxton-delivery"] == heads[1]["caxton-delivery"] != heads[2]["caxton-delivery"]


async def test_what_was_given_up_is_kept_and_sent_again_by_hand(tmp_path: Path) -> None:
    async with open_receiver(*[answered(500)] * 3, answered(404)) as receiver:
        async with open_all(keys(to(receiver), queue_size=10), folder=tmp_path) as webhooks:
            await failure(webhooks.events, lambda: happen(webhooks.events, number=1))
            await failure(webhooks.events, lambda: happen(webhooks.events, number=2))
            await settled(webhooks)
        async with open_all(keys(to(receiver), queue_size=10), folder=tmp_path) as webhooks:
            (row,) = (await webhooks.list())["endpoints"]
            assert (row["waiting"], row["failed"]) == (0, 2)
            newest, oldest = await webhooks.failed(row["id"], 0, 10)
            assert (newest.attempts, newest.reason) == (1, "127.0.0.1 answered 404")
            assert (oldest.attempts, oldest.reason) == (3, "127.0.0.1 answered 500")
            assert await webhooks.failed(row["id"], newest.id, 10) == [oldest]
            assert await webhooks.again(row["id"], ["nothing"]) == 0
            assert await webhooks.again(row["id"], [oldest.delivery]) == 1
            await receiver.wait(5)
            assert (receiver.bodies[-1]["number"], receiver.came[-1][1]["caxton-attempt"]) == (1, "1")
            assert receiver.came[-1][1]["caxton-delivery"] == oldest.delivery
            await settled(webhooks)
            assert await webhooks.failed(row["id"], 0, 10) == [newest]
            assert await webhooks.purge(row["id"], [], waiting=False) == 1
            with pytest.raises(NotFound, match="there is no webhook nobody"):
                await webhooks.again("nobody", [])


async def test_of_what_was_given_up_so_many_are_kept_for_so_long(tmp_path: Path) -> None:
    config = keys(WebhookEndpoint(url="http://127.0.0.1:1/x", retry_policy=RetryPolicy(max_attempts=1)), queue_size=2)
    async with open_all(config, folder=tmp_path) as webhooks:
        for number in range(3):
            await failure(webhooks.events, lambda number=number: happen(webhooks.events, number=number))
            await settled(webhooks)
        (row,) = (await webhooks.list())["endpoints"]
        assert [json.loads(one.body)["number"] for one in await webhooks.failed(row["id"], 0, 10)] == [2, 1]
    short = msgspec.structs.replace(config, retention=0.0)
    async with open_all(short, folder=tmp_path) as webhooks:
        while (await webhooks.list())["endpoints"][0]["failed"]:
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def open_on_faulty_disk(
    folder: Path, receiver: Receiver, written: Callable[[], Awaitable[None]] = at_once
) -> AsyncIterator[tuple[Webhooks, Disk]]:
    with faulty_disk() as disk:
        async with open_store(folder, vfs=disk.name) as store, trio.open_nursery() as nursery:
            webhooks = Webhooks(keys(to(receiver)), EventLog(), store, written)
            await nursery.start(webhooks.run)
            yield webhooks, disk
            nursery.cancel_scope.cancel()


async def test_a_store_that_fails_stops_nobody(tmp_path: Path) -> None:
    """Events wait in memory, an alert about it is sent; then all of them are."""
    async with open_receiver() as receiver, open_on_faulty_disk(tmp_path, receiver) as (webhooks, disk):
        store = webhooks.store
        disk.failing.add("write")
        with pytest.raises(StoreError):
            await store.platforms.put("x", "y")
        happen(webhooks.events, number=1)
        webhooks.events.emit("system.alert", {"message": "the disk is full"})
        await receiver.wait(1)
        assert receiver.bodies[0]["message"] == "the disk is full"
        disk.failing.clear()
        await receiver.wait(2)
        assert receiver.bodies[1]["number"] == 1
        await settled(webhooks)


async def test_what_an_attempt_came_to_is_kept_until_it_can_be_written(tmp_path: Path) -> None:
    gate = trio.Event()
    async with open_receiver() as receiver, open_on_faulty_disk(tmp_path, receiver, gate.wait) as (webhooks, disk):
        store = webhooks.store
        receiver.on_request = lambda: disk.failing.add("write")
        happen(webhooks.events, number=1)
        happen(webhooks.events, number=2)
        gate.set()
        await receiver.wait(2)
        assert [body["number"] for body in receiver.bodies] == [1, 2], "each once, though neither could be deleted"
        receiver.on_request = lambda: None
        disk.failing.clear()
        while store.fault is not None:
            await store.wait_condition_changed()
        await settled(webhooks)
        happen(webhooks.events, number=3)
        await receiver.wait(3)
        assert [body["number"] for body in receiver.bodies] == [1, 2, 3]


# -- endpoints come and go while it runs --


async def change(webhooks: Webhooks, config: WebhooksConfig) -> None:
    """Only on and off take a moment."""
    webhooks.change(config)
    with trio.fail_after(10):
        while (webhooks._senders is not None) != config.enabled:
            await trio.lowlevel.checkpoint()


async def test_endpoints_come_and_go_and_change(tmp_path: Path) -> None:
    async with open_receiver() as first, open_receiver() as second:
        async with open_all(keys(to(first)), folder=tmp_path) as webhooks:
            happen(webhooks.events, number=1)
            await first.wait(1)
            await change(webhooks, keys(to(first), to(second, events=("agent.started",), secret=SECRET)))
            happen(webhooks.events, number=2)
            happen(webhooks.events, "agent.started", number=3)
            await first.wait(2)
            await second.wait(1)
            await settled(webhooks)
            assert "caxton-signature" in second.came[0][1]
            await change(webhooks, keys(to(second, events=("agent.stopped",))))
            happen(webhooks.events, number=4)
            happen(webhooks.events, "agent.stopped", number=5)
            await second.wait(2)
            await settled(webhooks)
            assert "caxton-signature" not in second.came[1][1]
            await change(webhooks, msgspec.structs.replace(webhooks.config, enabled=False))
            assert not webhooks.events.wants("agent.stopped")
            happen(webhooks.events, "agent.stopped", number=6)
            assert (await webhooks.list())["endpoints"][0]["status"] == "off"
            await change(webhooks, keys(to(second, events=("*",))))
            happen(webhooks.events, number=7)
            await second.wait(3)
            await settled(webhooks)
        assert [body["number"] for body in first.bodies] == [1, 2]
        assert [body["number"] for body in second.bodies] == [3, 5, 7]


async def test_what_is_on_its_way_to_one_that_is_no_more_ends(tmp_path: Path) -> None:
    async with open_receiver() as receiver:
        receiver.gate = trio.Event()
        async with open_all(keys(to(receiver)), folder=tmp_path) as webhooks:
            happen(webhooks.events, number=1)
            await receiver.wait(1)
            await change(webhooks, keys())
            with trio.fail_after(5):
                await receiver.left.wait()
            assert not webhooks.events.wants("agent.failed")
            (row,) = (await webhooks.list())["endpoints"]
            assert (row["status"], row["waiting"]) == ("removed", 1)
            receiver.gate.set()
            await change(webhooks, keys(to(receiver)))  # it comes back: what waited is sent
            await receiver.wait(2)
            await settled(webhooks)
            assert [body["number"] for body in receiver.bodies] == [1, 1]
            await change(webhooks, keys())
            with pytest.raises(NotFound):
                await webhooks.again(row["id"], [])


async def test_a_secret_and_where_to_may_change_between_two_attempts() -> None:
    other = "another-secret-of-36-characters-here"
    answers = [answered(503)] * 3
    async with open_receiver(*answers) as receiver:
        endpoint = to(receiver, secret=SECRET, retry_policy=RetryPolicy(delay=0.05, max_attempts=50))
        async with open_all(keys(endpoint)) as webhooks:
            happen(webhooks.events)
            await receiver.wait(1)
            await change(webhooks, keys(msgspec.structs.replace(endpoint, secret=other)))
            await receiver.wait(4)
            secrets = []
            for _, headers, body in receiver.came:
                at, _, _ = headers["caxton-signature"].partition(",")
                at = at.removeprefix("t=")
                secrets.append(
                    next(one for one in (SECRET, other) if sign(one, int(at), body) == headers["caxton-signature"])
                )
            assert secrets[0] == SECRET
            assert secrets[-1] == other
            await change(webhooks, keys(endpoint, allowed_networks=()))
            event = await failure(webhooks.events, lambda: happen(webhooks.events))
            assert "is not public" in event.data["reason"]


async def test_the_last_moments_of_a_node_are_told_by_the_next(tmp_path: Path) -> None:
    async with open_receiver() as receiver:
        endpoint = json.dumps([{"url": receiver.url, "events": ["agent.stopped"]}])
        sets = (
            "integrations.webhooks.enabled=true",
            f"integrations.webhooks.endpoints={endpoint}",
            'integrations.webhooks.allowed_networks=["127.0.0.1"]',
        )
        receiver.gate = trio.Event()  # nobody is answered while the first one ends
        for gate in (receiver.gate, None):
            receiver.gate = gate
            async with open_a_node(tmp_path, *sets) as node:
                if gate is not None:
                    for name in ("a", "b", "c"):
                        await deploy(node, name)
                else:
                    with trio.fail_after(10):
                        while {body["agent_id"] for body in receiver.bodies} != {"a", "b", "c"}:
                            await receiver.changed.wait()
        assert len({headers["caxton-delivery"] for _, headers, _ in receiver.came}) >= 3


# -- the keys --


def described(**fields: Any) -> list[str]:
    one = {"url": "https://a.example/x", **fields}
    return ["integrations.webhooks.enabled=true", f"integrations.webhooks.endpoints={json.dumps([one])}"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"url": "ftp://a"}, "it is no http or https address"),
        ({"url": "https://me:word@a.example/"}, "there is a user in it"),
        ({"url": "https://a.example/#x"}, "parts that are not sent"),
        ({"url": "https://[a/"}, "Invalid IPv6 URL"),
        ({"secret": "short"}, "5 characters are too few; the least is 16"),
        ({"events": ["agent.deplyed"]}, "no event is called 'agent.deplyed'; there are agent.deployed,"),
        ({"events": []}, "none is named"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(caxton.core.errors.InvalidConfig) as caught:
        config_of(tmp_path, *described(**fields))
    assert "integrations.webhooks.endpoints[0]" in str(caught.value)
    assert said in str(caught.value)


def test_secrets_are_masked_and_missed(tmp_path: Path) -> None:
    key = "integrations.webhooks.endpoints"
    config = config_of(tmp_path, *described(secret=SECRET))
    (row,) = shown_values(config)[key]
    assert (row["url"], row["secret"]) == ("https://a.example/x", "***")
    assert leaves()[key].key.inactive == ""
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"integrations": {"webhooks": {"endpoints": [{"url": "http://a", "secret": SECRET}]}}}))
    found = {one.key for one in lint(load(str(file), environ={"HOME": "/x"}), Machine())}
    assert f"{key}[0].secret" in found
    file.write_text(json.dumps({"integrations": {"webhooks": {"enabled": True, "endpoints": [{"url": "http://a"}]}}}))
    found = {one.key for one in lint(load(str(file), environ={"HOME": "/x"}), Machine())}
    assert {f"{key}[0].secret", f"{key}[0].url"} <= found


def test_every_event_can_be_asked_for() -> None:
    """A list that lacks one would refuse a right configuration."""
    folder = Path(caxton.__file__).parent
    text = "".join(path.read_text() for path in folder.rglob("*.py"))
    emitted = set(re.findall(r'emit\(\s*"([a-z_.]+)"', text)) | set(
        re.findall(r'AgentState\.\w+: "(agent\.\w+)"', text)
    )
    assert emitted - {"webhook.failed"} <= EVENTS
    assert len(emitted) > 15
    assert load_config(environ={"HOME": "/x"}).integrations.webhooks.enabled is False
