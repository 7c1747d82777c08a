"""The composition: store, engine, scheduler, bus and runtime, opened in this order and closed in reverse.

    open_node → store → engine, scheduler → [pump, committer] → tools → runtime → agents come back → the block →
    agents rest → all closed

It decides nothing: what the scheduler says goes to the room that understands it (`pump`), what agents changed goes
to the store (`Committer`).
"""

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Protocol

import trio

import caxton
from caxton._fast.ledger import Batch
from caxton._fast.scheduler import EVENT_CALL, EVENT_CONVERSATION, EVENT_EXITED, EVENT_REFILL, Scheduler
from caxton._fast.wasm.engine import Engine
from caxton.bus.bus import Bus
from caxton.bus.gateway import Gateway
from caxton.bus.http_client import check_http_client
from caxton.bus.known import Known
from caxton.bus.signing import Signing
from caxton.bus.streams import Patience
from caxton.core.acl.names import Home
from caxton.core.agent import AgentState
from caxton.core.config import Loaded, loaded_as
from caxton.core.config_keys import Config
from caxton.core.config_tls import TlsConfig
from caxton.core.errors import InvalidConfig, StoreError
from caxton.core.views import Profile
from caxton.node.admission import Admission, Machine
from caxton.node.agent_secrets import AgentSecrets
from caxton.node.agent_settings import LiveAgents
from caxton.node.agents import Agents, wasm_instances
from caxton.node.ams import AgentManagement
from caxton.node.backlog import Refills, recover
from caxton.node.capabilities import Capabilities
from caxton.node.cleanup import Cleanup
from caxton.node.committer import Committer
from caxton.node.conversations import Conversations
from caxton.node.dead_letters import DeadLetters
from caxton.node.directory import DirectoryDesk
from caxton.node.engines import open_component_engine, open_engine
from caxton.node.expiry import Expiry
from caxton.node.housekeeping import Housekeeping, tidy_log_files
from caxton.node.live import (
    apply_change,
    cannot_be,
    ceilings,
    check_telemetry,
    compile_limits,
    directory_limits,
    edge_limits,
    reloaded,
)
from caxton.node.meter import Meter
from caxton.node.metrics import Metrics
from caxton.node.oom import spare_from_oom_killer
from caxton.node.profile import run_profile
from caxton.node.settings import Settings
from caxton.node.signing import SigningKeys
from caxton.node.tasks import Tasks
from caxton.node.tracer import Tracer
from caxton.node.webhooks import Webhooks
from caxton.runtime.hostcalls import CallDesk, call_desk
from caxton.runtime.modules import ModuleCache
from caxton.runtime.replica import AgentChange, RuntimeLimits
from caxton.runtime.supervisor import Runtime, open_runtime
from caxton.store import Store, open_store
from caxton.store.settings import Version
from caxton.telemetry.failpoints import passes_left
from caxton.tools import Desk, check_sdk, open_tools

log = logging.getLogger(__name__)

DURABLE, VOLATILE = 1, 3  # DELIVERY_* of envelope.pxd
CLOSING_GRACE = 1.5  # seconds that agents have for what waits when the server ends

# states that watchers are told, by the name of the event
ANNOUNCED = {
    AgentState.RUNNING: "agent.started",
    AgentState.DRAINING: "agent.draining",
    AgentState.STOPPED: "agent.stopped",
    AgentState.FAILED: "agent.failed",
}


@asynccontextmanager
async def open_node(
    config: Config | Loaded,
    reload: Callable[[], Loaded] | None = None,
    *,
    wall_clock: Callable[[], float] = time.time,
) -> AsyncIterator["Node"]:
    """A running node over the data folder; when the block begins, its agents are back.

    Leaving the block lets them finish what waits, for CLOSING_GRACE. *reload* reads the configuration again.
    """
    loaded = loaded_as(config) if isinstance(config, Config) else config
    config = loaded.config
    if unmet := config.unmet_protections:
        raise InvalidConfig(
            f"{', '.join(unmet)}: this version does not have it, and a server without is not what was asked for",
            hint="take the key out, and let a proxy in front of the server protect it",
        )
    if config.unserved:
        log.warning("not active in this version: %s", ", ".join(config.unserved))
    if config.integrations.fipa.http_mtp.enabled:
        check_http_client("integrations.fipa.http_mtp.enabled", "fipa")
    if config.integrations.webhooks.enabled:
        check_http_client("integrations.webhooks.enabled", "webhooks")
    check_telemetry(config)
    if config.integrations.mcp.enabled:
        check_sdk()
    if config.resources.memory.oom_kill_disable:
        spare_from_oom_killer()
    disk = config.resources.disk
    async with open_store(
        Path(disk.data_dir), temp_dir=Path(disk.temp_dir) if disk.temp_dir else None, max_temp_size=disk.max_temp_size
    ) as store:
        settings = Settings(loaded, store.settings, reload)
        await settings.recall()
        config = settings.config
        engine = open_engine(settings.room, wasm_instances(await store.agents.list()))
        scheduler = Scheduler(
            engine,
            threads=config.runtime.scheduler_threads,
            max_message_size=config.messaging.max_message_size,
            history_messages=config.messaging.history_messages,
            history_bytes=config.messaging.history_bytes,
            node=store.meta.node_id,
            boot=store.meta.boot,
            delivery=DURABLE if config.messaging.enable_persistence else VOLATILE,
            retry_attempts=max(config.messaging.retry_attempts - 1, 0),
            retry_delay_ns=int(config.messaging.retry_delay * 1e9),
            backlog_bytes=config.messaging.offline_total_bytes,
        )
        scheduler.set_failpoints(passes_left("turn-released"), passes_left("turn-recorded"))
        scheduler.start()
        node: Node | None = None
        try:
            async with trio.open_nursery() as tasks:
                committer = Committer(scheduler, store)
                known = Known(config.messaging.dedup_window, config.messaging.dedup_size)
                await recover(store, scheduler, committer, known)
                bus = Bus(
                    scheduler,
                    max_message_size=config.messaging.max_message_size,
                    committed=committer.wait_accepted,
                    known=known,
                    patience=Patience(config.messaging.delivery_timeout, max(config.messaging.retry_attempts, 1)),
                )
                committer.on_commit = bus.committed
                committer.patience = bus.patience
                committer.on_read = bus.looked
                bus.mail.on_hold = bus.receipts.on_watch = committer.look
                bus.receipts.mark, bus.receipts.is_written = committer.mark, committer.is_written
                node = Node(settings, store, scheduler, bus, committer)
                committer.on_written = node.written
                await node.conversations.recover()
                async with (
                    open_tools(config.integrations.mcp, bus.events.emit) as tools,
                    open_runtime(
                        scheduler, on_change=node.note, limits=RuntimeLimits.of(config), wall_clock=wall_clock
                    ) as runtime,
                ):
                    node.furnish(engine, runtime, tools, wall_clock)
                    await tasks.start(node.webhooks.run)
                    tasks.start_soon(node.pump)
                    tasks.start_soon(committer.run)
                    tasks.start_soon(node.meter.run)
                    tasks.start_soon(node.tracer.run)
                    tasks.start_soon(settings.watch_secrets)
                    tasks.start_soon(node.refill)
                    tasks.start_soon(committer.watch_store)
                    tasks.start_soon(node.housekeeping.run)
                    tasks.start_soon(node.cleanup.run)
                    tasks.start_soon(tidy_log_files)
                    tasks.start_soon(node.conversations.run)
                    tasks.start_soon(node.housekeeping.watch_disk)
                    tasks.start_soon(Expiry(scheduler, store, bus).run)
                    tasks.start_soon(bus.streams.run)
                    await node.directory.restore()
                    tasks.start_soon(bus.reserved.run)
                    tasks.start_soon(node.directory.run)
                    if config.integrations.fipa.http_mtp.enabled:
                        node.gateway = await _open_gateway(node.home, config, store, scheduler, bus)
                        tasks.start_soon(node.gateway.run)
                    await node.signing_keys.load()
                    await node.agents.restore()
                    await node.tasks.restore()
                    tasks.start_soon(node.tasks.run)
                    node.is_ready = True
                    try:
                        yield node
                    finally:
                        node.is_ready = False
                        # cancelled from outside: the agents' tasks are cancelled as well, and nobody can be waited for
                        if trio.current_effective_deadline() != -inf:
                            with trio.move_on_after(CLOSING_GRACE * 2, shield=True):
                                await runtime.stop_all(grace=CLOSING_GRACE)
                tasks.cancel_scope.cancel()
        finally:
            scheduler.stop()
            if node is not None:
                with trio.move_on_after(CLOSING_GRACE, shield=True):
                    await node.record_the_rest()


def _home(config: Config, store: Store) -> Home:
    mtp = config.integrations.fipa.http_mtp
    host = f"[{config.server.host}]" if ":" in config.server.host else config.server.host
    return Home(
        name=mtp.platform_name or store.meta.node_id,
        aliases=frozenset({store.meta.node_id}),
        url=mtp.public_url or f"{'https' if config.server.tls.enabled else 'http'}://{host}:{config.server.port}/acc",
    )


async def _open_gateway(home: Home, config: Config, store: Store, scheduler: Scheduler, bus: Bus) -> Gateway:
    mtp = config.integrations.fipa.http_mtp
    return Gateway(bus, scheduler, mtp, home, learned=await store.platforms.all(), remember=store.platforms.put)


class Listener(Protocol):
    """Whoever speaks TLS for this node."""

    def prepare(self, tls: TlsConfig) -> Sequence[str]:
        """Read its files again; what is wrong with them."""

    def renew(self) -> None:
        """New connections get what was prepared."""


class Node:
    """What the API, gRPC and the command line talk to."""

    agents: Agents
    ams: AgentManagement
    capabilities: Capabilities
    directory: DirectoryDesk
    tasks: Tasks
    tracer: Tracer
    meter: Meter
    metrics: Metrics
    modules: ModuleCache
    runtime: Runtime
    tools: Desk
    answer_call: CallDesk  # a stage has fake tools

    def __init__(self, settings: Settings, store: Store, scheduler: Scheduler, bus: Bus, committer: Committer) -> None:
        config = settings.config
        self.settings = settings
        self.started_with = settings.room
        self.store = store
        self.backups = store.backups
        self.scheduler = scheduler
        self.bus = bus
        self.listener: Listener | None = None  # None: without TLS
        self.gateway: Gateway | None = None  # to other platforms; None: not asked for
        self.home = _home(config, store)
        self._signing = Signing(bus, scheduler, self.home)
        self.signing_keys = SigningKeys(self._signing, store)
        self.secrets = AgentSecrets(config.security.secrets.agents)
        self.is_ready = False
        self.limits = edge_limits(config)
        self._committer = committer
        self._refills = Refills(scheduler, store)
        self.conversations = Conversations(
            scheduler,
            store,
            bus,
            committer,
            config.messaging,
        )
        self.dead_letters = DeadLetters(store, bus)
        self.webhooks = Webhooks(
            config.integrations.webhooks,
            bus.events,
            store,
            committer.wait_written,
        )
        self.housekeeping = Housekeeping(store, self.dead_letters, bus.events, config.messaging)
        self._started_at = time.time()

    def furnish(self, engine: Engine, runtime: Runtime, tools: Desk, wall_clock: Callable[[], float]) -> None:
        """The rooms that need each other: the runtime tells the node, the node's agents use the runtime."""
        config = self.settings.config
        self.modules = ModuleCache(
            engine,
            self.store.modules.folder,
            compile_limits(config),
            partial(open_component_engine, self.started_with),
            self.store.temp.reserve,
        )
        self.runtime, self.tools = runtime, tools
        self.answer_call = call_desk(tools.answer_call)
        self.agents = Agents(
            self.scheduler,
            runtime,
            self.store,
            self.modules,
            self.bus,
            self._committer,
            max_agents=config.runtime.max_agents,
            imports=config.runtime.component_imports,
            keys=self.signing_keys,
            secrets=self.secrets,
        )
        runtime.environment_of = self.secrets.environment
        self.cleanup = Cleanup(self.store, self.agents, config.resources.disk.cleanup_interval)
        self.admission = Admission(config.resources, Machine())
        self.agents.admission = self.admission
        self.agents.hot_reload = config.runtime.enable_hot_reload
        runtime.on_fit, runtime.on_close = self.signing_keys.fit, self._signing.forget_port
        self._signing.ports_of = runtime.ports_of
        self.signing_keys.kind_of = self.agents.kind_of
        self.directory = DirectoryDesk(
            self.store,
            self.bus,
            runtime,
            directory_limits(config),
            wall_clock,
        )
        self.tasks = Tasks(
            self.store,
            self.bus,
            providers=self.providers,
            score=self.agents.score,
            retention=config.messaging.retention_age,
        )
        self.capabilities = Capabilities(self.bus, self.directory, self.agents, self.config.messaging.queue_size)
        self.directory.public_key = self.signing_keys.public_key
        self.ams = AgentManagement(self.bus, runtime, self.agents, self.directory.is_live, self.store.meta.node_id)
        self.agents.on_deleted = self._deleted
        self.agents.breakers = tools.breakers
        tools.name_of, tools.config_of = runtime.name_of, self.agents.config_of
        self.bus.streams.on_presence = self.directory.attached
        self.bus.suggest(self.directory.missing)
        self._refills.on_closed = self.agents.give_up
        self.metrics = Metrics(self.scheduler, runtime, self.agents, self.dead_letters, self.store.data_dir)
        self.tracer = Tracer(config.observability.tracing, self.scheduler, self.store.meta.node_id)
        self.meter = Meter(
            config.observability,
            self.scheduler,
            runtime,
            self._committer,
            self.dead_letters,
            self.webhooks,
            self.tracer,
            lambda: self.ready()[0],
            self.store.meta.node_id,
        )
        self.settings.agents = LiveAgents(self.agents, lambda: self.limits.agent_defaults)
        self.settings.apply = partial(apply_change, self)
        self.settings.ceilings = partial(ceilings, self)
        self.settings.refuse = partial(cannot_be, self)
        self.settings.reloaded = partial(reloaded, self)
        self.settings.announce = self.changed

    def change_home(self, config: Config) -> None:
        """Where this platform is, and the others that it knows."""
        self.home = self._signing.home = _home(config, self.store)
        if self.gateway is not None:
            self.gateway.change(config.integrations.fipa.http_mtp, self.home)

    @property
    def config(self) -> Config:
        """What holds now."""
        return self.settings.config

    def changed(self, version: Version) -> None:
        """The configuration did: tell those who watch."""
        changes = [
            {"key": one.key, "agent_id": one.agent, "before": one.before, "after": one.after} for one in version.changes
        ]
        data = {"version": version.version, "who": version.who, "action": version.action, "changes": changes}
        self.bus.events.emit("config.changed", data)

    def providers(self, address: str) -> Sequence[str]:
        """Names of those who have a capability (`capability:x`) or are in a group (`broadcast://g`), in order."""
        kind, _, wanted = address.partition(":")
        if kind == "capability":
            return sorted(entry.name for entry in self.directory.providers(wanted))
        return self.agents.members(wanted.removeprefix("//"))

    def announce(self, address: str) -> None:
        """Say where this node answers, for those who find its folder locked."""
        self.store.announce(address)

    # -- questions --

    # Any: answers for people and probes
    def health(self) -> Mapping[str, Any]:
        """Whether the process lives: it does, for it answers."""
        return {
            "status": "healthy",
            "version": caxton.__version__,
            "node_id": self.store.meta.node_id,
            "uptime_seconds": round(time.time() - self._started_at, 3),
            "agents_count": self.metrics.system({"agents"})["agents"]["total"],
        }

    def ready(self) -> tuple[bool, Mapping[str, Any]]:
        """Whether it takes requests and can keep its promises."""
        checks = {
            "agents": "ok" if self.is_ready else "coming back, or the server is ending",
            "store": self._committer.condition,
        }
        is_ready = all(said == "ok" for said in checks.values())
        return is_ready, {"ready": is_ready, "checks": checks}

    def metrics_system(self, fields: set[str]) -> Mapping[str, Any]:
        return self.metrics.system(fields)

    async def profile(self, seconds: float, top: int) -> Profile:
        """Where the scheduler's time goes from now on; InvalidTransition while another profile runs."""
        return await run_profile(self.scheduler, seconds, top)

    # -- what happens --

    async def pump(self) -> None:
        """Hand out what the scheduler says, for as long as the node is open."""
        while True:
            await trio.lowlevel.wait_readable(self.scheduler.wake_fd)
            for event in self.scheduler.drain():
                try:
                    self._dispatch(*event)
                except Exception:
                    # one event that a room cannot digest must not take the node down: every other agent depends on
                    # this loop
                    log.exception("an event of the scheduler was not handled: %r", event)
            self._committer.look()
            self.bus.show_messages()

    # Any: each kind of event has its own members (scheduler.pyi)
    def _dispatch(self, kind: int, port: int, a: Any, b: Any) -> None:
        if self.bus.handle(kind, port, a, b):
            return
        if kind == EVENT_CALL:
            self.answer_call(self.scheduler, port, a, *b)
            return
        if kind == EVENT_EXITED:
            self.tools.drop(port)
        if kind == EVENT_CONVERSATION:
            self.conversations.news()
            return
        if kind == EVENT_REFILL:
            self._refills.put(port)
            return
        self.runtime.handle((kind, port, a, b))

    def _deleted(self, name: str) -> None:
        self.directory.deleted(name)
        self.tools.forget(name)

    async def refill(self) -> None:
        """Bring backlogs from the store into mailboxes that have room, for as long as the node is open."""
        await self._refills.run()

    def written(self, batch: Batch) -> None:
        """This is in the store."""
        self._refills.committed()
        if batch.dead:
            self.dead_letters.committed(batch.dead)
        self.housekeeping.written(len(batch.records), len(batch.dead))

    async def record_the_rest(self) -> None:
        """When pump and committer have ended: keep what the last turns changed."""
        while self.scheduler.drain():
            pass
        try:
            await self._committer.finish()
            await self.webhooks.finish()
        except StoreError as error:
            log.error("the last changes of agents' state are lost: %s", error)  # noqa: TRY400 (the message says it all)

    def note(self, change: AgentChange) -> None:
        """An agent took a step: keep it, and tell those who watch."""
        self._committer.put_step(change)
        self.meter.note(change)
        self.directory.note(change)
        if (name := ANNOUNCED.get(change.state)) is None:
            return
        data = {
            "agent_id": change.name,
            "replica": change.replica,
            "incarnation": change.incarnation,
            "status": change.state.value,
            "reason": change.reason,
            "restarting": change.restarting,
        }
        self.bus.events.emit(name, data, change.at)
        if change.reason:
            self.bus.write_log(change.name, "system", f"{change.state.value}: {change.reason}", change.at)
