"""Server-sent events."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11
import pytest
import trio

from caxton.api import events
from caxton.core.views import Event, EventFilter
from tests.api.serving import Served, code_of, open_server, request_to
from tests.api.small_node import SmallNode


class Source:
    """What a browser's EventSource does, as far as these tests go; h11 speaks HTTP for it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.connection = h11.Connection(h11.CLIENT)
        self.text = b""

    async def ask(self, path: str, headers: dict[str, str]) -> h11.Response:
        lines = [("host", "caxton"), *headers.items()]
        for event in (h11.Request(method="GET", target=path, headers=lines), h11.EndOfMessage()):
            await self.stream.send_all(self.connection.send(event))
        response = await self.next_event()
        assert isinstance(response, h11.Response)
        return response

    async def next_event(self) -> object:
        while (event := self.connection.next_event()) is h11.NEED_DATA:
            self.connection.receive_data(await self.stream.receive_some())
        return event

    async def block(self) -> dict[str, str]:
        """What stands before the next blank line."""
        while b"\n\n" not in self.text:
            event = await self.next_event()
            assert isinstance(event, h11.Data)
            self.text += event.data
        block, _, self.text = self.text.partition(b"\n\n")
        pairs = [line.partition(":") for line in block.decode().splitlines()]
        return {name: value.strip() for name, _, value in pairs}

    async def event(self) -> dict[str, str]:
        """The next event, heartbeats left out."""
        while "data" not in (block := await self.block()):
            pass
        return block


@asynccontextmanager
async def open_source(server: Served[SmallNode], query: str = "", **headers: str) -> AsyncIterator[Source]:
    async with await trio.open_tcp_stream(server.address.host, server.address.port) as stream:
        source = Source(stream)
        response = await source.ask(f"/api/v1/events{query}", headers)
        assert (b"content-type", b"text/event-stream") in response.headers
        assert "retry" in await source.block()
        while not server.node.bus.taps:
            await trio.lowlevel.checkpoint()
        yield source


@pytest.mark.parametrize(
    ("wanted", "matching"),
    [
        (EventFilter(), "mdl"),
        (EventFilter(types=("agent.*",)), "dl"),
        (EventFilter(types=("message.sent", "agent.log")), "ml"),
        (EventFilter(types=("agent",)), ""),
        (EventFilter(agents=("a",)), "md"),
        (EventFilter(agents=("c",)), "m"),
        (EventFilter(performatives=("cfp",)), "m"),
        (EventFilter(types=("agent.*",), agents=("b",)), "l"),
        (EventFilter(performatives=("inform",)), ""),
    ],
)
def test_a_filter_narrows_by_each_of_its_members(wanted: EventFilter, matching: str):
    happened = {
        "m": Event(id=1, type="message.sent", at=0, data={"from": "a", "to": ["b", "c"], "performative": "cfp"}),
        "d": Event(id=2, type="agent.deployed", at=0, data={"agent_id": "a"}),
        "l": Event(id=3, type="agent.log", at=0, data={"agent_id": "b"}),
    }
    assert "".join(name for name, event in happened.items() if wanted.matches(event)) == matching


async def test_events_arrive_as_they_happen():
    async with open_server() as server, open_source(server) as source:
        await server.attach("alice")
        event = await source.event()
        data = json.loads(event["data"])
        assert (event["event"], data["type"], data["agent_id"]) == ("agent.deployed", "agent.deployed", "alice")
        assert (event["id"], data["timestamp"][-1]) == (str(data["event_id"]), "Z")


async def test_events_are_narrowed_by_name_agent_and_act():
    query = "?types=message.*&agents=bob&performatives=request"
    async with open_server() as server, open_source(server, query) as source:
        await server.attach("alice")
        await server.attach("bob")
        await server.post(request_to("alice", 1))
        await server.post(request_to("bob", 2) | {"performative": "inform"})
        await server.post(request_to("bob", 3))
        data = json.loads((await source.event())["data"])
        assert (data["type"], data["to"], data["performative"]) == ("message.sent", "bob", "request")


async def test_who_comes_back_gets_what_it_missed():
    async with open_server() as server:
        for name in "abc":
            await server.attach(name)
        first = server.node.bus.ring[0].id
        async with open_source(server, **{"Last-Event-ID": str(first)}) as source:
            await server.attach("d")
            names = [json.loads((await source.event())["data"])["agent_id"] for _ in range(3)]
            assert names == ["b", "c", "d"]


async def test_who_comes_back_too_late_is_told():
    async with open_server() as server:
        for name in "abc":
            await server.attach(name)
        server.node.bus.ring.popleft()
        async with open_source(server, "?last_event_id=0") as source:
            gap = await source.event()
            assert (gap["event"], json.loads(gap["data"])["missed"]) == ("system.gap", 1)
            assert json.loads((await source.event())["data"])["agent_id"] == "b"


async def test_a_quiet_stream_beats(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events, "HEARTBEAT", 0.01)
    async with open_server() as server, open_source(server) as source:
        assert await source.block() == {"": "heartbeat"}


async def test_a_reader_that_leaves_leaves_nothing_behind():
    async with open_server() as server:
        async with open_source(server):
            assert server.node.bus.taps
        with trio.fail_after(5):
            while server.node.bus.taps:
                await trio.lowlevel.checkpoint()


async def test_arguments_are_checked():
    async with open_server() as server:
        assert code_of(await server.http.get("/api/v1/events?last_event_id=x")) == (400, "INVALID_REQUEST")
        assert code_of(await server.http.get("/api/v1/events?performatives=shout")) == (400, "INVALID_MESSAGE")
