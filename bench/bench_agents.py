"""Agents on the native path: a call into a guest, spawns, hops. What `track_` gives is named in it."""

import select
import time

from caxton._fast.scheduler import EVENT_STARTED, Scheduler
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.instance import Instance
from caxton._fast.wasm.module import Module, wat2wasm
from caxton.cli.benchmarks import quantile
from caxton.cli.benchmarks.call import message_of
from caxton.cli.benchmarks.guests import SINK
from caxton.cli.benchmarks.hop import Pairs

AGENTS = (2, 1000, 10_000)


class Call:
    """One turn of a guest that does nothing."""

    params = (64, 1024, 65_536)
    param_names = ("message_bytes",)

    def setup(self, size: int) -> None:
        engine = Engine(pool_slots=16)
        self.instance = Instance(engine, Module.compile(engine, wat2wasm(SINK)))
        self.instance.spawn()
        self.message = message_of(size)
        self.instance.time_turns(self.message, 100)

    def time_turns(self, size: int) -> None:
        self.instance.time_turns(self.message, 1000)


class Spawn:
    def setup(self) -> None:
        engine = Engine(pool_slots=64)
        self.instance = Instance(engine, Module.compile(engine, wat2wasm(SINK)))
        self.instance.time_spawns(200)

    def track_spawn_p50_ns(self) -> float:
        return quantile(self.instance.time_spawns(2000), 0.5)


class Together:
    """Agents that are asked for one after the other, until all of them are up; instances by all scheduler threads."""

    params = AGENTS
    param_names = ("agents",)
    timeout = 120

    def setup(self, agents: int) -> None:
        engine = Engine(pool_slots=agents + 16, max_memory=1 << 20)
        self.module = Module.compile(engine, wat2wasm(SINK))
        self.scheduler = Scheduler(engine)
        self.scheduler.start()

    def teardown(self, agents: int) -> None:
        self.scheduler.stop()

    def track_spawn_us(self, agents: int) -> float:
        began = time.perf_counter()
        for number in range(agents):
            port = self.scheduler.open_port(f"agent {number}")
            self.scheduler.spawn(port, self.module, memory=1 << 20, timeout_ns=10**9)
        up = 0
        while up < agents:
            readable, _, _ = select.select([self.scheduler.wake_fd], [], [], 10.0)
            assert readable, f"{agents - up} agents did not start"
            up += sum(kind == EVENT_STARTED for kind, *_ in self.scheduler.drain())
        return (time.perf_counter() - began) / agents * 1e6


class Hop:
    """Pairs of agents that answer each other, on one scheduler thread."""

    params = AGENTS
    param_names = ("agents",)
    timeout = 120

    def setup(self, agents: int) -> None:
        self.pairs = Pairs(agents, 1)

    def teardown(self, agents: int) -> None:
        self.pairs.scheduler.stop()

    def track_messages_per_second(self, agents: int) -> float:
        self.pairs.start(agents // 2)
        return self.pairs.rate(1.0)

    def track_p50_ns_of_one_message(self, agents: int) -> float:
        self.pairs.start(1)
        self.pairs.rate(0.5)
        return self.pairs.scheduler.records.hop_quantile(0.5)

    def track_bytes_per_agent(self, agents: int) -> float:
        return self.pairs.bytes_per_agent

    def peakmem_agents(self, agents: int) -> None:
        """The whole process, this many agents in it."""
