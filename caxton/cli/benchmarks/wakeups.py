"""A message into a scheduler whose threads are parked: from its acceptance to the end of the guest's turn.

Most of it is the machine: a processor that rests has to be started, and after a long rest nothing of the program is in
its caches. So the machine's own wake-up, one thread that signals another by a condition, is measured after the same
pauses, in turn. A guest that does nothing takes the message, so the turn is the thread's way to it. Of some windows
the one with the lowest median counts, on both sides.
"""

import time

from caxton._fast.scheduler import EVENT_STARTED, Scheduler
from caxton._fast.wakeups import wakeups
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module, wat2wasm
from caxton.cli.benchmarks import quantile
from caxton.cli.benchmarks.guests import SINK

PAUSES = {"0.2_ms": (0.0002, 400), "2_ms": (0.002, 100), "20_ms": (0.02, 20)}  # pause in s, messages of a window
ROUNDS = 4
SETTLE = 0.01  # s in which the last turn's record arrives


class Sleeper:
    """One agent on one thread that rests between messages."""

    def __init__(self) -> None:
        engine = Engine(pool_slots=16, max_memory=1 << 20)
        self.scheduler = Scheduler(engine, threads=1)
        self.scheduler.start()
        port = self.scheduler.open_port("sleeper")
        self.scheduler.spawn(port, Module.compile(engine, wat2wasm(SINK)), memory=1 << 20, timeout_ns=10**9)
        while not any(kind == EVENT_STARTED for kind, *_ in self.scheduler.drain()):
            time.sleep(SETTLE)

    def median(self, pause: float, messages: int) -> float:
        """Microseconds."""
        self.scheduler.totals()
        self.scheduler.records.forget_hops()
        for _ in range(messages):
            time.sleep(pause)
            self.scheduler.submit(b'{"performative":"inform","receiver":"sleeper","content":1}')
        time.sleep(SETTLE)
        self.scheduler.totals()
        return self.scheduler.records.hop_quantile(0.5) / 1000


def figures() -> dict[str, dict[str, float | list[float]]]:
    """By pause: the median of the best window, the machine's, and those of all windows."""
    sleeper = Sleeper()
    found: dict[str, dict[str, float | list[float]]] = {}
    try:
        for name, (pause, messages) in PAUSES.items():
            ours, machine = [], []
            for _ in range(ROUNDS):
                machine.append(quantile(wakeups(messages, int(pause * 1e9)), 0.5) / 1000)
                ours.append(sleeper.median(pause, messages))
            found[name] = {
                "p50_us": min(ours),
                "machine_p50_us": min(machine),
                "windows": ours,
                "machine_windows": machine,
            }
    finally:
        sleeper.scheduler.stop()
    return found
