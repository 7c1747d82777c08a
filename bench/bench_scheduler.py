"""What the scheduler costs, with guests that do nothing: turns without a guest, messages from outside, many receivers.

Each `time_` does 1,000 of what it is named by, unless `agents` says how many.
"""

import select
import time

from caxton._fast.scheduler import EVENT_HEALTH, EVENT_STARTED, Scheduler
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module, wat2wasm
from caxton.cli.benchmarks.guests import SINK, relay

MESSAGES = 1000
PATIENCE = 10.0
MEMORY = 4 << 20
TO_ONE = b'{"performative":"inform","receiver":"agent 0","content":"1234567890123456789012345678901234567890"}'
TO_ALL = (
    b'{"performative":"inform","receiver":"broadcast://sinks","content":"1234567890123456789012345678901234567890"}'
)


class Sinks:
    """So many agents in one group that take messages and do nothing."""

    def __init__(self, agents: int, threads: int, largest: int = 1 << 20) -> None:
        self.engine = Engine(pool_slots=agents + 16, max_memory=MEMORY)
        self.scheduler = Scheduler(self.engine, threads=threads, max_message_size=largest)
        self.scheduler.start()
        module = Module.compile(self.engine, wat2wasm(SINK))
        self.ports = [self.scheduler.open_port(f"agent {number}") for number in range(agents)]
        for port in self.ports:
            self.scheduler.join_group(port, "sinks")
            self.spawn(port, module)
        self.wait_for(EVENT_STARTED, agents)

    def spawn(self, port: int, module: Module) -> None:
        self.scheduler.spawn(port, module, memory=MEMORY, timeout_ns=10**9)

    def wait_for(self, kind: int, events: int) -> None:
        while events > 0:
            readable, _, _ = select.select([self.scheduler.wake_fd], [], [], PATIENCE)
            assert readable, f"{events} events of kind {kind} are missing"
            events -= sum(happened == kind for happened, *_ in self.scheduler.drain())

    def wait_handled(self, messages: int) -> None:
        """Until so many have been handled since the start: asked without rest, because records wake nobody at once."""
        until = time.perf_counter() + PATIENCE
        while self.handled() < messages:
            assert time.perf_counter() < until, f"{self.handled()} of {messages} messages handled"

    def handled(self) -> int:
        self.scheduler.history(None, 1 << 62, 0)  # reads the records
        return self.scheduler.records.handled


class Turn:
    """A turn that calls no guest: a health check, which this guest does not export. Asked, queued, run, told."""

    params = (1, 1000)
    param_names = ("agents",)

    def setup(self, agents: int) -> None:
        self.sinks = Sinks(agents, 1)

    def teardown(self, agents: int) -> None:
        self.sinks.scheduler.stop()

    def time_turns_without_guest(self, agents: int) -> None:
        for port in self.sinks.ports * (MESSAGES // agents):
            self.sinks.scheduler.check_health(port)
        self.sinks.wait_for(EVENT_HEALTH, MESSAGES)


class Outside:
    """A message from Python to one guest; the thread that handles it wakes up for it or runs already."""

    params = (1, 2)
    param_names = ("threads",)

    def setup(self, threads: int) -> None:
        self.sinks = Sinks(1, threads)

    def teardown(self, threads: int) -> None:
        self.sinks.scheduler.stop()

    def time_submit(self, threads: int) -> None:
        before = self.sinks.handled()
        for _ in range(MESSAGES):
            self.sinks.scheduler.submit(TO_ONE)
        self.sinks.wait_handled(before + MESSAGES)

    def time_submit_and_wait_for_each_of_ten(self, threads: int) -> None:
        before = self.sinks.handled()
        for number in range(1, 11):
            self.sinks.scheduler.submit(TO_ONE)
            self.sinks.wait_handled(before + number)


class Broadcast:
    """One message to many.

    From outside, Python's thread puts them on the queues of all threads by turns; from a guest they stand on the queue
    of its thread, and the other one steals.
    """

    params = ([2, 1000, 10_000], [1, 2])
    param_names = ("agents", "threads")
    timeout = 120

    def setup(self, agents: int, threads: int) -> None:
        self.sinks = Sinks(agents, threads)
        port = self.sinks.scheduler.open_port("speaker")
        self.sinks.spawn(port, Module.compile(self.sinks.engine, wat2wasm(relay(TO_ALL.decode()))))
        self.sinks.wait_for(EVENT_STARTED, 1)
        self.time_from_a_guest(agents, threads)  # the first message of an agent is when its buffer is made

    def teardown(self, agents: int, threads: int) -> None:
        self.sinks.scheduler.stop()

    def time_from_outside(self, agents: int, threads: int) -> None:
        before = self.sinks.handled()
        self.sinks.scheduler.submit(TO_ALL)
        self.sinks.wait_handled(before + agents)

    def time_from_a_guest(self, agents: int, threads: int) -> None:
        before = self.sinks.handled()
        self.sinks.scheduler.submit(b'{"performative":"inform","receiver":"speaker"}')
        self.sinks.wait_handled(before + agents + 1)
