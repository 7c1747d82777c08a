"""Hypercorn's Trio worker, run inside our own nursery: what `caxton serve` listens with."""

import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol

import attrs
import trio
from hypercorn.config import Config, Sockets
from hypercorn.events import Event, Updated
from hypercorn.trio import run as hypercorn_trio
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import ASGIFramework
from hypercorn.utils import wrap_app

GRACE = 2.0  # seconds that open requests and streams get after the trigger
BACKLOG = 1024
HANDSHAKE = 10.0  # seconds that a client has for it
KEEPALIVE = 60  # seconds of silence after which the kernel asks whether the peer is still there


class Connection(TCPServer):
    """hypercorn's own waits for its keep-alive timer before it closes a connection that the client has closed.

    A client per request would leave a descriptor open for each request of the last 75 seconds.
    """

    has_left = False

    async def _read_data(self) -> None:
        await super()._read_data()
        self.has_left = True
        await self.idle_task.stop()

    async def protocol_send(self, event: Event) -> None:
        # the answer to somebody who has left is followed by no next request: no timer for it
        if not (self.has_left and isinstance(event, Updated)):
            await super().protocol_send(event)


hypercorn_trio.TCPServer = Connection  # type: ignore[attr-defined]  # worker_serve has no other way to be given one


@attrs.frozen
class Address:
    """Where the server listens in truth; the port is never 0."""

    host: str
    port: int
    scheme: str = "http"

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class Listening(Protocol):
    """`trio.TaskStatus[Address]`."""

    def started(self, value: Address) -> None: ...


class WithContext(Config):
    """hypercorn makes its own context of file names, and says little of what is wrong: ours is made before."""

    context: ssl.SSLContext | None = None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        return self.context


def server_config(tls: ssl.SSLContext | None = None) -> Config:
    config = WithContext()
    config.context = tls
    config.ssl_handshake_timeout = HANDSHAKE
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")  # without handlers of its own
    config.graceful_timeout = GRACE
    config.include_server_header = False
    config.keep_alive_timeout = 75
    config.keep_alive_max_requests = 1_000_000
    config.max_app_queue_size = 4  # of a connection: WebSocket frames, or pieces of 64 KiB of a body
    config.websocket_max_message_size = 17 << 20  # a little above stream.py's own limit, which gives a reason
    return config


def listen(host: str, port: int) -> socket.socket:
    """A listening socket whose connections are kept alive. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    # inherited by accepted connections; hypercorn's own pings would outlive their WebSocket and hold up the end
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))  # Linux, macOS
    if idle is not None:
        listener.setsockopt(socket.IPPROTO_TCP, idle, KEEPALIVE)
    listener.setblocking(False)
    return listener


async def serve(
    app: ASGIFramework,
    host: str,
    port: int,
    *,
    shutdown_trigger: Callable[[], Awaitable[object]],
    tls: ssl.SSLContext | None = None,
    task_status: Listening = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until the trigger returns, then at most GRACE seconds more. Port 0 is a free one; started() tells which."""
    config = server_config(tls)
    with listen(host, port) as listener:
        bound_host, bound_port = listener.getsockname()[:2]
        bound = Address(bound_host, bound_port, "https" if tls else "http")

        async def trigger() -> None:
            task_status.started(bound)  # hypercorn starts the trigger once it accepts
            await shutdown_trigger()

        await hypercorn_trio.worker_serve(
            wrap_app(app, config.wsgi_max_body_size, "asgi"),
            config,
            sockets=Sockets([listener] if tls else [], [] if tls else [listener], []),
            shutdown_trigger=trigger,
        )
