"""The agents' code: files named by the SHA-256 of what they hold.

    modules/ab/ab12….wasm                       as it was deployed
    modules/ab/ab12….<engine fingerprint>.cwasm  as it was compiled; runtime/modules.py writes and reads these

Rule 1: nothing leaves here unverified: a damaged module is an error.
Rule 2: a file that exists is whole (`files.write_file`). Putting a module again mends a damaged file.
"""

import hashlib
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

import trio

from caxton.store.faults import explain, fault
from caxton.store.files import write_file

T = TypeVar("T")

SHA256 = re.compile(r"[0-9a-f]{64}")


class ModuleRoom:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

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

    async def prune(self, keep: Collection[str]) -> int:
        """Remove every file of modules that are not in *keep*, and what a crash left half written; return how many.

        Not while a module is being put: it has no agent yet.
        """
        return await self._use(self.folder, lambda: self._prune(keep))

    def _put(self, wasm: bytes) -> str:
        sha = hashlib.sha256(wasm).hexdigest()
        path = self.path(sha)
        if _read(path) != wasm:
            write_file(path, wasm)
        return sha

    def _prune(self, keep: Collection[str]) -> int:
        stale = [path for path in self.folder.glob("??/*") if path.name.partition(".")[0] not in keep]
        for path in stale:
            path.unlink()
        return len(stale)

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
