"""Messages with 64 bytes to 1 MB of content: from guest to guest, and from Python into a guest."""

import time

from bench.bench_scheduler import Sinks
from caxton.cli.benchmarks.payloads import SIZES, hop, message

BYTES = 256 << 20  # of content that is posted in one measurement, but MESSAGES at most
MESSAGES = 20_000


class Payload:
    params = SIZES
    param_names = ("content_bytes",)


class Hop(Payload):
    def track_microseconds(self, size: int) -> float:
        return hop(size)

    def track_megabytes_per_second(self, size: int) -> float:
        return size / hop(size)


class Submit(Payload):
    """From `Scheduler.submit` to the end of the turn, of many that follow each other."""

    def setup(self, size: int) -> None:
        self.sinks = Sinks(1, 1, largest=2 * max(SIZES))
        head, filler, tail = message("agent 0", size)
        self.message = head + b"x" * filler + tail

    def teardown(self, size: int) -> None:
        self.sinks.scheduler.stop()

    def track_microseconds(self, size: int) -> float:
        count = min(MESSAGES, BYTES // size)
        ahead = min(4000, (8 << 20) // size)  # the mailbox has room for 10,000 messages, and 64 MiB
        times = []
        for _ in range(3):
            before, began = self.sinks.handled(), time.perf_counter()
            for sent in range(count):
                if sent % ahead == 0:
                    self.sinks.wait_handled(before + max(0, sent - ahead))
                self.sinks.scheduler.submit(self.message)
            self.sinks.wait_handled(before + count)
            times.append((time.perf_counter() - began) / count * 1e6)
        return min(times)

    def track_megabytes_per_second(self, size: int) -> float:
        return size / self.track_microseconds(size)


for benchmark in (Hop, Submit):
    benchmark.track_microseconds.unit = "us"
    benchmark.track_megabytes_per_second.unit = "MB/s"
