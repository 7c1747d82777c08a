"""What guests ask for with subscribe_messages."""

import json

import pytest

from caxton._fast.scheduler import EVENT_SUBSCRIBE
from caxton.bus import subscriptions
from caxton.core.errors import AgentNotFound
from tests.bus.desk import Desk, open_desk
from tests.node.wat import guest, message


async def subscribed(desk: Desk, name: str, **wanted: object) -> None:
    port = await desk.seat(name, guest("subscriber", json.dumps(wanted)))
    await desk.until(lambda: len(desk.scheduler.router.keys(port)) > 1 or desk.log(name) != [])


def publish(desk: Desk, topic: str, content: object = None, performative: str = "inform") -> int:
    return desk.bus.post(message(f"topic:{topic}", content, performative=performative)).delivered_to


async def test_topics_content_and_acts_select() -> None:
    async with open_desk() as desk:
        await subscribed(desk, "all", topics=["orders.**"])
        await subscribed(desk, "large", topics=["orders.*"], content={"total": {"gte": 100}})
        await subscribed(desk, "asked", topics=["orders.new", "orders.old"], performatives=["query", "REQUEST"])
        desk.attach("end")
        desk.scheduler.subscribe(desk.scheduler.open_port("rest", host=True), "**")
        for topic, content, act, expected in (
            ("orders.new", {"total": 100}, "inform", 3),
            ("orders.new", {"total": 99}, "inform", 2),
            ("orders.new", {"total": 99}, "request", 3),
            ("orders.old", None, "query-ref", 3),
            ("orders.old.far", {"total": 500}, "inform", 2),
            ("else", {"total": 500}, "inform", 1),
        ):
            assert publish(desk, topic, content, act) == expected, (topic, content, act)
        await desk.until(lambda: [len(desk.log(name)) for name in ("all", "large", "asked")] == [5, 1, 2])


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ('{"topics": "orders"}', "not a subscription"),
        ("{}", "topics"),
        ('{"topics": ["a"], "more": 1}', "more"),
        ('{"topics": ["a..b"]}', "empty level"),
        ('{"topics": ["a"], "performatives": ["shout"]}', "shout"),
        ('{"topics": ["a"], "content": {"x": {"near": 1}}}', "filter"),
        ('{"topics": ["a"], "content": 7}', "filter"),
        ('{"topics": ["\xff', "not a subscription"),
    ],
)
async def test_what_is_no_subscription_is_refused_with_a_line_in_the_log(wanted: str, problem: str) -> None:
    async with open_desk() as desk:
        port = await desk.seat("guest", guest("subscriber", wanted))
        await desk.until(lambda: desk.log("guest") != [])
        (line,) = desk.bus.logs.select(["guest"], None, 10)
        assert line.stream == "system"
        assert line.text.startswith("subscription refused: ")
        assert problem in line.text
        assert desk.scheduler.router.keys(port) == ["guest"]


async def test_a_guest_has_so_many_addresses_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MAX_ADDRESSES", 4)
    async with open_desk() as desk:
        await subscribed(desk, "modest", topics=["a", "b", "c"])
        port = desk.scheduler.open_port("greedy", host=True)
        for number, topics in enumerate((["a", "b", "c"], ["a", "c"], ["c", "d"])):
            desk.bus.handle(EVENT_SUBSCRIBE, port, 0, json.dumps({"topics": topics}).encode())
            assert len(desk.log("greedy")) == (number == 2)
        assert desk.scheduler.router.keys(port) == ["greedy", "topic:a", "topic:b", "topic:c"]
        assert desk.log("modest") == []


async def test_subscribing_again_changes_the_filter() -> None:
    async with open_desk() as desk:
        port = desk.scheduler.open_port("guest", host=True)
        for wanted, reached in (({"topics": ["a"]}, 1), ({"topics": ["a"], "performatives": ["cfp"]}, 0)):
            desk.bus.handle(EVENT_SUBSCRIBE, port, 0, json.dumps(wanted).encode())
            if reached:
                assert publish(desk, "a") == 1
        with pytest.raises(AgentNotFound, match="topic:a"):
            publish(desk, "a")
