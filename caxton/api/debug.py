"""/api/v1/debug: what an operator asks when something is slow."""

from quart import Blueprint, Response, request

from caxton.api.ports import Node
from caxton.api.wire import answer, number, whole

LONGEST = 300.0  # seconds of one profile
MOST = 1000  # agents with a row of their own


def debug_blueprint(node: Node) -> Blueprint:
    room = Blueprint("debug", __name__, url_prefix="/api/v1/debug")

    @room.get("/profile")
    async def profile() -> Response:
        """Answers when the time is over; when the client leaves, the profile ends with it."""
        seconds = number(request.args, "seconds", 10, 1, LONGEST)
        top = whole(request.args, "top", 20, 1, MOST)
        return answer(await node.profile(seconds, top))

    return room
