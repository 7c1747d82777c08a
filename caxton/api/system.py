"""/health, /ready and the figures of the whole system, as JSON and for Prometheus."""

from quart import Blueprint, Response, request

from caxton.api.ports import Node
from caxton.api.wire import answer, moment, names
from caxton.core.errors import InvalidRequest

GROUPS = ("agents", "messages", "resources", "performance")


def system_blueprint(node: Node) -> Blueprint:
    room = Blueprint("system", __name__)

    @room.get("/health")
    @room.get("/api/v1/health")
    async def health() -> Response:
        return answer(node.health())

    @room.get("/ready")
    async def ready() -> Response:
        is_ready, checks = node.ready()
        return answer(checks, 200 if is_ready else 503)

    @room.get("/api/v1/metrics/system")
    async def metrics_system() -> Response:
        fields = set(names(request.args, "fields"))
        if not fields <= set(GROUPS):
            unknown = ", ".join(sorted(fields - set(GROUPS)))
            raise InvalidRequest(f"unknown fields {unknown}; there are {', '.join(GROUPS)}")
        figures = node.metrics_system(fields)
        return answer({**figures, "timestamp": moment(figures["timestamp"])})

    @room.get("/metrics")
    @room.get("/api/v1/metrics")
    async def metrics() -> Response:
        text, kind = await node.meter.exposition(request.headers.get("accept", ""))
        return Response(text, content_type=kind)

    return room
