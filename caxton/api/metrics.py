"""The listener of its own for metrics: `GET /metrics`, for Prometheus, and nothing else.

It listens while metrics are on, which may change while the server runs. The first time it cannot, the server does not
start; later that is a line of the log, for metrics are at the API's port as well.
"""

import logging
import ssl
from collections.abc import Awaitable, Callable
from functools import partial

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from caxton.api.ports import Node
from caxton.api.server import Address, serve
from caxton.core.errors import CaxtonError

PATH = "/metrics"
TEXT = "text/plain; charset=utf-8"

log = logging.getLogger(__name__)


class MetricsApp:
    def __init__(self, node: Node) -> None:
        self.node = node

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan":
            while True:
                event = await receive()
                if event["type"] == "lifespan.startup":
                    await send({"type": "lifespan.startup.complete"})
                else:
                    await send({"type": "lifespan.shutdown.complete"})
                    return
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "there are metrics here, and nothing else"})
            return
        status, body, kind = await self.answer(scope["method"], scope["path"], dict(scope["headers"]))
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        sent = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": sent, "more_body": False})

    async def answer(self, method: str, path: str, headers: dict[bytes, bytes]) -> tuple[int, bytes, str]:
        if path != PATH:
            return 404, b"there is only /metrics here; all else is at the API's port\n", TEXT
        if method not in ("GET", "HEAD"):
            return 405, b"GET it\n", TEXT
        try:
            text, kind = await self.node.meter.exposition(headers.get(b"accept", b"").decode("latin-1"))
        except CaxtonError as error:
            return error.status, f"{error}\n".encode(), TEXT
        return 200, text, kind


async def serve_metrics(
    node: Node,
    host: str,
    port: int,
    *,
    stop: trio.Event,
    tls: ssl.SSLContext | None = None,
    task_status: trio.TaskStatus[Address | None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Until *stop*; started() tells where it listens, None: metrics are off. Raises OSError when it cannot at first."""
    off, on = partial(node.meter.wait_is, False), partial(node.meter.wait_is, True)
    listening: trio.TaskStatus[Address] | trio.TaskStatus[Address | None] = task_status
    if not node.meter.is_on:
        task_status.started(None)
        listening = trio.TASK_STATUS_IGNORED
    while not stop.is_set():
        if not node.meter.is_on:
            await _first_of(stop.wait, on)
            continue
        until = partial(_first_of, stop.wait, off)
        try:
            await serve(MetricsApp(node), host, port, shutdown_trigger=until, tls=tls, task_status=listening)
        except OSError as error:
            if listening is task_status:
                raise
            log.error("metrics are not served at %s:%d: %s", host, port, error.strerror or error)  # noqa: TRY400
            await until()
        listening = trio.TASK_STATUS_IGNORED


async def _first_of(*waits: Callable[[], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:

        async def wait(one: Callable[[], Awaitable[None]]) -> None:
            await one()
            nursery.cancel_scope.cancel()

        for each in waits:
            nursery.start_soon(wait, each)
