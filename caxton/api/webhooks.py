"""/api/v1/webhooks: who is told what happens, what waits for them, and what they did not take.

An endpoint is known by its `id`: of its address, which may hold a secret, only the host is shown.
"""

from typing import Any

import msgspec
from quart import Blueprint, Response, request

from caxton.api.bodies import read_body
from caxton.api.messages import check_json
from caxton.api.ports import FailedDelivery, Node
from caxton.api.wire import answer, flag, moment, whole
from caxton.core.decoding import UNREADABLE
from caxton.core.errors import InvalidRequest

LARGEST = 1 << 20  # bytes of a request
TIMES = ("delivered_at", "last_error_at", "next_attempt_at")


class Chosen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    deliveries: tuple[str, ...] = ()  # empty: all


def webhooks_blueprint(node: Node) -> Blueprint:
    room = Blueprint("webhooks", __name__, url_prefix="/api/v1/webhooks")

    @room.get("")
    async def list_webhooks() -> Response:
        found = await node.webhooks.list()
        return answer({**found, "endpoints": [_shown(row) for row in found["endpoints"]]})

    @room.get("/<endpoint>/failed")
    async def list_failed(endpoint: str) -> Response:
        limit = whole(request.args, "limit", 100, 1, 1000)
        before = whole(request.args, "cursor", 0, 0, 2**62)
        rows = await node.webhooks.failed(endpoint, before, limit)
        cursor = str(rows[-1].id) if len(rows) == limit else None
        return answer({"failed": [_delivery(row) for row in rows], "next_cursor": cursor})

    @room.post("/<endpoint>/redeliver")
    async def redeliver(endpoint: str) -> Response:
        return answer({"redelivered": await node.webhooks.again(endpoint, await _chosen())})

    @room.post("/<endpoint>/purge")
    async def purge(endpoint: str) -> Response:
        waiting = flag(request.args, "waiting")
        return answer({"purged": await node.webhooks.purge(endpoint, await _chosen(), waiting=waiting)})

    return room


async def _chosen() -> tuple[str, ...]:
    body = await read_body(request.body, length=request.content_length, limit=LARGEST)
    if not body:
        return ()
    check_json(request.content_type or "")
    try:
        return msgspec.json.decode(body, type=Chosen).deliveries
    except UNREADABLE as error:
        hint = 'some are {"deliveries": ["…"]}; without a body it is all of them'
        raise InvalidRequest(f"the request does not name deliveries: {error}", hint=hint) from None


# Any: JSON
def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {key: moment(value) if key in TIMES and value is not None else value for key, value in row.items()}


def _delivery(row: FailedDelivery) -> dict[str, Any]:
    return {
        "delivery": row.delivery,
        "event": row.event,
        "at": moment(row.at),
        "attempts": row.attempts,
        "gave_up_at": moment(row.gave_up or 0.0),
        "reason": row.reason,
        "body": msgspec.Raw(row.body),
    }
