"""`hypercorn -k trio caxton.app:app`: the server for those who bring their own ASGI server.

Configured by the environment alone (`CAXTON_CONFIG_PATH`, `CAXTON_DATA_DIR`, ...). Importing this opens nothing.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from caxton.api.lifespan import Application
from caxton.api.ports import Node
from caxton.core.config import load
from caxton.core.errors import InvalidConfig
from caxton.node import open_node
from caxton.secrets import fetch
from caxton.telemetry import logs


@asynccontextmanager
async def open_configured_node() -> AsyncIterator[Node]:
    read = partial(load, environ=os.environ, fetch=fetch)
    loaded = await trio.to_thread.run_sync(read)
    if loaded.config.server.tls.enabled:
        raise InvalidConfig(
            "server.tls.enabled: this server's connections are another program's business, it has to do the TLS",
            hint="`hypercorn --certfile … --keyfile …` with the key off, or `caxton serve`",
        )
    logs.start(loaded.config.observability.logging)
    async with open_node(loaded, read) as node:
        yield node


app = Application(open_configured_node)
