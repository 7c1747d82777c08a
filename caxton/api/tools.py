"""/api/v1/tools: the tool servers and what they offer; and calling a tool by hand."""

from typing import Any

import msgspec
from quart import Blueprint, Response, request

from caxton.api.bodies import read_body
from caxton.api.messages import check_json
from caxton.api.ports import Node
from caxton.api.wire import answer, moment
from caxton.core.decoding import UNREADABLE
from caxton.core.errors import InvalidRequest
from caxton.core.tools import LONGEST

LARGEST = 1 << 20  # bytes of a request


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    arguments: dict[str, Any] = {}  # Any: JSON
    timeout_ms: float = 0


def tools_blueprint(node: Node) -> Blueprint:
    room = Blueprint("tools", __name__, url_prefix="/api/v1/tools")

    @room.get("")
    async def list_tools() -> Response:
        servers, breakers = node.tools.list()
        shown = [{**msgspec.structs.asdict(server), "since": moment(server.since)} for server in servers]
        return answer({"enabled": node.tools.is_enabled, "servers": shown, "circuit_breakers": breakers})

    @room.post("/<path:name>")
    async def call_tool(name: str) -> Response:
        body = await read_body(request.body, length=request.content_length, limit=LARGEST)
        check_json(request.content_type or "")
        try:
            asked = msgspec.json.decode(body or b"{}", type=ToolCall)
        except UNREADABLE as error:
            raise InvalidRequest(
                f"the request does not describe a call: {error}", hint='{"arguments": {}, "timeout_ms": 5000}'
            ) from None
        if not 0 <= asked.timeout_ms <= LONGEST:
            raise InvalidRequest(f"timeout_ms is {asked.timeout_ms:g}; it is 0 to {LONGEST}")
        return answer(await node.tools.call(name, asked.arguments, asked.timeout_ms))

    return room
