"""/ws: events over a WebSocket, by subscription.

    {"type": "subscribe", "filter": {"agents": [...], "performatives": [...]}}           messages (form A)
    {"type": "subscribe", "events": ["agent.*"], "filters": {"agent_ids": [...]}}        events (form B)
    {"type": "unsubscribe", "subscription_id": "sub_1"}

Each is answered by `{"type": "subscribed" | "unsubscribed", "subscription_id"}`, or by `{"type": "error", "error"}`;
the connection goes on. An event comes once for each subscription that it matches, and names it. An empty list restricts
nothing. /ws/capabilities is the same, with one subscription to `capability.*` from the start.
"""

from collections.abc import Awaitable, Callable
from itertools import count

import msgspec
import trio
from quart import Blueprint, websocket

from caxton.api.ports import Node
from caxton.api.tracing import trace_id_of
from caxton.api.wire import ENCODER, event_answer
from caxton.core.decoding import UNREADABLE
from caxton.core.errors import CaxtonError, InvalidRequest, NotFound, ResourceLimitExceeded, error_body
from caxton.core.performatives import canonical
from caxton.core.views import EventFilter

MAX_SUBSCRIPTIONS = 64
MAX_REQUEST = 64 << 10
TAP_CAPACITY = 1024

Send = Callable[[str], Awaitable[None]]


class MessageFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    agents: list[str] = []
    performatives: list[str] = []


class Filters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    agent_ids: list[str] = []


class Subscribe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="subscribe"):
    filter: MessageFilter | None = None
    events: list[str] | None = None
    filters: Filters = Filters()


class Unsubscribe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="unsubscribe"):
    subscription_id: str


DECODER: msgspec.json.Decoder[Subscribe | Unsubscribe] = msgspec.json.Decoder(Subscribe | Unsubscribe)


def read_request(data: str | bytes) -> Subscribe | Unsubscribe:
    """Raises InvalidRequest."""
    if len(data) > MAX_REQUEST:
        raise InvalidRequest(f"a request of {len(data)} bytes is too long; the limit is {MAX_REQUEST}")
    try:
        return DECODER.decode(data)
    except UNREADABLE as error:
        raise InvalidRequest(f"neither a subscription nor its end: {error}") from None


def wanted_events(asked: Subscribe) -> EventFilter:
    """Raises InvalidRequest for neither form or both, InvalidMessage for an unknown performative."""
    if (asked.filter is None) == (asked.events is None):
        raise InvalidRequest("a subscription has either 'filter' (messages) or 'events', not both and not neither")
    if asked.filter is not None:
        return EventFilter(
            types=("message.*",),
            agents=tuple(asked.filter.agents),
            performatives=tuple(canonical(name) for name in asked.filter.performatives),
        )
    return EventFilter(types=tuple(asked.events or ()), agents=tuple(asked.filters.agent_ids))


class Watcher:
    """One connection and its subscriptions; each is a task in the connection's nursery."""

    def __init__(self, node: Node, send: Send, nursery: trio.Nursery) -> None:
        self.node = node
        self.send = send
        self.nursery = nursery
        self.scopes: dict[str, trio.CancelScope] = {}
        self.numbers = count(1)

    async def handle(self, data: str | bytes, trace_id: str) -> None:
        try:
            asked = read_request(data)
            if isinstance(asked, Subscribe):
                await self.subscribe(wanted_events(asked))
            else:
                await self.unsubscribe(asked.subscription_id)
        except CaxtonError as error:
            await self.send_json({"type": "error", **error_body(error, trace_id)})

    async def subscribe(self, wanted: EventFilter) -> None:
        if len(self.scopes) >= MAX_SUBSCRIPTIONS:
            raise ResourceLimitExceeded(f"a connection has at most {MAX_SUBSCRIPTIONS} subscriptions")
        name = f"sub_{next(self.numbers)}"
        scope = self.scopes[name] = trio.CancelScope()
        self.nursery.start_soon(self.deliver, name, wanted, scope)

    async def unsubscribe(self, name: str) -> None:
        scope = self.scopes.pop(name, None)
        if scope is None:
            raise NotFound(f"there is no subscription {name!r} on this connection")
        scope.cancel()
        await self.send_json({"type": "unsubscribed", "subscription_id": name})

    async def deliver(self, name: str, wanted: EventFilter, scope: trio.CancelScope) -> None:
        with scope, self.node.bus.tap(TAP_CAPACITY, wanted) as events:
            await self.send_json({"type": "subscribed", "subscription_id": name})
            async for event in events:
                await self.send_json({"subscription_id": name, **event_answer(event)})

    async def send_json(self, value: object) -> None:
        await self.send(ENCODER.encode(value).decode())


def ws_blueprint(node: Node) -> Blueprint:
    room = Blueprint("ws", __name__)

    async def serve(*wanted: EventFilter) -> None:
        await websocket.accept()
        trace_id = trace_id_of(websocket.scope)
        async with trio.open_nursery() as nursery:
            watcher = Watcher(node, websocket.send, nursery)
            for each in wanted:
                await watcher.subscribe(each)
            while True:  # the client's leaving cancels this task
                await watcher.handle(await websocket.receive(), trace_id)

    @room.websocket("/ws")
    async def watch() -> None:
        await serve()

    @room.websocket("/ws/capabilities")
    async def watch_capabilities() -> None:
        await serve(EventFilter(types=("capability.*",)))

    return room
