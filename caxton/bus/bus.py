"""The one door for messages from outside, and the place where what happened is told.

It does not know HTTP or WebSocket (api does), nor how agents live (runtime does); it turns the scheduler's events
into answers,
log lines, events for watchers, and failures for senders.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from math import inf
from typing import Any

import msgspec
import trio

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import (
    EVENT_LOG,
    EVENT_MAIL,
    EVENT_SUBSCRIBE,
    EVENT_UNDELIVERED,
    SEND_NO_RECEIVER,
    Scheduler,
)
from caxton.bus.delivery import AMS, failure_for, reason_of
from caxton.bus.events import EventLog
from caxton.bus.held import HeldMail
from caxton.bus.known import Known
from caxton.bus.logs import LogRing
from caxton.bus.posting import CAPABILITY, Poster
from caxton.bus.receipts import Receipts
from caxton.bus.replies import Replies
from caxton.bus.reserved import Reserved
from caxton.bus.streams import Patience, Session, Streams
from caxton.bus.subscriptions import subscribe
from caxton.core.errors import CaxtonError, InvalidTransition, ReplyTimeout
from caxton.core.views import Event, EventFilter, LogLine, MessageRecord, MessageState, Receipt

log = logging.getLogger(__name__)

PROMISES = frozenset({"agree"})  # acts that announce an answer and are none
TAPPED_AT_ONCE = 500  # messages shown to watchers per look; the rest is counted
HELD_SECONDS = 0.002  # between two looks while mail waits
WATCHED_SECONDS = 0.05  # the same while somebody wants to know what becomes of a message
STREAMS = {1: "out", 2: "err"}

Missing = Callable[[str], dict[str, Any]]  # what else there is, when nobody has a capability; Any: JSON
Committed = Callable[[int], Awaitable[None]]  # returns when the message with this sequence number is on the disk


class Bus:
    def __init__(
        self,
        scheduler: Scheduler,
        *,
        max_message_size: int,
        committed: Committed,
        known: Known | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._scheduler = scheduler
        self.max_message_size = max_message_size
        self.known = Known(0, 0) if known is None else known
        self.wait_for = patience or Patience()
        self._committed = committed
        self._missing: Missing = lambda capability: {}
        self._poster = Poster(scheduler, self.known)
        self.mail = HeldMail(scheduler)
        self.mail.on_over = self.ended
        self._replies = Replies(scheduler, self.mail)
        self.reserved = Reserved(scheduler, self.mail, self._poster)
        self._tapped = 0  # number of the last message that watchers were shown
        self.events = EventLog()
        # accepted, and not delivered to this receiver (empty: the one it names)
        self.on_undelivered: Callable[[Envelope, str], None] = lambda message, receiver: None
        self.logs = LogRing()
        self.receipts = Receipts(scheduler)
        self.streams = Streams(scheduler, self.mail, self._poster, self.receipts, self.wait_for, self.undelivered)

    def set_signer(self, sign: Callable[[str, bytes], bytes]) -> None:
        """What is posted in an authenticated sender's name goes through this function."""
        self._poster.sign = sign

    # -- messages in --

    def post(self, data: bytes, *, sender: str | None = None, traceparent: str = "") -> Receipt:
        """Accept one message of a client. *sender* is who it was authenticated as; None: who it says it is.

        *traceparent*: the trace that its caller is in, when the message names none.
        """
        return self._poster.post(data, sender or "", traceparent)

    def suggest(self, missing: Missing) -> None:
        """Who asks for a capability that nobody has is told this too."""
        self._missing = self._poster.missing = missing

    def post_many(self, lines: Sequence[bytes], traceparent: str = "") -> list[Receipt | CaxtonError]:
        return self._poster.post_many(lines, "", traceparent)

    def post_again(self, data: bytes, *, sender: str) -> Receipt:
        """Accept a message that was accepted before and given up: its id is known, and it counts all the same."""
        return self._poster.post_again(data, sender)

    async def settle(self, outcomes: Sequence[Receipt | CaxtonError]) -> Sequence[Receipt | CaxtonError]:
        """The same when what was posted is on the disk, as far as it has to be: only then its sender is told.

        What could not be written is an error instead, though it may still come.
        """
        newest = max(
            (outcome.sequence for outcome in outcomes if isinstance(outcome, Receipt) and outcome.kept), default=0
        )
        if not newest:
            return outcomes
        try:
            await self._committed(newest)
        except CaxtonError as error:
            is_committed = self._scheduler.ledger.is_committed
            return [
                error
                if isinstance(outcome, Receipt) and outcome.kept and not is_committed(outcome.sequence)
                else outcome
                for outcome in outcomes
            ]
        return outcomes

    def patience(self) -> float:
        """Seconds until the records should be looked at again, though nothing happens."""
        if self.mail.is_holding:
            return HELD_SECONDS
        return WATCHED_SECONDS if self.receipts.is_watching or self.events.wants("message.sent") else inf

    def looked(self) -> None:
        """The records were looked at."""
        self.receipts.look()
        for port in self.mail.freed():
            self._arrived(port)
        self.show_messages()

    def committed(self) -> None:
        """Something has come to the disk: mail and receipts that waited for it may leave."""
        self.receipts.look()
        for port in self.mail.ports():
            self._arrived(port)

    def _arrived(self, port: int) -> None:
        if port == self._replies.port:
            self._replies.mail()
        elif not self.reserved.arrived(port):
            self.streams.mail(port)

    async def request(self, data: bytes, *, timeout: float, traceparent: str = "") -> Envelope:  # noqa: ASYNC109 (?wait=)
        """Post as `client:<id>` and wait for the answer; an `agree` only announces it. Raises ReplyTimeout."""
        agreed = False
        with self._replies.open() as (address, waiter):
            receipt = self._poster.post(data, address, traceparent)
            if receipt.status == "duplicate":
                raise InvalidTransition(
                    f"the message {receipt.message_id} was accepted before; its answer went to whoever sent it first",
                    hint="look for the answer: GET /api/v1/messages?conversation_id=..., or leave its message_id out",
                    details={"message_id": receipt.message_id},
                )
            with trio.move_on_after(timeout):
                while (answer := await waiter.next()).performative in PROMISES:
                    agreed = True
                return answer
        raise ReplyTimeout(
            f"no answer within {timeout:g} s" + (", though the agent agreed" if agreed else ""),
            hint="wait longer, or look for the answer: GET /api/v1/messages?conversation_id=...",
            details={"message_id": receipt.message_id, "agreed": agreed},
        )

    def validate(self, data: bytes) -> Envelope:
        """What `post` would accept, without posting."""
        return Envelope.from_json(data, max_size=self.max_message_size)

    def receipt(self, message_id: str) -> MessageState:
        """What became of it. Raises InvalidRequest, NotFound."""
        return self.receipts.get(message_id)

    def stream(
        self, name: str, *, takeover: bool = False, receipts: bool = False
    ) -> AbstractAsyncContextManager[Session]:
        return self.streams.attach(name, takeover=takeover, receipts=receipts)

    # -- what happened --

    def history(self, conversation_id: str | None, after: int, limit: int) -> tuple[list[MessageRecord], int]:
        found, cursor = self._scheduler.history(conversation_id, after, limit)
        return [_record(number, message) for number, message in found], cursor

    def tap(
        self, capacity: int = 64, filter: EventFilter | None = None
    ) -> AbstractContextManager[trio.MemoryReceiveChannel[Event]]:
        return self.events.tap(capacity, filter)

    def events_since(self, last_id: int) -> list[Event]:
        return self.events.since(last_id)

    # -- what the scheduler says --

    # Any: each kind of event has its own third and fourth member (scheduler.pyi)
    def handle(self, kind: int, port: int, a: Any, b: Any) -> bool:
        """Take one event of `Scheduler.drain`; False: it is not for the bus."""
        if kind == EVENT_MAIL:
            self._arrived(port)
        elif kind == EVENT_LOG:
            text, at_us = b
            self.write_log(self._scheduler.name_of(port), STREAMS[a], text, at_us / 1e6)
        elif kind == EVENT_UNDELIVERED:
            message, detail = b
            receiver = self._scheduler.name_of(port) if a > 0 else detail
            wanted = detail if a < 0 and detail else message.receiver
            missing = None
            if a == SEND_NO_RECEIVER and isinstance(wanted, str) and wanted.startswith(CAPABILITY):
                missing = self._missing(wanted.removeprefix(CAPABILITY))
            if a < 0 and detail:  # of several receivers the one that did not get it
                detail = f"{detail}: {reason_of(a)[1]}"
            self.undelivered(a, message, detail, receiver, missing)
        elif kind == EVENT_SUBSCRIBE:
            try:
                subscribe(self._scheduler, port, b)
            except CaxtonError as error:
                self.write_log(self._scheduler.name_of(port), "system", f"subscription refused: {error}")
        else:
            return False
        return True

    def write_log(self, agent: str, stream: Any, text: str, at: float | None = None) -> None:
        """A line of an agent, or (`system`) about it; of one that is gone by now, none."""
        if not agent:
            return
        at = time.time() if at is None else at
        self.logs.append(LogLine(agent=agent, stream=stream, text=text, at=at))
        self.events.emit("agent.log", {"agent_id": agent, "stream": stream, "text": text}, at)

    def undelivered(
        self,
        code: int,
        message: Envelope,
        detail: str,
        receiver: str = "",
        missing: dict[str, Any] | None = None,  # Any: see `suggest`
    ) -> None:
        """Tell those who watch, and the sender by a `failure`."""
        word, _ = reason_of(code)
        self.on_undelivered(message, receiver)
        self.events.emit(
            "message.undelivered",
            {
                "message_id": message.message_id,
                "from": message.sender,
                "to": message.receiver,
                "performative": message.performative,
                "reason": word,
                "detail": detail,
            },
        )
        if (failure := failure_for(message, code, detail, missing, receiver if code < 0 else "")) is not None:
            try:
                self._poster.post(failure, AMS)
            except CaxtonError as error:
                log.debug("the sender of %s cannot be told: %s", message.message_id, error)
        self.mail.on_hold()  # nobody else says that there is something to commit

    def ended(self, port: int, code: int, message: Envelope) -> None:
        """Its time has passed before anybody came to it at this port; it is a dead letter."""
        self.undelivered(code, message, "", self._scheduler.name_of(port))

    def return_to_senders(self, messages: Sequence[Envelope]) -> None:
        """Their receiver is gone; they are dead letters."""
        for message in messages:
            self.undelivered(SEND_NO_RECEIVER, message, "the agent was deleted before it came to the message")

    def show_messages(self) -> None:
        """Show the watchers what was accepted since the last look."""
        if not self.events.wants("message.sent"):
            self._tapped = self._scheduler.newest_message
            return
        skipped = self._scheduler.newest_message - self._tapped - TAPPED_AT_ONCE
        if skipped > 0:
            text = f"{skipped} messages were not shown: more than {TAPPED_AT_ONCE} at once"
            self.events.emit("system.alert", {"severity": "info", "message": text, "details": {"missed": skipped}})
            self._tapped += skipped
        found, self._tapped = self._scheduler.history(None, self._tapped, TAPPED_AT_ONCE)
        for _, message in found:
            data = {
                "message_id": message.message_id,
                "from": message.sender,
                "to": message.receiver,
                "performative": message.performative,
                "conversation_id": message.conversation_id,
            }
            self.events.emit("message.sent", data, message.accepted_us / 1e6)


def _record(number: int, message: Envelope) -> MessageRecord:
    return MessageRecord(
        sequence=number,
        message_id=message.message_id or "",
        performative=message.performative or "",
        sender=message.sender or "",
        receiver=message.receiver or "",
        accepted_at=message.accepted_us / 1e6,
        content=msgspec.Raw(message.content or b"null"),
        conversation_id=message.conversation_id or "",
        reply_with=message.reply_with or "",
        in_reply_to=message.in_reply_to or "",
        protocol=message.protocol or "",
        ontology=message.ontology or "",
        language=message.language or "",
    )
