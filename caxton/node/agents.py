"""Agents as an operator handles them: module cache, store and runtime behind one set of verbs.

Rule 1: one verb at a time for an agent; a second one waits, and a second deployment of a name is refused at once.
Rule 2: an agent is in the store when `deploy` returns, and not before it has started: what does not start is not
        deployed.
"""

import hashlib
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from caxton._fast.scheduler import Scheduler
from caxton._fast.wasm.module import Module
from caxton.bus.bus import Bus
from caxton.core.agent import AgentState
from caxton.core.errors import AgentAlreadyExists, AgentNotFound, CaxtonError, ResourceLimitExceeded
from caxton.core.manifest import AgentConfig, AgentSpec
from caxton.core.views import AgentInfo, AgentMetrics, AgentResources, LogLine
from caxton.core.wasm_abi import AgentLimits
from caxton.node.recorder import Recorder
from caxton.runtime.modules import ModuleCache
from caxton.runtime.replica import AgentStatus
from caxton.runtime.supervisor import Runtime
from caxton.store import Store

log = logging.getLogger(__name__)

UPDATE_GRACE = 30.0  # seconds that the old version has for what waits


class Agents:
    def __init__(
        self,
        scheduler: Scheduler,
        runtime: Runtime,
        store: Store,
        modules: ModuleCache,
        bus: Bus,
        recorder: Recorder,
        *,
        max_agents: int,
    ) -> None:
        self._scheduler = scheduler
        self._runtime = runtime
        self._store = store
        self._modules = modules
        self._bus = bus
        self._recorder = recorder
        self._max_agents = max_agents
        self._specs: dict[str, AgentSpec] = {}
        self._broken: dict[str, str] = {}  # agents that could not even be loaded, and why
        self._deployed_at: dict[str, float] = {}
        self._locks: dict[str, trio.Lock] = {}

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
            sha = old.module if wasm is None else hashlib.sha256(wasm).hexdigest()
            spec = msgspec.structs.replace(
                old, module=sha, config=config or old.config, version=old.version + 1, desired="running"
            )
            self._admit(spec.config.replicas - old.config.replicas)
            module = await self._load(spec, wasm)
            before = await self._load(old, None)
            if wasm is not None:
                await self._store.modules.put(wasm)
            if name not in self._broken:
                await self._runtime.stop(name, grace=UPDATE_GRACE, drain=True)
            try:
                await self._runtime.start(spec, module)
            except CaxtonError:
                await self._runtime.stop(name, grace=0, drain=False)
                if old.desired == "running":
                    await self._runtime.start(old, before)
                raise
            await self._keep(spec)
            self._bus.events.emit("agent.updated", {"agent_id": name, "version": spec.version})
            return self.get(name)

    async def start(self, name: str) -> AgentInfo:
        """Start an agent that was stopped or has failed."""
        async with self._one_at_a_time(name):
            spec = msgspec.structs.replace(self._spec(name), desired="running")
            await self._runtime.start(spec, await self._load(spec, None))
            self._broken.pop(name, None)
            await self._keep(spec)
            return self.get(name)

    async def stop(self, name: str, grace: float, drain: bool) -> AgentInfo:
        """Let an agent rest until it is started again, also across a restart of the server."""
        async with self._one_at_a_time(name):
            spec = msgspec.structs.replace(self._spec(name), desired="stopped")
            await self._runtime.stop(name, grace=grace, drain=drain)
            await self._keep(spec)
            return self.get(name)

    async def delete(self, name: str) -> AgentInfo:
        """Stop the agent and forget it, its state and its timers; senders of what waited are told."""
        async with self._one_at_a_time(name):
            info = self.get(name)
            self._bus.streams.forget(name)
            if name not in self._broken:
                self._bus.return_to_senders(await self._runtime.delete(name))
            await self._recorder.wait_written()
            await self._store.agents.delete(name)
            del self._specs[name]
            self._broken.pop(name, None)
            self._deployed_at.pop(name, None)
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
            status=AgentState.FAILED.value,
            version=spec.version,
            created_at=spec.created_at,
            deployed_at=self._deployed_at.get(name, spec.created_at),
            replicas=spec.config.replicas,
            module=spec.module,
            reason=self._broken.get(name, ""),
            capabilities=spec.config.capabilities,
            resources=limits,
        )
        if name in self._broken:
            return info
        status = self._runtime.get(name)
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
        if name not in self._broken:
            for replica in self._runtime.get(name).replicas:
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

    def logs(self, agents: Sequence[str], since: float | None, limit: int) -> Sequence[LogLine]:
        return self._bus.logs.select(agents, since, limit)

    # -- start of the server --

    async def restore(self) -> None:
        """Bring back every agent that the store knows; one that does not come up does not keep the others away."""
        timers: dict[str, list[tuple[str, int, int]]] = {}
        for timer in await self._store.timers.load_all():
            name = timer.agent.partition("#")[0]
            timers.setdefault(name, []).append((timer.agent, timer.timer_id, timer.due_us))
        specs = await self._store.agents.list()
        await self._store.modules.prune({spec.module for spec in specs})  # of agents that were deleted or updated
        async with trio.open_nursery() as nursery:
            for spec in specs:
                self._specs[spec.name] = spec
                nursery.start_soon(self._bring_back, spec, timers.get(spec.name, []))

    async def _bring_back(self, spec: AgentSpec, timers: Sequence[tuple[str, int, int]]) -> None:
        try:
            state = {
                owner: await self._store.state.load(owner)
                for owner in (f"{spec.name}#{i}" if i > 1 else spec.name for i in range(1, spec.config.replicas + 1))
            }
            module = await self._load(spec, None)
            await self._runtime.start(spec, module, state=state, timers=timers, run=spec.desired == "running")
            self._adopt(spec)
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
        async with self._one_at_a_time(name):
            self._admit(config.replicas)
            sha = "" if wasm is None else hashlib.sha256(wasm).hexdigest()
            spec = AgentSpec(
                name=name,
                kind="attached" if wasm is None else "wasm",
                module=sha,
                config=config,
                created_at=time.time(),
            )
            module = await self._load(spec, wasm)
            if wasm is not None:
                await self._store.modules.put(wasm)
            try:
                await self._runtime.start(spec, module)
                await self._keep(spec)
            except BaseException:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                    if self._runtime.knows(name):
                        await self._runtime.delete(name)
                raise
            self._adopt(spec)
            self._bus.events.emit("agent.deployed", {"agent_id": name, "version": spec.version, "kind": spec.kind})
            return self.get(name)

    def _adopt(self, spec: AgentSpec) -> None:
        if spec.kind == "attached":
            self._bus.streams.adopt(spec.name, self._runtime.get(spec.name).replicas[0].port)

    def _admit(self, more: int) -> None:
        have = sum(spec.config.replicas for spec in self._specs.values() if spec.kind == "wasm")
        if more > 0 and have + more > self._max_agents:
            raise ResourceLimitExceeded(
                f"{have} agents run and {more} more were asked for; the limit is {self._max_agents}",
                hint="delete agents, or raise runtime.max_agents",
                details={"agents": have, "limit": self._max_agents},
            )

    async def _load(self, spec: AgentSpec, wasm: bytes | None) -> Module | None:
        if spec.kind == "attached":
            return None
        if wasm is None:
            wasm = await self._store.modules.get(spec.module)
        engine = self._modules.engine
        return await self._modules.load(
            wasm, spec.module, AgentLimits(spec.config.resources.memory, engine.max_table_elements)
        )

    async def _keep(self, spec: AgentSpec) -> None:
        await self._store.agents.put(spec)
        self._specs[spec.name] = spec
        self._deployed_at[spec.name] = time.time()

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
            cpu_used=spent / 1e9 / up if up else 0.0,
        )
        metrics = AgentMetrics(
            messages_processed=handled,
            messages_failed=failed,
            average_latency_ms=(spent + waited) / (handled + failed) / 1e6 if handled + failed else 0.0,
            uptime_seconds=up,
            restarts=status.restarts,
        )
        return resources, metrics


COUNTERS = (
    "received",
    "handled",
    "failed",
    "sent",
    "turns_ns",
    "waited_ns",
    "waiting",
    "mailbox_bytes",
    "memory_bytes",
    "state_bytes",
    "state",
)
