"""What was accepted and is not handled yet, and what the store has to write. See ledger.pxd for the rules."""

from collections.abc import Sequence

class Batch:
    """What one commit writes."""

    segment: int  # its number; 0: there is nothing durable in it
    records: bytes
    messages: int  # that were accepted in it
    needs_sync: bool  # False: nothing but relaxed messages
    settled_below: int  # segments with lower numbers hold nothing live
    state: list[tuple[str, bytes, bool]]  # owner, piece of a changes block (state.decode_changes), is it the last piece
    timers: list[tuple[str, int, int]]  # owner, timer id, due_us; 0: gone
    dead: list[tuple[bytes, str, int, int, str]]  # frame, agent, reason, attempts, detail

class Backlog:
    """Places of messages that wait in the store."""

    def __len__(self) -> int: ...

class Ledger:
    """Made by the scheduler, which reads the records into it."""

    keeps: bool  # False: nothing is written, and all is as good as committed
    boot: int
    next_segment: int  # the number that the segment being filled will have
    waiting_bytes: int  # what was read and is not in a batch yet
    has_something: bool  # whether the next batch would hold something
    oldest: int  # segments below it are settled
    live: int  # deliveries that were accepted and are not handled
    entries: int  # messages of them that are in mailboxes
    backlogs: dict[int, Backlog]  # by port

    # -- what the store writes --
    def take(self) -> Batch | None:
        """What was read since the last batch, or that one again when it is not committed; None: nothing."""
    def committed(self) -> None:
        """The batch that was taken last is on the disk."""
    def is_committed(self, sequence: int) -> bool:
        """Whether the message, and what its thread recorded before, is on the disk."""
    def is_live_in(self, segment: int) -> int:
        """How many live deliveries a segment holds."""
    def carry(self, segment: int, records: bytes) -> int:
        """Take the live deliveries of an old segment into the one that is being filled; how many there were."""

    # -- backlogs --
    def name(self, port_id: int, owner: str) -> tuple[int, int, int]:
        """Whose port it is, in the segments; how many waited for this owner, their bytes, and their first end."""
    def forget(self, port_id: int) -> None:
        """The port is closed."""
    def take_late(self) -> Sequence[int]:
        """Closed ports that have a backlog since they were forgotten: somebody has to give it up."""
    known_ports: int  # how many ports it knows the owner of
    def segments_of(self, port_id: int) -> Sequence[int]:
        """Segments that are committed and hold something of the port's backlog, in order."""
    def backlog(self, port_id: int) -> int:
        """How many messages wait for the port in the store."""
    def owners_waiting(self) -> Sequence[str]:
        """Owners with a backlog and no port."""
    def refill(self, port_id: int) -> int:
        """The segment that holds the next of the port's backlog; 0: there is none that is committed."""

    # -- at the start: begin_recovery, recover for each segment, recovered --
    def begin_recovery(self, oldest: int) -> None:
        """Segments below *oldest* hold nothing live."""
    def recover(self, segment: int, records: bytes) -> None:
        """What an older segment says, oldest first. StoreError for bytes that are no segment."""
    def recovered(self) -> dict[str, int]:
        """After the last: how many deliveries each owner has."""
    def remember(self, records: bytes) -> None:
        """Show what an older segment says to the history; what does not read is left out."""
    def ids(self, records: bytes) -> list[tuple[bytes, int, int, int]]:
        """Of the messages that clients sent: (id, accepted_us, sequence, receivers). Damage ends the list."""
