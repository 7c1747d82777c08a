"""kill -9 at random moments and at the named failpoints, under load, and the count of what was lost.

    agents   clients → first-0, first-1 → second → outside (a WebSocket client, one message in 16)
             the first ones refuse one number in 2048, which has to become a dead letter
    a life   start the server, let the clients send, kill it: by a signal after so many acknowledgements or so many
             milliseconds, or by one of the failpoints that a server under load passes; each of these has its turn
    the end  one more server, until everything acknowledged has its effect or nothing moves any more; then SIGTERM

The effects are read from the file itself, not asked of the server.
"""

import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import attrs
import trio

from caxton._fast.wasm.module import wat2wasm
from caxton.telemetry.failpoints import POINTS
from tests.torture.clients import FIRST, OUTSIDE, Clients
from tests.torture.diary import RECORD, Diary, read_diary
from tests.torture.oracle import BLOCK, PASSED_ON, Verdict, check, judge, read_effects
from tests.torture.server import Server, open_server

GUEST = Path(__file__).parent / "guests" / "tally.wat"
SETTINGS = (
    "messaging.queue_size=1000000",
    "messaging.retry_delay=20ms",
    "runtime.state_quota=256MB",
    "observability.logging.level=warn",
)
SINGLES, BATCHES = 4, 2  # connections
EARLY_SHARE = 0.1  # of the lives end before the server is ready, or just after
EARLY_WITHIN = 1.0  # s
POINT_SHARE = 0.4  # of the lives end at a failpoint
AT_START = {"migration-middle": 1}  # points that only a server over a new folder passes, and how often
UNDER_LOAD = (
    "commit-before",
    "commit-after",
    "turn-released",
    "turn-recorded",
    "checkpoint-middle",
)  # the others have tests of their own
PASSES = 40  # another failpoint fires at a random pass up to this one
POINT_MESSAGES = 2000  # that a failpoint has to come within, at least; else the server is killed by a signal
NOTICED = 5.0  # seconds that clients have for noticing that the server is dead
STALLED = 30.0  # s without an acknowledgement: the server lives and does nothing
POLL = 0.25


@attrs.frozen
class Plan:
    kills: int
    messages: int  # acknowledged in all
    seed: int
    minutes: float = 60.0  # no further kills after so long
    settings: tuple[str, ...] = ()
    patience: float = 15.0  # s at the end without any new effect: what is missing then is lost


@attrs.define(eq=False)
class Report:
    verdict: Verdict = attrs.field(factory=Verdict)
    deaths: Counter[str] = attrs.field(factory=Counter)  # by what
    ready_seconds: list[float] = attrs.field(factory=list)
    refused: int = 0
    unanswered: int = 0
    seconds: float = 0.0


class Broken(Exception):
    """The server did something that a killed server must not do either: what, and where its log is."""


async def torture(folder: Path, plan: Plan, say: Callable[[str], None]) -> Report:
    run = _Run(folder, plan, say)
    began = time.monotonic()
    try:
        await run.lives()
        await run.end()
    finally:
        run.diary.close()
        run.report.seconds = time.monotonic() - began
    return run.report


async def work_in_peace(folder: Path, plan: Plan) -> Verdict:
    """Nobody is killed: whatever is missing or wrong then has nothing to do with crashes."""
    run = _Run(folder, plan, lambda _: None)
    async with open_server(run.data, sets=run.settings) as server, trio.open_nursery() as nursery:
        if not await server.wait_ready():
            raise Broken(f"the server did not start: see {server.log}")
        await run._deploy(server)
        nursery.start_soon(run.clients.listen, server.port)
        with trio.CancelScope() as sending:
            async with trio.open_nursery() as senders:
                for _ in range(BATCHES):
                    senders.start_soon(run.clients.send_batches, server.port)
                await run._until(server, plan.messages)
                sending.cancel()
        size = -(-run.clients.next_number // BLOCK) * BLOCK
        await run._settle(size)
        nursery.cancel_scope.cancel()
    run.diary.close()
    return run._judge(size)


class _Run:
    def __init__(self, folder: Path, plan: Plan, say: Callable[[str], None]) -> None:
        self.plan, self.say = plan, say
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        self.rng = Random(f"kills {plan.seed}")
        self.diary = Diary(folder / "diary")
        self.clients = Clients(self.diary, Random(f"clients {plan.seed}"))
        self.report = Report()
        self.is_deployed = False
        self.settings = (*SETTINGS, *plan.settings)

    # -- lives --

    async def lives(self) -> None:
        until = trio.current_time() + self.plan.minutes * 60
        for life, cause in enumerate(self.causes()):
            if trio.current_time() > until:
                self.say(f"out of time after {life} kills")
                break
            await self.life(life, cause)
            if (life + 1) % max(1, self.plan.kills // 10) == 0:
                self.say(f"{life + 1} kills, {self.diary.acknowledged} acknowledged")
        self.report.refused, self.report.unanswered = self.clients.refused, self.clients.unanswered

    def causes(self) -> list[str]:
        """What each life ends by: "signal", "early", or a failpoint. The first ones and the last one are given."""
        count = self.plan.kills
        early = round(count * EARLY_SHARE)
        points = max(len(UNDER_LOAD), round(count * POINT_SHARE)) if count > 2 * len(UNDER_LOAD) else 0
        drawn = ["early"] * early + [UNDER_LOAD[number % len(UNDER_LOAD)] for number in range(points)]
        drawn += ["signal"] * (count - len(drawn))
        self.rng.shuffle(drawn)
        causes = [*AT_START, "signal", *drawn] if points else drawn
        return [*causes[: count - 1], "signal"]

    async def life(self, life: int, cause: str) -> None:
        passes = AT_START.get(cause) or self.rng.randint(1, PASSES)
        failpoint = f"{cause}:{passes}" if cause in POINTS else ""
        async with open_server(self.data, failpoint=failpoint, sets=self.settings) as server:
            ended = None
            if cause == "early":
                with trio.move_on_after(self.rng.uniform(0, EARLY_WITHIN)):
                    await self._ready(server)
            elif await self._ready(server):
                await self._deploy(server)
                async with self._load(server):
                    await self._until(server, self._target(life, cause))
                    ended = server.process.poll()
            else:
                ended = server.process.returncode
            if ended is not None and (ended != -signal.SIGKILL or not failpoint):
                raise Broken(f"the server ended by itself, code {ended}: see {server.log}")
            self.report.deaths["signal" if failpoint and ended is None else cause] += 1
            server.kill()
            await server.process.wait()

    def _target(self, life: int, cause: str) -> int:
        """How many are acknowledged in all when this life's server is killed, if it still lives."""
        if life == self.plan.kills - 1:
            return self.plan.messages
        left = max(0, self.plan.messages - self.diary.acknowledged)
        share = int(left / (self.plan.kills - life) * self.rng.uniform(0.2, 1.8))
        return self.diary.acknowledged + max(share, POINT_MESSAGES if cause in POINTS else 1)

    async def _ready(self, server: Server) -> bool:
        began = time.monotonic()
        if not await server.wait_ready():
            return False
        self.report.ready_seconds.append(time.monotonic() - began)
        return True

    async def _deploy(self, server: Server) -> None:
        if self.is_deployed:
            return
        self.is_deployed = True
        await server.deploy("second", guest(OUTSIDE, PASSED_ON))
        for name in FIRST:
            await server.deploy(name, guest("second", 0))
        await server.attach(OUTSIDE)

    @asynccontextmanager
    async def _load(self, server: Server) -> AsyncIterator[None]:
        """The clients work during the block; when it ends the server is dead, and they have noticed."""
        async with trio.open_nursery() as nursery:
            for _ in range(SINGLES):
                nursery.start_soon(self.clients.send_singly, server.port)
            for _ in range(BATCHES):
                nursery.start_soon(self.clients.send_batches, server.port)
            nursery.start_soon(self.clients.be_outside, server.port)
            yield
            server.kill()
            await server.process.wait()
            # one that was in the middle of a WebSocket's handshake may hear nothing
            nursery.cancel_scope.deadline = trio.current_time() + NOTICED

    async def _until(self, server: Server, target: int) -> None:
        """Until so many are acknowledged, or the server is dead."""
        last, since = self.diary.acknowledged, trio.current_time()
        while server.process.poll() is None and self.diary.acknowledged < target:
            await trio.sleep(self.rng.uniform(0, 0.01))
            if self.diary.acknowledged > last:
                last, since = self.diary.acknowledged, trio.current_time()
            elif trio.current_time() - since > STALLED:
                raise Broken(f"no acknowledgement for {STALLED:g} s: see {server.log}")

    # -- the end --

    async def end(self) -> None:
        size = -(-self.clients.next_number // BLOCK) * BLOCK
        async with open_server(self.data, sets=self.settings) as server:
            if not await self._ready(server):
                raise Broken(f"the last server ended by itself, code {server.process.returncode}: see {server.log}")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.clients.listen, server.port)
                await self._settle(size)
                nursery.cancel_scope.cancel()
            code = await server.stop()
        finding = check(self.data / "local.db")
        verdict = self._judge(size)
        if code != 0:
            raise Broken(f"SIGTERM ended with code {code}: see {server.log}")
        if finding != "ok":
            verdict += Verdict(corrupt=1, findings=Counter({f"integrity_check: {finding}": 1}))
        self.report.verdict = verdict

    async def _settle(self, size: int) -> None:
        """Until all is there, or nothing has moved for so long."""
        seen, since = "", trio.current_time()
        while trio.current_time() - since < self.plan.patience:
            verdict = await trio.to_thread.run_sync(self._judge, size)
            if verdict.lost == 0:
                return
            if (now := repr((verdict, self.effects))) != seen:
                seen, since = now, trio.current_time()
            await trio.sleep(POLL)

    def _judge(self, size: int) -> Verdict:
        effects = read_effects(self.data / "local.db", size)
        self.effects = (int(effects.first.sum()), int(effects.second.sum()), len(effects.dead))
        return judge(read_diary(self.diary.path, size), effects)


def guest(receiver: str, mask: int) -> bytes:
    """The tally that passes numbers without a bit of *mask* on to *receiver*."""
    head = b'{"performative":"inform","receiver":"%s","content":"' % receiver.encode()
    text = head + b"#" * RECORD + b'"}'
    wat = GUEST.read_text()
    for word, value in {
        "TEXT": "".join(f"\\{byte:02x}" for byte in text),
        "LENGTH": str(len(text)),
        "AT": str(1024 + len(head)),
        "MASK": str(mask),
    }.items():
        wat = wat.replace(f"$({word})", value)
    return wat2wasm(wat)
