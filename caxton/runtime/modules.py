"""Modules on their way from bytes to something that can be instantiated.

`ModuleCache.load` checks a module, exports its globals, and gives back compiled code: from memory, from the artefact on
disk, or out of a compiler that runs in a process of its own under limits.

Rule 1: an artefact is machine code, and runs as it is. Its folder is the server's alone: who may write there is the
server. The checksum is against damage (CRC-32); what is damaged, outdated or of another processor is compiled again.
Rule 2: an artefact is mapped, not read, and its pages come as they are used: an interpreter's has some 35 MB. So what
is known of it stands behind it, and the file is never changed, only replaced. While there is one, the module itself is
not read again: in Python that takes a tenth of a second for Go's.
Rule 3: where modules and artefacts lie is the store's business; this file is given a directory.
"""

import copy
import errno
import hashlib
import logging
import mmap
import os
import secrets
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from struct import Struct
from typing import Final
from weakref import WeakValueDictionary
from zlib import crc32

import attrs
import trio

import caxton
from caxton._fast.wasm.component import Component
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module
from caxton.core import wasm_abi, wasm_component
from caxton.core.errors import CaxtonError, InternalError, InvalidWasm, ResourceLimitExceeded, StorageFull
from caxton.core.wasm_abi import AgentLimits
from caxton.core.wasm_binary import export_globals, inspect
from caxton.core.wasm_component import Shape, is_component
from caxton.core.wasm_component_memory import weighed
from caxton.runtime.compile_child import REFUSED

log = logging.getLogger(__name__)

MAGIC: Final = (
    b"caxton artefact 4\n"  # another number when export_globals, weighed, what is checked, or this layout changes
)
TRAILER: Final = Struct(f"<{len(MAGIC)}sQQQI")  # magic, the three of a Shape, the CRC-32 of all before itself
COMPONENT_PATIENCE: Final = 4  # times as long: an interpreter is ten times an agent
LOADER_VARIABLES: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LD_PRELOAD")


@attrs.frozen
class CompileLimits:
    """What one compilation may take."""

    timeout: float = 30.0  # seconds by the clock, and of CPU time
    memory: int = 1 << 30  # bytes of address space
    module_size: int = 50 << 20  # bytes of the .wasm
    at_once: int = 2  # compilers running at a time; the others wait


@attrs.frozen
class _Source:
    """What is compiled, checked; or what was, when its artefact was made."""

    wasm: bytes
    shape: Shape
    limits: AgentLimits  # which it has kept
    is_component: bool
    is_examined: bool


@attrs.define(eq=False)
class _Pending:
    """A load under way, for those who want the same module."""

    done: trio.Event = attrs.field(factory=trio.Event)
    error: CaxtonError | None = None


class ModuleCache:
    """Compiled modules and components by the SHA-256 of their bytes; used from one Trio thread.

    *component_engine* makes the engine of components when the first of them comes. *reserve* is asked for room on the
    disk while an artefact is written beside its place.
    """

    def __init__(
        self,
        engine: Engine,
        directory: Path,
        limits: CompileLimits | None = None,
        component_engine: Callable[[], Engine] | None = None,
        reserve: Callable[[int, str], AbstractContextManager[None]] = lambda size, what: nullcontext(),
    ) -> None:
        self.engine = engine
        self._make_component_engine = component_engine or partial(Engine, components=True, pool_slots=64)
        self._component_engine: Engine | None = None
        self.directory = directory
        self.limits = limits or CompileLimits()
        self._reserve = reserve
        self.compiled = 0  # compilations since the start
        self._loaded: WeakValueDictionary[str, Module] = WeakValueDictionary()
        self._pending: dict[str, _Pending] = {}
        self._compilers = trio.CapacityLimiter(self.limits.at_once)

    @property
    def component_engine(self) -> Engine:
        if self._component_engine is None:
            self._component_engine = self._make_component_engine()
        return self._component_engine

    def change_limits(self, limits: CompileLimits) -> None:
        """Other limits, for what is compiled from now on; how many at once stays."""
        self.limits = limits

    def path(self, sha: str) -> Path:
        """Where the artefact of a module lies, once there is one."""
        return self.directory / sha[:2] / f"{sha}.{self.engine.fingerprint}.cwasm"

    async def load(self, wasm: bytes, sha: str, limits: AgentLimits | None = None) -> Module:
        """The compiled module of *wasm*, whose SHA-256 is *sha*; a Component, when it is one.

        Raises InvalidWasm when it cannot be an agent within *limits* (the engine's own when not given), and
        ResourceLimitExceeded when it is too large or takes too much to compile.
        """
        engine = self.component_engine if is_component(wasm) else self.engine
        limits = limits or AgentLimits(engine.max_memory, engine.max_table_elements)
        limits = limits._replace(table_elements=max(limits.table_elements, engine.max_table_elements))
        source = await trio.to_thread.run_sync(self._admit, wasm, sha, limits)
        while True:
            module = self._loaded.get(sha)
            if module is not None:
                return module
            pending = self._pending.get(sha)
            if pending is None:
                return await self._load_first(source, sha)
            await pending.done.wait()
            if pending.error is not None:
                raise copy.copy(pending.error)  # a traceback belongs to one task

    async def _load_first(self, source: _Source, sha: str) -> Module:
        """Load for everybody who asks meanwhile. When this is cancelled, the next one who waits takes over."""
        pending = self._pending[sha] = _Pending()
        try:
            module = await trio.to_thread.run_sync(self._read, sha, source)
            if module is None:
                if not source.is_examined:  # it was taken at its artefact's word, which proved unsound
                    source = await trio.to_thread.run_sync(self._examine, source.wasm, sha, source.limits)
                async with self._compilers:
                    artefact = await self._compile(source)
                adopt = self._adopt_component if source.is_component else self._adopt
                module = await trio.to_thread.run_sync(adopt, sha, artefact, source)
            self._loaded[sha] = module
        except CaxtonError as error:
            pending.error = error
            raise
        else:
            return module
        finally:
            del self._pending[sha]
            pending.done.set()

    def _admit(self, wasm: bytes, sha: str, limits: AgentLimits) -> _Source:
        if len(wasm) > self.limits.module_size:
            raise ResourceLimitExceeded(
                f"the module has {len(wasm)} bytes; modules may have {self.limits.module_size}",
                hint="strip it (`wasm-opt -Oz --strip-debug`), or raise runtime.max_module_size",
                details={"size": len(wasm), "limit": self.limits.module_size},
            )
        known = self._known(sha)
        if known is None:
            return self._examine(wasm, sha, limits)
        kind = is_component(wasm)
        if kind:
            wasm_component.fit(known, limits)
        else:
            wasm_abi.fit(known.minimum, known.table_elements, limits)
        return _Source(wasm, known, limits, kind, is_examined=False)

    def _examine(self, wasm: bytes, sha: str, limits: AgentLimits) -> _Source:
        found = hashlib.sha256(wasm).hexdigest()
        if found != sha:
            raise InternalError(
                f"module {sha} has the SHA-256 {found}", hint="the stored file is damaged: deploy again"
            )
        if is_component(wasm):
            known = wasm_component.shape(wasm, limits)
            return _Source(weighed(wasm), known, limits, is_component=True, is_examined=True)
        info = inspect(wasm)
        wasm_abi.check(info, limits)
        known = Shape(1, *wasm_abi.sizes(info))
        return _Source(export_globals(wasm), known, limits, is_component=False, is_examined=True)

    async def _compile(self, source: _Source) -> bytes:
        """Run the compiler's process; its artefact, or the reason why there is none."""
        limits = self.limits
        timeout = limits.timeout * (COMPONENT_PATIENCE if source.is_component else 1)
        self.compiled += 1
        command = [
            sys.executable,
            "-S",
            "-P",
            "-m",
            "caxton.runtime.compile_child",
            str(limits.memory),
            str(max(1, round(timeout))),
            str((self.component_engine if source.is_component else self.engine).memory_reservation),
            "component" if source.is_component else "module",
        ]
        with trio.move_on_after(timeout):
            process = await trio.run_process(
                command,
                stdin=source.wasm,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                deliver_cancel=_kill,
                env=_child_environment(),
                start_new_session=True,  # Ctrl-C is the server's to handle
            )
            if process.returncode == 0:
                return bytes(process.stdout)
            raise self._verdict(process.returncode, process.stderr.decode("utf-8", "replace").strip(), timeout)
        raise self._too_long(timeout)

    def _too_long(self, timeout: float) -> ResourceLimitExceeded:
        return ResourceLimitExceeded(
            f"compiling the module took longer than {timeout:g} s",
            hint="deploy a smaller module, or raise runtime.compile_timeout",
        )

    def _verdict(self, code: int, said: str, timeout: float) -> CaxtonError:
        if code == REFUSED:
            return InvalidWasm(
                said, hint="the module's code is not valid: build it again with another toolchain or options"
            )
        if -code == signal.SIGXCPU:
            return self._too_long(timeout)
        if -code == signal.SIGKILL:
            return ResourceLimitExceeded(
                "the system killed the compiler (SIGKILL), most likely for want of memory",
                hint="deploy a smaller module, or give the machine more memory",
            )
        if "memory allocation of" in said or "MemoryError" in said or "Cannot allocate memory" in said:
            return ResourceLimitExceeded(
                f"compiling the module took more than {self.limits.memory} bytes of memory",
                hint="deploy a smaller module, or raise runtime.compile_memory",
            )
        log.error("the compiler's process ended with %d: %s", code, said[-2000:])
        if code < 0:
            what = (
                f"was killed by {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"ended with {code}"
            )
            return InvalidWasm(
                f"the compiler {what} on this module", hint="build the module again with another toolchain or options"
            )
        return InternalError(
            f"the compiler's process ended with {code}: {said.splitlines()[-1] if said else 'silence'}"
        )

    def _known(self, sha: str) -> Shape | None:
        """What stands behind the artefact, as far as a glance at its end tells."""
        try:
            with self.path(sha).open("rb") as file:
                file.seek(-TRAILER.size, os.SEEK_END)
                magic, *found, _ = TRAILER.unpack(file.read(TRAILER.size))
        except OSError:  # there is none, or it is shorter than that
            return None
        return Shape(*found) if magic == MAGIC else None

    def _read(self, sha: str, source: _Source) -> Module | None:
        """The module out of its artefact, or None when there is none that is sound."""
        path = self.path(sha)
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                is_sound = content[-TRAILER.size :].startswith(MAGIC) and is_whole(content)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:  # ValueError: it is empty
            log.warning("artefact %s cannot be read, compiling again: %s", path, error)
            return None
        if not is_sound:
            log.warning("artefact %s is damaged, compiling again", path)
            return None
        try:
            if source.is_component:
                return Component.open(self.component_engine, path, max(source.shape.memories, 1))
            return self._open(path)
        except InternalError as error:  # another processor than the one it was made on
            log.warning("artefact %s does not fit this machine, compiling again: %s", path, error)
            return None

    def _open(self, path: Path) -> Module:
        try:
            return Module.open(self.engine, path)
        except InternalError:  # of a file system whose files must not be run; a copy may
            return Module.deserialize(self.engine, memoryview(path.read_bytes())[: -TRAILER.size])

    def _adopt_component(self, sha: str, artefact: bytes, source: _Source) -> Module:
        """A component's code is run out of its file: without one it is refused."""
        path = self.path(sha)
        try:
            self._write(path, artefact, source.shape)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull(
                    f"there is no room on the disk for the {len(artefact)} bytes that the component is compiled to: "
                    f"{path.parent}",
                    hint="free some space, then deploy it again",
                ) from error
            raise InternalError(f"the artefact of component {sha} cannot be written: {error}") from error
        try:
            return Component.open(self.component_engine, path, max(source.shape.memories, 1))
        except InternalError as error:
            raise InvalidWasm(
                f"the engine has no room for the component: {error}", hint="deploy a smaller component"
            ) from error

    def _adopt(self, sha: str, artefact: bytes, source: _Source) -> Module:
        try:
            module = Module.deserialize(self.engine, artefact)
        except InternalError as error:
            raise InvalidWasm(
                f"the engine has no room for the module: {error}", hint="deploy a smaller module"
            ) from error
        try:
            self._write(self.path(sha), artefact, source.shape)
        except (OSError, StorageFull) as error:  # the module works; it will only be compiled again next time
            log.warning("the artefact of module %s cannot be written: %s", sha, error)
        return module

    def _write(self, path: Path, artefact: bytes, known: Shape) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # the mode is the last one's only
        path.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        reserved = self._reserve(len(artefact) + TRAILER.size, "what a module is compiled to")
        try:
            with reserved, open(temporary, "xb", opener=partial(os.open, mode=0o600)) as file:
                file.write(artefact)
                file.write(trailer(artefact, known))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)
        for other in path.parent.glob(f"{path.name[:64]}.*.cwasm"):  # of engines that are no more
            if other != path:
                other.unlink(missing_ok=True)


def trailer(artefact: bytes, known: Shape) -> bytes:
    """What stands behind an artefact in its file."""
    front = TRAILER.pack(MAGIC, *known, 0)[:-4]
    return front + crc32(front, crc32(artefact)).to_bytes(4, "little")


def is_whole(content: mmap.mmap) -> bool:
    """Whether an artefact with its trailer is as it was written."""
    with memoryview(content) as view, view[:-4] as checked:
        return crc32(checked) == int.from_bytes(view[-4:], "little")


async def _kill(process: trio.Process) -> None:
    process.kill()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _child_environment() -> dict[str, str]:
    """What the child needs to find its modules (`-S` spares it the scan of site-packages), and none of our secrets."""
    root = str(Path(caxton.__file__).parent.parent)
    environment = {
        "PYTHONPATH": os.pathsep.join([root, *(entry for entry in sys.path if entry)]),
        "RUST_BACKTRACE": "0",
    }
    for name in LOADER_VARIABLES:
        if name in os.environ:
            environment[name] = os.environ[name]
    return environment
