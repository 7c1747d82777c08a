"""What the runtime holds about an agent and its replicas, and how it shows them to others.

Rule 1: a replica is a port and the succession of its lives. Its key-value state and timers are its own; the store knows
        them by its owner's name, `ping` for the first replica, `ping#2` for the second.
Rule 2: an agent's state is the best of its replicas' states: as long as one runs, the agent does.
"""

from collections.abc import Sequence
from typing import Literal

import attrs
import msgspec
import trio

from caxton._fast.envelope import Envelope
from caxton._fast.wasm.module import Module
from caxton.core.agent import AgentState
from caxton.core.config_keys import Config
from caxton.core.decoding import UNREADABLE
from caxton.core.manifest import AgentSpec, HealthCheck
from caxton.core.supervision import Child, Exit, Phase, Supervisor
from caxton.runtime.agent import Life, StopOrder

# of two replicas' states the earlier one is the agent's
BEST_FIRST = (
    AgentState.RUNNING,
    AgentState.DRAINING,
    AgentState.READY,
    AgentState.LOADED,
    AgentState.FAILED,
    AgentState.STOPPED,
    AgentState.UNLOADED,  # has not had its turn in a group that starts in order
)

MAX_DECLARED = 64  # capabilities that a guest may declare by get_capabilities


class AgentChange(msgspec.Struct, frozen=True, kw_only=True):
    """One replica took one step. `restarting`: it ended, and will be started again by its supervisor."""

    name: str
    replica: int  # from 1
    incarnation: int  # of this replica since the server started, from 1
    state: AgentState
    reason: str
    at: float  # seconds since the epoch
    restarting: bool = False
    exit: str = ""  # core.supervision.ExitReason of a life that ended with this step


class ReplicaStatus(msgspec.Struct, frozen=True, kw_only=True):
    replica: int
    port: int
    state: AgentState
    reason: str
    incarnation: int
    restarts: int
    since: float  # when it took its last step, seconds since the epoch
    restarting: bool
    quarantined: bool
    healthy: bool  # false: it runs again after it was unhealthy, and has not given enough good answers yet


class AgentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How an agent fares now."""

    name: str
    kind: Literal["wasm", "attached"]
    state: AgentState
    reason: str
    running_since: float  # the oldest running replica's; 0: none runs
    replicas: tuple[ReplicaStatus, ...]
    capabilities: tuple[str, ...]

    @property
    def replicas_ready(self) -> int:
        return sum(replica.state is AgentState.RUNNING and replica.healthy for replica in self.replicas)

    @property
    def restarts(self) -> int:
        return sum(replica.restarts for replica in self.replicas)


@attrs.frozen
class RuntimeLimits:
    """What is the same for every agent."""

    queue_size: int = 10_000
    offline_queue_size: int = 1_000_000
    offline_queue_bytes: int = 1 << 30
    log_lines_per_second: int = 1000
    state_quota: int = 1 << 20
    health_check: HealthCheck = attrs.field(factory=HealthCheck)

    @classmethod
    def of(cls, config: Config) -> "RuntimeLimits":
        return cls(
            queue_size=config.messaging.queue_size,
            offline_queue_size=config.messaging.offline_queue_size,
            offline_queue_bytes=config.messaging.offline_queue_bytes,
            log_lines_per_second=config.runtime.log_lines_per_second,
            state_quota=config.runtime.state_quota,
            health_check=config.deployment.health_checks,
        )


@attrs.define(eq=False)
class Group:
    """Agents that share a supervisor: those of one named group, or the replicas of one agent."""

    key: tuple[str, str]
    supervisor: Supervisor
    armed: float = float("inf")  # when the task that waits for the next restart wakes up


@attrs.define(eq=False)
class Agent:
    spec: AgentSpec
    module: Module | None  # None: attached, its code runs elsewhere
    group: Group
    replicas: list["Replica"] = attrs.field(factory=list)
    answers_health: bool = False  # the module exports health_check
    provided: frozenset[str] = frozenset()  # capabilities that it is reached by, as the directory says
    is_starting: bool = False
    failure: Exit | None = None  # the first life that did not come up while it was starting
    is_deleted: bool = False
    orphans: list[Envelope] = attrs.field(factory=list)  # what waited for replicas that are no more
    changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)  # those who wait for a step
    lock: trio.Lock = attrs.field(factory=trio.Lock)  # one of start, stop, delete at a time


@attrs.define(eq=False)
class Replica:
    agent: Agent
    number: int  # from 1
    owner: str
    port: int
    state: AgentState = AgentState.UNLOADED
    reason: str = ""
    since: float = 0.0
    restarting: bool = False
    incarnation: int = 0
    life: Life | None = None
    was_unwell: bool = False  # its last life was dropped as unwell
    order: StopOrder | None = None  # how an operator wants it stopped
    given_up: str = ""  # the supervisor's last word
    values: dict[bytes, bytes] = attrs.field(factory=dict)  # key-value state, as last committed
    next_timer: int = 1
    declared: tuple[str, ...] = ()  # capabilities that the guest itself named

    @property
    def child(self) -> Child | None:
        """The supervisor's view of it; attached agents have none."""
        return self.agent.group.supervisor.children.get(self.owner)

    @property
    def is_at_rest(self) -> bool:
        """It does not run, and will not unless somebody starts it."""
        child = self.child
        if child is None:
            return self.state is not AgentState.RUNNING
        return child.phase is Phase.DOWN and not child.wanted

    def status(self) -> ReplicaStatus:
        child = self.child
        return ReplicaStatus(
            replica=self.number,
            port=self.port,
            state=self.state,
            reason=self.reason,
            incarnation=self.incarnation,
            restarts=child.restarts if child else 0,
            since=self.since,
            restarting=self.restarting,
            quarantined=child.is_quarantined if child else False,
            healthy=self.life is None or self.life.health is None or self.life.health.is_well,
        )


def owner_of(name: str, number: int) -> str:
    return name if number == 1 else f"{name}#{number}"


def status_of(agent: Agent) -> AgentStatus:
    replicas = tuple(replica.status() for replica in agent.replicas)
    best = min(replicas, key=lambda replica: BEST_FIRST.index(replica.state))
    reasons = dict.fromkeys(replica.reason for replica in replicas if replica.reason)
    running = [replica.since for replica in replicas if replica.state is AgentState.RUNNING]
    declared = (name for replica in agent.replicas for name in replica.declared)
    return AgentStatus(
        name=agent.spec.name,
        kind=agent.spec.kind,
        state=best.state,
        reason="; ".join(reasons),
        running_since=min(running, default=0.0),
        replicas=replicas,
        capabilities=tuple(dict.fromkeys([*agent.spec.config.capabilities, *declared])),
    )


class _Service(msgspec.Struct):
    name: str


class _Descriptor(msgspec.Struct):
    """The members of get_capabilities' JSON that routes are made of."""

    capabilities: list[str] = []
    services: list[_Service] = []


_descriptor = msgspec.json.Decoder(_Descriptor)


def declared_capabilities(text: bytes) -> tuple[str, ...]:
    """What a guest says it can do; nothing when what it says makes no sense."""
    if not text:
        return ()
    try:
        descriptor = _descriptor.decode(text)
    except UNREADABLE:
        return ()
    names: Sequence[str] = [*descriptor.capabilities, *(service.name for service in descriptor.services)]
    return tuple(dict.fromkeys(name for name in names if 0 < len(name.encode()) <= 200 and "\0" not in name))[
        :MAX_DECLARED
    ]
