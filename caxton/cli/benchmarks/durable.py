"""Messages that are on the disk before their sender is told, against bare inserts of the same bytes into SQLite.

A batch is BATCH messages that are posted together and acknowledged together, after the fsync; TASKS post one batch
after the other, so commits overlap with posting. The baseline inserts the same JSON texts as rows, BATCH in a
transaction, with the same settings of the same SQLite (WAL, synchronous=FULL). `accept_p50_ms` is from posting to the
acknowledgement while OFFERED messages come each second. A hop is between two guests on one thread: `hop` compares its
median with and without durability. Restart and memory are those of an agent that is away while QUEUED (MANY) messages
come.
"""

import statistics
import tempfile
import time
from pathlib import Path

import trio

from caxton._fast.wasm.module import wat2wasm
from caxton.cli.benchmarks import Result, quantile
from caxton.cli.benchmarks.guests import SINK
from caxton.cli.benchmarks.hop import Pairs
from caxton.cli.benchmarks.rest import measure_single
from caxton.core.config import load_config
from caxton.core.config_keys import Config
from caxton.core.manifest import parse_agent_config
from caxton.core.views import Receipt
from caxton.node import Node, open_node
from caxton.node.committer import Committer
from caxton.node.metrics import resident_bytes
from caxton.store import open_store
from caxton.store.database import connect

BATCH = 128
TASKS = 4
SECONDS = 1.0
ROUNDS = 3
OFFERED = 10_000
QUEUED = 100_000
MANY = 1_000_000
WARM = 150_000

MESSAGE = (
    b'{"performative":"request","sender":"client","receiver":"sink","conversation_id":"conv_789","content":'
    b'{"action":"process_data","parameters":{"x":1,"text":"the quick brown fox jumps over the lazy dog"}},'
    b'"ontology":"caxton-v1","language":"json"}'
)


def measure() -> Result:
    with tempfile.TemporaryDirectory() as folder:
        return trio.run(_measure, Path(folder))


async def _measure(folder: Path) -> Result:
    durable, bare = [], []
    async with open_node(_config(folder / "node")) as node:
        await node.agents.deploy(
            wat2wasm(SINK), parse_agent_config({"name": "sink"}, defaults=node.limits.agent_defaults)
        )
        for _ in range(ROUNDS):
            durable.append(await accepted(node))
            bare.append(await trio.to_thread.run_sync(_inserted, folder / "bare.db"))
        latencies = await paced(node)
    durable_rate, bare_rate = statistics.median(durable), statistics.median(bare)
    kept = await _hop(folder / "hop", durable=True)
    plain = await _hop(folder / "plain", durable=False)
    restart, _ = await _away(folder / "restart", QUEUED, warm=0)
    _, growth = await _away(folder / "many", MANY, warm=WARM)
    single = await trio.to_thread.run_sync(measure_single, 32)
    return {
        "figures": {
            "accepted_per_second": durable_rate,
            "rest_accepted_per_second": single,
            "accept_p50_ms": quantile(latencies, 0.5),
            "accept_p99_ms": quantile(latencies, 0.99),
            "hop_p50_us": kept[0],
            "hop_messages_per_second": kept[1],
            "restart_seconds": restart,
            "away_megabytes": growth / 1e6,
            "message_bytes": len(MESSAGE),
        },
        "baseline": {"bare_sqlite_per_second": bare_rate, "volatile_hop_p50_us": plain[0]},
        "ratios": {"vs_bare_sqlite": durable_rate / bare_rate, "hop": kept[0] / plain[0]},
    }


def _config(folder: Path, *more: str) -> Config:
    return load_config(sets=[f"resources.disk.data_dir={folder}", *more], environ={})


async def accepted(node: Node) -> float:
    """Messages per second that were acknowledged after the fsync."""
    done = 0
    until = time.perf_counter() + SECONDS
    lines = [MESSAGE] * BATCH

    async def post() -> None:
        nonlocal done
        while time.perf_counter() < until:
            outcomes = await node.bus.settle(node.bus.post_many(lines))
            done += sum(isinstance(outcome, Receipt) for outcome in outcomes)
            await trio.lowlevel.checkpoint()

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(TASKS):
            nursery.start_soon(post)
    return done / (time.perf_counter() - began)


def _inserted(path: Path) -> float:
    """Rows per second of bare SQLite."""
    connection = connect(path)
    connection.execute("CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, record BLOB NOT NULL)")
    rows = [(MESSAGE,)] * BATCH
    done = 0
    began = time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        with connection:
            connection.executemany("INSERT INTO messages (record) VALUES (?)", rows)
        done += BATCH
    rate = done / (time.perf_counter() - began)
    connection.close()
    return rate


async def paced(node: Node) -> list[float]:
    """Milliseconds to the acknowledgement of single messages, OFFERED of which come each second."""
    times: list[float] = []

    async def post() -> None:
        began = time.perf_counter()
        await node.bus.settle([node.bus.post(MESSAGE)])
        times.append((time.perf_counter() - began) * 1e3)

    async with trio.open_nursery() as nursery:
        began = time.perf_counter()
        sent = 0
        while (now := time.perf_counter() - began) < 2 * SECONDS:
            while sent < now * OFFERED:
                nursery.start_soon(post)
                sent += 1
            await trio.sleep(0.001)
    return times


async def _hop(folder: Path, *, durable: bool) -> tuple[float, float]:
    """Median in us, and messages per second, of two guests on one thread."""
    async with open_store(folder) as store, trio.open_nursery() as nursery:
        pairs = Pairs(2, 1, boot=store.meta.boot if durable else 0)
        committer = Committer(pairs.scheduler, store)

        async def pump() -> None:
            while True:
                await trio.lowlevel.wait_readable(pairs.scheduler.wake_fd)
                pairs.scheduler.drain()
                committer.look()

        nursery.start_soon(pump)
        nursery.start_soon(committer.run)
        pairs.start(1)
        await trio.sleep(0.3)
        pairs.scheduler.records.forget_hops()
        before = pairs.scheduler.totals()["turns"]
        await trio.sleep(SECONDS)
        rate = (pairs.scheduler.totals()["turns"] - before) / SECONDS
        p50 = pairs.scheduler.records.hop_quantile(0.5) / 1000
        nursery.cancel_scope.cancel()
        pairs.scheduler.stop()
    return p50, rate


async def _away(folder: Path, count: int, *, warm: int) -> tuple[float, int]:
    """Seconds from opening the folder to a node that is ready, and bytes that so many waiting messages cost."""
    config = _config(folder, f"messaging.offline_queue_size={2 * (count + warm)}", "messaging.offline_queue_bytes=4GB")
    async with open_node(config) as node:
        agent = parse_agent_config({"name": "sink"}, defaults=node.limits.agent_defaults)
        await node.agents.attach(agent)
        await _fill(node, warm)  # the recent messages, and a full mailbox: memory that any traffic takes
        before = resident_bytes()
        await _fill(node, count)
        growth = resident_bytes() - before
    began = time.perf_counter()
    async with open_node(config) as node:
        return time.perf_counter() - began, growth


async def _fill(node: Node, count: int) -> None:
    lines = [MESSAGE] * 1000
    for _ in range(count // len(lines)):
        for outcome in await node.bus.settle(node.bus.post_many(lines)):
            if not isinstance(outcome, Receipt):
                raise outcome
