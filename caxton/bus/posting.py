"""Messages in from outside: one by one or many, each with its own outcome."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from caxton._fast.scheduler import Receipt as Accepted
from caxton._fast.scheduler import Scheduler
from caxton.bus.known import Known, as_duplicate
from caxton.core.errors import AgentNotFound, CaxtonError
from caxton.core.views import Receipt

CAPABILITY = "capability:"


class Poster:
    def __init__(self, scheduler: Scheduler, known: Known) -> None:
        self._submit = scheduler.submit
        self._known = known
        self.missing: Callable[[str], dict[str, Any]] = lambda capability: {}  # Any: JSON; see Bus.suggest
        self.sign: Callable[[str, bytes], bytes] | None = None  # puts the sender's signature into a message

    def post(self, data: bytes, sender: str, traceparent: str = "") -> Receipt:
        """Accept one message: when this returns, it is in the mailboxes of its receivers.

        One whose id is known is not delivered again; its receipt says `duplicate`. *traceparent* is its caller's.
        Raises RejectedError or UnavailableError.
        """
        if sender and self.sign is not None:
            data = self.sign(sender, data)
        try:
            accepted = self._submit(data, sender=sender, known=self._known.receipts, traceparent=traceparent)
        except AgentNotFound as error:
            raise self._explained(error) from None
        if isinstance(accepted, Receipt):
            if self._known.is_recent(accepted):
                return as_duplicate(accepted)
            return self.post_again(data, sender, traceparent)
        return self._receipt(accepted)

    def _explained(self, error: AgentNotFound) -> AgentNotFound:
        """Of a capability that nobody has: what else there is."""
        receiver = error.details.get("receiver", "")
        if not isinstance(receiver, str) or not receiver.startswith(CAPABILITY):
            return error
        details = self.missing(receiver.removeprefix(CAPABILITY))
        others = ", ".join(details.get("suggested_alternatives", ()))
        return AgentNotFound(
            f"no agent has the capability {receiver.removeprefix(CAPABILITY)!r}",
            hint=f"there is {others}" if others else "caxton capabilities list shows those there are",
            details={"receiver": receiver, **details},
        )

    def post_again(self, data: bytes, sender: str, traceparent: str = "") -> Receipt:
        """The same, also when its id is known."""
        accepted = self._submit(data, sender=sender, traceparent=traceparent)
        return self._receipt(accepted)

    def _receipt(self, accepted: Accepted) -> Receipt:
        receipt = Receipt(
            message_id=accepted.message_id,
            status="queued" if accepted.queued else "delivered",
            delivered_to=accepted.delivered_to,
            accepted_at=time.time(),
            sequence=accepted.sequence,
            kept=accepted.kept,
            not_found=accepted.not_found,
        )
        if accepted.brought:
            self._known.add(accepted.brought, receipt)
        return receipt

    def post_many(self, lines: Sequence[bytes], sender: str, traceparent: str = "") -> list[Receipt | CaxtonError]:
        """One outcome per line, in order; a bad line costs the others nothing."""
        outcomes: list[Receipt | CaxtonError] = []
        for line in lines:
            try:
                outcomes.append(self.post(line, sender, traceparent))
            except CaxtonError as error:
                outcomes.append(error)
        return outcomes
