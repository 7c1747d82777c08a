"""Every metric there is: its name, kind, unit, labels, and what it means.

Rule 1: names are OpenTelemetry's where its semantic conventions have one (`messaging.*`, `http.*`, `process.*`), else
        begin with `caxton.`. Prometheus' names are made from them as OpenTelemetry says: `.` is `_`, the unit comes
        behind it, and `_total` behind a counter.
Rule 2: labels have few values. Names of agents are anybody's choice, so whoever collects bounds them.
Rule 3: nothing here counts; `node/meter.py` collects what others have counted, `telemetry/` writes it down.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

OTHER = "(other)"  # of agents without numbers of their own; no agent can have this name

UNITS = {"s": "seconds", "By": "bytes"}


class Metric(NamedTuple):
    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str  # UCUM: s, By, or {what is counted}
    meaning: str
    labels: Sequence[str] = ()
    prometheus_name: str = ""  # where the rule makes one that Prometheus' own tools complain of

    @property
    def prometheus(self) -> str:
        """Its name there, without the endings of single lines (`_total`, `_bucket`, …)."""
        if self.prometheus_name:
            return self.prometheus_name
        name = re.sub(r"[^a-zA-Z0-9]+", "_", self.name)
        unit = UNITS.get(self.unit, "")
        return name if not unit or name.endswith(f"_{unit}") else f"{name}_{unit}"

    @property
    def exposed(self) -> str:
        """As one asks Prometheus for it; a histogram's lines are this with `_bucket`, `_sum` and `_count`."""
        return f"{self.prometheus}_total" if self.kind == "counter" else self.prometheus


class Distribution(NamedTuple):
    """What a histogram holds."""

    bounds: Sequence[float]  # in seconds
    counts: Sequence[int]  # in each bucket by itself; one more than there are bounds
    sum: float


class Point(NamedTuple):
    labels: Sequence[str]  # values, in the order of the metric's labels
    value: float | Distribution


class Family(NamedTuple):
    metric: Metric
    points: Sequence[Point]
    since: float  # when a counter began with 0, seconds since the epoch


class Collected(NamedTuple):
    families: Sequence[Family]
    resource: Mapping[str, str]  # who this is, as OpenTelemetry has it
    at: float


OPERATION = ("messaging.system", "messaging.operation.name")

CATALOGUE: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        # -- messages --
        Metric(
            "caxton.messages.accepted", "counter", "{message}",
            "Messages that were accepted, by their act and by who sent them: `agent`, or `outside` (API, other "
            "platforms, the platform's own agents).",
            ("performative", "source"),
        ),
        Metric(
            "caxton.messages.refused", "counter", "{message}",
            "Messages that were not accepted, by reason. What a guest's own call has refused it is not among them.",
            ("reason",),
        ),
        Metric(
            "caxton.messages.wait.duration", "histogram", "s",
            "Delivery latency: from the mailbox to the start of the turn, of messages to WebAssembly agents.",
        ),
        Metric(
            "messaging.process.duration", "histogram", "s",
            "How long the turns of messages took, inside the agent and with what it was kept waiting for there.",
            OPERATION,
        ),
        Metric(
            "caxton.turns", "counter", "{turn}",
            "Turns that ended, by what was asked (`message`, `timer`, `init`, `shutdown`, `capabilities`, `health`) "
            "and by how they ended (`handled`, or a reason).",
            ("kind", "outcome"),
        ),
        Metric(
            "caxton.dead_letters", "counter", "{message}",
            "Dead letters that were written, by reason.", ("reason",),
        ),
        Metric(
            "caxton.dead_letters.kept", "gauge", "{message}",
            "Dead letters that are kept now, by reason.", ("reason",),
        ),
        Metric("caxton.mailbox.messages", "gauge", "{message}", "Messages that wait in all mailboxes."),
        Metric("caxton.mailbox.longest", "gauge", "{message}", "Messages that wait in an agent's longest mailbox."),
        Metric("caxton.backlog.size", "gauge", "By", "What waits in the store for agents that are away or behind."),
        # -- agents --
        Metric("caxton.agents", "gauge", "{agent}", "Replicas of agents by their state.", ("state",)),
        Metric(
            "caxton.agent.exits", "counter", "{exit}",
            "Ends of replicas' lives by reason: `trap`, `timeout`, …; `normal` when they were stopped.", ("reason",),
        ),
        Metric(
            "caxton.agent.restarts", "counter", "{restart}",
            "Ends after which the supervisor starts the replica again.", ("agent",),
        ),
        Metric(
            "caxton.agent.messages", "counter", "{message}",
            "Messages that an agent was given, by how that ended: `handled`, `failed`.", ("agent", "outcome"),
        ),
        Metric("caxton.agent.turn.time", "counter", "s", "Time that an agent's turns took, all together.", ("agent",)),
        Metric("caxton.agent.mailbox.messages", "gauge", "{message}", "Messages in an agent's mailboxes.", ("agent",)),
        Metric(
            "caxton.agent.backlog.messages", "gauge", "{message}",
            "Messages that wait for an agent in the store.", ("agent",),
        ),
        # -- conversations --
        Metric("caxton.conversations.open", "gauge", "{conversation}", "Conversations that are open."),
        Metric(
            "caxton.conversation.sessions.ended", "counter", "{session}",
            "Sessions (a conversation between two) that ended, by protocol and the state that they ended in.",
            ("protocol", "outcome"),
        ),
        Metric(
            "caxton.conversation.messages", "counter", "{message}",
            "Messages of conversations by what they were to them: `moved`, `repeated`, `out-of-sequence`, `late`; "
            "`untracked`: beyond a limit, and not followed.",
            ("result",),
        ),
        Metric(
            "caxton.conversation.sessions.expired", "counter", "{session}",
            "Sessions that a deadline moved (`timed-out`), or that were idle for too long (`abandoned`).", ("reason",),
        ),
        # -- store --
        Metric(
            "caxton.journal.waiting", "gauge", "By",
            "What was recorded and is not yet given to the store to be written.",
        ),
        Metric("caxton.commit.duration", "histogram", "s", "How long the store's transactions took, with the sync."),
        Metric("caxton.commit.failures", "counter", "{transaction}", "Transactions that failed and were tried again."),
        Metric("caxton.store.writable", "gauge", "{store}", "1 while what has to be kept can be kept, else 0."),
        # -- the server's edge --
        Metric(
            "http.server.request.duration", "histogram", "s",
            "Requests by method, route and status: from the first look at one to the end of its answer. A stream of "
            "events counts when it ends, a WebSocket does not.",
            ("http.request.method", "http.route", "http.response.status_code"),
        ),
        Metric(
            "caxton.http.rate_limited", "counter", "{request}",
            "Requests that `security.rate_limiting` refused: `messages`, `changes`, `reads`.", ("kind",),
        ),
        Metric(
            "caxton.webhook.deliveries", "counter", "{event}",
            "Events for webhooks: `delivered`, `failed` after the last attempt, `left-out` of a full queue.",
            ("outcome",),
        ),
        Metric(
            "caxton.spans", "counter", "{span}",
            "Spans of traces: `exported`, `failed` (the collector did not take them), `dropped` (they came too fast).",
            ("outcome",),
        ),
        # -- the process --
        Metric("caxton.ready", "gauge", "{server}", "1 when `GET /ready` answers 200, else 0."),
        Metric("caxton.scheduler.threads", "gauge", "{thread}", "Native threads that run agents."),
        Metric(
            "caxton.event_loop.lag", "histogram", "s",
            "How late Trio's loop is, looked at twice a second: the thread of the API and of the store's writing.",
        ),
        Metric("process.cpu.time", "counter", "s", "Processor time of the server.", ("cpu.mode",)),
        Metric("process.memory.usage", "gauge", "By", "Resident memory of the server."),
        Metric(
            "process.open_file_descriptor.count", "gauge", "{file_descriptor}", "Open files and connections.",
            prometheus_name="process_open_file_descriptors",
        ),
        Metric(
            "process.thread.count", "gauge", "{thread}", "Threads of the server.", prometheus_name="process_threads",
        ),
        Metric("process.uptime", "gauge", "s", "Time since the server has started."),
        Metric(
            "caxton.build.info", "gauge", "{build}", "Always 1: which Caxton this is.", ("version", "python_version"),
        ),
    )
}  # fmt: skip
