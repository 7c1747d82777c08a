"""Every agent of the node: its ports, its lives, and the supervisors that decide about them.

    open_runtime → Runtime → one task per life (runtime/agent.py), one per waiting restart, one for all timers

Rule 1: a supervisor's actions are carried out here and nowhere else; what it is told comes from the ends of lives.
Rule 2: a port outlives its lives. While an agent is restarted its mailbox keeps what comes; while it is stopped or
        quarantined new messages are refused, and what waits stays until it is started again or deleted.
Rule 3: the runtime knows neither store nor bus. What they must know goes out by `on_change`; what the scheduler says
        comes in by `handle`; state and timers that outlived the process come in by `start`.
Rule 4: leaving `open_runtime` only ends the tasks. Whoever wants agents to finish calls `stop_all` before, while events
        are still handed in; the scheduler frees what is left.
"""

# Over 500 lines: one table of agents, which starts, ends of lives, restarts, timers and drains all change.

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from random import Random
from typing import Any

import attrs
import trio

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import (
    EVENT_DRAINED,
    EVENT_EXITED,
    EVENT_HEALTH,
    EVENT_STARTED,
    EVENT_STATE,
    EVENT_TIMER,
    Scheduler,
)
from caxton._fast.wasm.module import Module
from caxton.core.agent import AgentState
from caxton.core.errors import (
    AgentNotFound,
    CaxtonError,
    DeploymentFailed,
    InvalidConfig,
    InvalidTransition,
    ResourceLimitExceeded,
)
from caxton.core.manifest import DELIVERY_CLASSES, AgentSpec
from caxton.core.supervision import Action, Exit, ExitReason, Phase, Quarantined, Start, Stop, Supervisor
from caxton.runtime.agent import Life, StopOrder
from caxton.runtime.replica import (
    Agent,
    AgentChange,
    AgentStatus,
    Group,
    Replica,
    RuntimeLimits,
    declared_capabilities,
    owner_of,
    status_of,
)
from caxton.runtime.rounds import HealthRounds
from caxton.runtime.timers import TimerRounds

log = logging.getLogger(__name__)

ON_THE_WAY = (AgentState.LOADED, AgentState.READY)  # steps that nobody waits for
NO_SLOT = "maximum concurrent limit of"  # as the engine says that its pool is full
PATIENCE = 5.0  # seconds for a child that its supervisor stops (OTP's shutdown time of a worker)

SchedulerEvent = tuple[int, int, Any, Any]  # kind, port, and what scheduler.pyi says of it (Any)
Actions = list[Action]
Envelopes = list[Envelope]


@asynccontextmanager
async def open_runtime(
    scheduler: Scheduler,
    *,
    on_change: Callable[[AgentChange], None],
    limits: RuntimeLimits | None = None,
    rng: Random | None = None,
    wall_clock: Callable[[], float] = time.time,
) -> AsyncIterator["Runtime"]:
    """A runtime over a scheduler that has been started. Somebody hands it the scheduler's events, by `handle`."""
    async with trio.open_nursery() as lives:
        runtime = Runtime(scheduler, lives, on_change, limits or RuntimeLimits(), rng or Random(), wall_clock)
        lives.start_soon(runtime.timers.run)
        lives.start_soon(runtime.health.run)
        yield runtime
        lives.cancel_scope.cancel()


@attrs.define(eq=False)
class Runtime:
    _scheduler: Scheduler
    _lives: trio.Nursery
    _on_change: Callable[[AgentChange], None]
    _limits: RuntimeLimits
    _rng: Random
    _wall_clock: Callable[[], float]
    _agents: dict[str, Agent] = attrs.field(factory=dict)
    _groups: dict[tuple[str, str], Group] = attrs.field(factory=dict)
    _by_port: dict[int, Replica] = attrs.field(factory=dict)
    _by_owner: dict[str, Replica] = attrs.field(factory=dict)
    timers: TimerRounds = attrs.field(init=False)
    health: HealthRounds = attrs.field(init=False)
    on_fit: Callable[[AgentSpec, Sequence[int]], None] = lambda spec, ports: None  # an agent has these ports now
    on_close: Callable[[int], None] = lambda port: None
    # variables of an instance that starts now
    environment_of: Callable[[AgentSpec], Iterable[tuple[str, str]]] = lambda spec: spec.config.environment.items()
    last_spawn_ns: int = 0  # from the start of the last instantiation to the end of its init

    def __attrs_post_init__(self) -> None:
        self.timers = TimerRounds(self._fire_timer, self._wall_clock)
        self.health = HealthRounds(self._scheduler)

    # -- what the floors above ask for --

    async def start(
        self,
        spec: AgentSpec,
        module: Module | None = None,
        *,
        state: Mapping[str, Mapping[bytes, bytes]] | None = None,
        timers: Iterable[tuple[str, int, int]] = (),
        run: bool = True,
    ) -> AgentStatus:
        """Bring an agent up, a new one or one that rests, and wait until it runs; without *run*, only give it its
        address.

        *state* (by owner) and *timers* (owner, timer id, due in µs) are what its replicas had in an earlier process.
        When a replica does not come up, all are stopped, the agent stays visible as failed, and DeploymentFailed is
        raised with the reason.
        """
        assert (module is None) == (spec.kind == "attached"), "an attached agent brings no module, any other does"
        agent = self._agents.get(spec.name)
        is_new = agent is None
        if agent is None:
            # before the first checkpoint: nobody may see an agent without replicas
            agent = self._agents[spec.name] = Agent(spec, module, self._group_of(spec))
            try:
                self._fit(agent, spec, module)
            except CaxtonError:
                self._forget(agent)
                raise
        async with agent.lock:
            if agent.is_deleted:
                raise AgentNotFound(f"the agent {spec.name!r} is being deleted")
            if not all(replica.is_at_rest for replica in agent.replicas):
                raise InvalidTransition(
                    f"the agent {spec.name!r} is {status_of(agent).state}; it can be started when it rests"
                )
            if not is_new:
                self._fit(agent, spec, module)
            for owner, values in (state or {}).items():
                if owner in self._by_owner:
                    self._by_owner[owner].values = dict(values)
            for owner, timer_id, due_us in timers:
                self._set_timer(owner, timer_id, due_us)
            if not run:
                for replica in agent.replicas:
                    self._report(replica, AgentState.STOPPED)
                await trio.lowlevel.checkpoint()
            elif module is None:
                for replica in agent.replicas:
                    self._scheduler.set_accepting(replica.port, True)
                    self._report(replica, AgentState.RUNNING)
                await trio.lowlevel.checkpoint()
            else:
                await self._bring_up(agent)
        return status_of(agent)

    async def stop(self, name: str, *, grace: float = 30.0, drain: bool = True) -> AgentStatus:
        """Let an agent rest: it takes nothing new, works for *grace* seconds at most, then ends.

        With *drain* it works on all that waits, without on the message that it has.
        """
        async with self._agent(name).lock:
            agent = self._agent(name)  # it may have been deleted while another held the lock
            await self._rest(agent, grace, drain)
            return status_of(agent)

    async def stop_all(self, *, grace: float, drain: bool = True) -> None:
        """Everybody at once, but groups that start in order stop in the reverse order."""
        order = StopOrder(trio.current_time() + grace, drain)
        for replica in self._by_owner.values():
            replica.order = order
        for group in self._groups.values():
            self._carry_out(group, group.supervisor.stop_all(trio.current_time()))
        async with trio.open_nursery() as nursery:
            for agent in list(self._agents.values()):
                nursery.start_soon(self._rest, agent, grace, drain)

    async def delete(self, name: str, *, grace: float = 0.0) -> Envelopes:
        """Stop an agent and take its address away; what waited in its mailboxes comes back."""
        agent = self._agent(name)
        agent.is_deleted = True
        try:
            async with agent.lock:
                await self._rest(agent, grace, drain=False)
                return self._forget(agent)
        except BaseException:
            agent.is_deleted = False  # whoever asked has gone; the agent rests, and can be deleted again
            raise

    def get(self, name: str) -> AgentStatus:
        return status_of(self._agent(name))

    def provide(self, name: str, capabilities: Iterable[str]) -> None:
        """By these it is reached too, beside those of its manifest and module; until the next call."""
        agent = self._agents.get(name)
        if agent is None:
            return
        old, agent.provided = agent.provided, frozenset(capabilities)
        for replica in agent.replicas:
            for capability in old - agent.provided - {*agent.spec.config.capabilities, *replica.declared}:
                self._scheduler.remove_capability(replica.port, capability)
            for capability in agent.provided - old:
                self._scheduler.add_capability(replica.port, capability)

    def replica_at(self, port: int) -> tuple[str, int, str] | None:
        """Whose port this is: the agent's name, the replica's number, and the owner of its state and timers."""
        replica = self._by_port.get(port)
        return (replica.agent.spec.name, replica.number, replica.owner) if replica else None

    def name_of(self, port: int) -> str:
        """Of the agent behind the port; empty: it is nobody's."""
        replica = self._by_port.get(port)
        return replica.agent.spec.name if replica else ""

    def check(self, spec: AgentSpec) -> None:
        """Raise InvalidConfig when `adjust` cannot do this: its supervisor is shared, and the others say otherwise."""
        agent, asked = self._agents[spec.name], spec.config.supervision
        held = agent.group.supervisor
        others = [each for each in self._agents.values() if each.group is agent.group and each is not agent]
        if others and (held.max_restarts, held.period) != (asked.max_restarts, asked.period):
            raise InvalidConfig(
                f"supervision: {spec.name!r} shares its supervisor with {others[0].spec.name!r}; all agents of the "
                f"group {asked.group!r} say the same: update them"
            )

    def adjust(self, spec: AgentSpec) -> None:
        """Tell a running agent how its messages are kept, what a turn may take, and how often it may be restarted."""
        agent, asked = self._agents[spec.name], spec.config
        agent.spec = spec
        held = agent.group.supervisor
        held.max_restarts, held.period = asked.supervision.max_restarts, asked.supervision.period
        for replica in agent.replicas:
            self._scheduler.set_delivery(replica.port, DELIVERY_CLASSES.index(asked.delivery))
            self._scheduler.set_turn_limits(
                replica.port, timeout_ns=int(asked.resources.timeout * 1e9), cpu_millicores=asked.resources.cpu
            )

    def change_limits(self, limits: RuntimeLimits) -> None:
        """Other limits: of mailboxes at once, of the rest for what starts from now on."""
        self._limits = limits
        for replica in self._by_port.values():
            self._scheduler.set_bounds(
                replica.port,
                queue_size=limits.queue_size,
                backlog=limits.offline_queue_size,
                backlog_bytes=limits.offline_queue_bytes,
            )

    def ports_of(self, name: str) -> Sequence[int]:
        """Those of the agent's replicas; none, when there is no such agent."""
        agent = self._agents.get(name)
        return [replica.port for replica in agent.replicas] if agent is not None else ()

    def knows(self, name: str) -> bool:
        return name in self._agents

    @property
    def replicas(self) -> Iterable[Replica]:
        """Of all agents, in the order of their deployment."""
        return self._by_owner.values()

    def list(self) -> "list[AgentStatus]":
        """In the order of their deployment."""
        return [status_of(agent) for agent in self._agents.values()]

    # -- what the scheduler says --

    def handle(self, event: SchedulerEvent) -> None:
        """One event of `Scheduler.drain()`; those that are not the runtime's are left alone."""
        kind, port, a, b = event
        replica = self._by_port.get(port)
        if replica is None:
            return  # not an agent's, or deleted while the event was under way
        if kind == EVENT_STATE:
            for key, value in b:
                if value is None:
                    replica.values.pop(key, None)
                else:
                    replica.values[key] = value
        elif kind == EVENT_TIMER:
            self._set_timer(replica.owner, a, b)
        elif replica.life is not None:
            if kind == EVENT_STARTED:
                self.last_spawn_ns = b
                replica.declared = declared_capabilities(a)
                for capability in replica.declared:
                    self._scheduler.add_capability(port, capability)
                replica.life.up()
            elif kind == EVENT_EXITED:
                replica.life.ended(a, b)
            elif kind == EVENT_DRAINED:
                replica.life.drained()
            elif kind == EVENT_HEALTH:
                self.health.answered(replica.life, a == 0, trio.current_time())

    # -- lives --

    def _carry_out(self, group: Group, actions: Iterable[Action]) -> None:
        for action in actions:
            replica = self._by_owner[action.child]
            if isinstance(action, Start):
                self._begin(replica)
            elif isinstance(action, Stop):
                if replica.life is not None:  # else its end crossed the supervisor's word
                    replica.life.stop(replica.order or StopOrder(trio.current_time() + PATIENCE, drain=False))
            else:
                self._scheduler.set_accepting(replica.port, False)
                if isinstance(action, Quarantined):
                    log.error("agent quarantined", extra={"agent": replica.owner, "reason": action.reason})
                    replica.given_up = f"quarantined: {action.reason}"
                    if replica.life is None:
                        self._report(replica, AgentState.FAILED, replica.given_up)
        deadline = group.supervisor.next_deadline()
        if deadline < group.armed:
            group.armed = deadline
            self._lives.start_soon(self._tick_at, group, deadline)

    async def _tick_at(self, group: Group, deadline: float) -> None:
        await trio.sleep_until(deadline)
        if group.armed == deadline:
            group.armed = inf
            self._carry_out(group, group.supervisor.tick(trio.current_time()))

    def _begin(self, replica: Replica) -> None:
        replica.given_up, replica.order = "", None
        replica.incarnation += 1
        check = replica.agent.spec.config.health_check or self._limits.health_check
        replica.life = Life(
            self._scheduler,
            replica.port,
            check,
            partial(self._step, replica),
            replica.agent.answers_health,
            replica.was_unwell,
        )
        self._scheduler.set_accepting(replica.port, True)
        self._lives.start_soon(self._live, replica, replica.life)

    def _step(self, replica: Replica, state: AgentState) -> None:
        self._report(replica, state)
        if state is AgentState.RUNNING:
            assert replica.life is not None
            self.health.add(replica.life, trio.current_time())
            group = replica.agent.group
            self._carry_out(group, group.supervisor.started(replica.owner, trio.current_time()))

    async def _live(self, replica: Replica, life: Life) -> None:
        try:
            ended = await life.run(partial(self._spawn, replica))
        except Exception:
            # a fault of ours in one agent's task must not take the others down; its supervisor is told as of any end
            log.exception("the task of an agent failed", extra={"agent": replica.owner})
            self._scheduler.drop(replica.port)
            ended = Exit(ExitReason.KILLED, "an internal error; the log says more")
        agent, supervisor = replica.agent, replica.agent.group.supervisor
        now = trio.current_time()
        actions: Actions = []
        if agent.is_starting and not life.is_up and not ended.is_normal:
            # OTP: a child that does not come up when it is added is not restarted; whoever adds it is told
            agent.failure = agent.failure or ended
            for each in agent.replicas:
                actions += supervisor.stop(each.owner, now)
        actions += supervisor.exited(replica.owner, ended, now)
        replica.life = None
        replica.was_unwell = not ended.is_normal and (life.was_unwell or ended.reason is ExitReason.UNHEALTHY)
        well = ended.is_normal and not replica.given_up
        self._report(
            replica,
            life.lifecycle.to(AgentState.STOPPED if well else AgentState.FAILED),
            replica.given_up or (ended.text if well else str(ended)),
            restarting=supervisor.children[replica.owner].wanted,
            end=ended.reason.value,
        )
        self._carry_out(agent.group, actions)

    def _spawn(self, replica: Replica) -> None:
        config, module = replica.agent.spec.config, replica.agent.module
        assert module is not None
        variables = self.environment_of(replica.agent.spec)
        self._scheduler.spawn(
            replica.port,
            module,
            memory=config.resources.memory,
            timeout_ns=int(config.resources.timeout * 1e9),
            cpu_millicores=config.resources.cpu,
            log_lines_per_second=self._limits.log_lines_per_second,
            state_quota=self._limits.state_quota,
            environment=[(name.encode(), value.encode()) for name, value in variables],
            state=list(replica.values.items()),
            next_timer=replica.next_timer,
        )

    def _report(
        self, replica: Replica, state: AgentState, reason: str = "", *, restarting: bool = False, end: str = ""
    ) -> None:
        replica.state, replica.reason, replica.restarting = state, reason, restarting
        replica.since = self._wall_clock()
        agent = replica.agent
        if agent.changed and state not in ON_THE_WAY:
            agent.changed.unpark_all()
        self._on_change(
            AgentChange(
                name=agent.spec.name,
                replica=replica.number,
                incarnation=replica.incarnation,
                state=state,
                reason=reason,
                at=replica.since,
                restarting=restarting,
                exit=end,
            )
        )

    # -- coming and going --

    def _agent(self, name: str) -> Agent:
        agent = self._agents.get(name)
        if agent is None or agent.is_deleted:
            raise AgentNotFound(f"there is no agent {name!r}", details={"name": name})
        return agent

    async def _bring_up(self, agent: Agent) -> None:
        supervisor = agent.group.supervisor
        agent.is_starting, agent.failure = True, None
        try:
            for replica in agent.replicas:
                now = trio.current_time()
                if replica.child is None:
                    actions = supervisor.add(replica.owner, agent.spec.config.restart, now)
                else:
                    replica.child.restart = agent.spec.config.restart
                    actions = supervisor.start(replica.owner, now)
                self._carry_out(agent.group, actions)
            for replica in agent.replicas:  # one after the other, so that a thousand of them are looked at once each
                while not (replica.state is AgentState.RUNNING or replica.is_at_rest):
                    await agent.changed.park()
            if agent.failure is not None:
                await self._wait_at_rest(agent)
        finally:
            agent.is_starting = False
        if agent.failure is not None:
            for replica in agent.replicas:
                self._scheduler.set_accepting(replica.port, False)
            if NO_SLOT in agent.failure.text:
                raise ResourceLimitExceeded(
                    f"the agent {agent.spec.name!r} did not start: {agent.failure.text}",
                    hint="delete agents; or raise runtime.component_slots, of modules runtime.pool_slots, and start "
                    "the server again",
                )
            raise DeploymentFailed(
                f"the agent {agent.spec.name!r} did not start: {agent.failure}",
                hint=f"see what it wrote: caxton logs --agents {agent.spec.name}",
                details={"reason": agent.failure.reason.value, "text": agent.failure.text},
            )
        orphans, agent.orphans = agent.orphans, []
        for envelope in orphans:
            try:
                self._scheduler.submit_envelope(envelope)
            except CaxtonError:
                log.exception("message lost with a replica", extra={"message_id": envelope.message_id})

    async def _rest(self, agent: Agent, grace: float, drain: bool) -> None:
        supervisor = agent.group.supervisor
        now = trio.current_time()
        for replica in agent.replicas:
            self._scheduler.set_accepting(replica.port, False)
            if replica.child is None:
                if replica.state is AgentState.RUNNING:
                    self._report(replica, AgentState.STOPPED)
                continue
            replica.order = StopOrder(now + grace, drain)
            self._carry_out(agent.group, supervisor.stop(replica.owner, now))
            if replica.life is not None and replica.child.phase is Phase.STOPPING:
                replica.life.stop(replica.order)  # it was being stopped already: as strictly as this order says
            elif replica.restarting:
                self._report(replica, AgentState.STOPPED, "stopped while it waited for its restart")
        await self._wait_at_rest(agent)
        await trio.lowlevel.checkpoint()

    async def _wait_at_rest(self, agent: Agent) -> None:
        for replica in agent.replicas:
            while not replica.is_at_rest:
                await agent.changed.park()

    def _fit(self, agent: Agent, spec: AgentSpec, module: Module | None) -> None:
        """Give an agent at rest the ports, routes and supervisor that the specification asks for."""
        if agent.replicas and spec.kind != agent.spec.kind:
            raise InvalidConfig(f"the agent {spec.name!r} is {agent.spec.kind}; delete it before it can be {spec.kind}")
        group = self._group_of(spec)
        if group is not agent.group:
            for replica in agent.replicas:
                agent.group.supervisor.remove(replica.owner, trio.current_time())
            old, agent.group = agent.group, group
            self._tidy(old)
        agent.spec, agent.module = spec, module
        agent.answers_health = module is not None and any(each.name == "health_check" for each in module.exports())
        wanted = spec.config.replicas if module is not None else 1
        while len(agent.replicas) > wanted:
            agent.orphans += self._close(agent.replicas.pop())
        while len(agent.replicas) < wanted:
            agent.replicas.append(self._open(agent, len(agent.replicas) + 1))
        for replica in agent.replicas:
            self._scheduler.set_delivery(replica.port, DELIVERY_CLASSES.index(spec.config.delivery))
            self._scheduler.clear_routes(replica.port)
            for capability in {*spec.config.capabilities, *agent.provided}:
                self._scheduler.add_capability(replica.port, capability)
            for topic in spec.config.topics:
                self._scheduler.subscribe(replica.port, topic)
            if spec.config.group:
                self._scheduler.join_group(replica.port, spec.config.group)
        self.on_fit(spec, [replica.port for replica in agent.replicas])

    def _group_of(self, spec: AgentSpec) -> Group:
        asked = spec.config.supervision
        key = ("group", asked.group) if asked.group else ("agent", spec.name)
        group = self._groups.get(key)
        if group is None:
            supervisor = Supervisor(asked.strategy, asked.max_restarts, asked.period, self._rng)
            group = self._groups[key] = Group(key, supervisor)
        held = group.supervisor
        if (held.strategy, held.max_restarts, held.period) != (asked.strategy, asked.max_restarts, asked.period):
            others = [a.spec.name for a in self._agents.values() if a.group is group and a.spec.name != spec.name]
            if others:
                raise InvalidConfig(
                    f"supervision: the group {asked.group!r} is {held.strategy} with {held.max_restarts} restarts in "
                    f"{held.period:g} s, as {others[0]!r} says; all agents of a group say the same"
                )
            held.strategy, held.max_restarts, held.period = asked.strategy, asked.max_restarts, asked.period
        return group

    def _open(self, agent: Agent, number: int) -> Replica:
        name, queue_size = agent.spec.name, self._limits.queue_size
        if number == 1:
            port = self._scheduler.open_port(name, host=agent.module is None, queue_size=queue_size)
        else:
            port = self._scheduler.open_replica(name, queue_size=queue_size)
        self._scheduler.set_accepting(port, False)  # until its life begins
        if agent.module is None:
            self._scheduler.set_away(port, True)  # until its program comes: what waits for it stays in the store
        replica = Replica(agent, number, owner_of(name, number), port)
        self._scheduler.keep_port(
            port, replica.owner, backlog=self._limits.offline_queue_size, backlog_bytes=self._limits.offline_queue_bytes
        )
        self._by_port[port] = self._by_owner[replica.owner] = replica
        return replica

    def _close(self, replica: Replica) -> Envelopes:
        supervisor = replica.agent.group.supervisor
        if replica.owner in supervisor.children:
            self._carry_out(replica.agent.group, supervisor.remove(replica.owner, trio.current_time()))
        del self._by_port[replica.port], self._by_owner[replica.owner]
        self.timers.forget(replica.owner)
        self.on_close(replica.port)
        return self._scheduler.close_port(replica.port)

    def _forget(self, agent: Agent) -> Envelopes:
        left = agent.orphans
        while agent.replicas:
            left += self._close(agent.replicas.pop())
        del self._agents[agent.spec.name]
        self._tidy(agent.group)
        return left

    def _tidy(self, group: Group) -> None:
        if not any(agent.group is group for agent in self._agents.values()):
            self._groups.pop(group.key, None)

    # -- timers --

    def _set_timer(self, owner: str, timer_id: int, due_us: int) -> None:
        replica = self._by_owner.get(owner)
        if replica is None:
            return  # of a replica that is no more
        replica.next_timer = max(replica.next_timer, timer_id + 1)
        self.timers.set(owner, timer_id, due_us)

    def _fire_timer(self, owner: str, timer_id: int) -> None:
        self._scheduler.fire_timer(self._by_owner[owner].port, timer_id)
