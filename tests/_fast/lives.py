"""Lives of one node: schedulers after one another over committed segments, as node/committer.py goes about it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from caxton._fast import scheduler as native
from caxton._fast.envelope import Envelope
from caxton._fast.ledger import Batch
from caxton._fast.wasm.module import Module
from tests._fast.components import quoted
from tests._fast.scheduling import Stage, guest
from tests.oracles import ledger as oracle

State = list[tuple[str, bytes, bool]]


def reporter(do: str = "", receiver: str = "", **fields: Any) -> Module:
    """Logs each message, then does *do*; *receiver* gets what it sends with `(call $out)`."""
    message = {"performative": "inform", "receiver": receiver, "content": -1} | fields
    text = json.dumps(message, separators=(",", ":"))
    do = do.replace("(call $out)", f"(drop (call $send (i32.const 1024) (i32.const {len(text)})))")
    return guest("reporter", MESSAGE=quoted(text), DO=do)


class Life(Stage):
    """One boot; what is committed goes into `segments`, which the next one recovers."""

    def __init__(self, past: "Lives", **options: Any) -> None:
        super().__init__(boot=past.boots, **options)
        self.past = past
        self.ledger = self.scheduler.ledger
        self.dead: list[tuple[bytes, str, int, int, str]] = []
        self.state: State = []
        self.ports: dict[str, int] = {}
        self.asked: set[int] = set()  # ports that want a refill
        self.seen = 0
        self.ledger.begin_recovery(past.settled_below)
        for number in sorted(past.segments):
            if number >= past.settled_below:
                self.ledger.recover(number, past.segments[number])
        self.recovered = self.ledger.recovered()

    def keep(self, name: str, module: Module | None = None, *, host: bool = False, **bounds: int) -> int:
        """A port whose mail is kept; *module*: an agent that runs."""
        port = self.ports[name] = self.scheduler.open_port(name, host=host, **bounds)
        if module is None and not host:
            self.scheduler.set_accepting(port, False)
        self.scheduler.keep_port(port, name)
        if module is not None:
            self.start(port, module, log_lines_per_second=1_000_000)
        return port

    def take(self) -> Batch | None:
        self.scheduler.read_records()
        return self.ledger.take()

    def commit(self) -> Batch | None:
        """Write all that there is."""
        last = None
        while (batch := self.take()) is not None:
            self.past.write(batch)
            self.ledger.committed()
            self.dead += batch.dead
            self.state += batch.state
            last = batch
        return last

    def refill(self) -> int:
        """Answer what was asked for; how many messages moved."""
        moved = 0
        self.asked |= {port for kind, port, _, _ in self.events[self.seen :] if kind == native.EVENT_REFILL}
        self.seen = len(self.events)
        for port in sorted(self.asked):
            while segment := self.ledger.refill(port):
                more = self.scheduler.refill(port, segment, self.past.segments[segment])
                moved += more
                if more == 0:
                    break
            if not self.ledger.backlog(port) and not self.scheduler.refilled(port):
                self.asked.discard(port)
        return moved

    def carry(self) -> int:
        oldest = self.ledger.oldest
        return self.ledger.carry(oldest, self.past.segments[oldest]) if oldest in self.past.segments else 0

    def go_on(self, *, until_live: int = 0) -> None:
        """Commit and refill until no more than *until_live* deliveries are left."""

        def done() -> bool:
            self.events += self.scheduler.drain()
            self.commit()
            self.refill()
            return self.ledger.live <= until_live

        self.watch(done)
        self.events += self.scheduler.drain()  # what was logged meanwhile

    def messages(self, name: str) -> list[dict[str, Any]]:
        """What the agent logged."""
        return [json.loads(line) for line in self.lines(self.ports[name])]

    def contents(self, name: str) -> list[Any]:
        return [message["content"] for message in self.messages(name)]


class Lives:
    def __init__(self) -> None:
        self.segments: dict[int, bytes] = {}
        self.settled_below = 1
        self.twin = oracle.Ledger()
        self.boots = 0

    def write(self, batch: Batch) -> None:
        if batch.segment:
            assert batch.segment > max(self.segments, default=0)
            self.segments[batch.segment] = batch.records
            self.twin.commit(batch.segment, batch.records)
            oldest = self.twin.settled_below()
            assert batch.settled_below >= self.settled_below
            assert oldest is None or batch.settled_below <= oldest
            self.settled_below = batch.settled_below

    @contextmanager
    def begin(self, **options: Any) -> Iterator[Life]:
        """The end is a crash: what was not committed is gone."""
        self.boots += 1
        life = Life(self, **options)
        assert life.recovered == {owner: len(waiting) for owner, waiting in self.twin.waiting().items()}
        assert life.ledger.live == len(self.twin.live)
        assert life.scheduler.backlog_bytes == self.twin.waiting_bytes()
        life.scheduler.start()
        try:
            yield life
        finally:
            life.scheduler.stop()


def dead_letters(life: Life) -> list[tuple[Any, str, int, int]]:
    """Content, agent, reason, attempts."""
    found = []
    for frame, agent, reason, attempts, _ in life.dead:
        content = Envelope.from_frame(frame).content
        found.append((json.loads(content or b"null"), agent, reason, attempts))
    return found
