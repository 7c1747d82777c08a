"""What every request meets before Quart: a trace id, and for plain POST /api/v1/messages the whole answer.

Posting a message takes a few microseconds; a Quart request half a millisecond. So this one route is plain ASGI.
It has no rules of its own: the checks and the answer are functions of `messages.py`, which the Quart route uses as well
(for `?wait=` and batches, and whatever else this file lets through).
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    HTTPScope,
    Scope,
    WebsocketScope,
)

from caxton.api.bodies import read_body
from caxton.api.errors import as_caxton_error, encode_error
from caxton.api.messages import check_json, post_one
from caxton.api.metering import ROUTE
from caxton.api.ports import Node
from caxton.api.tracing import TRACE_ID, trace_id_from
from caxton.api.wire import JSON, NDJSON
from caxton.core.errors import MessageTooLarge

MESSAGES = "/api/v1/messages"
CLOSING = 5.0


class ClientGone(Exception):
    """The client hung up before its request was complete; nobody waits for an answer."""


class Front:
    def __init__(self, node: Node, app: ASGIFramework) -> None:
        self.node = node
        self.app = app

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["path"][:1] != "/":
            _use_path(scope)
        headers = dict(scope["headers"])
        trace_id = trace_id_from(headers.get(b"traceparent"))
        if scope["type"] == "http" and _is_hot(scope, headers):
            cast(dict[str, Any], scope)[ROUTE] = MESSAGES
            await self.post_message(headers, trace_id, receive, send)
            return
        cast(dict[str, Any], scope)[TRACE_ID] = trace_id

        async def send_traced(event: ASGISendEvent) -> None:
            if event["type"] in ("http.response.start", "websocket.http.response.start"):
                event["headers"] = [*event["headers"], (b"x-trace-id", trace_id.encode())]
            if event["type"] == "http.response.body" and not event.get("more_body"):
                # hypercorn says http.disconnect before it has closed; Quart, hearing that, would cancel the closing
                with trio.move_on_after(CLOSING, shield=True):
                    await send(event)
            else:
                await send(event)

        await self.app(scope, receive, send_traced)

    async def post_message(
        self, headers: dict[bytes, bytes], trace_id: str, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        status = 200
        try:
            length = headers.get(b"content-length")
            async with aclosing(_chunks(receive)) as chunks:
                body = await read_body(
                    chunks,
                    length=None if length is None else int(length),
                    limit=self.node.limits.max_message_size,
                    error=MessageTooLarge,
                )
            check_json(headers.get(b"content-type", b"").decode("latin-1"))
            answer = await post_one(self.node, body, headers.get(b"traceparent", b"").decode("latin-1"))
        except ClientGone:
            return
        except Exception as error:  # here the request ends
            problem = as_caxton_error(error, trace_id)
            status, answer = problem.status, encode_error(problem, trace_id)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", JSON.encode()),
                    (b"content-length", str(len(answer)).encode()),
                    (b"x-trace-id", trace_id.encode()),
                ],
            }
        )
        await send({"type": "http.response.body", "body": answer, "more_body": False})


def _use_path(scope: HTTPScope | WebsocketScope) -> None:
    """RFC 9112 has servers take `POST http://host/path` as `POST /path`; JADE writes it so."""
    place, found, path = scope["path"].partition("://")[2].partition("/")
    fields = cast(dict[str, Any], scope)
    fields["path"] = f"/{path}" if place and found else "/"
    fields["raw_path"] = fields["path"].encode()


def _is_hot(scope: HTTPScope, headers: dict[bytes, bytes]) -> bool:
    return (
        scope["path"] == MESSAGES
        and scope["method"] == "POST"
        and not scope["query_string"]
        and not headers.get(b"content-type", b"").lower().startswith(NDJSON.encode())
    )


async def _chunks(receive: ASGIReceiveCallable) -> AsyncGenerator[bytes, None]:
    while True:
        event = await receive()
        if event["type"] != "http.request":
            raise ClientGone
        yield event.get("body", b"")
        if not event.get("more_body", False):
            return
