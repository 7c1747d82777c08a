"""Tells other servers what happens: a reader of the events, like any watcher, with one task for each endpoint.

Rule 1: an event is sent when what it tells is in the store: a crash takes back nothing that others were told.
Rule 2: an endpoint gets its events one after the other, each until it is taken or given up. One that is slow or gone
        holds up nobody else; what its queue cannot hold is left out, and it is told how many.
Rule 3: what was given up is an event (`webhook.failed`) and a line of the log, never an exception. They name the host;
        the rest of an address may be a secret.
Rule 4: what waits is in memory. An event is sent at most once a node's life, and what waits when it ends is not sent.
"""

import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from random import Random
from urllib.parse import urlsplit

import attrs
import msgspec
import trio

from caxton.bus.events import EventLog
from caxton.bus.webhook_client import WebhookClient, open_webhook_client
from caxton.core.config_webhooks import WebhookEndpoint, WebhooksConfig
from caxton.core.errors import StoreError
from caxton.core.views import Event, EventFilter
from caxton.core.webhooks import SIGNATURE, sign, wait_before, wants

STORE_PAUSE = 1.0  # seconds between two looks at a store that cannot write

log = logging.getLogger(__name__)
encoder = msgspec.json.Encoder(enc_hook=str)


@attrs.define(eq=False)
class Webhooks:
    config: WebhooksConfig
    events: EventLog
    wait_written: Callable[[], Awaitable[None]]
    node_id: str
    boot: int
    rng: Random = attrs.field(factory=Random)
    verify: ssl.SSLContext | bool = True  # which certificates count

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """For as long as the node is open; started when every endpoint watches."""
        config = self.config
        async with open_webhook_client(config.allowed_networks, config.timeout, self.verify) as client:
            async with trio.open_nursery() as endpoints:
                for endpoint in config.endpoints:
                    await endpoints.start(self._serve, endpoint, client)
                task_status.started()

    async def _serve(
        self, endpoint: WebhookEndpoint, client: WebhookClient, *, task_status: trio.TaskStatus[None]
    ) -> None:
        with self.events.tap(self.config.queue_size, EventFilter(types=endpoint.events)) as events:
            task_status.started()
            async for event in events:
                # news of what was left out comes as an alert, whether it asked for alerts or not
                if not wants((*endpoint.events, "system.alert"), event.type):
                    continue
                await self._wait_written()
                try:
                    await self._deliver(endpoint, event, client)
                except Exception:
                    # an event that cannot be sent is lost; the node and the other endpoints are not
                    log.exception("an event was not sent to the webhook %s", shown(endpoint))

    async def _wait_written(self) -> None:
        while True:
            try:
                await self.wait_written()
            except StoreError:
                await trio.sleep(STORE_PAUSE)
            else:
                return

    async def _deliver(self, endpoint: WebhookEndpoint, event: Event, client: WebhookClient) -> None:
        body = encoder.encode(
            {
                "type": event.type,
                "event_id": event.id,
                "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(event.at))
                + f".{int(event.at % 1 * 1e6):06}Z",
                "node_id": self.node_id,
                **event.data,
            }
        )
        headers = {
            "Content-Type": "application/json",
            "Caxton-Event": event.type,
            "Caxton-Delivery": f"{self.node_id}-{self.boot}-{event.id}",  # of all attempts, to know them by
        }
        policy = endpoint.retry_policy
        for attempt in range(1, policy.max_attempts + 1):
            if attempt > 1:
                wait = wait_before(attempt, policy.backoff, policy.delay, policy.max_delay, self.rng)
                await trio.sleep(wait)
            signed = {SIGNATURE: sign(endpoint.secret, int(time.time()), body)} if endpoint.secret else {}
            outcome = await client.post(endpoint.url, {**headers, **signed, "Caxton-Attempt": str(attempt)}, body)
            if outcome.is_delivered:
                return
            if not outcome.may_retry:
                break
        log.warning(
            "the webhook %s did not take %s (%d attempts): %s", shown(endpoint), event.type, attempt, outcome.reason
        )
        data = {
            "webhook": shown(endpoint),
            "event": event.type,
            "event_id": event.id,
            "attempts": attempt,
            "reason": outcome.reason,
        }
        self.events.emit("webhook.failed", data)


def shown(endpoint: WebhookEndpoint) -> str:
    parts = urlsplit(endpoint.url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
