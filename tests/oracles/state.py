"""What an agent's state is, in dicts: the specification of `caxton/_fast/state`.

Rule 1: `changes` is exactly what differs from `base`, in the order it came to differ; None means deleted.
Rule 2: the quota counts what the turn sees. A write that makes it no larger always passes; `restore` is not asked.
"""

MAX_KEY = 256

OK = 0
NOT_FOUND = -1
KEY = -2
QUOTA = -3


class State:
    def __init__(self, quota: int) -> None:
        self.quota = quota
        self.base: dict[bytes, bytes] = {}
        self.changes: dict[bytes, bytes | None] = {}

    def seen(self) -> dict[bytes, bytes]:
        return {key: value for key, value in {**self.base, **self.changes}.items() if value is not None}

    @property
    def size(self) -> int:
        return _size(self.seen())

    def restore(self, key: bytes, value: bytes) -> int:
        if not 0 < len(key) <= MAX_KEY:
            return KEY
        self.changes.pop(key, None)
        self.base[key] = value
        return OK

    def store(self, key: bytes, value: bytes) -> int:
        if not 0 < len(key) <= MAX_KEY:
            return KEY
        size = _size({**self.seen(), key: value})
        if size > self.quota and size > self.size:
            return QUOTA
        if self.base.get(key) == value:
            self.changes.pop(key, None)
        else:
            self.changes[key] = value
        return OK

    def load(self, key: bytes) -> bytes | None:
        return self.seen().get(key)

    def delete(self, key: bytes) -> int:
        if not 0 < len(key) <= MAX_KEY:
            return KEY
        if key not in self.seen():
            return NOT_FOUND
        if key in self.base:
            self.changes[key] = None
        else:
            del self.changes[key]
        return OK

    def commit(self) -> list[tuple[bytes, bytes | None]]:
        changes = list(self.changes.items())
        self.base = self.seen()
        self.changes = {}
        return changes

    def rollback(self) -> None:
        self.changes = {}


def _size(pairs: dict[bytes, bytes]) -> int:
    return sum(len(key) + len(value) for key, value in pairs.items())
