"""Agents on the native path: a call into a guest, spawns, hops. What `track_` gives is named in it."""

from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.instance import Instance
from caxton._fast.wasm.module import Module, wat2wasm
from caxton.cli.benchmarks import quantile
from caxton.cli.benchmarks.call import message_of
from caxton.cli.benchmarks.guests import SINK
from caxton.cli.benchmarks.hop import Pairs


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


class Hop:
    """Pairs of agents that answer each other, on one scheduler thread."""

    params = (2, 1000, 10_000)
    param_names = ("agents",)
    timeout = 120

    def track_messages_per_second(self, agents: int) -> float:
        pairs = Pairs(agents, 1)
        pairs.start(agents // 2)
        rate = pairs.rate(1.0)
        pairs.scheduler.stop()
        return rate

    def track_bytes_per_agent(self, agents: int) -> float:
        pairs = Pairs(agents, 1)
        pairs.scheduler.stop()
        return pairs.bytes_per_agent
