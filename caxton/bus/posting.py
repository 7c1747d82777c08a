"""Messages in from outside: one by one or many, each with its own outcome."""

import time
from collections.abc import Sequence

from caxton._fast.scheduler import Scheduler
from caxton.core.errors import CaxtonError
from caxton.core.views import Receipt


class Poster:
    def __init__(self, scheduler: Scheduler) -> None:
        self._submit = scheduler.submit

    def post(self, data: bytes, sender: str) -> Receipt:
        """Accept one message: when this returns, it is in the mailboxes of its receivers.

        Raises RejectedError or UnavailableError.
        """
        accepted = self._submit(data, sender=sender)
        return Receipt(
            message_id=accepted.message_id,
            status="queued" if accepted.queued else "delivered",
            delivered_to=accepted.delivered_to,
            accepted_at=time.time(),
            sequence=accepted.sequence,
            kept=accepted.kept,
        )

    def post_many(self, lines: Sequence[bytes], sender: str) -> list[Receipt | CaxtonError]:
        """One outcome per line, in order; a bad line costs the others nothing."""
        outcomes: list[Receipt | CaxtonError] = []
        for line in lines:
            try:
                outcomes.append(self.post(line, sender))
            except CaxtonError as error:
                outcomes.append(error)
        return outcomes
