"""Caxton, on the native path that its server uses.

round_trip  Two guests on one scheduler thread, with parsing, routing, mailboxes, record and history on. The asking
            guest times itself with the WASI clock, from one of its turns to the next, and hands the times out as
            state. Each message carries 64 bytes of content; the whole JSON is longer.
together    1,000 agents on the scheduler: addresses and mailboxes, instances made by the scheduler threads, and the
            word back that each is up, in batches. They are taken away before the next thousand.
in_new_pool The same, each thousand in an engine of its own: the slots of its pool were never used.
spawn       One agent on the scheduler, until the word that it is up is back.
ahead       The same without waiting for the word: the agent takes messages, like a process that Erlang has spawned.
            The last one waits until all are up, so that the rate is one of finished agents.
supervised  `Runtime.start`, one agent at a time: the same with a supervisor's child, a Trio task, lifecycle records.
supervised_together
            `Runtime.start` of an agent with 1,000 replicas, divided by them.
instance    The instance alone: store, look-up of exports, init; freed before the next, outside of the measured time.
wasm_call   A message of 64 bytes into a guest's memory and its `handle_message` as a whole turn on a fiber.
"""

import itertools
import select
import struct
import time
from contextlib import contextmanager
from functools import partial

import trio

from bench.peers.adapter import PAYLOAD, SINK, TOGETHER, main, timed, timed_together
from caxton._fast.scheduler import EVENT_EXITED, EVENT_STARTED, EVENT_STATE, EVENT_UNDELIVERED, Scheduler
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.instance import Instance
from caxton._fast.wasm.module import Module, wat2wasm
from caxton.cli.benchmarks.call import message_of
from caxton.core.manifest import AgentConfig, AgentSpec
from caxton.runtime.supervisor import open_runtime

PAGE = 65_536

# Sends a message in every turn, notes the time between turns, and after %(count)d times stores them, 4 bytes each.
ASKER = """
(module
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (import "caxton" "store_data" (func $store (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") %(pages)d)
  (global $turns (mut i32) (i32.const -1))
  (global $began (mut i64) (i64.const 0))
  (data (i32.const 16) "times")
  (data (i32.const 1024) "%(message)s")
  (func (export "caxton_alloc") (param i32) (result i32) (i32.const 4096))
  (func (export "handle_message") (param i32 i32) (result i32)
    (local $now i64)
    (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 8)))
    (local.set $now (i64.load (i32.const 8)))
    (if (i32.ge_s (global.get $turns) (i32.const 0)) (then
      (i32.store
        (i32.add (i32.const 65536) (i32.shl (global.get $turns) (i32.const 2)))
        (i32.wrap_i64 (i64.sub (local.get $now) (global.get $began))))))
    (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
    (if (i32.eq (global.get $turns) (i32.const %(count)d)) (then
      (return (call $store
        (i32.const 16) (i32.const 5) (i32.const 65536) (i32.shl (global.get $turns) (i32.const 2))))))
    (global.set $began (local.get $now))
    (call $send (i32.const 1024) (i32.const %(length)d))))
"""

ECHO = """
(module
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "%(message)s")
  (func (export "caxton_alloc") (param i32) (result i32) (i32.const 4096))
  (func (export "handle_message") (param i32 i32) (result i32)
    (call $send (i32.const 1024) (i32.const %(length)d))))
"""


def guest(text, receiver, count=0):
    message = b'{"performative":"inform","receiver":"%s","content":"%s"}' % (receiver, PAYLOAD)
    escaped = "".join(f"\\{byte:02x}" for byte in message)
    pages = 1 + (4 * count + PAGE - 1) // PAGE
    return wat2wasm(text % {"message": escaped, "length": len(message), "count": count, "pages": pages})


def round_trip(count):
    room = (4 * count // PAGE + 2) * PAGE
    engine = Engine(pool_slots=16, max_memory=max(room, 1 << 20))
    scheduler = Scheduler(engine, threads=1)
    scheduler.start()
    try:
        for name, wasm in (("a", guest(ASKER, b"b", count)), ("b", guest(ECHO, b"a"))):
            port, module = scheduler.open_port(name), Module.compile(engine, wasm)
            scheduler.spawn(port, module, memory=room, timeout_ns=10**9, state_quota=room)
        scheduler.submit(b'{"performative":"inform","receiver":"a"}')
        return wait_for_times(scheduler)
    finally:
        scheduler.stop()


def wait_for_times(scheduler):
    while True:
        if not select.select([scheduler.wake_fd], [], [], 30.0)[0]:
            raise RuntimeError("the guests have not come to an end within 30 s")
        for kind, _, _, what in scheduler.drain():
            if kind == EVENT_STATE:
                [(_, value)] = what
                return struct.unpack(f"<{len(value) // 4}I", value)
            if kind in (EVENT_EXITED, EVENT_UNDELIVERED):
                raise RuntimeError(f"the round trip broke: {what}")


def instance(count):
    engine = Engine(pool_slots=64)
    return Instance(engine, Module.compile(engine, wat2wasm(SINK))).time_spawns(count)


def wasm_call(count):
    engine = Engine(pool_slots=16)
    agent = Instance(engine, Module.compile(engine, wat2wasm(SINK)))
    agent.spawn()
    message = message_of(64)
    return [agent.time_turns(message, 1) for _ in range(count)]


def spawn(count):
    return spawn_all(count, waiting=True)


def ahead(count):
    return spawn_all(count, waiting=False)


def spawn_all(count, waiting):
    engine = Engine(pool_slots=count + 16)
    scheduler = Scheduler(engine)
    scheduler.start()
    module = Module.compile(engine, wat2wasm(SINK))
    numbers = itertools.count(1)
    up = 0

    def start():
        nonlocal up
        number = next(numbers)
        scheduler.spawn(scheduler.open_port(f"agent-{number}"), module, memory=1 << 20, timeout_ns=10**9)
        if waiting or number == count:
            wait_for(scheduler, EVENT_STARTED, number - up)
            up = number

    try:
        return timed(count, start)
    finally:
        scheduler.stop()


def together(count):
    with started_scheduler() as (scheduler, module):
        return timed_together(count, lambda size: bring_up(scheduler, module, size), partial(take_down, scheduler))


def in_new_pool(count):
    times = []
    for _ in range(count):
        with started_scheduler() as (scheduler, module):
            times += timed_together(1, partial(bring_up, scheduler, module))
    return times


@contextmanager
def started_scheduler():
    engine = Engine(pool_slots=TOGETHER + 16)
    scheduler = Scheduler(engine)
    scheduler.start()
    try:
        yield scheduler, Module.compile(engine, wat2wasm(SINK))
    finally:
        scheduler.stop()


def bring_up(scheduler, module, size):
    ports = []
    for number in range(size):
        port = scheduler.open_port(f"agent-{number}")
        scheduler.spawn(port, module, memory=1 << 20, timeout_ns=10**9)
        ports.append(port)
    wait_for(scheduler, EVENT_STARTED, size)
    return ports


def take_down(scheduler, ports):
    for port in ports:
        scheduler.drop(port)
    wait_for(scheduler, EVENT_EXITED, len(ports))
    for port in ports:
        scheduler.close_port(port)


def wait_for(scheduler, kind, count):
    while count > 0:
        if not select.select([scheduler.wake_fd], [], [], 10.0)[0]:
            raise RuntimeError(f"{count} events of kind {kind} did not come within 10 s")
        count -= sum(happened == kind for happened, *_ in scheduler.drain())


def supervised(count):
    return trio.run(start_agents, count, 1)


def supervised_together(count):
    return trio.run(start_agents, count, TOGETHER)


async def start_agents(count, replicas):
    """Times of *count* starts of an agent with so many replicas, divided by them; a large one goes before the next."""
    engine = Engine(pool_slots=(count if replicas == 1 else 1) * replicas + 16)
    scheduler = Scheduler(engine)
    scheduler.start()
    times = []
    try:
        module = Module.compile(engine, wat2wasm(SINK))
        async with open_runtime(scheduler, on_change=ignore) as runtime:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump, scheduler, runtime)
                for number in range(count):
                    config = AgentConfig(name=f"agent-{number}", replicas=replicas)
                    spec = AgentSpec(name=config.name, kind="wasm", module="", config=config, created_at=0.0)
                    began = time.perf_counter_ns()
                    await runtime.start(spec, module)
                    times.append((time.perf_counter_ns() - began) // replicas)
                    if replicas > 1:
                        await runtime.delete(config.name)
                nursery.cancel_scope.cancel()
    finally:
        scheduler.stop()
    return times


def ignore(change):
    """A step of an agent: the server would write it down later, in batches."""


async def pump(scheduler, runtime):
    while True:
        await trio.lowlevel.wait_readable(scheduler.wake_fd)
        for event in scheduler.drain():
            runtime.handle(event)


if __name__ == "__main__":
    workloads = (
        round_trip,
        together,
        in_new_pool,
        supervised_together,
        spawn,
        ahead,
        supervised,
        instance,
        wasm_call,
    )
    main("Caxton", "caxton", {workload.__name__: workload for workload in workloads})
