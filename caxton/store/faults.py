"""What SQLite and the operating system refuse, said so that an operator can act.

`details["cause"]` is what programs read: `disk_full`, `io_error` and `slow` pass when the disk recovers (the server
keeps running and tries again with the next write); `damaged`, `locked` and `not_writable` need a person.
"""

import errno
from pathlib import Path

import apsw

from caxton.core.errors import StoreError

# cause: (what happened to "{path}", how to fix it)
CAUSES = {
    "disk_full": (
        "there is no room left on the disk of {path}",
        "free some space; a server that is running goes on by itself as soon as there is room",
    ),
    "io_error": (
        "the disk of {path} failed",
        "look for disk errors in the system's log; a server that is running tries again with the next write",
    ),
    "slow": (
        "the disk of {path} does not answer",
        "look for what else uses the disk, or for errors in the system's log; a server that is running waits",
    ),
    "damaged": (
        "{path} is damaged",
        "with the server stopped, put back a backup (`caxton backup restore FILE --force` keeps what is there aside); "
        "without one, move the data folder away and begin anew",
    ),
    "locked": ("another program holds a lock on {path}", "close the program that has the file open, then try again"),
    "not_writable": (
        "{path} cannot be written",
        "check the owner and the mode of the data folder and that its disk is not mounted read-only, "
        "or set another CAXTON_DATA_DIR",
    ),
    "not_a_folder": (
        "{path} cannot be a folder",
        "something that is not a folder has this name, or the name of a folder above it: "
        "move it away, or set another CAXTON_DATA_DIR",
    ),
    "refused": ("{path} cannot be used", ""),
}

SQLITE_CAUSES: dict[type[apsw.Error], str] = {
    apsw.FullError: "disk_full",
    apsw.IOError: "io_error",
    apsw.CorruptError: "damaged",
    apsw.NotADBError: "damaged",
    apsw.BusyError: "locked",
    apsw.LockedError: "locked",
    apsw.ReadOnlyError: "not_writable",
    apsw.PermissionsError: "not_writable",
    apsw.CantOpenError: "not_writable",
}

ERRNO_CAUSES = {
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EIO: "io_error",
    errno.EACCES: "not_writable",
    errno.EPERM: "not_writable",
    errno.EROFS: "not_writable",
    errno.EEXIST: "not_a_folder",
    errno.ENOTDIR: "not_a_folder",
}


def explain(error: apsw.Error | OSError, path: Path, system_errno: int = 0) -> StoreError:
    """The StoreError to raise instead of *error*, which happened while *path* was used."""
    reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    return fault(cause_of(error, system_errno), path, reason)


def cause_of(error: apsw.Error | OSError, system_errno: int = 0) -> str:
    """*system_errno* is what the system told SQLite, whose I/O errors may be those of a full disk."""
    if isinstance(error, OSError):
        return ERRNO_CAUSES.get(error.errno or 0, "refused")
    if isinstance(error, apsw.IOError) and ERRNO_CAUSES.get(system_errno) == "disk_full":
        return "disk_full"
    return SQLITE_CAUSES.get(type(error), "refused")


def fault(cause: str, path: Path, reason: str) -> StoreError:
    what, hint = CAUSES[cause]
    return StoreError(
        f"{what.format(path=path)}: {reason}", hint=hint, details={"cause": cause, "path": str(path), "reason": reason}
    )
