"""/api/v1/config: what holds, change it, go back, read the files again."""

from typing import Any

import msgspec
from quart import Blueprint, Response, request

from caxton.api.bodies import read_body
from caxton.api.messages import check_json
from caxton.api.ports import Node
from caxton.api.wire import answer, whole
from caxton.core.decoding import UNREADABLE
from caxton.core.errors import InvalidRequest

LARGEST = 1 << 20  # bytes of a request
SHOWN = 50  # versions


class ChangeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    set: dict[str, Any]  # Any: a value as a file may have it
    agent: str = ""


class RollbackRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int | None = None  # None: undo the last change


def config_blueprint(node: Node) -> Blueprint:
    room = Blueprint("config", __name__, url_prefix="/api/v1/config")

    @room.get("")
    async def get_config() -> Response:
        if agent := request.args.get("agent"):
            return answer({"agent": agent, "values": node.settings.of_agent(agent)})
        return answer(node.settings.describe())

    @room.patch("")
    async def change_config() -> Response:
        asked = await _read(ChangeRequest)
        return answer(_shown(await node.settings.set(asked.set, agent=asked.agent, who=_who())))

    @room.post("/rollback")
    async def roll_back() -> Response:
        asked = await _read(RollbackRequest)
        return answer(_shown(await node.settings.rollback(asked.version, who=_who())))

    @room.post("/reload")
    async def reload() -> Response:
        return answer(_shown(await node.settings.reload(who=_who())))

    @room.get("/versions")
    async def list_versions() -> Response:
        found = await node.settings.versions(whole(request.args, "limit", SHOWN, 1, 1000))
        return answer({"versions": [_shown(version) for version in found]})

    return room


async def _read(kind: Any) -> Any:  # Any: one of the Structs above
    body = await read_body(request.body, length=request.content_length, limit=LARGEST)
    check_json(request.content_type or "")
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except UNREADABLE as error:
        raise InvalidRequest(
            f"the request does not describe a change: {error}",
            hint='a change is {"set": {"observability.logging.level": "debug"}}',
        ) from None


def _who() -> str:
    """Who asked, for the history: the client's address, and the name that it gives itself."""
    name = request.headers.get("X-Caxton-Who", "")[:100]
    address = request.remote_addr or "somebody"
    return f"{name} ({address})" if name.isprintable() and name else address


def _shown(version: Any) -> dict[str, Any]:  # Any: of the store, which the API does not know
    changes = [
        {"key": one.key, "agent_id": one.agent, "before": one.before, "after": one.after} for one in version.changes
    ]
    return {
        "version": version.version,
        "at": version.at,
        "who": version.who,
        "action": version.action,
        "changes": changes,
    }
