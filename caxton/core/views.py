"""What the node shows of itself to those above it: the API, the command line, tests.

Rule 1: these are facts already decided; only `EventFilter.matches` computes; `bus` and `api` share it.
Rule 2: times are seconds since the epoch (float), sizes are bytes, CPU is in cores; the API writes them the way people
read them.
"""

from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

from caxton.core.config_web import CorsConfig, RateLimitConfig
from caxton.core.manifest import AgentDefaults

AgentKind = Literal["wasm", "attached"]
State = Literal["accepted", "delivered", "handled", "failed"]  # of a message


class AgentResources(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent may use and what it uses now; a limit of 0 means that there is none."""

    memory_limit: int = 0
    cpu_limit: float = 0.0
    memory_used: int = 0
    cpu_used: float = 0.0


class AgentMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of one agent since it was deployed (replicas added up)."""

    messages_processed: int = 0
    messages_failed: int = 0
    average_latency_ms: float = 0.0
    uptime_seconds: float = 0.0
    restarts: int = 0


class BreakerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The circuit breaker between one agent and one tool server.

    `state` is closed, open or half-open; `retry_after` the seconds until the next call may be made.
    """

    agent_id: str
    server: str
    state: str
    failures: int  # in a row
    retry_after: float


class AgentInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One agent as the node sees it. `status` is an `AgentState` value, or `removed` in the answer to a deletion."""

    agent_id: str
    name: str
    status: str
    kind: AgentKind
    version: int
    created_at: float
    deployed_at: float
    replicas: int = 1
    replicas_ready: int = 0
    module: str = ""
    reason: str = ""
    capabilities: tuple[str, ...] = ()
    unavailable_imports: tuple[str, ...] = ()  # of a component: what it imports and the server does not have
    public_key: str = ""  # Ed25519, Base64
    tools: tuple[str, ...] = ()  # that it may call
    circuit_breakers: tuple[BreakerInfo, ...] = ()  # of the tool servers that it has called
    resources: AgentResources = AgentResources()
    metrics: AgentMetrics = AgentMetrics()


class ToolInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that agents may be allowed to call, by its whole name."""

    name: str
    description: str
    input_schema: dict[str, Any]  # Any: JSON Schema


class ToolServerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A tool server: `state` is connecting, connected or failing, `reason` says why it is not connected."""

    name: str
    address: str  # its URL, or the program
    state: str
    reason: str
    since: float
    connections: int  # that were made since the node started
    protocol: str  # MCP's version, when it was connected last
    running: int  # calls
    tools: tuple[ToolInfo, ...]


class EdgeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What the API checks before the node sees a request: who may ask, sizes of bodies, what an agent may ask for."""

    max_message_size: int = 1 << 20
    max_module_size: int = 50 << 20
    agent_defaults: AgentDefaults = AgentDefaults()
    cors: CorsConfig = CorsConfig()
    rate_limiting: RateLimitConfig = RateLimitConfig()


class ProfileShares(msgspec.Struct, frozen=True, kw_only=True):
    """What time was spent on, in percent of a whole that the subclass names.

    `guest` is WebAssembly; `envelope` reads and writes the JSON of messages; `router` finds receivers and fills
    mailboxes; `journal` records, and waits for room to record; `host` is what other host functions do and leave (state,
    timers, logs, WASI); `instance` makes and frees instances; `scheduler` queues and chooses.
    """

    guest: float = 0.0
    envelope: float = 0.0
    router: float = 0.0
    journal: float = 0.0
    host: float = 0.0
    instance: float = 0.0
    scheduler: float = 0.0


class ProfileRow(ProfileShares, frozen=True, kw_only=True):
    """One agent, its replicas added up, or several: percent of the time of all scheduler threads.

    `us_per_message` is that time, divided by the messages that were handled or failed; None without messages.
    """

    agent_id: str
    share: float
    messages: int
    us_per_message: float | None


class ProfileThread(ProfileShares, frozen=True, kw_only=True):
    """One scheduler thread: percent of its own time."""

    thread: int
    idle: float


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of the scheduler threads went while a profile ran; `samples` is how often each was looked at.

    `agents` are those with the largest shares; `others` are the `others_count` that follow, `unattributed` is work for
    no agent. Together they are `total`, and with `idle` 100. `python_thread` is the thread that runs all else (API,
    supervision, store): percent of one core.
    """

    seconds: float
    samples: int
    agents: tuple[ProfileRow, ...]
    others_count: int
    others: ProfileRow
    unattributed: ProfileRow
    total: ProfileRow
    idle: float
    threads: tuple[ProfileThread, ...]
    python_thread: float


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted message: `delivered` into `delivered_to` mailboxes, or `queued` for a receiver that is away."""

    message_id: str
    status: str
    delivered_to: int
    accepted_at: float
    sequence: int = 0  # its number in the node's ledger, which says when it is on the disk
    kept: bool = False  # it has to be on the disk before its sender is told
    not_found: tuple[str, ...] = ()  # of several receivers, those who are nowhere: dead letters


class MessageState(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an accepted message.

    `accepted`: it waits on the disk. `delivered`: it is in a mailbox. `handled`, `failed`: every receiver is done with
    it, and the message failed when one of them will not handle it; `reason` says why. Times are 0 when not known.
    """

    message_id: str
    state: State
    receivers: int = 0
    handled: int = 0
    failed: int = 0
    reason: str = ""
    accepted_at: float = 0.0
    changed_at: float = 0.0


class MessageRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An accepted message, read back. `sequence` is its place in the node's record stream."""

    sequence: int
    message_id: str
    performative: str
    sender: str
    receiver: str | list[str]
    accepted_at: float
    content: msgspec.Raw = msgspec.Raw(b"null")
    conversation_id: str = ""
    reply_with: str = ""
    in_reply_to: str = ""
    protocol: str = ""
    ontology: str = ""
    language: str = ""


class DeadLetterInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was given up: who should have handled it, why, when, and after how many attempts.

    `agent` is empty when nobody was found. `message` is its JSON, where one letter is shown and not a list.
    """

    id: int  # grows
    message_id: str
    agent: str
    sender: str
    reason: str
    attempts: int
    detail: str
    at: float
    message: msgspec.Raw | None = None


class DeadLetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Some dead letters; an empty one means all."""

    agent: str = ""
    reason: str = ""
    since: float = 0.0


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """What became of dead letters that were to be sent again; the first errors, by the letter's id."""

    retried: int
    failed: int = 0
    errors: dict[str, str] = {}


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line an agent wrote (`out`, `err`), or one that the platform wrote about it (`system`)."""

    agent: str
    stream: Literal["out", "err", "system"]
    text: str
    at: float


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened.

    Filters read these members of `data`: `agent_id`; for `message.*` and `conversation.*` also `from`, `to`,
    `performative` and `conversation_id`.
    """

    id: int
    type: str
    at: float
    data: dict[str, Any]  # the members differ by type; they go to the wire as they are


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events somebody wants. Empty tuples restrict nothing; `types` are globs of the dotted name."""

    types: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    performatives: tuple[str, ...] = ()
    conversation: str = ""

    def wants(self, type: str) -> bool:
        """Whether events of this type can match at all."""
        return not self.types or any(fnmatchcase(type, pattern) for pattern in self.types)

    def matches(self, event: Event) -> bool:
        if not self.wants(event.type):
            return False
        if self.agents and not _concerned(event.data).intersection(self.agents):
            return False
        if self.conversation and event.data.get("conversation_id") != self.conversation:
            return False
        return not self.performatives or event.data.get("performative") in self.performatives


def _concerned(data: dict[str, Any]) -> set[str]:
    to = data.get("to") or ()
    return {data.get("agent_id", ""), data.get("from", ""), *([to] if isinstance(to, str) else to)}


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A capability that an operator registered for an agent."""

    agent_id: str
    capability: str
    version: str = "1.0.0"
    priority: int = 50  # 0 to 1000
    metadata: dict[str, Any] = {}  # Any: the operator's own, JSON
    health_check_url: str = ""
    registration_id: str = ""
    status: str = ""
    registered_at: float = 0.0


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One agent that has a capability, and how it fares.

    `routing_score` is priority × health × (1 - load): what the strategy `priority` goes by.
    """

    agent_id: str
    version: str
    priority: int
    status: str  # active, draining, unhealthy, inactive
    load_score: float  # 0 to 1: how full its mailbox is
    response_time_avg: float  # ms
    success_rate: float
    routing_score: float
    metadata: dict[str, Any] = {}  # Any: JSON
    registration_id: str = ""  # of an operator's registration


class CapabilityInfo(msgspec.Struct, frozen=True, kw_only=True):
    capability: str
    providers: tuple[Provider, ...]


class CapabilityHealth(msgspec.Struct, frozen=True, kw_only=True):
    capability: str
    status: str  # healthy: all are active; degraded: some; unhealthy: none
    providers: int
    active: int
