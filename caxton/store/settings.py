"""What was changed while the server ran: every change as a version, who made it, and what holds because of it.

A row is never edited. The newest one says what holds; the older ones are there to be read, and to be gone back to.
"""

import apsw
import attrs
import msgspec

from caxton.store.database import Database

KEPT = 1000  # versions

INSERT = "INSERT INTO config_versions (version, at, who, action, changes, state) VALUES (?, ?, ?, ?, ?, ?)"
TRIM = "DELETE FROM config_versions WHERE version <= (SELECT max(version) FROM config_versions) - ?"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One key before and after, as people write it; of an agent, or (agent "") of the server."""

    key: str
    agent: str = ""
    before: object = None
    after: object = None


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A value that was given while the server ran, and since which version."""

    value: object
    version: int


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the configuration. *state* is what holds of all changes up to it, by key."""

    version: int = 0  # 0: not written yet
    at: float = 0.0  # seconds since the epoch
    who: str = ""
    action: str = ""  # set, rollback or reload
    changes: tuple[Change, ...] = ()
    state: dict[str, Held] = {}


_changes = msgspec.json.Decoder(tuple[Change, ...])
_state = msgspec.json.Decoder(dict[str, Held])


@attrs.frozen(eq=False)
class SettingsRoom:
    _database: Database

    async def newest(self) -> Version | None:
        found = await self.list(1)
        return found[0] if found else None

    async def list(self, limit: int) -> list[Version]:
        """The newest first."""

        def query(connection: apsw.Connection) -> list[Version]:
            rows = connection.execute(
                "SELECT version, at, who, action, changes, state FROM config_versions ORDER BY version DESC LIMIT ?",
                (limit,),
            )
            return [
                Version(
                    version=version,
                    at=at,
                    who=who,
                    action=action,
                    changes=_changes.decode(changes),
                    state=_state.decode(state),
                )
                for version, at, who, action, changes, state in rows
            ]

        return await self._database.read(query)

    async def add(self, version: Version) -> None:
        """Keep it; the number is the caller's, one above the newest."""
        await self._database.write(lambda connection: write_version(connection, version))


def write_version(connection: apsw.Connection, version: Version) -> None:
    """Part of a transaction that somebody else has opened."""
    values = (version.version, version.at, version.who, version.action)
    encoded = (msgspec.json.encode(version.changes).decode(), msgspec.json.encode(version.state).decode())
    connection.execute(INSERT, values + encoded)
    connection.execute(TRIM, (KEPT,))
