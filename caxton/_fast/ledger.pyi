"""What was accepted and is not handled yet, and what the store has to write. See ledger.pxd for the rules."""

from collections.abc import Sequence

class Batch:
    """What one commit writes."""

    segment: int  # its number; 0: there is nothing durable in it
    records: bytes
    messages: int
    needs_sync: bool  # False: nothing but relaxed messages
    settled_below: int  # segments with lower numbers hold nothing live
    state: list[tuple[str, bytes]]  # owner, changes block (state.decode_changes)
    timers: list[tuple[str, int, int]]  # owner, timer id, due_us; 0: gone
    dead: list[tuple[bytes, str, int, int, str]]  # frame, agent, reason, attempts, detail

class Ledger:
    keeps: bool
    boot: int
    next_segment: int
    oldest: int  # segments below it are settled
    live: int  # deliveries that were accepted and are not handled
    entries: int  # messages of them that are in mailboxes

    def take(self) -> Batch | None:
        """What was read since the last batch; None: nothing, or the last one is still on its way."""
    def committed(self) -> None:
        """The batch that was taken last is on the disk."""
    def is_committed(self, sequence: int) -> bool: ...
    def name(self, port_id: int, owner: str) -> int:
        """Whose port it is, in the segments; gives back the length of its backlog."""
    def recover(self, segment: int, records: bytes) -> None:
        """At start: what an older segment says, oldest first. StoreError for bytes that are no segment."""
    def recovered(self) -> dict[str, int]:
        """After the last: how many deliveries each owner has."""
    def backlog(self, port_id: int) -> int: ...
    def refill(self, port_id: int) -> int:
        """The segment that holds the next of the port's backlog; 0: there is none that is committed."""
    def carry(self, segment: int, records: bytes) -> int:
        """Take the live deliveries of an old segment into the one that is being filled; how many there were."""
    def owners_waiting(self) -> Sequence[str]:
        """Owners with a backlog and no port."""
