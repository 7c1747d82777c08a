"""Messages over one agent stream in binary batch frames, there and back.

An agent outside (this process, trio-websocket) sends batches of BATCH messages to a guest in the server, which answers
each; the answers come back in batch frames and are acknowledged. `messages_per_second` counts what crosses the stream
in both directions; `round_trips_per_second` is half of it.
"""

import json
import time

import trio
from trio_websocket import WebSocketConnection, open_websocket

from caxton._fast.wasm.module import wat2wasm
from caxton.api.batch import join_batch, split_batch
from caxton.cli.benchmarks import Result
from caxton.cli.benchmarks.guests import relay
from caxton.cli.benchmarks.rest import deploy
from caxton.cli.benchmarks.server import server

BATCH = 500
MESSAGES = 100_000
IN_FLIGHT = 4000

NAME = "outside"
MESSAGE = {"performative": "request", "receiver": "answerer", "content": {"text": "the quick brown fox jumps"}}
ANSWER = {"performative": "inform", "receiver": NAME, "content": {"text": "the quick brown fox jumps"}}


def measure() -> Result:
    with server() as port:
        deploy(port, "answerer", wat2wasm(relay(json.dumps(ANSWER, separators=(",", ":")))))
        seconds = trio.run(_carry, port)
    return {
        "figures": {
            "messages_per_second": 2 * MESSAGES / seconds,
            "round_trips_per_second": MESSAGES / seconds,
            "batch": BATCH,
        },
        "baseline": {},
        "ratios": {},
    }


async def _carry(port: int) -> float:
    url = f"ws://127.0.0.1:{port}/api/v1/agents/{NAME}/stream?create=1&batch=1"
    frame = join_batch([json.dumps(MESSAGE, separators=(",", ":")).encode()] * BATCH)
    room = trio.Semaphore(IN_FLIGHT // BATCH)
    async with open_websocket(*_parts(url), use_ssl=False, max_message_size=1 << 24) as socket:
        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send, socket, frame, room)
            await _receive(socket, room)
        return time.perf_counter() - began


def _parts(url: str) -> tuple[str, int, str]:
    host, _, rest = url.removeprefix("ws://").partition(":")
    port, _, path = rest.partition("/")
    return host, int(port), "/" + path


async def _send(socket: WebSocketConnection, frame: bytes, room: trio.Semaphore) -> None:
    for _ in range(MESSAGES // BATCH):
        await room.acquire()
        await socket.send_message(frame)


async def _receive(socket: WebSocketConnection, room: trio.Semaphore) -> None:
    """Until every answer is here and acknowledged."""
    answers = whole = 0
    while answers < MESSAGES:
        data = await socket.get_message()
        if isinstance(data, str):
            for receipt in json.loads(data)["receipts"]:
                assert "message_id" in receipt, receipt
            continue
        messages = split_batch(data)
        answers += len(messages)
        ids = [json.loads(message)["message_id"] for message in messages]
        await socket.send_message(json.dumps({"type": "ack", "message_ids": ids}))
        while whole < answers // BATCH:
            whole += 1
            room.release()
