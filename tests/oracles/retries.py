"""What waits to be handled again, in a list: the specification of `caxton/_fast/retries`.

Rule 1: a message whose turn failed waits for its due time. Later messages of its conversation wait behind it, in their
order; other conversations go on.
Rule 2: a message without a conversation holds nobody back.
Rule 3: when a message has gone, the next of its conversation is due at once if it was held, else at its own time. One
that fails again goes back to where it was: before those of its conversation.
Rule 4: of several that are due, the one that stands first goes first; who failed last stands before the others.
Rule 5: it is full with so many messages, or so many bytes of them: then whoever puts in takes nothing new.
Rule 6: those whose time has passed can be taken out wherever they stand, in order, so many at once.
"""

from caxton._fast.envelope import Envelope

AT_MOST, BYTES_AT_MOST = 1000, 16 << 20

Waiting = tuple[Envelope, int]  # and when it is due


class Retries:
    def __init__(self) -> None:
        self.waiting: list[Waiting] = []

    def put(self, envelope: Envelope, due_ns: int) -> None:
        self.waiting.insert(0, (envelope, due_ns))

    def hold(self, envelope: Envelope) -> bool:
        conversation = envelope.conversation_id
        if not conversation or all(other.conversation_id != conversation for other, _ in self.waiting):
            return False
        self.waiting.append((envelope, 0))
        return True

    def _leaders(self) -> list[Waiting]:
        """The first of each conversation, and all that have none."""
        seen: set[str] = set()
        leaders = []
        for waiting in self.waiting:
            conversation = waiting[0].conversation_id
            if not conversation or conversation not in seen:
                leaders.append(waiting)
            seen.add(conversation or "")
        return leaders

    def due(self) -> int | None:
        return min((due for _, due in self._leaders()), default=None)

    def take(self, now: int) -> Envelope | None:
        for waiting in self._leaders():
            if waiting[1] <= now:
                self.waiting.remove(waiting)
                return waiting[0]
        return None

    def take_over(self, now_us: int, most: int = 64) -> tuple[list[Envelope], int]:
        over = [waiting for waiting in self.waiting if 0 < waiting[0].expires_at_us <= now_us][:most]
        for waiting in over:
            self.waiting.remove(waiting)
        ends = [envelope.expires_at_us for envelope, _ in self.waiting if envelope.expires_at_us]
        return [envelope for envelope, _ in over], min(ends, default=0)

    @property
    def is_full(self) -> bool:
        sizes = sum(envelope.size for envelope, _ in self.waiting)
        return len(self.waiting) >= AT_MOST or sizes >= BYTES_AT_MOST

    def __len__(self) -> int:
        return len(self.waiting)
