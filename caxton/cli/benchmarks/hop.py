"""A message from guest to guest, with everything: parse, route, mailbox, record, history, turn on a fiber.

Agents talk in pairs; each message (251 or 291 bytes of JSON, 99 of content) is the answer to the one before. There are
two kinds of pairs. Those *in conversations* play an iterated contract net: one calls, the other bids, and each message
is a step of the pair's protocol. Those with *plain* messages send requests without a `protocol`: no conversation is
followed.

In conversations: `p50_us` and `p99_us`, from entering the mailbox to the end of the turn, with 2 agents on one
scheduler thread (the baseline is a hop between two Trio tasks over memory channels); `records_on_vs_off`, the time of a
hop with its conversation step, journal record, history and counters by the same without them;
`messages_per_second_in_conversations` and `threads_2_vs_1_in_conversations`. Plain: `messages_per_second` and
`threads_2_vs_1`.

Messages per second are counted on one thread, so they are per core. Two threads are compared with one on 100 busy
pairs. What is compared is taken in turn, and the best window of each counts. `wake_up` is a message into a scheduler
that rests (wakeups.py).
"""

import json
import select
import time
from collections.abc import Callable

import trio

from caxton._fast.scheduler import EVENT_EXITED, EVENT_STARTED, Scheduler
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module, wat2wasm
from caxton.cli.benchmarks import Result, payloads, quantile, wakeups
from caxton.cli.benchmarks.guests import PLACE, SESSION_PLACE, paired
from caxton.core.errors import ResourceLimitExceeded
from caxton.node.metrics import resident_bytes

SECONDS = 1.5
ROUNDS = 6
CHANNEL_HOPS = 50_000
# agents, and how many times they are made: where their memory lies moves the rate by half
SIZES = {2: 2, 1000: 5, 10_000: 2}


def _message(performative: str, protocol: str | None = None) -> str:
    message: dict[str, object] = {
        "performative": performative,
        "receiver": PLACE,
        "content": {
            "action": "process_data",
            "parameters": {"x": 1, "text": "the quick brown fox jumps over the lazy dog"},
        },
        "conversation_id": SESSION_PLACE,
        "reply_with": "msg_001",
        "ontology": "caxton-v1",
        "language": "json",
    }
    if protocol:
        message["protocol"] = protocol
    return json.dumps(message, separators=(",", ":"))


PROTOCOL = "fipa-iterated-contract-net"
# one calls, the other bids, again and again: every message is a legal step of the pair's conversation
IN_CONVERSATION = (_message("cfp", PROTOCOL), _message("propose", PROTOCOL))
PLAIN = (_message("request"),) * 2
ROUNDS_FOR_EVER = (1 << 32) - 1


class Pairs:
    """*agents* agents that talk in pairs, on their own scheduler, without the rest of the server."""

    def __init__(
        self,
        agents: int,
        threads: int,
        messages: tuple[str, str] = IN_CONVERSATION,
        *,
        records: bool = True,
        boot: int = 0,
    ) -> None:
        self.agents = agents
        before = resident_bytes()
        engine = Engine(pool_slots=agents + 16, max_memory=1 << 20)
        self.scheduler = Scheduler(engine, threads=threads, records=records, boot=boot)
        self.scheduler.start()
        # what a server does by default, but for the rounds
        self.scheduler.tracker.configure(max_rounds=ROUNDS_FOR_EVER, content_shapes=1, max_hops=200, max_repeats=100)
        modules = [Module.compile(engine, wat2wasm(paired(message))) for message in messages]
        ports = [self.scheduler.open_port(_name(i)) for i in range(agents)]
        if boot:
            for i, port in enumerate(ports):
                self.scheduler.keep_port(port, _name(i))
        for i, port in enumerate(ports):
            names = [(b"PARTNER", _name(i ^ 1).encode()), (b"SESSION", _name(i | 1).encode())]
            self.scheduler.spawn(port, modules[i % 2], memory=1 << 20, timeout_ns=10**9, environment=names)
        up = 0
        while up < agents:
            for kind, port, _, text in self._events(10.0):
                if kind == EVENT_EXITED:
                    raise ResourceLimitExceeded(f"agent {port} of {agents} did not start: {text}")
                up += kind == EVENT_STARTED
        self.bytes_per_agent = (resident_bytes() - before) / agents

    def _events(self, seconds: float) -> list[tuple[int, int, object, object]]:
        select.select([self.scheduler.wake_fd], [], [], seconds)
        return self.scheduler.drain()

    def start(self, pairs: int) -> None:
        for i in range(pairs):
            self.scheduler.submit(b'{"performative":"inform","receiver":"%s"}' % _name(2 * i).encode())

    def rate(self, seconds: float) -> float:
        """Messages handled per second."""
        self._run(0.15)
        self.scheduler.records.forget_hops()
        before, began = self.scheduler.totals()["turns"], time.perf_counter()
        self._run(seconds)
        return (self.scheduler.totals()["turns"] - before) / (time.perf_counter() - began)

    def _run(self, seconds: float) -> None:
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            self._events(left)


def measure() -> Result:
    two = Pairs(2, 1)
    two.start(1)
    two.rate(SECONDS)
    p50, p99 = (two.scheduler.records.hop_quantile(fraction) / 1000 for fraction in (0.5, 0.99))
    two.scheduler.stop()
    del two
    plain: dict[str, list[float]] = {}
    followed: dict[str, list[float]] = {}
    for agents, times in SIZES.items():
        plain[str(agents)], followed[str(agents)], resident = _rates(agents, times)
    threads = _in_turn(
        lambda: Pairs(200, 1, PLAIN), lambda: Pairs(200, 2, PLAIN), lambda: Pairs(200, 1), lambda: Pairs(200, 2)
    )
    records = _in_turn(lambda: Pairs(2, 1, records=False), lambda: Pairs(2, 1))
    channel = trio.run(_channel_hops)
    base50, base99 = quantile(channel, 0.5), quantile(channel, 0.99)
    return {
        "figures": {
            "p50_us": p50,
            "p99_us": p99,
            "messages_per_second": {agents: max(seen) for agents, seen in plain.items()},
            "messages_per_second_in_conversations": {agents: max(seen) for agents, seen in followed.items()},
            "bytes_per_agent": resident,
            "message_bytes": len(PLAIN[0]),
            "message_bytes_in_conversations": max(len(message) for message in IN_CONVERSATION),
            "payloads": payloads.figures(),
            "wake_up": wakeups.figures(),
            "windows": {
                "messages_per_second": plain,
                "messages_per_second_in_conversations": followed,
                "threads_1": threads[0],
                "threads_2": threads[1],
                "threads_1_in_conversations": threads[2],
                "threads_2_in_conversations": threads[3],
                "records_off": records[0],
                "records_on": records[1],
            },
        },
        "baseline": {"trio_channel_p50_us": base50, "trio_channel_p99_us": base99},
        "ratios": {
            "p50": p50 / base50,
            "p99": p99 / base99,
            "threads_2_vs_1": max(threads[1]) / max(threads[0]),
            "threads_2_vs_1_in_conversations": max(threads[3]) / max(threads[2]),
            "records_on_vs_off": max(records[0]) / max(records[1]),
        },
    }


def _rates(agents: int, times: int) -> tuple[list[float], list[float], float]:
    """Messages per second, plain and in conversations; and the bytes of memory of an agent."""
    rates: tuple[list[float], list[float]] = ([], [])
    resident = 0.0
    for _ in range(times):
        for messages, seen in zip((PLAIN, IN_CONVERSATION), rates, strict=True):
            pairs = Pairs(agents, 1, messages)
            pairs.start(agents // 2)
            seen += [pairs.rate(SECONDS / ROUNDS) for _ in range(ROUNDS // 2)]
            resident = resident or pairs.bytes_per_agent  # of memory that nobody used before
            pairs.scheduler.stop()
            del pairs  # its mappings too: a process may have 65,530
    return *rates, resident


def _in_turn(*kinds: Callable[[], Pairs]) -> list[list[float]]:
    """Messages per second of each kind in short windows, one kind after the other, each with agents of its own.

    What else runs on the machine, and where the memory happens to lie, only makes a window slower; so the best window
    of each is compared.
    """
    windows: list[list[float]] = [[] for _ in kinds]
    for _ in range(ROUNDS):
        for make, seen in zip(kinds, windows, strict=True):
            pairs = make()
            pairs.start(pairs.agents // 2)
            seen.append(pairs.rate(SECONDS / ROUNDS))
            pairs.scheduler.stop()
    return windows


def _name(i: int) -> str:
    return f"a{i:07d}"


async def _channel_hops() -> list[float]:
    """Microseconds of hops between two tasks: a round trip by two."""
    there, here = trio.open_memory_channel[float](0)
    back, again = trio.open_memory_channel[float](0)
    times: list[float] = []

    async def answer() -> None:
        async for value in here:
            await back.send(value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        for _ in range(CHANNEL_HOPS // 2):
            began = time.perf_counter()
            await there.send(began)
            await again.receive()
            times.append((time.perf_counter() - began) / 2 * 1e6)
        there.close()
    return times
