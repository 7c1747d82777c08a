"""The Quart application over one open node."""

from quart import Response, has_request_context, request, websocket
from quart_trio import QuartTrio

from caxton.api.agents import agents_blueprint
from caxton.api.errors import as_caxton_error, encode_error
from caxton.api.events import events_blueprint
from caxton.api.front import Front
from caxton.api.messages import messages_blueprint
from caxton.api.ports import Node
from caxton.api.sockets import WebsocketConnection
from caxton.api.stream import stream_blueprint
from caxton.api.system import system_blueprint
from caxton.api.tracing import trace_id_of
from caxton.api.wire import JSON
from caxton.api.ws import ws_blueprint


def create_app(node: Node) -> QuartTrio:
    app = QuartTrio("caxton", static_folder=None)
    app.asgi_websocket_class = WebsocketConnection
    app.config["MAX_CONTENT_LENGTH"] = None  # every route has its own limit: bodies.py
    for blueprint in (
        agents_blueprint,
        messages_blueprint,
        events_blueprint,
        system_blueprint,
        ws_blueprint,
        stream_blueprint,
    ):
        app.register_blueprint(blueprint(node))

    @app.errorhandler(Exception)
    async def answer_error(error: Exception) -> Response:
        problem = as_caxton_error(error)
        scope = request.scope if has_request_context() else websocket.scope
        return Response(encode_error(problem, trace_id_of(scope)), problem.status, content_type=JSON)

    app.asgi_app = Front(node, app.asgi_app)  # type: ignore[method-assign]  # Quart's place for ASGI middleware
    return app
