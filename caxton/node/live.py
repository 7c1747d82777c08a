"""Which part of a running node each dynamic key belongs to, and how it is told of a change.

Nothing here waits or fails: what could fail was checked before (`node/settings.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from caxton.bus.http_client import check_http_client
from caxton.core.config_keys import Config
from caxton.core.config_tree import values
from caxton.core.directory.facilitator import Limits as DirectoryLimits
from caxton.core.errors import InvalidConfig
from caxton.core.views import EdgeLimits
from caxton.runtime.modules import CompileLimits
from caxton.runtime.replica import RuntimeLimits
from caxton.telemetry import logs
from caxton.telemetry.otlp import check_exporter

if TYPE_CHECKING:
    from caxton.node.node import Node

Part = Callable[["Node", Config], None]


def change_logging(node: "Node", config: Config) -> None:
    logs.change(config.observability.logging)


def change_edge(node: "Node", config: Config) -> None:
    """What the API looks at before the node sees a request."""
    node.limits = edge_limits(config)


def change_metrics(node: "Node", config: Config) -> None:
    node.meter.change(config.observability)


def change_tracing(node: "Node", config: Config) -> None:
    node.tracer.change(config.observability.tracing)


def change_messages(node: "Node", config: Config) -> None:
    messaging = config.messaging
    node.bus.max_message_size = messaging.max_message_size
    node.bus.wait_for.change(messaging.delivery_timeout, max(messaging.retry_attempts, 1))
    node.scheduler.set_limits(
        max_message_size=messaging.max_message_size,
        retry_attempts=max(messaging.retry_attempts - 1, 0),
        retry_delay_ns=int(messaging.retry_delay * 1e9),
        backlog_bytes=messaging.offline_total_bytes,
    )


def change_window(node: "Node", config: Config) -> None:
    node.bus.known.change(config.messaging.dedup_window, config.messaging.dedup_size)


def change_retention(node: "Node", config: Config) -> None:
    node.housekeeping.change(config.messaging)
    node.tasks.retention = config.messaging.retention_age


def change_conversations(node: "Node", config: Config) -> None:
    node.conversations.change(config.messaging)


def change_gateway(node: "Node", config: Config) -> None:
    node.change_home(config)


def change_agents(node: "Node", config: Config) -> None:
    node.agents.max_agents = config.runtime.max_agents
    node.agents.hot_reload = config.runtime.enable_hot_reload


def change_admission(node: "Node", config: Config) -> None:
    node.admission.limits = config.resources


def change_disk(node: "Node", config: Config) -> None:
    node.store.temp.limit = config.resources.disk.max_temp_size
    node.cleanup.change(config.resources.disk.cleanup_interval)


def change_runtime(node: "Node", config: Config) -> None:
    node.runtime.change_limits(RuntimeLimits.of(config))


def change_compiler(node: "Node", config: Config) -> None:
    node.modules.change_limits(compile_limits(config))


def change_directory(node: "Node", config: Config) -> None:
    node.directory.change(directory_limits(config))


def change_tools(node: "Node", config: Config) -> None:
    node.tools.change(config.integrations.mcp)


def change_interval(node: "Node", config: Config) -> None:
    node.settings.change_interval()


def change_secrets(node: "Node", config: Config) -> None:
    node.secrets.change(config.security.secrets.agents)


def change_webhooks(node: "Node", config: Config) -> None:
    node.webhooks.change(config.integrations.webhooks)


def change_listener(node: "Node", config: Config) -> None:
    """With the files of certificates: `reloaded`."""


# a key belongs to every part that names it, or a table that it is in
PARTS: Mapping[str, tuple[Part, ...]] = {
    "observability.logging.level": (change_logging,),
    "observability.logging.levels": (change_logging,),
    "observability.logging.format": (change_logging,),
    "observability.logging.max_file_size": (change_logging,),
    "observability.logging.max_backups": (change_logging,),
    "observability.logging.max_age": (change_logging,),
    "observability.logging.compress": (change_logging,),
    "observability.metrics": (change_metrics,),
    "observability.tracing": (change_tracing, change_metrics),
    "runtime.max_agents": (change_agents,),
    "runtime.enable_hot_reload": (change_agents,),
    "resources.cpu.reserve_system": (change_admission,),
    "resources.cpu.overcommit_ratio": (change_admission,),
    "resources.memory.reserve_system": (change_admission,),
    "resources.disk.max_temp_size": (change_disk,),
    "resources.disk.cleanup_interval": (change_disk,),
    "runtime.max_memory_per_agent": (change_edge,),
    "runtime.max_cpu_per_agent": (change_edge,),
    "runtime.default_agent_timeout": (change_edge,),
    "runtime.max_module_size": (change_edge, change_compiler),
    "runtime.compile_timeout": (change_compiler,),
    "runtime.compile_memory": (change_compiler,),
    "runtime.state_quota": (change_runtime,),
    "runtime.log_lines_per_second": (change_runtime,),
    "messaging.max_message_size": (change_edge, change_messages),
    "messaging.queue_size": (change_runtime,),
    "messaging.retry_attempts": (change_messages,),
    "messaging.retry_delay": (change_messages,),
    "messaging.delivery_timeout": (change_messages,),
    "messaging.dedup_window": (change_window,),
    "messaging.dedup_size": (change_window,),
    "messaging.offline_queue_size": (change_runtime,),
    "messaging.offline_queue_bytes": (change_runtime,),
    "messaging.offline_total_bytes": (change_messages,),
    "messaging.retention_age": (change_retention,),
    "messaging.retention_size": (change_retention,),
    "messaging.dead_letter_size": (change_retention,),
    "messaging.dead_letter_age": (change_retention,),
    "messaging.conversations": (change_conversations,),
    "messaging.loops": (change_conversations,),
    "messaging.content_shapes": (change_conversations,),
    "integrations.fipa.http_mtp.public_url": (change_gateway,),
    "integrations.fipa.http_mtp.accept_from": (change_gateway,),
    "integrations.fipa.http_mtp.platforms": (change_gateway,),
    "integrations.fipa.http_mtp.learn": (change_gateway,),
    "integrations.fipa.http_mtp.max_learned": (change_gateway,),
    "integrations.fipa.http_mtp.max_request_size": (change_gateway,),
    "integrations.fipa.http_mtp.timeout": (change_gateway,),
    "integrations.fipa.http_mtp.attempts": (change_gateway,),
    "integrations.fipa.http_mtp.retry_delay": (change_gateway,),
    "integrations.fipa.http_mtp.max_retry_delay": (change_gateway,),
    "deployment.health_checks": (change_runtime, change_edge),
    "security.cors": (change_edge,),
    "security.rate_limiting": (change_edge,),
    "security.secrets.refresh_interval": (change_interval,),
    "security.secrets.agents": (change_secrets,),
    "directory": (change_directory,),
    "integrations.webhooks": (change_webhooks,),
    "server.tls.cert_path": (change_listener,),
    "server.tls.key_path": (change_listener,),
    "server.tls.ca_path": (change_listener,),
    "server.tls.min_version": (change_listener,),
    "integrations.mcp.max_concurrent_per_agent": (change_tools,),
    "integrations.mcp.max_result_size": (change_tools,),
    "integrations.mcp.circuit_breaker": (change_tools, change_edge),
}


def parts_of(key: str) -> tuple[Part, ...]:
    while key:
        if (found := PARTS.get(key)) is not None:
            return found
        key = key.rpartition(".")[0]
    return ()


def apply_change(node: "Node", before: Config, after: Config) -> None:
    """Tell the parts whose keys differ, each once. Raises what the first of those raised that failed."""
    old, new = values(before), values(after)
    told: dict[Part, None] = {}
    for key in new:
        if old[key] != new[key]:
            told |= dict.fromkeys(parts_of(key))
    failed: Exception | None = None
    for part in told:
        try:
            part(node, after)
        except Exception as error:  # the others are told all the same; whoever asked is told of the first
            failed = failed or error
    if failed is not None:
        raise failed


def ceilings(node: "Node") -> Mapping[str, tuple[Any, str]]:
    """What was laid out when the server started, and bounds what a key may become. Any: a key's value."""
    runtime = node.started_with.runtime
    return {
        "messaging.max_message_size": (node.scheduler.largest_message_size, "the journals in memory have so much room"),
        "runtime.max_agents": (max(runtime.pool_slots, runtime.max_agents), "there is room for so many instances"),
        "runtime.max_memory_per_agent": (runtime.max_memory_per_agent, "instances were laid out for so much"),
    }


def cannot_be(node: "Node", config: Config, is_reload: bool) -> Sequence[str]:
    """What this node cannot do, though the configuration is right."""
    problems = []
    try:
        if config.integrations.webhooks.enabled:
            check_http_client("integrations.webhooks.enabled", "webhooks")
    except InvalidConfig as error:
        problems.append(f"{error.message}; {error.hint}")
    try:
        check_telemetry(config)
    except InvalidConfig as error:
        problems.append(f"{error.message}; {error.hint}")
    if is_reload and node.listener is not None:
        problems += node.listener.prepare(config.server.tls)
    return problems


def reloaded(node: "Node") -> None:
    """All files are read again, those that the configuration names too."""
    if node.listener is not None:
        node.listener.renew()


def check_telemetry(config: Config) -> None:
    """Raises InvalidConfig when something is to be pushed, and what pushes is not installed."""
    if config.observability.metrics.enabled and config.observability.metrics.endpoint:
        check_exporter("observability.metrics.endpoint")
    if config.observability.tracing.enabled:
        check_exporter("observability.tracing.enabled")


def edge_limits(config: Config) -> EdgeLimits:
    return EdgeLimits(
        max_message_size=config.messaging.max_message_size,
        max_module_size=config.runtime.max_module_size,
        agent_defaults=config.agent_defaults,
        cors=config.security.cors,
        rate_limiting=config.security.rate_limiting,
    )


def compile_limits(config: Config) -> CompileLimits:
    limits = config.runtime
    return CompileLimits(
        timeout=limits.compile_timeout, memory=limits.compile_memory, module_size=limits.max_module_size
    )


def directory_limits(config: Config) -> DirectoryLimits:
    return DirectoryLimits(
        lease=config.directory.lease,
        max_lease=config.directory.max_lease,
        results=config.directory.max_results,
        answer_bytes=config.messaging.max_message_size // 2,
    )
