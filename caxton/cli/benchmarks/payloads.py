"""Messages of four sizes from guest to guest, with everything that a hop has: parse, route, mailbox, record, history.

Two agents on one scheduler thread have one message between them, whose content is a JSON string of so many bytes,
quotes included; time is the wall clock's by the turns done, the best of ROUNDS. So it includes waiting for the reader
of the records, who copies them on another thread (docs/performance.md counts the copies).
"""

import select
import time

from caxton._fast.scheduler import EVENT_EXITED, EVENT_STARTED, EVENT_UNDELIVERED, Scheduler
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module, wat2wasm
from caxton.cli.benchmarks.guests import filled
from caxton.core.errors import InternalError

SIZES = (64, 1024, 65_536, 1_048_576)
ROUNDS = 5
SECONDS = 0.15  # of one round
PATIENCE = 10.0
MEMORY = 8 << 20  # the message that is sent, and room for the one that comes


def message(receiver: str, size: int) -> tuple[bytes, int, bytes]:
    """A message with *size* bytes of content: what stands before its filler, how much filler, what stands behind."""
    return b'{"performative":"inform","receiver":"%s","content":"' % receiver.encode(), size - 2, b'"}'


class Ball:
    """Two agents that throw one message to and fro."""

    def __init__(self, size: int) -> None:
        engine = Engine(pool_slots=16, max_memory=MEMORY)
        self.scheduler = Scheduler(engine, threads=1, max_message_size=2 * max(SIZES))
        self.scheduler.start()
        for name, partner in (("a", "b"), ("b", "a")):
            module = Module.compile(engine, wat2wasm(filled(*message(partner, size))))
            self.scheduler.spawn(self.scheduler.open_port(name), module, memory=MEMORY, timeout_ns=10**9)
        up = 0
        while up < 2:
            up += sum(kind == EVENT_STARTED for kind in self._events(PATIENCE))
        self.scheduler.submit(b'{"performative":"inform","receiver":"a"}')

    def _events(self, seconds: float) -> list[int]:
        select.select([self.scheduler.wake_fd], [], [], seconds)
        events = self.scheduler.drain()
        for kind, port, _, what in events:
            if kind in (EVENT_EXITED, EVENT_UNDELIVERED):
                raise InternalError(f"agent {port} dropped the message: {what}")
        return [kind for kind, *_ in events]

    def microseconds(self, seconds: float) -> float:
        """Of one hop."""
        before, began = self.scheduler.totals()["handled"], time.perf_counter()
        until = began + seconds
        while (left := until - time.perf_counter()) > 0:
            self._events(left)
        handled = self.scheduler.totals()["handled"] - before
        return (time.perf_counter() - began) / handled * 1e6


def hop(size: int, rounds: int = ROUNDS, seconds: float = SECONDS) -> float:
    """Microseconds of a hop with so many bytes of content, the best of *rounds* after one to warm up."""
    ball = Ball(size)
    try:
        ball.microseconds(seconds)
        return min(ball.microseconds(seconds) for _ in range(rounds))
    finally:
        ball.scheduler.stop()


def figures() -> dict[str, dict[str, float]]:
    """By size: microseconds of a hop, and its content in MB (10^6 bytes) per second."""
    times = {size: hop(size) for size in SIZES}
    return {str(size): {"microseconds": us, "megabytes_per_second": size / us} for size, us in times.items()}
