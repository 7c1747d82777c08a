"""Everything at once: agents that send, sleep, call, spin and crash, and an operator who starts and ends them."""

import random

import pytest

from caxton._fast import scheduler as native
from caxton.core.errors import CaxtonError
from tests._fast.probe import poke, probe, step
from tests._fast.scheduling import Stage, open_stage, unharmed

NAMES = [f"p{i}" for i in range(6)]
HERE, OUT = 0x100, 0x30000


def send_step(rng: random.Random, depth: int) -> str:
    """A message to another agent, with a script of its own."""
    receiver = rng.choice([*NAMES, "topic:all", "broadcast://all", "nobody", "capability:any"])
    content = "#" + script(rng, depth + 1)
    text = f'{{"performative":"inform","receiver":"{receiver}","content":"{content}"}}'
    return poke(HERE, text) + step("send_message", HERE, len(text))


def script(rng: random.Random, depth: int = 0) -> str:
    steps = []
    for _ in range(rng.randrange(4)):
        kind = rng.randrange(100)
        if kind < 30 and depth < 3:
            steps.append(send_step(rng, depth))
        elif kind < 45:
            steps.append(step("sleep_micros", rng.choice([0, 1, 100, 3000])))
        elif kind < 60:
            steps.append(step(rng.choice(["mcp_call", "memory_search"]), HERE, rng.randrange(9), OUT, rng.randrange(9)))
        elif kind < 70:
            steps.append(step("store_data", HERE, rng.randrange(9), HERE, rng.randrange(99)))
        elif kind < 76:
            steps.append(step("set_timer", rng.randrange(9)))
        elif kind < 82:
            steps.append(step("console_log", HERE, rng.randrange(99)))
        elif kind < 88:
            steps.append(step("grow", rng.randrange(9)))
        elif kind < 92:
            steps.append(step("refuse"))
        elif kind < 95:
            steps.append(step("trap"))
        elif kind < 96:
            steps.append(step("spin"))
        else:
            steps.append(step("broadcast_message", HERE, rng.randrange(99), HERE, rng.randrange(99)))
    return "".join([*steps, step("end")])


class Operator:
    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.stage, self.scheduler, self.rng = stage, stage.scheduler, rng
        self.ports = {name: self.open(name) for name in NAMES}
        self.spawned = 0
        self.closed_alive = 0
        self.calls: list[tuple[int, int]] = []

    def open(self, name: str) -> int:
        port = self.scheduler.open_port(name, queue_size=50)
        self.scheduler.join_group(port, "all")
        self.scheduler.add_capability(port, "any")
        self.scheduler.subscribe(port, "all")
        return port

    def act(self) -> None:
        rng, name = self.rng, self.rng.choice(NAMES)
        port, kind = self.ports[name], rng.randrange(100)
        try:
            if kind < 60:
                self.stage.send(name, "#" + script(rng), priority=rng.choice(["low", "normal", "high", "critical"]))
            elif kind < 75:
                self.scheduler.spawn(
                    port,
                    probe(),
                    memory=rng.choice([1 << 18, 1 << 20, 1 << 22]),
                    timeout_ns=rng.choice([1, 20]) * 10**6,
                    cpu_millicores=rng.choice([0, 300]),
                    state=[(b"k", b"v")],
                )
                self.spawned += 1
            elif kind < 79:
                self.scheduler.drop(port)
            elif kind < 82:
                self.scheduler.shutdown(port)
            elif kind < 84:
                self.scheduler.drain_port(port)
            elif kind < 88:
                self.scheduler.set_accepting(port, True)
            elif kind < 91:
                self.scheduler.fire_timer(port, rng.randrange(1, 9))
            elif kind < 93:
                self.scheduler.check_health(port)
            elif kind < 95:
                self.scheduler.close_port(port)
                self.ports[name] = self.open(name)
            elif kind < 98:
                self.scheduler.statistics(port)
            else:
                self.scheduler.clear_routes(port)
        except CaxtonError:
            pass
        if rng.randrange(8) == 0:
            self.look()

    def look(self) -> None:
        seen = len(self.stage.events)
        self.stage.events += self.scheduler.drain()
        self.calls += [(port, a) for kind, port, a, _ in self.stage.events[seen:] if kind == native.EVENT_CALL]
        while self.calls and self.rng.randrange(4):
            port, call = self.calls.pop(self.rng.randrange(len(self.calls)))
            self.scheduler.complete_call(port, call, b"x" * self.rng.randrange(20), self.rng.choice(["", "", "no"]))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_storm_leaves_the_scheduler_in_order(seed: int) -> None:
    with open_stage(threads=2) as stage, unharmed(stage):
        operator = Operator(stage, random.Random(seed))
        for _ in range(1500):
            operator.act()
        for port in operator.ports.values():
            stage.scheduler.drop(port)
        for port in operator.ports.values():
            stage.watch(lambda: len(stage.of(native.EVENT_STARTED, port)) <= len(stage.of(native.EVENT_EXITED, port)))  # noqa: B023
            stage.watch(lambda: stage.scheduler.statistics(port).state == "idle")  # noqa: B023
            stage.scheduler.close_port(port)
        assert stage.scheduler.totals()["agents"] == 1  # the neighbour
        assert operator.spawned > 50
        assert stage.scheduler.totals()["waiting"] == 0
