"""/api/v1/tasks: contract nets and auctions: create one, distribute it, look how it stands, stop it."""

from typing import Any

import msgspec
from quart import Blueprint, Response, request

from caxton.api.bodies import read_body
from caxton.api.messages import check_json
from caxton.api.ports import Node
from caxton.api.wire import answer, moment, number, whole
from caxton.core.decoding import UNREADABLE
from caxton.core.errors import InvalidRequest

MAX_WAIT = 300.0
TIMES = frozenset({"created_at", "started_at", "ended_at", "estimated_completion", "since", "at", "reply_by"})

_read = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


# Any: JSON, here and below
def task_answer(found: dict[str, Any]) -> dict[str, Any]:
    """As clients see it: times as text, and the only or first winner by itself."""
    shown: dict[str, Any] = _with_moments(found)
    if "assigned_to" in shown:
        shown["assigned"] = shown["assigned_to"]
        shown["assigned_to"] = shown["assigned"][0] if shown["assigned"] else None
    if "winning_bids" in shown:
        shown["winning_bid"] = shown["winning_bids"][0] if shown["winning_bids"] else None
    return shown


def _with_moments(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_moments(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: (moment(item) if item else None) if name in TIMES and isinstance(item, float) else _with_moments(item)
        for name, item in value.items()
    }


def tasks_blueprint(node: Node) -> Blueprint:
    room = Blueprint("tasks", __name__, url_prefix="/api/v1/tasks")

    async def body_of_request() -> bytes:
        body = await read_body(request.body, length=request.content_length, limit=node.limits.max_message_size)
        check_json(request.content_type or "")
        return body

    @room.post("")
    async def create_task() -> Response:
        found = await node.tasks.create(await body_of_request())
        return answer(task_answer(found), 201, {"Location": f"/api/v1/tasks/{found['task_id']}"})

    @room.get("")
    async def list_tasks() -> Response:
        limit = whole(request.args, "limit", 100, 1, 1000)
        offset = whole(request.args, "offset", 0, 0, 2**62)
        tasks, total = await node.tasks.list(request.args.get("status", ""), limit, offset)
        more = offset + len(tasks)
        page = {"tasks": [task_answer(task) for task in tasks], "total": total}
        return answer(page | {"next_offset": more if more < total else None})

    @room.get("/<task_id>")
    async def get_task(task_id: str) -> Response:
        return answer(task_answer(await node.tasks.get(task_id)))

    @room.post("/<task_id>/distribute")
    async def distribute_task(task_id: str) -> Response:
        wait = number(request.args, "wait", MAX_WAIT, 0, MAX_WAIT)
        body = await body_of_request()
        try:
            changes = _read(body) if body.strip() else {}
        except UNREADABLE as error:
            raise InvalidRequest(
                f"the body is no JSON object: {error}", hint='such as {"strategy": "best_bid", "max_wait_seconds": 30}'
            ) from None
        return answer(task_answer(await node.tasks.distribute(task_id, changes, wait=wait)))

    @room.post("/<task_id>/cancel")
    async def cancel_task(task_id: str) -> Response:
        reason = request.args.get("reason") or "an operator cancelled it"
        return answer(task_answer(await node.tasks.cancel(task_id, reason)))

    return room
