"""What all adapters share: one workload, one process, one line of JSON.

    python -m bench.peers.<name>_peer WORKLOAD COUNT

Rule 1: an adapter uses its peer's own best API, and says in its docstring which.
Rule 2: a workload is a function of a count that gives so many times in nanoseconds, each measured by itself.
Rule 3: the first of them are warm-up; they are measured like the others and dropped here.

Only the standard library: the peers run in an environment without Caxton.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version

PAYLOAD = b"x" * 64
TOGETHER = 1000  # agents, actors or plugins of one batch

# takes a 64-byte message and does nothing; what the engines without an agent's interface run
SINK = """
(module
  (memory (export "memory") 1)
  (func (export "handle_message") (param i32 i32) (result i32) (i32.const 0)))
"""

Workload = Callable[[int], Sequence[int]]


def main(peer: str, package: str, workloads: dict[str, Workload]) -> None:
    """Run the workload of the command line. *package* is the distribution that the version is read of."""
    name, count = sys.argv[1], int(sys.argv[2])
    warm = warm_up(count)
    times = workloads[name](warm + count)[warm:]
    print(json.dumps(line(peer, version(package), name, times)), flush=True)


def warm_up(count: int) -> int:
    return max(2, count // 5)


def line(peer: str, release: str, workload: str, times: Sequence[int]) -> dict[str, object]:
    """The answer of an adapter; *times* are nanoseconds of one operation each."""
    ordered = sorted(times)
    return {
        "peer": peer,
        "version": release,
        "workload": workload,
        "unit": "us",
        "p50": ordered[len(ordered) // 2] / 1000,
        "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] / 1000,
        "per_second": len(ordered) * 1e9 / sum(ordered),
    }


def timed(count: int, operation: Callable[[], object]) -> list[int]:
    """Nanoseconds of each of *count* operations; what they give back is kept until all are done."""
    clock = time.perf_counter_ns
    times, kept = [], []
    for _ in range(count):
        began = clock()
        kept.append(operation())
        times.append(clock() - began)
    return times


async def timed_async(count: int, operation: Callable[[], Awaitable[object]]) -> list[int]:
    """The same for what is awaited."""
    clock = time.perf_counter_ns
    times, kept = [], []
    for _ in range(count):
        began = clock()
        kept.append(await operation())
        times.append(clock() - began)
    return times


def timed_together(
    count: int,
    start: Callable[[int], object],
    end: Callable[[object], object] = lambda started: None,
    size: int = TOGETHER,
) -> list[int]:
    """Nanoseconds of one of *size* that *start* brings up together, of each of *count* such batches.

    *end* takes away what was started, outside of the measured time.
    """
    times = []
    for _ in range(count):
        began = time.perf_counter_ns()
        started = start(size)
        times.append((time.perf_counter_ns() - began) // size)
        end(started)
        del started
    return times


async def timed_together_async(
    count: int,
    start: Callable[[int], Awaitable[object]],
    end: Callable[[object], Awaitable[object]] | None = None,
    size: int = TOGETHER,
) -> list[int]:
    """The same for what is awaited."""
    times = []
    for _ in range(count):
        began = time.perf_counter_ns()
        started = await start(size)
        times.append((time.perf_counter_ns() - began) // size)
        if end is not None:
            await end(started)
        del started
    return times


def in_asyncio(workload: Callable[[int], Awaitable[Sequence[int]]]) -> Workload:
    """An async workload on the fastest loop that the peers have."""

    async def whole(count: int) -> Sequence[int]:
        return await workload(count)

    def run(count: int) -> Sequence[int]:
        try:
            from uvloop import new_event_loop  # type: ignore[import-not-found]  # a peer brings it, or not
        except ImportError:
            new_event_loop = asyncio.new_event_loop
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(whole(count))

    return run
