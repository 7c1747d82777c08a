"""/api/v1/agents/{name}/stream: an agent that lives outside, in any language, and its mailbox.

    ?create=1      make the agent when there is none (else 404); its mailbox stays when the connection goes
    ?takeover=1    push out whoever is attached already (else 409)
    ?receipts=1    be told what becomes of one's own messages
    ?batch=1       receive binary frames of many messages (`batch.py`); also by the subprotocol caxton.batch.v1

From the client, a text frame holds one FIPA message, or an array of them, or `{"type": "ack", "message_ids": [...]}`; a
binary frame holds a batch of the same. Whoever sends messages gets one text frame per frame back, with one entry per
message in the same order: `{"type": "receipts", "receipts": [{"message_id", ...} | {"error": {...}}]}`. The sender of a
message is always the attached agent. With receipts=1 a text frame follows for each message when all its receivers have
handled it or will not: `{"type": "receipt", "message_id", "state": "handled" | "failed", ...}`. An empty binary frame
is a batch of nothing; its receipts answer it as a ping.

To the client, a text frame is one message, and a binary frame a batch. A message has a `performative`, all other frames
have a `type`. What is not acknowledged is delivered again to the next attachment.

Closing: 1001 agent deleted, 1007 unreadable frame, 1008 another attachment took over, 1009 too large.
"""

from collections.abc import Awaitable, Callable
from typing import NoReturn

import attrs
import msgspec
import trio
from quart import Blueprint, websocket

from caxton.api.batch import BrokenBatch, join_batch, split_batch
from caxton.api.errors import as_caxton_error
from caxton.api.messages import post_in_turns
from caxton.api.ports import Node, Stream
from caxton.api.tracing import trace_id_of
from caxton.api.wire import ENCODER, flag, state_answer
from caxton.core.decoding import UNREADABLE
from caxton.core.errors import AgentNotFound, CaxtonError, InvalidTransition
from caxton.core.manifest import parse_agent_config

SUBPROTOCOL = "caxton.batch.v1"
BATCH_MESSAGES = 512  # most messages in one frame to the client
MAX_FRAME = 16 << 20
MAX_REASON = 120  # RFC 6455 leaves 123 bytes

GOING_AWAY, INVALID_DATA, POLICY, TOO_LARGE, FAILED = 1001, 1007, 1008, 1009, 1011
ENDINGS: dict[type[CaxtonError], int] = {
    AgentNotFound: GOING_AWAY,  # deleted while attached
    InvalidTransition: POLICY,  # somebody took over
}


class Ack(msgspec.Struct, frozen=True, kw_only=True, tag="ack"):
    message_ids: list[str]


ACKS = msgspec.json.Decoder(Ack)
ARRAY = msgspec.json.Decoder(list[msgspec.Raw])


class Close(Exception):
    """This connection has to end, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason.encode()[:MAX_REASON].decode(errors="ignore")


def split_frame(data: str | bytes) -> list[bytes]:
    """The JSON texts in a frame. Raises Close when there is no telling where they are."""
    if len(data) > MAX_FRAME:
        raise Close(TOO_LARGE, f"frame of {len(data)} bytes, the limit is {MAX_FRAME}")
    if isinstance(data, bytes):
        try:
            return split_batch(data)
        except BrokenBatch as error:
            raise Close(INVALID_DATA, str(error)) from None
    text = data.encode()
    if not text.lstrip().startswith(b"["):
        return [text]
    try:
        return [bytes(item) for item in ARRAY.decode(text)]
    except UNREADABLE as error:
        raise Close(INVALID_DATA, f"not JSON: {error}") from None


def read_ack(text: bytes) -> Ack | None:
    """The acknowledgement in *text*, unless it is a message. The search spares messages a second parsing."""
    if b'"message_ids"' not in text or b'"performative"' in text:
        return None
    try:
        return ACKS.decode(text)
    except UNREADABLE:
        return None  # then the bus says what is wrong with it


@attrs.define(eq=False)
class Attachment:
    """One WebSocket and the stream behind it: two tasks, one for each direction."""

    node: Node
    stream: Stream
    send: Callable[[str | bytes], Awaitable[None]]
    receive: Callable[[], Awaitable[str | bytes]]
    batch: bool
    receipts: bool
    trace_id: str

    async def run(self) -> Close:
        """Until one direction ends."""
        endings: list[Close] = []
        async with trio.open_nursery() as nursery:

            async def direct(direction: Callable[[], Awaitable[NoReturn]]) -> None:
                try:
                    await direction()
                except Close as close:
                    endings.append(close)
                except Exception as error:  # here a connection ends
                    problem = as_caxton_error(error, self.trace_id)
                    endings.append(Close(ENDINGS.get(type(problem), FAILED), problem.message))
                nursery.cancel_scope.cancel()

            nursery.start_soon(direct, self.push)
            nursery.start_soon(direct, self.pull)
            if self.receipts:
                nursery.start_soon(direct, self.report)
        return endings[0]

    async def push(self) -> NoReturn:
        """Mailbox to client."""
        while True:
            messages = await self.stream.receive(BATCH_MESSAGES)
            if self.batch:
                await self.send(join_batch(message.to_json() for message in messages))
            else:
                for message in messages:
                    await self.send(message.to_json().decode())

    async def report(self) -> NoReturn:
        """What became of the client's messages, to the client."""
        while True:
            state = await self.stream.receipt()
            fields = state_answer(state)
            told = {key: fields[key] for key in ("message_id", "state", "reason", "changed_at") if key in fields}
            await self.send(ENCODER.encode({"type": "receipt", **told}).decode())

    async def pull(self) -> NoReturn:
        """Client to mailboxes."""
        while True:
            texts = split_frame(await self.receive())
            messages = []
            for text in texts:
                ack = read_ack(text)
                if ack is None:
                    messages.append(text)
                else:
                    self.stream.ack(ack.message_ids)
            if messages or not texts:
                receipts = await post_in_turns(self.node, self.stream.send, messages, self.trace_id)
                await self.send(ENCODER.encode({"type": "receipts", "receipts": receipts}).decode())


def stream_blueprint(node: Node) -> Blueprint:
    room = Blueprint("stream", __name__, url_prefix="/api/v1")

    @room.websocket("/agents/<path:name>/stream")
    async def attach(name: str) -> None:
        create, takeover, batch = (flag(websocket.args, word) for word in ("create", "takeover", "batch"))
        receipts = flag(websocket.args, "receipts")
        chosen = SUBPROTOCOL if SUBPROTOCOL in websocket.requested_subprotocols else None
        batch = batch or chosen is not None
        if create:
            await ensure_attached(node, name)
        async with node.bus.stream(name, takeover=takeover, receipts=receipts) as stream:
            await websocket.accept(subprotocol=chosen)
            trace_id = trace_id_of(websocket.scope)
            attachment = Attachment(node, stream, websocket.send, websocket.receive, batch, receipts, trace_id)
            ending = await attachment.run()
            await websocket.close(ending.code, ending.reason)

    return room


async def ensure_attached(node: Node, name: str) -> None:
    try:
        node.agents.get(name)
    except AgentNotFound:
        await node.agents.attach(parse_agent_config({"name": name}, defaults=node.limits.agent_defaults))
