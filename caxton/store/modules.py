"""The agents' code: files named by the SHA-256 of what they hold.

    modules/ab/ab12….wasm                       as it was deployed
    modules/ab/ab12….<engine fingerprint>.cwasm  as it was compiled; runtime/modules.py writes and reads these

Rule 1: nothing leaves here unverified: a damaged module is an error.
Rule 2: a file that exists is whole (`files.write_file`). Putting a module again mends a damaged file.
Rule 3: a module that no agent has is removed in time, with what was compiled of it; who is about to use one holds it.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

import trio

from caxton.store.faults import explain, fault
from caxton.store.files import write_file

T = TypeVar("T")
Reserve = Callable[[int, str], AbstractContextManager[None]]

SHA256 = re.compile(r"[0-9a-f]{64}")


class ModuleRoom:
    def __init__(self, folder: Path, reserve: Reserve = lambda size, what: nullcontext()) -> None:
        self.folder = folder
        self._reserve = reserve  # room on the disk, of what is written beside its place first
        self._held: Counter[str] = Counter()

    def path(self, sha: str) -> Path:
        assert SHA256.fullmatch(sha), f"not a SHA-256 in hex: {sha!r}"
        return self.folder / sha[:2] / f"{sha}.wasm"

    async def put(self, wasm: bytes) -> str:
        """Keep the module; return its name."""
        return await self._use(self.folder, lambda: self._put(wasm))

    async def get(self, sha: str) -> bytes:
        path = self.path(sha)
        wasm = await self._use(path, lambda: _read(path))
        if wasm is None:
            raise fault("damaged", path, "the file is missing; deploying the module again puts it back")
        found = hashlib.sha256(wasm).hexdigest()
        if found != sha:
            raise fault("damaged", path, f"its SHA-256 is {found}; deploying the module again mends it")
        return wasm

    @contextmanager
    def hold(self, *shas: str) -> Iterator[None]:
        """They are not removed during the block, though no agent has them yet, or any more."""
        self._held.update(shas)
        try:
            yield
        finally:
            self._held.subtract(shas)

    async def prune(self, is_used: Callable[[str], bool]) -> int:
        """Remove every file of modules that nobody uses or holds; return how many.

        *is_used* is asked in the moment before each is removed, and by the thread of Trio.
        """
        removed = 0
        for path in await self._use(self.folder, lambda: sorted(self.folder.glob("??/[!.]*"))):
            sha = path.name.partition(".")[0]
            if not self._held[sha] and not is_used(sha):
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise explain(error, path) from error
                removed += 1
                await trio.lowlevel.checkpoint()
        return removed

    def _put(self, wasm: bytes) -> str:
        sha = hashlib.sha256(wasm).hexdigest()
        path = self.path(sha)
        if _read(path) != wasm:
            with self._reserve(len(wasm), "a module"):
                write_file(path, wasm)
        return sha

    async def _use(self, path: Path, work: Callable[[], T]) -> T:
        try:
            return await trio.to_thread.run_sync(work)
        except OSError as error:
            raise explain(error, path) from error


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
