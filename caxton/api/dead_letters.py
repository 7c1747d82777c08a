"""/api/v1/dead-letters: messages that were given up, to look at, to send again, to forget.

`?agent=`, `?reason=` and `?since=` choose among them wherever many are meant.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
import trio
from quart import Blueprint, Response, request

from caxton.api.ports import Node
from caxton.api.wire import ENCODER, NDJSON, answer, moment, number, receipt_answer, whole
from caxton.core.views import DeadLetterFilter, DeadLetterInfo

RETRY_TIMEOUT = 30.0
MANY_TIMEOUT = 300.0


def letter_filter(arguments: Mapping[str, str]) -> DeadLetterFilter:
    since = number(arguments, "since", 0.0, 0.0, 1e12)
    return DeadLetterFilter(agent=arguments.get("agent", ""), reason=arguments.get("reason", ""), since=since)


# Any: JSON
def letter_answer(letter: DeadLetterInfo) -> dict[str, Any]:
    fields = msgspec.structs.asdict(letter)
    fields["timestamp"] = moment(fields.pop("at"))
    if letter.message is None:
        del fields["message"]
    return fields


def dead_letters_blueprint(node: Node) -> Blueprint:
    room = Blueprint("dead_letters", __name__, url_prefix="/api/v1/dead-letters")

    @room.get("")
    async def list_letters() -> Response:
        limit = whole(request.args, "limit", 100, 1, 1000)
        before = whole(request.args, "cursor", 0, 0, 2**62)
        letters, total = await node.dead_letters.list(letter_filter(request.args), before=before, limit=limit)
        return answer(
            {
                "dead_letters": [letter_answer(letter) for letter in letters],
                "total": total,
                "next_cursor": str(letters[-1].id) if len(letters) == limit else None,
            }
        )

    @room.get("/export")
    async def export_letters() -> Response:
        pages = node.dead_letters.export(letter_filter(request.args))
        first = await anext(pages, None) or ()  # what is wrong with the request is told before the answer begins

        async def lines() -> AsyncIterator[bytes]:
            async with aclosing(pages):
                yield ENCODER.encode_lines([letter_answer(letter) for letter in first])
                async for page in pages:
                    yield ENCODER.encode_lines([letter_answer(letter) for letter in page])

        response = Response(lines(), content_type=NDJSON)
        response.timeout = None
        return response

    @room.post("/retry")
    async def retry_letters() -> Response:
        with trio.fail_after(MANY_TIMEOUT):
            return answer(await node.dead_letters.retry_all(letter_filter(request.args)))

    @room.post("/purge")
    async def purge_letters() -> Response:
        with trio.fail_after(MANY_TIMEOUT):
            return answer({"purged": await node.dead_letters.purge(letter_filter(request.args))})

    @room.get("/<int:letter>")
    async def get_letter(letter: int) -> Response:
        return answer(letter_answer(await node.dead_letters.get(letter)))

    @room.post("/<int:letter>/retry")
    async def retry_letter(letter: int) -> Response:
        with trio.fail_after(RETRY_TIMEOUT):
            return answer(receipt_answer(await node.dead_letters.retry(letter)))

    @room.delete("/<int:letter>")
    async def delete_letter(letter: int) -> Response:
        await node.dead_letters.remove(letter)
        return answer({"id": letter, "status": "removed"})

    return room
