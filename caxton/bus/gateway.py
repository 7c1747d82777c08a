"""Messages to and from other agent platforms, over FIPA's HTTP transport.

Out: every platform that is known has a reserved host port `@platform`, to which the router gives whatever is for
`agent@platform`. Its mail waits there like any other: it leaves when it is on the disk, in order, and a restart does
not lose it.

In: who may send, and as whom, is decided here, before a message is posted.

Rule 1: a platform may send when it is listed, or when it shows an address that `learn` allows; and only from the
        networks of `accept_from`. Within its networks the transport has no proof of identity: sign (docs/signing.md).
Rule 2: a sender from outside is `agent@platform`, of a platform that is not this one (`core/acl/names.py`).
Rule 3: a platform that cannot be reached is tried again; one that refuses a message is not. What is given up is a dead
        letter, and its sender gets a `failure`.
Rule 4: what is configured may change at any time. A platform that is unknown then, or was forgotten, keeps its port:
        what is for its agents is given up at once, and their senders are told.
Rule 5: the first address of a platform that was learned stays until it is forgotten: nobody in the network redirects
        the answers to another by sending once.
"""

import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from ipaddress import IPv6Address, ip_address, ip_network
from random import Random
from typing import Any, Final

import attrs
import msgspec
import trio

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import EXIT_EXPIRED, Scheduler
from caxton.bus.bus import Bus
from caxton.bus.delivery import PLATFORM_REFUSED, PLATFORM_UNREACHABLE
from caxton.bus.http_client import HttpClient, open_http_client
from caxton.bus.reserved import LATER, Later, ReservedAgent
from caxton.core.acl import mtp
from caxton.core.acl.message import AclLimits, AclMessage, AgentId, from_json, in_one_line, to_json
from caxton.core.acl.names import Home, is_allowed, split_name
from caxton.core.config_fipa import HttpMtpConfig, platform_problem, url_problem
from caxton.core.errors import CaxtonError, Forbidden, MailboxFull, NotFound, RejectedError, ResourceLimitExceeded
from caxton.core.retry import backoff

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.5  # while the journal is behind
Remember = Callable[[str, str | None], Awaitable[None]]  # name and address of a platform; None: forget it


@attrs.define(eq=False)
class Platform:
    name: str
    url: str = ""  # empty: it is not known any more
    representation: str = mtp.REPRESENTATIONS["string"]
    networks: tuple[str, ...] = ()  # of its own; empty: those of all
    is_learned: bool = True
    agent: ReservedAgent | None = None
    failures: int = 0  # attempts in a row
    problem: str = ""  # of the last attempt
    sent: int = 0
    received: int = 0


class Gateway:
    def __init__(
        self,
        bus: Bus,
        scheduler: Scheduler,
        config: HttpMtpConfig,
        home: Home,
        *,
        learned: Mapping[str, str],
        remember: Remember,
        rng: Random | None = None,
    ) -> None:
        self._bus = bus
        self._scheduler = scheduler
        self._remember = remember
        self._learned = dict(learned)
        self._rng = rng or Random()
        self._client: HttpClient | None = None
        self._has_client = trio.Event()
        self._changed = trio.Event()
        self._platforms: dict[str, Platform] = {}
        self.change(config, home)

    def change(self, config: HttpMtpConfig, home: Home) -> None:
        """Other platforms, networks, bounds. Who waits for another attempt makes it now, as it is configured now."""
        self.home = home
        self.max_request_size = config.max_request_size
        self._config = config
        self._limits = AclLimits(size=config.max_request_size)
        known = set()
        for each in config.platforms:
            known.add(each.name)
            representation = mtp.REPRESENTATIONS[each.representation]
            self._know(each.name, each.url, representation, each.accept_from, is_learned=False)
        for name, url in self._learned.items():
            if name not in known and is_allowed(url, config.learn):
                known.add(name)
                self._learn(name, url)
        for name, platform in self._platforms.items():
            if name not in known:
                platform.url = ""
        self._changed.set()
        self._changed = trio.Event()

    async def run(self) -> None:
        """Hold the client, for as long as the node is open."""
        async with open_http_client() as self._client:
            self._has_client.set()
            await trio.sleep_forever()

    # -- platforms --

    def _know(
        self, name: str, url: str, representation: str, networks: tuple[str, ...], *, is_learned: bool
    ) -> Platform:
        platform = self._platforms.get(name)
        if platform is None:
            platform = self._platforms[name] = Platform(name)
            platform.agent = self._bus.reserved.host(f"@{name}", partial(self._deliver, platform))
        platform.url, platform.representation = url, representation
        platform.networks, platform.is_learned = networks, is_learned
        return platform

    def _learn(self, name: str, url: str) -> Platform:
        return self._know(name, url, mtp.REPRESENTATIONS["string"], (), is_learned=True)

    @property
    def urls(self) -> dict[str, str]:
        return {platform.name: platform.url for platform in self._platforms.values() if platform.url}

    # Any: JSON for people
    def list(self) -> list[dict[str, Any]]:
        return [
            {
                "name": each.name,
                "url": each.url,
                "learned": each.is_learned,
                "state": "unreachable" if each.failures else "ok",
                "problem": each.problem,
                "sent": each.sent,
                "received": each.received,
                "waiting": self._waiting(each),
            }
            for each in sorted(self._platforms.values(), key=lambda each: each.name)
            if each.url
        ]

    def _waiting(self, platform: Platform) -> int:
        assert platform.agent is not None
        counters = self._scheduler.statistics(platform.agent.port)
        return counters.waiting + counters.backlog

    async def forget(self, name: str) -> None:
        """A platform that was learned is unknown, until its address is learned anew.

        Raises NotFound.
        """
        platform = self._platforms.get(name)
        if platform is None or not platform.url or not platform.is_learned:
            raise NotFound(
                f"no platform named {name!r} was learned", hint="those in the configuration are removed from it there"
            )
        await self._remember(name, None)
        self._learned.pop(name, None)
        platform.url = ""

    # -- in --

    async def receive(self, content_type: str, body: bytes, peer: str) -> None:
        """Take one request of another platform; when this returns, its message is as safe as any.

        Raises RejectedError, UnavailableError.
        """
        try:
            await self._take(content_type, body, peer)
        except RejectedError as error:
            log.info("a message from %s was refused: %s", peer, error)
            self._bus.events.emit("platform.refused", {"peer": peer, "code": error.code, "reason": str(error)})
            raise

    async def _take(self, content_type: str, body: bytes, peer: str) -> None:
        self._check_peer(peer, self._all_networks(), "no platform here is expected")
        now_ms = time.time_ns() // 1_000_000
        envelope, message = mtp.read_request(content_type, body, now_ms=now_ms, limits=self._limits)
        sender = message.sender or envelope.sender
        platform = await self._admit(self.home.platform_of_sender(sender), sender, peer)
        assert sender is not None
        receivers = dict.fromkeys(map(self.home.receiver, envelope.receivers))
        inner = msgspec.structs.replace(
            message,
            sender=None,
            receivers=tuple(map(AgentId, receivers)),
            reply_to=tuple(map(self.home.at_home, message.reply_to)),
        )
        (outcome,) = await self._bus.settle([self._bus.post(to_json(inner), sender=sender.name)])
        if isinstance(outcome, CaxtonError):
            raise outcome
        platform.received += 1

    def _all_networks(self) -> set[str]:
        return {network for each in self._platforms.values() for network in each.networks} | set(
            self._config.accept_from
        )

    async def _admit(self, name: str, sender: AgentId | None, peer: str) -> Platform:
        platform = self._platforms.get(name)
        if platform is not None and platform.url:
            self._check_peer(
                peer, platform.networks or self._config.accept_from, f"the platform {name!r} is not expected"
            )
            return platform
        self._check_peer(peer, self._config.accept_from, f"the platform {name!r} is not expected")
        addresses = sender.addresses if sender is not None else ()
        url = next((url for url in addresses if not url_problem(url) and is_allowed(url, self._config.learn)), None)
        if url is None or platform_problem(name):
            raise Forbidden(
                f"the platform {name!r} is not known here",
                hint="list it in integrations.fipa.http_mtp.platforms, or allow its address in .learn",
                details={"platform": name, "addresses": list(addresses)},
            )
        if sum(each.is_learned for each in self._platforms.values() if each.url) >= self._config.max_learned:
            raise ResourceLimitExceeded(
                f"{self._config.max_learned} platforms were learned, and {name!r} would be one more",
                hint="raise integrations.fipa.http_mtp.max_learned",
            )
        platform = self._learn(name, url)
        self._learned[name] = url
        self._bus.events.emit("platform.learned", {"platform": name, "url": url, "peer": peer})
        await self._remember(name, url)
        return platform

    def _check_peer(self, peer: str, networks: set[str] | tuple[str, ...], what: str) -> None:
        try:
            address = ip_address(peer.partition("%")[0])
        except ValueError:
            raise Forbidden(f"nobody knows where the request comes from: {peer!r}") from None
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if not any(address in ip_network(network, strict=False) for network in networks):
            raise Forbidden(f"{what} from {peer}", hint="see integrations.fipa.http_mtp.accept_from")

    # -- out --

    async def _deliver(self, platform: Platform, message: Envelope) -> Later | None:
        """LATER: it was given up, and is settled as a dead letter."""
        agent = platform.agent
        assert agent is not None
        await self._has_client.wait()
        assert self._client is not None
        attempt = 0
        while True:
            if not platform.url:
                return await self._give_up(platform, message, PLATFORM_UNREACHABLE, "it is not known any more")
            if message.expires_at_us and message.expires_at_us <= time.time_ns() // 1000:
                return await self._give_up(platform, message, EXIT_EXPIRED, platform.problem)
            changed = self._changed
            try:
                content_type, body = self._request(platform, message)
            except RejectedError as error:
                return await self._give_up(platform, message, PLATFORM_REFUSED, str(error))
            outcome = await self._client.post(platform.url, content_type, body, self._config.timeout)
            if outcome.is_delivered:
                self._note_delivered(platform, message)
                return None
            platform.problem = outcome.reason
            if not outcome.may_retry:
                return await self._give_up(platform, message, PLATFORM_REFUSED, outcome.reason)
            if not platform.failures:
                log.warning("platform %s cannot be reached: %s", platform.name, outcome.reason)
                self._scheduler.set_away(agent.port, True)
            platform.failures += 1
            config = self._config
            if attempt + 1 >= config.attempts:
                text = f"{platform.problem}, {attempt + 1} times"
                return await self._give_up(platform, message, PLATFORM_UNREACHABLE, text)
            pause = backoff(attempt, config.retry_delay, 2, config.max_retry_delay, self._rng)
            with trio.move_on_after(pause) as paused:
                await changed.wait()
            attempt += paused.cancelled_caught

    def _note_delivered(self, platform: Platform, message: Envelope) -> None:
        platform.sent += 1
        self._scheduler.tracker.taken([message], f"@{platform.name}")
        if platform.failures:
            log.info("platform %s is reached again", platform.name)
            platform.failures, platform.problem = 0, ""
            assert platform.agent is not None
            self._scheduler.set_away(platform.agent.port, False)

    def _request(self, platform: Platform, message: Envelope) -> tuple[str, bytes]:
        """Content-Type and body; the receivers of this platform are those that the copy is for."""
        urls = self.urls
        acl = self._abroad(from_json(message.to_json()), urls)
        intended = tuple(agent for agent in acl.receivers if split_name(agent.name)[1] == platform.name)
        envelope = mtp.Envelope(
            to=intended,
            sender=acl.sender or self.home.abroad("ams", urls),
            representation=platform.representation,
            encoding="UTF-8",
            intended=intended,
        )
        now_ms = time.time_ns() // 1_000_000
        return mtp.write_request(in_one_line(acl), envelope, boundary=uuid.uuid4().hex, now_ms=now_ms)

    def _abroad(self, message: AclMessage, urls: Mapping[str, str]) -> AclMessage:
        def named(agents: tuple[AgentId, ...]) -> tuple[AgentId, ...]:
            return tuple(self.home.abroad(agent.name, urls) for agent in agents)

        return msgspec.structs.replace(
            message,
            sender=named((message.sender,))[0] if message.sender else None,
            receivers=named(message.receivers),
            reply_to=named(message.reply_to),
        )

    async def _give_up(self, platform: Platform, message: Envelope, code: int, text: str) -> Later:
        """It is a dead letter, and its sender is told."""
        assert platform.agent is not None
        while True:
            try:
                self._scheduler.bury(platform.agent.port, message, code, text)
            except MailboxFull:  # the journal is behind
                await trio.sleep(RETRY_SECONDS)
            else:
                self._bus.undelivered(code, message, text)
                return LATER
