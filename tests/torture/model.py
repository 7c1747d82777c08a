"""The delivery machine in small: what the real one promises, in its simplest form, over the same store.

It has the face that the simulation needs of a node (`Machine`), and its mistakes can be switched on, so that it is
known that the oracle of the simulation sees them.
"""

import json
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import apsw
import attrs
import trio

from caxton.core.errors import CaxtonError, StoreError
from caxton.store import Store
from caxton.store.journal import write_segment

RETRY_SECONDS = 0.5

MISTAKES = {
    "early answer": "the sender is told before the commit",
    "early mail": "messages leave the node before the commit",
    "forgotten batch": "what could not be written is dropped, and counts as written",
    "settled too early": "a restart begins after segments that hold live messages",
    "deaf recovery": "a restart does not see what was handled",
}


class Message(Protocol):
    @property
    def message_id(self) -> str | None: ...
    @property
    def content(self) -> bytes | None: ...


class Session(Protocol):
    async def receive(self, max_messages: int) -> Sequence[Message]: ...
    def ack(self, message_ids: Sequence[str]) -> None: ...


class Machine(Protocol):
    async def post(self, message: dict[str, object]) -> None:
        """Returns when it is accepted for good. Raises CaxtonError."""

    def stream(self, name: str) -> Any:  # Any: an async context manager of a Session
        """Be the agent outside of that name."""


@attrs.frozen
class Letter:
    number: int  # of acceptance: 1, 2, 3, ... in all lives
    message_id: str
    receiver: str
    content: bytes


@attrs.define(eq=False)
class Model:
    store: Store
    names: Sequence[str]
    mistake: str = ""
    live: dict[int, Letter] = attrs.field(factory=dict)  # accepted and not handled
    segment_of: dict[int, int] = attrs.field(factory=dict)
    mailboxes: dict[str, deque[Letter]] = attrs.field(factory=dict)
    given: dict[str, dict[str, Letter]] = attrs.field(factory=dict)  # to the agent outside, not acknowledged
    _next_letter: int = 1
    _next_segment: int = 1
    _committed: int = 0  # letters up to this number are on the disk
    _accepted: list[Letter] = attrs.field(factory=list)  # not in a batch yet
    _handled: list[int] = attrs.field(factory=list)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    fault: StoreError | None = None

    # -- the committer --

    async def run(self) -> None:
        while True:
            while not self._accepted and not self._handled:
                await self._changed.park()
            accepted, handled = self._accepted, self._handled
            self._accepted, self._handled = [], []
            await self._commit(accepted, handled)

    async def _commit(self, accepted: list[Letter], handled: list[int]) -> None:
        segment = self._next_segment
        for letter in accepted:
            self.segment_of[letter.number] = segment
        records = json.dumps([[[*attrs.astuple(a)[:3], a.content.decode()] for a in accepted], handled]).encode()
        settled_below = min((self.segment_of[number] for number in self.live), default=segment)
        if self.mistake == "settled too early":
            settled_below = segment

        def write(connection: apsw.Connection) -> None:
            write_segment(connection, segment, segment, len(accepted), settled_below, records)

        while True:
            try:
                await self.store.write(write)
            except StoreError as error:
                self.fault = error
                self._changed.unpark_all()
                if self.mistake == "forgotten batch":
                    break
                await trio.sleep(RETRY_SECONDS)
            else:
                self._next_segment = segment + 1
                break
        self.fault = None
        self._committed = max([self._committed, *(letter.number for letter in accepted)])
        self._changed.unpark_all()

    async def recover(self) -> None:
        newest = await self.store.journal.newest()
        if newest is not None:
            for segment in await self.store.journal.read_from(newest.settled_below):
                accepted, handled = json.loads(segment.records)
                for number, message_id, receiver, content in accepted:
                    self.live[number] = Letter(number, message_id, receiver, content.encode())
                    self.segment_of[number] = segment.id
                if self.mistake != "deaf recovery":
                    for number in handled:
                        self.live.pop(number, None)
            self._next_segment = newest.id + 1
            self._next_letter = 1_000_000 * newest.id  # above all that came before
            self._committed = self._next_letter - 1
        for name in self.names:
            self.given[name] = {}
            self.mailboxes[name] = deque(letter for letter in self.live.values() if letter.receiver == name)

    # -- messages --

    async def post(self, message: dict[str, object]) -> None:
        await trio.lowlevel.checkpoint()
        if self.fault is not None:
            raise self.fault
        letter = Letter(
            self._next_letter,
            str(message.get("message_id") or uuid.UUID(int=self._next_letter)),
            str(message["receiver"]),
            json.dumps(message["content"]).encode(),
        )
        self._next_letter += 1
        self.live[letter.number] = letter
        self._accepted.append(letter)
        self.mailboxes[letter.receiver].append(letter)
        self._changed.unpark_all()
        while letter.number > self._committed and self.mistake != "early answer":
            await self._changed.park()
            if self.fault is not None:
                raise self.fault

    @asynccontextmanager
    async def stream(self, name: str) -> AsyncIterator["ModelSession"]:
        yield ModelSession(self, name, deque(self.given[name].values()))

    def take(self, name: str, max_messages: int) -> Iterable[Letter]:
        mailbox = self.mailboxes[name]
        while mailbox and max_messages > 0:
            if mailbox[0].number > self._committed and self.mistake != "early mail":
                return
            max_messages -= 1
            yield mailbox.popleft()

    def handle(self, letter: Letter) -> None:
        self.live.pop(letter.number)
        self._handled.append(letter.number)
        self._changed.unpark_all()

    async def wait_changed(self) -> None:
        await self._changed.park()


@attrs.define(eq=False)
class ModelSession:
    model: Model
    name: str
    again: deque[Letter]

    async def receive(self, max_messages: int) -> Sequence[Letter]:
        await trio.lowlevel.checkpoint()
        given = self.model.given[self.name]
        while True:
            found: list[Letter] = []
            while self.again and len(found) < max_messages:
                if (letter := self.again.popleft()).message_id in given:
                    found.append(letter)
            if found := found or list(self.model.take(self.name, max_messages)):
                given.update((letter.message_id, letter) for letter in found)
                return found
            await self.model.wait_changed()

    def ack(self, message_ids: Sequence[str]) -> None:
        for message_id in message_ids:
            letter = self.model.given[self.name].pop(message_id, None)
            if letter is not None:
                self.model.handle(letter)


@asynccontextmanager
async def open_model(store: Store, names: Sequence[str], mistake: str = "") -> AsyncIterator[Model]:
    model = Model(store, names, mistake)
    try:
        await model.recover()
    except CaxtonError:
        raise AssertionError("the disk works when a machine starts") from None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(model.run)
        yield model
        nursery.cancel_scope.cancel()
