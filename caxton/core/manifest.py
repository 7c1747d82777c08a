"""What an operator says about one agent (`AgentConfig`), and what the server remembers of it (`AgentSpec`).

Rule 1: whoever deploys says at least the name. All else has a default; the server's configuration sets the defaults and
        maxima.
Rule 2: amounts are text where people write them and plain numbers here: bytes, millicores, seconds.
Rule 3: a spec is what must survive a restart of the server; how the agent fares is not in it, `runtime` knows.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from caxton.core.decoding import UNREADABLE
from caxton.core.errors import InvalidConfig
from caxton.core.limits import format_bytes, format_millicores
from caxton.core.secrets import named_secret
from caxton.core.settings import NEXT, YES, Bytes, Count, Key, Millicores, Positive, Seconds, raise_problems, read
from caxton.core.supervision import RestartType, Strategy

# an optional workspace, then the name; the letters leave out what addresses use for themselves (`:` and `@`)
NAME = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,126}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,126}\Z", re.ASCII)
# FIPA's agent management system and directory facilitator, and the one that runs contract nets
RESERVED_NAMES = frozenset({"ams", "df", "cnp"})
MAX_REPLICAS = 1000

Delivery = Literal["", "durable", "relaxed", "volatile"]  # "": as the server's configuration says
ImportPolicy = Literal["trap", "strict"]
DELIVERY_CLASSES: tuple[Delivery, ...] = ("", "durable", "relaxed", "volatile")  # at the place of its number in _fast


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """How much one replica may take."""

    memory: Bytes = 100 << 20
    cpu: Annotated[Millicores, Key("share of a core", dynamic=YES)] = 1000
    timeout: Annotated[Seconds, Key("of one turn, processor time and waiting together", dynamic=YES)] = 30.0


class Supervision(msgspec.Struct, frozen=True, kw_only=True):
    """More than `max_restarts` within `period` and the supervisor gives up."""

    strategy: Strategy = Strategy.ONE_FOR_ONE
    max_restarts: Annotated[Count, Key("so many in a period, and no more", dynamic=YES)] = 3
    period: Annotated[Seconds, Key("in which they are counted", dynamic=YES)] = 60.0
    group: str = ""  # agents of one group share a supervisor; "" is a supervisor of one's own


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """How often an agent is asked whether it is well, and how many answers decide."""

    enabled: Annotated[bool, Key("see [health checks](supervision.md#health-checks)", dynamic=NEXT)] = True
    initial_delay: Annotated[Seconds, Key("after an agent's start, before the first", dynamic=NEXT)] = 5.0
    interval: Annotated[float, Meta(ge=0.001, extra={"unit": "duration"}), Key("between two of them", dynamic=NEXT)] = (
        30.0
    )
    timeout: Annotated[float, Meta(ge=0.001, extra={"unit": "duration"}), Key("of an answer", dynamic=NEXT)] = 10.0
    failure_threshold: Annotated[
        Positive, Key("so many bad answers in a row, and the agent is unhealthy", dynamic=NEXT)
    ] = 3
    success_threshold: Annotated[
        Positive,
        Key("so many good ones in a row, and the instance that was started then counts as healthy", dynamic=NEXT),
    ] = 1


class CircuitBreaker(msgspec.Struct, frozen=True, kw_only=True):
    """When a tool server that fails is left alone (`core/breaker.py`)."""

    threshold: Annotated[
        Positive,
        Key("so many failed calls of an agent in a row, and it does not call the server any more", dynamic=YES),
    ] = 5
    timeout: Annotated[
        float,
        Meta(ge=0.001, extra={"unit": "duration"}),
        Key("for so long; then one call tries whether it answers again", dynamic=YES),
    ] = 30.0


class SigningConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Ed25519 signatures of the agent's messages."""

    sign: bool = False  # the server signs what the agent sends, with a key that it makes and keeps
    verify: Literal["never", "present", "always"] = "never"  # of what it is sent; present: a signature has to be right
    public_key: str = ""  # of an agent outside that signs for itself: Base64 of 32 bytes


class AgentDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """What the server gives to an agent that does not say; memory and cpu are also the most that it may ask for."""

    resources: Resources = Resources()
    health_check: HealthCheck = HealthCheck()
    circuit_breaker: CircuitBreaker = CircuitBreaker()


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One agent as its operator describes it."""

    name: str
    replicas: Annotated[int, Meta(ge=1, le=MAX_REPLICAS)] = 1
    resources: Resources = Resources()
    environment: dict[str, str] = {}
    secrets: dict[str, str] = {}  # variables whose values are secrets of the server, by their names there
    capabilities: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    group: str = ""  # it hears what is sent to broadcast://<group>
    delivery: Annotated[Delivery, Key("of messages to it that do not say it themselves", dynamic=YES)] = ""
    restart: RestartType = RestartType.PERMANENT
    supervision: Supervision = Supervision()
    health_check: HealthCheck | None = None  # None: as the server's configuration says
    tools: Annotated[
        tuple[str, ...], Key("that it may call, such as `files.*`; none when it is left out", dynamic=YES)
    ] = ()
    circuit_breaker: CircuitBreaker | None = None  # None: as the server's configuration says
    imports: Literal["", "trap", "strict"] = ""  # of a component; "": as runtime.component_imports says
    signing: SigningConfig = SigningConfig()
    metadata: dict[str, Any] = {}  # Any: the operator's own, JSON


class AgentSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One agent as the store keeps it."""

    name: str
    kind: Literal["wasm", "attached"]
    module: str  # SHA-256 in hex; "" when attached
    config: AgentConfig
    version: int = 1  # counts updates
    created_at: float  # seconds since the epoch
    desired: Literal["running", "stopped"] = "running"


def parse_agent_config(data: bytes | Mapping[str, Any], *, defaults: AgentDefaults | None = None) -> AgentConfig:
    """The configuration in *data*: JSON text, or what YAML or TOML text was decoded to. Raises InvalidConfig."""
    defaults = defaults or AgentDefaults()
    if isinstance(data, bytes):
        try:
            data = msgspec.json.decode(data)
        except UNREADABLE as error:
            raise InvalidConfig(f"the agent configuration is not JSON: {error}") from None
    if not isinstance(data, Mapping):
        raise InvalidConfig(f"the agent configuration is {type(data).__name__}, not a table of keys")
    problems: list[str] = []
    values = dict(data)
    if "environment" in values:
        values["environment"], references = _environment(values["environment"], problems)
        if references:
            given = values.get("secrets")
            values["secrets"] = {**given, **references} if isinstance(given, Mapping) else references
    base = AgentConfig(name="", resources=defaults.resources)
    if values.get("health_check") is not None:
        # only here, so that an agent which does not mention health checks follows the server's configuration later too
        base = msgspec.structs.replace(base, health_check=defaults.health_check)
    if values.get("circuit_breaker") is not None:
        base = msgspec.structs.replace(base, circuit_breaker=defaults.circuit_breaker)
    config = read(problems, AgentConfig, values, base=base)
    if config is not None:
        _check(config, defaults, problems)
    raise_problems(problems, "agent configuration")
    assert config is not None
    return config


def check_name(name: str) -> str:
    """*name* when an agent may have it; otherwise an InvalidConfig that says why not."""
    problems: list[str] = []
    _check_name(name, problems)
    raise_problems(problems, "agent's name")
    return name


def _check_name(name: str, problems: list[str]) -> None:
    if not name:
        problems.append("name: missing")
    elif name.lower() in RESERVED_NAMES:
        problems.append(f"name: {name!r} is reserved for an agent of the platform; choose another name")
    elif not NAME.match(name):
        problems.append(
            f"name: {name!r} is not a name; use up to 127 letters, digits, '_', '-' and '.', beginning with a letter, "
            "a digit or '_', optionally after 'workspace/'"
        )


def _check(config: AgentConfig, defaults: AgentDefaults, problems: list[str]) -> None:
    if not any(problem.startswith("name:") for problem in problems):
        _check_name(config.name, problems)
    most = defaults.resources
    if config.resources.memory > most.memory:
        problems.append(
            "resources.memory: limit exceeds maximum "
            f"(requested: {format_bytes(config.resources.memory)}, max: {format_bytes(most.memory)})"
        )
    if config.resources.cpu > most.cpu:
        problems.append(
            "resources.cpu: limit exceeds maximum "
            f"(requested: {format_millicores(config.resources.cpu)}, max: {format_millicores(most.cpu)})"
        )
    if config.resources.timeout <= 0:
        problems.append("resources.timeout: must be above 0s")
    if config.signing.sign and config.signing.public_key:
        problems.append("signing: with sign the server makes the key; leave public_key out, or sign and send it signed")
    for key, texts in (("capabilities", config.capabilities), ("topics", config.topics), ("tools", config.tools)):
        for index, text in enumerate(texts):
            if not text or len(text.encode()) > 256 or "\0" in text:
                problems.append(f"{key}[{index}]: {text!r} is not a name of 1 to 256 bytes")
    for name, value in config.environment.items():
        if not name or "=" in name or "\0" in name + value:
            problems.append(f"environment.{name}: a variable has a name without '=' and no NUL anywhere")
    for name, secret in config.secrets.items():
        if not name or "=" in name or "\0" in name:
            problems.append(f"secrets.{name}: a variable has a name without '=' and no NUL")
        if name in config.environment:
            problems.append(f"secrets.{name}: environment says this variable too")
        if not secret:
            problems.append(f"secrets.{name}: names no secret; it is one of security.secrets.agents of the server")


def _environment(value: object, problems: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Both ways of writing it, a table or the guide's list of `{name, value}`: values, and names of secrets."""
    if value is None:
        return {}, {}
    if isinstance(value, Mapping):
        pairs = [(f"environment.{key}", str(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        pairs = []
        for index, item in enumerate(value):
            path = f"environment[{index}]"
            if not isinstance(item, Mapping) or "name" not in item:
                problems.append(f"{path}: expected {{name, value}}")
            elif extra := set(item) - {"name", "value", "valueFrom"}:
                problems.append(f"{path}: unknown key {min(extra)!r}; known: name, value, valueFrom")
            elif {"value", "valueFrom"} <= set(item):
                problems.append(f"{path}: value and valueFrom cannot both be said")
            elif "valueFrom" in item:
                pairs.append((path, str(item["name"]), {"valueFrom": item["valueFrom"]}))
            else:
                pairs.append((path, str(item["name"]), item.get("value", "")))
    else:
        problems.append("environment: expected a table, or a list of {name, value}")
        return {}, {}
    result: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    for path, name, item in pairs:
        if isinstance(item, bool):
            result[name] = "true" if item else "false"
        elif isinstance(item, str | int | float):
            result[name] = str(item)
        elif isinstance(item, Mapping) and set(item) == {"valueFrom"}:
            if secret := named_secret(item["valueFrom"]):
                secrets[name] = secret
            else:
                problems.append(
                    f"{path}.valueFrom: a server takes {{secretRef: NAME}} of its security.secrets.agents; "
                    "`caxton deploy` replaces others"
                )
        else:
            problems.append(f"{path}: a variable's value is text, a number or true/false")
    return result, secrets
