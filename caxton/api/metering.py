"""How many requests there are, and how long they take: around everything else, while metrics are on.

Rule 1: a request is known by its route, not its path: `/api/v1/agents/{name}`, whoever is asked for.
Rule 2: while metrics are off this is one look.
"""

import re
from functools import cache
from time import perf_counter
from typing import Any, cast

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope
from quart import request

from caxton.api.ports import Node

ROUTE = "caxton.route"  # where it is left in the ASGI scope


class Metering:
    def __init__(self, node: Node, app: ASGIFramework) -> None:
        self.node = node
        self.app = app

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http" or (requests := self.node.meter.requests) is None:
            await self.app(scope, receive, send)
            return
        began, status = perf_counter(), 0

        async def send_noting(event: ASGISendEvent) -> None:
            nonlocal status
            if event["type"] == "http.response.start":
                status = event["status"]
            await send(event)

        try:
            await self.app(scope, receive, send_noting)
        finally:
            route = cast(dict[str, Any], scope).get(ROUTE, "")
            requests.observe(scope["method"], route, status, perf_counter() - began)


def note_route() -> None:
    """Before each request of the application."""
    if request.url_rule is not None:
        cast(dict[str, Any], request.scope)[ROUTE] = _shown(request.url_rule.rule)


@cache
def _shown(rule: str) -> str:
    """`/agents/<path:name>` as OpenTelemetry writes it."""
    return re.sub(r"<(?:[^<>:]*:)?([^<>]*)>", r"{\1}", rule)
