"""Agents that live outside: a host port whose mail waits while they are away, and the session that takes it.

Rule 1: a message stays with the port until it is acknowledged; what is not, goes to the next session again, marked
        `redelivered`.
Rule 2: one session at a time. A second is refused, or takes over and ends the first.
Rule 3: what a session was given and has not acknowledged in time is given to it again; after so many deliveries it is
        a dead letter, and its sender is told. While nobody is attached no time passes.
Rule 4: a session holds at most WINDOW messages without acknowledgement; the rest waits in the bounded mailbox.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from math import inf

import attrs
import trio

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import SEND_NO_RECEIVER, UNSENT, Scheduler
from caxton.bus.delivery import NOT_ACKNOWLEDGED
from caxton.bus.held import HeldMail
from caxton.bus.posting import Poster
from caxton.bus.receipts import Listener, Receipts
from caxton.core.errors import AgentNotFound, CaxtonError, Forbidden, InvalidTransition, MailboxFull
from caxton.core.manifest import RESERVED_NAMES
from caxton.core.views import MessageState, Receipt

WINDOW = 16_384
DELETED = UNSENT - SEND_NO_RECEIVER  # a dead letter's reason
LOOKS = 10  # at what is overdue, in the time of one timeout

Given = tuple[float, Envelope]  # when its acknowledgement is due (WAITING: it is to be given again first), and what
WAITING = -1.0


@attrs.define(eq=False)
class Patience:
    """How long an agent outside has for a message, and how often it gets it at most. No time at all: for ever.

    All sessions share one; `change` takes effect for what is given out from then on.
    """

    timeout: float = 0.0
    deliveries: int = 4
    changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def change(self, timeout: float, deliveries: int) -> None:
        self.timeout, self.deliveries = timeout, deliveries
        self.changed.set()
        self.changed = trio.Event()


@attrs.define(eq=False)
class Attached:
    """One attached agent."""

    name: str
    port: int
    unacknowledged: dict[str, Given] = attrs.field(factory=dict)  # in the order in which they were given
    again: deque[str] = attrs.field(factory=deque)  # ids of those that wait to be given once more
    session: "Session | None" = None
    # sessions that wait for mail, room or their end; a lot, for an Event that one of two sessions renews loses news
    waiting: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    is_closed: bool = False


class Session:
    """The outside end of one attached agent's mailbox."""

    def __init__(
        self,
        agent: Attached,
        scheduler: Scheduler,
        mail: HeldMail,
        poster: Poster,
        receipts: Receipts,
        patience: Patience,
    ) -> None:
        self._receipts = receipts
        self._listener: Listener | None = None
        self._agent = agent
        self._scheduler = scheduler
        self._mail = mail
        self._poster = poster
        self._patience = patience
        agent.unacknowledged = {
            message_id: (WAITING, message if due == WAITING else message.again())
            for message_id, (due, message) in agent.unacknowledged.items()
        }
        agent.again = deque(agent.unacknowledged)

    async def receive(self, max_messages: int) -> Sequence[Envelope]:
        """At least one message, at most *max_messages*.

        AgentNotFound: deleted; InvalidTransition: another session took over.
        """
        await trio.lowlevel.checkpoint()
        agent = self._agent
        while True:
            self._check()
            if again := self._redeliver(max_messages):
                return again
            room = WINDOW - len(agent.unacknowledged)
            if room > 0 and (mail := self._mail.receive(agent.port, min(max_messages, room))):
                self._note(mail)
                return mail
            await agent.waiting.park()

    def _note(self, messages: Sequence[Envelope]) -> None:
        """They are given out now."""
        due = trio.current_time() + self._patience.timeout if self._patience.timeout else inf
        for message in messages:
            self._agent.unacknowledged[str(message.message_id)] = due, message
        self._scheduler.tracker.taken(messages, self._agent.name)

    def _redeliver(self, max_messages: int) -> list[Envelope]:
        """What was given before, unless it has been acknowledged meanwhile."""
        agent = self._agent
        found: list[Envelope] = []
        while agent.again and len(found) < max_messages:
            given = agent.unacknowledged.pop(agent.again.popleft(), None)
            if given is not None:
                found.append(given[1])
        found = self._mail.in_time(agent.port, found)
        self._note(found)
        return found

    def ack(self, message_ids: Sequence[str]) -> None:
        """These were handled. Ids that wait for no acknowledgement are ignored: acknowledging twice is no error."""
        self._check()
        for message_id in message_ids:
            given = self._agent.unacknowledged.pop(message_id, None)
            if given is not None:
                self._scheduler.settle(self._agent.port, given[1])
        self._agent.waiting.unpark_all()

    def send(self, messages: Sequence[bytes]) -> Sequence[Receipt | CaxtonError]:
        """Post each; the sender is always the attached agent."""
        self._check()
        outcomes = self._poster.post_many(messages, sender=self._agent.name)
        if self._listener is not None:
            for outcome in outcomes:
                if isinstance(outcome, Receipt) and outcome.status != "duplicate":
                    self._receipts.watch(outcome.sequence, outcome.message_id, self._listener)
        return outcomes

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Be told what becomes of the messages that are sent within the block."""
        self._listener = Listener()
        try:
            yield
        finally:
            self._receipts.forget(self._listener)
            self._listener = None

    async def receipt(self) -> MessageState:
        """The next message of this session that has ended; within `listen` only."""
        assert self._listener is not None, "nobody asked to be told"
        return await self._listener.next()

    def _check(self) -> None:
        if self._agent.is_closed:
            raise AgentNotFound(f"agent {self._agent.name!r} was deleted")
        if self._agent.session is not self:
            raise InvalidTransition(f"another session has taken over agent {self._agent.name!r}")


class Streams:
    def __init__(
        self,
        scheduler: Scheduler,
        mail: HeldMail,
        poster: Poster,
        receipts: Receipts,
        patience: Patience,
        on_undelivered: Callable[[int, Envelope, str], None],
    ) -> None:
        self._scheduler = scheduler
        self._receipts = receipts
        self._patience = patience
        self._on_undelivered = on_undelivered
        self._mail = mail
        self._poster = poster
        self.on_presence: Callable[[str, bool], None] = lambda name, is_there: None  # somebody came or left
        self._by_name: dict[str, Attached] = {}
        self._by_port: dict[int, Attached] = {}

    def adopt(self, name: str, port: int) -> None:
        """The agent is attached: its mail waits at this host port."""
        self._by_name[name] = self._by_port[port] = Attached(name, port)
        self._scheduler.set_away(port, True)

    def forget(self, name: str) -> Sequence[Envelope]:
        """The agent is deleted; its session learns it. What was given to it and never acknowledged comes back."""
        agent = self._by_name.pop(name, None)
        if agent is None:
            return ()
        del self._by_port[agent.port]
        agent.is_closed = True
        agent.waiting.unpark_all()
        left = (*(message for _, message in agent.unacknowledged.values()), *self._mail.forget(agent.port))
        for message in left:
            self._scheduler.bury(agent.port, message, DELETED)
        return left

    def is_attached(self, name: str) -> bool:
        """Whether somebody is there now."""
        agent = self._by_name.get(name)
        return agent is not None and agent.session is not None

    def mail(self, port: int) -> None:
        if (agent := self._by_port.get(port)) is not None:
            agent.waiting.unpark_all()

    async def run(self) -> None:
        """Give again what is overdue, for as long as the node is open."""
        while True:
            timeout = self._patience.timeout
            with trio.move_on_after(timeout / LOOKS if timeout else inf):
                await self._patience.changed.wait()
            self.tick(trio.current_time())

    def tick(self, now: float) -> None:
        """Look for what is overdue."""
        for agent in self._by_port.values():
            if agent.session is not None and agent.unacknowledged and self._is_overdue(agent, now):
                agent.waiting.unpark_all()

    def _is_overdue(self, agent: Attached, now: float) -> bool:
        """Whether anything of the agent's is: then it is given again, or given up."""
        overdue = []
        for message_id, (due, _) in agent.unacknowledged.items():
            if due > now:
                break  # those after it were given later
            if due != WAITING:
                overdue.append(message_id)
        for message_id in overdue:
            _, message = agent.unacknowledged[message_id]
            if max(message.delivery_attempt, 1) < self._patience.deliveries:
                agent.unacknowledged[message_id] = WAITING, message.again()
                agent.again.append(message_id)
            elif not self._give_up(agent, message):
                break
        return bool(overdue)

    def _give_up(self, agent: Attached, message: Envelope) -> bool:
        """False: not yet, for the store has no room; it is tried with the next look."""
        text = f"not acknowledged within {self._patience.timeout:g} s, {message.delivery_attempt or 1} times"
        try:
            self._scheduler.bury(agent.port, message, NOT_ACKNOWLEDGED, text)
        except MailboxFull:
            return False
        del agent.unacknowledged[str(message.message_id)]
        self._on_undelivered(NOT_ACKNOWLEDGED, message, text)
        return True

    @asynccontextmanager
    async def attach(self, name: str, *, takeover: bool, receipts: bool = False) -> AsyncIterator[Session]:
        agent = self._by_name.get(name)
        if agent is None:
            if name.lower() in RESERVED_NAMES:
                raise Forbidden(
                    f"{name!r} is an agent of the platform, and nobody else may be attached as it",
                    hint="choose another name for the agent outside",
                )
            if self._scheduler.has_address(name):
                raise InvalidTransition(
                    f"{name!r} is a WebAssembly agent and runs inside the server; only attached agents have a stream",
                    hint="choose another name for the agent outside",
                )
            raise AgentNotFound(f"no agent is named {name!r}", hint='create it first, or attach with "?create=1"')
        if agent.session is not None and not takeover:
            raise InvalidTransition(
                f"{name!r} has a session already", hint='end it first, or take over with "?takeover=1"'
            )
        agent.session = session = Session(
            agent, self._scheduler, self._mail, self._poster, self._receipts, self._patience
        )
        self._scheduler.set_away(agent.port, False)
        self.on_presence(name, True)
        agent.waiting.unpark_all()  # whoever was here before sees that it was replaced
        try:
            with session.listen() if receipts else nullcontext():
                yield session
        finally:
            if agent.session is session:
                agent.session = None
                if not agent.is_closed:
                    self._scheduler.set_away(agent.port, True)
                    self.on_presence(name, False)
