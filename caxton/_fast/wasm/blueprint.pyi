from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module

class Linker:
    def __init__(self, engine: Engine) -> None: ...

class Blueprint:
    def __init__(self, linker: Linker, module: Module) -> None: ...
