"""/acc, where other agent platforms leave messages (FIPA00084), and /api/v1/platforms, which says who they are.

There is nothing at /acc unless `integrations.fipa.http_mtp.enabled`.

An answer closes the connection, unless the client is a Caxton: JADE sends a line end behind each body that is not part
of it, and would take the error about that line for the answer to its next message.
"""

from quart import Blueprint, Response, request

from caxton.api.bodies import read_body
from caxton.api.ports import Gateway, Node
from caxton.api.wire import answer
from caxton.core.errors import NotFound

CAXTON = "caxton/"


def platforms_blueprint(node: Node) -> Blueprint:
    room = Blueprint("platforms", __name__)

    def gateway() -> Gateway:
        if node.gateway is None:
            raise NotFound(
                "this server exchanges messages with no other platform",
                hint="set integrations.fipa.http_mtp.enabled to true",
            )
        return node.gateway

    @room.post("/acc")
    async def take_message() -> Response:
        door = gateway()
        body = await read_body(request.body, length=request.content_length, limit=door.max_request_size)
        client = request.scope.get("client") or ("", 0)
        await door.receive(request.headers.get("Content-Type", ""), body, str(client[0]))
        return Response(b"", 200, content_type="text/html")

    @room.after_request
    async def close(response: Response) -> Response:
        if request.path == "/acc" and not request.headers.get("User-Agent", "").startswith(CAXTON):
            response.headers["Connection"] = "close"
        return response

    @room.get("/api/v1/platforms")
    async def list_platforms() -> Response:
        door = gateway()
        return answer({"platform": {"name": door.home.name, "url": door.home.url}, "platforms": door.list()})

    @room.delete("/api/v1/platforms/<path:name>")
    async def forget_platform(name: str) -> Response:
        await gateway().forget(name)
        return answer({"name": name, "status": "forgotten"})

    return room
