"""The server's configuration: sources, precedence, and mistakes."""

from pathlib import Path

import pytest

from caxton.core import config as sources
from caxton.core import config_tree as tree
from caxton.core.config import load_config, merge, read_table
from caxton.core.config_keys import MessagingConfig, RuntimeConfig
from caxton.core.config_substitute import substitute
from caxton.core.errors import InvalidConfig
from caxton.core.manifest import HealthCheck, Resources
from caxton.core.secrets import SecretText
from caxton.core.settings import plain

HOME = {"HOME": "/home/somebody"}
GUIDE = Path(__file__).parent / "guide.yaml"


@pytest.fixture(autouse=True)
def no_system_wide_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sources, "DEFAULT_PATH", tmp_path / "etc" / "config.yaml")


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_nothing_said() -> None:
    config = load_config(environ=HOME)
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8080)
    assert config.runtime == RuntimeConfig()
    assert config.data_dir == "/home/somebody/.local/share/caxton"
    assert (config.unserved, config.unmet_protections) == ((), [])
    assert config.sources == ()
    assert load_config(environ={"XDG_DATA_HOME": "/data"}).data_dir == "/data/caxton"


def test_the_guide_s_complete_example() -> None:
    config = load_config(str(GUIDE), environ=HOME)
    assert config.server.host == "0.0.0.0"
    assert config.runtime.max_cpu_per_agent == 100
    assert config.messaging == MessagingConfig(delivery_timeout=5.0)
    assert config.coordination.cluster.seeds == ("caxton-1.example.com:7946", "caxton-2.example.com:7946")
    assert config.integrations.mcp.servers[1].capabilities == ("sql_query", "data_export")
    assert config.deployment.health_checks == HealthCheck()
    assert config.data_dir == "/var/lib/caxton"
    assert config.agent_defaults.resources == Resources(memory=100 << 20, cpu=100, timeout=30.0)
    # a variable that nobody set is no mistake where nothing reads it
    assert config.security.authentication.oauth2.client_id == ""
    assert "coordination.cluster.seeds" in config.unserved
    assert [key for key in config.unserved if key.startswith("messaging.")] == ["messaging.persistence_path"]
    assert "server.port" not in config.unserved


def test_durable_delivery_as_people_write_it(tmp_path: Path) -> None:
    text = (
        "messaging: {enable_persistence: 'False', retry_attempts: 0, retry_delay: 300s, delivery_timeout: 0, "
        "dedup_window: 1h, dedup_size: 7, offline_queue_size: 8, offline_queue_bytes: 512KB, offline_total_bytes: 2GB, "
        "retention_age: 12h, retention_size: 64MB, dead_letter_size: 9, dead_letter_age: 7d}"
    )
    config = load_config(write(tmp_path / "c.yaml", text), environ=HOME)
    assert config.messaging == MessagingConfig(
        enable_persistence=False,
        retry_attempts=0,
        retry_delay=300.0,
        delivery_timeout=0.0,
        dedup_window=3600.0,
        dedup_size=7,
        offline_queue_size=8,
        offline_queue_bytes=512 << 10,
        offline_total_bytes=2 << 30,
        retention_age=43_200.0,
        retention_size=64 << 20,
        dead_letter_size=9,
        dead_letter_age=604_800.0,
    )
    assert config.unserved == ()


def test_flags_bind_more_than_the_environment_and_that_more_than_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "c.yaml", "server: {port: 1, metrics_port: 2, grpc_port: 3}")
    environ = {**HOME, "CAXTON_METRICS_PORT": "4", "CAXTON_GRPC_PORT": "5", "CAXTON_LOG_LEVEL": "DEBUG"}
    config = load_config(path, environ=environ, sets=["server.grpc_port=6"])
    assert (config.server.port, config.server.metrics_port, config.server.grpc_port) == (1, 4, 6)
    assert config.observability.logging.level == "debug"
    assert config.sources == (path,)


def test_the_environment_names_the_file_and_the_folder(tmp_path: Path) -> None:
    path = write(tmp_path / "c.toml", "[server]\nport = 81\n")
    environ = {**HOME, "CAXTON_CONFIG_PATH": path, "CAXTON_DATA_DIR": "/srv/caxton"}
    config = load_config(environ=environ)
    assert (config.server.port, config.data_dir) == (81, "/srv/caxton")


def test_the_system_wide_file_is_read_when_it_is_there(tmp_path: Path) -> None:
    write(tmp_path / "etc" / "config.yaml", "server:\n  port: 82\n")
    assert load_config(environ=HOME).server.port == 82


def test_a_profile_is_laid_over_the_file_and_extends_another(tmp_path: Path) -> None:
    path = write(tmp_path / "config.yaml", "server: {port: 1, host: here}")
    write(tmp_path / "base.yaml", "server: {port: 2}\nruntime: {max_agents: 7, max_wasm_stack: 32KB}")
    profile = write(tmp_path / "config-prod.yaml", "extends: base.yaml\nruntime: {max_agents: 8}")
    for config in (
        load_config(path, profile="prod", environ=HOME),
        load_config(path, profile="production", environ=HOME),
        load_config(path, environ={**HOME, "CAXTON_ENV": "production"}),
    ):
        assert (config.server.host, config.server.port) == ("here", 2)
        assert (config.runtime.max_agents, config.runtime.max_wasm_stack) == (8, 32 << 10)
        assert config.sources == (path, str(tmp_path / "base.yaml"), profile)


def test_profiles_that_come_with_the_package(tmp_path: Path) -> None:
    assert sources.shipped() == ["constrained", "latency", "throughput"]
    for name in sources.shipped():
        found = sources.load(profile=name, environ=HOME)
        assert (found.config.unserved, sources.inactive_keys(sources.merged(found.layers))) == ((), [])
    throughput = load_config(profile="throughput", environ=HOME)
    assert (throughput.runtime.max_agents, throughput.messaging.enable_persistence) == (5000, False)
    assert load_config(environ={**HOME, "CAXTON_ENV": "latency"}).messaging.queue_size == 1000
    path = write(tmp_path / "config.yaml", "messaging: {queue_size: 70, retry_attempts: 7}")
    config = load_config(path, profile="latency", environ=HOME)
    assert (config.messaging.queue_size, config.messaging.retry_attempts) == (1000, 1), "a profile is above the file"
    write(tmp_path / "config-latency.yaml", "extends: profile:latency\nmessaging: {queue_size: 30}")
    config = load_config(path, profile="latency", environ=HOME)
    assert (config.messaging.queue_size, config.messaging.retry_attempts) == (30, 1), "the operator's own is above ours"
    path = write(tmp_path / "config.yaml", "extends: profile:speed")
    with pytest.raises(InvalidConfig, match=r"config.yaml:1: there is no profile 'speed'; there are constrained, lat"):
        load_config(path, environ=HOME)


def test_a_profile_that_is_not_there_is_a_mistake_only_when_asked_for_by_flag(tmp_path: Path) -> None:
    path = write(tmp_path / "config.yaml", "")
    assert load_config(path, environ={**HOME, "CAXTON_ENV": "staging"}).server.port == 8080
    with pytest.raises(InvalidConfig, match="no file for the profile 'staging'"):
        load_config(path, profile="staging", environ=HOME)


def test_variables(tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.yaml",
        "server: {port: '${PORT}', host: '${HOST:-localhost}'}\nresources: {disk: {data_dir: '$${x}/${A:-}b'}}",
    )
    config = load_config(path, environ={**HOME, "PORT": "90"})
    assert (config.server.port, config.server.host, config.data_dir) == (90, "localhost", "${x}/b")
    with pytest.raises(InvalidConfig, match=r"server\.port: the variable PORT is not set"):
        load_config(path, environ=HOME)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path / "bad.toml",
        '[server]\nprt = 3\nhost = 3\nport = "x"\n[runtime]\nmax_wasm_stack = "1MB"\nmax_agents = 0\n'
        "[coordination.clustr]\na = 1\n",
    )
    with pytest.raises(InvalidConfig) as caught:
        load_config(path, environ=HOME, sets=["messaging.max_message_size=1PB", "runtime.pool_slots=5"])
    assert caught.value.details["problems"] == [
        f"{path}:2: server.prt: unknown key; did you mean 'port'?",
        f"{path}:3: server.host: expected text, found 3; text needs quotes here",
        f"{path}:4: server.port: expected a whole number from 0 to 65535, found 'x'",
        f"{path}:6: runtime.async_stack_size: 256KB is too small; host functions run on this stack too: "
        "it must be twice runtime.max_wasm_stack (1MB) or more",
        f"{path}:7: runtime.max_agents: 0 is too small; the least is 1",
        f"{path}:8: coordination.clustr: unknown key; did you mean 'cluster'?",
        "--set messaging.max_message_size: unknown unit 'PB' in '1PB'; write KB, MB, GB or TB",
        "--set runtime.pool_slots: 5 is too small for runtime.max_agents 1000; 0 chooses it",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("server: {port: 65536}", "65536 is too large; the most is 65535"),
        ("server: {host: ''}", "server.host: missing"),
        ("- a", "c.yaml:1: expected a table of keys such as `server:`, found a list"),
        ("server: {port: 1\n", "not YAML"),
        ("server: {port: 1, port: 2}", "c.yaml:1: server.port stands here a second time"),
        ("server:\n  port: 1\nserver:\n  port: 2\n", "c.yaml:3: server stands here a second time, first in line 1"),
        ("server: 3", "server: expected a table of keys, found 3"),
        ("runtime: {max_agents: 1.5}", "expected a whole number from 1 to 1000000, found 1.5"),
        ("runtime: {max_agents: true}", "expected a whole number from 1 to 1000000, found true"),
        ("messaging: {enable_persistence: perhaps}", "enable_persistence: expected true or false, found 'perhaps'"),
        ("messaging: {retry_attempts: 101}", "messaging.retry_attempts: 101 is too large; the most is 100"),
        ("messaging: {retry_attempts: -1}", "messaging.retry_attempts: -1 is too small; the least is 0"),
        ("messaging: {retry_delay: 6m}", "messaging.retry_delay: 6m is too large; the most is 5m"),
        ("messaging: {retry_delay: soon}", "messaging.retry_delay: 'soon' is not an amount; write 30s, 5m or 200ms"),
        ("messaging: {delivery_timeout: true}", "messaging.delivery_timeout: True is not an amount"),
        ("messaging: {offline_queue_bytes: 1PB}", "offline_queue_bytes: unknown unit 'PB' in '1PB'; write KB, MB"),
        ("messaging: {offline_queue_sise: 1}", "unknown key; did you mean 'offline_queue_size'?"),
        ("messaging: {dead_letter_size: -1}", "messaging.dead_letter_size: -1 is too small; the least is 0"),
        ("observability: {logging: {level: loud}}", "'loud' is not one of trace, debug, info, warn, error"),
        ("observability: {logging: {colour: red}}", "observability.logging.colour: unknown key"),
        ("extends: nowhere.yaml", "cannot read the file"),
        ("extends: c.yaml", "extend each other in a circle"),
        ("extends: 3", "extends names a file"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path / "c.yaml", text)
    with pytest.raises(InvalidConfig) as caught:
        load_config(path, environ=HOME)
    assert said in caught.value.message


@pytest.mark.parametrize("flag", ["server.port", "=3", "server..port=3", "server.port=[1"])
def test_flags_that_are_none(flag: str) -> None:
    with pytest.raises(InvalidConfig):
        load_config(environ=HOME, sets=[flag])


def test_a_flag_may_hold_json() -> None:
    config = load_config(environ=HOME, sets=['coordination.cluster.seeds=["a:1"]', "server.host=0.0.0.0"])
    assert config.coordination.cluster.seeds == ("a:1",)
    assert config.unserved == ("coordination.cluster.seeds",)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load_config(str(tmp_path / "none.yaml"), environ=HOME)
    assert "cannot read the file" in caught.value.message
    assert "--config" in caught.value.hint


def test_protections_that_are_not_there_are_named() -> None:
    config = load_config(environ={**HOME, "CAXTON_AUTH_ENABLED": "true"}, sets=["security.authorization.enabled=true"])
    assert config.unmet_protections == ["security.authentication.enabled", "security.authorization.enabled"]


def test_what_is_shown_can_be_read_again() -> None:
    shown = plain(load_config(environ=HOME))
    del shown["unserved"], shown["sources"], shown["masked"]
    assert shown["runtime"]["max_memory_per_agent"] == "100MB"
    assert sources.build_config(shown, HOME, sources=()).messaging == load_config(environ=HOME).messaging
    assert tree.values(sources.build_config(shown, HOME)) == tree.values(load_config(environ=HOME))


def no_secrets(texts: object, environ: object, patience: float) -> dict[str, SecretText]:
    raise AssertionError("no reference, nothing to fetch")


def test_an_agent_s_file_may_extend_and_use_variables(tmp_path: Path) -> None:
    write(tmp_path / "base.json", '{"restart": "temporary", "resources": {"memory": "1MB"}}')
    path = write(tmp_path / "agent.toml", 'extends = "base.json"\nname = "${NAME}"\n[resources]\ncpu = "10m"\n')
    assert read_table(path, {"NAME": "ping"}, no_secrets) == {
        "restart": "temporary",
        "resources": {"memory": "1MB", "cpu": "10m"},
        "name": "ping",
    }


def test_merging_and_substituting_leave_their_input_alone() -> None:
    below, above = {"a": {"b": 1, "c": [1]}}, {"a": {"b": {"d": "${X}"}}}
    assert merge(below, above) == {"a": {"b": {"d": "${X}"}, "c": [1]}}
    assert substitute(above, {"X": "y"}, []) == {"a": {"b": {"d": "y"}}}
    assert (below, above) == ({"a": {"b": 1, "c": [1]}}, {"a": {"b": {"d": "${X}"}}})


def test_what_can_only_be_what_it_is() -> None:
    sets = ["coordination.local_state.type=sqlite", "coordination.local_state.journal_mode=WAL"]
    assert load_config(environ=HOME, sets=sets).unserved == ()
    for wrong in ("coordination.local_state.type=postgres", "coordination.local_state.journal_mode=DELETE"):
        with pytest.raises(InvalidConfig, match="is not one of"):
            load_config(environ=HOME, sets=[wrong])


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "inf"])
def test_a_number_is_one(tmp_path: Path, value: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"security: {{rate_limiting: {{requests_per_second: {value}}}}}")
    with pytest.raises(InvalidConfig, match="requests_per_second: expected a number"):
        load_config(str(file), environ={"HOME": "/x"})
