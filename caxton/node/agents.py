"""Agents as an operator handles them: module cache, store and runtime behind one set of verbs.

Rule 1: one verb at a time for an agent; a second one waits, and a second deployment of a name is refused at once.
Rule 2: an agent is in the store when `deploy` returns, and not before it has started: what does not start is not
        deployed.
"""

# Over 500 lines: each verb undoes what it has half done (add, keep, start, sweep, roll back), by the same few steps.

import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import apsw
import msgspec
import trio

from caxton._fast.scheduler import Scheduler
from caxton._fast.wasm.component import Component
from caxton._fast.wasm.module import Module
from caxton.bus.bus import Bus
from caxton.core.agent import AgentState
from caxton.core.errors import (
    AgentAlreadyExists,
    AgentNotFound,
    CaxtonError,
    Forbidden,
    InvalidRequest,
    InvalidWasm,
    ResourceLimitExceeded,
    StoreError,
)
from caxton.core.limits import format_bytes
from caxton.core.manifest import AgentConfig, AgentSpec, ImportPolicy
from caxton.core.views import AgentInfo, AgentMetrics, AgentResources, BreakerInfo, LogLine
from caxton.core.wasm_abi import AgentLimits
from caxton.node.admission import Admission
from caxton.node.agent_secrets import AgentSecrets
from caxton.node.backlog import abandon
from caxton.node.committer import Committer
from caxton.node.signing import SigningKeys
from caxton.runtime.modules import ModuleCache
from caxton.runtime.replica import AgentStatus, owner_of
from caxton.runtime.supervisor import Runtime
from caxton.store import Store
from caxton.store.agents import write_agent
from caxton.store.timers import Timer

log = logging.getLogger(__name__)

UPDATE_GRACE = 30.0  # seconds that the old version has for what waits
UNDOING = 5.0  # seconds that it may take to undo what failed, or was cancelled


class Agents:
    def __init__(
        self,
        scheduler: Scheduler,
        runtime: Runtime,
        store: Store,
        modules: ModuleCache,
        bus: Bus,
        committer: Committer,
        *,
        keys: SigningKeys,
        secrets: AgentSecrets,
        max_agents: int,
        imports: ImportPolicy = "trap",
    ) -> None:
        self._scheduler = scheduler
        self._runtime = runtime
        self._store = store
        self._modules = modules
        self._bus = bus
        self._committer = committer
        self._keys = keys
        self._secrets = secrets
        self.max_agents = max_agents
        self.hot_reload = True
        self.admission: Admission | None = None  # None: the machine bounds nothing
        self._imports = imports  # of components whose configuration does not say
        self._unavailable: dict[str, tuple[str, ...]] = {}  # what components import beyond what there is
        self._specs: dict[str, AgentSpec] = {}
        self._broken: dict[str, str] = {}  # agents that could not even be loaded, and why
        self._deployed_at: dict[str, float] = {}
        self._locks: dict[str, trio.Lock] = {}
        self._promised = 0  # millicores, the same as the next
        self._arriving = 0  # instances whose deployment is under way
        self.on_deleted: Callable[[str], None] = lambda name: None  # the agent is gone for good
        self.breakers: Callable[[str], Sequence[BreakerInfo]] = lambda name: ()

    # -- verbs --

    async def deploy(self, wasm: bytes, config: AgentConfig) -> AgentInfo:
        """Check, compile, start and keep a module.

        InvalidWasm, AgentAlreadyExists, ResourceLimitExceeded, DeploymentFailed.
        """
        return await self._add(config, wasm)

    async def attach(self, config: AgentConfig) -> AgentInfo:
        """Make the mailbox of an agent that lives outside."""
        return await self._add(config, None)

    async def update(self, name: str, wasm: bytes | None, config: AgentConfig | None) -> AgentInfo:
        """Replace module or configuration or both; when the new version does not start, the old one comes back."""
        async with self._one_at_a_time(name):
            old = self._spec(name)
            if wasm is not None and not self.hot_reload:
                raise Forbidden(
                    f"the agent {name!r} gets no other module while runtime.enable_hot_reload is false",
                    hint="delete it and deploy it again, or `caxton config set runtime.enable_hot_reload=true`",
                )
            if wasm is not None and old.kind == "attached":
                raise InvalidRequest(
                    f"the agent {name!r} is attached and lives outside; it has no module",
                    hint="delete it first, or deploy the module under another name",
                )
            sha = old.module if wasm is None else hashlib.sha256(wasm).hexdigest()
            config = old.config if config is None else msgspec.structs.replace(config, name=name)
            spec = msgspec.structs.replace(old, module=sha, config=config, version=old.version + 1, desired="running")
            self._secrets.check(spec)
            more = _instances(spec) - _instances(old), _millicores(spec) - _millicores(old)
            with self._room_for(*more), self._store.modules.hold(sha, old.module):
                module = await self._load(spec, wasm)
                # what is broken has no version that could come back: this one mends it
                before = None if name in self._broken else await self._load(old, None)
                try:
                    if self._runtime.knows(name):
                        await self._runtime.stop(name, grace=UPDATE_GRACE, drain=True)
                    await self._start(spec, module)
                    await self._keep(spec, wasm)
                except BaseException as error:
                    with trio.move_on_after(UNDOING, shield=True):
                        await self._roll_back(old, before, str(error))
                    raise
            self._deployed_at[name] = time.time()
            self._bus.events.emit("agent.updated", {"agent_id": name, "version": spec.version})
            return self.get(name)

    def spec(self, name: str) -> AgentSpec:
        """What the store knows of it. Raises AgentNotFound."""
        return self._spec(name)

    def config_of(self, name: str) -> AgentConfig | None:
        """None: there is no such agent."""
        spec = self._specs.get(name)
        return spec.config if spec is not None else None

    async def adjust(
        self, name: str, config: Callable[[AgentSpec], AgentConfig], also: Callable[[apsw.Connection], None]
    ) -> None:
        """Another configuration for an agent that goes on running; only what `Runtime.adjust` can tell it differs.

        *also* is written with it, or neither is.
        """
        async with self._one_at_a_time(name):
            old = self._spec(name)
            spec = msgspec.structs.replace(old, config=config(old), version=old.version + 1)
            if self._runtime.knows(name):
                self._runtime.check(spec)

            def write(connection: apsw.Connection) -> None:
                write_agent(connection, spec)
                also(connection)

            with self._room_for(0, _millicores(spec) - _millicores(old)):
                await self._store.write(write)
                self._specs[name] = spec
            if self._runtime.knows(name):
                self._runtime.adjust(spec)
            self._bus.events.emit("agent.updated", {"agent_id": name, "version": spec.version})

    async def start(self, name: str) -> AgentInfo:
        """Start an agent that was stopped or has failed."""
        async with self._one_at_a_time(name):
            spec = msgspec.structs.replace(self._spec(name), desired="running")
            self._secrets.check(spec)
            module = await self._load(spec, None)
            await self._keep(spec)  # first: whoever asked may be gone before the agent is up
            await self._start(spec, module)
            return self.get(name)

    async def stop(self, name: str, grace: float, drain: bool) -> AgentInfo:
        """Let an agent rest until it is started again, also across a restart of the server."""
        async with self._one_at_a_time(name):
            spec = msgspec.structs.replace(self._spec(name), desired="stopped")
            try:
                if self._runtime.knows(name):
                    await self._runtime.stop(name, grace=grace, drain=drain)
            finally:
                with trio.move_on_after(UNDOING, shield=True):
                    await self._keep(spec)
            return self.get(name)

    async def delete(self, name: str) -> AgentInfo:
        """Stop the agent and forget it, its state and its timers; senders of what waited are told."""
        async with self._one_at_a_time(name):
            info = self.get(name)
            if self._committer.fault:  # else it would be gone here, and back with the next start of the server
                raise StoreError(
                    self._committer.fault, hint="delete it when the disk works again; stopping it works now"
                )
            if self._runtime.knows(name):
                await self._take_away(name)
            # from here on there is no agent: who asked cannot change his mind
            with trio.CancelScope(shield=True):
                try:
                    await self._committer.wait_written()
                    await self._store.agents.delete(name)
                except CaxtonError as error:
                    self._broken[name] = f"it was stopped, but is still in the store: {error}"
                    raise
            del self._specs[name]
            self._broken.pop(name, None)
            self._deployed_at.pop(name, None)
            self.on_deleted(name)
            self._keys.gone(name)
            self._secrets.forget(name)
            self._bus.events.emit("agent.removed", {"agent_id": name})
            return msgspec.structs.replace(info, status="removed", replicas_ready=0)

    # -- views --

    def list(self, status: str | None, limit: int, offset: int) -> tuple[list[AgentInfo], int]:
        """One page, by name, and how many there are in all."""
        infos = [self.get(name) for name in sorted(self._specs)]
        if status is not None:
            infos = [info for info in infos if info.status == status]
        return infos[offset : offset + limit], len(infos)

    def get(self, name: str) -> AgentInfo:
        spec = self._spec(name)
        limits = AgentResources(memory_limit=spec.config.resources.memory, cpu_limit=spec.config.resources.cpu / 1000)
        info = AgentInfo(
            agent_id=name,
            name=name,
            kind=spec.kind,
            status=(AgentState.FAILED if name in self._broken else AgentState.DRAINING).value,
            version=spec.version,
            created_at=spec.created_at,
            deployed_at=self._deployed_at.get(name, spec.created_at),
            replicas=_instances(spec),
            module=spec.module,
            reason=self._broken.get(name, ""),
            capabilities=spec.config.capabilities,
            unavailable_imports=self._unavailable.get(spec.module, ()),
            public_key=self._keys.public_key(name),
            tools=spec.config.tools,
            circuit_breakers=tuple(self.breakers(name)),
            resources=limits,
        )
        if (status := self._status(name)) is None:
            return info
        resources, metrics = self._use(status, limits)
        return msgspec.structs.replace(
            info,
            status=status.state.value,
            replicas_ready=status.replicas_ready,
            reason=status.reason,
            capabilities=status.capabilities,
            resources=resources,
            metrics=metrics,
        )

    # Any: what there is to know, for people
    async def inspect(self, name: str) -> dict[str, Any]:
        """Everything: replicas with their counters, addresses, configuration, and the last steps of its life."""
        spec = self._spec(name)
        replicas = []
        with suppress(StoreError):  # then what the disk has
            await self._committer.wait_written()
        status = self._status(name)
        for replica in status.replicas if status else ():
            counters = self._scheduler.statistics(replica.port)
            replicas.append(
                {
                    **msgspec.to_builtins(replica),
                    "addresses": self._scheduler.router.keys(replica.port),
                    "counters": {key: getattr(counters, key) for key in COUNTERS},
                }
            )
        return {
            "agent": msgspec.to_builtins(self.get(name)),
            "config": msgspec.to_builtins(spec.config),
            "desired": spec.desired,
            "replicas": replicas,
            "lifecycle": msgspec.to_builtins(await self._store.lifecycle.recent(name, 20)),
        }

    def kind_of(self, name: str) -> str:
        """Empty: there is no such agent."""
        spec = self._specs.get(name)
        return spec.kind if spec is not None else ""

    def logs(self, agents: Sequence[str], since: float | None, limit: int) -> Sequence[LogLine]:
        return self._bus.logs.select(agents, since, limit)

    def members(self, group: str) -> Sequence[str]:
        """Names of those who are in a group, in order."""
        return [name for name, spec in sorted(self._specs.items()) if spec.config.group == group]

    def knows(self, name: str) -> bool:
        return name in self._specs

    def uses(self, module: str) -> bool:
        """Whether an agent has this module, by its SHA-256."""
        return any(spec.module == module for spec in self._specs.values())

    def waiting(self, name: str) -> int:
        """Messages in the agent's mailboxes."""
        status = self._status(name)
        return sum(self._scheduler.statistics(each.port).waiting for each in status.replicas) if status else 0

    def score(self, name: str) -> float | None:
        """Which share of its messages the agent has handled well; None: it has had none, or is not here."""
        if name not in self._specs:
            return None
        metrics = self.get(name).metrics
        ended = metrics.messages_processed + metrics.messages_failed
        return metrics.messages_processed / ended if ended else None

    @property
    def broken(self) -> int:
        """How many there are that could not even be loaded."""
        return len(self._broken)

    def _status(self, name: str) -> AgentStatus | None:
        """None: there is no agent behind the name, it is broken or on its way out."""
        try:
            return self._runtime.get(name)
        except AgentNotFound:
            return None

    # -- start of the server --

    async def restore(self) -> None:
        """Bring back every agent that the store knows; one that does not come up does not keep the others away."""
        timers: dict[str, list[Timer]] = {}
        for timer in await self._store.timers.load_all():
            timers.setdefault(timer.agent.partition("#")[0], []).append(timer)
        specs = await self._store.agents.list()
        try:
            used = {spec.module for spec in specs}
            await self._store.modules.prune(used.__contains__)  # those of agents that were deleted or updated go
        except StoreError as error:
            log.warning("modules that nobody uses could not be removed: %s", error)
        if (there := sum(map(_instances, specs))) > self.max_agents:
            text = "there are %d agents, and runtime.max_agents is %d: they stay, and no other is added"
            log.warning(text, there, self.max_agents)
        async with trio.open_nursery() as nursery:
            for spec in specs:
                self._specs[spec.name] = spec
                nursery.start_soon(self._bring_back, spec, timers.get(spec.name, []))
        await self._give_up_strangers()

    async def _bring_back(self, spec: AgentSpec, timers: Sequence[Timer]) -> None:
        try:
            if spec.desired == "running":
                self._secrets.check(spec)
            await self._start(spec, await self._load(spec, None), timers)
        except CaxtonError as error:
            log.error("agent %s did not come back: %s", spec.name, error)  # noqa: TRY400 (the message says it all)
            if not self._runtime.knows(spec.name):
                self._broken[spec.name] = str(error)

    # -- inside --

    async def _add(self, config: AgentConfig, wasm: bytes | None) -> AgentInfo:
        name = config.name
        if name in self._specs or name in self._locks:
            raise AgentAlreadyExists(
                f"an agent named {name!r} exists already",
                hint=f"choose another name, or update it: caxton deploy … --name {name} --update",
                details={"name": name},
            )
        spec = AgentSpec(
            name=name,
            kind="attached" if wasm is None else "wasm",
            module="" if wasm is None else hashlib.sha256(wasm).hexdigest(),
            config=config,
            created_at=time.time(),
        )
        self._secrets.check(spec)
        async with self._one_at_a_time(name):
            with self._room_for(_instances(spec), _millicores(spec)), self._store.modules.hold(spec.module):
                module = await self._load(spec, wasm)
                await self._sweep(spec)  # a crash in the middle of a deployment may have left something
                try:
                    await self._keys.prepare(spec)
                    await self._runtime.start(spec, module)
                    await self._keep(spec, wasm)
                except BaseException:
                    with trio.move_on_after(UNDOING, shield=True):
                        await self._undo(spec)
                    raise
            self._adopt(spec)
            self._bus.events.emit("agent.deployed", {"agent_id": name, "version": spec.version, "kind": spec.kind})
            return self.get(name)

    async def _undo(self, spec: AgentSpec) -> None:
        """Leave nothing of an agent whose deployment failed but the story of its life."""
        self.on_deleted(spec.name)
        await self._keys.take_back(spec.name)
        if self._runtime.knows(spec.name):
            await self._take_away(spec.name)
        try:
            await self._committer.wait_written()
            await self._sweep(spec)
        except StoreError as error:
            log.warning("what agent %s wrote before its deployment failed is left behind: %s", spec.name, error)

    async def _sweep(self, spec: AgentSpec) -> None:
        """Forget state and timers of one that is not in the store: the next agent of its name shall not find them."""
        for owner in _owners(spec):
            if state := await self._store.state.load(owner):
                await self._store.state.apply(owner, [(key, None) for key in state])
            if timers := await self._store.timers.load(owner):
                await self._store.timers.apply([(owner, timer.timer_id, 0) for timer in timers])

    async def _take_away(self, name: str) -> None:
        """Out of the runtime and the bus."""
        ports = [replica.port for replica in self._runtime.get(name).replicas]
        waiting = await self._runtime.delete(name)
        unacknowledged = self._bus.streams.forget(name)
        self._bus.return_to_senders([*unacknowledged, *waiting])
        for port in ports:
            await self.give_up(port)

    async def give_up(self, port: int) -> None:
        """The backlog of a port that is closed: dead letters, and their senders are told."""
        async for messages in abandon(self._scheduler, self._store, self._committer, port):
            self._bus.return_to_senders(messages)
        self._committer.look()

    async def _give_up_strangers(self) -> None:
        """What waits for agents that are no more: the server ended while it gave that up."""
        known = {owner for spec in self._specs.values() for owner in _owners(spec)}
        for owner in self._scheduler.ledger.owners_waiting():
            # who never lived as an agent is one of the platform's, and has a port later
            if owner not in known and await self._store.lifecycle.recent(owner.partition("#")[0], 1):
                port = self._scheduler.open_port(f"{owner}#gone", host=True)  # no agent can have this name
                self._scheduler.keep_port(port, owner)
                self._bus.return_to_senders(self._scheduler.close_port(port))
                try:
                    await self.give_up(port)
                except StoreError as error:
                    log.warning("what waits for %s, who is no more, cannot be given up now: %s", owner, error)

    async def _roll_back(self, old: AgentSpec, module: Module | None, reason: str) -> None:
        name = old.name
        try:
            if self._runtime.knows(name):
                await self._runtime.stop(name, grace=0, drain=False)
                if module is None and old.kind == "wasm":
                    await self._take_away(name)
                    self._broken[name] = f"an update did not mend it: {reason}"
                else:
                    await self._start(old, module)
        except CaxtonError as error:
            log.error("agent %s did not come back after an update: %s", name, error)  # noqa: TRY400

    async def _start(self, spec: AgentSpec, module: Module | None, timers: Sequence[Timer] | None = None) -> None:
        """Bring it up, or to rest when that is desired; replicas that are new here get what the store has of them."""
        name = spec.name
        known = self._status(name)
        have = len(known.replicas) if known else 0
        state, due = {}, []
        for owner in _owners(spec)[have:]:
            state[owner] = await self._store.state.load(owner)
            if timers is None:
                due += await self._store.timers.load(owner)
        await self._keys.prepare(spec)
        wanted = [(timer.agent, timer.timer_id, timer.due_us) for timer in (due if timers is None else timers)]
        try:
            await self._runtime.start(spec, module, state=state, timers=wanted, run=spec.desired == "running")
        finally:
            if self._runtime.knows(name):
                self._broken.pop(name, None)
                if have == 0:
                    self._adopt(spec)

    def _adopt(self, spec: AgentSpec) -> None:
        if spec.kind == "attached":
            self._bus.streams.adopt(spec.name, self._runtime.get(spec.name).replicas[0].port)

    @contextmanager
    def _room_for(self, more: int, millicores: int) -> Iterator[None]:
        """A place for so many more instances while they come; ResourceLimitExceeded when there is none."""
        more, millicores = max(more, 0), max(millicores, 0)
        if self.admission is not None:
            promised = sum(map(_millicores, self._specs.values())) + self._promised
            self.admission.check(promised, millicores, is_new=more > 0)
        have = sum(map(_instances, self._specs.values())) + self._arriving
        if more and have + more > self.max_agents:
            raise ResourceLimitExceeded(
                f"there are {have} agents, and {more} more were asked for; the limit is {self.max_agents}",
                hint="delete agents, or raise runtime.max_agents",
                details={"agents": have, "limit": self.max_agents},
            )
        self._arriving += more
        self._promised += millicores
        try:
            yield
        finally:
            self._arriving -= more
            self._promised -= millicores

    async def _load(self, spec: AgentSpec, wasm: bytes | None) -> Module | None:
        if spec.kind == "attached":
            return None
        if wasm is None:
            wasm = await self._store.modules.get(spec.module)
        engine = self._modules.engine
        asked = spec.config.resources.memory
        memory = min(asked, engine.max_memory)  # which may have become less since the agent was deployed
        try:
            module = await self._modules.load(wasm, spec.module, AgentLimits(memory, engine.max_table_elements))
        except InvalidWasm as error:
            if memory < asked and "memory" in error.details:
                error.hint = f"raise runtime.max_memory_per_agent, which is below the agent's {format_bytes(asked)}"
            raise
        if isinstance(module, Component) and module.outside:
            if (spec.config.imports or self._imports) == "strict":
                names = ", ".join(f"`{name}`" for name in module.outside)
                raise InvalidWasm(
                    f"the component imports {names}, which agents do not have",
                    hint="leave out what needs it (componentize-py: --stub-wasi; componentize-js: disableFeatures), or "
                    "deploy with `imports: trap`: calling it then ends the instance",
                    details={"imports": list(module.outside)},
                )
            self._unavailable[spec.module] = module.outside
        return module

    async def _keep(self, spec: AgentSpec, wasm: bytes | None = None) -> None:
        if wasm is not None:
            await self._store.modules.put(wasm)
        await self._store.agents.put(spec)
        self._specs[spec.name] = spec

    def _spec(self, name: str) -> AgentSpec:
        spec = self._specs.get(name)
        if spec is None:
            raise AgentNotFound(
                f"there is no agent named {name!r}",
                hint="caxton agent list shows those there are",
                details={"name": name},
            )
        return spec

    @asynccontextmanager
    async def _one_at_a_time(self, name: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(name, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._locks.pop(name, None)

    def _use(self, status: AgentStatus, limits: AgentResources) -> tuple[AgentResources, AgentMetrics]:
        counters = [self._scheduler.statistics(replica.port) for replica in status.replicas]
        handled = sum(each.handled for each in counters)
        failed = sum(each.failed for each in counters)
        spent = sum(each.turns_ns for each in counters)
        waited = sum(each.waited_ns for each in counters)
        up = max(0.0, time.time() - status.running_since) if status.running_since else 0.0
        resources = msgspec.structs.replace(
            limits,
            memory_used=sum(each.memory_bytes for each in counters),
            cpu_used=sum(each.cpu_ns for each in counters) / 1e9 / up if up else 0.0,
        )
        metrics = AgentMetrics(
            messages_processed=handled,
            messages_failed=failed,
            average_latency_ms=(spent + waited) / (handled + failed) / 1e6 if handled + failed else 0.0,
            uptime_seconds=up,
            restarts=status.restarts,
        )
        return resources, metrics


def wasm_instances(specs: Iterable[AgentSpec]) -> int:
    """How many the engine needs room for when all of them run."""
    return sum(_instances(spec) for spec in specs if spec.kind == "wasm")


def _instances(spec: AgentSpec) -> int:
    return spec.config.replicas if spec.kind == "wasm" else 1


def _millicores(spec: AgentSpec) -> int:
    """Of the processors, that all its instances may have; what is attached runs elsewhere."""
    return _instances(spec) * spec.config.resources.cpu if spec.kind == "wasm" else 0


def _owners(spec: AgentSpec) -> Sequence[str]:
    return [owner_of(spec.name, number) for number in range(1, _instances(spec) + 1)]


COUNTERS = (
    "received",
    "handled",
    "failed",
    "sent",
    "turns_ns",
    "cpu_ns",
    "waited_ns",
    "waiting",
    "mailbox_bytes",
    "memory_bytes",
    "state_bytes",
    "state",
)
