"""A disk that fails under a running node: refused at once, told, and gone on with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from caxton.core.errors import StorageFull
from caxton.core.views import EventFilter
from caxton.node import Node
from caxton.node import committer as committing
from caxton.node import node as composition
from caxton.store import open_store
from caxton.store.reserve import Reserve
from tests.api.serving import code_of, open_server, request_to
from tests.node.opened import config, open_a_node
from tests.node.wat import message
from tests.store.disk import Disk, faulty_disk


@asynccontextmanager
async def a_node_on(disk: Disk, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    monkeypatch.setattr(composition, "open_store", lambda folder, **sizes: open_store(folder, vfs=disk.name, **sizes))
    monkeypatch.setattr(committing, "RETRY_SECONDS", 0.01)
    async with open_a_node(folder) as node:
        await node.agents.attach(config("rita"))
        yield node


async def sound_again(node: Node) -> None:
    while node.ready()[1]["checks"]["store"] != "ok":
        with trio.move_on_after(0.05):
            await node._committer.wait_commit()


async def test_what_must_be_kept_is_refused_while_the_disk_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faulty_disk() as disk:
        async with a_node_on(disk, tmp_path, monkeypatch) as node, open_server(node=node) as server:
            disk.failing.add("write")
            first = await server.http.post("/api/v1/messages", json=request_to("rita", 1))
            assert code_of(first) == (507, "STORAGE_FULL")
            assert "not on the disk yet" in first.json()["error"]["message"]
            with pytest.raises(StorageFull):
                node.bus.post(message("rita", 2))  # at once
            taken = await server.http.post("/api/v1/messages", json=request_to("rita", 3, delivery="volatile"))
            assert taken.status_code == 200
            ready = await server.http.get("/ready")
            assert ready.status_code == 503
            assert ready.json()["checks"]["store"].startswith("io_error: ")
            disk.failing.clear()
            await sound_again(node)
            last = await server.http.post("/api/v1/messages", json=request_to("rita", 4))
            assert last.status_code == 200
            async with node.bus.stream("rita") as session:
                seen: set[bytes | None] = set()
                while len(seen) < 3:
                    seen |= {mail.content for mail in await session.receive(10)}
            assert seen == {b"1", b"3", b"4"}


async def test_handled_messages_are_given_up_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, hold, reserve = False, Reserve.hold, tmp_path / "local.reserve"
    monkeypatch.setattr(Reserve, "hold", lambda reserve: not full and hold(reserve))
    with faulty_disk() as disk:
        disk.is_full = lambda: full and reserve.exists()
        async with a_node_on(disk, tmp_path, monkeypatch) as node:
            async with node.bus.stream("rita") as session:
                for number in range(20):
                    await node.bus.settle([node.bus.post(message("rita", number))])
                    session.ack([str(mail.message_id) for mail in await session.receive(10)])
            await node.bus.settle([node.bus.post(message("rita", "waits"))])
            before = (await node.store.journal.size()).segments
            with node.bus.tap(100, EventFilter(types=("system.alert",))) as alerts:
                full = True
                with suppress(StorageFull):
                    await node.bus.settle([node.bus.post(message("rita", "late"))])
                assert "handled messages were given up" in str((await alerts.receive()).data["message"])
            assert (await node.store.journal.size()).segments < before / 2
            full = False
            await sound_again(node)
            async with node.bus.stream("rita") as session:
                assert (await session.receive(10))[0].content == b'"waits"'
