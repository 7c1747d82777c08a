"""Messages from outside that were accepted a while ago, by their id: a client that sends one again is given the first
one's receipt, and the message is delivered once.

The window is one of time and of number; the oldest go first. After a restart it is filled from the journal.
"""

import time
from collections import deque
from collections.abc import Callable

import msgspec

from caxton.core.views import Receipt

EVICTED_AT_ONCE = 8  # old ones that go with each new one, so that no single message pays for many


class Known:
    def __init__(self, seconds: float, number: int, clock: Callable[[], float] = time.time) -> None:
        self._seconds = seconds
        self._number = number if seconds else 0
        self._clock = clock
        self.receipts: dict[bytes, Receipt] = {}  # by the 16 bytes of the id
        self._order: deque[tuple[bytes, Receipt]] = deque()  # a dict finds its first item slowly when many have gone

    def change(self, seconds: float, number: int) -> None:
        """Another window; what is too much for it goes with the next messages."""
        self._seconds = seconds
        self._number = number if seconds else 0
        if not self._number:
            self.receipts.clear()
            self._order.clear()

    @property
    def is_kept(self) -> bool:
        """Whether anything is remembered at all."""
        return self._number > 0

    @property
    def oldest(self) -> float:
        """What was accepted before is forgotten; seconds since the epoch."""
        return self._clock() - self._seconds

    def add(self, message_id: bytes, receipt: Receipt) -> None:
        """It was accepted."""
        if not self._number:
            return
        receipts, order = self.receipts, self._order
        receipts[message_id] = receipt
        order.append((message_id, receipt))
        oldest = self.oldest
        for _ in range(EVICTED_AT_ONCE):
            first, accepted = order[0]
            is_current = receipts.get(first) is accepted  # else a later one with this id stands behind
            if is_current and len(receipts) <= self._number and accepted.accepted_at >= oldest:
                break
            order.popleft()
            if is_current:
                del receipts[first]

    def is_recent(self, receipt: Receipt) -> bool:
        return receipt.accepted_at >= self.oldest

    def recover(self, message_id: bytes, accepted_us: int, sequence: int, receivers: int) -> None:
        """An earlier process accepted it."""
        text = message_id.hex()
        self.add(
            message_id,
            Receipt(
                message_id="-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])),
                status="delivered",
                delivered_to=receivers,
                accepted_at=accepted_us / 1e6,
                sequence=sequence,
                kept=True,
            ),
        )


def as_duplicate(receipt: Receipt) -> Receipt:
    """What the sender of a message that is known already is told."""
    return msgspec.structs.replace(receipt, status="duplicate")
