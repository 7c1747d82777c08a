"""/api/v1/keys: the public keys that messages are checked with. Private ones are never given out."""

import msgspec
from quart import Blueprint, Response, request

from caxton.api.bodies import read_body
from caxton.api.messages import check_json
from caxton.api.ports import Node
from caxton.api.wire import answer
from caxton.core.decoding import UNREADABLE
from caxton.core.errors import InvalidRequest


class PublicKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    public_key: str


def keys_blueprint(node: Node) -> Blueprint:
    room = Blueprint("keys", __name__, url_prefix="/api/v1/keys")

    @room.get("")
    async def list_keys() -> Response:
        return answer(node.signing_keys.list())

    @room.get("/<path:agent>")
    async def get_key(agent: str) -> Response:
        return answer(node.signing_keys.get(agent))

    @room.put("/<path:agent>")
    async def put_key(agent: str) -> Response:
        body = await read_body(request.body, length=request.content_length, limit=4096)
        check_json(request.content_type or "")
        try:
            asked = msgspec.json.decode(body, type=PublicKey)
        except UNREADABLE as error:
            raise InvalidRequest(f"the request does not give a public key: {error}") from None
        return answer(await node.signing_keys.put(agent, asked.public_key))

    @room.delete("/<path:agent>")
    async def delete_key(agent: str) -> Response:
        await node.signing_keys.remove(agent)
        return answer({"agent": agent, "status": "removed"})

    return room
