"""Keys of the configuration guide whose parts are not built yet: checked like any other, and without effect.

Rule 1: whoever builds the part moves its Struct to `core/config_keys.py` and takes `inactive` from the table's `Key`.
Rule 2: a part that is not built is off: `enabled` is false here where the guide has true.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from caxton.core.config_fipa import FipaConfig
from caxton.core.config_mcp import McpConfig
from caxton.core.config_webhooks import WebhooksConfig
from caxton.core.settings import Count, Key, Percent, Positive, Seconds

Whole = Annotated[int, Meta(ge=0, le=100)]  # percent as a whole number
Texts = tuple[str, ...]


class ClusterConfig(msgspec.Struct, frozen=True, kw_only=True):
    enabled: Annotated[bool, Key("several servers act as one")] = False
    bind_addr: Annotated[str, Key("address that the members' protocol listens on")] = "0.0.0.0:7946"
    advertise_addr: Annotated[str, Key("address that other members are told; auto finds it")] = "auto"
    seeds: Annotated[Texts, Key("members to begin with, host:port")] = ()
    gossip_interval: Annotated[Seconds, Key("between two rounds of gossip")] = 0.2
    probe_interval: Annotated[Seconds, Key("between two looks at a member")] = 1.0


class PartitionConfig(msgspec.Struct, frozen=True, kw_only=True):
    detection_timeout: Annotated[Seconds, Key("until a partition is declared")] = 5.0
    quorum_size: Annotated[Count, Key("members that a write needs; 0 is more than half")] = 0
    degraded_mode: Annotated[bool, Key("a minority goes on, for reading")] = True
    queue_writes: Annotated[bool, Key("writes wait while there is a partition")] = True
    max_queue_size: Annotated[Count, Key("how many of them")] = 10_000


class TokenConfig(msgspec.Struct, frozen=True, kw_only=True):
    header_name: Annotated[str, Key("header that carries the token")] = "X-Caxton-Token"
    tokens_file: Annotated[str, Key("file of tokens")] = "/etc/caxton/tokens.yaml"


class OAuth2Config(msgspec.Struct, frozen=True, kw_only=True):
    provider: Annotated[str, Key("who knows the users")] = "github"
    client_id: Annotated[str, Key("this server's name there")] = ""
    client_secret: Annotated[str, Key("and its secret", secret=True)] = ""
    redirect_url: Annotated[str, Key("where users come back to")] = "http://localhost:8080/auth/callback"


class CanaryConfig(msgspec.Struct, frozen=True, kw_only=True):
    initial_percentage: Annotated[Whole, Key("of the messages for the new version at first")] = 10
    increment: Annotated[Whole, Key("more in each step")] = 20
    interval: Annotated[Seconds, Key("between two steps")] = 300.0
    error_threshold: Annotated[Percent, Key("share of errors that ends it")] = 0.05


class BlueGreenConfig(msgspec.Struct, frozen=True, kw_only=True):
    warm_up_time: Annotated[Seconds, Key("before the new version is used")] = 30.0
    switch_delay: Annotated[Seconds, Key("before the old one is stopped")] = 10.0


class StrategiesConfig(msgspec.Struct, frozen=True, kw_only=True):
    default: Annotated[
        Literal["direct", "rolling", "canary", "blue_green", "shadow"], Key("of a deployment that says none")
    ] = "direct"
    canary: CanaryConfig = CanaryConfig()
    blue_green: BlueGreenConfig = BlueGreenConfig()


class IntegrationsConfig(msgspec.Struct, frozen=True, kw_only=True):
    fipa: FipaConfig = FipaConfig()
    mcp: McpConfig = McpConfig()
    webhooks: WebhooksConfig = WebhooksConfig()


class ExperimentalConfig(msgspec.Struct, frozen=True, kw_only=True):
    enable_gpu_support: Annotated[bool, Key("agents on graphics processors")] = False
    enable_distributed_mode: Annotated[bool, Key("several servers as one; see coordination.cluster")] = False
    enable_auto_scaling: Annotated[bool, Key("replicas come and go with the load")] = False
    enable_debug_endpoints: Annotated[bool, Key("the debugging part of the API; it is always there")] = False


class PostgresConfig(msgspec.Struct, frozen=True, kw_only=True):
    connection_timeout: Annotated[Seconds, Key("of a new connection")] = 30.0
    max_connections: Annotated[Positive, Key("at a time")] = 10


class StorageConfig(msgspec.Struct, frozen=True, kw_only=True):
    type: Annotated[Literal["sqlite", "memory", "postgres"], Key("where the state is")] = "sqlite"
    postgres: PostgresConfig = PostgresConfig()


# Any: what stands there is the operator's own
FREE_TABLE = dict[str, Any]
