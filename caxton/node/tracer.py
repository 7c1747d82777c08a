"""Traces: spans of messages that were sampled, told to a collector of OpenTelemetry.

    accepting a message ─┐
    reader of records ───┴→ _fast/spans → once a second → telemetry/otlp, in a thread

Rule 1: nothing waits for the collector. What it does not take in time is dropped, and counted.
Rule 2: while tracing is off no span is made, and a `traceparent` is carried on as it is.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import trio

import caxton
from caxton._fast.scheduler import Scheduler
from caxton._fast.spans import SEND, Spans
from caxton.bus.delivery import dead_reason
from caxton.core.config_telemetry import TracingConfig
from caxton.core.performatives import ACTS_BY_CODE
from caxton.telemetry.otlp import Pusher, SpanRecord

if TYPE_CHECKING:
    from caxton._fast.spans import Span

EXPORT_SECONDS = 1.0  # between two exports
AT_ONCE = 2000  # spans of one export

log = logging.getLogger(__name__)


def resource_of(config: TracingConfig, node_id: str) -> Mapping[str, str]:
    """Who this server is, as OpenTelemetry has it."""
    return {
        **config.attributes,
        "service.name": config.service_name,
        "service.version": caxton.__version__,
        "service.instance.id": node_id,
    }


class Tracer:
    def __init__(self, config: TracingConfig, scheduler: Scheduler, node_id: str) -> None:
        self._config = config
        self._scheduler = scheduler
        self._node_id = node_id
        self._spans: Spans | None = None
        self._changed = trio.Event()
        self._outcomes: Counter[str] = Counter()
        self.change(config)

    @property
    def outcomes(self) -> Mapping[str, int]:
        """Spans since the start: `exported`, `failed` (nobody took them), `dropped` (they came too fast)."""
        dropped = self._spans.dropped if self._spans is not None else 0
        return {**self._outcomes, "dropped": self._outcomes["dropped"] + dropped}

    def change(self, config: TracingConfig) -> None:
        """As the configuration says from now on."""
        self._config = config
        if not config.enabled:
            if self._spans is not None:
                self._outcomes["dropped"] += self._spans.dropped
            self._spans = None
        elif self._spans is None:
            self._spans = Spans(config.sample_rate)
        else:
            self._spans.set_rate(config.sample_rate)
        self._scheduler.set_tracing(self._spans)
        self._changed.set()
        self._changed = trio.Event()

    async def run(self) -> None:
        """For as long as the node is open."""
        while True:
            if self._config.enabled:
                await self._export(self._config)
            else:
                await self._changed.wait()

    async def _export(self, config: TracingConfig) -> None:
        """Until the configuration says something else."""
        pusher, is_failing = Pusher(config.traces_url, config.export_timeout), False
        who = resource_of(config, self._node_id)
        try:
            while True:
                with trio.move_on_after(EXPORT_SECONDS):
                    await self._changed.wait()
                if self._config is not config or self._spans is None:
                    return
                spans = self._spans.take()
                for start in range(0, len(spans), AT_ONCE):
                    some = spans[start : start + AT_ONCE]
                    push = partial(_push, pusher, some, who)
                    is_taken = await trio.to_thread.run_sync(push, abandon_on_cancel=True)
                    self._outcomes["exported" if is_taken else "failed"] += len(some)
                    if is_failing and is_taken:
                        log.info("spans are pushed to %s again", config.traces_url)
                    elif not is_failing and not is_taken:
                        log.warning("spans could not be pushed to %s; they are lost until they can", config.traces_url)
                    is_failing = not is_taken
        finally:
            pusher.close()


def _push(pusher: Pusher, spans: "Sequence[Span]", who: Mapping[str, str]) -> bool:
    return pusher.push_spans([_shown(span) for span in spans], who)


def _shown(span: "Span") -> SpanRecord:
    """In the words of OpenTelemetry's conventions for messaging."""
    kind, trace, own, parent, agent, began, ended, outcome, message_id, conversation, act, sender = span
    operation = "send" if kind == SEND else "process"
    error = dead_reason(outcome) if outcome else ""
    attributes = {
        "messaging.system": "caxton",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": agent,
        "messaging.message.id": message_id,
        "messaging.message.conversation_id": conversation,
        "caxton.performative": str(ACTS_BY_CODE.get(act, "")),
        "caxton.sender": sender,
        "error.type": error,
    }
    return SpanRecord(
        name=f"{operation} {agent}",
        kind="PRODUCER" if kind == SEND else "CONSUMER",
        trace=trace,
        span=own,
        parent=parent,
        began_us=began,
        ended_us=ended,
        attributes={name: value for name, value in attributes.items() if value},
        error=error,
    )
