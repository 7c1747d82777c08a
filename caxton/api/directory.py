"""/api/v1/capabilities and /api/v1/directory: who can do what.

GET  /api/v1/directory/agents?name=&type=&service=&protocol=&ontology=&language=   a template, each may come often
POST /api/v1/directory/search   {"description": {...}, "constraints": {...}}       the same as df is asked
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from quart import Blueprint, Response, request

from caxton.api.bodies import read_body
from caxton.api.messages import check_json
from caxton.api.ports import Node
from caxton.api.wire import answer, flag, moment, whole
from caxton.core.answer import Unanswered
from caxton.core.decoding import UNREADABLE
from caxton.core.directory.descriptions import (
    Constraints,
    Description,
    Service,
    read_constraints,
    read_description,
)
from caxton.core.directory.facilitator import as_told
from caxton.core.errors import InvalidRequest
from caxton.core.views import CapabilityInfo, Registration

STRATEGIES = ("priority", "load_balance", "least_loaded", "fastest_response")
STATUSES = ("active", "inactive", "unhealthy", "draining")
MAX_BODY = 64 << 10

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._-]+\Z")]
Priority = Annotated[int, Meta(ge=0, le=1000)]


class Register(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    agent_id: str
    capability: Name
    version: str = "1.0.0"
    priority: Priority = 50
    metadata: dict[str, Any] = {}  # Any: the operator's own, JSON
    health_check_url: str | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    version: str | msgspec.UnsetType = msgspec.UNSET
    priority: Priority | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET  # Any: as above
    health_check_url: str | msgspec.UnsetType = msgspec.UNSET


class Search(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    description: Any = None  # Any: core reads them
    constraints: Any = None


# Any: JSON, here and below
def registration_answer(registration: Registration) -> dict[str, Any]:
    return msgspec.structs.asdict(registration) | {"registered_at": moment(registration.registered_at)}


def capability_answer(found: CapabilityInfo, *, metadata: bool = True) -> dict[str, Any]:
    providers = [msgspec.structs.asdict(each) for each in found.providers]
    for each in providers:
        if not metadata:
            del each["metadata"]
        if not each["registration_id"]:
            del each["registration_id"]
    return {"capability": found.capability, "providers": providers}


def _one_of(name: str, options: tuple[str, ...], default: str) -> str:
    value = request.args.get(name, default)
    if value and value not in options:
        raise InvalidRequest(f"{name}={value!r} is not one of {', '.join(options)}", details={"parameter": name})
    return value


async def _body(kind: type[Any]) -> Any:
    data = await read_body(request.body, length=request.content_length, limit=MAX_BODY)
    check_json(request.content_type or "")
    try:
        return msgspec.json.decode(data, type=kind)
    except UNREADABLE as error:
        raise InvalidRequest(f"the request does not read: {error}") from None


def _template() -> Description:
    """A template of the query's parameters."""
    many = {key: tuple(request.args.getlist(key)) for key in ("protocol", "ontology", "language")}
    services = [Service(type=each) for each in request.args.getlist("type")]
    services += [Service(type=each) for each in request.args.getlist("capability")]
    services += [Service(name=each) for each in request.args.getlist("service")]
    return Description(
        name=request.args.get("name", ""),
        services=tuple(services),
        protocols=many["protocol"],
        ontologies=many["ontology"],
        languages=many["language"],
    )


def directory_blueprint(node: Node) -> Blueprint:
    room = Blueprint("directory", __name__, url_prefix="/api/v1")

    @room.post("/capabilities")
    async def register() -> Response:
        asked: Register = await _body(Register)
        fields = msgspec.structs.asdict(asked) | {"health_check_url": asked.health_check_url or ""}
        kept = await node.capabilities.register(Registration(**fields))
        place = f"/api/v1/capabilities/{kept.registration_id}"
        return answer(registration_answer(kept), 201, {"Location": place})

    @room.get("/capabilities")
    async def list_capabilities() -> Response:
        found = node.capabilities.list(
            request.args.get("capability", ""),
            request.args.get("agent_id", ""),
            _one_of("status", STATUSES, ""),
            request.args.get("version", ""),
        )
        limit = whole(request.args, "limit", 100, 1, 1000)
        offset = whole(request.args, "offset", 0, 0, 2**31)
        metadata = flag(request.args, "include_metadata")
        page = [capability_answer(each, metadata=metadata) for each in found[offset : offset + limit]]
        end = offset + len(page)
        return answer({"capabilities": page, "total": len(found), "next_offset": end if end < len(found) else None})

    @room.get("/capabilities/health")
    async def all_health() -> Response:
        return answer({"capabilities": node.capabilities.health()})

    @room.get("/capabilities/<capability>")
    async def get_capability(capability: str) -> Response:
        found = node.capabilities.get(
            capability,
            version=request.args.get("version", ""),
            strategy=_one_of("routing_strategy", STRATEGIES, "priority"),
            include_unhealthy=flag(request.args, "include_unhealthy"),
        )
        return answer(capability_answer(found))

    @room.get("/capabilities/<capability>/health")
    async def get_health(capability: str) -> Response:
        return answer(node.capabilities.health(capability)[0])

    @room.put("/capabilities/<registration>")
    async def change(registration: str) -> Response:
        asked: Change = await _body(Change)
        changes = {key: each for key, each in msgspec.structs.asdict(asked).items() if each is not msgspec.UNSET}
        return answer(registration_answer(await node.capabilities.change(registration, changes)))

    @room.delete("/capabilities/<path:agent>/<capability>")
    async def remove(agent: str, capability: str) -> Response:
        await node.capabilities.remove(agent, capability)
        return Response(b"", 204)

    def found(template: Description, constraints: Constraints) -> Response:
        entries, truncated, cursor = node.directory.search(template, constraints)
        told = [as_told(each.description, each.until) for each in entries]
        return answer({"agents": told, "truncated": truncated, "next_cursor": str(cursor) if truncated else None})

    @room.get("/directory/agents")
    async def search_agents() -> Response:
        limit = whole(request.args, "limit", 100, 1, 1000)
        cursor = whole(request.args, "cursor", 0, 0, 2**62)
        return found(_template(), Constraints(max_results=limit, cursor=cursor))

    @room.post("/directory/search")
    async def search() -> Response:
        asked: Search = await _body(Search)
        try:
            return found(read_description(asked.description), read_constraints(asked.constraints))
        except Unanswered as error:
            raise InvalidRequest(error.text, details={"error": error.word, **error.details}) from None

    return room
