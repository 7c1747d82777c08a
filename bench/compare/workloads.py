"""What is counted: run under callgrind on one build, dumps the instructions of N and of 2N operations of each.

    valgrind --tool=callgrind --instr-atstart=no ... python -P workloads.py counting.so ROOT [NAME ...]

Rule 1: both revisions run this file, so it takes from Caxton only what has been there for long; its guests are here.
Rule 2: a workload makes what it needs, and gives a function that does its operation so many times, and how many are
        enough; the difference of two counts is free of everything that is done once.
        Each is counted ROUNDS times; where threads meet by chance, the smallest count has least of it.
Rule 3: nothing depends on time or chance: one thread where possible, no collector, one epoch for everything.
Rule 4: no guest traps: a trap is a signal whose handler does not return, on which callgrind gives up (its assertion
        `sigNum == vgCallgrind_current_state.sig`); so there is no restart here.
"""

import ctypes
import gc
import itertools
import json
import select
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from random import Random

Workload = tuple[Callable[[int], object], int]
ROUNDS = 3
WORKLOADS: dict[str, Callable[[], Workload]] = {}

REQUEST = json.dumps(
    {
        "performative": "request",
        "sender": "agent_17",
        "receiver": "agent_00004711",
        "content": {"action": "process", "order": {"total": 250}, "text": "the quick brown fox jumps over a dog"},
        "conversation_id": "conv_789",
        "reply_with": "msg_001",
        "ontology": "caxton-v1",
        "language": "json",
        "protocol": "fipa-request",
    },
    separators=(",", ":"),
).encode()

SINK = """
(module
  (memory (export "memory") 1)
  (func (export "handle_message") (param i32 i32) (result i32) (i32.const 0)))
"""

# Answers every message by one to the other; the one that counts stops at its TURNS-th and stores a new value, which is
# the word to the outside that the round is over.
TURNS = 500
COUNTING = """
(module
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (import "caxton" "store_data" (func $store (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $left (mut i32) (i32.const %(turns)d))
  (data (i32.const 16) "over")
  (data (i32.const 4096) "%(message)s")
  (func (export "handle_message") (param i32 i32) (result i32)
    (global.set $left (i32.sub (global.get $left) (i32.const 1)))
    (if (i32.eqz (global.get $left)) (then
      (global.set $left (i32.const %(turns)d))
      (i32.store (i32.const 32) (i32.add (i32.load (i32.const 32)) (i32.const 1)))
      (return (call $store (i32.const 16) (i32.const 4) (i32.const 32) (i32.const 4)))))
    (call $send (i32.const 4096) (i32.const %(length)d))))
"""


def workload(make: Callable[[], Workload]) -> Callable[[], Workload]:
    WORKLOADS[make.__name__.replace("_", " ")] = make
    return make


# -- messages --


def native(what: str) -> Workload:
    from caxton._fast.envelope import _bench

    return lambda count: _bench(REQUEST, count, what), 2000


@workload
def envelope_parse() -> Workload:
    return native("parse")


@workload
def envelope_write() -> Workload:
    return native("write")


@workload
def envelope_frame() -> Workload:
    return native("frame")


@workload
def envelope_from_frame() -> Workload:
    return native("from_frame")


@workload
def mailbox() -> Workload:
    """One message in and out."""
    from caxton._fast.envelope import Envelope
    from caxton._fast.mailbox import Mailbox

    box, message = Mailbox(1000), Envelope.from_json(REQUEST)

    def work(count: int) -> None:
        for _ in range(count // 100):
            for _ in range(100):
                box.push(message)
            while box.pop() is not None:
                pass

    return work, 4000


@workload
def content_filter() -> Workload:
    from caxton._fast.content_filter import ContentFilter

    matching = ContentFilter(b'{"order.total": {"gte": 100}, "action": "process"}')
    content = b'{"action":"process","order":{"total":250},"text":"the quick brown fox jumps over the lazy dog"}'
    return lambda count: matching.count_matches(content, count), 2000


# -- where they go --


def resolving(address: str) -> Workload:
    from caxton._fast.envelope import Envelope
    from caxton._fast.router import Router

    router = Router("here")
    for number in range(1000):
        port = router.open_port(f"agent {number}")
        router.join_group(port, str(number // 10))
        router.subscribe(port, f"orders.{number // 20}")
    message = Envelope.make(performative="inform", receiver=address, content=b"1", conversation_id="c")
    return lambda count: router.count_resolved(message, count), 2000


@workload
def router_name() -> Workload:
    return resolving("agent 471")


@workload
def router_group_of_10() -> Workload:
    return resolving("broadcast://7")


@workload
def router_topic_of_20() -> Workload:
    return resolving("topic:orders.7")


# -- what is kept --


@workload
def journal() -> Workload:
    """A record with its message in and out."""
    from caxton._fast.envelope import Envelope
    from caxton._fast.journal import Ring

    ring, message = Ring(1 << 20), Envelope.from_json(REQUEST)

    def work(count: int) -> None:
        for _ in range(count // 100):
            for _ in range(100):
                ring.append(1, 1, message)
            ring.drain()

    return work, 2000


@workload
def history() -> Workload:
    from caxton._fast.envelope import Envelope
    from caxton._fast.history import History
    from caxton._fast.router import Router

    kept, message = History(Router(), 1000, 1 << 20), Envelope.from_json(REQUEST)

    def work(count: int) -> None:
        for _ in range(count):
            kept.accept(message)

    return work, 4000


@workload
def state() -> Workload:
    """A value stored, read and committed."""
    from caxton._fast.state import State

    store = State(1 << 20)
    return lambda count: store.count_turns(b"a key of some length", b"x" * 100, count), 2000


# -- vectors --


def floats(count: int) -> "array[float]":
    return array("f", array("b", Random(1).randbytes(count)))


def rows_and_query() -> "tuple[memoryview, array[float]]":
    rows = memoryview(floats(512 * 256)).cast("B").cast("f", (512, 256))
    return rows, array("f", reversed(floats(256)))


@workload
def vectors_block() -> Workload:
    """The best 3 of 512 rows of 256 that were prepared."""
    from caxton._fast.vectors import Block

    rows, query = rows_and_query()
    block = Block(rows, 256)

    def work(count: int) -> None:
        for _ in range(count):
            block.top_k(query, 3)

    return work, 20


@workload
def vectors_scan() -> Workload:
    from caxton._fast.vectors import top_k

    rows, query = rows_and_query()

    def work(count: int) -> None:
        for _ in range(count):
            top_k(rows, query, 3)

    return work, 20


# -- agents --


def engine():
    """Small: valgrind has no room for a pool of 4 GiB each."""
    from caxton._fast.wasm.engine import Engine

    return Engine(pool_slots=256, max_memory=1 << 20, memory_reservation=1 << 20)


def alone(text: str):
    from caxton._fast.wasm.instance import Instance
    from caxton._fast.wasm.module import Module, wat2wasm

    shared = engine()
    instance = Instance(shared, Module.compile(shared, wat2wasm(text)))
    instance.spawn()
    return instance


@workload
def turn() -> Workload:
    """A message into a guest and its handle_message."""
    from caxton._fast.envelope import Envelope

    instance, message = alone(SINK), Envelope.from_json(REQUEST)
    return lambda count: instance.time_turns(message, count), 1000


@workload
def spawn() -> Workload:
    """An instance made and freed."""
    return alone(SINK).time_spawns, 100


def wait(scheduler, events: int, wanted: int) -> None:
    """For so many events of a kind."""
    while events > 0:
        if not select.select([scheduler.wake_fd], [], [], 60.0)[0]:
            raise RuntimeError("the scheduler gave no answer within 60 s")
        events -= sum(kind == wanted for kind, *_ in scheduler.drain())


def one_thread():
    from caxton._fast.scheduler import Scheduler

    shared = engine()
    scheduler = Scheduler(shared, threads=1, slice_us=10_000_000)
    scheduler.start()
    return shared, scheduler


@workload
def submit() -> Workload:
    """A message from outside to outside: parsed, routed, recorded, received by Python."""
    _, scheduler = one_thread()
    port = scheduler.open_port("agent_00004711", host=True)

    def work(count: int) -> None:
        for _ in range(count // 100):
            for _ in range(100):
                scheduler.submit(REQUEST)
            scheduler.receive(port, 100)
            scheduler.drain()

    return work, 1000


@workload
def hop() -> Workload:
    """From guest to guest, with record and history, on one scheduler thread."""
    from caxton._fast.scheduler import EVENT_STARTED, EVENT_STATE
    from caxton._fast.wasm.module import Module, wat2wasm

    shared, scheduler = one_thread()
    for name, partner, turns in (("asker", "echo", TURNS), ("echo", "asker", 1 << 30)):
        message = REQUEST.replace(b"agent_00004711", partner.encode())
        escaped = "".join(f"\\{byte:02x}" for byte in message)
        text = COUNTING % {"turns": turns, "message": escaped, "length": len(message)}
        module = Module.compile(shared, wat2wasm(text))
        scheduler.spawn(scheduler.open_port(name), module, memory=1 << 20, timeout_ns=60 * 10**9)
    wait(scheduler, 2, EVENT_STARTED)

    def work(count: int) -> None:
        for _ in range(count // (2 * TURNS)):
            scheduler.submit(b'{"performative":"inform","receiver":"asker"}')
            wait(scheduler, 1, EVENT_STATE)

    return work, 4 * TURNS


@workload
def ask_for_agent() -> Workload:
    """An address and an instance asked for; no thread makes it, because how two threads meet is chance (4 %)."""
    from caxton._fast.scheduler import Scheduler
    from caxton._fast.wasm.module import Module, wat2wasm

    shared = engine()
    scheduler, module = Scheduler(shared, threads=1), Module.compile(shared, wat2wasm(SINK))
    numbers = itertools.count(100_000)

    def work(count: int) -> None:
        for _ in range(count):
            port = scheduler.open_port(f"agent {next(numbers)}")
            scheduler.spawn(port, module, memory=1 << 20, timeout_ns=10**9)

    return work, 500


def main(library: str, root: str, names: list[str]) -> None:
    """Print, as the last line, {workload: operations counted, or why it could not be}."""
    import caxton

    assert caxton.__file__ is not None
    assert Path(caxton.__file__).is_relative_to(root), f"caxton is {caxton.__file__}, not of {root}"
    said: dict[str, int | str] = {}
    counting = ctypes.CDLL(library)
    gc.disable()
    counting.begin()
    for name, make in WORKLOADS.items():
        if names and name not in names:
            continue
        try:
            work, count = make()
            work(count)
            counting.dump(b"-")
            for _ in range(ROUNDS):
                work(count)
                counting.dump(f"{name}: once".encode())
                work(2 * count)
                counting.dump(f"{name}: twice".encode())
            said[name] = count
        except Exception as error:  # another revision may lack it; the table says so
            said[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
