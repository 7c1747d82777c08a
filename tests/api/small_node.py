"""A node in memory, true to `caxton/api/ports.py`: mailboxes, receipts, replies, history, events; but no WebAssembly.

A "module" is anything that begins like one; the agent it makes answers every request with an `inform` of the same
content, at once. It exists so that the API can be tested, and measured, by itself.
"""

import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from math import inf
from pathlib import Path
from typing import Any

import attrs
import msgspec
import trio

from caxton.core.errors import (
    AgentAlreadyExists,
    AgentNotFound,
    CaxtonError,
    InvalidMessage,
    InvalidTransition,
    InvalidWasm,
    MailboxFull,
    MessageTooLarge,
    NotFound,
    ReplyTimeout,
)
from caxton.core.manifest import AgentConfig
from caxton.core.performatives import canonical
from caxton.core.views import (
    AgentInfo,
    AgentKind,
    EdgeLimits,
    Event,
    EventFilter,
    LogLine,
    MessageRecord,
    Profile,
    ProfileRow,
    Receipt,
)

QUEUE_SIZE = 10_000
RING = 1000


class Letter(msgspec.Struct, frozen=True, omit_defaults=True):
    performative: str
    receiver: str
    content: msgspec.Raw = msgspec.Raw(b"null")
    sender: str = ""
    message_id: str = ""
    conversation_id: str = ""
    reply_with: str = ""
    in_reply_to: str = ""

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)


LETTERS = msgspec.json.Decoder(Letter)


@attrs.define(eq=False)
class Mailbox:
    waiting: deque[Letter] = attrs.field(factory=deque)
    unacknowledged: dict[str, Letter] = attrs.field(factory=dict)
    changed: trio.Event = attrs.field(factory=trio.Event)
    gone: CaxtonError | None = None  # why the attachment has to end

    def wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


@attrs.define(eq=False)
class Resident:
    info: AgentInfo
    mailbox: Mailbox = attrs.field(factory=Mailbox)
    attachment: Mailbox | None = None


@attrs.define(eq=False)
class SmallMeter:
    """Metrics that are off, until somebody puts something here to count with."""

    requests: Any = None

    @property
    def is_on(self) -> bool:
        return self.requests is not None

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        raise NotFound("a small node keeps no metrics")

    async def wait_is(self, on: bool) -> None:
        await trio.sleep_forever()


class SmallNode:
    def __init__(self, limits: EdgeLimits | None = None) -> None:
        self.gateway = None
        self.signing_keys: Any = None  # its agents have none
        self.webhooks: Any = None  # it tells nobody
        self.tools: Any = None
        self.limits = limits or EdgeLimits()
        self.meter = SmallMeter()
        self.agents = SmallAgents(self)
        self.bus = SmallBus(self)
        self.backups = SmallBackups()
        self.is_ready = True
        self.profiling = False
        self.profile_began = trio.Event()
        self.profile_ended = trio.Event()

    def health(self) -> Mapping[str, Any]:
        return {"status": "healthy"}

    def ready(self) -> tuple[bool, Mapping[str, Any]]:
        return self.is_ready, {"status": "ready" if self.is_ready else "starting"}

    def metrics_system(self, fields: set[str]) -> Mapping[str, Any]:
        total = len(self.agents.residents)
        groups = {
            "agents": {"total": total, "running": total, "failed": 0},
            "messages": {"total_processed": len(self.bus.records), "rate_per_second": 0.0, "queue_size": 0},
            "resources": {},
            "performance": {},
        }
        return {"timestamp": time.time(), **{name: groups[name] for name in fields or groups}}

    async def profile(self, seconds: float, top: int) -> Profile:
        """At once; but one of 100 seconds or more lasts until it is cancelled."""
        if self.profiling:
            raise InvalidTransition("a profile runs already")
        self.profiling = True
        self.profile_began.set()
        try:
            await trio.sleep(0 if seconds < 100 else inf)
        finally:
            self.profiling = False
            self.profile_ended.set()
        nobody = ProfileRow(agent_id="", share=0.0, messages=0, us_per_message=None)
        rows = tuple(msgspec.structs.replace(nobody, agent_id=name) for name in sorted(self.agents.residents)[:top])
        return Profile(
            seconds=seconds,
            samples=0,
            agents=rows,
            others_count=len(self.agents.residents) - len(rows),
            others=nobody,
            unattributed=nobody,
            total=nobody,
            idle=100.0,
            threads=(),
            python_thread=0.0,
        )


@attrs.frozen
class SmallBackup:
    name: str
    size: int = 0
    created_at: float = 0.0


class SmallBackups:
    """None, and none can be made: tests/api/test_backups.py has the real ones."""

    async def create(self, name: str = "") -> SmallBackup:
        raise InvalidTransition("a backup is being made")

    async def list(self) -> Sequence[SmallBackup]:
        await trio.lowlevel.checkpoint()
        return []

    async def delete(self, name: str) -> None:
        self.find(name)

    def find(self, name: str) -> Path:
        raise NotFound(f"there is no backup named {name}")


class SmallAgents:
    def __init__(self, node: SmallNode) -> None:
        self.node = node
        self.residents: dict[str, Resident] = {}
        self.lines: list[LogLine] = []

    async def deploy(self, wasm: bytes, config: AgentConfig) -> AgentInfo:
        await trio.lowlevel.checkpoint()
        if not wasm.startswith(b"\0asm"):
            raise InvalidWasm("the module does not begin with the magic number of WebAssembly")
        return self._add(config, "wasm")

    async def attach(self, config: AgentConfig) -> AgentInfo:
        await trio.lowlevel.checkpoint()
        return self._add(config, "attached")

    def _add(self, config: AgentConfig, kind: AgentKind) -> AgentInfo:
        if config.name in self.residents:
            raise AgentAlreadyExists(f"there is an agent {config.name!r} already")
        now = time.time()
        info = AgentInfo(
            agent_id=config.name,
            name=config.name,
            status="running",
            kind=kind,
            version=1,
            created_at=now,
            deployed_at=now,
            replicas=config.replicas,
            replicas_ready=config.replicas,
            capabilities=config.capabilities,
        )
        self.residents[config.name] = Resident(info)
        self.lines.append(LogLine(agent=config.name, stream="system", text="deployed", at=now))
        self.node.bus.emit("agent.deployed", {"agent_id": config.name})
        return info

    def resident(self, name: str) -> Resident:
        try:
            return self.residents[name]
        except KeyError:
            raise AgentNotFound(f"there is no agent {name!r}", details={"agent": name}) from None

    def list(self, status: str | None, limit: int, offset: int) -> tuple[list[AgentInfo], int]:
        found = [self.residents[name].info for name in sorted(self.residents)]
        found = [info for info in found if status in (None, info.status)]
        return found[offset : offset + limit], len(found)

    def get(self, name: str) -> AgentInfo:
        return self.resident(name).info

    async def update(self, name: str, wasm: bytes | None, config: AgentConfig | None) -> AgentInfo:
        await trio.lowlevel.checkpoint()
        return self._change(name, version=self.get(name).version + 1)

    async def start(self, name: str) -> AgentInfo:
        await trio.lowlevel.checkpoint()
        if self.get(name).status == "running":
            raise InvalidTransition(f"agent {name!r} is running already")
        return self._change(name, status="running")

    async def stop(self, name: str, grace: float, drain: bool) -> AgentInfo:
        await trio.lowlevel.checkpoint()
        return self._change(name, status="stopped")

    def _change(self, name: str, **changes: Any) -> AgentInfo:
        resident = self.resident(name)
        resident.info = msgspec.structs.replace(resident.info, **changes)
        self.node.bus.emit(f"agent.{resident.info.status}", {"agent_id": name})
        return resident.info

    async def delete(self, name: str) -> AgentInfo:
        await trio.lowlevel.checkpoint()
        resident = self.resident(name)
        del self.residents[name]
        if resident.attachment is not None:
            resident.attachment.gone = AgentNotFound(f"agent {name!r} was deleted")
            resident.mailbox.wake()
        return msgspec.structs.replace(resident.info, status="removed")

    async def inspect(self, name: str) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return {"name": name, "lifecycle": [{"state": self.get(name).status}]}

    def logs(self, agents: Sequence[str], since: float | None, limit: int) -> Sequence[LogLine]:
        return [line for line in self.lines if (not agents or line.agent in agents) and line.at > (since or 0)][-limit:]


class SmallBus:
    def __init__(self, node: SmallNode) -> None:
        self.node = node
        self.records: deque[MessageRecord] = deque(maxlen=RING)
        self.ring: deque[Event] = deque(maxlen=RING)
        self.taps: dict[trio.MemorySendChannel[Event], EventFilter] = {}
        self.clients: dict[str, Mailbox] = {}
        self.sequence = count(1)
        self.event_ids = count(1)

    def validate(self, data: bytes) -> Letter:
        if len(data) > self.node.limits.max_message_size:
            raise MessageTooLarge(f"the message has {len(data)} bytes")
        try:
            letter = LETTERS.decode(data)
        except msgspec.DecodeError as error:
            raise InvalidMessage(f"the message is not sound: {error}") from None
        return msgspec.structs.replace(letter, performative=canonical(letter.performative))

    def post(self, data: bytes, *, sender: str | None = None, traceparent: str = "") -> Receipt:
        number = next(self.sequence)
        letter = self.validate(data)
        letter = msgspec.structs.replace(letter, message_id=f"m-{number}", sender=sender or letter.sender)
        self._deliver(letter)
        now = time.time()
        self.records.append(
            MessageRecord(
                sequence=number,
                message_id=letter.message_id,
                performative=letter.performative,
                sender=letter.sender,
                receiver=letter.receiver,
                content=letter.content,
                conversation_id=letter.conversation_id,
                in_reply_to=letter.in_reply_to,
                accepted_at=now,
            )
        )
        facts = {"message_id": letter.message_id, "from": letter.sender, "to": letter.receiver}
        self.emit("message.sent", facts | {"performative": letter.performative})
        return Receipt(message_id=letter.message_id, status="delivered", delivered_to=1, accepted_at=now)

    def _deliver(self, letter: Letter) -> None:
        if letter.receiver in self.clients:
            mailbox = self.clients[letter.receiver]
        else:
            resident = self.node.agents.resident(letter.receiver)
            if resident.info.kind == "wasm":
                self._echo(letter)
                return
            mailbox = resident.mailbox
        if len(mailbox.waiting) >= QUEUE_SIZE:
            raise MailboxFull(f"the mailbox of {letter.receiver!r} holds {QUEUE_SIZE} messages")
        mailbox.waiting.append(letter)
        mailbox.wake()

    def _echo(self, letter: Letter) -> None:
        if letter.performative == "request":
            reply = Letter("inform", letter.sender, letter.content, in_reply_to=letter.reply_with)
            with suppress(AgentNotFound):
                self.post(reply.to_json(), sender=letter.receiver)

    async def settle(self, outcomes: Sequence[Receipt | CaxtonError]) -> Sequence[Receipt | CaxtonError]:
        return outcomes

    def post_many(self, lines: Sequence[bytes], traceparent: str = "") -> Sequence[Receipt | CaxtonError]:
        outcomes: list[Receipt | CaxtonError] = []
        for line in lines:
            try:
                outcomes.append(self.post(line))
            except CaxtonError as error:
                outcomes.append(error)
        return outcomes

    async def request(self, data: bytes, *, timeout: float, traceparent: str = "") -> Letter:  # noqa: ASYNC109
        name = f"client:{next(self.sequence)}"
        mailbox = self.clients[name] = Mailbox()
        try:
            self.post(data, sender=name)
            with trio.move_on_after(timeout):
                while not mailbox.waiting:
                    await mailbox.changed.wait()
                return mailbox.waiting.popleft()
        finally:
            del self.clients[name]
        raise ReplyTimeout(f"no reply within {timeout:g} s", hint="read the conversation")

    def history(self, conversation_id: str | None, after: int, limit: int) -> tuple[Sequence[MessageRecord], int]:
        found = [r for r in self.records if r.sequence > after and conversation_id in (None, r.conversation_id)][:limit]
        return found, found[-1].sequence if found else after

    def emit(self, kind: str, data: dict[str, Any]) -> None:
        event = Event(id=next(self.event_ids), type=kind, at=time.time(), data=data)
        self.ring.append(event)
        for channel, wanted in self.taps.items():
            if wanted.matches(event):
                with suppress(trio.WouldBlock):
                    channel.send_nowait(event)

    @contextmanager
    def tap(self, capacity: int = 64, filter: EventFilter | None = None) -> Iterator[trio.MemoryReceiveChannel[Event]]:
        send, receive = trio.open_memory_channel[Event](capacity)
        self.taps[send] = filter or EventFilter()
        try:
            with send, receive:
                yield receive
        finally:
            del self.taps[send]

    def events_since(self, last_id: int) -> Sequence[Event]:
        return [event for event in self.ring if event.id > last_id]

    @asynccontextmanager
    async def stream(
        self, name: str, *, takeover: bool = False, receipts: bool = False
    ) -> AsyncIterator["SmallStream"]:
        resident = self.node.agents.resident(name)
        if resident.info.kind != "attached":
            raise InvalidTransition(f"agent {name!r} is a WebAssembly agent; nobody can attach as it")
        if resident.attachment is not None:
            if not takeover:
                raise InvalidTransition(f"agent {name!r} is attached already", hint="add ?takeover=1 to replace it")
            resident.attachment.gone = InvalidTransition(f"another attachment took over {name!r}")
            resident.mailbox.wake()
        mailbox = resident.mailbox
        mailbox.waiting.extendleft(reversed(mailbox.unacknowledged.values()))
        mailbox.unacknowledged.clear()
        mine = resident.attachment = Mailbox()
        await trio.lowlevel.checkpoint()
        try:
            yield SmallStream(self, name, mailbox, mine)
        finally:
            if resident.attachment is mine:
                resident.attachment = None


@attrs.define(eq=False)
class SmallStream:
    bus: SmallBus
    name: str
    mailbox: Mailbox
    attachment: Mailbox

    async def receive(self, max_messages: int) -> Sequence[Letter]:
        await trio.lowlevel.checkpoint()
        while not self.mailbox.waiting or self.attachment.gone is not None:
            if self.attachment.gone is not None:
                raise self.attachment.gone
            await self.mailbox.changed.wait()
        waiting = self.mailbox.waiting
        letters = [waiting.popleft() for _ in range(min(max_messages, len(waiting)))]
        self.mailbox.unacknowledged.update((letter.message_id, letter) for letter in letters)
        return letters

    def ack(self, message_ids: Sequence[str]) -> None:
        for message_id in message_ids:
            self.mailbox.unacknowledged.pop(message_id, None)

    def send(self, messages: Sequence[bytes]) -> Sequence[Receipt | CaxtonError]:
        outcomes: list[Receipt | CaxtonError] = []
        for data in messages:
            try:
                outcomes.append(self.bus.post(data, sender=self.name))
            except CaxtonError as error:
                outcomes.append(error)
        return outcomes
