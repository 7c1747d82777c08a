"""Backups: of a running store, of a folder at rest; each whole or not there; and what a restore may and may not do."""

import json
import os
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import apsw
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from caxton.core.errors import DataDirLocked, InvalidRequest, InvalidTransition, NotFound, StoreError
from caxton.store import Store, open_store
from caxton.store.backup import back_up_folder, restore_backup, verify_backup
from caxton.store.journal import write_segment
from caxton.store.schema import MIGRATIONS, migrate
from tests.store.specs import make_spec

WASM = b"\0asm\1\0\0\0"


async def fill(store: Store) -> None:
    sha = await store.modules.put(WASM)
    await store.modules.put(b"nobody's")
    await store.agents.put(make_spec("worker", module=sha))
    await store.agents.put(make_spec("outside", kind="attached", module=""))
    for number in range(1, 4):
        await store.write(lambda c: write_segment(c, number, 0, 5, 0, b"message" * 10_000))  # noqa: B023 (it is awaited)
    await store.state.apply("worker", [(b"k", b"before")])


async def make_backup(folder: Path) -> Path:
    async with open_store(folder) as store:
        await fill(store)
        return store.backups.find((await store.backups.create("one")).name)


async def check_filled(folder: Path) -> None:
    async with open_store(folder) as store:
        assert store.meta.clean_start
        assert await store.modules.get((await store.agents.get("worker")).module) == WASM
        assert (await store.agents.get("outside")).kind == "attached"
        assert [found.id for found in await store.journal.read_from(1)] == [1, 2, 3]
        assert await store.state.load("worker") == {b"k": b"before"}


async def test_what_is_restored_is_what_was_there(tmp_path: Path) -> None:
    backup = await make_backup(tmp_path / "old")
    manifest = await verify_backup(backup)
    assert (manifest.facts.agents, manifest.facts.segments, manifest.facts.dead_letters) == (2, 3, 0)
    assert len(manifest.members) == 2  # the module that nobody has stays behind
    restored, aside = await restore_backup(backup, tmp_path / "new")
    assert (restored, aside) == (manifest, None)
    await check_filled(tmp_path / "new")
    async with open_store(tmp_path / "old") as old, open_store(tmp_path / "new") as new:
        assert old.meta.node_id == new.meta.node_id == manifest.facts.node_id


async def test_a_backup_of_a_busy_store_is_one_moment_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is copied, two keys are written together again and again: the copy has both of one turn."""
    monkeypatch.setattr("caxton.store.backup.SLICE", 0.0)
    monkeypatch.setattr("caxton.store.backup.STEP_PAGES", 4)
    written = 0

    async def write_on(store: Store) -> None:
        nonlocal written
        while True:
            written += 1
            value = b"%d" % written
            await store.state.apply_many([("a", [(b"k", value)]), ("z", [(b"k", value), (value, bytes(2000))])])

    async with open_store(tmp_path / "old") as store:
        await fill(store)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_on, store)
            while written < 10:
                await trio.testing.wait_all_tasks_blocked()
            before = written
            path = store.backups.find((await store.backups.create()).name)
            assert written > before + 10  # it held nobody up
            nursery.cancel_scope.cancel()
    await restore_backup(path, tmp_path / "new")
    async with open_store(tmp_path / "new") as store:
        a, z = await store.state.load("a"), await store.state.load("z")
        assert int(a[b"k"]) >= before - 1
        assert a[b"k"] == z[b"k"]
        assert len(z) == int(a[b"k"]) + 1
        assert await store.read(lambda connection: connection.pragma("integrity_check")) == "ok"


async def test_a_folder_at_rest_is_backed_up_and_not_changed(tmp_path: Path) -> None:
    await make_backup(tmp_path / "old")
    before = {path: path.read_bytes() for path in (tmp_path / "old").iterdir() if path.is_file()}
    manifest = await back_up_folder(tmp_path / "old", tmp_path / "there" / "file")
    assert {path: path.read_bytes() for path in (tmp_path / "old").iterdir() if path.is_file()} == before
    assert os.listdir(tmp_path / "there") == ["file"]
    assert await verify_backup(tmp_path / "there" / "file") == manifest
    await restore_backup(tmp_path / "there" / "file", tmp_path / "new")
    await check_filled(tmp_path / "new")


async def test_a_folder_of_an_older_caxton_can_be_backed_up_before_the_upgrade(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    connection = apsw.Connection(str(tmp_path / "old" / "local.db"))
    migrate(connection, MIGRATIONS[:1])
    connection.execute("INSERT INTO meta VALUES ('clean', '1')")
    connection.close()
    manifest = await back_up_folder(tmp_path / "old", tmp_path / "file")
    assert manifest.facts.schema == 1
    assert await verify_backup(tmp_path / "file") == manifest


async def test_a_folder_in_use_is_not_copied_behind_its_servers_back(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_store(tmp_path / "old"):
        with pytest.raises(DataDirLocked):
            await back_up_folder(tmp_path / "old", tmp_path / "file")


@pytest.mark.parametrize("made", [False, True])
async def test_nothing_is_not_backed_up(tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "old").mkdir()
    with pytest.raises(NotFound):
        await back_up_folder(tmp_path / "old", tmp_path / "file")
    assert not (tmp_path / "file").exists()


async def test_a_restore_does_not_touch_a_folder_in_use(tmp_path: Path, autojump_clock: MockClock) -> None:
    backup = await make_backup(tmp_path / "old")
    async with open_store(tmp_path / "new") as store:
        with pytest.raises(DataDirLocked):
            await restore_backup(backup, tmp_path / "new", force=True)
        await store.state.apply("a", [(b"k", b"v")])


async def test_what_is_there_is_replaced_by_force_only_and_kept(tmp_path: Path) -> None:
    backup = await make_backup(tmp_path / "old")
    async with open_store(tmp_path / "new") as store:
        await store.agents.put(make_spec("precious"))
        await store.modules.put(b"precious")
    with pytest.raises(InvalidTransition, match=r"has local\.db, local\.reserve, modules already") as caught:
        await restore_backup(backup, tmp_path / "new")
    assert "--force" in caught.value.hint
    async with open_store(tmp_path / "new") as store:
        assert [spec.name for spec in await store.agents.list()] == ["precious"]

    _, aside = await restore_backup(backup, tmp_path / "new", force=True)
    await check_filled(tmp_path / "new")
    assert aside is not None
    assert aside.parent == tmp_path / "new"
    async with open_store(aside) as store:
        assert [spec.name for spec in await store.agents.list()] == ["precious"]


async def test_a_restore_that_is_cut_off_starts_no_server_and_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = await make_backup(tmp_path / "old")
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if path.name == "local.db" and path.parent.name.startswith(".backup-"):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(StoreError, match="Input/output error"):
        await restore_backup(backup, tmp_path / "old", force=True)
    with pytest.raises(StoreError, match="shows that there was one"):
        async with open_store(tmp_path / "old"):
            pass
    monkeypatch.setattr(Path, "rename", rename)
    await restore_backup(backup, tmp_path / "old", force=True)
    await check_filled(tmp_path / "old")


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def cut_manifest(data: bytes) -> bytes:
    return data[: data.index(b"manifest.json")]


def flip_a_bit(data: bytes) -> bytes:
    at = data.index(b"messagemessage") + 20_000
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def nothing(_: bytes) -> bytes:
    return b""


def diary(_: bytes) -> bytes:
    return b"my diary " * 10_000


@pytest.mark.parametrize("damage", [cut, cut_manifest, flip_a_bit, nothing, diary])
async def test_a_damaged_backup_is_refused_and_changes_nothing(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    backup = await make_backup(tmp_path / "old")
    backup.write_bytes(damage(backup.read_bytes()))
    (tmp_path / "new").mkdir()
    for attempt in (verify_backup(backup), restore_backup(backup, tmp_path / "new")):
        with pytest.raises(StoreError, match="is no sound backup: ") as caught:
            await attempt
        assert "use another backup" in caught.value.hint
    assert os.listdir(tmp_path / "new") == ["caxton.lock"]
    assert os.listdir(backup.parent) == [backup.name]


# Any: JSON
def rewrite(path: Path, change: Callable[[dict[str, bytes], dict], None]) -> None:  # type: ignore[type-arg]
    """Make the backup anew, with members and manifest as *change* leaves them."""
    with tarfile.open(path) as tar:
        members = {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]  # files only
    manifest = json.loads(members.pop("manifest.json"))
    change(members, manifest)
    with tarfile.open(path, "w") as tar:
        for name, data in {**members, "manifest.json": json.dumps(manifest).encode()}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, BytesIO(data))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda members, _: members.update({"../evil": b"x"}), "does not belong there"),
        (lambda members, _: members.update({"modules/ab/../../../evil.wasm": b"x"}), "does not belong there"),
        (lambda members, _: members.pop("local.db"), r"local\.db is not what the manifest says"),
        (lambda members, _: members.update({f"modules/00/{'0' * 64}.wasm": b"x"}), "is not what the manifest says"),
        (lambda _, manifest: manifest.update(format=9), "its format is 9"),
        (lambda _, manifest: manifest.pop("facts"), "facts"),
        (lambda _, manifest: manifest["facts"].update(agents=7), "not the one that its manifest describes"),
        (
            lambda members, manifest: (
                [members.pop(name) for name in list(members) if name != "local.db"],
                manifest.update(members=[m for m in manifest["members"] if m["name"] == "local.db"]),
            ),
            "is missing, which an agent needs",
        ),
    ],
)
async def test_a_backup_that_lies_is_refused(
    tmp_path: Path,
    change: Callable[[dict[str, bytes], dict], None],
    said: str,  # type: ignore[type-arg]
) -> None:
    backup = await make_backup(tmp_path / "old")
    rewrite(backup, change)
    with pytest.raises(StoreError, match=said):
        await restore_backup(backup, tmp_path / "new")
    assert os.listdir(tmp_path / "new") == ["caxton.lock"]


async def test_links_in_a_backup_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "file", "w") as tar:
        info = tarfile.TarInfo("local.db")
        info.type = tarfile.SYMTYPE
        info.linkname = "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(StoreError, match="does not belong there"):
        await verify_backup(tmp_path / "file")


async def test_backups_are_listed_and_removed(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        assert await store.backups.list() == []
        for name in ("b", "a"):
            await store.backups.create(name)
        os.utime(tmp_path / "backups" / "b", (1, 1))
        assert [backup.name for backup in await store.backups.list()] == ["b", "a"]
        with pytest.raises(InvalidTransition, match="there is a backup named a"):
            await store.backups.create("a")
        await store.backups.delete("a")
        with pytest.raises(NotFound, match="no backup named a"):
            await store.backups.delete("a")
        assert [backup.name for backup in await store.backups.list()] == ["b"]


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "a b", "x" * 129, "\n"])
async def test_a_name_never_leaves_the_folder(tmp_path: Path, name: str) -> None:
    async with open_store(tmp_path) as store:
        for use in (store.backups.create, store.backups.delete):
            with pytest.raises(InvalidRequest, match="is no name for a backup"):
                await use(name)


def copies(folder: Path) -> list[Path]:
    """Of the database, that backups are being made of."""
    return list(folder.glob("temp/server-*/*/local.db"))


async def test_one_backup_at_a_time_and_a_cancelled_one_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caxton.store.backup.SLICE", 1e-9)
    monkeypatch.setattr("caxton.store.backup.STEP_PAGES", 1)
    async with open_store(tmp_path) as store:
        await fill(store)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.backups.create, "cancelled")
                while not copies(tmp_path):
                    await trio.lowlevel.checkpoint()
                with pytest.raises(InvalidTransition, match="a backup is being made"):
                    await store.backups.create("second")
                scope.cancel()
        assert not (tmp_path / "backups").exists()
        assert copies(tmp_path) == []
        await store.backups.create("third")
        (tmp_path / "backups" / ".new-stale").touch()  # as kill -9 leaves it
    async with open_store(tmp_path):
        assert os.listdir(tmp_path / "backups") == ["third"]


async def test_a_backup_that_would_fill_the_disk_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = os.statvfs(tmp_path)
    full = os.statvfs_result([*free[:4], 1, *free[5:]])
    async with open_store(tmp_path) as store:
        monkeypatch.setattr(os, "statvfs", lambda _: full)
        with pytest.raises(StoreError, match="a backup takes up to ") as caught:
            await store.backups.create()
        assert caught.value.details["cause"] == "disk_full"
        assert store.condition == "ok"
        assert not (tmp_path / "backups").exists()
