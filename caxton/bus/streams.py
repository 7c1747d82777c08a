"""Agents that live outside: a host port whose mail waits while they are away, and the session that takes it.

Rule 1: a message stays with the port until it is acknowledged; what is not, goes to the next session again, marked
        `redelivered`.
Rule 2: one session at a time. A second is refused, or takes over and ends the first.
Rule 3: a session holds at most WINDOW messages without acknowledgement; the rest waits in the bounded mailbox.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import SEND_NO_RECEIVER, Scheduler
from caxton.bus.delivery import UNSENT
from caxton.bus.held import HeldMail
from caxton.bus.posting import Poster
from caxton.core.errors import AgentNotFound, CaxtonError, InvalidTransition
from caxton.core.views import Receipt

WINDOW = 16_384
DELETED = UNSENT - SEND_NO_RECEIVER  # a dead letter's reason


@attrs.define(eq=False)
class Attached:
    """One attached agent."""

    name: str
    port: int
    unacknowledged: dict[str, Envelope] = attrs.field(factory=dict)
    session: "Session | None" = None
    # sessions that wait for mail, room or their end; a lot, for an Event that one of two sessions renews loses news
    waiting: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    is_closed: bool = False


class Session:
    """The outside end of one attached agent's mailbox."""

    def __init__(self, agent: Attached, scheduler: Scheduler, mail: HeldMail, poster: Poster) -> None:
        self._agent = agent
        self._scheduler = scheduler
        self._mail = mail
        self._poster = poster
        again = [message.again() for message in agent.unacknowledged.values()]
        agent.unacknowledged = {str(message.message_id): message for message in again}
        self._again = again
        self._again.reverse()

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
                for message in mail:
                    agent.unacknowledged[str(message.message_id)] = message
                return mail
            await agent.waiting.park()

    def _redeliver(self, max_messages: int) -> list[Envelope]:
        """What an earlier session was given, unless it has been acknowledged in this one."""
        found: list[Envelope] = []
        while self._again and len(found) < max_messages:
            message = self._again.pop()
            if str(message.message_id) in self._agent.unacknowledged:
                found.append(message)
        return found

    def ack(self, message_ids: Sequence[str]) -> None:
        """These were handled. Ids that wait for no acknowledgement are ignored: acknowledging twice is no error."""
        self._check()
        for message_id in message_ids:
            message = self._agent.unacknowledged.pop(message_id, None)
            if message is not None:
                self._scheduler.settle(self._agent.port, message)
        self._agent.waiting.unpark_all()

    def send(self, messages: Sequence[bytes]) -> Sequence[Receipt | CaxtonError]:
        """Post each; the sender is always the attached agent."""
        self._check()
        return self._poster.post_many(messages, sender=self._agent.name)

    def _check(self) -> None:
        if self._agent.is_closed:
            raise AgentNotFound(f"agent {self._agent.name!r} was deleted")
        if self._agent.session is not self:
            raise InvalidTransition(f"another session has taken over agent {self._agent.name!r}")


class Streams:
    def __init__(self, scheduler: Scheduler, mail: HeldMail, poster: Poster) -> None:
        self._scheduler = scheduler
        self._mail = mail
        self._poster = poster
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
        left = (*agent.unacknowledged.values(), *self._mail.forget(agent.port))
        for message in left:
            self._scheduler.bury(agent.port, message, DELETED)
        return left

    def mail(self, port: int) -> None:
        if (agent := self._by_port.get(port)) is not None:
            agent.waiting.unpark_all()

    @asynccontextmanager
    async def attach(self, name: str, *, takeover: bool) -> AsyncIterator[Session]:
        agent = self._by_name.get(name)
        if agent is None:
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
        agent.session = session = Session(agent, self._scheduler, self._mail, self._poster)
        self._scheduler.set_away(agent.port, False)
        agent.waiting.unpark_all()  # whoever was here before sees that it was replaced
        try:
            yield session
        finally:
            if agent.session is session:
                agent.session = None
                if not agent.is_closed:
                    self._scheduler.set_away(agent.port, True)
