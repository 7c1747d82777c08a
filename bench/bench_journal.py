"""Records in and out of a ring, and messages in and out of the history, 1,000 at a time, seen from Python."""

import random

from caxton._fast.envelope import Envelope
from caxton._fast.history import History
from caxton._fast.journal import Ring
from caxton._fast.router import Router

RECORDS = 1000


def message(conversation: str = "c") -> Envelope:
    return Envelope.make(
        performative="inform", receiver="a", conversation_id=conversation, content=b'"%s"' % (b"x" * 400)
    )


class Records:
    params = ("turn", "message")
    param_names = ("kind",)

    def setup(self, kind: str) -> None:
        self.ring = Ring(1 << 20)
        self.envelope = message() if kind == "message" else None

    def time_append_and_drain(self, kind: str) -> None:
        for _ in range(RECORDS):
            self.ring.append(1 if self.envelope else 2, 1, self.envelope)
        self.ring.drain()


class Recent:
    """A full history of 100,000 messages, the default."""

    def setup(self) -> None:
        self.history = History(Router(), 100_000, 64 << 20)
        self.messages = [message(f"c{number}") for number in range(100)]
        for number in range(100_000):
            self.history.accept(self.messages[number % 100])

    def time_accept(self) -> None:
        for _ in range(RECORDS // 100):
            for envelope in self.messages:
                self.history.accept(envelope)

    def time_page(self) -> None:
        self.history.messages(None, 0, RECORDS)

    def time_search_one_conversation_through_all(self) -> None:
        self.history.messages("none", 0, RECORDS)


class Latencies:
    def setup(self) -> None:
        rng = random.Random(1)
        self.history = History(Router(), 1, 4096)
        self.values = [int(rng.lognormvariate(10, 1)) for _ in range(RECORDS)]
        for value in self.values:
            self.history.count_hop(value)

    def time_count(self) -> None:
        for value in self.values:
            self.history.count_hop(value)

    def time_quantile(self) -> None:
        self.history.hop_quantile(0.99)
