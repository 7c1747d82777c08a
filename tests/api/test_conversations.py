"""Conversations over HTTP, of a real node."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from caxton.node import Node
from tests.api.serving import Served, code_of, open_server
from tests.api.test_events import Source
from tests.node.opened import config, open_a_node
from tests.node.test_conversations import say

CONVERSATIONS = "/api/v1/conversations"
NET = "fipa-contract-net"


@asynccontextmanager
async def a_server(folder: Path, *sets: str) -> AsyncIterator[Served[Node]]:
    async with open_a_node(folder, *sets) as node, open_server(node=node) as server:
        for name in ("sam", "pricing", "rita"):
            await node.agents.attach(config(name))
        yield server


async def get(server: Served[Node], id: str = "") -> Any:
    return (await server.http.get(f"{CONVERSATIONS}{id}")).json()


async def test_a_conversation_is_shown_with_who_has_to_answer(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server:
        node = server.node
        for name in ("pricing", "rita"):
            say(node, "cfp", "sam", name, NET, conversation_id="c/1")
        say(node, "refuse", "rita", "sam", NET, conversation_id="c/1")
        say(node, "inform", "pricing", "sam", NET, conversation_id="c/1")
        say(node, "request", "rita", "sam", conversation_id="branch", params={"parent_conversation": "c/1"})
        found = await get(server, "/c%2F1")
        assert (found["conversation_id"], found["initiator"], found["is_open"], found["rebuilt"]) == (
            *("c/1", "sam", True, False),
        )
        assert {one["participant"]: one["state"] for one in found["sessions"]} == {
            "pricing": "BIDDING",
            "rita": "REFUSED",
        }
        (words,) = found["waiting"]
        assert words.startswith("participant pricing has not answered the CFP for "), "it is away, and has time"
        (violation,) = found["violations"]
        assert (violation["from"], violation["performative"], violation["state"]) == ("pricing", "inform", "BIDDING")
        assert "propose by the participant" in violation["expected"]
        assert found["branches"] == ["branch"]
        listed = await get(server)
        assert [one["conversation_id"] for one in listed["conversations"]] == ["branch", "c/1"]
        assert (listed["statistics"]["open"], listed["statistics"]["out_of_sequence"]) == (2, 1)
        assert [one["conversation_id"] for one in (await get(server, "?state=BIDDING"))["conversations"]] == ["c/1"]
        assert [one["conversation_id"] for one in (await get(server, "?parent=c/1"))["conversations"]] == ["branch"]
        page = await get(server, "?limit=1&open=1")
        assert [
            one["conversation_id"] for one in (await get(server, f"?cursor={page['next_cursor']}"))["conversations"]
        ] == ["c/1"]


async def test_one_that_is_held_no_longer_is_made_again(tmp_path: Path) -> None:
    async with a_server(tmp_path, "messaging.conversations.max_open=0") as server:
        say(server.node, "request", "sam", "rita", conversation_id="old")
        say(server.node, "agree", "rita", "sam", conversation_id="old")
        found = await get(server, "/old")
        assert (found["rebuilt"], found["states"]) == (True, {"WORKING": 1})
        assert found["waiting"][0].startswith("participant rita has not sent inform or failure after its agree")
        assert code_of(await server.http.get(f"{CONVERSATIONS}/none")) == (404, "NOT_FOUND")


async def test_cancelling_goes_to_those_who_are_not_done(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server:
        node = server.node
        for name in ("pricing", "rita"):
            say(node, "cfp", "sam", name, NET)
        say(node, "refuse", "rita", "sam", NET)
        answered = await server.http.post(f"{CONVERSATIONS}/c1/cancel", params={"reason": "enough"})
        assert answered.json() == {"conversation_id": "c1", "cancel": {"pricing": "sent"}}
        async with node.bus.stream("pricing") as session:
            mail: list[Any] = []
            while len(mail) < 2:
                mail += await session.receive(2)
        told = mail[1].as_dict()
        assert (told["performative"], told["sender"], told["content"]["reason"]) == ("cancel", "sam", "enough")
        states = {one["participant"]: one["state"] for one in (await get(server, "/c1"))["sessions"]}
        assert states == {"pricing": "CANCELLING", "rita": "REFUSED"}
        say(node, "inform", "pricing", "sam", NET, in_reply_to=told["reply_with"])
        assert (await get(server, "/c1"))["states"] == {"CANCELLED": 1, "REFUSED": 1}
        assert code_of(await server.http.post(f"{CONVERSATIONS}/c1/cancel")) == (409, "INVALID_STATE")


async def test_one_conversation_is_followed_as_events(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server:
        query = "types=message.sent,conversation.*&conversation_id=c1"
        async with await trio.open_tcp_stream(server.address.host, server.address.port) as stream:
            source = Source(stream)
            await source.ask(f"/api/v1/events?{query}", {})
            with trio.fail_after(20):
                await source.block()
                while not server.node.bus.events.wants("message.sent"):
                    await trio.lowlevel.checkpoint()
                say(server.node, "request", "sam", "rita", conversation_id="other")
                say(server.node, "request", "sam", "rita")
                say(server.node, "propose", "rita", "sam")
                seen = [json.loads((await source.event())["data"]) for _ in range(3)]
            assert {one["conversation_id"] for one in seen} == {"c1"}
            assert sorted(one["type"] for one in seen) == ["conversation.out_of_sequence", *["message.sent"] * 2]
