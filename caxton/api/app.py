"""The Quart application over one open node."""

from quart import Response, has_request_context, request, websocket
from quart_trio import QuartTrio
from werkzeug import exceptions as http

from caxton.api.agents import agents_blueprint
from caxton.api.backups import backups_blueprint
from caxton.api.config import config_blueprint
from caxton.api.conversations import conversations_blueprint
from caxton.api.dead_letters import dead_letters_blueprint
from caxton.api.debug import debug_blueprint
from caxton.api.directory import directory_blueprint
from caxton.api.errors import MethodNotAllowed, as_caxton_error, encode_error
from caxton.api.events import events_blueprint
from caxton.api.front import Front
from caxton.api.gate import Gate
from caxton.api.keys import keys_blueprint
from caxton.api.messages import messages_blueprint
from caxton.api.metering import Metering, note_route
from caxton.api.platforms import platforms_blueprint
from caxton.api.ports import Node
from caxton.api.sockets import WebsocketConnection
from caxton.api.stream import stream_blueprint
from caxton.api.system import system_blueprint
from caxton.api.tasks import tasks_blueprint
from caxton.api.tools import tools_blueprint
from caxton.api.tracing import trace_id_of
from caxton.api.webhooks import webhooks_blueprint
from caxton.api.wire import JSON
from caxton.api.ws import ws_blueprint
from caxton.core.errors import NotFound

ROOMS = (
    agents_blueprint,
    backups_blueprint,
    messages_blueprint,
    dead_letters_blueprint,
    tasks_blueprint,
    directory_blueprint,
    conversations_blueprint,
    events_blueprint,
    system_blueprint,
    config_blueprint,
    debug_blueprint,
    ws_blueprint,
    stream_blueprint,
    platforms_blueprint,
    keys_blueprint,
    webhooks_blueprint,
    tools_blueprint,
)


def create_app(node: Node) -> QuartTrio:
    app = QuartTrio("caxton", static_folder=None)
    app.asgi_websocket_class = WebsocketConnection
    app.config["MAX_CONTENT_LENGTH"] = None  # every route has its own limit: bodies.py
    for blueprint in ROOMS:
        app.register_blueprint(blueprint(node))
    app.register_error_handler(Exception, answer_error)
    app.before_request(note_route)
    app.asgi_app = Metering(node, Gate(node, Front(node, app.asgi_app)))  # type: ignore[method-assign]  # Quart's place for ASGI middleware
    return app


async def answer_error(error: Exception) -> Response:
    """Whatever a route raised, in the one shape."""
    asked = request if has_request_context() else websocket
    headers = {}
    if isinstance(error, http.NotFound):
        error = NotFound(f"there is nothing at {asked.path}")
    elif isinstance(error, http.MethodNotAllowed):
        headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        error = MethodNotAllowed(f"{asked.method} is not possible at {asked.path}; possible: {headers['Allow']}")
    trace_id = trace_id_of(asked.scope)
    problem = as_caxton_error(error, trace_id)
    return Response(encode_error(problem, trace_id), problem.status, headers, content_type=JSON)
