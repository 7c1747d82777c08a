"""The API over real hypercorn on a free port of the loopback device, and clients for it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, TypeVar, overload

import attrs
import httpx
import trio
from trio_websocket import ConnectionRejected, WebSocketConnection, wrap_client_stream

from caxton.api.app import create_app
from caxton.api.server import Address, serve
from caxton.core.views import EdgeLimits
from tests.api.small_node import SmallNode

MODULE = b"\0asm\1\0\0\0"
MODULE_BASE64 = "AGFzbQEAAAA="


NodeT = TypeVar("NodeT")


@attrs.frozen
class Served(Generic[NodeT]):
    node: NodeT
    address: Address
    http: httpx.AsyncClient

    async def post(self, message: dict[str, Any], **params: str) -> httpx.Response:
        return await self.http.post("/api/v1/messages", json=message, params=params or None)

    async def deploy(self, name: str) -> httpx.Response:
        return await self.http.post("/api/v1/agents", json={"wasm_module": MODULE_BASE64, "config": {"name": name}})

    async def attach(self, name: str) -> httpx.Response:
        return await self.http.post("/api/v1/agents", json={"kind": "attached", "config": {"name": name}})

    @asynccontextmanager
    async def websocket(self, path: str, **options: Any) -> AsyncIterator[WebSocketConnection]:
        """trio-websocket over a stream of ours, because it leaves its own open when the server closes first."""
        rejected: ConnectionRejected | None = None
        async with await trio.open_tcp_stream(self.address.host, self.address.port) as stream:
            try:
                async with trio.open_nursery() as nursery:
                    connection = await wrap_client_stream(nursery, stream, "caxton", path, **options)
                    yield connection
                    await connection.aclose()
                    nursery.cancel_scope.cancel()
            except* ConnectionRejected as group:
                rejected = next(error for error in group.exceptions if isinstance(error, ConnectionRejected))
        if rejected is not None:
            raise rejected


@overload
def open_server(limits: EdgeLimits | None = None) -> AbstractAsyncContextManager[Served[SmallNode]]: ...
@overload
def open_server(*, node: NodeT) -> AbstractAsyncContextManager[Served[NodeT]]: ...
@asynccontextmanager
async def open_server(limits: EdgeLimits | None = None, *, node: Any = None) -> AsyncIterator[Served[Any]]:
    """Serves the node that is given, or a small one with these limits."""
    node = node or SmallNode(limits)
    stop = trio.Event()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:

            async def run(task_status: Any) -> None:
                app = create_app(node)
                await serve(app, "127.0.0.1", 0, shutdown_trigger=stop.wait, task_status=task_status)

            address = await nursery.start(run)
            async with httpx.AsyncClient(base_url=address.url, timeout=10) as http:
                yield Served(node, address, http)
            stop.set()


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def request_to(receiver: str | list[str], content: object = None, **fields: object) -> dict[str, Any]:
    return {"performative": "request", "sender": "tester", "receiver": receiver, "content": content, **fields}
