"""What the conversation tracker asks of the rest of the node: its time, its rows, and what it has to tell.

Rule 1: deadlines are waited for, never looked for: the task sleeps until the earliest, and EVENT_CONVERSATION says when
        there is an earlier one.
Rule 2: what was told is told to watchers as events, and to the agent that sent an illegal act as a line of its log.
Rule 3: a message that came too late is answered from `ams`, in the place of who did not get it.
Rule 4: a broker's conversation is done when all that name it as their parent have ended.
"""

import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from math import inf

import msgspec
import trio

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import Scheduler
from caxton.bus.bus import Bus
from caxton.bus.delivery import AMS
from caxton.core.config_keys import MessagingConfig
from caxton.core.conversations import (
    Conversation,
    ConversationEvent,
    ConversationPage,
    Session,
    TrackerStatistics,
)
from caxton.core.errors import CaxtonError, InvalidMessage, InvalidTransition, NotFound
from caxton.core.replay import Spoken, replay
from caxton.node.committer import Committer
from caxton.store import Store

log = logging.getLogger(__name__)

REAPED_AT_ONCE = 64  # places of a shard's table
LONGEST_PAUSE = 60.0  # seconds between two rounds of the reaper
LONGEST_NAP = 3600.0  # of the task, so that nothing depends on a deadline years away
REMEMBERED_AT_ONCE = 1000  # messages
LOGGED_AT_ONCE = 20  # lines about illegal acts; the others are events only
WRONG_AT_ONCE = 64  # illegal acts and wrong contents that are told per look; the others are counted

SHAPES = ("off", "report", "refuse")
TOLD_TO_SENDER = frozenset(
    {"conversation.out_of_sequence", "conversation.late", "conversation.limit", "conversation.loop"}
)


class Conversations:
    def __init__(
        self, scheduler: Scheduler, store: Store, bus: Bus, committer: Committer, messaging: MessagingConfig
    ) -> None:
        self.tracker = scheduler.tracker
        self._scheduler = scheduler
        self._store = store
        self._bus = bus
        self._committer = committer
        self._idle = trio.lowlevel.ParkingLot()
        self._changed = trio.Event()
        self.change(messaging)
        bus.on_undelivered = self.undelivered
        bus.events.on_taps = self._watch

    def change(self, messaging: MessagingConfig) -> None:
        """Other limits: for messages from now on, and for the reaper, which looks at all conversations at once."""
        config, loops = messaging.conversations, messaging.loops
        self._pause = min(LONGEST_PAUSE, *(wait / 4 for wait in (config.idle_timeout, config.kept_time) if wait), inf)
        self.tracker.configure(
            max_conversations=config.max_open,
            max_participants=config.max_participants,
            kept_ended=config.kept_ended,
            kept_seconds=config.kept_time,
            first_answer=config.first_answer_timeout,
            max_rounds=config.max_rounds,
            clock_skew=config.clock_skew,
            idle=config.idle_timeout,
            longest=config.max_age,
            keeps=True,
            content_shapes=SHAPES.index(messaging.content_shapes),
            max_hops=loops.max_hops,
            max_repeats=loops.max_repeats,
            stop_loops=loops.policy == "stop",
        )
        self._changed.set()
        self._changed = trio.Event()

    async def recover(self) -> None:
        """At start, before any mail flows: open conversations go on, with their deadlines and promises."""
        lost = 0
        rows = await self._store.conversations.load_all()
        for id, row in rows:
            try:
                lost += not self.tracker.recover(row)
            except InvalidMessage as error:
                log.warning("the conversation %s is forgotten: %s", id, error)
                lost += 1
        if rows:
            log.info("%d conversations go on, %d are forgotten", len(rows) - lost, lost)

    # -- looking, and stopping --

    def get(self, conversation_id: str) -> tuple[Conversation, bool]:
        """How it stands, and whether that was made again from the messages that are remembered. Raises NotFound."""
        self.tracker.forget()
        found = self.tracker.get(conversation_id)
        if found is not None:
            return found, False
        found = replay(conversation_id, self._remembered(conversation_id), time.time())
        if found is None:
            raise NotFound(
                f"there is no conversation {conversation_id!r}",
                hint="it has none of FIPA's protocols, or was forgotten: messaging.conversations.kept_time",
                details={"conversation_id": conversation_id},
            )
        return found, True

    def page(
        self, which: Mapping[str, str], *, is_open: bool | None, before: int, limit: int
    ) -> tuple[ConversationPage, TrackerStatistics]:
        """The newest first; *which* may have protocol, state, participant and parent."""
        return self.tracker.list(**which, is_open=is_open, before=before, limit=limit), self.tracker.statistics()

    def cancel(self, conversation_id: str, reason: str) -> dict[str, str]:
        """Send `cancel` in the initiator's place to everybody who is not done: by name what became of it.

        Raises NotFound, and InvalidTransition when all of it is over.
        """
        found, _ = self.get(conversation_id)
        sessions = [session for session in found.sessions if not session.is_final]
        if not sessions:
            raise InvalidTransition(
                f"the conversation {conversation_id!r} is over: {', '.join(sorted(found.states))}",
                details={"conversation_id": conversation_id},
            )
        outcomes: dict[str, str] = {}
        for session in sessions:
            try:
                self._bus.post(cancellation(conversation_id, session, reason), sender=session.initiator)
            except CaxtonError as error:
                outcomes[session.participant] = str(error)
            else:
                outcomes[session.participant] = "sent"
        return outcomes

    def _remembered(self, conversation_id: str) -> Iterator[Spoken]:
        after = 0
        while True:
            messages, cursor = self._scheduler.history(conversation_id, after, REMEMBERED_AT_ONCE)
            for _, message in messages:
                yield Spoken(
                    at=message.accepted_us / 1e6,
                    performative=message.performative or "",
                    protocol=message.protocol or "",
                    sender=message.sender or "",
                    receivers=tuple(message.receivers),
                    message_id=message.message_id or "",
                    reply_with=message.reply_with or "",
                    in_reply_to=message.in_reply_to or "",
                    reply_by=message.reply_by_us / 1e6,
                    reply_to=bool(message.reply_to),
                )
            if len(messages) < REMEMBERED_AT_ONCE:
                return
            after = cursor

    # -- tasks --

    async def run(self) -> None:
        """Do what is due, for as long as the node is open."""
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._reap)
            while True:
                if self.tracker.tick():
                    self._committer.look()
                self.look()
                with trio.move_on_after(min(self.tracker.wait_seconds(), LONGEST_NAP)):
                    await self._idle.park()

    async def _reap(self) -> None:
        while True:
            with trio.move_on_after(max(self._pause, 0.1)):
                await self._changed.wait()
            self.tracker.forget()
            while self.tracker.reap(REAPED_AT_ONCE):
                await trio.lowlevel.checkpoint()
            self._committer.look()

    # -- what happened --

    def news(self) -> None:
        """EVENT_CONVERSATION."""
        self._idle.unpark_all()

    def look(self) -> None:
        """Tell what has happened since the last look."""
        before = self.tracker.untold
        events, late = self.tracker.read_events(WRONG_AT_ONCE)
        if untold := self.tracker.untold - before:
            text = f"{untold} wrong messages were counted and not told: more than {WRONG_AT_ONCE} at once"
            self._bus.events.emit(
                "system.alert", {"severity": "warning", "message": text, "details": {"untold": untold}}
            )
        logged = 0
        for event in events:
            self._emit(event)
            if event.type in TOLD_TO_SENDER and logged < LOGGED_AT_ONCE:
                logged += 1
                self._bus.write_log(event.sender, "system", line_of(event), event.at)
            if event.completes and self.tracker.complete(event.completes):
                self._committer.look()
        for message in late:
            self._reject(message)

    def _watch(self) -> None:
        self.tracker.watch_ended(self._bus.events.wants("conversation.ended"))

    def _emit(self, event: ConversationEvent) -> None:
        data = msgspec.structs.asdict(event)
        del data["type"], data["at"], data["completes"]
        data["from"], data["to"] = data.pop("sender"), data.pop("receiver")
        self._bus.events.emit(event.type, data, event.at)

    def _reject(self, message: Envelope) -> None:
        try:
            self._bus.post(rejection(message), sender=AMS)
        except CaxtonError as error:
            log.debug("the sender of %s cannot be told that it is late: %s", message.message_id, error)

    def undelivered(self, message: Envelope, receiver: str) -> None:
        """It was accepted, and its receiver will not have it."""
        if message.protocol and message.conversation_id and self.tracker.undelivered(message, receiver):
            self._committer.look()


def line_of(event: ConversationEvent) -> str:
    """For the log of who sent it."""
    what = event.type.removeprefix("conversation.").replace("_", " ")
    where = f" in {event.state} of {event.protocol}" if event.state else ""
    return f"{what}: {event.performative} to {event.receiver}{where}: {event.told}"


def cancellation(conversation_id: str, session: Session, reason: str) -> bytes:
    """The `cancel` of the meta-protocol, with a reply_with of its own: its answer is told apart by that."""
    return msgspec.json.encode(
        {
            "performative": "cancel",
            "receiver": session.participant,
            "content": {"action": {"conversation_id": conversation_id}, "reason": reason},
            "language": "json",
            "conversation_id": conversation_id,
            "protocol": session.protocol,
            "reply_with": f"cancel-{uuid.uuid4().hex}",
            "params": {"cancelled_by": "operator"},
        }
    )


def rejection(message: Envelope) -> bytes:
    """The `reject-proposal` that a late proposal gets, as JSON."""
    answer: dict[str, object] = {
        "performative": "reject-proposal",
        "receiver": message.sender,
        "content": {"action": {"message_id": message.message_id}, "condition": None, "reason": "late"},
        "language": "json",
        "conversation_id": message.conversation_id,
        "protocol": message.protocol,
        "in_reply_to": message.reply_with,
    }
    return msgspec.json.encode({key: value for key, value in answer.items() if value is not None})
