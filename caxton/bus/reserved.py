"""Agents of the platform itself: names that belong to the node (`ams`, `df`, `cnp`), each with a handler in Python.

    hosted = bus.reserved.host("df", handle)

A handler is a function, sync or async, that takes the message and gives its answers; it raises `Unanswered` for what it
will not, cannot or does not understand. It gets one message after the other. One that has to wait for other messages
(a contract net) returns LATER, and calls `hosted.answer(...)` and `await hosted.settle(message)` when it is done.

Rule 1: an answer goes to `reply_to`, else to the sender; it carries the conversation, protocol, language and ontology
        of the message, and in `in_reply_to` what the message asked to be answered with.
Rule 2: a message counts as handled when its effect is there and its answers are accepted; after a crash before that it
        comes again. So a handler may see a message twice, with the same `message_id`.
Rule 3: `failure` and `not-understood` are never answered with one of them.
Rule 4: an error of a handler is told as `failure`, logged, and ends nothing.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import attrs
import msgspec
import trio

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import SEND_MAILBOX_FULL, UNSENT, Scheduler
from caxton.bus.held import HeldMail
from caxton.bus.posting import Poster
from caxton.core.answer import SILENT, Answer, Unanswered
from caxton.core.errors import CaxtonError, MailboxFull, MessageTooLarge, StorageFull
from caxton.core.views import Receipt

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5  # while the disk takes nothing, or the journal is behind
AT_ONCE = 64  # messages that leave the mailbox together
UNANSWERABLE: Final = UNSENT - SEND_MAILBOX_FULL  # a dead letter's reason: there is no room for the answer


class Later:
    """The type of LATER."""


LATER: Final = Later()

Answers = Iterable[Answer] | Answer | Later | None
Handler = Callable[[Envelope], Answers | Awaitable[Answers]]


def event_of(message: Envelope) -> dict[str, Any]:  # Any: JSON
    """How answers name a message."""
    return {"message_id": message.message_id, "performative": message.performative}


def is_json(language: str | None) -> bool:
    return not language or language.lower() in ("json", "application/json")


def reply(message: Envelope, answer: Answer) -> bytes | None:
    """The answer as a message (FIPA's reply rules); None: nobody is to be told."""
    receiver = message.reply_to or message.sender
    if not receiver or (message.performative in SILENT and answer.performative in SILENT):
        return None
    fields: dict[str, Any] = {  # Any: JSON
        "performative": answer.performative,
        "receiver": receiver,
        "content": answer.content,
        "language": (message.language or "json") if is_json(message.language) else "json",
        "ontology": message.ontology,
        "conversation_id": message.conversation_id,
        "protocol": message.protocol if message.conversation_id else None,
        "in_reply_to": message.reply_with,
        "traceparent": message.traceparent,
        "tracestate": message.tracestate,
        "delivery": message.delivery,
        **answer.fields,
    }
    return msgspec.json.encode({key: value for key, value in fields.items() if value is not None})


@attrs.define(eq=False)
class ReservedAgent:
    """One of them: its mailbox, its handler, and its voice."""

    name: str
    port: int
    handler: Handler
    _scheduler: Scheduler
    _poster: Poster
    mail: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    def send(self, message: bytes) -> Receipt:
        """Post a message of this agent's. Raises RejectedError or UnavailableError."""
        return self._poster.post(message, self.name)

    def answer(self, message: Envelope, *answers: Answer) -> None:
        """Raises StorageFull: nothing can be kept now. MailboxFull: there is no room for the answer."""
        for answer in answers:
            try:
                self._post(message, answer)
            except (StorageFull, MailboxFull):
                raise
            except MessageTooLarge as error:
                self._post(
                    message, Unanswered("internal-error", f"too long an answer: {error}").answer(event_of(message))
                )
            except CaxtonError as error:  # whoever asked is gone, or cannot be told
                log.info("%s could not answer %s: %s", self.name, message.message_id, error)

    def _post(self, message: Envelope, answer: Answer) -> None:
        text = reply(message, answer)
        if text is not None:
            self._poster.post(text, self.name)

    async def settle(self, message: Envelope) -> None:
        """The message was handled."""
        while True:
            try:
                self._scheduler.settle(self.port, message)
            except MailboxFull:  # the journal is behind
                await trio.sleep(RETRY_SECONDS)
            else:
                return

    async def handle(self, message: Envelope) -> None:
        """Ask the handler, answer, and count the message as handled."""
        try:
            answers = self.handler(message)
            if inspect.isawaitable(answers):
                answers = await answers
        except Unanswered as refusal:
            answers = refusal.answer(event_of(message))
        except Exception as error:
            # one message that a handler cannot digest must not end the agent that everybody asks
            log.exception("%s failed over message %s", self.name, message.message_id)
            text = f"{self.name} failed: {type(error).__name__}"
            answers = Unanswered("internal-error", text).answer(event_of(message))
        if isinstance(answers, Later):
            return
        if answers is None:
            answers = ()
        for answer in (answers,) if isinstance(answers, Answer) else answers:
            if not await self._answer(message, answer):
                return
        await self.settle(message)

    async def _answer(self, message: Envelope, answer: Answer) -> bool:
        """False: there is no room for it, and the message that it answers is a dead letter."""
        while True:
            try:
                self.answer(message, answer)
            except StorageFull:
                await trio.sleep(RETRY_SECONDS)
            except MailboxFull as error:
                await self._bury(message, f"{self.name} answered, but {error}")
                return False
            else:
                return True

    async def _bury(self, message: Envelope, detail: str) -> None:
        while True:
            try:
                self._scheduler.bury(self.port, message, UNANSWERABLE, detail)
            except MailboxFull:  # the journal is behind
                await trio.sleep(RETRY_SECONDS)
            else:
                return


class Reserved:
    """All of them."""

    def __init__(self, scheduler: Scheduler, mail: HeldMail, poster: Poster) -> None:
        self._scheduler = scheduler
        self._mail = mail
        self._poster = poster
        self._by_port: dict[int, ReservedAgent] = {}
        self._agents: trio.Nursery | None = None  # of `run`

    def host(self, name: str, handler: Handler) -> ReservedAgent:
        """Give the name a mailbox; what waited for it on the disk is for it. Raises AgentAlreadyExists."""
        port = self._scheduler.open_port(name, host=True)
        self._scheduler.keep_port(port, name)
        agent = self._by_port[port] = ReservedAgent(name, port, handler, self._scheduler, self._poster)
        if self._agents is not None:
            self._agents.start_soon(self._serve, agent)
        return agent

    def names(self) -> list[str]:
        return [agent.name for agent in self._by_port.values()]

    def arrived(self, port: int) -> bool:
        """There is mail at this port; False: it is none of these."""
        agent = self._by_port.get(port)
        if agent is None:
            return False
        agent.mail.unpark_all()
        return True

    async def run(self) -> None:
        """Let them work, for as long as the node is open."""
        async with trio.open_nursery() as agents:
            self._agents = agents
            for agent in self._by_port.values():
                agents.start_soon(self._serve, agent)
            await trio.sleep_forever()  # another may be hosted later

    async def _serve(self, agent: ReservedAgent) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            messages = self._mail.receive(agent.port, AT_ONCE)
            if not messages:
                await agent.mail.park()
            for message in messages:
                await trio.lowlevel.checkpoint()
                try:
                    await agent.handle(message)
                except Exception:
                    # an answer that is no JSON, say: the node, and the agents of everybody, must not end with it
                    log.exception("the answer of %s to message %s came to nothing", agent.name, message.message_id)
