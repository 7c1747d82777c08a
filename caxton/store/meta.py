"""Who this node is, and how it was left."""

import uuid

import apsw
import attrs

from caxton.store.schema import read_version

NODE_ID = "node_id"
BOOT = "boot"
CLEAN = "clean"  # "1" between an orderly end and the next start

PUT = "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"


@attrs.frozen
class Meta:
    node_id: str  # a UUID, made once per data folder
    boot: int  # how often the store was opened, this time included
    clean_start: bool  # False: the process before this one ended without closing the store


def was_clean(connection: apsw.Connection) -> bool:
    return read_version(connection) == 0 or _get(connection, CLEAN) == "1"


def mark_open(connection: apsw.Connection) -> tuple[str, int]:
    """Note that the store is in use; return the id of this node, and how often it was opened."""
    connection.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO NOTHING", (NODE_ID, str(uuid.uuid4())))
    connection.execute(PUT, (CLEAN, "0"))
    boot = int(_get(connection, BOOT) or 0) + 1
    connection.execute(PUT, (BOOT, str(boot)))
    return str(_get(connection, NODE_ID)), boot


def mark_clean(connection: apsw.Connection) -> None:
    connection.execute(PUT, (CLEAN, "1"))


def _get(connection: apsw.Connection, key: str) -> str | None:
    value: str | None = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).get
    return value
