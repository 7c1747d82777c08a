"""Events over a WebSocket."""

import json
from typing import Any

import trio

from tests.api.serving import open_server, request_to


async def ask(websocket: Any, **value: object) -> dict[str, Any]:
    await websocket.send_message(json.dumps(value))
    return await receive(websocket)


async def receive(websocket: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(await websocket.get_message())
    return value


async def test_messages_by_agent_and_act():
    async with open_server() as server, server.websocket("/ws") as websocket:
        asked = {"agents": ["bob"], "performatives": ["REQUEST"]}
        ack = await ask(websocket, type="subscribe", filter=asked)
        assert ack["type"] == "subscribed"
        await server.attach("alice")
        await server.attach("bob")
        await server.post(request_to("alice"))
        receipt = (await server.post(request_to("bob"))).json()
        event = await receive(websocket)
        assert event["subscription_id"] == ack["subscription_id"]
        assert (event["type"], event["from"], event["to"]) == ("message.sent", "tester", "bob")
        assert event["message_id"] == receipt["message_id"]


async def test_events_by_glob_and_agent():
    async with open_server() as server, server.websocket("/ws") as websocket:
        await ask(websocket, type="subscribe", events=["agent.*"], filters={"agent_ids": ["bob"]})
        for name in ("alice", "bob"):
            await server.attach(name)
        assert (await receive(websocket))["agent_id"] == "bob"


async def test_an_empty_list_restricts_nothing():
    async with open_server() as server, server.websocket("/ws") as websocket:
        await ask(websocket, type="subscribe", events=["agent.*", "task.completed"], filters={"agent_ids": []})
        await server.attach("alice")
        assert (await receive(websocket))["type"] == "agent.deployed"


async def test_an_event_names_each_subscription_that_it_matches():
    async with open_server() as server, server.websocket("/ws") as websocket:
        names = {(await ask(websocket, type="subscribe", events=["agent.*"]))["subscription_id"] for _ in range(2)}
        await server.attach("alice")
        assert {(await receive(websocket))["subscription_id"] for _ in range(2)} == names


async def test_unsubscribing_ends_it():
    async with open_server() as server, server.websocket("/ws") as websocket:
        name = (await ask(websocket, type="subscribe", events=["*"]))["subscription_id"]
        assert await ask(websocket, type="unsubscribe", subscription_id=name) == {
            "type": "unsubscribed",
            "subscription_id": name,
        }
        with trio.fail_after(5):
            while server.node.bus.taps:
                await trio.lowlevel.checkpoint()
        again = await ask(websocket, type="unsubscribe", subscription_id=name)
        assert (again["type"], again["error"]["code"]) == ("error", "NOT_FOUND")


async def test_a_wrong_request_is_answered_and_the_connection_goes_on():
    async with open_server() as server, server.websocket("/ws") as websocket:
        for text in (
            "{",
            "[]",
            '{"type":"dance"}',
            '{"type":"subscribe"}',
            '{"type":"subscribe","events":["a"],"filter":{}}',
            '{"type":"subscribe","filter":{"performatives":["shout"]}}',
            b"",
            b"\xff",
            " " * 70_000,
            '{"x":' + "[" * 60_000,
        ):
            await websocket.send_message(text)
            answer = await receive(websocket)
            assert answer["type"] == "error", text
            assert answer["error"].keys() == {"code", "message", "details", "hint", "trace_id"}
        assert (await ask(websocket, type="subscribe", events=[]))["type"] == "subscribed"


async def test_subscriptions_are_bounded():
    async with open_server() as server, server.websocket("/ws") as websocket:
        answers = [await ask(websocket, type="subscribe", events=["x"]) for _ in range(65)]
        assert [answer["type"] for answer in answers[63:]] == ["subscribed", "error"]
        assert answers[-1]["error"]["code"] == "RESOURCE_LIMIT_EXCEEDED"
