"""`caxton backup …`, against folders, files and a server that is told what to answer."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from caxton.cli.main import cli
from caxton.store import open_store
from tests.cli.conftest import FakeServer, error
from tests.store.specs import make_spec
from tests.store.test_backup import make_backup

Run = Callable[..., Result]


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line for the data folder tmp_path/data, without a server."""
    monkeypatch.delenv("CAXTON_SERVER", raising=False)
    monkeypatch.setenv("CAXTON_DATA_DIR", str(tmp_path / "data"))
    return lambda *arguments: CliRunner().invoke(cli, list(arguments), prog_name="caxton")


def agents(folder: Path) -> list[str]:
    async def look() -> list[str]:
        async with open_store(folder) as store:
            return [spec.name for spec in await store.agents.list()]

    return trio.run(look)


def test_a_folder_at_rest_goes_into_a_file_and_comes_back(tmp_path: Path, local: Run) -> None:
    trio.run(make_backup, tmp_path / "data")
    file = str(tmp_path / "file")
    made = local("backup", "create", file)
    assert made.exit_code == 0, made.output
    assert f"✓ Backup made: {file}" in made.stdout
    assert "2 agents, 3 segments of messages, 0 dead letters" in made.stdout

    checked = local("backup", "verify", file)
    assert checked.exit_code == 0
    assert f"✓ Backup {file} is sound" in checked.stdout
    assert json.loads(local("backup", "verify", file, "--output", "json").stdout)["agents"] == 2

    refused = local("backup", "restore", file)
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    restored = local("backup", "restore", file, "--force")
    assert restored.exit_code == 0, restored.output
    assert f"✓ Restored to {tmp_path / 'data'}" in restored.stdout
    assert f"  what was there is kept in {tmp_path / 'data' / 'replaced-'}" in restored.stdout
    assert agents(tmp_path / "data") == ["outside", "worker"]


def test_a_restore_says_what_it_did_for_programs(tmp_path: Path, local: Run) -> None:
    file = trio.run(make_backup, tmp_path / "other")
    found = json.loads(local("backup", "restore", str(file), "-o", "json").stdout)
    assert (found["data_dir"], found["replaced"], found["segments"]) == (str(tmp_path / "data"), None, 3)


def test_what_is_wrong_is_said_without_a_traceback(tmp_path: Path, local: Run) -> None:
    file = tmp_path / "file"
    nothing = local("backup", "create", str(file))
    assert nothing.exit_code == 1
    assert "There is no data folder" in nothing.stderr
    file.write_bytes(b"my diary")
    for arguments in (("verify",), ("restore",)):
        found = local("backup", *arguments, str(file))
        assert found.exit_code == 1
        assert "is no sound backup" in found.stderr
    found = local("backup", "create", str(file))
    assert found.exit_code == 1
    assert f"{file} exists" in found.stderr
    found = local("backup", "verify", str(tmp_path / "nowhere"))
    assert found.exit_code == 1
    assert "No such file" in found.stderr
    assert file.read_bytes() == b"my diary"


def test_a_running_server_makes_it_and_keeps_no_copy(tmp_path: Path, api: FakeServer, run: Run) -> None:
    data = trio.run(make_backup, tmp_path / "data").read_bytes()
    api.answers = {
        "POST /api/v1/backups": (201, {"name": "b", "size": len(data)}),
        "GET /api/v1/backups/b": data,
        "DELETE /api/v1/backups/b": {"name": "b", "status": "removed"},
    }
    found = run("backup", "create", str(tmp_path / "file"))
    assert found.exit_code == 0, found.output
    assert (tmp_path / "file").read_bytes() == data
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert [asked.method for asked in api.asked] == ["POST", "GET", "DELETE"]


def test_what_arrives_damaged_is_not_kept(tmp_path: Path, api: FakeServer, run: Run) -> None:
    data = trio.run(make_backup, tmp_path / "data").read_bytes()
    api.answers = {
        "POST /api/v1/backups": (201, {"name": "b", "size": len(data)}),
        "GET /api/v1/backups/b": data[:-12_000],  # a tar ends with up to 10 KiB of nothing
        "DELETE /api/v1/backups/b": {"name": "b", "status": "removed"},
    }
    (tmp_path / "out").mkdir()
    found = run("backup", "create", str(tmp_path / "out" / "file"))
    assert found.exit_code == 1
    assert "is no sound backup" in found.stderr
    assert list((tmp_path / "out").iterdir()) == []
    assert api.asked[-1].method == "DELETE"


def test_a_server_that_cannot_says_why(tmp_path: Path, api: FakeServer, run: Run) -> None:
    api.answers = {"POST /api/v1/backups": (500, error("STORE_ERROR", "the disk is full", "free some space"))}
    found = run("backup", "create", str(tmp_path / "file"))
    assert found.exit_code == 1
    assert "✗ No backup was made: store error\n  why: the disk is full\n  to fix: free some space" in found.stderr


def test_the_server_that_holds_the_folder_is_asked(tmp_path: Path, local: Run, api: FakeServer) -> None:
    data = trio.run(make_backup, tmp_path / "other").read_bytes()
    api.answers = {
        "POST /api/v1/backups": (201, {"name": "b", "size": len(data)}),
        "GET /api/v1/backups/b": data,
        "DELETE /api/v1/backups/b": {"name": "b", "status": "removed"},
    }
    results = []

    async def hold() -> None:
        async with open_store(tmp_path / "data") as store:
            await store.agents.put(make_spec("busy"))
            results.append(await trio.to_thread.run_sync(lambda: local("backup", "create", str(tmp_path / "early"))))
            store.announce(api.url)
            results.append(await trio.to_thread.run_sync(lambda: local("backup", "create", str(tmp_path / "file"))))
            results.append(await trio.to_thread.run_sync(lambda: local("backup", "restore", str(tmp_path / "file"))))

    trio.run(hold)
    early, made, restored = results
    assert early.exit_code == 1
    assert "does not answer yet" in early.stderr
    assert made.exit_code == 0, made.output
    assert (tmp_path / "file").read_bytes() == data
    assert restored.exit_code == 1
    assert "is in use by process" in restored.stderr
    assert agents(tmp_path / "data") == ["busy"]
