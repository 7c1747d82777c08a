"""Modules are files named by their contents."""

import hashlib
import os
from pathlib import Path

import pytest

from caxton.core.errors import StoreError
from caxton.store.modules import ModuleRoom

WASM = b"\0asm\x01\0\0\0" + b"code" * 100


async def test_a_module_is_found_by_its_hash(tmp_path: Path) -> None:
    modules = ModuleRoom(tmp_path)
    sha = await modules.put(WASM)
    assert sha == hashlib.sha256(WASM).hexdigest()
    assert modules.path(sha) == tmp_path / sha[:2] / f"{sha}.wasm"
    assert await modules.get(sha) == WASM
    assert await modules.put(WASM) == sha
    assert os.listdir(tmp_path) == [sha[:2]]
    assert os.listdir(tmp_path / sha[:2]) == [f"{sha}.wasm"]


@pytest.mark.parametrize("damage", [b"", WASM[:-1], WASM[:50] + b"X" + WASM[51:]])
async def test_a_damaged_module_is_named_and_mended_by_putting_it_again(tmp_path: Path, damage: bytes) -> None:
    modules = ModuleRoom(tmp_path)
    sha = await modules.put(WASM)
    modules.path(sha).write_bytes(damage)
    with pytest.raises(StoreError, match=f"{modules.path(sha)} is damaged: its SHA-256 is "):
        await modules.get(sha)
    await modules.put(WASM)
    assert await modules.get(sha) == WASM


async def test_a_missing_module_is_named(tmp_path: Path) -> None:
    modules = ModuleRoom(tmp_path)
    sha = await modules.put(WASM)
    modules.path(sha).unlink()
    with pytest.raises(StoreError, match=f"{modules.path(sha)} is damaged: the file is missing"):
        await modules.get(sha)


async def test_a_name_that_is_no_hash_never_becomes_a_path(tmp_path: Path) -> None:
    modules = ModuleRoom(tmp_path)
    for name in ("../../etc/passwd", "", "AB" * 32, "ab" * 32 + "\n"):
        with pytest.raises(AssertionError):
            modules.path(name)


async def test_pruning_keeps_what_it_is_told_to(tmp_path: Path) -> None:
    modules = ModuleRoom(tmp_path)
    assert await modules.prune(lambda sha: True) == 0
    kept, stale = await modules.put(WASM), await modules.put(b"old")
    for sha in (kept, stale):
        modules.path(sha).with_suffix(".50.cwasm").write_bytes(b"compiled")
    assert await modules.prune({kept}.__contains__) == 2
    assert await modules.get(kept) == WASM
    assert modules.path(kept).with_suffix(".50.cwasm").exists()
    assert not modules.path(stale).exists()


async def test_a_folder_in_the_way_is_a_clear_error(tmp_path: Path) -> None:
    modules = ModuleRoom(tmp_path / "modules")
    (tmp_path / "modules").write_bytes(b"")
    with pytest.raises(StoreError, match="modules cannot be a folder"):
        await modules.put(WASM)
