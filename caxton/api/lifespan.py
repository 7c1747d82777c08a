"""An ASGI application that opens its node when the server starts it, and closes it when the server stops.

Hypercorn's Trio worker runs it directly. Under an asyncio server the node lives in a Trio thread (`bridge.py`); every
request then crosses over and back, which works and costs.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

from caxton.api.app import create_app
from caxton.api.bridge import TrioThread
from caxton.api.errors import as_caxton_error
from caxton.api.ports import Node
from caxton.core.errors import CaxtonError

ASYNCIO_WARNING = (
    "running under an asyncio server: the node has a thread of its own, and every request crosses over; "
    "`hypercorn -k trio caxton.app:app` or `caxton serve` is faster"
)

log = logging.getLogger(__name__)


class Application:
    """`open_node` gives the room to live in; it is called at startup, once per process."""

    def __init__(self, open_node: Callable[[], AbstractAsyncContextManager[Node]]) -> None:
        self.open_node = open_node
        self.app: ASGIFramework | None = None
        self.bridge: TrioThread | None = None

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan":
            await self.lifespan(receive, send)
            return
        assert self.app is not None, "the server does not speak ASGI's lifespan protocol, which opens the node"
        if self.bridge is None:
            await self.app(scope, receive, send)
        else:
            cross = self.bridge.into_asyncio
            await self.bridge.into_trio(self.app, scope, partial(cross, receive), partial(cross, send))

    async def lifespan(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Sends its last word only when all is closed: hypercorn goes on, or cancels this task, at once."""
        problem: CaxtonError | None = None
        try:
            if _under_trio():
                await self.live(receive, send)
            else:
                log.warning(ASYNCIO_WARNING)
                async with TrioThread() as self.bridge:
                    cross = self.bridge.into_asyncio
                    await self.bridge.into_trio(self.live, partial(cross, receive), partial(cross, send))
        except Exception as error:  # here the application ends; the server makes it an exit code
            problem = as_caxton_error(error, trace_id="")
        if problem is None:
            await send({"type": "lifespan.shutdown.complete"})
            return
        message = "; ".join(filter(None, (problem.message, problem.hint)))
        if self.app is None:
            await send({"type": "lifespan.startup.failed", "message": message})
        else:
            await send({"type": "lifespan.shutdown.failed", "message": message})

    async def live(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Under Trio: from lifespan.startup to lifespan.shutdown."""
        await receive()
        async with self.open_node() as node:
            self.app = create_app(node)
            await send({"type": "lifespan.startup.complete"})
            await receive()


def _under_trio() -> bool:
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True
