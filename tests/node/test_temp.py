"""Keys of `resources.disk`: where unfinished files are, how large they may be, and that nobody's files go."""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trio

from caxton._fast.wasm.module import wat2wasm
from caxton.core.errors import InvalidConfig, StorageFull
from caxton.node import Node, open_node
from caxton.testing import open_stage, virtual_time
from tests._fast.components import Guest, text
from tests.api.serving import Served, code_of, open_server
from tests.core.wasm_guests import agent
from tests.node.opened import config, config_of, deploy, open_a_node
from tests.node.wat import guest

LARGE = agent(fields=f'(data (i32.const 0) "{"x" * 60_000}")')  # 60 KB; what it is compiled to is more


async def upload(server: Served[Node], name: str, wasm: bytes) -> httpx.Response:
    body = {"wasm_module": base64.b64encode(wasm).decode(), "config": {"name": name}}
    return await server.http.post("/api/v1/agents", json=body)


def in_modules(folder: Path) -> list[str]:
    return sorted(path.name.partition(".")[2] for path in folder.glob("modules/*/*"))


async def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    async with (
        open_a_node(tmp_path, "resources.disk.max_temp_size=50KB") as node,
        open_server(node=node) as server,
    ):
        refused = await upload(server, "a", LARGE)
        assert code_of(refused) == (507, "STORAGE_FULL")
        error = refused.json()["error"]
        assert "a module needs 58KB for a while, 0B are in use, and resources.disk.max_temp_size is 50KB" in str(error)
        assert "wasm" not in in_modules(tmp_path)
        assert node.agents.list(None, 10, 0)[1] == 0
        refused = await server.http.post("/api/v1/backups", json={})
        assert code_of(refused) == (507, "STORAGE_FULL")
        await node.settings.set({"resources.disk.max_temp_size": "20MB"}, who="a test")
        assert (await upload(server, "a", LARGE)).status_code == 201
        assert (await server.http.post("/api/v1/backups", json={})).status_code == 201
        assert node.store.temp.used == 0


async def test_a_component_whose_code_does_not_fit_is_refused_and_a_module_compiled_again(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "resources.disk.max_temp_size=5KB") as node:
        with pytest.raises(StorageFull, match="what a module is compiled to needs"):
            await deploy(node, "a", wat2wasm(text(Guest(data={0: "of this test alone"}))))
        await deploy(node, "b")
        assert in_modules(tmp_path).count("wasm") == 1


async def test_the_copy_of_a_backup_is_in_the_folder_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caxton.store.backup.SLICE", 1e-9)
    monkeypatch.setattr("caxton.store.backup.STEP_PAGES", 1)
    temp = tmp_path / "elsewhere" / "temp"
    async with (
        open_a_node(tmp_path / "data", f"resources.disk.temp_dir={temp}") as node,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(node.backups.create)
        while not list(temp.glob(f"server-{os.getpid()}-*/*/local.db")):
            await trio.lowlevel.checkpoint()
        assert temp.stat().st_mode & 0o777 == 0o700
    assert list(temp.iterdir()) == []
    assert not (tmp_path / "data" / "temp").exists()


async def test_a_folder_that_is_not_ours_keeps_it_from_starting(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(InvalidConfig, match="is a symbolic link"):
        async with open_a_node(tmp_path / "data", f"resources.disk.temp_dir={tmp_path}/link"):
            pass


@virtual_time
async def test_modules_that_nobody_has_go_in_time() -> None:
    async with open_stage("resources.disk.cleanup_interval=10m") as stage:
        folder = stage.node.store.data_dir
        await stage.wasm("stays", guest("quiet"))
        await stage.wasm("goes", guest("talker"))
        await stage.node.agents.delete("goes")
        await stage.passes(590)
        assert len(in_modules(folder)) == 4
        await stage.passes(20)
        assert [path.name[:64] for path in folder.glob("modules/*/*.wasm")] == [stage.node.agents.get("stays").module]
        assert len(in_modules(folder)) == 2
        await stage.node.settings.set({"resources.disk.cleanup_interval": "0s"}, who="a test")
        await stage.node.agents.delete("stays")
        await stage.passes(3600)
        assert len(in_modules(folder)) == 2
        await stage.node.settings.set({"resources.disk.cleanup_interval": "1s"}, who="a test")
        await stage.passes(2)
        assert in_modules(folder) == []


async def test_not_those_of_an_agent_that_is_on_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", guest("talker"))
        await node.agents.delete("a")
        put = node.store.agents.put

        async def put_later(spec: object) -> None:
            await node.cleanup.clean()
            await put(spec)  # type: ignore[arg-type]

        monkeypatch.setattr(type(node.store.agents), "put", lambda _, spec: put_later(spec))
        await node.agents.deploy(guest("talker"), config("a"))
        assert in_modules(tmp_path)[-1] == "wasm"
        monkeypatch.undo()
        await node.agents.update("a", guest("quiet"), None)
        await node.cleanup.clean()
        assert len(in_modules(tmp_path)) == 2
    async with open_a_node(tmp_path) as node:
        assert node.agents.get("a").status == "running"


async def test_nor_while_a_backup_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", guest("talker"))
        copy = type(node.backups)._copy_database

        async def delete_then(room: object, target: Path) -> None:
            await copy(node.backups, target)
            await node.agents.delete("a")
            await node.cleanup.clean()

        monkeypatch.setattr(type(node.backups), "_copy_database", delete_then)
        await node.backups.create("one")
        await node.cleanup.clean()
        assert in_modules(tmp_path) == []


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", folder]
    may = sys.platform == "linux" and os.geteuid() == 0
    if not may or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


async def test_a_full_disk_of_modules(tmp_path: Path) -> None:
    with small_disk(tmp_path / "modules", "1m"):
        # without what other tests have compiled, which may be more
        async with open_node(config_of(tmp_path)) as node, open_server(node=node) as server:
            free = os.statvfs(tmp_path / "modules").f_bavail * os.statvfs(tmp_path / "modules").f_bsize
            (tmp_path / "modules" / "filler").write_bytes(bytes(free - (8 << 10)))
            refused = await upload(server, "a", LARGE)
            assert code_of(refused) == (507, "STORAGE_FULL")
            assert "there is no room left on the disk" in refused.json()["error"]["message"]
            refused = await upload(server, "b", wat2wasm(text(Guest(data={0: "of this test alone"}))))
            assert code_of(refused) == (507, "STORAGE_FULL")
            assert node.agents.list(None, 10, 0)[1] == 0
            (tmp_path / "modules" / "filler").unlink()
            assert (await upload(server, "a", LARGE)).status_code == 201
            assert node.store.fault is None


async def test_a_full_disk_of_temporary_files(tmp_path: Path) -> None:
    with small_disk(tmp_path / "temp", "16k"):
        async with open_a_node(tmp_path) as node, open_server(node=node) as server:
            refused = await server.http.post("/api/v1/backups", json={})
            assert code_of(refused) == (507, "STORAGE_FULL")
            assert "there while it is made" in refused.json()["error"]["message"]
            assert node.store.temp.used == 0
            assert (await upload(server, "a", LARGE)).status_code == 201
