"""The keys of the server's configuration: which there are, their bounds, and their defaults.

Rule 1: keys, units and defaults are those of the configuration guide. Two differ: the server listens on 127.0.0.1
        until told otherwise, and an agent may have a whole core (1000m).
Rule 2: keys of the guide that nothing reads yet are accepted and kept in `Config.other`; `Config.unserved` names
        those that were set, so that the server can say so once. Keys that are in neither are mistakes.
Rule 3: a protection that was asked for is never quietly left out: `unmet_protections` lists it, and the server
        refuses to start.
Rule 4: where the values come from (files, environment, flags) is the business of `core/config.py`.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from caxton.core.limits import format_bytes
from caxton.core.manifest import AgentDefaults, HealthCheck, Resources
from caxton.core.settings import Bytes, Count, Millicores, Port, Positive, Seconds, hints, join, nearest

PAGE = 65536  # of WebAssembly memory


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True):
    enabled: bool = False


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    port: Port = 8080
    metrics_port: Port = 9090  # 0: no such listener
    grpc_port: Port = 50051  # 0: no such listener
    tls: TlsConfig = TlsConfig()


class RuntimeConfig(msgspec.Struct, frozen=True, kw_only=True):
    max_agents: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    max_memory_per_agent: Annotated[int, Meta(ge=PAGE, le=1 << 32, extra={"unit": "bytes"})] = 100 << 20
    max_cpu_per_agent: Millicores = 1000
    default_agent_timeout: Annotated[float, Meta(ge=0.001, extra={"unit": "duration"})] = 30.0
    scheduler_threads: Annotated[int, Meta(ge=0, le=256)] = 0  # 0: as many as cores
    pool_slots: Count = 0  # 0: max_agents and a few more for restarts
    memory_reservation: Bytes = 4 << 30  # address space per agent; less where there is little of it
    max_wasm_stack: Annotated[int, Meta(ge=16 << 10, le=64 << 20, extra={"unit": "bytes"})] = 64 << 10
    async_stack_size: Annotated[int, Meta(ge=64 << 10, le=256 << 20, extra={"unit": "bytes"})] = 256 << 10
    keep_resident: Bytes = 64 << 10  # of a freed slot's memory, so that the next agent starts faster
    max_module_size: Bytes = 50 << 20
    compile_timeout: Annotated[float, Meta(ge=0.1, extra={"unit": "duration"})] = 30.0
    compile_memory: Annotated[int, Meta(ge=64 << 20, extra={"unit": "bytes"})] = 1 << 30
    max_table_elements: Count = 10_000
    state_quota: Bytes = 1 << 20  # an agent's key-value state, keys and values together
    log_lines_per_second: Positive = 1000


class MessagingConfig(msgspec.Struct, frozen=True, kw_only=True):
    max_message_size: Annotated[int, Meta(ge=1 << 10, le=1 << 30, extra={"unit": "bytes"})] = 1 << 20
    queue_size: Annotated[int, Meta(ge=10, le=10_000_000)] = 10_000  # of one mailbox; full is full
    history_messages: Count = 100_000
    history_bytes: Bytes = 64 << 20
    enable_persistence: bool = True  # what `delivery` is when neither message nor agent says: durable, else volatile
    retry_attempts: Annotated[int, Meta(ge=0, le=100)] = 3
    retry_delay: Annotated[float, Meta(ge=0, le=300, extra={"unit": "duration"})] = 1.0  # doubles with each attempt
    delivery_timeout: Seconds = 60.0  # an attached agent that does not acknowledge; 0: never again
    dedup_window: Seconds = 600.0
    dedup_size: Count = 100_000
    offline_queue_size: Count = 1_000_000  # this and the next: of one agent
    offline_queue_bytes: Bytes = 1 << 30
    offline_total_bytes: Bytes = 4 << 30
    retention_age: Seconds = 86_400.0  # of handled messages
    retention_size: Bytes = 1 << 30
    dead_letter_size: Count = 100_000
    dead_letter_age: Seconds = 30 * 86_400.0


class DeploymentConfig(msgspec.Struct, frozen=True, kw_only=True):
    health_checks: HealthCheck = HealthCheck()


class DiskConfig(msgspec.Struct, frozen=True, kw_only=True):
    data_dir: str = ""  # "": a folder of the user's, chosen when the configuration is loaded


class HostConfig(msgspec.Struct, frozen=True, kw_only=True):
    disk: DiskConfig = DiskConfig()


class LoggingConfig(msgspec.Struct, frozen=True, kw_only=True):
    level: Literal["trace", "debug", "info", "warn", "error"] = "info"
    format: Literal["json", "pretty", "compact"] = "json"


class ObservabilityConfig(msgspec.Struct, frozen=True, kw_only=True):
    logging: LoggingConfig = LoggingConfig()


class SwitchConfig(msgspec.Struct, frozen=True, kw_only=True):
    enabled: bool = False


class SecurityConfig(msgspec.Struct, frozen=True, kw_only=True):
    authentication: SwitchConfig = SwitchConfig()
    authorization: SwitchConfig = SwitchConfig()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, checked."""

    server: ServerConfig = ServerConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    messaging: MessagingConfig = MessagingConfig()
    deployment: DeploymentConfig = DeploymentConfig()
    resources: HostConfig = HostConfig()
    observability: ObservabilityConfig = ObservabilityConfig()
    security: SecurityConfig = SecurityConfig()
    other: dict[str, Any] = {}  # Any: kept as it was written
    sources: tuple[str, ...] = ()  # files that were read, the least binding first

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
        )

    @property
    def unserved(self) -> list[str]:
        """Dotted keys that were set and that nothing in this version reads."""
        return sorted(_leaves(self.other, ""))

    @property
    def unmet_protections(self) -> list[str]:
        """Dotted keys that ask for a protection which this version does not have."""
        asked = {
            "server.tls.enabled": self.server.tls.enabled,
            "security.authentication.enabled": self.security.authentication.enabled,
            "security.authorization.enabled": self.security.authorization.enabled,
        }
        return [key for key, wanted in asked.items() if wanted]


# The guide's keys that no Struct above has, by the table they stand in. `*`: anything may stand there.
OTHER_KEYS: dict[str, str] = {
    "": "coordination integrations experimental storage database api_keys credentials",
    "server.tls": "cert_path key_path ca_path",
    "runtime": "agent_pool_size enable_hot_reload",
    "messaging": "persistence_path",
    "coordination": "local_state cluster partition",
    "coordination.local_state": "type path journal_mode",
    "coordination.cluster": "enabled bind_addr advertise_addr seeds gossip_interval probe_interval",
    "coordination.partition": "detection_timeout quorum_size degraded_mode queue_writes max_queue_size",
    "observability": "metrics tracing",
    "observability.logging": "output file_path max_file_size max_backups max_age",
    "observability.metrics": "enabled export_interval histogram_buckets",
    "observability.tracing": "enabled backend endpoint sample_rate export_timeout",
    "security": "rate_limiting cors",
    "security.authentication": "type token oauth2 tokens_file",
    "security.authentication.token": "header_name tokens_file",
    "security.authentication.oauth2": "provider client_id client_secret redirect_url",
    "security.authorization": "type policy_file",
    "security.rate_limiting": "enabled requests_per_second burst_size",
    "security.cors": "enabled allowed_origins allowed_methods allowed_headers max_age",
    "deployment": "strategies",
    "deployment.strategies": "default canary blue_green",
    "deployment.strategies.canary": "initial_percentage increment interval error_threshold",
    "deployment.strategies.blue_green": "warm_up_time switch_delay",
    "integrations": "mcp webhooks",
    "integrations.mcp": "enabled servers",
    "integrations.webhooks": "enabled endpoints",
    "resources": "cpu memory",
    "resources.cpu": "reserve_system overcommit_ratio",
    "resources.memory": "reserve_system swap_enabled oom_kill_disable",
    "resources.disk": "temp_dir max_temp_size cleanup_interval",
    "experimental": "enable_gpu_support enable_distributed_mode enable_auto_scaling enable_debug_endpoints",
    "storage": "type postgres",
    "storage.postgres": "connection_timeout max_connections",
    "database": "*",
    "api_keys": "*",
    "credentials": "*",
}


def split(problems: list[str], data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the Structs describe, and what is only kept. Unknown keys become problems. Any: a decoded file."""
    return _split(problems, Config, data, "")


def _split(
    problems: list[str], schema: type[msgspec.Struct] | None, data: dict[str, Any], path: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    kinds = hints(schema) if schema is not None else {}
    if schema is Config:
        kinds = {key: kind for key, kind in kinds.items() if key not in ("other", "sources")}
    others = OTHER_KEYS.get(path, "").split()
    read: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    for key, value in data.items():
        place = join(path, key)
        inner = kinds.get(key)
        is_table = isinstance(inner, type) and issubclass(inner, msgspec.Struct)
        if isinstance(value, dict) and (is_table or (key in others and place in OTHER_KEYS)):
            below_read, below_kept = _split(problems, inner if is_table else None, value, place)
            if is_table:
                read[key] = below_read
            if below_kept or not is_table:
                kept[key] = below_kept
        elif key in kinds:
            read[key] = value
        elif key in others or "*" in others:
            kept[key] = value
        else:
            problems.append(f"{place}: unknown key{nearest(str(key), [*kinds, *others])}")
    return read, kept


def check(problems: list[str], config: Config) -> None:
    """What no single value shows."""
    runtime, server = config.runtime, config.server
    if runtime.max_wasm_stack * 2 > runtime.async_stack_size:
        problems.append(
            f"runtime.async_stack_size: {format_bytes(runtime.async_stack_size)} is too small; host functions run on "
            f"this stack too: it must be twice runtime.max_wasm_stack ({format_bytes(runtime.max_wasm_stack)}) or more"
        )
    if 0 < runtime.pool_slots < runtime.max_agents:
        problems.append(
            f"runtime.pool_slots: {runtime.pool_slots} is too small for runtime.max_agents {runtime.max_agents}; "
            "0 chooses it"
        )
    ports: dict[int, str] = {}
    for key in ("port", "metrics_port", "grpc_port"):
        port = getattr(server, key)
        if port and port in ports:
            problems.append(f"server.{key}: {port} is taken by server.{ports[port]}")
        ports[port] = key
    if not server.host:
        problems.append("server.host: missing; 127.0.0.1 serves this machine, 0.0.0.0 everybody who can reach it")


def _leaves(data: dict[str, Any], path: str) -> list[str]:
    found = []
    for key, value in data.items():
        place = join(path, key)
        found += _leaves(value, place) if isinstance(value, dict) and value else [place]
    return found
