"""Tells other servers what happens: a reader of the events, like any watcher, with a queue for each endpoint.

    events → taken in, when what they tell is in the store → a queue for each endpoint (`webhook_queue.py`)

Rule 1: an event is sent when what it tells is in the store: a crash takes back nothing that others were told. Alerts
        tell of nothing that could be taken back, and do not wait: that the disk is full is told while it is full.
Rule 2: an endpoint gets its events one after the other, each until it is taken or given up. One that is slow or gone
        holds up nobody else; what its queue cannot hold is left out, and it is told how many.
Rule 3: what was given up is an event (`webhook.failed`) and a line of the log, never an exception. They name the host;
        the rest of an address may be a secret.
Rule 4: what waits is in the store, from a moment after it happened (a transaction) until it was taken. While the store
        fails, as many as a queue holds wait in memory for it.
"""

import logging
import ssl
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs
import msgspec
import trio

from caxton.bus.events import EventLog
from caxton.bus.webhook_client import WebhookClient, open_webhook_client
from caxton.core.config_webhooks import WebhooksConfig
from caxton.core.errors import NotFound, StoreError
from caxton.core.views import Event, EventFilter
from caxton.core.webhooks import endpoint_ids, wants
from caxton.node.webhook_queue import STORE_PAUSE, WebhookQueue
from caxton.store import Store
from caxton.store.webhooks import Counts, Delivery, Outcome

TAKEN_IN = 10_000  # events between the node and the queues
TIDY = 600.0  # seconds between two looks for what is too old
ALERT = "system.alert"
NOBODY = EventFilter(types=("",))  # no event has this name

log = logging.getLogger(__name__)
encoder = msgspec.json.Encoder(enc_hook=str)


@attrs.define(eq=False)
class Webhooks:
    config: WebhooksConfig
    events: EventLog
    store: Store
    wait_written: Callable[[], Awaitable[None]]
    verify: ssl.SSLContext | bool = True  # which certificates count
    _queues: dict[str, WebhookQueue] = attrs.field(factory=dict)  # of what the configuration names
    _senders: "_Senders | None" = None  # None: webhooks are off
    _pending: deque[Event] = attrs.field(factory=deque)  # their subject is not in the store yet
    _changed: trio.Event = attrs.field(factory=trio.Event)
    _waits: bool = False  # for a store that fails
    _outcomes: Counter[str] = attrs.field(factory=Counter)  # without what the queues know

    def change(self, config: WebhooksConfig) -> None:
        """Other endpoints, or other bounds, from now on; what is on its way to one that is no more ends."""
        self.config = config
        self._arrange()
        self._changed.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """For as long as the node is open; started when every endpoint watches."""
        first: trio.TaskStatus[None] = task_status
        self._arrange()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tidy)
            while True:
                if self.config.enabled:
                    await self._serve(first)
                else:
                    first.started()
                    await self._changed.wait()
                    self._changed = trio.Event()
                first = trio.TASK_STATUS_IGNORED

    async def finish(self) -> None:
        """When `run` has ended, and all that was to be written is: what came last is told by the next process."""
        if rows := self._place()[0]:
            await self.store.webhooks.add(rows)

    # -- for people --

    async def list(self) -> dict[str, Any]:
        """Each endpoint, and those that are no more as long as something is kept for them. Any: JSON."""
        counts = await self.store.webhooks.counts()
        rows = [self._row(queue, counts.pop(queue.id, Counts())) for queue in self._queues.values()]
        for name, count in sorted(counts.items()):
            rows.append({"id": name, "status": "removed", "waiting": count.waiting, "failed": count.failed})
        return {"enabled": self.config.enabled, "endpoints": rows}

    @property
    def outcomes(self) -> Counter[str]:
        """Since the start: deliveries `delivered`, `failed` for good, and events `left-out` of full queues."""
        found = Counter(self._outcomes)
        for queue in self._queues.values():
            found.update(_outcomes_of(queue))
        return found

    async def failed(self, endpoint: str, before: int, limit: int) -> Sequence[Delivery]:
        """What was given up, the newest first. Raises NotFound."""
        await self._check(endpoint)
        return await self.store.webhooks.failed(endpoint, before, limit)

    async def again(self, endpoint: str, deliveries: Sequence[str]) -> int:
        """Send what was given up once more, all of it when none is named; how many. Raises NotFound."""
        await self._check(endpoint)
        queue = self._queues.get(endpoint)
        if queue is None:
            raise NotFound(f"the endpoint {endpoint} is in the configuration no more", details={"id": endpoint})
        number = await self.store.webhooks.again(endpoint, deliveries, max(self.config.queue_size - queue.waiting, 0))
        queue.waiting += number
        queue.look()
        return number

    async def purge(self, endpoint: str, deliveries: Sequence[str], *, waiting: bool) -> int:
        """Forget what was given up, and what waits as well; how many. Raises NotFound."""
        await self._check(endpoint)
        number = await self.store.webhooks.purge(endpoint, deliveries, waiting=waiting)
        if (queue := self._queues.get(endpoint)) is not None:
            queue.waiting = (await self.store.webhooks.counts()).get(endpoint, Counts()).waiting
            queue.forget()
        return number

    async def _check(self, endpoint: str) -> None:
        if endpoint not in self._queues and endpoint not in await self.store.webhooks.counts():
            raise NotFound(
                f"there is no webhook {endpoint}", hint="`caxton webhook list` lists them", details={"id": endpoint}
            )

    def _row(self, queue: WebhookQueue, count: Counts) -> dict[str, Any]:
        is_waiting = queue.next_attempt_at is not None and queue.next_attempt_at > time.time()
        return {
            "id": queue.id,
            "url": queue.shown,
            "events": queue.endpoint.events,
            "signed": bool(queue.endpoint.secret),
            "status": ("retrying" if is_waiting else "active") if self.config.enabled else "off",
            "waiting": count.waiting,
            "failed": count.failed,
            "delivered": queue.delivered,
            "left_out": queue.left_out,
            "delivered_at": queue.delivered_at,
            "last_error": queue.last_error,
            "last_error_at": queue.last_error_at,
            "next_attempt_at": queue.next_attempt_at,
        }

    # -- endpoints come and go --

    def _arrange(self) -> None:
        """A queue for each endpoint that the configuration names now, and while webhooks are on somebody who sends."""
        found = self.config.endpoints
        endpoints = dict(zip(endpoint_ids([one.url for one in found]), found, strict=True))
        for name in [name for name in self._queues if name not in endpoints]:
            self._outcomes.update(_outcomes_of(self._queues.pop(name)))
        for name, endpoint in endpoints.items():
            if (queue := self._queues.get(name)) is not None:
                queue.endpoint = endpoint
                continue
            self._queues[name] = WebhookQueue(
                name, endpoint, self.store.webhooks, lambda: self.config.queue_size, self._failed
            )
        if self._senders is not None:
            self._senders.arrange(self.config, self._queues)
            self.events.watch(self._senders.events, self._filter())

    async def _serve(self, task_status: trio.TaskStatus[None]) -> None:
        """Until webhooks are switched off."""
        config = self.config
        with self.events.tap(TAKEN_IN, self._filter()) as events:
            task_status.started()
            try:
                async with (
                    open_webhook_client(config.allowed_networks, config.timeout, self.verify) as client,
                    trio.open_nursery() as nursery,
                ):
                    self._senders = _Senders(client, nursery, events)
                    nursery.start_soon(self._take_in, events)
                    self._arrange()
                    while self.config.enabled:
                        await self._changed.wait()
                        self._changed = trio.Event()
                    nursery.cancel_scope.cancel()
            finally:
                self._senders = None
                self._drain(events)

    def _filter(self) -> EventFilter:
        endpoints = self.config.endpoints if self.config.enabled else ()
        types = {pattern for endpoint in endpoints for pattern in endpoint.events}
        return EventFilter(types=tuple(sorted(types))) if types else NOBODY

    # -- events come in --

    async def _take_in(self, events: trio.MemoryReceiveChannel[Event]) -> None:
        while True:
            if not self._pending:
                self._sort(await events.receive())
            self._drain(events)
            if self._pending and not await self._keep_pending():
                await trio.sleep(STORE_PAUSE)

    def _drain(self, events: trio.MemoryReceiveChannel[Event]) -> None:
        with suppress(trio.WouldBlock):
            while True:
                self._sort(events.receive_nowait())

    def _sort(self, event: Event) -> None:
        """An alert about a store that fails cannot wait for it; the rest waits, as far as there is room."""
        if event.type == ALERT and self.store.fault is not None:
            for queue in self._wanting(event):
                queue.push(self._delivery(queue, event))
        elif len(self._pending) < TAKEN_IN:
            self._pending.append(event)
        else:
            for queue in self._wanting(event):
                queue.leave_out(1, queue.missed + 1)

    async def _keep_pending(self) -> bool:
        """Into the store, when what these tell is there; whether it is."""
        try:
            with trio.move_on_after(STORE_PAUSE) as patience:
                await self.wait_written()
            if patience.cancelled_caught or self.store.fault is not None:
                return False  # a disk that takes its time; a write could not be taken back
            rows, missed, left = self._place()
            if rows:
                await self.store.webhooks.add(rows)
        except StoreError as error:
            if not self._waits:
                self._waits = True
                log.warning("events for webhooks wait in memory, the store does not take them: %s", error)
            return False
        self._waits = False
        self._pending.clear()
        for name, queue in self._queues.items():
            queue.leave_out(left.get(name, 0), missed.get(name, 0))
            if more := sum(row.endpoint == name for row in rows):
                queue.waiting += more
                queue.look()
        return True

    def _place(self) -> tuple[Sequence[Delivery], Mapping[str, int], Mapping[str, int]]:
        """What is pending, for each that wants it and has room; how many each has missed since, and in all."""
        rows: list[Delivery] = []
        left = dict.fromkeys(self._queues, 0)
        missed = {name: queue.missed for name, queue in self._queues.items()}
        room = {name: self.config.queue_size - queue.waiting for name, queue in self._queues.items()}
        for event in self._pending:
            for queue in self._wanting(event):
                name = queue.id
                if room[name] < (2 if missed[name] else 1):
                    missed[name] += 1
                    left[name] += 1
                    continue
                if missed[name]:
                    rows.append(self._delivery(queue, _left_out(event, missed[name])))
                    room[name] -= 1
                    missed[name] = 0
                rows.append(self._delivery(queue, event))
                room[name] -= 1
        return rows, missed, left

    def _wanting(self, event: Event) -> Sequence[WebhookQueue]:
        # that events were left out before they came here is news for all, whether they asked for alerts or not
        of_all = event.type == ALERT and "missed" in (event.data.get("details") or ())
        return [queue for queue in self._queues.values() if of_all or wants(queue.endpoint.events, event.type)]

    def _delivery(self, queue: WebhookQueue, event: Event) -> Delivery:
        meta = self.store.meta
        body = encoder.encode(
            {
                "type": event.type,
                "event_id": event.id,
                "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(event.at))
                + f".{int(event.at % 1 * 1e6):06}Z",
                "node_id": meta.node_id,
                **event.data,
            }
        )
        return Delivery(
            endpoint=queue.id,
            # with the time: numbers come twice when a backup is put back
            delivery=f"{meta.node_id}-{event.id}-{round(event.at * 1e6):x}",
            event=event.type,
            at=event.at,
            body=body,
        )

    # -- what becomes of them --

    def _failed(self, queue: WebhookQueue, delivery: Delivery, outcome: Outcome) -> None:
        self._outcomes["failed"] += 1
        data = {
            "webhook": queue.shown,
            "webhook_id": queue.id,
            "event": delivery.event,
            "delivery": delivery.delivery,
            "event_id": int(delivery.delivery.split("-")[-2]),
            "attempts": outcome.attempts,
            "reason": outcome.reason,
        }
        self.events.emit("webhook.failed", data)

    async def _tidy(self) -> None:
        while True:
            served = list(self._queues) if self.config.enabled else []
            try:
                await self.store.webhooks.trim(time.time() - self.config.retention, served)
            except StoreError as error:
                log.warning("what is too old of webhooks stays for now: %s", error)
            await trio.sleep(TIDY)


def _outcomes_of(queue: WebhookQueue) -> dict[str, int]:
    return {"delivered": queue.delivered, "left-out": queue.left_out}


@attrs.define(eq=False)
class _Senders:
    """A task for each queue, while webhooks are on."""

    client: WebhookClient
    nursery: trio.Nursery
    events: trio.MemoryReceiveChannel[Event]
    scopes: dict[str, trio.CancelScope] = attrs.field(factory=dict)

    def arrange(self, config: WebhooksConfig, queues: Mapping[str, WebhookQueue]) -> None:
        """Send to these, as this says."""
        self.client.allowed, self.client.seconds = config.allowed_networks, config.timeout
        wanted = queues if config.enabled else {}
        for name in [name for name in self.scopes if name not in wanted]:
            self.scopes.pop(name).cancel()
        for name, queue in wanted.items():
            if name not in self.scopes:
                scope = self.scopes[name] = trio.CancelScope()
                self.nursery.start_soon(self._run, scope, queue)

    async def _run(self, scope: trio.CancelScope, queue: WebhookQueue) -> None:
        with scope:
            await queue.run(self.client)


def _left_out(before: Event, missed: int) -> Event:
    text = f"{missed} events were left out: this webhook takes them too slowly"
    data = {"severity": "warning", "message": text, "details": {"missed": missed}}
    return Event(id=before.id - 1, type=ALERT, at=before.at, data=data)
