"""What a request meets before all else: how many a client may make, and which sites a browser may come from.

Rule 1: both are off unless they are asked for; then this is two looks at a flag. Both change while the server runs.
        But a WebSocket from another site is refused unless CORS lets it: a browser asks nobody before it opens one, and
        would show the page all that comes.
Rule 2: `/health` and `/ready` are not counted: who watches the server is not to be told that it is down.
Rule 3: a WebSocket counts once, when it is opened; what comes over it is bounded by mailboxes.
"""

from math import ceil
from typing import Any

import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope

from caxton.api.errors import encode_error
from caxton.api.ports import Node
from caxton.api.tracing import trace_id_from
from caxton.api.wire import JSON
from caxton.core import cors
from caxton.core.config_web import CorsConfig, RateLimitConfig, RouteClass
from caxton.core.errors import CaxtonError, Forbidden, RateLimited
from caxton.core.rate import Buckets, client_of

FREE = frozenset({"/health", "/api/v1/health", "/ready"})
READS = frozenset({"GET", "HEAD", "OPTIONS"})


class Gate:
    def __init__(self, node: Node, app: ASGIFramework) -> None:
        self.node = node
        self.app = app
        self.buckets = Buckets()

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        limits = self.node.limits
        is_socket = scope["type"] == "websocket"
        if scope["type"] == "lifespan" or not (is_socket or limits.cors.enabled or limits.rate_limiting.enabled):
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        shared = limits.cors.enabled
        if is_socket and (origin := _foreign(headers)) and not (shared and cors.allows(limits.cors, origin)):
            foreign = Forbidden(
                f"the site {origin} is not this server's, nor in security.cors.allowed_origins",
                hint="enable security.cors and add it there",
            )
            await _refuse(foreign, scope, headers, receive, send, [])
            return
        if limits.cors.enabled:
            if scope["type"] == "http" and cors.is_preflight(scope["method"], headers):
                await self.answer_preflight(limits.cors, scope, headers, send)
                return
            extra = cors.answer_headers(limits.cors, headers.get(b"origin", b"").decode("latin-1"))
            send = _adding(extra, send) if extra else send
        if limits.rate_limiting.enabled and (wait := self.wait_of(limits.rate_limiting, scope)):
            if (requests := self.node.meter.requests) is not None:
                requests.limited[kind_of(str(scope.get("method", "GET")), scope["path"])] += 1
            text = [(b"retry-after", str(ceil(wait)).encode())]
            error = RateLimited(
                f"more requests than this client may make; the next is possible in {wait:.3g} s",
                hint="wait as long as Retry-After says, then send it again",
                details={"retry_after": round(wait, 3)},
            )
            await _refuse(error, scope, headers, receive, send, text)
            return
        await self.app(scope, receive, send)

    def wait_of(self, rate: RateLimitConfig, scope: Any) -> float:  # Any: http or websocket, which share these
        """Seconds until this client may make this request; 0 is now."""
        if scope["path"] in FREE:
            return 0.0
        kind = kind_of(scope.get("method", "GET"), scope["path"])
        forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        peer = (scope["client"] or ("",))[0]
        client = client_of(peer, forwarded.decode("latin-1"), rate.trusted_proxies)
        per_second, burst = rate.of(kind)
        now = trio.current_time()
        return self.buckets.take((client, kind), now, rate=per_second, burst=burst, room=rate.max_clients)

    async def answer_preflight(
        self, config: CorsConfig, scope: Any, headers: dict[bytes, bytes], send: ASGISendCallable
    ) -> None:
        if reason := cors.refusal(config, headers):
            await _answer(Forbidden(reason), headers, send, [(b"vary", b"Origin")])
            return
        found = [*cors.preflight_headers(config, headers), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 204, "headers": found})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def kind_of(method: str, path: str) -> RouteClass:
    """Which bucket a request is paid from."""
    if method in READS:
        return "reads"
    return "messages" if path.startswith("/api/v1/messages") else "changes"


def _foreign(headers: dict[bytes, bytes]) -> str:
    """The site that a browser comes from, unless it is this server's own."""
    origin = headers.get(b"origin", b"").decode("latin-1")
    host = headers.get(b"host", b"").decode("latin-1")
    return "" if not origin or origin.partition("://")[2].lower() == host.lower() else origin


def _adding(extra: cors.Headers, send: ASGISendCallable) -> ASGISendCallable:
    async def send_more(event: ASGISendEvent) -> None:
        if event["type"] in ("http.response.start", "websocket.http.response.start"):
            event["headers"] = [*event["headers"], *extra]
        await send(event)

    return send_more


async def _refuse(
    error: CaxtonError,
    scope: Any,
    headers: dict[bytes, bytes],
    receive: ASGIReceiveCallable,
    send: ASGISendCallable,
    extra: cors.Headers,
) -> None:
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008, "reason": str(error)})
            return
    await _answer(error, headers, send, extra, prefix="websocket." if scope["type"] == "websocket" else "")


async def _answer(
    error: CaxtonError, headers: dict[bytes, bytes], send: ASGISendCallable, extra: cors.Headers, prefix: str = ""
) -> None:
    trace_id = trace_id_from(headers.get(b"traceparent"))
    body = encode_error(error, trace_id)
    found = [
        (b"content-type", JSON.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"x-trace-id", trace_id.encode()),
        *extra,
    ]
    start: Any = {"type": f"{prefix}http.response.start", "status": error.status, "headers": found}
    end: Any = {"type": f"{prefix}http.response.body", "body": body, "more_body": False}
    await send(start)
    await send(end)
