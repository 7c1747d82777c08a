"""What became of messages: for who asks by the message's id, and for sessions that want to be told.

Rule 1: a message has ended when each of its receivers has handled it or will not. Then its sender is told, once, and
        not before what its receivers did is on the disk.
Rule 2: only messages that the server remembers (messaging.history_messages) and at most WATCHED of them are watched; of
        others nothing is told.
"""

from collections import deque
from collections.abc import Callable
from typing import cast
from uuid import UUID

import attrs
import trio

from caxton._fast.scheduler import Scheduler
from caxton.bus.delivery import dead_reason
from caxton.core.errors import InvalidRequest, NotFound
from caxton.core.views import MessageState, State

WATCHED = 100_000


@attrs.define(eq=False)
class Listener:
    """A session that wants to be told, and what it has not taken yet."""

    told: deque[MessageState] = attrs.field(factory=deque)
    sequences: set[int] = attrs.field(factory=set)
    news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    async def next(self) -> MessageState:
        await trio.lowlevel.checkpoint()
        while not self.told:
            await self.news.park()
        return self.told.popleft()


class Receipts:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._records = scheduler.records
        self._watched: dict[int, tuple[str, Listener]] = {}
        self._ended: deque[tuple[int, int, MessageState]] = deque()  # the transaction, the message, and what to say
        self.on_watch: Callable[[], None] = lambda: None  # somebody waits for the end of a message
        self.mark: Callable[[], int] = lambda: 0  # the transaction that holds what was read until now
        self.is_written: Callable[[int], bool] = lambda mark: True

    @property
    def is_watching(self) -> bool:
        return bool(self._watched)

    def get(self, message_id: str) -> MessageState:
        """Raises InvalidRequest for what is no id, NotFound for a message that is not remembered."""
        try:
            key = UUID(message_id)
        except ValueError:
            raise InvalidRequest(f"{message_id!r} is no message_id: it is a UUID") from None
        self._scheduler.read_records()
        found = self._records.receipt(key.bytes)
        if found is None:
            raise NotFound(
                f"no message {message_id} is remembered",
                hint="it was never accepted, or so long ago that it was forgotten: messaging.history_messages",
                details={"message_id": message_id},
            )
        _, receivers, waiting, handled, failed, outcome, accepted_us, changed_us = found
        left = receivers - handled - failed
        state = ("accepted" if waiting == left else "delivered") if left else ("failed" if failed else "handled")
        return MessageState(
            message_id=str(key),
            state=cast(State, state),
            receivers=receivers,
            handled=handled,
            failed=failed,
            reason=dead_reason(outcome) if failed else "",
            accepted_at=accepted_us / 1e6,
            changed_at=changed_us / 1e6,
        )

    # -- those who want to be told --

    def watch(self, sequence: int, message_id: str, listener: Listener) -> None:
        """Tell the listener when this message, which was posted just now, has ended."""
        if sequence and len(self._watched) < WATCHED:
            self._watched[sequence] = message_id, listener
            listener.sequences.add(sequence)
            self._records.watch(sequence)
            self.on_watch()

    def forget(self, listener: Listener) -> None:
        """It has left."""
        for sequence in listener.sequences:
            self._watched.pop(sequence, None)
            self._records.watched.discard(sequence)
        listener.sequences.clear()

    def look(self) -> None:
        """Records were read, or a transaction has been written."""
        if not self._watched and not self._ended:
            return
        for sequence, failed, outcome, at_us in self._records.take_ended():
            if (watched := self._watched.get(sequence)) is not None:
                state = MessageState(
                    message_id=watched[0],
                    state="failed" if failed else "handled",
                    failed=failed,
                    reason=dead_reason(outcome) if failed else "",
                    changed_at=at_us / 1e6,
                )
                self._ended.append((self.mark(), sequence, state))
        while self._ended and self.is_written(self._ended[0][0]):
            _, sequence, state = self._ended.popleft()
            if (watched := self._watched.pop(sequence, None)) is not None:
                listener = watched[1]
                listener.sequences.discard(sequence)
                listener.told.append(state)
                listener.news.unpark_all()
