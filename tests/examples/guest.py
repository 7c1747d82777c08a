"""Runs an example agent outside Caxton, in wasmtime's own Python binding: a second opinion on what it does."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import wasmtime

ENGINE = wasmtime.Engine()
I32, I64 = wasmtime.ValType.i32(), wasmtime.ValType.i64()


@cache
def module(path: Path) -> wasmtime.Module:
    return wasmtime.Module.from_file(ENGINE, str(path))


class Guest:
    """One instance; what it sends and logs is kept. Any: JSON, and wasmtime's untyped values."""

    def __init__(self, path: Path) -> None:
        self.sent: list[Any] = []
        self.logged: list[str] = []
        self.timers = 0
        self.send_result = 0
        self.now = 0
        self.store = wasmtime.Store(ENGINE)
        linker = wasmtime.Linker(ENGINE)
        for name, parameters, results, function in (
            ("send_message", [I32, I32], [I32], self._send),
            ("console_log", [I32, I32], [], self._log),
            ("current_timestamp", [], [I64], lambda: self.now),
            ("set_timer", [I64], [I32], self._set_timer),
        ):
            linker.define_func("caxton", name, wasmtime.FuncType(parameters, results), function)
        self.exports: Any = linker.instantiate(self.store, module(path)).exports(self.store)
        self.memory: Any = self.exports["memory"]
        self.room = -1
        init: Any = self.exports.get("agent_init")
        assert init is None or init(self.store) == 0

    def handle(self, message: bytes | dict[str, Any]) -> int:
        """One turn, with the buffer kept as the host keeps it."""
        data = message if isinstance(message, bytes) else json.dumps(message, ensure_ascii=False).encode()
        if len(data) > self.room:
            self.room = max(len(data), 64)
            self.at = self.exports["caxton_alloc"](self.store, self.room)
            assert self.at
        self.memory.write(self.store, data, self.at)
        code: int = self.exports["handle_message"](self.store, self.at, len(data))
        return code

    def _read(self, at: int, length: int) -> bytes:
        return bytes(self.memory.read(self.store, at, at + length))

    def _send(self, at: int, length: int) -> int:
        if self.send_result == 0:
            self.sent.append(json.loads(self._read(at, length)))
        return self.send_result

    def _log(self, at: int, length: int) -> None:
        self.logged.append(self._read(at, length).decode())

    def _set_timer(self, delay: int) -> int:
        assert delay > 0
        self.timers += 1
        return self.timers
