"""Upgrades, and the databases that cannot be used."""

from pathlib import Path

import apsw
import pytest

from caxton.core.errors import StoreError
from caxton.store import open_store
from caxton.store.database import connect
from caxton.store.schema import MIGRATIONS, migrate, read_version
from tests.store.specs import make_spec

NEXT = "CREATE TABLE later (id INTEGER PRIMARY KEY) STRICT"


def tables(connection: apsw.Connection) -> list[str]:
    return [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql NOT NULL ORDER BY name")]


def database_of_version(path: Path, version: int) -> apsw.Connection:
    connection = connect(path)
    migrate(connection, MIGRATIONS[:version])
    return connection


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
def test_every_older_version_is_upgraded_to_the_same_tables(tmp_path: Path, version: int) -> None:
    old = database_of_version(tmp_path / "old.db", version)
    new = database_of_version(tmp_path / "new.db", len(MIGRATIONS))
    migrate(old)
    assert tables(old) == tables(new)
    assert read_version(old) == len(MIGRATIONS)
    old.close()
    new.close()


def test_an_upgrade_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    connection = database_of_version(path, len(MIGRATIONS))
    for _ in range(2):
        migrate(connection, [*MIGRATIONS, NEXT])
    assert NEXT in tables(connection)
    connection.close()


def test_a_step_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    connection = database_of_version(path, len(MIGRATIONS))
    before = tables(connection)
    with pytest.raises(apsw.SQLError):
        migrate(connection, [*MIGRATIONS, NEXT + "; CREATE TABLE wrong ("])
    assert tables(connection) == before
    assert read_version(connection) == len(MIGRATIONS)
    connection.close()


async def test_a_database_of_a_newer_caxton_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "local.db"
    connection = connect(path)
    migrate(connection, [*MIGRATIONS, NEXT])
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="written by a newer Caxton") as caught:
        async with open_store(tmp_path):
            pass
    assert caught.value.details["found"] == len(MIGRATIONS) + 1
    assert path.read_bytes() == before


async def test_an_unclean_stop_is_noticed(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        assert store.meta.clean_start
        await store.agents.put(make_spec("kept"))
        with pytest.raises(ZeroDivisionError):  # an orderly end all the same
            async with open_store(tmp_path / "other"):
                _ = 1 / 0
    async with open_store(tmp_path / "other") as store:
        assert store.meta.clean_start
