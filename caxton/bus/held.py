"""Mail that leaves the node, and what it waits for: everything that it depends on is on the disk.

A message of an agent is in the mailbox of whoever receives it outside as soon as the agent's turn is done; the turn
counts when its transaction has returned. Until then the message stays here: a crash in between undoes both.
"""

from collections import deque
from collections.abc import Callable

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import Scheduler


class HeldMail:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._is_committed = scheduler.ledger.is_committed
        self._held: dict[int, deque[Envelope]] = {}
        self.on_hold: Callable[[], None] = lambda: None  # something waits for a commit

    def receive(self, port: int, max_messages: int) -> list[Envelope]:
        """What may leave, in order."""
        held = self._held.get(port)
        if held is None:
            mail = self._scheduler.receive(port, max_messages)
            if not mail or self._is_all_committed(mail):
                return mail
            held = self._held[port] = deque(mail)
        else:
            held.extend(self._scheduler.receive(port, max(0, max_messages - len(held))))
        free: list[Envelope] = []
        while held and len(free) < max_messages and self._is_committed(held[0].sequence):
            free.append(held.popleft())
        if held:
            self.on_hold()
        else:
            del self._held[port]
        return free

    def _is_all_committed(self, mail: list[Envelope]) -> bool:
        return all(self._is_committed(message.sequence) for message in mail)

    @property
    def is_holding(self) -> bool:
        return bool(self._held)

    def ports(self) -> list[int]:
        """Those with mail that waits; a commit may have freed it."""
        return list(self._held)

    def forget(self, port: int) -> list[Envelope]:
        """The port is closed: what it had."""
        return list(self._held.pop(port, ()))
