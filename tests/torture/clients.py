"""The clients of one torture run: they send numbered messages by REST, NDJSON and a WebSocket, until the server dies.

Rule 1: an attempt is in the diary before a byte leaves, an acknowledgement after its answer has arrived.
Rule 2: what was sent and not answered may have been accepted. Some of it is sent again to the next server, byte for
        byte, with its message_id: once is the most that it may take effect.
Rule 3: what was refused (mailbox full, no room on the disk) was not acknowledged, and nothing is expected of it.
"""

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

import attrs
import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, wrap_client_stream

from tests.torture.diary import Diary, number_in, text_of
from tests.torture.oracle import BLOCK
from tests.torture.server import Http, ServerGone, open_connection

OUTSIDE = "outside"
FIRST = ("first-0", "first-1")
PADDING = (0, 0, 0, 30, 200, 1500)  # characters beside the number
RETRIED = 0.5  # of what was not answered
ACKNOWLEDGED_LATER = 0.1  # of what arrives outside: the server may be gone before

JSON, NDJSON = "application/json", "application/x-ndjson"
MESSAGES = "/api/v1/messages"


@attrs.frozen
class Letter:
    number: int
    body: bytes


@attrs.define(eq=False)
class Clients:
    """They outlive each server; `sender` and the other loops run against one of them."""

    diary: Diary
    rng: Random
    next_number: int = 0
    again: list[Letter] = attrs.field(factory=list)
    refused: int = 0
    unanswered: int = 0

    # -- what is sent --

    def _write(self, number: int, with_id: bool) -> Letter:
        padding = "x" * self.rng.choice(PADDING)
        message: dict[str, object] = {
            "performative": "inform",
            "receiver": FIRST[number // BLOCK % len(FIRST)],
            "content": text_of(number) + padding,
        }
        if with_id:
            message["message_id"] = message_id(number)
        return Letter(number, json.dumps(message).encode())

    def _fresh(self, count: int, *, with_id: bool) -> list[Letter]:
        """New letters, their attempt noted."""
        first = self.next_number
        self.next_number += count
        self.diary.attempt(first, count)
        return [self._write(number, with_id) for number in range(first, first + count)]

    def _take(self, count: int, *, with_id: bool) -> list[Letter]:
        """Old letters again, if there are; else new ones."""
        if self.again:
            taken, self.again = self.again[:count], self.again[count:]
            taken.sort(key=lambda letter: letter.number)
            self.diary.repeat([letter.number for letter in taken])
            return taken
        return self._fresh(count, with_id=with_id)

    def _note(self, letters: Sequence[Letter], outcomes: Sequence[dict[str, object]]) -> None:
        assert len(letters) == len(outcomes), (len(letters), len(outcomes))
        accepted = [letter.number for letter, said in zip(letters, outcomes, strict=True) if "message_id" in said]
        self.refused += len(letters) - len(accepted)
        self.diary.acknowledge(accepted)

    def _unanswered(self, letters: Sequence[Letter], *, with_id: bool) -> None:
        self.unanswered += len(letters)
        if with_id:
            self.again += [letter for letter in letters if self.rng.random() < RETRIED]

    # -- ways --

    async def send_singly(self, port: int) -> None:
        """POST after POST, without a message_id: nothing of it can be sent again."""
        with ignoring_the_end():
            async with open_connection(port) as http:
                while True:
                    for letter in self._fresh(self.rng.randint(1, BLOCK), with_id=False):
                        await self._post(http, JSON, [letter], with_id=False)

    async def send_batches(self, port: int) -> None:
        with ignoring_the_end():
            async with open_connection(port) as http:
                while True:
                    letters = self._take(self.rng.randint(1, 4 * BLOCK), with_id=True)
                    await self._post(http, NDJSON, letters, with_id=True)

    async def _post(self, http: Http, kind: str, letters: Sequence[Letter], *, with_id: bool) -> None:
        body = b"\n".join(letter.body for letter in letters)
        try:
            status, answer = await http.post(MESSAGES, kind, body)
        except BaseException:
            self._unanswered(letters, with_id=with_id)
            raise
        if kind == NDJSON and status in (200, 207):
            outcomes = [json.loads(line) for line in answer.splitlines()]
        else:
            outcomes = [json.loads(answer) if status < 300 else {}] * len(letters)
        self._note(letters, outcomes)

    async def be_outside(self, port: int) -> None:
        """An attached agent: sends over its stream, and takes what the second agent sends it."""
        with ignoring_the_end():
            async with open_stream(port) as socket:
                session = Outside(self, socket)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(session.receive)
                    nursery.start_soon(session.send)

    async def listen(self, port: int) -> None:
        """An attached agent that sends nothing any more."""
        with ignoring_the_end():
            async with open_stream(port) as socket:
                await Outside(self, socket, lazy=False).receive()


@asynccontextmanager
async def open_stream(port: int) -> AsyncIterator[WebSocketConnection]:
    """The agent's stream; its socket is closed even when the server dies in the middle of the handshake."""
    url = f"/api/v1/agents/{OUTSIDE}/stream?create=1&takeover=1"
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream, trio.open_nursery() as nursery:
        socket = await wrap_client_stream(nursery, stream, "127.0.0.1", url, max_message_size=1 << 24)
        try:
            yield socket
        finally:
            nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class Outside:
    clients: Clients
    socket: WebSocketConnection
    lazy: bool = True
    sent: list[Letter] = attrs.field(factory=list)  # in the frame that is not answered yet
    answered: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(0))

    async def send(self) -> None:
        while True:
            self.sent = self.clients._take(self.clients.rng.randint(1, BLOCK), with_id=True)
            try:
                await self.socket.send_message("[" + ",".join(letter.body.decode() for letter in self.sent) + "]")
                await self.answered.acquire()
            except BaseException:
                self.clients._unanswered(self.sent, with_id=True)
                raise

    async def receive(self) -> None:
        late: list[str] = []
        while True:
            frame = json.loads(await self.socket.get_message())
            if "receipts" in frame:
                self.clients._note(self.sent, frame["receipts"])
                self.sent = []
                self.answered.release()
                continue
            number = number_in(str(frame["content"]))
            if frame["performative"] == "failure":
                pass  # the platform says that a message of ours was refused
            elif number is None:
                self.clients.diary.deliver([1 << 62])  # judged as what nobody sent
            else:
                self.clients.diary.deliver([number])
            late.append(frame["message_id"])
            if not self.lazy or self.clients.rng.random() > ACKNOWLEDGED_LATER:
                await self.socket.send_message(json.dumps({"type": "ack", "message_ids": late}))
                late.clear()


class ignoring_the_end:
    """The server is killed: every way to notice it ends the block, and nothing else does."""

    GONE = (ServerGone, ConnectionClosed, HandshakeError, trio.BrokenResourceError, OSError)

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        return error is not None and all(isinstance(one, self.GONE) for one in leaves(error))


def leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in leaves(one)]
    return [error]


def message_id(number: int) -> str:
    """A UUIDv7 of now that holds the number."""
    digits = f"{time.time_ns() // 1_000_000:012x}7000{(1 << 63) + number:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
