"""What a configuration may say and an operator may regret: each finding names the key, and what would be better.

Rule 1: a finding is no mistake; the server starts. What must not be is a problem (`core/config_keys.py`, `check`).
Rule 2: nothing here looks at the machine: who asks says what there is (`Machine`).
"""

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from caxton.core.config import Layer, Loaded, inactive_keys, merged
from caxton.core.config_keys import Config
from caxton.core.config_tree import leaves, secret_members
from caxton.core.limits import format_bytes, format_duration

Area = Literal["inactive", "security", "performance", "note"]
MUCH = 1 << 30


class Machine(NamedTuple):
    """What the server would run on; 0 is not known."""

    cores: int = 0
    memory: int = 0
    readable_by_others: Sequence[str] = ()  # configuration files
    writable_by_others: Sequence[str] = ()


class Finding(NamedTuple):
    area: Area
    key: str
    text: str


def lint(loaded: Loaded, machine: Machine) -> list[Finding]:
    """Everything; who asked for one area leaves the others out."""
    findings = [Finding("note", "", note) for note in loaded.notes]
    for key in inactive_keys(merged(loaded.layers)):
        findings.append(Finding("inactive", key, leaves()[key].key.inactive))
    findings += [Finding("security", key, text) for key, text in _security(loaded, machine)]
    findings += [Finding("note", key, text) for key, text in _telemetry(loaded.config)]
    findings += [Finding("performance", key, text) for key, text in _performance(loaded, machine)]
    return findings


def is_local(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _security(loaded: Loaded, machine: Machine) -> Iterator[tuple[str, str]]:
    config = loaded.config
    for key in config.unmet_protections:
        yield key, "this version does not have it, and the server refuses to start; let a proxy do it"
    if not is_local(config.server.host):
        if not (config.server.tls.enabled and config.server.tls.ca_path):
            yield (
                "server.host",
                f"{config.server.host} can be reached from other machines, and whoever reaches it may deploy agents "
                "and read messages; write 127.0.0.1 and let a proxy in front of it ask who is there, or ask for client "
                "certificates: server.tls.ca_path",
            )
        if not config.server.tls.enabled:
            yield "server.tls.enabled", "whoever is on the way can read and change what is sent; true speaks HTTPS"
        if not config.security.rate_limiting.enabled:
            yield "security.rate_limiting.enabled", "one client of other machines can keep the server busy alone"
    for key, networks in _networks(config):
        if wide := [network for network in networks if _is_wide(network)]:
            yield key, f"{', '.join(wide)} is nearly everybody; name the networks that are meant"
    for index, platform in enumerate(config.integrations.fipa.http_mtp.platforms):
        far = platform.url.startswith("http://") and not is_local(urlsplit(platform.url).hostname or "")
        if config.integrations.fipa.http_mtp.enabled and far:
            yield (
                f"integrations.fipa.http_mtp.platforms[{index}].url",
                "http:// lets everybody on the way read and change the messages",
            )
    if config.security.cors.enabled and "*" in config.security.cors.allowed_origins:
        yield "security.cors.allowed_origins", "* lets every web site use the API; name the sites"
    for index, endpoint in enumerate(config.integrations.webhooks.endpoints):
        if config.integrations.webhooks.enabled and not endpoint.secret:
            yield (
                f"integrations.webhooks.endpoints[{index}].secret",
                "without one the receiver cannot tell our calls from anybody's; `openssl rand -hex 32` makes one",
            )
        if config.integrations.webhooks.enabled and endpoint.url.startswith("http://"):
            yield f"integrations.webhooks.endpoints[{index}].url", "http:// lets everybody on the way read the events"
    for name, secret in config.security.secrets.agents.items():
        if "*" in secret.agents:
            yield f"security.secrets.agents.{name}.agents", "* is whatever anybody deploys; name those that need it"
        if not secret.agents:
            yield f"security.secrets.agents.{name}.agents", "none is named, so no agent may have it"
    if config.data_dir.startswith(("/tmp/", "/var/tmp/")):
        yield "resources.disk.data_dir", f"{config.data_dir} is in a folder of everybody; what is there may be deleted"
    temp_dir = config.resources.disk.temp_dir
    if temp_dir.startswith(("/tmp/", "/var/tmp/")) and not temp_dir.startswith(config.data_dir):
        text = f"who makes {temp_dir} before the server does keeps it from starting; left out, it is in the data folder"
        yield "resources.disk.temp_dir", text
    for layer in loaded.layers:
        for key in _plain_secrets(layer):
            if layer.file in machine.readable_by_others:
                yield key, f"a secret in {layer.name}, which others on this machine may read: `chmod 600 {layer.name}`"
            else:
                yield key, f"a secret in {layer.name}; write ${{A_VARIABLE}} there, and keep the value out of the file"
        if layer.file in machine.writable_by_others:
            yield "", f"others on this machine may write to {layer.name}: `chmod go-w {layer.name}`"


def _telemetry(config: Config) -> Iterator[tuple[str, str]]:
    tracing = config.observability.tracing
    if tracing.enabled and urlsplit(tracing.endpoint).port == 4317:
        yield (
            "observability.tracing.endpoint",
            f"{tracing.endpoint} is where collectors speak gRPC, and traces are sent over HTTP: mostly port 4318",
        )


def _networks(config: Config) -> Iterator[tuple[str, Sequence[str]]]:
    """The keys that say whom to trust, with what they say."""
    mtp, webhooks, limits = (
        config.integrations.fipa.http_mtp,
        config.integrations.webhooks,
        config.security.rate_limiting,
    )
    if mtp.enabled:
        yield "integrations.fipa.http_mtp.accept_from", mtp.accept_from
    if webhooks.enabled:
        yield "integrations.webhooks.allowed_networks", webhooks.allowed_networks
    if limits.enabled:
        yield "security.rate_limiting.trusted_proxies", limits.trusted_proxies


def _is_wide(network: str) -> bool:
    try:
        found = ipaddress.ip_network(network, strict=False)
    except ValueError:  # a secret that nobody fetched
        return False
    return found.prefixlen < (8 if found.version == 4 else 16)


def _plain_secrets(layer: Layer) -> Iterator[str]:
    for name, leaf in leaves().items():
        if not layer.file:
            continue
        held = _value(layer.tree, name)
        if leaf.key.secret and _has_plain(held):
            yield name
        if not (members := sorted(secret_members(leaf))):
            continue
        rows = {f".{key}": row for key, row in held.items()} if isinstance(held, dict) else {}
        rows |= {f"[{index}]": row for index, row in enumerate(held)} if isinstance(held, list) else {}
        for place, row in rows.items():
            for member in members:
                if _has_plain(_value(row, member)):
                    yield f"{name}{place}.{member}"


def _has_plain(value: Any) -> bool:  # Any: a decoded file
    if isinstance(value, dict):
        return "valueFrom" not in value and any(_has_plain(item) for item in value.values())
    return isinstance(value, str) and bool(value) and "${" not in value


def _value(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def _performance(loaded: Loaded, machine: Machine) -> Iterator[tuple[str, str]]:
    config = loaded.config
    runtime, messaging, logging = config.runtime, config.messaging, config.observability.logging
    if logging.level in ("trace", "debug"):
        yield "observability.logging.level", f"{logging.level} writes far more than info; good for a while"
    if machine.cores and runtime.scheduler_threads > machine.cores:
        yield (
            "runtime.scheduler_threads",
            f"{runtime.scheduler_threads} threads on {machine.cores} cores take time from each other; 0 is one a core",
        )
    resident = (runtime.pool_slots or runtime.max_agents) * runtime.keep_resident
    if machine.memory and resident > machine.memory // 2:
        yield (
            "runtime.keep_resident",
            f"{format_bytes(runtime.keep_resident)} for each of {runtime.pool_slots or runtime.max_agents} instances "
            f"are up to {format_bytes(resident)}, and the machine has {format_bytes(machine.memory)}",
        )
    waiting = messaging.queue_size * messaging.max_message_size
    if machine.memory and waiting > machine.memory and messaging.max_message_size > 1 << 20:
        yield (
            "messaging.max_message_size",
            f"one full mailbox ({messaging.queue_size} messages of {format_bytes(messaging.max_message_size)}) would "
            f"be {format_bytes(waiting)}, and the machine has {format_bytes(machine.memory)}",
        )
    if messaging.history_bytes > MUCH:
        yield "messaging.history_bytes", f"{format_bytes(messaging.history_bytes)} of memory, for looking back only"
    if messaging.dedup_size > 10_000_000:
        yield "messaging.dedup_size", f"{messaging.dedup_size} ids take some {format_bytes(messaging.dedup_size << 7)}"
    if messaging.retry_attempts > 10 and messaging.retry_delay < 0.1:
        yield (
            "messaging.retry_delay",
            f"{messaging.retry_attempts} attempts that begin {format_duration(messaging.retry_delay)} apart keep a "
            "failing agent busy with one message",
        )
    if runtime.default_agent_timeout > 300:
        yield (
            "runtime.default_agent_timeout",
            f"an agent in a loop keeps its mailbox waiting for {format_duration(runtime.default_agent_timeout)}",
        )
    cpu = config.resources.cpu
    fit = int(machine.cores * 1000 * (1 - cpu.reserve_system) * cpu.overcommit_ratio // runtime.max_cpu_per_agent)
    if machine.cores and cpu.overcommit_ratio and fit < runtime.max_agents:
        yield (
            "resources.cpu.overcommit_ratio",
            f"{machine.cores} cores admit {fit} agents that do not say their resources.cpu "
            f"({runtime.max_cpu_per_agent}m each), and runtime.max_agents is {runtime.max_agents}",
        )
    if machine.memory and config.resources.memory.reserve_system > machine.memory // 2:
        yield (
            "resources.memory.reserve_system",
            f"{format_bytes(config.resources.memory.reserve_system)} of the machine's {format_bytes(machine.memory)} "
            "are kept free: few agents will be admitted",
        )
    if 0 < messaging.delivery_timeout < 1:
        yield (
            "messaging.delivery_timeout",
            f"a program that takes longer than {format_duration(messaging.delivery_timeout)} gets its message again",
        )
    if config.deployment.health_checks.enabled and config.deployment.health_checks.interval < 1:
        yield "deployment.health_checks.interval", "less than 1s keeps agents busy with saying how they are"
    if 0 < config.security.secrets.refresh_interval < 10:
        yield "security.secrets.refresh_interval", "services that keep secrets bound how often they are asked"
    if not messaging.enable_persistence:
        yield "messaging.enable_persistence", "false is fast, and a crash loses the messages that wait"
