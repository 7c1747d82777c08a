"""The tables, as the numbered steps that lead to them.

Rule 1: a step that has been released is never edited; a change is a new step at the end.
Rule 2: `PRAGMA user_version` is the number of steps that a database has taken. Each step and its number are one
        transaction.
Rule 3: a database that has taken more steps than there are here belongs to a newer Caxton, and is left alone.

Rows that can be longer than a few hundred bytes have a rowid: without one, each row above 1 KB takes a page of its own.

An *owner* is an agent's name, or `name#2` for its second replica and so on: replicas keep their own state and timers.
"""

from collections.abc import Sequence
from pathlib import Path

import apsw

from caxton.core.errors import StoreError
from caxton.telemetry.failpoints import failpoint

MIGRATIONS = (
    """
    CREATE TABLE meta (
        key   TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE agents (
        name TEXT PRIMARY KEY,
        spec TEXT NOT NULL              -- AgentSpec as JSON
    ) STRICT;

    CREATE TABLE state (
        owner TEXT NOT NULL,
        key   BLOB NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (owner, key)
    ) STRICT;

    CREATE TABLE timers (
        owner    TEXT    NOT NULL,
        timer_id INTEGER NOT NULL,
        due_us   INTEGER NOT NULL,      -- microseconds since the epoch
        PRIMARY KEY (owner, timer_id)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE lifecycle (
        agent       TEXT    NOT NULL,
        number      INTEGER NOT NULL,   -- 1, 2, 3, ... per agent
        incarnation INTEGER NOT NULL,
        state       TEXT    NOT NULL,
        reason      TEXT    NOT NULL,
        at          REAL    NOT NULL,   -- seconds since the epoch
        PRIMARY KEY (agent, number)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE segments (
        id            INTEGER PRIMARY KEY,  -- 1, 2, 3, ...
        at_us         INTEGER NOT NULL,     -- microseconds since the epoch
        messages      INTEGER NOT NULL,
        settled_below INTEGER NOT NULL,     -- segments with a smaller id held no live delivery any more
        bytes         INTEGER NOT NULL,     -- of records
        crc           INTEGER NOT NULL,     -- CRC-32 of records
        ends_at       INTEGER NOT NULL,     -- bytes of all segments ever, up to the end of this one
        records       BLOB    NOT NULL      -- the last column: what comes before it is read without it
    ) STRICT;

    CREATE TABLE dead_letters (
        id         INTEGER PRIMARY KEY AUTOINCREMENT,
        message_id TEXT    NOT NULL,
        agent      TEXT    NOT NULL,        -- who should have had it
        sender     TEXT    NOT NULL,
        reason     INTEGER NOT NULL,
        attempts   INTEGER NOT NULL,
        detail     TEXT    NOT NULL,
        at_us      INTEGER NOT NULL,
        frame      BLOB    NOT NULL         -- the message
    ) STRICT;
    CREATE INDEX dead_letters_by_agent ON dead_letters (agent);
    CREATE INDEX dead_letters_by_reason ON dead_letters (reason);
    CREATE INDEX dead_letters_by_time ON dead_letters (at_us);
    """,
    """
    CREATE TABLE tasks (
        id         TEXT    PRIMARY KEY,
        created_at REAL    NOT NULL,        -- seconds since the epoch
        status     TEXT    NOT NULL,
        is_open    INTEGER NOT NULL,        -- 0: it is over
        record     BLOB    NOT NULL         -- Task as JSON
    ) STRICT;
    CREATE INDEX tasks_by_time ON tasks (created_at);
    """,
    """
    CREATE TABLE platforms (                -- other agent platforms that showed where they answer
        name TEXT PRIMARY KEY,
        url  TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE signing_keys (             -- Ed25519, 32 bytes each
        agent   TEXT PRIMARY KEY,
        public  BLOB NOT NULL,
        private BLOB                        -- NULL: its owner has it
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE conversations (            -- durable ones that have not ended
        id  TEXT PRIMARY KEY,
        row BLOB NOT NULL                   -- as core/conversations.py lays it out
    ) STRICT;
    """,
    """
    CREATE TABLE directory (
        kind         TEXT NOT NULL,         -- registered, operator, subscription, gone
        name         TEXT NOT NULL,         -- the agent
        conversation TEXT NOT NULL,         -- of a subscription
        body         BLOB NOT NULL,         -- JSON
        PRIMARY KEY (kind, name, conversation)
    ) STRICT;
    """,
    """
    CREATE TABLE config_versions (
        version INTEGER PRIMARY KEY,
        at      REAL    NOT NULL,           -- seconds since the epoch
        who     TEXT    NOT NULL,
        action  TEXT    NOT NULL,
        changes TEXT    NOT NULL,           -- JSON: key, agent, before, after
        state   TEXT    NOT NULL            -- JSON: what holds of all changes up to this one
    ) STRICT;
    """,
    """
    CREATE TABLE webhook_deliveries (
        id       INTEGER PRIMARY KEY AUTOINCREMENT,
        endpoint TEXT    NOT NULL,          -- core/webhooks.py, endpoint_ids
        delivery TEXT    NOT NULL,          -- what receivers know it by
        event    TEXT    NOT NULL,
        at       REAL    NOT NULL,          -- seconds since the epoch, as next_at and gave_up
        attempts INTEGER NOT NULL,
        next_at  REAL    NOT NULL,
        gave_up  REAL,                      -- NULL: it waits
        reason   TEXT    NOT NULL,          -- of the last attempt
        body     BLOB    NOT NULL
    ) STRICT;
    CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (endpoint, gave_up, id);
    """,
)


def check_version(connection: apsw.Connection, path: Path) -> None:
    """Raise StoreError if a newer Caxton has used the database."""
    version = read_version(connection)
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path} has schema version {version}, written by a newer Caxton; this one knows {len(MIGRATIONS)} at most",
            hint="start the newer Caxton again, or set another CAXTON_DATA_DIR",
            details={"found": version, "known": len(MIGRATIONS), "path": str(path)},
        )


def migrate(connection: apsw.Connection, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Take the steps that are missing."""
    version = read_version(connection)
    for number, step in enumerate(migrations[version:], version + 1):
        with connection:
            connection.execute(step)
            failpoint("migration-middle")
            connection.pragma("user_version", number)


def read_version(connection: apsw.Connection) -> int:
    version: int = connection.pragma("user_version")
    return version
