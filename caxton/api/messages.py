"""POST and GET /api/v1/messages: the way in for whoever is not an agent.

The body goes to the bus as the bytes that arrived. A plain POST is so frequent that `front.py` answers
it without Quart, by `post_one()` like the route below.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from quart import Blueprint, Response, request
from trio.lowlevel import checkpoint

from caxton.api.bodies import read_body
from caxton.api.errors import UnsupportedMediaType
from caxton.api.ports import Node
from caxton.api.tracing import trace_id_of
from caxton.api.wire import (
    ENCODER,
    JSON,
    NDJSON,
    ReceiptAnswer,
    answer,
    message_answer,
    number,
    outcome_answer,
    receipt_answer,
    state_answer,
    whole,
)
from caxton.core.errors import CaxtonError, InvalidRequest, MessageTooLarge, ReplyTimeout, error_body
from caxton.core.views import Receipt

MAX_WAIT = 300.0
SLICE = 500  # messages posted between two looks at the other tasks
BATCH_MESSAGES = 16  # a batch may be as long as this many messages of the greatest length


class Conversation(msgspec.Struct):
    """The one member of an accepted message that this file reads, for those who got no reply."""

    conversation_id: str | None = None


CONVERSATION = msgspec.json.Decoder(Conversation)


async def post_one(node: Node, body: bytes, traceparent: str) -> bytes:
    (outcome,) = await node.bus.settle([node.bus.post(body, traceparent=traceparent)])
    if isinstance(outcome, CaxtonError):
        raise outcome
    return ENCODER.encode(receipt_answer(outcome))


def check_json(content_type: str) -> None:
    """Raise unless *content_type* is JSON; no type at all is taken for JSON."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in ("", JSON) and not kind.endswith("+json"):
        raise UnsupportedMediaType(f"{kind} is not {JSON}", hint=f"send the header Content-Type: {JSON} (or {NDJSON})")


async def post_in_turns(
    node: Node,
    post: Callable[[Sequence[bytes]], Sequence[Receipt | CaxtonError]],
    messages: Sequence[bytes],
    trace_id: str,
) -> list[ReceiptAnswer | dict[str, Any]]:
    """An answer for each of many messages, in order; other tasks have their turn after each slice."""
    outcomes: list[Receipt | CaxtonError] = []
    for start in range(0, len(messages), SLICE):
        if start:  # not before the first: the answers of a few leave before any reply to them
            await checkpoint()
        outcomes += post(messages[start : start + SLICE])
    return [outcome_answer(outcome, trace_id) for outcome in await node.bus.settle(outcomes)]


async def post_batch(node: Node, body: bytes, trace_id: str, traceparent: str) -> Response:
    """One outcome line per message line, in order; 207 when any of them is an error, which then names its line."""
    numbered = [(at, line) for at, line in enumerate(body.split(b"\n"), start=1) if line.strip()]
    answers = await post_in_turns(
        node, partial(node.bus.post_many, traceparent=traceparent), [line for _, line in numbered], trace_id
    )
    failed = 0
    for (at, _), outcome in zip(numbered, answers, strict=True):
        if isinstance(outcome, dict):
            outcome["line"] = at
            failed += 1
    return Response(
        ENCODER.encode_lines(answers),
        207 if failed else 200,
        {"X-Caxton-Accepted": str(len(answers) - failed), "X-Caxton-Failed": str(failed)},
        content_type=NDJSON,
    )


def messages_blueprint(node: Node) -> Blueprint:
    room = Blueprint("messages", __name__, url_prefix="/api/v1/messages")

    async def body_of_request(limit: int) -> bytes:
        return await read_body(request.body, length=request.content_length, limit=limit, error=MessageTooLarge)

    def traceparent() -> str:
        return str(request.headers.get("traceparent", ""))

    async def json_of_request() -> bytes:
        body = await body_of_request(node.limits.max_message_size)
        check_json(request.content_type or "")
        return body

    @room.post("")
    async def post_messages() -> Response:
        if request.mimetype == NDJSON:
            lines = await body_of_request(node.limits.max_message_size * BATCH_MESSAGES)
            if "wait" in request.args:
                raise InvalidRequest("wait= belongs to a single message, this is a batch")
            return await post_batch(node, lines, trace_id_of(request.scope), traceparent())
        body = await json_of_request()
        if "wait" not in request.args:
            return Response(await post_one(node, body, traceparent()), content_type=JSON)
        seconds = number(request.args, "wait", 0, 0.001, MAX_WAIT)
        try:
            reply = await node.bus.request(body, timeout=seconds, traceparent=traceparent())
        except ReplyTimeout as error:
            error.details["conversation_id"] = CONVERSATION.decode(body).conversation_id
            raise
        return Response(reply.to_json(), content_type=JSON)

    @room.get("")
    async def get_messages() -> Response:
        arguments: Mapping[str, str] = request.args
        limit = whole(arguments, "limit", 100, 1, 1000)
        after = whole(arguments, "cursor", 0, 0, 2**62)
        records, cursor = node.bus.history(arguments.get("conversation_id"), after, limit)
        return answer(
            {
                "messages": [message_answer(record) for record in records],
                "total": len(records),  # of this page: the history is bounded, so a grand total would mislead
                "next_cursor": str(cursor) if len(records) == limit else None,
            }
        )

    @room.get("/<message_id>/receipt")
    async def get_receipt(message_id: str) -> Response:
        return answer(state_answer(node.bus.receipt(message_id)))

    @room.post("/validate")
    async def validate_message() -> Response:
        body = await json_of_request()
        try:
            message = node.bus.validate(body)
        except CaxtonError as error:
            return answer({"valid": False, **error_body(error, trace_id_of(request.scope))})
        return answer({"valid": True, "message": msgspec.Raw(message.to_json())})

    return room
