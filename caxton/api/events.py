"""GET /api/v1/events: what happens, as server-sent events.

`?types=agent.*,message.sent&agents=a,b&performatives=cfp&conversation_id=x` narrows it. A client that comes back with
`Last-Event-ID` (or `?last_event_id=`) first gets what it missed, as far as the node still remembers; when some of that
is gone, a `system.gap` event says how much. A client that reads too slowly misses events; it never slows the bus.
"""

from collections.abc import AsyncIterator, Mapping

import trio
from quart import Blueprint, Response, request

from caxton.api.ports import Node
from caxton.api.wire import ENCODER, event_answer, names
from caxton.core.errors import InvalidRequest
from caxton.core.performatives import canonical
from caxton.core.views import Event, EventFilter

HEARTBEAT = 15.0
RETRY_MS = 2000
TAP_CAPACITY = 1024
MAX_DIGITS = 18  # of the number of an event
HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back
}


def event_filter(arguments: Mapping[str, str]) -> EventFilter:
    return EventFilter(
        types=names(arguments, "types"),
        agents=names(arguments, "agents"),
        performatives=tuple(canonical(name) for name in names(arguments, "performatives")),
        conversation=arguments.get("conversation_id", ""),
    )


def encode_event(event: Event) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.id, event.type.encode(), ENCODER.encode(event_answer(event)))


async def follow(node: Node, wanted: EventFilter, last_id: int | None) -> AsyncIterator[bytes]:
    """The stream's bytes: a preamble, what was missed since *last_id*, then what happens, for ever."""
    yield b"retry: %d\n\n" % RETRY_MS
    with node.bus.tap(TAP_CAPACITY, wanted) as events:
        seen = -1
        if last_id is not None:
            missed = node.bus.events_since(last_id)
            if missed and missed[0].id > last_id + 1:
                gone = {"type": "system.gap", "missed": missed[0].id - last_id - 1}
                yield b"event: system.gap\ndata: %b\n\n" % ENCODER.encode(gone)
            for event in missed:
                seen = event.id
                if wanted.matches(event):
                    yield encode_event(event)
        while True:
            latest: Event | None = None
            with trio.move_on_after(HEARTBEAT):
                latest = await events.receive()
            if latest is None:
                yield b": heartbeat\n\n"
            elif latest.id > seen:
                yield encode_event(latest)


def events_blueprint(node: Node) -> Blueprint:
    room = Blueprint("events", __name__, url_prefix="/api/v1")

    @room.get("/events")
    async def get_events() -> Response:
        text = request.headers.get("Last-Event-ID") or request.args.get("last_event_id")
        if text is not None and not (text.isdecimal() and len(text) <= MAX_DIGITS):
            raise InvalidRequest(f"Last-Event-ID {text[:100]!r} is not the number of an event")
        stream = follow(node, event_filter(request.args), None if text is None else int(text))
        response = Response(stream, headers=HEADERS)
        response.timeout = None
        return response

    return room
