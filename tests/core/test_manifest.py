"""An agent's configuration: both ways of writing things, all mistakes at once."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton.core.errors import InvalidConfig
from caxton.core.manifest import (
    AgentConfig,
    AgentDefaults,
    AgentSpec,
    HealthCheck,
    Resources,
    Supervision,
    check_name,
    parse_agent_config,
)
from caxton.core.settings import plain
from caxton.core.supervision import RestartType, Strategy

GUIDE = {
    "name": "my-agent",
    "resources": {"memory": "50MB", "cpu": "50m", "timeout": "10s"},
    "environment": [{"name": "LOG_LEVEL", "value": "debug"}],
    "capabilities": ["web_search", "database_access"],
    "metadata": {"version": "1.0.0", "author": "developer@example.com"},
}


def problems_of(data: object) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        parse_agent_config(data)  # type: ignore[arg-type]  # some cases are no tables on purpose
    return caught.value.details.get("problems", [caught.value.message])


def test_the_guide_s_example() -> None:
    config = parse_agent_config(GUIDE)
    assert config == AgentConfig(
        name="my-agent",
        resources=Resources(memory=50 << 20, cpu=50, timeout=10.0),
        environment={"LOG_LEVEL": "debug"},
        capabilities=("web_search", "database_access"),
        metadata={"version": "1.0.0", "author": "developer@example.com"},
    )
    assert parse_agent_config(msgspec.json.encode(GUIDE)) == config


def test_a_name_is_enough() -> None:
    config = parse_agent_config({"name": "ping"})
    assert (config.replicas, config.restart, config.supervision) == (1, RestartType.PERMANENT, Supervision())
    assert config.health_check is None
    assert config.delivery == ""


def test_the_server_s_configuration_gives_what_is_not_said() -> None:
    defaults = AgentDefaults(
        resources=Resources(memory=10 << 20, cpu=100, timeout=5.0), health_check=HealthCheck(timeout=1.0)
    )
    config = parse_agent_config(
        {"name": "ping", "resources": {"memory": "1MB"}, "health_check": {"interval": "2s"}}, defaults=defaults
    )
    assert config.resources == Resources(memory=1 << 20, cpu=100, timeout=5.0)
    assert config.health_check == HealthCheck(interval=2.0, timeout=1.0)


def test_supervision() -> None:
    config = parse_agent_config(
        {
            "name": "workspace/worker",
            "restart": "Transient",
            "supervision": {"strategy": "rest_for_one", "max_restarts": 5, "period": "10s", "group": "pipeline"},
        }
    )
    assert config.restart is RestartType.TRANSIENT
    assert config.supervision == Supervision(
        strategy=Strategy.REST_FOR_ONE, max_restarts=5, period=10.0, group="pipeline"
    )


@pytest.mark.parametrize(
    ("said", "kept"), [("durable", "durable"), ("Relaxed", "relaxed"), ("VOLATILE", "volatile"), ("", "")]
)
def test_how_safe_messages_to_an_agent_are(said: str, kept: str) -> None:
    assert parse_agent_config({"name": "a", "delivery": said}).delivery == kept
    for wrong, found in ((None, "nothing"), (1, "1"), (True, "true; text needs quotes here"), (["durable"], "a list")):
        assert problems_of({"name": "a", "delivery": wrong}) == [
            f"delivery: expected one of durable, relaxed, volatile; found {found}"
        ]


def test_an_environment_is_a_table_or_a_list() -> None:
    as_table = parse_agent_config({"name": "a", "environment": {"PORT": 80, "DEBUG": True, "EMPTY": ""}})
    pairs = [{"name": "PORT", "value": 80}, {"name": "DEBUG", "value": True}, {"name": "EMPTY"}]
    as_list = parse_agent_config({"name": "a", "environment": pairs})
    assert as_table.environment == as_list.environment == {"PORT": "80", "DEBUG": "true", "EMPTY": ""}


def test_all_mistakes_are_told_at_once_with_their_place_and_what_would_be_right() -> None:
    problems = problems_of(
        {
            "nam": "x",
            "replicas": 0,
            "resources": {"memry": 1, "cpu": "x"},
            "delivery": "safe",
            "restart": "forever",
            "environment": [{"name": "KEY", "valueFrom": {"vaultKeyRef": "s"}}],
            "capabilities": "search",
        }
    )
    assert problems == [
        "environment[0].valueFrom: a server takes {secretRef: NAME} of its security.secrets.agents; "
        "`caxton deploy` replaces others",
        "nam: unknown key; did you mean 'name'?",
        "replicas: 0 is too small; the least is 1",
        "resources.memry: unknown key; did you mean 'memory'?",
        "resources.cpu: 'x' is not an amount; write 100m or 1.5",
        "capabilities: expected a list, found 'search'",
        "delivery: 'safe' is not one of durable, relaxed, volatile",
        "restart: 'forever' is not one of permanent, transient, temporary",
        "name: missing",
    ]


def test_more_than_the_server_allows() -> None:
    assert problems_of({"name": "a", "resources": {"memory": "500MB", "cpu": "2000m"}}) == [
        "resources.memory: limit exceeds maximum (requested: 500MB, max: 100MB)",
        "resources.cpu: limit exceeds maximum (requested: 2000m, max: 1000m)",
    ]


@pytest.mark.parametrize("name", ["ping", "a", "_x", "order-processor.v2", "workspace/agent", "9lives", "a" * 127])
def test_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "ams", "df", "cnp", "DF", "-a", ".a", "a b", "a@node", "topic:a", "a/b/c", "/a", "a/", "a" * 128, "ä", "a\n"],
)
def test_no_names(name: str) -> None:
    assert problems_of({"name": name})[0].startswith("name: ")


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b'{"name": 3}', b"null", [], 3])
def test_what_is_no_configuration(data: object) -> None:
    assert problems_of(data)


def test_a_spec_survives_the_store() -> None:
    spec = AgentSpec(name="my-agent", kind="wasm", module="ab" * 32, config=parse_agent_config(GUIDE), created_at=1.5)
    assert msgspec.json.decode(msgspec.json.encode(spec), type=AgentSpec) == spec


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(AgentConfig.__struct_fields__), JSON))
def test_any_table_is_a_configuration_or_an_invalid_config(data: dict[str, object]) -> None:
    try:
        config = parse_agent_config(data)
    except InvalidConfig:
        return
    assert parse_agent_config(plain(config)) == config


@pytest.mark.parametrize(
    "fields",
    [
        {"environment": [{"name": "LEVEL", "value": "x"}, {"name": "KEY", "valueFrom": {"secretRef": "api"}}]},
        {"environment": {"LEVEL": "x", "KEY": {"valueFrom": {"secretRef": "api"}}}},
        {"environment": {"LEVEL": "x"}, "secrets": {"KEY": "api"}},
    ],
)
def test_a_secret_is_named_and_not_held(fields: dict[str, object]) -> None:
    config = parse_agent_config({"name": "a", **fields})
    assert (config.environment, config.secrets) == ({"LEVEL": "x"}, {"KEY": "api"})
    assert parse_agent_config({key: value for key, value in plain(config).items() if value is not None}) == config


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"environment": {"A": "1"}, "secrets": {"A": "s"}}, "secrets.A: environment says this variable too"),
        ({"secrets": {"A=B": "s"}}, "secrets.A=B: a variable has a name"),
        ({"secrets": {"A": ""}}, "secrets.A: names no secret"),
        ({"secrets": ["A"]}, "secrets: expected a table of keys, found a list"),
        ({"environment": [{"name": "A", "value": "1", "valueFrom": {"secretRef": "s"}}]}, "cannot both be said"),
        ({"environment": [{"name": "A", "valueFrom": {"secretRef": 3}}]}, "a server takes {secretRef: NAME}"),
        ({"environment": [{"name": "A", "valu": "1"}]}, "unknown key 'valu'; known: name, value, valueFrom"),
    ],
)
def test_secrets_that_cannot_be_meant(fields: dict[str, object], said: str) -> None:
    assert any(said in problem for problem in problems_of({"name": "a", **fields}))
