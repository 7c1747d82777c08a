"""Whether the files in a data folder are what the last process left there.

SQLite by itself takes a missing or empty file for a new database, deletes a WAL that lies beside an empty one, and does
not miss a WAL that somebody has deleted. Here each of these is an error: a server never starts empty in silence.

What a start looks at, and what it costs:

    always              the files (`look`); a file shorter than it says is found by SQLite itself
    unclean stop        every page (`check_pages`): about a second per GB
    segments, modules   a checksum, whenever one is read
"""

from pathlib import Path

import apsw
import attrs

from caxton.store.faults import fault

# after a first start these lie beside a database
WITNESSES = ("local.reserve", "modules/*/*.wasm")


@attrs.frozen
class Found:
    """What lay there before anything was opened."""

    path: Path
    has_wal: bool

    def check_wal(self) -> None:
        """Raise StoreError if the WAL of an unclean stop has gone: a process that runs always has one."""
        if not self.has_wal:
            raise fault(
                "damaged",
                self.path,
                f"the process before this one did not close it, and {self.path.name}-wal, which holds the last "
                "changes, is missing; put that file back. If another program (sqlite3) has opened and closed the "
                f"database since, nothing is lost: make an empty file of that name (touch {self.path}-wal)",
            )

    def restore(self) -> None:
        """Undo what opening has done, so that the next start finds the same."""
        if not self.has_wal and _size(_wal(self.path)) == 0:
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)


def look(path: Path) -> Found:
    """Raise StoreError if the database *path* is missing or empty and should not be."""
    wal = _wal(path)
    if _size(path) == 0:
        what = "is missing" if not path.exists() else "is empty"
        if _size(wal):
            raise fault("damaged", path, f"it {what}, and beside it lies {wal.name} with changes to it")
        for pattern in WITNESSES:
            if (witness := next(path.parent.glob(pattern), None)) is not None:
                raise fault(
                    "damaged", path, f"it {what}, and {witness.relative_to(path.parent)} shows that there was one"
                )
    return Found(path, wal.exists())


def check_pages(connection: apsw.Connection, path: Path) -> None:
    """Raise StoreError if a page of the database is damaged."""
    finding = connection.pragma("quick_check", 1)
    if finding != "ok":
        raise fault("damaged", path, finding)


def keep_wal(connection: apsw.Connection, keep: bool) -> None:
    """Whether closing leaves the WAL as it is: that of a database that cannot be used is all that is left of it."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(keep))


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
