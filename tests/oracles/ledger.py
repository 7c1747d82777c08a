"""What is accepted and not handled yet, in dicts: the specification of `caxton/_fast/ledger`.

A segment is read here without the native part. `Ledger` is told of committed segments, oldest first, and knows what is
live after them:

Rule 1: a delivery is a message (its sequence number) for one owner. It is live from the entry that accepted it to the
one that says it was handled or is dead, whatever segments these lie in.
Rule 2: a message that was carried into a later segment is accepted there once more, for those who had not handled it.
It keeps its place among the others: that of its first acceptance.
Rule 3: a segment below `settled_below` of a later one holds nothing live.
"""

import struct
from collections.abc import Iterator

import attrs

from caxton._fast.envelope import Envelope

HEADER = b"CXJ\x01\0\0\0\0"
NAME, ACCEPTED, HANDLED, DEAD = 1, 2, 3, 4


@attrs.frozen
class Entry:
    kind: int
    outcome: int
    sequence: int
    owners: tuple[str, ...]
    at: int
    order: int = 0
    frame: bytes = b""


def entries(records: bytes) -> Iterator[Entry]:
    assert records[:8] == HEADER
    assert len(records) % 8 == 0
    names: dict[int, str] = {}
    at = 8
    while at < len(records):
        size, kind, _, count, sequence = struct.unpack_from("<IBBHQ", records, at)
        assert size >= 16
        assert size % 8 == 0
        body = records[at + 16 : at + size]
        if kind == NAME:
            (length,) = struct.unpack_from("<I", body)
            names[sequence] = body[4 : 4 + length].decode()
        elif kind == ACCEPTED:
            (order,) = struct.unpack_from("<Q", body)
            owners = tuple(names[port] for port in struct.unpack_from(f"<{count}I", body, 8))
            frame = body[8 + (4 * count + 7) // 8 * 8 :]
            (length,) = struct.unpack_from("<I", frame, 4)
            yield Entry(ACCEPTED, 0, sequence, owners, at, order, frame[:length])
        else:
            assert kind in (HANDLED, DEAD)
            yield Entry(kind, count, sequence, (names[struct.unpack_from("<I", body)[0]],), at)
        at += size
    assert at == len(records)


@attrs.define
class Delivery:
    segment: int
    order: int
    frame: bytes


class Ledger:
    def __init__(self) -> None:
        self.live: dict[tuple[int, str], Delivery] = {}
        self.accepted: dict[tuple[int, str], int] = {}  # and in how many segments
        self.done: dict[tuple[int, str], int] = {}

    def commit(self, segment: int, records: bytes) -> None:
        for entry in entries(records):
            for owner in entry.owners:
                key = entry.sequence, owner
                if entry.kind == ACCEPTED:
                    # once more: carried on, and still live
                    assert (key in self.live) == (key in self.accepted)
                    self.accepted[key] = self.accepted.get(key, 0) + 1
                    self.live[key] = Delivery(segment, entry.order, entry.frame)
                else:
                    assert key in self.live, "handled twice, or before it was accepted"
                    self.done[key] = self.done.get(key, 0) + 1
                    del self.live[key]

    def settled_below(self) -> int | None:
        """None: nothing is live."""
        return min((delivery.segment for delivery in self.live.values()), default=None)

    def waiting_bytes(self) -> int:
        """Of all frames that are live: what `messaging.offline_total_bytes` bounds, when mailboxes are empty."""
        return sum(len(delivery.frame) for delivery in self.live.values())

    def waiting(self) -> dict[str, list[bytes]]:
        """The contents of what each owner has not handled, in its order."""
        found: dict[str, list[tuple[int, bytes]]] = {}
        for (_, owner), delivery in self.live.items():
            content = Envelope.from_frame(delivery.frame).content
            assert content is not None
            found.setdefault(owner, []).append((delivery.order, content))
        return {owner: [content for _, content in sorted(list_)] for owner, list_ in found.items()}
