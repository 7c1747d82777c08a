"""What a mailbox is, in deques: the specification of `caxton/_fast/mailbox`.

Rule 1: first in, first out within one priority.
Rule 2: a higher priority goes first. Whoever goes while a lower lane waits has passed it; after FAIRNESS messages in a
row that passed somebody, a lane below has its turn: in a circle from the lowest up, so that none of them starves.
Rule 3: the mailbox is full when as many messages wait as `bound` says, or as many bytes as `byte_bound` says or more.
Then it refuses, and nothing changes; what waits is never dropped. (So one message may reach beyond `byte_bound`: a
message that is larger than that can be received at all.)
Rule 4: a control turn is no message: it is never refused, not counted, and goes before every message, first in, first
out; it neither passes anybody nor has anybody's turn.
"""

from collections import deque

from caxton._fast.envelope import Envelope

FAIRNESS = 16
PRIORITIES = ("low", "normal", "high", "critical")


class Mailbox:
    def __init__(self, bound: int, byte_bound: int = 1 << 30) -> None:
        self.bound = bound
        self.byte_bound = byte_bound
        self.control: deque[Envelope] = deque()
        self.lanes: dict[str, deque[Envelope]] = {priority: deque() for priority in PRIORITIES}
        self.passed = 0
        self.last = len(PRIORITIES)  # the lane that had the last turn out of order

    def push(self, envelope: Envelope) -> bool:
        if envelope.kind != "message":
            self.control.append(envelope)
            return True
        if len(self) >= self.bound or self.bytes >= self.byte_bound:
            return False
        self.lanes[envelope.priority].append(envelope)
        return True

    def pop(self) -> Envelope | None:
        if self.control:
            return self.control.popleft()
        waiting = [number for number, priority in enumerate(PRIORITIES) if self.lanes[priority]]  # lowest first
        if not waiting:
            return None
        *below, chosen = waiting
        if not below:
            self.passed = 0
        elif self.passed == FAIRNESS:
            self.passed = 0
            chosen = self.last = min((number for number in below if number > self.last), default=below[0])
        else:
            self.passed += 1
        return self.lanes[PRIORITIES[chosen]].popleft()

    def __len__(self) -> int:
        return sum(len(lane) for lane in self.lanes.values())

    @property
    def bytes(self) -> int:
        return sum(envelope.size for lane in self.lanes.values() for envelope in lane)
