"""POST /api/v1/messages against an empty quart-trio route of the same server, each kept busy by CONNECTIONS.

The server is a process of its own; the client is a few lines over bare sockets, so that the server is the bottleneck.
The receiver is a guest that does nothing. Rates are medians of alternating rounds. A batch is BATCH messages in one
NDJSON request.
"""

import base64
import statistics
import time

import trio

from caxton._fast.wasm.module import wat2wasm
from caxton.cli.benchmarks import Result
from caxton.cli.benchmarks.guests import SINK
from caxton.cli.benchmarks.server import EMPTY, server
from caxton.cli.client import Client

CONNECTIONS = 16
SECONDS = 1.5
ROUNDS = 3
BATCH = 2000

MESSAGE = b'{"performative":"inform","receiver":"sink","content":{"text":"the quick brown fox jumps over"}}'
POST = b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"


def measure() -> Result:
    with server() as port:
        deploy(port, "sink", wat2wasm(SINK))
        single = POST % (b"application/json", len(MESSAGE), MESSAGE)
        lines = b"\n".join([MESSAGE] * BATCH)
        batch = POST % (b"application/x-ndjson", len(lines), lines)
        empty = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % EMPTY.encode()
        rates: dict[str, list[float]] = {"empty": [], "single": [], "batch": []}
        for _ in range(ROUNDS):
            rates["empty"].append(trio.run(_rate, port, empty, CONNECTIONS))
            rates["single"].append(trio.run(_rate, port, single, CONNECTIONS))
            rates["batch"].append(trio.run(_rate, port, batch, 2) * BATCH)
    empty_rate, single_rate, batch_rate = (statistics.median(rates[name]) for name in ("empty", "single", "batch"))
    return {
        "figures": {"messages_per_second": single_rate, "batch_messages_per_second": batch_rate},
        "baseline": {"empty_route_per_second": empty_rate},
        "ratios": {"rate": single_rate / empty_rate, "batch_vs_single": batch_rate / single_rate},
    }


def measure_single(connections: int) -> float:
    """Single POSTs per second, each answered when it is on the disk."""
    with server() as port:
        deploy(port, "sink", wat2wasm(SINK))
        request = POST % (b"application/json", len(MESSAGE), MESSAGE)
        return statistics.median(trio.run(_rate, port, request, connections) for _ in range(ROUNDS))


def deploy(port: int, name: str, wasm: bytes) -> None:
    """One agent, over the same REST API."""
    body = {"wasm_module": base64.b64encode(wasm).decode(), "config": {"name": name}}
    Client(f"http://127.0.0.1:{port}").request("POST", "/api/v1/agents", what="Not deployed", body=body)


async def _rate(port: int, request: bytes, connections: int) -> float:
    """Requests per second."""
    done = 0
    until = trio.current_time() + SECONDS

    async def client() -> None:
        nonlocal done
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            while trio.current_time() < until:
                await stream.send_all(request)
                await _read_answer(stream)
                done += 1

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(connections):
            nursery.start_soon(client)
    return done / (time.perf_counter() - began)


async def _read_answer(stream: trio.SocketStream) -> None:
    data = bytearray()
    while (head := data.find(b"\r\n\r\n")) < 0:
        data += await _some(stream)
    assert data[9:10] == b"2", bytes(data[:400])
    at = data.lower().index(b"content-length:", 0, head) + 15
    left = head + 4 + int(data[at : data.index(b"\r", at)]) - len(data)
    while left > 0:
        left -= len(await _some(stream))


async def _some(stream: trio.SocketStream) -> bytes:
    data = await stream.receive_some(1 << 18)
    assert data, "the server closed the connection"
    return bytes(data)
