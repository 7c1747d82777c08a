"""A server in a process of its own: the real one over a temporary folder, and one route that does nothing.

It prints its port when it is ready and ends when its standard input closes, so that it cannot outlive the benchmark.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from caxton.api.app import create_app
from caxton.api.server import serve
from caxton.core.config import load_config
from caxton.node import open_node

EMPTY = "/benchmark/empty"


@contextmanager
def server() -> Iterator[int]:
    """Run it for the block; gives its port."""
    command = [sys.executable, "-m", "caxton.cli.benchmarks.server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(10)


async def main(folder: str) -> None:
    config = load_config(sets=[f"resources.disk.data_dir={folder}"], environ={})
    async with open_node(config) as node:
        app = create_app(node)

        @app.get(EMPTY)
        async def empty() -> dict[str, str]:
            return {}

        async with trio.open_nursery() as nursery:
            address = await nursery.start(_listen, app)
            print(address.port, flush=True)


async def _listen(app: object, *, task_status: object) -> None:
    async def closed() -> None:
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)

    await serve(app, "127.0.0.1", 0, shutdown_trigger=closed, task_status=task_status)  # type: ignore[arg-type]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        trio.run(main, str(Path(temporary)))
