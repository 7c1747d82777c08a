"""Metrics: what is counted while they are on, collected when somebody asks, and pushed where that is wanted.

    records → _fast/meters (reader of the record stream) ─┐
    requests, commits, lag → telemetry/instruments ───────┼→ families → telemetry/prometheus, telemetry/otlp
    what rooms know anyway ───────────────────────────────┘

Rule 1: off means off: nothing is counted for metrics, and no task wakes up for them.
Rule 2: what is counted while they are on begins with 0 when they are turned on, or given other buckets. What rooms
        count anyway goes back to the start of the server.
Rule 3: names of agents are bounded by `agent_series`: who comes first has numbers of its own for as long as it is
        there, all others share one.
Rule 4: a collector that does not answer costs a thread that waits, and nothing else.
"""

import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from heapq import heapify, heappop, heappush
from pathlib import Path

import trio

import caxton
from caxton._fast.meters import Histogram, Meters
from caxton._fast.scheduler import UNSENT, Scheduler
from caxton.bus.delivery import dead_reason
from caxton.core.agent import AgentState
from caxton.core.config_keys import ObservabilityConfig
from caxton.core.errors import NotFound
from caxton.core.metrics import CATALOGUE, OTHER, Collected, Distribution, Family, Point
from caxton.core.performatives import ACTS_BY_CODE
from caxton.node.committer import Committer
from caxton.node.dead_letters import DeadLetters
from caxton.node.metrics import resident_bytes
from caxton.node.tracer import Tracer, resource_of
from caxton.node.webhooks import Webhooks
from caxton.runtime.replica import AgentChange
from caxton.runtime.supervisor import Runtime
from caxton.telemetry.instruments import Requests, distribution
from caxton.telemetry.otlp import Pusher
from caxton.telemetry.prometheus import render

LOOK_SECONDS = 0.5  # between two looks at how late the loop is
PUSH_SECONDS = 10.0  # that a collector has for one push, with all its attempts
TURNS = ("message", "init", "timer", "shutdown", "capabilities", "health")  # by KIND_* of envelope.pxd
OPERATION = ("caxton", "process")  # what a turn is in OpenTelemetry's words

log = logging.getLogger(__name__)

Values = Mapping[tuple[str, ...], float | Distribution]


class Counting:
    """What is counted from when metrics are turned on until they are turned off."""

    def __init__(self, bounds: Sequence[float], agent_series: int) -> None:
        self.bounds = bounds
        self.since = time.time()
        self.native = Meters(bounds, agent_series + 1)
        self.requests = Requests(bounds)
        self.commits = Histogram(bounds)
        self.lag = Histogram(bounds)
        self.exits: Counter[str] = Counter()  # by reason
        self.restarts: Counter[str] = Counter()  # by the agent's label
        self.places: dict[str, int] = {}  # of agents with numbers of their own, from 1 on
        self.free = list(range(1, agent_series + 1))
        heapify(self.free)

    def label(self, agent: str) -> str:
        return agent if agent in self.places else OTHER


class Meter:
    def __init__(
        self,
        config: ObservabilityConfig,
        scheduler: Scheduler,
        runtime: Runtime,
        committer: Committer,
        letters: DeadLetters,
        webhooks: Webhooks,
        tracer: Tracer,
        is_ready: Callable[[], bool],
        node_id: str,
    ) -> None:
        self._config = config
        self._scheduler = scheduler
        self._runtime = runtime
        self._committer = committer
        self._letters = letters
        self._webhooks = webhooks
        self._tracer = tracer
        self._is_ready = is_ready
        self._node_id = node_id
        self._started_at = time.time()
        self._changed = trio.Event()
        self._counting: Counting | None = None
        self.change(config)

    # -- on and off --

    @property
    def is_on(self) -> bool:
        return self._counting is not None

    @property
    def requests(self) -> Requests | None:
        """Where the API counts; None: it need not."""
        return self._counting.requests if self._counting is not None else None

    def change(self, config: ObservabilityConfig) -> None:
        """As the configuration says from now on."""
        wanted, counting = config.metrics, self._counting
        fits = counting is not None and (counting.bounds, len(counting.free) + len(counting.places)) == (
            wanted.histogram_buckets,
            wanted.agent_series,
        )
        self._config = config
        if wanted.enabled and not fits:
            self._counting = Counting(wanted.histogram_buckets, wanted.agent_series)
        elif not wanted.enabled:
            self._counting = None
        counting = self._counting
        self._scheduler.records.meters = counting.native if counting is not None else None
        self._committer.on_timed = counting.commits.observe if counting is not None else None
        self._changed.set()
        self._changed = trio.Event()

    async def wait_is(self, on: bool) -> None:
        """Until metrics are on, or off."""
        while self.is_on is not on:
            await self._changed.wait()

    # -- while the node is open --

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_loop)
            nursery.start_soon(self._push)

    async def _watch_loop(self) -> None:
        while True:
            await self.wait_is(True)
            due = trio.current_time() + LOOK_SECONDS
            await trio.sleep_until(due)
            if self._counting is not None:
                self._counting.lag.observe(trio.current_time() - due)

    async def _push(self) -> None:
        while True:
            if self.is_on and self._config.metrics.endpoint:
                await self._push_to(self._config.metrics.endpoint)
            else:
                await self._changed.wait()

    async def _push_to(self, endpoint: str) -> None:
        """Until metrics are off, or pushed elsewhere."""
        is_failing = False
        pusher = Pusher(endpoint, PUSH_SECONDS)
        try:
            while self.is_on and self._config.metrics.endpoint == endpoint:
                with trio.move_on_after(self._config.metrics.export_interval):
                    await self._changed.wait()
                    continue
                push = partial(pusher.push_metrics, self.collect())
                is_taken = await trio.to_thread.run_sync(push, abandon_on_cancel=True)
                if is_failing and is_taken:
                    log.info("metrics are pushed to %s again", endpoint)
                elif not is_failing and not is_taken:
                    log.warning("metrics could not be pushed to %s; trying again", endpoint)
                is_failing = not is_taken
        finally:
            pusher.close()

    def note(self, change: AgentChange) -> None:
        """A replica took a step."""
        counting = self._counting
        if counting is None or not change.exit:
            return
        counting.exits[change.exit] += 1
        if change.restarting:
            self._place(counting)  # it may have come since somebody looked
            counting.restarts[counting.label(change.name)] += 1

    # -- collecting --

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """What Prometheus reads, and its type. Raises NotFound while metrics are off."""
        collected = self.collect()
        # written in a thread: it may take some milliseconds, and the loop has others to serve
        return await trio.to_thread.run_sync(render, collected, accept)

    def collect(self) -> Collected:
        """Everything as it is now. Raises NotFound while metrics are off."""
        counting = self._counting
        if counting is None:
            raise NotFound(
                "this server keeps no metrics",
                hint="turn them on: `caxton config set observability.metrics.enabled=true`",
            )
        self._scheduler.read_records()
        families = []
        for values, since in (
            (self._counted(counting), counting.since),
            (self._by_agent(counting), counting.since),
            (self._known(), self._started_at),
            (_of_the_process(self._started_at), self._started_at),
        ):
            for name, held in values:
                points = [Point(labels, value) for labels, value in held.items()]
                families.append(Family(CATALOGUE[name], points, since))
        return Collected(families, resource_of(self._config.tracing, self._node_id), time.time())

    def _counted(self, counting: Counting) -> Iterator[tuple[str, Values]]:
        native, bounds = counting.native, counting.bounds
        yield (
            "caxton.messages.accepted",
            {
                (str(ACTS_BY_CODE.get(act, "unknown")), "outside" if outside else "agent"): count
                for (outside, act), count in native.accepted_by_act().items()
            },
        )
        yield "caxton.messages.wait.duration", {(): distribution(bounds, native.waits)}
        yield "messaging.process.duration", {OPERATION: distribution(bounds, native.turns)}
        yield (
            "caxton.turns",
            {
                (TURNS[kind], dead_reason(outcome) if outcome else "handled"): count
                for (kind, outcome), count in native.ended().items()
            },
        )
        yield "caxton.agent.exits", {(reason,): count for reason, count in counting.exits.items()}
        yield "caxton.commit.duration", {(): distribution(bounds, counting.commits)}
        yield "caxton.event_loop.lag", {(): distribution(bounds, counting.lag)}
        yield "http.server.request.duration", {tuple(labels): value for labels, value in counting.requests.points()}
        yield "caxton.http.rate_limited", {(kind,): count for kind, count in counting.requests.limited.items()}

    def _place(self, counting: Counting) -> None:
        """Numbers of their own for agents that have come, as far as they go; those of agents that are gone end."""
        for name in [name for name in counting.places if not self._runtime.knows(name)]:
            heappush(counting.free, counting.places.pop(name))
            counting.restarts.pop(name, None)
        for replica in self._runtime.replicas:
            name = replica.agent.spec.name
            if name not in counting.places and counting.free:
                place = counting.places[name] = heappop(counting.free)
                counting.native.clear(place)
            counting.native.assign(replica.port, counting.places.get(name, 0))

    def _by_agent(self, counting: Counting) -> Iterator[tuple[str, Values]]:
        self._place(counting)
        ports = [replica.port for replica in self._runtime.replicas]
        sums, longest = counting.native.gather(self._scheduler.router, ports)
        places = {**counting.places, OTHER: 0}
        ended: dict[tuple[str, ...], float] = {}
        for name, place in places.items():
            handled, failed, *_ = sums[place]
            ended[name, "handled"], ended[name, "failed"] = handled, failed
        yield "caxton.agent.messages", ended
        yield "caxton.agent.turn.time", {(name,): sums[place][2] / 1e9 for name, place in places.items()}
        yield "caxton.agent.mailbox.messages", {(name,): sums[place][3] for name, place in places.items()}
        yield "caxton.agent.backlog.messages", {(name,): sums[place][4] for name, place in places.items()}
        yield "caxton.agent.restarts", {(name,): counting.restarts[name] for name in places}
        yield "caxton.mailbox.longest", {(): longest}

    def _known(self) -> Iterator[tuple[str, Values]]:
        """What rooms count whether metrics are on or off."""
        totals = self._scheduler.totals()
        refused = self._scheduler.refusals()
        yield "caxton.messages.refused", {(dead_reason(UNSENT - code),): count for code, count in refused.items()}
        yield "caxton.mailbox.messages", {(): totals["waiting"]}
        yield "caxton.backlog.size", {(): self._scheduler.backlog_bytes}
        yield "caxton.scheduler.threads", {(): totals["threads"]}
        yield "caxton.journal.waiting", {(): totals["journal_lag_bytes"] + self._scheduler.ledger.waiting_bytes}
        yield "caxton.dead_letters", {(dead_reason(reason),): n for reason, n in self._letters.written.items()}
        yield "caxton.dead_letters.kept", {(reason,): n for reason, n in self._letters.figures["by_reason"].items()}
        states = Counter(replica.state for replica in self._runtime.replicas)
        yield "caxton.agents", {(state.value,): states[state] for state in AgentState}
        talks = self._scheduler.tracker.statistics()
        yield "caxton.conversations.open", {(): talks.open}
        yield (
            "caxton.conversation.sessions.ended",
            {(protocol, state): n for protocol, ends in talks.endings.items() for state, n in ends.items()},
        )
        yield (
            "caxton.conversation.messages",
            {
                ("moved",): talks.moved,
                ("repeated",): talks.repeated,
                ("out-of-sequence",): talks.out_of_sequence,
                ("late",): talks.late,
                ("untracked",): talks.untracked,
            },
        )
        yield (
            "caxton.conversation.sessions.expired",
            {("timed-out",): talks.timed_out, ("abandoned",): talks.abandoned},
        )
        yield "caxton.commit.failures", {(): self._committer.failures}
        yield "caxton.store.writable", {(): int(self._committer.condition == "ok")}
        yield "caxton.webhook.deliveries", {(outcome,): n for outcome, n in self._webhooks.outcomes.items()}
        yield "caxton.spans", {(outcome,): n for outcome, n in self._tracer.outcomes.items()}
        yield "caxton.ready", {(): int(self._is_ready())}


def _of_the_process(started_at: float) -> Iterator[tuple[str, Values]]:
    used = os.times()
    yield "process.cpu.time", {("user",): used.user, ("system",): used.system}
    yield "process.memory.usage", {(): resident_bytes()}
    yield "process.open_file_descriptor.count", _entries("/proc/self/fd")
    yield "process.thread.count", _entries("/proc/self/task")
    yield "process.uptime", {(): time.time() - started_at}
    yield "caxton.build.info", {(caxton.__version__, ".".join(map(str, sys.version_info[:3]))): 1}


def _entries(folder: str) -> Values:
    """How many the folder has; nothing, where the system has no such folder."""
    try:
        return {(): len(os.listdir(Path(folder)))}
    except OSError:
        return {}
