"""Everything at once, for as long as it is told: agents of both kinds that send, sleep, call, spin, subscribe, crash;
an operator who deploys, starts, ends and deletes them and takes mail; conversations between all of them, and who looks
at these; and schedulers that end in order or in the middle of it all, each followed by a new one.

    python -m tests._fast.stress --seconds 60 --seed 7

One seed is one list of acts; what the threads make of it differs from run to run. `test_storm.py` runs a little of it,
`make sanitize` a minute.

What must hold in the end, whatever happened (1 to 3 to the message when the end was in order; a scheduler that is
stopped in the middle may break off one turn of each instance):

1. What the ports took in was handled, was reported, was given back by `close_port` or taken by Python. A turn that
   ended with `drop` is none of it: its message is for the next instance.
2. Each message from outside had as many fates as the sender was told receivers.
3. Each handled message has its one answer, each turn that failed its one report, but for those that `drop` ended.
4. Every instance that was started has ended, once, and its slot in the pool is free for the next scheduler.
"""

import argparse
import contextlib
import faulthandler
import json
import random
import select
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from caxton._fast import scheduler as native
from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import Scheduler
from caxton._fast.wasm.component import Component
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module
from caxton.core.errors import CaxtonError
from tests._fast.probe import poke, probe, step
from tests._fast.scheduling import Event, guest
from tests._fast.wrapping import MEMORIES

NAMES = [f"p{i}" for i in range(6)]
HERE, OUT = 0x100, 0x30000
SLOTS = 20
MOST_PORTS = 12
# longer than the slowest of what is waited for, on a busy machine with a sanitizer; then a thread hangs
PATIENCE = 90.0
OPENED = [
    ("fipa-request", "request"),
    ("fipa-contract-net", "cfp"),
    ("fipa-subscribe", "subscribe"),
    ("fipa-request", "cancel"),
    ("none-of-them", "inform"),
]
SUBSCRIPTION = '{"topics":["all.*"]}'


def send_step(rng: random.Random, depth: int) -> str:
    """A message to another agent, with a script of its own; its answer goes to the sink too."""
    receiver = rng.choice([*NAMES, "topic:all", "topic:all.some", "broadcast://all", "nobody", "capability:any"])
    content = "#" + script(rng, depth + 1)
    followed = rng.choice(["", f'"conversation_id":"c{rng.randrange(5)}","protocol":"fipa-request",'])
    text = f'{{"performative":"inform","receiver":"{receiver}","reply_to":"sink",{followed}"content":"{content}"}}'
    if rng.randrange(5) == 0:
        operands = OUT, 2, HERE, len(text)
        return poke(OUT, "{}") + poke(HERE, text) + step("broadcast_message", *operands)
    return poke(HERE, text) + step("send_message", HERE, len(text))


def script(rng: random.Random, depth: int = 0) -> str:
    """What an agent does with one message. It refuses, if at all, before it sends: then that is always reported."""
    if rng.randrange(25) == 0:
        return step("refuse")
    steps = []
    for _ in range(rng.randrange(4)):
        kind = rng.randrange(100)
        if kind < 35 and depth < 3:
            steps.append(send_step(rng, depth))
        elif kind < 45:
            steps.append(step("sleep_micros", rng.choice([0, 1, 100, 3000])))
        elif kind < 60:
            steps.append(step(rng.choice(["mcp_call", "memory_search"]), HERE, rng.randrange(9), OUT, rng.randrange(9)))
        elif kind < 68:
            steps.append(step("store_data", HERE, rng.randrange(9), HERE, rng.randrange(99)))
        elif kind < 74:
            steps.append(step("set_timer", rng.randrange(9)))
        elif kind < 80:
            steps.append(step("console_log", HERE, rng.randrange(99)))
        elif kind < 84:
            steps.append(poke(HERE, SUBSCRIPTION) + step("subscribe_messages", HERE, len(SUBSCRIPTION)))
        elif kind < 90:
            steps.append(step("grow", rng.randrange(9)))
        elif kind < 95:
            steps.append(step("trap"))
        elif kind < 97:
            steps.append(step("spin"))
        else:
            steps.append(step("broadcast_message", HERE, rng.randrange(99), HERE, rng.randrange(99)))
    return "".join([*steps, step("end")])


class Round:
    """One scheduler from its start to its end, and the books that are kept of it."""

    def __init__(self, engines: list[Engine], rng: random.Random) -> None:
        self.rng = rng
        engine = engines[0]  # of core modules
        roomy = rng.randrange(3) > 0
        self.scheduler = Scheduler(
            engine,
            threads=rng.choice([1, 2, 2, 3]),
            slice_us=rng.choice([200, 1000]),
            max_message_size=1 << 20 if roomy else 1 << 16,
            journal_bytes=0 if roomy else 1,  # the smallest: senders wait for the reader
            history_messages=rng.choice([1, 1000]),
            history_bytes=1 << 16,
        )
        self.probes = [probe(on=each) for each in engines]
        self.guests = [guest(name, each) for each in engines for name in ("init_traps", "init_spins")]
        self.guests += self.probes[:1] * 12 + self.probes[1:] * 6
        self.started: Counter[int] = Counter()
        self.ports: dict[int, bool] = {}  # open ones; True: a host port
        self.calls: list[tuple[int, int]] = []
        self.timers: list[tuple[int, int]] = []
        # the books
        self.told: Counter[str] = Counter()  # message from outside -> receivers that the sender was told
        self.fates: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()  # reports that one of several did not get it
        self.received = 0  # by ports that are closed
        self.given_back = 0
        self.answers = 0
        self.reports = 0
        self.spawned: Counter[int] = Counter()
        self.exited: Counter[int] = Counter()
        self.dropped = 0  # instances; each may have broken off one turn
        self.keeps = rng.randrange(2) == 0
        self.configure()
        self.sink = self.scheduler.open_port("sink", host=True, queue_size=1 << 30, queue_bytes=1 << 40)
        self.scheduler.start()

    def configure(self) -> None:
        """Limits of conversations; again while the threads step. `stop_loops` would refuse what the books count."""
        rng = self.rng
        self.scheduler.tracker.configure(
            max_conversations=rng.choice([3, 100_000]),
            max_participants=rng.choice([2, 4096]),
            first_answer=rng.choice([0.0005, 60.0]),
            kept_ended=rng.choice([0, 1000]),
            kept_seconds=rng.choice([0.0, 600.0]),
            idle=rng.choice([0.001, 1800.0]),
            longest=rng.choice([0.01, 86_400.0]),
            max_rounds=rng.choice([1, 10]),
            keeps=self.keeps,
            max_repeats=rng.choice([0, 5, 100]),
            max_hops=rng.choice([0, 2, 200]),
            content_shapes=rng.choice([0, 1]),
        )

    # -- what happens --

    def act(self) -> None:
        kind = self.rng.randrange(100)
        with contextlib.suppress(CaxtonError):
            if kind < 58 or not self.ports:
                self.send()
            elif kind < 72:
                self.spawn(self.any_port())
            elif kind < 75:
                self.deploy()
            elif kind < 77:
                self.close(self.any_port())
            else:
                self.disturb(self.any_port(), kind)
        if self.rng.randrange(8) == 0:
            self.look(self.rng.choice([0, 0, 0, 0.001]))

    def any_port(self) -> int:
        return self.rng.choice(list(self.ports))

    def send(self) -> None:
        rng = self.rng
        several = rng.sample(NAMES, 3)
        receiver = rng.choice([rng.choice(NAMES)] * 5 + ["topic:all", "broadcast://all", "capability:any", several])
        token = f"t{self.told.total()}-{rng.randrange(1 << 30)}"
        message = {
            "performative": "request",
            "receiver": receiver,
            "content": "#" + script(rng),
            "priority": rng.choice(["low", "normal", "high", "critical"]),
            "reply_to": "sink",
            "reply_with": token,
        }
        if rng.randrange(2):
            message["conversation_id"] = f"c{rng.randrange(5)}"
            # no proposal: one that comes too late is not delivered
            message["protocol"], message["performative"] = rng.choice(OPENED)
            if rng.randrange(3) == 0:
                message["params"] = {"parent_conversation": f"c{rng.randrange(5)}"}
        receipt = self.scheduler.submit(json.dumps(message).encode(), sender="me")
        self.told[token] = receipt.delivered_to

    def spawn(self, port: int, module: Module | None = None, timeout_ms: int | None = None) -> None:
        rng = self.rng
        module = module or rng.choice(self.guests)
        self.scheduler.spawn(
            port,
            module,
            memory=rng.choice([1 << 18, 1 << 20, 1 << 22]) * (MEMORIES if isinstance(module, Component) else 1),
            timeout_ns=(timeout_ms or rng.choice([1, 20, 2000])) * 10**6,
            cpu_millicores=rng.choice([0, 0, 300]),
            state=[(b"k", b"v")],
        )
        self.spawned[port] += 1

    def deploy(self) -> None:
        if len(self.ports) >= MOST_PORTS:
            return
        host = self.rng.randrange(6) == 0
        if host:
            port = self.scheduler.open_port(f"host{self.rng.randrange(3)}", host=True, queue_size=20)
        else:
            port = self.scheduler.open_replica(self.rng.choice(NAMES), queue_size=self.rng.choice([5, 50]))
        self.ports[port] = host
        self.scheduler.join_group(port, "all")
        self.scheduler.add_capability(port, "any")
        self.scheduler.subscribe(port, self.rng.choice(["all", "all.*", "**"]))
        if not host:
            self.spawn(port)

    def disturb(self, port: int, kind: int) -> None:
        rng, scheduler = self.rng, self.scheduler
        if kind < 80:
            scheduler.drop(port)
        elif kind < 82:
            scheduler.shutdown(port)
        elif kind < 84:
            scheduler.drain_port(port)
        elif kind < 88:
            scheduler.set_accepting(port, True)
        elif kind < 91:
            scheduler.fire_timer(port, rng.randrange(1, 9))
        elif kind < 92:
            scheduler.check_health(port)
        elif kind < 94:
            scheduler.statistics(port)
        elif kind < 95:
            scheduler.totals()
        elif kind < 96:
            rng.choice([scheduler.start_profile, scheduler.stop_profile, lambda: scheduler.history(None, 0, 10)])()
        elif kind < 97:
            scheduler.clear_routes(port)
        elif kind < 98:
            scheduler.subscribe(port, "all", b'{"n":{"gte":1}}' if rng.randrange(2) else b"", rng.randrange(1 << 22))
        else:
            self.take(scheduler.receive(port, rng.randrange(30)))

    def close(self, port: int) -> None:
        self.scheduler.set_accepting(port, False)
        self.received += self.scheduler.statistics(port).received  # nobody adds to it any more
        self.take(self.scheduler.close_port(port))
        del self.ports[port]

    def take(self, mail: list[Envelope]) -> None:
        self.scheduler.tracker.taken(mail, self.rng.choice(NAMES))
        self.given_back += len(mail)
        self.fates.update(message.reply_with for message in mail if message.reply_with)

    # -- what is heard of it --

    def look(self, wait: float) -> None:
        if wait:
            select.select([self.scheduler.wake_fd], [], [], wait)
        for event in self.scheduler.drain():
            self.hear(event)
        self.follow()
        answers = self.scheduler.receive(self.sink, 1 << 20)
        self.answers += len(answers)
        self.fates.update(answer.in_reply_to for answer in answers if answer.in_reply_to)
        with contextlib.suppress(CaxtonError):
            while self.calls and self.rng.randrange(4):
                port, call = self.calls.pop(self.rng.randrange(len(self.calls)))
                for _ in range(self.rng.choice([1, 1, 3])):  # an answer too many is ignored
                    answer, error = b"x" * self.rng.randrange(20), self.rng.choice(["", "", "no"])
                    self.scheduler.complete_call(port, call, answer, error)
            while self.timers and self.rng.randrange(4):
                self.scheduler.fire_timer(*self.timers.pop())

    def follow(self) -> None:
        """What Trio's thread does about conversations, and asks of them, while they go on."""
        tracker = self.scheduler.tracker
        tracker.tick()
        tracker.wait_seconds()
        tracker.read_events()
        asked = self.rng.randrange(20)
        if asked == 0:
            tracker.reap(16)
        elif asked == 1:
            tracker.collect()
        elif asked == 2:
            tracker.list(limit=5)
        elif asked == 3:
            tracker.get(f"c{self.rng.randrange(5)}")
        elif asked == 4:
            tracker.complete(f"c{self.rng.randrange(5)}")
        elif asked == 5:
            found = tracker.statistics()
            assert found.steps >= found.moved + found.repeated + found.out_of_sequence + found.untracked, found
        elif asked == 6:
            self.configure()

    def hear(self, event: Event) -> None:
        kind, port, a, b = event
        if kind == native.EVENT_CALL:
            self.calls.append((port, a))
        elif kind == native.EVENT_TIMER and b:
            self.timers.append((port, a))
        elif kind == native.EVENT_SUBSCRIBE:
            with contextlib.suppress(CaxtonError):
                self.scheduler.subscribe(port, json.loads(b)["topics"][0])
        elif kind == native.EVENT_STARTED:
            self.started[port] += 1
        elif kind == native.EVENT_EXITED:
            self.exited[port] += 1
            self.dropped += a == native.EXIT_KILLED
        elif kind == native.EVENT_UNDELIVERED:
            counted = self.fates if a > 0 else self.refused
            self.reports += a > 0
            if b[0].reply_with:
                counted[b[0].reply_with] += 1

    def until(self, happened: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < end, f"{what}: {self.books()}"
            self.look(0.002)

    # -- the end --

    def fill_the_pool(self) -> None:
        """Every slot of the engines' pools is free, whatever the schedulers before have left."""
        modules = [module for module in self.probes for _ in range(SLOTS)]
        ports = [self.scheduler.open_port(f"slot{i}") for i in range(len(modules))]
        for port, module in zip(ports, modules, strict=True):
            self.spawn(port, module, 60_000)
        self.until(lambda: all(self.started[port] for port in ports), "a slot is not free")
        for port in ports:
            self.ports[port] = False
        for port in ports:
            self.scheduler.drop(port)
        self.until(self.all_ended, "an instance has not left its slot")
        for port in ports:
            self.close(port)

    def all_ended(self) -> bool:
        return all(self.spawned[port] == self.exited[port] for port in self.ports)

    def end_in_order(self) -> None:
        for port in self.ports:
            self.scheduler.set_accepting(port, False)
            self.scheduler.drop(port)
        self.until(self.all_ended, "an instance has not ended")
        for port in list(self.ports):
            assert self.scheduler.statistics(port).state == "idle"
            self.close(port)
        # of a port that was closed before, the turn that ran is still to come
        self.until(lambda: not self.missing(), "a message is lost, or counted twice")
        self.until(lambda: self.answers == self.scheduler.totals()["handled"], "an answer is missing, or one too many")
        self.look(0)
        totals = self.scheduler.totals()
        assert (totals["agents"], totals["waiting"]) == (0, 0), self.books()
        assert self.reports <= totals["failed"] <= self.reports + self.dropped, self.books()
        for token, told in self.told.items():
            # of several receivers none may have had room in the end: the sender was told one, and then the truth
            nobody = told == 1 and self.fates[token] == 0 and self.refused[token] > 0
            assert self.fates[token] == told or nobody, (token, told, self.fates[token], self.refused[token])
        self.scheduler.stop()

    def end_in_the_middle(self) -> None:
        self.scheduler.stop()
        self.look(0)
        for port in list(self.ports):
            self.close(port)
        self.look(0)
        assert 0 <= self.missing() <= SLOTS, self.books()
        assert self.answers == self.scheduler.totals()["handled"], self.books()
        assert 0 <= self.told.total() - self.fates.total() <= SLOTS + self.refused.total(), self.books()
        for token, told in self.told.items():
            assert self.fates[token] <= told, (token, told, self.fates[token])

    def missing(self) -> int:
        totals = self.scheduler.totals()
        return self.received - totals["handled"] - self.reports - self.given_back

    def books(self) -> dict[str, Any]:
        unended = {port: n - self.exited[port] for port, n in self.spawned.items() if port in self.ports}
        books = {name: getattr(self, name) for name in ("received", "given_back", "answers", "reports", "dropped")}
        return books | {"not ended": unended} | self.scheduler.totals()


def storm(seed: int, goes_on: Callable[[int], bool], most_acts: int, kinds: int = 2) -> Counter[str]:
    """Rounds, for as long as `goes_on(round)`; what happened in them, counted. *kinds* 1: core modules only."""
    engines = [Engine(pool_slots=SLOTS), Engine(components=True, pool_slots=SLOTS * MEMORIES)][:kinds]
    sums: Counter[str] = Counter()
    number = 0
    while goes_on(number):
        rng = random.Random(f"{seed} {number}")
        # the watchdog: says where the threads stand and ends the process, even when the interpreter's lock is held
        faulthandler.dump_traceback_later(2 * PATIENCE, exit=True, file=sys.__stderr__)
        one = Round(engines, rng)
        one.fill_the_pool()
        for name in NAMES:
            port = one.scheduler.open_port(name, queue_size=50)
            one.ports[port] = False
            one.scheduler.join_group(port, "all")
            one.scheduler.subscribe(port, "all")
        for _ in range(rng.randrange(most_acts // 4, most_acts)):
            one.act()
        in_order = rng.randrange(3) > 0
        one.end_in_order() if in_order else one.end_in_the_middle()
        faulthandler.cancel_dump_traceback_later()
        sums["ended in order" if in_order else "stopped in the middle"] += 1
        sums.update({name: one.scheduler.totals()[name] for name in ("accepted", "handled", "failed", "undelivered")})
        sums["started"] += one.spawned.total()
        sums["steps of conversations"] += one.scheduler.tracker.statistics().steps
        number += 1
    return sums


def main() -> None:
    parser = argparse.ArgumentParser(description="Run agents and an operator against each other and check the books.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--kinds", type=int, choices=(1, 2), default=2, help="1: core modules only, no components")
    arguments = parser.parse_args()
    print(f"stress: seed {arguments.seed}, {arguments.seconds:g} seconds", flush=True)
    end = time.monotonic() + arguments.seconds
    sums = storm(arguments.seed, lambda number: time.monotonic() < end, most_acts=6000, kinds=arguments.kinds)
    print("stress: clean;", ", ".join(f"{count} {name}" for name, count in sums.items()))


if __name__ == "__main__":
    main()
