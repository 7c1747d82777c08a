from pathlib import Path

from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module

class Component(Module):
    memories: int
    imported: dict[str, dict[str, str]]
    exported: dict[str, dict[str, str]]
    resources: dict[str, list[str]]
    outside: tuple[str, ...]

    @staticmethod
    def compile(engine: Engine, wasm: bytes, memories: int = 1) -> Component: ...
    @staticmethod
    def artefact(engine: Engine, wasm: bytes) -> bytes: ...
    @staticmethod
    def open(engine: Engine, path: Path, memories: int = 1) -> Component: ...
    def serialize(self) -> bytes: ...
