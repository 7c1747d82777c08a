"""The directory of a running node: `df`, what agents declare, and what becomes of it.

    message to df, REST ──► Facilitator ──► store ──► answers, news to subscribers, events, routes by capability

It decides nothing (`core/directory`): it says what time it is, who lives, and sees that what was changed is on the disk
before anybody is told.

Rule 1: an agent is live while one of its replicas runs, one outside while it is attached. Live agents are renewed every
        third of a lease. One that was stopped, or has left, is taken out at once; one that crashed when its lease ends.
Rule 2: subscribers whose mailbox is full are told the whole again when it has room.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import trio

from caxton._fast.envelope import Envelope
from caxton.bus.bus import Bus
from caxton.bus.reserved import Answers, ReservedAgent
from caxton.core.agent import AgentState
from caxton.core.answer import Unanswered
from caxton.core.directory.descriptions import Constraints, Description, fold, service_of
from caxton.core.directory.directory import Change, Entry, Part
from caxton.core.directory.facilitator import Facilitator, Limits, Row, as_told
from caxton.core.directory.requests import Mail
from caxton.core.directory.subscriptions import Subscription
from caxton.core.errors import AgentNotFound, CaxtonError, StoreError, UnavailableError
from caxton.runtime.replica import AgentChange, AgentStatus
from caxton.runtime.supervisor import Runtime
from caxton.store import Store

log = logging.getLogger(__name__)

DF = "df"
RENEWALS = 3  # in the time of one lease
PATIENCE = 1.0  # seconds until a subscriber with a full mailbox, or a disk that fails, is tried again


class DirectoryDesk:
    def __init__(
        self,
        store: Store,
        bus: Bus,
        runtime: Runtime,
        limits: Limits,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._bus = bus
        self._runtime = runtime
        self.clock = wall_clock
        self.public_key: Callable[[str], str] = lambda agent: ""  # that its messages are checked with
        self.facilitator = Facilitator(limits)
        self._live: set[str] = set()
        self._behind: set[tuple[str, str]] = set()  # subscriptions that missed news
        self._lock = trio.Lock()  # one writes at a time, so that an older change never overtakes a newer one
        self._work = trio.lowlevel.ParkingLot()
        self._df: ReservedAgent = bus.reserved.host(DF, self.handle)

    async def restore(self) -> None:
        """What an earlier process kept. Before agents come back."""
        rows = await self._store.directory.load()
        names = {spec.name for spec in await self._store.agents.list()}
        # an agent is deleted first, and its registrations a moment later: a crash may have come in between
        orphans = [row for row in rows if row.kind == "operator" and row.name not in names]
        self.facilitator.unsaved += [Row(kind=row.kind, name=row.name) for row in orphans]
        self.facilitator.restore([row for row in rows if row not in orphans], self.clock())

    # -- messages to df --

    async def handle(self, message: Envelope) -> Answers:
        answers = self.facilitator.receive(mail_of(message), self.clock())
        await self._conclude()
        return answers

    # -- what agents do --

    def note(self, change: AgentChange) -> None:
        """An agent took a step."""
        status = self._status(change.name)
        if change.state is AgentState.RUNNING and status is not None:
            if status.kind == "wasm" or self._bus.streams.is_attached(change.name):
                self._declare(change.name, status.capabilities)
            else:
                self._route(change.name)
        elif change.state in (AgentState.STOPPED, AgentState.FAILED) and (
            status is None or status.state is not AgentState.RUNNING
        ):
            self._live.discard(change.name)  # it is not renewed
            if change.state is AgentState.STOPPED:
                self._withdraw(change.name)

    def attached(self, name: str, is_there: bool) -> None:
        """Somebody attached as this agent, or has left."""
        if not is_there:
            self._withdraw(name)
        elif (status := self._status(name)) is not None:
            self._declare(name, status.capabilities)

    def deleted(self, name: str) -> None:
        self._live.discard(name)
        self.facilitator.forget(name, self.clock())
        self._work.unpark_all()

    def _declare(self, name: str, capabilities: Iterable[str]) -> None:
        self._live.add(name)
        key = self.public_key(name)
        more = {"public_key": key} if key else {}
        services = tuple(service_of(capability, **more) for capability in capabilities)
        self.facilitator.declare(name, Description(name=name, services=services), self.clock())
        self._route(name)
        self._work.unpark_all()

    def _withdraw(self, name: str) -> None:
        self._live.discard(name)
        self.facilitator.remove(name, "declared", self.clock())
        self._work.unpark_all()

    def is_live(self, name: str) -> bool:
        return name in self._live

    # -- what an operator does --

    async def put(self, name: str, part: Part, description: Description) -> None:
        """Keep what is said of the agent. Raises StoreError."""
        self.facilitator.put(name, part, description, None, self.clock())
        await self._conclude()

    async def remove(self, name: str, part: Part) -> None:
        self.facilitator.remove(name, part, self.clock())
        await self._conclude()

    # -- questions --

    def search(self, template: Description, constraints: Constraints) -> tuple[list[Entry], bool, int]:
        self._look()
        return self.facilitator.find(template, constraints, self.clock())

    def entry(self, name: str) -> Entry | None:
        self._look()
        return self.facilitator.directory.get(name, self.clock())

    def part(self, name: str, part: Part) -> Description | None:
        self._look()
        found = self.facilitator.directory.part(name, part, self.clock())
        return None if found is None else found[0]

    def providers(self, capability: str) -> list[Entry]:
        self._look()
        return self.facilitator.directory.providers(capability.partition(":")[0], self.clock())

    def capabilities(self) -> dict[str, int]:
        self._look()
        return self.facilitator.directory.capabilities(self.clock())

    # Any: JSON for whoever asked for a capability that nobody has
    def missing(self, capability: str) -> dict[str, Any]:
        """What else there is, when nobody has this capability."""
        self._look()
        related = self.facilitator.directory.related(capability.partition(":")[0], self.clock())
        return {
            "missing_capability": capability,
            "related_capabilities": [{"capability": name, "agents": count} for name, count in related],
            "suggested_alternatives": [f"capability:{name}" for name, _ in related[:3]],
        }

    def _look(self) -> None:
        self.facilitator.tick(self.clock())
        if self.facilitator.changes or self.facilitator.unsaved:
            self._work.unpark_all()

    def change(self, limits: Limits) -> None:
        """Other bounds, for what is asked and renewed from here on."""
        self.facilitator.limits = limits
        self._work.unpark_all()

    # -- what follows --

    async def run(self) -> None:
        """Renew, let leases end, and tell, for as long as the node is open."""
        renewed = 0.0
        while True:
            lease = self.facilitator.limits.lease
            now = self.clock()
            if not renewed <= now < renewed + lease / RENEWALS:
                renewed = now
                self.facilitator.renew(self._live, now)
            self.facilitator.tick(now)
            try:
                await self._conclude()
            except Unanswered:
                await trio.sleep(PATIENCE)  # the disk; the log has said so
            for key in list(self._behind):
                self._tell_all(key)
            due = min(self.facilitator.directory.next_deadline(), now + lease / RENEWALS)
            with trio.move_on_after(PATIENCE if self._behind else max(due - now, 0.001)):
                await self._work.park()

    async def _conclude(self) -> None:
        """Write what changed, then tell it. Raises Unanswered when it cannot be written: it is tried again."""
        facilitator = self.facilitator
        for change in facilitator.changes:
            self._route(change.name)  # at once: a lease that has ended has ended, whatever the disk does
        async with self._lock:
            if rows := list(facilitator.unsaved):
                try:
                    await self._store.directory.apply(rows)
                except StoreError as error:
                    raise Unanswered("internal-error", f"the directory cannot be written now: {error}") from None
                del facilitator.unsaved[: len(rows)]
        for change in facilitator.take_changes():
            self._announce(change)
        for subscription, what, description in facilitator.take_news():
            told = {"change": what, "result": [as_told(description, float("inf"))]}
            self._tell(subscription, told)

    def _tell_all(self, key: tuple[str, str]) -> None:
        """The whole again, for one that missed something."""
        self._behind.discard(key)
        for subscription in self.facilitator.subscriptions:
            if subscription.key == key:
                found, truncated, _ = self.facilitator.find(subscription.template, Constraints(), self.clock())
                told = [as_told(each.description, each.until) for each in found]
                self._tell(subscription, {"change": "current", "result": told, "truncated": truncated})

    def _tell(self, to: Subscription, content: Mapping[str, Any]) -> None:  # Any: JSON
        if to.key in self._behind:
            return
        fields = {
            "performative": "inform",
            "receiver": list(to.receivers),
            "content": content,
            "language": "json",
            "ontology": to.ontology or None,
            "protocol": "fipa-subscribe",
            "conversation_id": to.conversation_id,
            "in_reply_to": to.reply_with or None,
        }
        try:
            self._df.send(msgspec.json.encode({key: value for key, value in fields.items() if value is not None}))
        except UnavailableError:
            self._behind.add(to.key)
        except AgentNotFound:
            self.facilitator.end_subscription(to.key)
        except CaxtonError as error:
            log.warning("a subscriber of the directory was not told: %s", error)

    def _announce(self, change: Change) -> None:
        """Events for whoever watches: by capability."""
        before = _types(change.before)
        after = _types(change.description) if change.what != "removed" else set()
        for what, capabilities in (
            ("capability.unregistered", before - after),
            ("capability.registered", after - before),
            ("capability.updated", before & after),
        ):
            for capability in sorted(capabilities):
                self._bus.events.emit(what, {"agent_id": change.name, "capability": capability})

    def _route(self, name: str) -> None:
        """What the directory says of an agent, it is reached by."""
        if (status := self._status(name)) is None:
            return
        types = [capability.partition(":")[0] for capability in status.capabilities]
        parts: tuple[Part, ...] = ("registered", "operator")
        for part in parts:
            if (said := self.facilitator.directory.part(name, part, self.clock())) is not None:
                types += [service.type for service in said[0].services]
        self._runtime.provide(name, {*types, *map(fold, types)})

    def _status(self, name: str) -> AgentStatus | None:
        try:
            return self._runtime.get(name)
        except AgentNotFound:
            return None


def _types(description: Description | None) -> set[str]:
    return set() if description is None else {service.type for service in description.services if service.type}


def mail_of(message: Envelope) -> Mail:
    """A message as core reads it."""
    reply_to = message.reply_to or ()
    return Mail(
        performative=message.performative or "",
        sender=message.sender or "",
        message_id=message.message_id or "",
        content=message.content or b"",
        conversation_id=message.conversation_id or "",
        protocol=message.protocol or "",
        ontology=message.ontology or "",
        language=message.language or "",
        reply_with=message.reply_with or "",
        reply_to=(reply_to,) if isinstance(reply_to, str) else tuple(reply_to),
    )
