"""What waits for one endpoint, and who sends it: one delivery after the other, each until it is taken or given up.

    offered → in the store → attempt → taken
                               │  ↑
                               │  └ wait        (attempts and the next time are in the store)
                               └→ given up      (in the store for `retention`, to be sent again by hand)

Rule 1: what is sent is in the store first, with its attempts: a process that ends in between sends it once more, by the
        same `Caxton-Delivery`. What the store cannot take is sent from memory (`push`), as long as this process lives.
Rule 2: a store that fails stops nobody. What an attempt came to is kept here until it can be written.
Rule 3: the endpoint may be described otherwise at any time; the next attempt goes by what holds then.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from math import inf
from random import Random
from urllib.parse import urlsplit

import attrs
import trio

from caxton.bus.webhook_client import WebhookClient
from caxton.core.config_webhooks import WebhookEndpoint
from caxton.core.errors import StoreError
from caxton.core.webhooks import SIGNATURE, sign, wait_before
from caxton.store.webhooks import Counts, Delivery, Outcome, WebhookRoom

AHEAD = 50  # deliveries that are read from the store at a time
IN_MEMORY = 100  # of what the store cannot take
STORE_PAUSE = 1.0  # seconds between two looks at a store that fails
LONGEST = 3600.0  # seconds before an attempt, though the clock was set back meanwhile

log = logging.getLogger(__name__)


@attrs.define(eq=False)
class WebhookQueue:
    id: str
    endpoint: WebhookEndpoint
    room: WebhookRoom
    keep: Callable[[], int]  # deliveries that were given up, and stay in the store
    on_failed: Callable[["WebhookQueue", Delivery, Outcome], None]
    rng: Random = attrs.field(factory=Random)
    waiting: int = 0  # in the store
    missed: int = 0  # left out, and not told yet
    # for people; since the server started
    delivered: int = 0
    left_out: int = 0
    delivered_at: float | None = None
    last_error: str = ""
    last_error_at: float | None = None
    next_attempt_at: float | None = None
    _ahead: deque[Delivery] = attrs.field(factory=deque)  # read from the store
    _after: int = 0  # read up to here
    _more: bool = True  # there may be more in the store
    _memory: deque[Delivery] = attrs.field(factory=lambda: deque(maxlen=IN_MEMORY))
    _unwritten: dict[int, Outcome] = attrs.field(factory=dict)  # what attempts came to, by delivery
    _changed: trio.Event = attrs.field(factory=trio.Event)
    _store_fails: bool = False

    @property
    def shown(self) -> str:
        """The endpoint for people; the rest of its address may be a secret."""
        return shown(self.endpoint)

    def look(self) -> None:
        """There is more in the store."""
        self._more = True
        self._changed.set()

    def forget(self) -> None:
        """What was read from the store may be there no more."""
        self._ahead.clear()
        self._after = 0
        self.look()

    def push(self, delivery: Delivery) -> None:
        """Send this, which is not in the store; the oldest of too many are left out."""
        if len(self._memory) == IN_MEMORY:
            self.leave_out(1, self.missed + 1)
        self._memory.append(delivery)
        self._changed.set()

    def leave_out(self, more: int, missed: int) -> None:
        """So many more found no room, so many have not been told of yet."""
        if more and not self.missed:
            log.warning("the webhook %s takes events too slowly: some are left out", self.shown)
        self.missed = missed
        self.left_out += more

    async def run(self, client: WebhookClient) -> None:
        """Send what waits, for as long as the endpoint is one."""
        self.forget()
        await self._count()
        while True:
            delivery = await self._next()
            try:
                await self._deliver(delivery, client)
            except Exception as error:
                # one that cannot be sent is given up; the endpoint's others, and the node, are not
                log.exception("an event was not sent to the webhook %s", self.shown)
                await self._give_up(delivery, delivery.attempts, type(error).__name__)

    # -- inside --

    async def _count(self) -> None:
        with suppress(StoreError):  # then it is counted from here on, and again when nothing waits
            self.waiting = (await self.room.counts()).get(self.id, Counts()).waiting

    async def _next(self) -> Delivery:
        while True:
            self._changed = trio.Event()
            sound = await self._read_ahead()
            if self._ahead:
                return self._ahead.popleft()
            if self._memory:
                return self._memory.popleft()
            with trio.move_on_after(inf if sound and not self._unwritten else STORE_PAUSE):
                await self._changed.wait()
            if self._unwritten:
                await self._write()

    async def _read_ahead(self) -> bool:
        """Whether the store can be read."""
        if self._ahead or not self._more:
            return True
        self._more = False
        try:
            found = await self.room.waiting(self.id, self._after, AHEAD)
        except StoreError as error:
            self._more = True
            self._note_store(str(error))
            return False
        if not found and not self._more:
            self.waiting = 0
        if found:
            self._more = True
            self._after = found[-1].id
            self._ahead.extend(one for one in found if not (late := self._unwritten.get(one.id)) or not late.is_final)
        return True

    async def _deliver(self, delivery: Delivery, client: WebhookClient) -> None:
        attempts, next_at = delivery.attempts, delivery.next_at
        while True:
            self.next_attempt_at = next_at or None
            await trio.sleep(min(max(next_at - time.time(), 0), LONGEST))
            self.next_attempt_at = None
            attempts += 1
            secret = self.endpoint.secret
            signed = {SIGNATURE: sign(secret, int(time.time()), delivery.body)} if secret else {}
            headers = {
                "Content-Type": "application/json",
                "Caxton-Event": delivery.event,
                "Caxton-Delivery": delivery.delivery,
                "Caxton-Attempt": str(attempts),
            }
            outcome = await client.post(self.endpoint.url, {**headers, **signed}, delivery.body)
            now = time.time()
            if outcome.is_delivered:
                self.delivered += 1
                self.delivered_at = now
                await self._settle(Outcome(id=delivery.id, is_taken=True))
                return
            self.last_error, self.last_error_at = outcome.reason, now
            policy = self.endpoint.retry_policy
            if not outcome.may_retry or attempts >= policy.max_attempts:
                await self._give_up(delivery, attempts, outcome.reason)
                return
            next_at = now + wait_before(attempts + 1, policy.backoff, policy.delay, policy.max_delay, self.rng)
            await self._settle(Outcome(id=delivery.id, attempts=attempts, next_at=next_at, reason=outcome.reason))

    async def _give_up(self, delivery: Delivery, attempts: int, reason: str) -> None:
        outcome = Outcome(id=delivery.id, attempts=attempts, gave_up=time.time(), reason=reason)
        log.warning("the webhook %s did not take %s (%d attempts): %s", self.shown, delivery.event, attempts, reason)
        self.on_failed(self, delivery, outcome)
        await self._settle(outcome)

    async def _settle(self, outcome: Outcome) -> None:
        if not outcome.id:
            return  # of memory
        self._unwritten[outcome.id] = outcome
        if outcome.is_final:
            self.waiting = max(0, self.waiting - 1)
        # an answer that came is noted, also when its endpoint is no more by now
        with trio.move_on_after(STORE_PAUSE, shield=True):
            await self._write()

    async def _write(self) -> None:
        try:
            await self.room.settle(list(self._unwritten.values()), self.keep())
        except StoreError as error:
            self._note_store(str(error))
        else:
            self._unwritten.clear()
            self._store_fails = False

    def _note_store(self, said: str) -> None:
        if not self._store_fails:
            self._store_fails = True
            log.warning("what becomes of events for the webhook %s cannot be kept for now: %s", self.shown, said)


def shown(endpoint: WebhookEndpoint) -> str:
    parts = urlsplit(endpoint.url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
