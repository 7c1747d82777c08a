"""The file that a backup is: a tar with the database, the modules and, last, a manifest.

    local.db                 as SQLite copied it, closed in order
    modules/ab/ab12….wasm    the agents' code
    manifest.json            what it is of, and the size and SHA-256 of each of the others

Rule 1: the manifest comes last: a backup that was cut off has none, and is not taken for a whole one.
Rule 2: whoever reads one trusts nothing: only these names, each once, each with the sum that the manifest says.

Everything here blocks: call it through `trio.to_thread`. OSError rises to the caller.
"""

import hashlib
import os
import re
import tarfile
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import IO

import msgspec

from caxton.core.errors import StoreError
from caxton.store.files import make_folder, replacing, sync

FORMAT = 1
DATABASE = "local.db"
MANIFEST = "manifest.json"
NAMES = re.compile(r"local\.db|manifest\.json|modules/([0-9a-f]{2})/\1[0-9a-f]{62}\.wasm")
MANIFEST_LIMIT = 64 << 20
CHUNK = 1 << 20


class Member(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    size: int
    sha256: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the database in a backup says of itself."""

    node_id: str
    schema: int
    agents: int
    segments: int
    dead_letters: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    caxton: str  # version
    created_at: float  # seconds since the epoch
    facts: Facts
    members: tuple[Member, ...]


MANIFESTS = msgspec.json.Decoder(Manifest)


def unsound(path: Path, reason: str) -> StoreError:
    return StoreError(
        f"{path} is no sound backup: {reason}",
        hint="use another backup; the data folder has not been touched",
        details={"cause": "damaged", "path": str(path), "reason": reason},
    )


def write_archive(
    target: Path, files: Iterable[tuple[str, Path]], *, version: str, created_at: float, facts: Facts
) -> Manifest:
    """Make *target* of (name, path) pairs; it appears whole, or not at all."""
    with replacing(target) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        members = tuple(_add(tar, name, path, created_at) for name, path in files)
        manifest = Manifest(format=FORMAT, caxton=version, created_at=created_at, facts=facts, members=members)
        text = msgspec.json.format(msgspec.json.encode(manifest))
        tar.addfile(_info(MANIFEST, len(text), created_at), BytesIO(text))
    return manifest


def read_archive(path: Path, place: Callable[[str], Path | None]) -> Manifest:
    """Check every byte of the backup *path*; write a member where *place* says, None is nowhere. Raises StoreError."""
    found: dict[str, Member] = {}
    manifest: Manifest | None = None
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                if not info.isreg() or not NAMES.fullmatch(info.name) or info.name in found or manifest is not None:
                    raise unsound(path, f"{info.name!r} does not belong there")
                source = tar.extractfile(info)
                assert source is not None  # it is a regular file
                if info.name == MANIFEST:
                    manifest = MANIFESTS.decode(source.read(MANIFEST_LIMIT))
                else:
                    found[info.name] = _copy(source, info, place(info.name))
    except (tarfile.TarError, EOFError, msgspec.MsgspecError) as error:
        raise unsound(path, str(error)) from error
    if manifest is None:
        raise unsound(path, "it has been cut off: the manifest at its end is missing")
    if manifest.format != FORMAT:
        raise unsound(path, f"its format is {manifest.format}, this version of Caxton knows {FORMAT}")
    told = {member.name: member for member in manifest.members}
    for name in sorted(told.keys() | found.keys()):
        if told.get(name) != found.get(name):
            raise unsound(path, f"{name} is not what the manifest says")
    if DATABASE not in found:
        raise unsound(path, f"it has no {DATABASE}")
    return manifest


class _Summing:
    """A file that sums what is read from it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.sha256.update(data)
        return data


def _info(name: str, size: int, at: float) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o600
    info.mtime = int(at)
    return info


def _add(tar: tarfile.TarFile, name: str, path: Path, at: float) -> Member:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        summing = _Summing(file)
        # what tarfile asks of a file here is read()
        tar.addfile(_info(name, size, at), summing)  # type: ignore[arg-type]
    return Member(name=name, size=size, sha256=summing.sha256.hexdigest())


def _copy(source: IO[bytes], info: tarfile.TarInfo, target: Path | None) -> Member:
    """Sum a member, and write it to *target*."""
    summing = _Summing(source)
    if target is None:
        while summing.read(CHUNK):
            pass
    else:
        make_folder(target.parent)
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            while data := summing.read(CHUNK):
                file.write(data)
            file.flush()
            sync(file.fileno())
    return Member(name=info.name, size=info.size, sha256=summing.sha256.hexdigest())
