"""What the record ring is, in a list: the specification of `caxton/_fast/journal`.

Rule 1: records come out as they went in, each once, in their order.
Rule 2: a ring without room for a record refuses it, and nothing changes; what it holds is never dropped.
Rule 3: a record lies in one piece. One that is longer than what is left up to the end of the ring begins at its start
again, and what is left counts as used until the record before it was read. (So up to half of the capacity always fits
into an empty ring; a longer record may not, depending on where the last one ended.)
"""

from caxton._fast.envelope import Envelope

HEADER = 56  # bytes of a record without its message
LEAST = 1024  # bytes of a ring; capacities are powers of two

Record = tuple[int, int, Envelope | None]


class Ring:
    def __init__(self, capacity: int) -> None:
        self.capacity = LEAST
        while self.capacity < capacity:
            self.capacity *= 2
        self.records: list[Record] = []
        self.used = 0
        self.end = 0  # where the next record begins

    def append(self, kind: int, port: int, envelope: Envelope | None = None) -> bool:
        size = HEADER + (envelope.size if envelope is not None else 0)  # what follows a block begins at a multiple of 4
        size += -size % 8
        skipped = self.capacity - self.end if size > self.capacity - self.end else 0
        if self.used + skipped + size > self.capacity:
            return False
        self.used += skipped + size
        self.end = (self.end + skipped + size) % self.capacity
        self.records.append((kind, port, envelope))
        return True

    def drain(self) -> list[Record]:
        drained, self.records, self.used = self.records, [], 0
        return drained
