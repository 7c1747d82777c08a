"""Tasks over HTTP, of a real node."""

from pathlib import Path
from typing import Any

import httpx
import trio

from tests.api.serving import code_of, open_server
from tests.node.bidding import Bidder, bids, silent
from tests.node.opened import open_a_node

TASKS = "/api/v1/tasks"


async def test_a_task_from_its_creation_to_its_result(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node, open_server(node=node) as server, trio.open_nursery() as nursery:
        await nursery.start(Bidder("cheap").run, node, bids(1, estimated_time=5, confidence=0.9))
        await nursery.start(Bidder("dear").run, node, bids(9, estimated_time=9, confidence=0.1))
        order = {
            "name": "weigh",
            "description": "how heavy is it",
            "data": {"kg": 3},
            "protocol": "contract_net",
            "participants": ["cheap", "dear"],
            "timeout_seconds": 300,
            "requirements": {"capabilities": [], "min_performance_score": 0.0},
        }
        created = await server.http.post(TASKS, json=order)
        assert created.status_code == 201
        task_id = created.json()["task_id"]
        assert created.headers["Location"] == f"{TASKS}/{task_id}"
        assert created.json()["status"] == "created"
        body = {"strategy": "best_bid", "max_wait_seconds": 20}
        found = (await server.http.post(f"{TASKS}/{task_id}/distribute", json=body)).json()
        assert found["status"] in ("distributed", "completed")
        assert (found["assigned_to"], found["proposals_received"]) == ("cheap", 2)
        assert found["winning_bid"] == {
            "agent_id": "cheap",
            "proposal_id": "",
            "cost": 1.0,
            "estimated_time": 5.0,
            "confidence": 0.9,
        }
        while (task := (await server.http.get(f"{TASKS}/{task_id}")).json())["status"] != "completed":
            await node.tasks.wait_changed()
        assert (task["progress"], task["results"]) == (1.0, [{"agent_id": "cheap", "content": "done"}])
        assert task["started_at"].endswith("Z")
        assert [subtask["status"] for subtask in task["subtasks"]] == ["done"]
        listed = (await server.http.get(TASKS, params={"status": "completed"})).json()
        assert ([one["task_id"] for one in listed["tasks"]], listed["total"], listed["next_offset"]) == (
            [task_id],
            1,
            None,
        )
        nursery.cancel_scope.cancel()


async def test_a_task_is_cancelled_while_it_calls(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node, open_server(node=node) as server, trio.open_nursery() as nursery:
        who = Bidder("mute")
        await nursery.start(who.run, node, silent)
        created = await server.http.post(TASKS, json={"participants": ["mute"]})
        path = f"{TASKS}/{created.json()['task_id']}"
        found = (await server.http.post(f"{path}/distribute", params={"wait": 0})).json()
        assert (found["status"], found["assigned_to"], found["winning_bid"]) == ("calling", None, None)
        assert (await server.http.post(f"{path}/cancel")).json()["status"] == "cancelled"
        assert code_of(await server.http.post(f"{path}/cancel")) == (409, "INVALID_STATE")
        await who.hears("cfp", "cancel")
        nursery.cancel_scope.cancel()


async def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node, open_server(node=node) as server:

        async def create(order: Any) -> httpx.Response:
            return await server.http.post(TASKS, json=order)

        for order, says in (
            ([], "does not describe a task"),
            ({"participants": []}, "nobody is named"),
            ({"participants": ["a"], "price": 1}, "price and step belong to an auction"),
            ({"participants": ["a"], "protocol": "english_auction"}, "needs a price to begin with"),
            ({"participants": ["a"], "protocol": "lottery"}, "none that tasks have"),
            ({"participants": ["cnp"]}, "'cnp' cannot be a participant"),
            ({"participants": ["a"], "winners": 0}, "winners"),
            ({"participants": ["a"], "wait": 3}, "wait"),
            ({"participants": ["a"], "strategy": {"weighted": {}}}, "needs weights"),
        ):
            answered = await create(order)
            assert code_of(answered) == (400, "INVALID_REQUEST")
            assert says in answered.json()["error"]["message"]
        assert code_of(await server.http.get(f"{TASKS}/x")) == (404, "NOT_FOUND")
        assert code_of(await server.http.get(TASKS, params={"status": "x"})) == (400, "INVALID_REQUEST")
        path = f"{TASKS}/{(await create({'participants': ['a']})).json()['task_id']}/distribute"
        assert code_of(await server.http.post(path, content=b"[1]")) == (400, "INVALID_REQUEST")
        assert code_of(await server.http.post(path, json={"winners": "many"})) == (400, "INVALID_REQUEST")
