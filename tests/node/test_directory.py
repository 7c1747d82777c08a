"""`df` and `ams` over a real node: who is listed, for how long, and what senders are told."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from caxton.bus.streams import Session
from caxton.core.directory.descriptions import Constraints, Description, Service
from caxton.core.errors import AgentNotFound
from caxton.core.views import MessageRecord
from caxton.node import Node
from tests.node.opened import config, deploy, open_a_node, until
from tests.node.wat import guest, message


@asynccontextmanager
async def attached(node: Node, name: str = "anna", **fields: Any) -> AsyncIterator[Session]:
    try:
        node.agents.get(name)
    except AgentNotFound:
        await node.agents.attach(config(name, **fields))
    async with node.bus.stream(name) as session:
        yield session


async def ask(session: Session, receiver: str, content: object, act: str = "request", **fields: object) -> Any:
    data = {"performative": act, "receiver": receiver, "content": content, "language": "json", **fields}
    [outcome] = session.send([json.dumps(data).encode()])
    assert not isinstance(outcome, Exception)
    return (await hear(session))["content"]


async def hear(session: Session) -> dict[str, Any]:
    [answer] = await session.receive(1)
    session.ack([str(answer.message_id)])
    return answer.as_dict()


def listed(node: Node, **template: Any) -> list[str]:
    return [entry.name for entry in node.directory.search(Description(**template), Constraints())[0]]


def of_type(kind: str) -> tuple[Service, ...]:
    return (Service(type=kind),)


async def test_deployed_agents_are_listed_by_their_capabilities(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node, attached(node, capabilities=["sums", "news:v2.1"]) as anna:
        await deploy(node, "worker", capabilities=["order_entry:v2"], replicas=2)
        assert listed(node, services=of_type("order-entry")) == ["worker"]
        found = await ask(anna, "df", {"action": "search", "description": {"services": [{"type": "order-entry"}]}})
        [service] = found["result"][0]["services"]
        assert service == {"name": "order_entry:v2", "type": "order_entry", "properties": {"version": "2"}}
        assert node.bus.post(message("capability:order-entry")).delivered_to == 1  # the name without its version
        assert listed(node, services=of_type("news")) == ["anna"]
        await node.agents.stop("worker", 0, drain=False)
        assert listed(node, services=of_type("order-entry")) == []
        await node.agents.start("worker")
        assert listed(node, services=of_type("order-entry")) == ["worker"]
        await node.agents.delete("worker")
        assert listed(node, services=of_type("order-entry")) == []
        with pytest.raises(AgentNotFound):
            node.bus.post(message("capability:order-entry"))


async def test_whoever_is_attached_is_listed_as_long(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        async with attached(node, capabilities=["sums"]):
            assert listed(node) == ["anna"]
        assert listed(node) == []


async def test_who_stays_attached_over_an_update_stays_listed(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node, attached(node, capabilities=["sums"]):
        await node.agents.update("anna", None, config("anna", capabilities=["news"]))
        assert listed(node, services=of_type("news")) == ["anna"]
        assert listed(node, services=of_type("sums")) == []
        with pytest.raises(AgentNotFound):
            node.bus.post(message("capability:sums"))


async def test_a_capability_that_nobody_has_gets_advice(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node, attached(node, capabilities=["order-entry"]):
        with pytest.raises(AgentNotFound, match="no agent has the capability 'order-processing'") as caught:
            node.bus.post(message("capability:order-processing"))
        assert caught.value.details["suggested_alternatives"] == ["capability:order-entry"]
        assert "capability:order-entry" in caught.value.hint


async def test_a_guest_is_told_that_nobody_has_a_capability(tmp_path: Path) -> None:
    text = '{"performative":"inform","receiver":"capability:order-x","sender":"relay"}'
    async with open_a_node(tmp_path, "messaging.retry_attempts=0") as node, attached(node, capabilities=["order-y"]):
        await deploy(node, "relay", guest("once", text=text))
        failures: list[MessageRecord] = []
        with node.bus.tap(1000) as events:
            node.bus.post(message("relay", sender="anna"))
            while not failures:
                await events.receive()
                found = node.bus.history(None, 0, 100)[0]
                failures = [each for each in found if (each.sender, each.receiver) == ("ams", "relay")]
        content = json.loads(bytes(failures[0].content))
        assert (failures[0].sender, failures[0].receiver) == ("ams", "relay")
        assert content["missing_capability"] == "order-x"
        assert content["related_capabilities"] == [{"capability": "order-y", "agents": 1}]
        assert content["suggested_alternatives"] == ["capability:order-y"]


async def test_what_was_registered_is_routed_told_and_kept(tmp_path: Path) -> None:
    mine = {"name": "anna", "services": [{"name": "quote", "type": "pricing"}]}
    async with open_a_node(tmp_path) as node, attached(node) as anna, attached(node, "bob") as bob:
        current = await ask(bob, "df", {"query": {}}, act="subscribe", conversation_id="c1", reply_with="r1")
        assert "action" in current  # agree
        assert (await hear(bob))["content"]["change"] == "current"
        with node.bus.tap(100) as events:
            done = await ask(anna, "df", {"action": "register", "description": mine}, conversation_id="c2")
            assert done["done"] == "register"
            event = await events.receive()
            while event.type != "capability.registered":
                event = await events.receive()
            assert event.data == {"agent_id": "anna", "capability": "pricing"}
        news = await hear(bob)
        assert (news["content"]["change"], news["in_reply_to"], news["protocol"]) == (
            "modified",  # she was listed before, without a service
            "r1",
            "fipa-subscribe",
        )
        assert node.bus.post(message("capability:pricing")).delivered_to == 1
        assert (await hear(anna))["performative"] == "request"
        again = await ask(anna, "df", {"action": "register", "description": mine})
        assert again["reason"]["error"] == "already-registered"
        eve = await ask(bob, "df", {"action": "deregister", "description": mine})
        assert eve["reason"]["error"] == "unauthorised"
    async with open_a_node(tmp_path) as node:
        assert listed(node, services=of_type("pricing")) == ["anna"]  # her lease has not ended
        assert node.bus.post(message("capability:pricing")).status == "queued"
        async with attached(node) as anna, attached(node, "bob") as bob:
            assert (await hear(anna))["performative"] == "request"
            assert (await ask(anna, "df", {"action": "deregister", "description": {"name": "anna"}}))["done"]
            while (await hear(bob))["content"]["change"] != "modified":
                pass  # who came and left
            with pytest.raises(AgentNotFound):
                node.bus.post(message("capability:pricing"))


async def test_a_lease_ends_across_a_restart(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node, attached(node) as anna:
        mine = {"name": "anna", "services": [{"name": "quote", "type": "pricing"}], "lease_time": 0.05}
        await ask(anna, "df", {"action": "register", "description": mine})
    await trio.sleep(0.06)
    async with open_a_node(tmp_path) as node:
        assert listed(node) == []
        await until_saved(node)
    async with open_a_node(tmp_path) as node:
        assert await node.store.directory.load() == []


async def until_saved(node: Node) -> None:
    while node.directory.facilitator.unsaved:
        await trio.lowlevel.checkpoint()


async def test_an_agent_that_crashed_is_listed_until_its_lease_ends(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "messaging.retry_attempts=0") as node:
        await deploy(node, "frail", guest("crash"), capabilities=["sums"], restart="temporary")
        node.bus.post(message("frail", {"n": 1}))
        await until(node, lambda: node.agents.get("frail").status == "failed")
        assert listed(node) == ["frail"]
        node.directory.clock = lambda: time.time() + 61
        assert listed(node) == []


async def test_ams_knows_everybody(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node, attached(node) as anna:
        await deploy(node, "worker")
        await node.agents.attach(config("away"))
        found = await ask(anna, "ams", {"action": "search"})
        assert {each["name"]: each["state"] for each in found["result"]} == {
            "ams": "active",
            "df": "active",
            "cnp": "active",
            "anna": "active",
            "away": "waiting",
            "worker": "active",
        }
        await node.agents.stop("worker", 0, drain=False)
        found = await ask(anna, "ams", {"action": "search", "description": {"state": "suspended"}})
        assert [each["name"] for each in found["result"]] == ["worker"]
        [platform] = (await ask(anna, "ams", {"action": "get-description"}))["result"]
        assert platform["name"] == node.store.meta.node_id
        assert {each["type"] for each in platform["ap_services"]} >= {"fipa.ams", "fipa.df"}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({"action": "register", "description": {"name": "anna"}}, "already-registered"),
        ({"action": "register", "description": {"name": "worker"}}, "unauthorised"),
        ({"action": "modify", "description": {"name": "anna", "state": "transit"}}, "unsupported-function"),
        ({"action": "modify", "description": {"name": "anna", "state": "asleep"}}, "unrecognised-parameter-value"),
        ({"action": "modify", "description": {"state": "active"}}, "missing-parameter"),
        ({"action": "fly"}, "unsupported-function"),
    ],
)
async def test_what_ams_does_not_do_has_a_word(content: object, word: str, tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node, attached(node) as anna:
        assert (await ask(anna, "ams", content))["reason"]["error"] == word


async def test_an_agent_from_outside_may_leave_for_good(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node, attached(node) as anna:
        leave = {"performative": "request", "receiver": "ams", "language": "json"}
        leave["content"] = {"action": "deregister", "description": {"name": "anna"}}  # type: ignore[assignment]
        anna.send([json.dumps(leave).encode()])
        with pytest.raises(AgentNotFound):
            await anna.receive(1)


async def test_an_agent_may_ask_what_there_is(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node, attached(node, capabilities=["sums", "news"]) as anna:
        found = await ask(anna, "system:capabilities", None, act="query-ref")
        assert found["capabilities"] == [
            {"capability": "news", "agents": 1, "providers": ["anna"]},
            {"capability": "sums", "agents": 1, "providers": ["anna"]},
        ]
        found = await ask(anna, "system:capabilities", {"capability": "Sums"}, act="query-ref")
        assert [each["agents"] for each in found["capabilities"]] == [1]
        wrong = await ask(anna, "system:capabilities", {"capabilities": "sums"}, act="query-ref")
        assert wrong["reason"]["error"] == "unrecognised-value"


async def test_a_contract_net_finds_bidders_in_the_directory(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node, attached(node) as anna:
        mine = {"name": "anna", "services": [{"name": "quote", "type": "pricing"}]}
        await ask(anna, "df", {"action": "register", "description": mine})
        await deploy(node, "worker", capabilities=["pricing:v2"], group="crew")
        assert node.providers("capability:pricing") == ["anna", "worker"]
        assert node.providers("broadcast://crew") == ["worker"]


async def test_what_was_registered_for_an_agent_that_is_gone_goes_too(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node, attached(node):
        await node.directory.put("anna", "operator", Description(services=of_type("sums")))
        await node.store.agents.delete("anna")  # and then the server dies
    async with open_a_node(tmp_path) as node:
        assert listed(node) == []
        await until_saved(node)
    async with open_a_node(tmp_path) as node:
        assert await node.store.directory.load() == []
