"""Mail that leaves the node, and what it waits for: everything that it depends on is on the disk.

A message of an agent is in the mailbox of whoever receives it outside as soon as the agent's turn is done; the turn
counts when its transaction has returned. Until then the message stays here: a crash in between undoes both.
"""

import time
from collections import deque
from collections.abc import Callable

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import EXIT_EXPIRED, EXIT_LATE, Scheduler
from caxton.core.errors import MailboxFull


def over(message: Envelope, now_us: int) -> int:
    """EXIT_* when the message's time has passed, else 0."""
    if 0 < message.expires_at_us <= now_us:
        return EXIT_EXPIRED
    return EXIT_LATE if 0 < message.reply_by_us <= now_us else 0


class HeldMail:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._is_committed = scheduler.ledger.is_committed
        self._held: dict[int, deque[Envelope]] = {}
        self._over: deque[tuple[int, Envelope, int]] = deque()  # taken out of a port, to be buried
        self.on_over: Callable[[int, int, Envelope], None] = lambda port, code, message: None  # it is a dead letter
        self.on_hold: Callable[[], None] = lambda: None  # something waits for a commit

    def receive(self, port: int, max_messages: int) -> list[Envelope]:
        """What may leave, in order. What nobody came for in time is a dead letter instead."""
        while (mail := self._committed(port, max_messages)) and not (in_time := self.in_time(port, mail)):
            pass
        return in_time if mail else mail

    def in_time(self, port: int, mail: list[Envelope]) -> list[Envelope]:
        """Those whose time has not passed; of the others their senders are told."""
        if not self._over and not any(message.expires_at_us or message.reply_by_us for message in mail):
            return mail
        now = time.time_ns() // 1000
        found = []
        for message in mail:
            if code := over(message, now):
                self._over.append((port, message, code))
            else:
                found.append(message)
        self._bury()
        return found

    def _bury(self) -> None:
        while self._over:
            try:
                self._scheduler.bury(*self._over[0])
            except MailboxFull:
                return  # the journal is behind; the next look tries again
            port, message, code = self._over.popleft()
            self.on_over(port, code, message)

    def _committed(self, port: int, max_messages: int) -> list[Envelope]:
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

    def freed(self) -> list[int]:
        """Those whose first message may leave now: it waited for the end of a turn, and nothing had to be written."""
        return [port for port, held in self._held.items() if self._is_committed(held[0].sequence)]

    def forget(self, port: int) -> list[Envelope]:
        """The port is closed: what it had."""
        return list(self._held.pop(port, ()))
