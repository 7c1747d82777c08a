"""An echo agent in each language: size, start, memory, speed. It is the same agent on each SDK, sdk/*/examples/echo.

artefact_bytes       the compiled machine code, as the server keeps it on disk
cold_start_ms        the artefact's checksum is computed, it is mapped, an instance made and started, and the answer to
                     its first message is back, in a process that has the engine already; the median of several
warm_start_ms        the same with the artefact loaded
verify_ms            how much of the cold start is the checksum
memory_bytes         the guest's memory at the end, all of a component's together
messages_per_second  messages that the echo has answered per second, on one scheduler thread: each comes from another
                     guest (a relay of a dozen instructions), is routed, recorded and answered, and the relay handles
                     the answer. Both guests' turns are in that time. The best of five windows.

A language whose toolchain is not here is listed with what is missing, and has no figures.
"""

import mmap
import select
import tempfile
import time
from pathlib import Path

from caxton._fast.scheduler import EVENT_EXITED, EVENT_STARTED, Scheduler
from caxton._fast.wasm.component import Component
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module, wat2wasm
from caxton.cli.benchmarks import Result, quantile
from caxton.cli.benchmarks.guests import relay
from caxton.cli.projects.languages import LANGUAGES, Language, build_example
from caxton.cli.projects.toolchains import Absent, sources
from caxton.core.errors import InternalError
from caxton.core.wasm_binary import export_globals
from caxton.core.wasm_component import Shape
from caxton.core.wasm_component_memory import weighed
from caxton.runtime.modules import is_whole, trailer

ENTRIES = {"rust": "echo.rs", "go": "echo/main.go", "assemblyscript": "echo.ts", "c": "echo.c", "javascript": "echo.js"}
MEMORY = 100 << 20
STARTS = 11
WINDOWS = 5
SECONDS = 0.4
WARM_UP = 1000
REQUEST = (
    '{"performative":"request","receiver":"echo","conversation_id":"c","reply_with":"r",'
    '"content":{"action":"process_data","parameters":{"x":1,"text":"the quick brown fox jumps over the lazy dog"}}}'
)


def measure() -> Result:
    figures: dict[str, object] = {}
    absent: dict[str, object] = {}
    for language in LANGUAGES.values():
        with tempfile.TemporaryDirectory(prefix="caxton-languages-") as folder:
            wasm = Path(folder) / "echo.wasm"
            entry = sources() / language.name / "examples" / ENTRIES.get(language.name, "echo.py")
            try:
                build_example(language, entry, wasm)
            except Absent as missing:
                absent[language.name] = f"{missing}; {missing.how[0] if missing.how else ''}".rstrip("; ")
                continue
            figures[language.name] = _measure(language, wasm.read_bytes(), Path(folder))
    return {"figures": figures, "absent": absent, "baseline": {}, "ratios": {}}


def _measure(language: Language, wasm: bytes, folder: Path) -> dict[str, float]:
    bench = _Bench(language, wasm, folder)
    cold = [bench.start(bench.load) for _ in range(STARTS)]
    module = bench.load()
    warm = [bench.start(lambda: module) for _ in range(STARTS)]
    rate, memory = bench.rate(module)
    verify = [bench.verify() for _ in range(STARTS)]
    return {
        "wasm_bytes": len(wasm),
        "artefact_bytes": bench.artefact.stat().st_size,
        "cold_start_ms": quantile(cold, 0.5) * 1e3,
        "warm_start_ms": quantile(warm, 0.5) * 1e3,
        "verify_ms": quantile(verify, 0.5) * 1e3,
        "memory_bytes": memory,
        "messages_per_second": rate,
    }


class _Bench:
    def __init__(self, language: Language, wasm: bytes, folder: Path) -> None:
        self.is_component = language.is_component
        self.core = Engine(pool_slots=8)
        self.engine = self.core
        self.artefact = folder / "artefact"
        if self.is_component:
            # as the server's: an interpreter has a large table and calls deeply
            self.engine = Engine(
                components=True,
                pool_slots=8,
                max_table_elements=40_000,
                max_wasm_stack=1 << 20,
                async_stack_size=2 << 20,
            )
            code = Component.artefact(self.engine, weighed(wasm))
        else:
            code = Module.compile(self.engine, export_globals(wasm)).serialize()
        self.artefact.write_bytes(code + trailer(code, Shape(1, 0, 0)))

    def load(self) -> Module:
        """As the server does it (runtime/modules.py)."""
        self.verify()
        return (Component if self.is_component else Module).open(self.engine, self.artefact)

    def verify(self) -> float:
        """The checksum, as the server looks at it; seconds."""
        began = time.perf_counter()
        with self.artefact.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            assert is_whole(content)
        return time.perf_counter() - began

    def start(self, load: object) -> float:
        """Seconds from nothing but the artefact, or a loaded module, to the first answer."""
        assert callable(load)
        scheduler = Scheduler(self.core, threads=1)
        scheduler.start()
        try:
            port = scheduler.open_port("echo")
            me = scheduler.open_port("me", host=True)
            began = time.perf_counter()
            scheduler.spawn(port, load(), memory=MEMORY, timeout_ns=30 * 10**9)
            scheduler.submit(REQUEST.encode(), sender="me")
            while not scheduler.receive(me, 1):
                _look(scheduler)
            return time.perf_counter() - began
        finally:
            scheduler.stop()

    def rate(self, module: Module) -> tuple[float, int]:
        scheduler = Scheduler(self.core, threads=1)
        scheduler.start()
        try:
            echo, driver = scheduler.open_port("echo"), scheduler.open_port("driver")
            scheduler.spawn(echo, module, memory=MEMORY, timeout_ns=30 * 10**9)
            scheduler.spawn(
                driver, Module.compile(self.core, wat2wasm(relay(REQUEST))), memory=1 << 20, timeout_ns=30 * 10**9
            )
            up = 0
            while up < 2:
                for kind, *_, text in _look(scheduler):
                    if kind == EVENT_EXITED:
                        raise InternalError(f"the echo did not start: {text}")
                    up += kind == EVENT_STARTED
            scheduler.submit(b'{"performative":"inform","receiver":"driver"}')
            while scheduler.statistics(echo).handled < WARM_UP:
                _look(scheduler)
            best = 0.0
            for _ in range(WINDOWS):
                before, began = scheduler.statistics(echo).handled, time.perf_counter()
                until = began + SECONDS
                while (left := until - time.perf_counter()) > 0:
                    _look(scheduler, left)
                best = max(best, (scheduler.statistics(echo).handled - before) / (time.perf_counter() - began))
            return best, scheduler.statistics(echo).memory_bytes
        finally:
            scheduler.stop()


def _look(scheduler: Scheduler, seconds: float = 5.0) -> list[tuple[int, int, object, object]]:
    select.select([scheduler.wake_fd], [], [], seconds)
    return scheduler.drain()
