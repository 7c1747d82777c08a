"""The keys of the server's configuration: which there are, their bounds, their defaults, and what each means.

Rule 1: keys, units and defaults are those of the configuration guide. Some differ: the server listens on 127.0.0.1
        until told otherwise, an agent may have a whole core (1000m), what is not built is off, the log goes to
        standard error, clients need no certificate, histograms have buckets for microseconds too, traces go to the
        port of OTLP over HTTP, temporary files are in the data folder, and the processors may be promised without bound
        (`resources.cpu.overcommit_ratio`): 1000 agents of 100m are 100 cores.
Rule 2: a key is one line here: `name: Annotated[Type, Key("what it means")] = default`. The documents and the schema
        are made from it (`docs/make_configuration.py`). Parts that are not built yet are in `core/config_later.py`.
Rule 3: a key without effect says so (`inactive`), and what has the effect instead; `Config.unserved` names those that
        were set, so that the server can say so once. Keys that are nowhere here are mistakes.
Rule 4: a protection that was asked for is never quietly left out: `unmet_protections` lists it, and the server
        refuses to start.
Rule 5: a `dynamic` key has its part in `node/settings.py`, or the test of that file fails.
Rule 6: where the values come from (files, environment, flags) is the business of `core/config.py`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from caxton.core.config_conversations import ConversationsConfig, LoopsConfig
from caxton.core.config_fipa import check_fipa
from caxton.core.config_later import (
    FREE_TABLE,
    ClusterConfig,
    ExperimentalConfig,
    IntegrationsConfig,
    OAuth2Config,
    PartitionConfig,
    StorageConfig,
    StrategiesConfig,
    TokenConfig,
)
from caxton.core.config_logging import LoggingConfig, check_logging
from caxton.core.config_mcp import check_mcp
from caxton.core.config_secrets import SecretsConfig, check_secrets
from caxton.core.config_telemetry import MetricsConfig, TracingConfig, check_metrics, check_tracing
from caxton.core.config_tls import TlsConfig
from caxton.core.config_web import CorsConfig, RateLimitConfig, check_web
from caxton.core.config_webhooks import check_webhooks
from caxton.core.limits import format_bytes
from caxton.core.manifest import AgentDefaults, HealthCheck, ImportPolicy, Resources
from caxton.core.settings import (
    NEXT,
    YES,
    Bytes,
    Count,
    Key,
    Millicores,
    Percent,
    Port,
    Positive,
    Seconds,
    hints,
    key_of,
)

PAGE = 65536  # of WebAssembly memory
DATA_DIR = "everything is in resources.disk.data_dir"
KEYS_OF_TOOLS = "a tool's key stands with its server, in headers or env of integrations.mcp.servers"
NO_LOGIN = "there is no authentication yet: let a proxy in front of the server do it"

Stack = Annotated[int, Meta(ge=16 << 10, le=64 << 20, extra={"unit": "bytes"})]
Fiber = Annotated[int, Meta(ge=64 << 10, le=128 << 20, extra={"unit": "bytes"})]
Slots = Annotated[int, Meta(ge=0, le=1_000_000)]
SomeSlots = Annotated[int, Meta(ge=1, le=1_000_000)]
Reservation = Annotated[int, Meta(ge=0, le=64 << 30, extra={"unit": "bytes"})]
Elements = Annotated[int, Meta(ge=1, le=10_000_000)]
AgentMemory = Annotated[int, Meta(ge=PAGE, le=1 << 32, extra={"unit": "bytes"})]
SomeTime = Annotated[float, Meta(ge=0.001, extra={"unit": "duration"})]


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    host: Annotated[
        str, Key("address to listen on; `0.0.0.0` for all (see [security](security.md))", env="CAXTON_HOST")
    ] = "127.0.0.1"
    port: Annotated[Port, Key("REST, WebSocket, SSE; 0 takes a free one", env="CAXTON_PORT")] = 8080
    metrics_port: Annotated[
        Port,
        Key(
            "a listener of its own for [metrics](metrics.md), while `observability.metrics.enabled`; 0 is none: they "
            "are at `/metrics` of `server.port` as well",
            env="CAXTON_METRICS_PORT",
        ),
    ] = 9090
    grpc_port: Annotated[
        Port,
        Key("listener for gRPC; 0 is none", env="CAXTON_GRPC_PORT", inactive="there is no such listener yet: use REST"),
    ] = 50051
    tls: TlsConfig = TlsConfig()


class RuntimeConfig(msgspec.Struct, frozen=True, kw_only=True):
    max_agents: Annotated[Annotated[int, Meta(ge=1, le=1_000_000)], Key("more are refused", dynamic=YES)] = 1000
    max_memory_per_agent: Annotated[AgentMemory, Key("default and maximum of `resources.memory`", dynamic=YES)] = (
        100 << 20
    )
    max_cpu_per_agent: Annotated[Millicores, Key("default and maximum of `resources.cpu`", dynamic=YES)] = 1000
    default_agent_timeout: Annotated[SomeTime, Key("default of `resources.timeout`", dynamic=YES)] = 30.0
    agent_pool_size: Annotated[
        Count,
        Key(
            "instances that are made before they are needed",
            inactive="an instance is made when its agent starts, not for a message: in some 10 µs, of Python or "
            "JavaScript in 3 ms, and one that waits would hold 8 MB; runtime.keep_resident makes that faster",
        ),
    ] = 10
    enable_hot_reload: Annotated[
        bool, Key("an agent may be given another module by an update; false: only deleted and deployed", dynamic=YES)
    ] = True
    scheduler_threads: Annotated[
        Annotated[int, Meta(ge=0, le=256)], Key("native threads that run agents; 0 is one a core")
    ] = 0
    pool_slots: Annotated[Slots, Key("instances there is room for; 0 is `max_agents` and a few more for restarts")] = 0
    memory_reservation: Annotated[
        Reservation, Key("address space per instance; the server takes less, with a warning, where there is little")
    ] = 4 << 30
    max_wasm_stack: Annotated[Stack, Key("stack of an agent")] = 64 << 10
    async_stack_size: Annotated[Fiber, Key("stack of the fiber it runs on; twice the former at least")] = 256 << 10
    keep_resident: Annotated[Bytes, Key("of a freed instance's memory, so that the next starts faster")] = 64 << 10
    max_module_size: Annotated[Bytes, Key("of a module that is deployed", dynamic=YES)] = 50 << 20
    compile_timeout: Annotated[
        Annotated[float, Meta(ge=0.1, extra={"unit": "duration"})], Key("of compiling a module", dynamic=YES)
    ] = 30.0
    compile_memory: Annotated[
        Annotated[int, Meta(ge=64 << 20, extra={"unit": "bytes"})], Key("of compiling a module", dynamic=YES)
    ] = 1 << 30
    max_table_elements: Annotated[
        Elements, Key("of all tables of an agent; a component may have 40000 where this is less")
    ] = 10_000
    component_slots: Annotated[SomeSlots, Key("component instances there is room for, such as agents in Python")] = 256
    component_stack: Annotated[Stack, Key("stack of a component: an interpreter needs more of it")] = 1 << 20
    component_imports: Annotated[
        ImportPolicy,
        Key("of a component, beyond what [there is](agents.md#components): `trap` when called, `strict` refuses it"),
    ] = "trap"
    state_quota: Annotated[Bytes, Key("of an agent's key-value state, keys and values together", dynamic=NEXT)] = (
        1 << 20
    )
    log_lines_per_second: Annotated[Positive, Key("of an agent; more are counted and dropped", dynamic=NEXT)] = 1000


class MessagingConfig(msgspec.Struct, frozen=True, kw_only=True):
    max_message_size: Annotated[
        Annotated[int, Meta(ge=1 << 10, le=1 << 30, extra={"unit": "bytes"})],
        Key("JSON text of one message", dynamic=YES),
    ] = 1 << 20
    queue_size: Annotated[
        Annotated[int, Meta(ge=10, le=10_000_000)], Key("messages in one mailbox; a full one refuses", dynamic=YES)
    ] = 10_000
    history_messages: Annotated[Count, Key("messages that `GET /messages` still knows")] = 100_000
    history_bytes: Annotated[Bytes, Key("the same, in bytes")] = 64 << 20
    enable_persistence: Annotated[
        bool,
        Key(
            "messages are [`durable`](api.md#the-message) where neither they nor their receiver say otherwise; "
            "false: `volatile`"
        ),
    ] = True
    persistence_path: Annotated[
        str,
        Key(
            "folder of the messages",
            inactive=f"{DATA_DIR}: a message and what became of it are written together",
        ),
    ] = "/var/lib/caxton/messages"
    retry_attempts: Annotated[
        Annotated[int, Meta(ge=0, le=100)],
        Key("how often the handling of a message is tried in all (0 is once); then it is a dead letter", dynamic=YES),
    ] = 3
    retry_delay: Annotated[
        Annotated[float, Meta(ge=0, le=300, extra={"unit": "duration"})],
        Key("before the first of these; it doubles, with some chance in it (at most 5m)", dynamic=YES),
    ] = 1.0
    delivery_timeout: Annotated[
        Seconds,
        Key(
            "an attached agent that has not acknowledged a message in this time gets it again; after `retry_attempts` "
            "deliveries it is a dead letter. 0 is never",
            dynamic=YES,
        ),
    ] = 60.0
    dedup_window: Annotated[
        Seconds, Key("a `message_id` that came before is not delivered twice in this time; 0 is off", dynamic=YES)
    ] = 600.0
    dedup_size: Annotated[Count, Key("how many of these ids are remembered", dynamic=YES)] = 100_000
    offline_queue_size: Annotated[
        Count, Key("messages that wait on the disk for one agent; more are refused", dynamic=YES)
    ] = 1_000_000
    offline_queue_bytes: Annotated[Bytes, Key("the same, in bytes", dynamic=YES)] = 1 << 30
    offline_total_bytes: Annotated[Bytes, Key("the same, of all agents together", dynamic=YES)] = 4 << 30
    retention_age: Annotated[Seconds, Key("how long handled messages stay on the disk", dynamic=YES)] = 86_400.0
    retention_size: Annotated[Bytes, Key("of handled messages on the disk; the oldest go first", dynamic=YES)] = 1 << 30
    dead_letter_size: Annotated[Count, Key("dead letters that are kept; the oldest go first", dynamic=YES)] = 100_000
    dead_letter_age: Annotated[Seconds, Key("how long they are kept", dynamic=YES)] = 30 * 86_400.0
    conversations: ConversationsConfig = ConversationsConfig()
    loops: LoopsConfig = LoopsConfig()
    content_shapes: Annotated[
        Literal["off", "report", "refuse"],
        Key("content in `language` `json` that is not [what its act needs](conversations.md#content)", dynamic=YES),
    ] = "report"


class DirectoryConfig(msgspec.Struct, frozen=True, kw_only=True):
    lease: Annotated[
        Annotated[float, Meta(ge=1.0, le=86_400.0, extra={"unit": "duration"})],
        Key("an agent that crashed, or a program that left, is listed this much longer at most", dynamic=YES),
    ] = 60.0
    max_lease: Annotated[
        Annotated[float, Meta(ge=1.0, extra={"unit": "duration"})],
        Key("an agent may ask for a lease as long as this", dynamic=YES),
    ] = 30 * 86_400.0
    max_results: Annotated[
        Annotated[int, Meta(ge=1, le=1000)],
        Key("of a search that does not say; it says that there are more", dynamic=YES),
    ] = 100


class LocalStateConfig(msgspec.Struct, frozen=True, kw_only=True):
    type: Annotated[Literal["sqlite"], Key("of the database: it is always this")] = "sqlite"
    path: Annotated[str, Key("file of the database", inactive=DATA_DIR)] = "/var/lib/caxton/local.db"
    journal_mode: Annotated[Literal["wal"], Key("of the database: it is always WAL")] = "wal"


class CoordinationConfig(msgspec.Struct, frozen=True, kw_only=True):
    local_state: LocalStateConfig = LocalStateConfig()
    cluster: Annotated[ClusterConfig, Key("other servers", inactive="clusters are not built yet")] = ClusterConfig()
    partition: Annotated[
        PartitionConfig, Key("when other servers cannot be reached", inactive="clusters are not built yet")
    ] = PartitionConfig()


class DeploymentConfig(msgspec.Struct, frozen=True, kw_only=True):
    strategies: Annotated[
        StrategiesConfig,
        Key("how a new version comes in", inactive="strategies are not built yet: a deployment is always direct"),
    ] = StrategiesConfig()
    health_checks: HealthCheck = HealthCheck()


class CpuConfig(msgspec.Struct, frozen=True, kw_only=True):
    reserve_system: Annotated[
        Percent, Key("of the processors, that are not promised to agents; see the next", dynamic=YES)
    ] = 0.2
    overcommit_ratio: Annotated[
        Annotated[float, Meta(ge=0, le=1000)],
        Key(
            "the `resources.cpu` of all agents together may be so many times what is left of the processors; more are "
            "refused. 0 is no bound",
            dynamic=YES,
        ),
    ] = 0.0


class MemoryConfig(msgspec.Struct, frozen=True, kw_only=True):
    reserve_system: Annotated[
        Bytes,
        Key(
            "with less memory free than this (in the machine, or the container) no agent is added. 0 is a tenth of "
            "all, 500MB at most",
            dynamic=YES,
        ),
    ] = 0
    swap_enabled: Annotated[
        bool, Key("agents may be swapped out", inactive="the operating system decides: swapoff, or memory.swap.max")
    ] = False
    oom_kill_disable: Annotated[
        bool,
        Key(
            "when memory is short the system kills other programs, not the server (Linux; it needs CAP_SYS_RESOURCE, "
            "or `OOMScoreAdjust=-1000` of the service)"
        ),
    ] = False


class DiskConfig(msgspec.Struct, frozen=True, kw_only=True):
    data_dir: Annotated[
        str, Key("the data folder; else `$XDG_DATA_HOME/caxton` or `~/.local/share/caxton`", env="CAXTON_DATA_DIR")
    ] = ""
    temp_dir: Annotated[
        str,
        Key(
            "folder for [what is only needed for a while](operations.md#temporary-files), the server's user's alone; "
            "else `temp` in the data folder"
        ),
    ] = ""
    max_temp_size: Annotated[
        Bytes, Key("of what is there, and of what is being written elsewhere; more is refused", dynamic=YES)
    ] = 10 << 30
    cleanup_interval: Annotated[
        Seconds,
        Key(
            "between two rounds that delete what crashed servers left, and modules that no agent has. 0 is never",
            dynamic=YES,
        ),
    ] = 3600.0


class HostConfig(msgspec.Struct, frozen=True, kw_only=True):
    cpu: CpuConfig = CpuConfig()
    memory: MemoryConfig = MemoryConfig()
    disk: DiskConfig = DiskConfig()


class ObservabilityConfig(msgspec.Struct, frozen=True, kw_only=True):
    logging: LoggingConfig = LoggingConfig()
    metrics: MetricsConfig = MetricsConfig()
    tracing: TracingConfig = TracingConfig()


class AuthenticationConfig(msgspec.Struct, frozen=True, kw_only=True):
    enabled: Annotated[bool, Key("true refuses to start: there is none yet", env="CAXTON_AUTH_ENABLED")] = False
    type: Annotated[Literal["token", "oauth2", "mtls"], Key("how callers prove who they are", inactive=NO_LOGIN)] = (
        "token"
    )
    token: Annotated[TokenConfig, Key("type token", inactive=NO_LOGIN)] = TokenConfig()
    oauth2: Annotated[OAuth2Config, Key("type oauth2", inactive=NO_LOGIN)] = OAuth2Config()
    tokens_file: Annotated[str, Key("file of tokens", inactive=NO_LOGIN)] = ""


class AuthorizationConfig(msgspec.Struct, frozen=True, kw_only=True):
    enabled: Annotated[bool, Key("true refuses to start: there is none yet")] = False
    type: Annotated[Literal["rbac", "abac"], Key("how it is decided who may do what", inactive=NO_LOGIN)] = "rbac"
    policy_file: Annotated[str, Key("file of what is allowed", inactive=NO_LOGIN)] = "/etc/caxton/policies.yaml"


class SecurityConfig(msgspec.Struct, frozen=True, kw_only=True):
    authentication: AuthenticationConfig = AuthenticationConfig()
    authorization: AuthorizationConfig = AuthorizationConfig()
    rate_limiting: RateLimitConfig = RateLimitConfig()
    cors: CorsConfig = CorsConfig()
    secrets: SecretsConfig = SecretsConfig()


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """The tree of all keys."""

    server: ServerConfig = ServerConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    messaging: MessagingConfig = MessagingConfig()
    directory: DirectoryConfig = DirectoryConfig()
    coordination: CoordinationConfig = CoordinationConfig()
    observability: ObservabilityConfig = ObservabilityConfig()
    security: SecurityConfig = SecurityConfig()
    deployment: DeploymentConfig = DeploymentConfig()
    integrations: IntegrationsConfig = IntegrationsConfig()
    resources: HostConfig = HostConfig()
    experimental: Annotated[ExperimentalConfig, Key("what may change", inactive="not built yet")] = ExperimentalConfig()
    storage: Annotated[
        StorageConfig,
        Key(
            "where the state is",
            inactive="the state is always SQLite in resources.disk.data_dir; messages that are in memory only are "
            "messaging.enable_persistence: false",
        ),
    ] = StorageConfig()
    database: Annotated[
        FREE_TABLE, Key("of a database server", inactive="no database server is needed", secret=True)
    ] = {}
    api_keys: Annotated[FREE_TABLE, Key("of other services", inactive=KEYS_OF_TOOLS, secret=True)] = {}
    credentials: Annotated[FREE_TABLE, Key("for other services", inactive=KEYS_OF_TOOLS, secret=True)] = {}


class Config(Keys, frozen=True, kw_only=True):
    """All of it, checked; and where it came from, which is no key."""

    sources: tuple[str, ...] = ()  # files that were read, the least binding first
    unserved: tuple[str, ...] = ()  # dotted keys that were set and that nothing in this version reads
    masked: tuple[str, ...] = ()  # dotted keys whose values hold a secret

    @property
    def data_dir(self) -> str:
        return self.resources.disk.data_dir

    @property
    def agent_defaults(self) -> AgentDefaults:
        return AgentDefaults(
            resources=Resources(
                memory=self.runtime.max_memory_per_agent,
                cpu=self.runtime.max_cpu_per_agent,
                timeout=self.runtime.default_agent_timeout,
            ),
            health_check=self.deployment.health_checks,
            circuit_breaker=self.integrations.mcp.circuit_breaker,
        )

    @property
    def unmet_protections(self) -> list[str]:
        """Dotted keys that ask for a protection which this version does not have."""
        asked = {
            "security.authentication.enabled": self.security.authentication.enabled,
            "security.authorization.enabled": self.security.authorization.enabled,
        }
        return [key for key, wanted in asked.items() if wanted]


def check(problems: list[str], config: Config) -> None:
    """What no single value shows."""
    runtime, server = config.runtime, config.server
    if runtime.max_wasm_stack * 2 > runtime.async_stack_size:
        problems.append(
            f"runtime.async_stack_size: {format_bytes(runtime.async_stack_size)} is too small; host functions run on "
            f"this stack too: it must be twice runtime.max_wasm_stack ({format_bytes(runtime.max_wasm_stack)}) or more"
        )
    if runtime.keep_resident > runtime.max_memory_per_agent:
        problems.append(
            f"runtime.keep_resident: {format_bytes(runtime.keep_resident)} is more than an agent may have: "
            f"runtime.max_memory_per_agent is {format_bytes(runtime.max_memory_per_agent)}"
        )
    if 0 < runtime.pool_slots < runtime.max_agents:
        problems.append(
            f"runtime.pool_slots: {runtime.pool_slots} is too small for runtime.max_agents {runtime.max_agents}; "
            "0 chooses it"
        )
    ports: dict[int, str] = {}
    for key in ("port", "metrics_port", "grpc_port"):
        port = getattr(server, key)
        if key_of(hints(ServerConfig)[key]).inactive:
            continue
        if key == "metrics_port" and not config.observability.metrics.enabled:
            continue
        if port and port in ports:
            problems.append(f"server.{key}: {port} is taken by server.{ports[port]}")
        ports[port] = key
    check_fipa(problems, config.integrations.fipa)
    check_logging(problems, config.observability.logging)
    check_metrics(problems, config.observability.metrics)
    check_tracing(problems, config.observability.tracing)
    check_webhooks(problems, config.integrations.webhooks)
    check_secrets(problems, config.security.secrets)
    check_mcp(problems, config.integrations.mcp)
    check_web(problems, config.security.cors, config.security.rate_limiting)
    if not server.host:
        problems.append("server.host: missing; 127.0.0.1 serves this machine, 0.0.0.0 everybody who can reach it")
