"""Modules: compiled from bytes, written as an artefact, read back."""

from pathlib import Path

from caxton._fast.wasm.engine import Engine
from caxton.core.wasm_binary import Extern

class Module:
    engine: Engine

    @staticmethod
    def compile(engine: Engine, wasm: bytes) -> Module:
        """Compile here and now, or raise InvalidWasm. The server does it in a child process (runtime/modules.py)."""
    @staticmethod
    def deserialize(engine: Engine, artefact: bytes | memoryview) -> Module:
        """Take over machine code, only ever of `serialize`; InternalError when this engine cannot run it."""
    @staticmethod
    def open(engine: Engine, path: Path) -> Module:
        """Map machine code out of a file that is only ever replaced, not changed; InternalError as `deserialize`."""
    def serialize(self) -> bytes:
        """The artefact: what `deserialize` takes, on an engine of the same fingerprint."""
    def imports(self) -> list[Extern]: ...
    def exports(self) -> list[Extern]: ...

def wat2wasm(text: str) -> bytes:
    """The binary of a module in text form."""
