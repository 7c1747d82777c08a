"""The delivery machine under a seeded scheduler, a virtual clock and a disk that is slow, fails and loses power.

A run is a few lives of one machine. Clients post numbered messages to agents outside; these send some on, acknowledge
most of what they are given, and come and go. A life ends by a power cut, or as a killed process does. In the last life
nothing goes wrong any more, and everything that was promised has to come.

lost       an acknowledged message that its receiver was never given; one that it was given, did not acknowledge, and
           never was given again
corrupt    a message that nobody sent, to somebody else, out of its sender's order, again after it was acknowledged in
           the same life or long before its end, or twice in one session
duplicates deliveries beyond the first, in other sessions or lives
"""

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from random import Random

import attrs
import trio

from caxton.core.errors import CaxtonError
from caxton.store import Store
from tests.torture.diary import number_in, text_of
from tests.torture.model import Machine, Session
from tests.torture.oracle import Verdict
from tests.torture.seeded import run_seeded
from tests.torture.simulated_disk import Disk, simulated_store

LIVES = 3
CLIENTS = 3
NAMES = ("red", "green", "blue")
LIFE = 0.3  # s, about so long
LAST_LIFE = 300.0  # s, at most
QUIET = 20.0  # s without a delivery: nothing more will come
FIRM = 3  # transactions after an acknowledgement of a receiver, the last one synced: then it is on the disk

Opener = Callable[[Store, tuple[str, ...]], AbstractAsyncContextManager[Machine]]


@attrs.define(eq=False)
class Sent:
    number: int
    sender: str
    receiver: str
    order: int  # of this sender to this receiver
    acknowledged: bool = False


@attrs.define(eq=False)
class World:
    """Everybody outside the machine, and what they know."""

    rng: Random
    disk: Disk
    sent: dict[int, Sent] = attrs.field(factory=dict)
    orders: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    newest: dict[tuple[str, str], int] = attrs.field(factory=dict)  # order of the last first delivery
    delivered: Counter[int] = attrs.field(factory=Counter)
    owed: set[int] = attrs.field(factory=set)  # given and not acknowledged by the receiver
    done: dict[int, int] = attrs.field(factory=dict)  # acknowledged by the receiver in this life, after so many commits
    firm: set[int] = attrs.field(factory=set)  # the same in an earlier life, and on the disk by its end
    last_delivery: float = 0.0
    life: int = 0
    is_last: bool = False
    findings: Counter[str] = attrs.field(factory=Counter)

    # -- one life --

    async def live(self, machine: Machine) -> None:
        self.last_delivery = trio.current_time()
        async with trio.open_nursery() as nursery:
            if not self.is_last:
                for client in range(CLIENTS):
                    nursery.start_soon(self.post, machine, f"client-{client}")
                nursery.start_soon(self.break_the_disk)
            for name in NAMES:
                nursery.start_soon(self.be, machine, name)
            if self.is_last:
                await self.wait_quiet()
            else:
                await trio.sleep(self.rng.expovariate(1 / LIFE))
                if self.rng.random() < 0.5:
                    self.disk.cut()
                else:
                    self.disk.kill()
                self.firm |= {number for number, at in self.done.items() if at + FIRM <= self.disk.synced}
                self.done.clear()
            nursery.cancel_scope.cancel()

    async def wait_quiet(self) -> None:
        until = trio.current_time() + LAST_LIFE
        # ASYNC110: time is virtual, and no event would say that nothing happens
        while trio.current_time() < min(until, self.last_delivery + QUIET):  # noqa: ASYNC110
            await trio.sleep(1)

    async def break_the_disk(self) -> None:
        while True:
            await trio.sleep(self.rng.expovariate(1 / LIFE))
            self.disk.is_failing = True
            await trio.sleep(self.rng.expovariate(1 / LIFE))
            self.disk.is_failing = False

    async def post(self, machine: Machine, name: str) -> None:
        while True:
            await trio.sleep(self.rng.expovariate(1 / 0.05))
            for _ in range(self.rng.choice((1, 1, 10))):
                await self.send(machine, name, self.rng.choice(NAMES))

    async def send(self, machine: Machine, sender: str, receiver: str) -> None:
        number = len(self.sent) + 1
        self.orders[sender, receiver] += 1
        sent = self.sent[number] = Sent(number, sender, receiver, self.orders[sender, receiver])
        message: dict[str, object] = {
            "performative": "inform",
            "receiver": receiver,
            "conversation_id": f"{sender}-{receiver}",
            "content": text_of(number),
        }
        if self.rng.random() < 0.5:
            message["message_id"] = str(uuid.UUID(int=(7 << 76) | (2 << 62) | number))
        try:
            await machine.post(message)
        except CaxtonError:
            await trio.sleep(0.1)  # refused, or perhaps not
        else:
            sent.acknowledged = not self.disk.is_off  # an answer of a machine without power reaches nobody

    async def be(self, machine: Machine, name: str) -> None:
        """The agent outside: it comes and goes."""
        while True:
            async with machine.stream(name) as session:
                given: set[int] = set()
                for _ in range(self.rng.randint(1, 30)):
                    await self.take(machine, session, name, given)
            await trio.sleep(self.rng.expovariate(1 / 0.2))

    async def take(self, machine: Machine, session: Session, name: str, given: set[int]) -> None:
        messages = await session.receive(self.rng.randint(1, 20))
        for message in messages:
            number = self.deliver(name, message.content or b"", given)
            if not self.is_last and self.rng.random() < 0.3:
                await self.send(machine, name, self.rng.choice([other for other in NAMES if other != name]))
            if self.is_last or self.rng.random() < 0.9:
                session.ack([str(message.message_id)])
                if not self.disk.is_off:
                    self.owed.discard(number)
                    self.done[number] = self.disk.transactions

    def deliver(self, name: str, content: bytes, given: set[int]) -> int:
        number = number_in(json.loads(content)) or 0
        if self.disk.is_off:
            return number  # nobody sees it
        sent = self.sent.get(number)
        if sent is None or sent.receiver != name:
            self.findings["a message that nobody sent to its receiver"] += 1
            return number
        if number in self.done:
            self.findings["a message came again after it was acknowledged"] += 1
        if number in self.firm:
            self.findings["a message came again long after it was acknowledged"] += 1
        if number in given:
            self.findings["a message came twice in one session"] += 1
        given.add(number)
        self.delivered[number] += 1
        self.owed.add(number)
        self.last_delivery = trio.current_time()
        if self.delivered[number] == 1:
            pair = sent.sender, name
            if sent.order < self.newest.get(pair, 0):
                self.findings["messages of one sender came in another order"] += 1
            self.newest[pair] = max(sent.order, self.newest.get(pair, 0))
        return number

    # -- the end --

    def verdict(self) -> Verdict:
        findings = Counter(self.findings)
        corrupt = findings.total()
        acknowledged = [sent.number for sent in self.sent.values() if sent.acknowledged]
        missing = {number for number in acknowledged if not self.delivered[number]}
        findings["acknowledged and never delivered"] = len(missing)
        findings["left the machine, and was forgotten"] = len(self.owed)
        duplicates = sum(times - 1 for times in self.delivered.values() if times)
        return Verdict(len(acknowledged), len(missing | self.owed), corrupt, duplicates, +findings)


async def _run(opener: Opener, rng: Random) -> Verdict:
    disk = Disk(rng)
    world = World(rng, disk)
    for life in range(LIVES):
        world.is_last = life == LIVES - 1
        disk.delay = rng.choice((0.0001, 0.001, 0.02))
        async with simulated_store(disk) as store, opener(store, NAMES) as machine:
            await world.live(machine)
        if not world.is_last:
            disk.turn_on()
    return world.verdict()


@attrs.define(eq=False)
class SimulationReport:
    verdict: Verdict = attrs.field(factory=Verdict)
    failed: list[int] = attrs.field(factory=list)  # seeds


def torture_simulated(seeds: Iterable[int], opener: Opener) -> SimulationReport:
    report = SimulationReport()
    for seed in seeds:
        verdict = simulate(seed, opener)
        if not verdict.is_good:
            report.failed.append(seed)
        report.verdict += verdict
    return report


def simulate(seed: int, opener: Opener) -> Verdict:
    """One run; the same seed does the same."""
    verdict = run_seeded(partial(_run, opener), seed)
    return attrs.evolve(verdict, findings=Counter({f"seed {seed}: {what}": n for what, n in verdict.findings.items()}))
