"""The failpoint inside a checkpoint, which is one call of SQLite: a VFS that passes it at each write to the database.

With a WAL nothing but a checkpoint writes to the database file itself (and the very first transaction, which makes it).
"""

import apsw

from caxton.telemetry.failpoints import armed, failpoint

POINT = "checkpoint-middle"


def failing_vfs() -> str | None:
    """The VFS to use instead of the usual one; None unless its point is armed."""
    if armed != POINT:
        return None
    if POINT not in apsw.vfs_names():
        _vfs.append(_Disk())
    return POINT


class _Disk(apsw.VFS):
    def __init__(self) -> None:
        super().__init__(POINT, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> "_File":
        return _File(name, flags)


class _File(apsw.VFSFile):
    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._is_database = bool(flags[0] & apsw.SQLITE_OPEN_MAIN_DB)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._is_database:
            failpoint(POINT)
        super().xWrite(data, offset)


_vfs: list[_Disk] = []  # registered for as long as it lives
