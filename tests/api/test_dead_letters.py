"""Dead letters over HTTP, of a real node."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from caxton._fast.scheduler import EXIT_LATE, EXIT_TRAP
from caxton.node import Node
from tests.api.serving import Served, code_of, open_server
from tests.node.opened import config, open_a_node
from tests.node.test_dead_letters import frame, put

LETTERS = "/api/v1/dead-letters"


@asynccontextmanager
async def a_server(folder: Path) -> AsyncIterator[Served[Node]]:
    """Letters 1 to 5 were for rita, who is there now, and trapped; 6 was for rob, and late."""
    async with open_a_node(folder) as node, open_server(node=node) as server:
        await node.agents.attach(config("rita"))
        await put(node, *((frame(n), "rita", EXIT_TRAP, 2, "why") for n in range(1, 6)))
        await put(node, (frame(6, receiver="rob"), "rob", EXIT_LATE, 1, ""))
        yield server


def ids(body: Any) -> list[int]:
    return [letter["id"] for letter in body["dead_letters"]]


async def test_a_listing_is_in_pages_and_can_be_narrowed(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server:
        first = (await server.http.get(LETTERS, params={"limit": 4})).json()
        assert (ids(first), first["total"], first["next_cursor"]) == ([6, 5, 4, 3], 6, "3")
        rest = (await server.http.get(LETTERS, params={"limit": 4, "cursor": first["next_cursor"]})).json()
        assert (ids(rest), rest["next_cursor"]) == ([2, 1], None)
        assert "message" not in rest["dead_letters"][0]
        assert ids((await server.http.get(LETTERS, params={"reason": "late"})).json()) == [6]
        assert ids((await server.http.get(LETTERS, params={"agent": "rita", "since": 9e9})).json()) == []
        for query in ({"reason": "boredom"}, {"limit": 0}, {"since": "yesterday"}, {"cursor": "x"}):
            assert code_of(await server.http.get(LETTERS, params=query)) == (400, "INVALID_REQUEST")


async def test_one_is_shown_with_its_message_sent_again_and_forgotten(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server:
        shown = (await server.http.get(f"{LETTERS}/2")).json()
        assert shown["message"]["content"] == 2
        assert (shown["reason"], shown["attempts"], shown["detail"]) == ("agent-trapped", 2, "why")
        receipt = (await server.http.post(f"{LETTERS}/2/retry")).json()
        assert receipt["message_id"] == shown["message_id"]
        assert code_of(await server.http.get(f"{LETTERS}/2")) == (404, "NOT_FOUND")
        assert code_of(await server.http.post(f"{LETTERS}/6/retry")) == (404, "AGENT_NOT_FOUND")
        assert (await server.http.delete(f"{LETTERS}/6")).json() == {"id": 6, "status": "removed"}
        assert code_of(await server.http.delete(f"{LETTERS}/6")) == (404, "NOT_FOUND")


async def test_many_are_exported_sent_again_and_purged(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server:
        exported = await server.http.get(f"{LETTERS}/export", params={"agent": "rita"})
        assert exported.headers["content-type"] == "application/x-ndjson"
        assert [json.loads(line)["message"]["content"] for line in exported.text.splitlines()] == [1, 2, 3, 4, 5]
        assert code_of(await server.http.get(f"{LETTERS}/export?reason=boredom")) == (400, "INVALID_REQUEST")
        assert (await server.http.get(f"{LETTERS}/export?agent=nobody")).text == ""
        outcome = (await server.http.post(f"{LETTERS}/retry")).json()
        assert (outcome["retried"], outcome["failed"], list(outcome["errors"])) == (5, 1, ["6"])
        figures = (await server.http.get("/api/v1/metrics/system?fields=messages")).json()["messages"]
        assert figures["dead_letters"]["by_reason"] == {"late": 1}
        assert (await server.http.post(f"{LETTERS}/purge?reason=late")).json() == {"purged": 1}
        assert ids((await server.http.get(LETTERS)).json()) == []
