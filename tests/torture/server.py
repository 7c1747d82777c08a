"""`caxton serve` in a process of its own, to be killed; and a few lines of HTTP to talk to it, over Trio's sockets."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from caxton.telemetry.failpoints import VARIABLE

READY_WITHIN = 60.0  # s; the machine may be busy
POST = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"


class ServerGone(Exception):
    """The connection ended before the answer was complete."""


@attrs.define(eq=False)
class Server:
    process: trio.Process
    port: int = 0  # 0: not ready yet
    log: Path | None = None

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    async def wait_ready(self) -> bool:
        """False: it died before."""
        said = b""
        assert self.process.stdout is not None
        with trio.fail_after(READY_WITHIN):
            while not (found := re.search(rb"http://[^\s:]+:(\d+)", said)):
                data = await self.process.stdout.receive_some()
                if not data:
                    await self.process.wait()
                    return False
                said += data
        self.port = int(found[1])
        return True

    async def deploy(self, name: str, wasm: bytes) -> None:
        config = {"name": name, "supervision": {"max_restarts": 1000}}
        await self._create({"wasm_module": base64.b64encode(wasm).decode(), "config": config})

    async def attach(self, name: str) -> None:
        """The mailbox of an agent outside."""
        await self._create({"kind": "attached", "config": {"name": name}})

    async def _create(self, body: dict[str, object]) -> None:
        async with open_connection(self.port) as http:
            status, answer = await http.post("/api/v1/agents", "application/json", json.dumps(body).encode())
        assert status == 201, answer

    async def stop(self) -> int:
        """An orderly end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        with trio.fail_after(READY_WITHIN):
            return await self.process.wait()


@asynccontextmanager
async def open_server(folder: Path, *, failpoint: str = "", sets: tuple[str, ...] = ()) -> AsyncIterator[Server]:
    """Started, not ready yet; killed at the end of the block if it still runs."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CAXTON_")}
    environment |= {"CAXTON_DATA_DIR": str(folder), "CAXTON_PORT": "0"}
    environment |= {"CAXTON_METRICS_PORT": "0", "CAXTON_GRPC_PORT": "0"}
    if failpoint:
        environment[VARIABLE] = failpoint
    options = [word for setting in sets for word in ("--set", setting)]
    log = folder.parent / "server.log"
    with log.open("ab") as stream:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "caxton.cli", *options, "serve"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stream,
        )
    try:
        yield Server(process, log=log)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        assert process.stdout is not None
        with trio.CancelScope(shield=True):
            await process.stdout.aclose()


@attrs.define(eq=False)
class Http:
    """One connection, one request at a time."""

    stream: trio.SocketStream

    async def post(self, path: str, kind: str, body: bytes) -> tuple[int, bytes]:
        try:
            await self.stream.send_all(POST % (path.encode(), kind.encode(), len(body)) + body)
            return await self._answer()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ServerGone from error

    async def _answer(self) -> tuple[int, bytes]:
        data = bytearray()
        while (head := data.find(b"\r\n\r\n")) < 0:
            data += await self._some()
        at = data.lower().index(b"content-length:", 0, head) + 15
        end = data.find(b"\r", at)
        total = head + 4 + int(data[at:end])
        while len(data) < total:
            data += await self._some()
        return int(data[9:12]), bytes(data[head + 4 : total])

    async def _some(self) -> bytes:
        data = await self.stream.receive_some(1 << 18)
        if not data:
            raise ServerGone
        return bytes(data)


@asynccontextmanager
async def open_connection(port: int) -> AsyncIterator[Http]:
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError as error:
        raise ServerGone from error
    async with stream:
        yield Http(stream)
