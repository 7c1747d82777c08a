"""A mailbox filled and emptied, 1,000 messages at a time, seen from Python; divide by 1,000 for one push and one pop.

`twin` is the specification in deques (tests/oracles), for scale.
"""

from caxton._fast.envelope import Envelope
from caxton._fast.mailbox import Mailbox
from tests.oracles import mailbox as oracle

MESSAGES = 1000
PRIORITIES = {"one": ["normal"], "four": ["low", "normal", "high", "critical"]}


class FillAndEmpty:
    params = (["native", "twin"], ["one", "four"])
    param_names = ("mailbox", "priorities")

    def setup(self, mailbox: str, priorities: str) -> None:
        names = PRIORITIES[priorities]
        self.messages = [
            Envelope.make(performative="inform", receiver="a", priority=names[number % len(names)], content=b"1")
            for number in range(MESSAGES)
        ]
        self.box = Mailbox(MESSAGES) if mailbox == "native" else oracle.Mailbox(MESSAGES)

    def time_push_and_pop(self, mailbox: str, priorities: str) -> None:
        for envelope in self.messages:
            self.box.push(envelope)
            self.box.pop()

    def time_fill_and_empty(self, mailbox: str, priorities: str) -> None:
        box = self.box
        for envelope in self.messages:
            box.push(envelope)
        while box.pop() is not None:
            pass


class Refuse:
    def setup(self) -> None:
        self.box = Mailbox(0)
        self.message = Envelope.make(performative="inform", receiver="a", content=b"1")

    def time_a_thousand_refusals(self) -> None:
        for _ in range(MESSAGES):
            self.box.push(self.message)
