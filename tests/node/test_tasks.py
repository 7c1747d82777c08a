"""Contract nets and auctions that the node runs: as `cnp` asked by message, and as the API asks."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from caxton.core.errors import InvalidRequest, InvalidTransition, NotFound
from caxton.node import Node
from tests.node.bidding import Bidder, Does, bids, silent
from tests.node.opened import config, open_a_node

OnANode = Callable[[Node, trio.Nursery], Awaitable[None]]


def on_a_node(test: OnANode) -> Callable[[Path], Awaitable[None]]:
    """The test on a node of its own, with a nursery for the agents outside, which ends before the node does."""

    async def run(tmp_path: Path) -> None:
        async with open_a_node(tmp_path) as node, trio.open_nursery() as nursery:
            await test(node, nursery)
            nursery.cancel_scope.cancel()
            # the platform keeps to the tables that it holds others to
            for conversation in node.scheduler.tracker.list(limit=1000).conversations:
                assert not [act for act in conversation.violations if act.sender in ("cnp", "ams")]

    run.__name__ = test.__name__
    return run


async def seat(node: Node, nursery: trio.Nursery, **who: Does) -> dict[str, Bidder]:
    found = {}
    for name, does in who.items():
        found[name] = Bidder(name)
        await nursery.start(found[name].run, node, does)
    return found


async def give(node: Node, *participants: str, wait: float = 20.0, **fields: Any) -> dict[str, Any]:
    """Create a task and distribute it."""
    order = {"name": "weigh", "data": {"kg": 3}, "participants": participants, "strategy": "lowest_cost", **fields}
    task = await node.tasks.create(json.dumps(order).encode())
    return await node.tasks.distribute(task["task_id"], {}, wait=wait)


async def until_over(node: Node, task_id: str) -> dict[str, Any]:
    with trio.fail_after(20):
        while not (found := await node.tasks.get(task_id))["ended_at"]:
            await node.tasks.wait_changed()
    return found


@on_a_node
async def test_a_task_goes_to_the_best_bidder(node: Node, nursery: trio.Nursery) -> None:
    who = await seat(node, nursery, dear=bids(9), cheap=bids(1, then=("inform", {"weight": 3})))
    found = await give(node, "dear", "cheap", standby=0)
    assert (found["status"] in ("distributed", "completed"), found["assigned_to"]) == (True, ["cheap"])
    assert found["proposals_received"] == 2
    assert found["winning_bids"] == [{"agent_id": "cheap", "proposal_id": "", "cost": 1.0}]
    over = await until_over(node, found["task_id"])
    assert (over["status"], over["progress"]) == ("completed", 1.0)
    assert [(one["agent_id"], json.loads(bytes(one["content"]))) for one in over["results"]] == [
        ("cheap", {"weight": 3})
    ]
    await who["cheap"].hears("cfp", "accept-proposal")
    told = await who["dear"].hears("cfp", "reject-proposal")
    assert told[0]["protocol"] == "fipa-contract-net"
    assert told[0]["sender"] == "cnp"
    assert told[0]["conversation_id"] == found["task_id"]
    assert told[0]["content"]["action"]["data"] == {"kg": 3}


@on_a_node
async def test_who_is_not_there_is_counted_out(node: Node, nursery: trio.Nursery) -> None:
    await seat(node, nursery, cheap=bids(1))
    found = await give(node, "nobody", "cheap")
    assert found["assigned_to"] == ["cheap"]
    status = {one["agent_id"]: one["status"] for one in (await node.tasks.get(found["task_id"]))["participants"]}
    assert status["nobody"] == "failed"


@on_a_node
async def test_a_winner_that_fails_is_replaced(node: Node, nursery: trio.Nursery) -> None:
    who = await seat(node, nursery, weak=bids(1, then=("failure", {"reason": "broke"})), strong=bids(2))
    found = await give(node, "weak", "strong")
    over = await until_over(node, found["task_id"])
    assert (over["status"], over["assigned_to"]) == ("completed", ["strong"])
    await who["strong"].hears("cfp", "accept-proposal")


@on_a_node
async def test_nobody_bids_and_the_task_says_so(node: Node, nursery: trio.Nursery) -> None:
    await seat(node, nursery, mute=silent)
    found = await give(node, "mute", max_wait_seconds=0.05)
    assert (found["status"], found["assigned_to"]) == ("failed", [])
    assert found["reason"] == "nobody proposed anything usable (1 no bid)"


@on_a_node
async def test_participants_by_capability_and_group(node: Node, nursery: trio.Nursery) -> None:
    for name, capabilities, group in (("a", ["weighing"], ""), ("b", [], "scales"), ("c", ["weighing"], "scales")):
        await node.agents.attach(config(name, capabilities=capabilities, group=group))
    await seat(node, nursery, a=bids(3), b=bids(2), c=bids(1))
    found = await give(node, "capability:weighing", "broadcast://scales", "capability:flying", standby=0)
    task = await node.tasks.get(found["task_id"])
    assert [one["agent_id"] for one in task["participants"]] == ["a", "c", "b"]
    assert task["left_out"] == {"capability:flying": "nobody is there"}
    found = await give(node, requirements={"capabilities": ["weighing"]})
    task = await node.tasks.get(found["task_id"])
    assert [one["agent_id"] for one in task["participants"]] == ["a", "c"]
    found = await give(node, "a", "b", requirements={"capabilities": ["weighing"], "min_performance_score": 0.5})
    task = await node.tasks.get(found["task_id"])
    assert task["left_out"] == {"b": "does not have weighing"}


async def ask(node: Node, content: Any, **fields: Any) -> list[dict[str, Any]]:
    """A request to `cnp` by an agent, and all that it is answered, to the outcome."""
    asker = Bidder("anna")
    async with trio.open_nursery() as nursery:
        await nursery.start(asker.run, node, silent)
        message = {"performative": "request", "receiver": "cnp", "content": content, **fields}
        node.bus.post(json.dumps(message).encode(), sender="anna")
        with trio.fail_after(20):
            while not asker.heard or asker.heard[-1]["performative"] == "agree":
                await asker.news.park()
        nursery.cancel_scope.cancel()
    return asker.heard


@on_a_node
async def test_an_agent_asks_cnp_and_is_told_the_outcome(node: Node, nursery: trio.Nursery) -> None:
    await seat(node, nursery, cheap=bids(1, then=("inform", 42)))
    order = {"name": "weigh", "participants": ["cheap"]}
    conversation = {"conversation_id": "c-1", "reply_with": "r-1", "protocol": "fipa-request"}
    agreed, informed = await ask(node, {"action": order}, **conversation)
    assert [agreed["performative"], informed["performative"]] == ["agree", "inform"]
    for answer in (agreed, informed):
        assert (answer["sender"], answer["conversation_id"], answer["in_reply_to"]) == ("cnp", "c-1", "r-1")
        assert answer["protocol"] == "fipa-request"
    assert informed["content"]["result"]["status"] == "completed"
    branches = node.scheduler.tracker.list(parent="c-1").conversations
    assert [branch.id for branch in branches] == [informed["content"]["result"]["task_id"]]
    assert informed["content"]["result"]["results"] == [{"agent_id": "cheap", "content": 42}]


@on_a_node
async def test_an_agent_whose_task_fails_is_told_why(node: Node, nursery: trio.Nursery) -> None:
    agreed, failed = await ask(node, {"participants": ["nobody"]}, reply_with="r")
    assert [agreed["performative"], failed["performative"]] == ["agree", "failure"]
    assert failed["content"]["reason"] == "nobody proposed anything usable (1 failed)"


@on_a_node
async def test_what_is_no_task_is_refused(node: Node, nursery: trio.Nursery) -> None:
    (refused,) = await ask(node, {"participants": ["a"], "protocol": "lottery"}, reply_with="r")
    assert refused["performative"] == "refuse"
    assert "protocol 'lottery' is none that tasks have" in refused["content"]["reason"]["text"]


@on_a_node
async def test_an_english_auction_between_agents(node: Node, nursery: trio.Nursery) -> None:
    def up_to(most: float) -> Does:
        def does(message: dict[str, Any]) -> tuple[str, Any] | None:
            if message["performative"] == "cfp":
                return ("propose", None) if message["content"]["condition"]["price"] <= most else ("refuse", None)
            return ("inform", "paid") if message["performative"] == "request" else None

        return does

    await seat(node, nursery, poor=up_to(20), rich=up_to(50))
    found = await give(node, "poor", "rich", protocol="english_auction", price=10, step=10, reserve=15)
    over = await until_over(node, found["task_id"])
    assert (over["status"], over["assigned_to"]) == ("completed", ["rich"])
    assert over["sales"][0]["price"] in (20.0, 30.0)  # whoever of the two held 10, the other cannot pay more than 20


@on_a_node
async def test_a_dutch_auction_between_agents(node: Node, nursery: trio.Nursery) -> None:
    def at(most: float) -> Does:
        def does(message: dict[str, Any]) -> tuple[str, Any] | None:
            if message["performative"] != "cfp":
                return None
            return ("propose", None) if message["content"]["condition"]["price"] <= most else ("refuse", None)

        return does

    await seat(node, nursery, poor=at(20), rich=at(50))
    found = await give(node, "poor", "rich", protocol="dutch_auction", price=100, step=10, reserve=15)
    assert (found["status"], found["assigned_to"]) == ("completed", ["rich"])
    assert found["sales"][0]["price"] == 50.0


@on_a_node
async def test_a_task_is_cancelled(node: Node, nursery: trio.Nursery) -> None:
    who = await seat(node, nursery, slow=bids(1, then=("agree", None)))
    found = await give(node, "slow")
    assert found["status"] == "distributed"
    assert (await node.tasks.cancel(found["task_id"], "no longer needed"))["status"] == "cancelled"
    await who["slow"].hears("cfp", "accept-proposal", "cancel")
    with pytest.raises(InvalidTransition, match="is over: cancelled"):
        await node.tasks.cancel(found["task_id"], "again")


@on_a_node
async def test_only_a_created_task_is_distributed_and_only_one_that_there_is(node: Node, nursery: trio.Nursery) -> None:
    found = await give(node, "nobody")
    with pytest.raises(InvalidTransition, match="is failed; only a created one is distributed"):
        await node.tasks.distribute(found["task_id"], {}, wait=1)
    with pytest.raises(NotFound, match="there is no task 'x'"):
        await node.tasks.distribute("x", {}, wait=1)
    task = await node.tasks.create(b'{"participants":["a"]}')
    with pytest.raises(InvalidRequest, match="strategy is 'cheapest'"):
        await node.tasks.distribute(task["task_id"], {"strategy": "cheapest"}, wait=1)
    assert (await node.tasks.get(task["task_id"]))["status"] == "created"


@on_a_node
async def test_the_list_is_newest_first_and_by_status(node: Node, nursery: trio.Nursery) -> None:
    ids = [(await give(node, "nobody"))["task_id"] for _ in range(3)]
    created = (await node.tasks.create(b'{"participants":["a"]}'))["task_id"]
    tasks, total = await node.tasks.list("", 2, 0)
    assert ([task["task_id"] for task in tasks], total) == ([created, ids[2]], 4)
    tasks, total = await node.tasks.list("failed", 10, 0)
    assert ([task["task_id"] for task in tasks], total) == (ids[::-1], 3)


async def test_a_task_goes_on_after_a_restart(tmp_path: Path) -> None:
    def first(message: dict[str, Any]) -> tuple[str, Any] | None:
        return ("propose", {"cost": 1}) if message["performative"] == "cfp" else None

    async with open_a_node(tmp_path) as node:
        async with trio.open_nursery() as nursery:
            await seat(node, nursery, one=first, two=silent)
            found = await give(node, "one", "two", wait=0, max_wait_seconds=3600)
            with trio.fail_after(20):
                while (await node.tasks.get(found["task_id"]))["proposals_received"] < 1:
                    await node.tasks.wait_changed()
            nursery.cancel_scope.cancel()
    async with open_a_node(tmp_path) as node, trio.open_nursery() as nursery:
        task = await node.tasks.get(found["task_id"])
        assert (task["status"], task["proposals_received"]) == ("calling", 1)
        two = Bidder("two")
        await nursery.start(two.run, node, silent)
        node.bus.post(
            json.dumps(
                {
                    "performative": "refuse",
                    "receiver": "cnp",
                    "conversation_id": found["task_id"],
                    "protocol": "fipa-contract-net",
                }
            ).encode(),
            sender="two",
        )
        one = Bidder("one")
        await nursery.start(one.run, node, bids(1, then=("inform", "late but done")))
        over = await until_over(node, found["task_id"])
        assert (over["status"], over["assigned_to"]) == ("completed", ["one"])
        # nobody was called twice
        assert [each["performative"] for each in one.heard] == ["accept-proposal"]
        assert [each["performative"] for each in two.heard] == []
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_a_round_whose_time_ended_while_the_server_was_down_is_closed(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await node.agents.attach(config("mute"))
        found = await give(node, "mute", wait=0, max_wait_seconds=0.3)
        assert found["status"] == "calling"
    await trio.sleep(0.3)
    async with open_a_node(tmp_path) as node:
        over = await until_over(node, found["task_id"])
        assert (over["status"], over["participants"][0]["status"]) == ("failed", "no_bid")
