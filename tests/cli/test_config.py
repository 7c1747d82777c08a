"""`caxton config …` on files, and `caxton server start --dry-run`."""

import json
import os
import socket
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from caxton.cli.main import cli
from caxton.core.config import load, load_config
from caxton.core.config_lint import Machine, is_local, lint

GUIDE = Path(__file__).parent.parent / "core" / "guide.yaml"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable and no file of this machine has a say."""
    for name in [one for one in os.environ if one.startswith(("CAXTON_", "OTEL_", "RUST_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="caxton")


def said(*arguments: str, code: int = 0) -> str:
    result = invoke(*arguments)
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def write(text: str, name: str = "config.yaml") -> str:
    Path(name).write_text(text)
    return name


# -- validate --


def test_a_sound_file() -> None:
    write("server: {port: 81}\n")
    assert said("config", "validate", "--file", "config.yaml") == "✓ config.yaml: valid, 1 key set\n"
    assert said("--config", "config.yaml", "config", "validate") == "✓ config.yaml: valid, 1 key set\n"
    assert said("config", "validate").startswith("✓ the configuration, without a file: valid, 0 keys set\n")


def test_the_guide_s_files() -> None:
    assert "valid, 98 keys set\n" in said("config", "validate", "-f", str(GUIDE))
    write("server:\n  host: 0.0.0.0\n  port: 8080\n")
    assert "2 keys set" in said("config", "validate", "-f", "config.yaml")
    write(DEV, "config-dev.yaml")
    write(PROD, "config-prod.yaml")
    write("messaging: {queue_size: 50}\n", "base.yaml")
    assert "8 keys set" in said("--config", "config.yaml", "--profile", "dev", "config", "validate")
    assert "12 keys set" in said("--config", "config.yaml", "--env", "production", "config", "validate")
    shown = said("--config", "config.yaml", "--profile", "dev", "config", "show")
    assert "  host: localhost  # config-dev.yaml:4\n" in shown
    assert "  queue_size: 50  # base.yaml:1\n" in shown


def test_mistakes_as_json() -> None:
    write("server: {prt: 81}\n")
    result = invoke("config", "validate", "-f", "config.yaml", "-o", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "valid": False,
        "problems": ["config.yaml:1: server.prt: unknown key; did you mean 'port'?"],
    }


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "CAXTON_PORT",
            "tcp://10.0.0.7:8080",
            "what Kubernetes sets for a service named caxton; set enableServiceLinks",
        ),
        ("CAXTON_PORT", "x", "CAXTON_PORT: server.port: expected a whole number from 0 to 65535, found 'x'"),
        ("CAXTON_DB_HOST", "db", "CAXTON_DB_HOST: there is no database server to name: all state is SQLite"),
    ],
)
def test_variables_that_are_wrong(monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str) -> None:
    monkeypatch.setenv(name, value)
    assert expected in said("config", "validate", code=1)


def test_variables_that_set_nothing_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAXTON_PROT", "81")
    monkeypatch.setenv("CAXTON_SERVICE_PORT", "81")  # of Kubernetes
    monkeypatch.setenv("RUST_LOG", "hyper=debug")
    out = said("config", "validate")
    assert "the variable CAXTON_PROT sets nothing; did you mean CAXTON_PORT?" in out
    assert "RUST_LOG=hyper=debug is no level by itself" in out
    assert "SERVICE" not in out
    monkeypatch.setenv("RUST_LOG", "debug")
    assert "level: debug  # RUST_LOG" in said("config", "show")
    monkeypatch.setenv("CAXTON_LOG_LEVEL", "warn")
    assert "level: warn  # CAXTON_LOG_LEVEL" in said("config", "show")


# -- show, get --


def test_show_says_who_said_it(monkeypatch: pytest.MonkeyPatch) -> None:
    write("server:\n  port: 81\nmessaging:\n  retry_delay: 500ms\n")
    monkeypatch.setenv("CAXTON_HOST", "::1")
    out = said("--config", "config.yaml", "--set", "messaging.queue_size=11", "config", "show")
    assert out == (
        'server:\n  host: "::1"  # CAXTON_HOST\n  port: 81  # config.yaml:2\n'
        "messaging:\n  queue_size: 11  # --set messaging.queue_size\n  retry_delay: 500ms  # config.yaml:4\n"
    )
    out = said("--config", "config.yaml", "config", "show", "--effective")
    assert "  max_message_size: 1MB  # default\n" in out
    monkeypatch.delenv("CAXTON_HOST")
    assert said("config", "show").startswith("# nothing is set")
    assert json.loads(said("--config", "config.yaml", "config", "show", "server.port", "-o", "json")) == {
        "server": {"port": 81}
    }
    assert "did you mean 'server.port'" in said("config", "show", "server.prt", code=1)


def test_what_is_shown_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    write(said("config", "show", "--effective"), "all.yaml")
    assert load_config("all.yaml", environ=os.environ).messaging == load_config(environ=os.environ).messaging
    assert said("config", "diff", "all.yaml") == "✓ No key differs\n"


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    write("security: {authentication: {oauth2: {client_secret: s3cret}}}\napi_keys: {openai: sk-1}\n")
    for arguments in (
        ["show"],
        ["show", "--effective"],
        ["lint"],
        ["diff", "config.yaml"],
        ["get", "-f", "config.yaml"],
    ):
        out = said("--config", "config.yaml", "config", *arguments)
        assert "s3cret" not in out
        assert "sk-1" not in out


def test_get_reads_a_file() -> None:
    write("server:\n  port: 81\n")
    assert said("config", "get", "server.port", "-f", "config.yaml") == "81\n"
    assert said("config", "get", "server.tls.enabled", "-f", "config.yaml", "-o", "json") == "false\n"


# -- diff --


def test_diff_of_two_files() -> None:
    write("server:\n  port: 81\n", "a.yaml")
    write('[server]\nport = 82\nhost = "::1"\n', "b.toml")
    assert said("config", "diff", "a.yaml", "b.toml") == (
        "KEY          a.yaml     b.toml  SAID BY\n"
        "server.host  127.0.0.1  ::1     b.toml:3\n"
        "server.port  81         82      b.toml:2\n"
    )
    assert json.loads(said("config", "diff", "a.yaml", "-o", "json")) == [
        {"key": "server.port", "before": 8080, "after": 81, "origin": "a.yaml:2"}
    ]


# -- init --


@pytest.mark.parametrize("template", ["dev", "prod", "minimal"])
def test_templates_are_sound_and_quiet(template: str) -> None:
    assert "✓ config.yaml written" in said("config", "init", "--template", template)
    assert "valid" in said("config", "validate", "-f", "config.yaml")
    assert said("--config", "config.yaml", "config", "lint", "--security") == "✓ Nothing to say\n"
    assert "exists" in said("config", "init", code=1)
    said("config", "init", "--force")
    assert said("config", "init", "-").startswith("# Caxton")


# -- set --


def test_set_keeps_comments_rights_and_links() -> None:
    write("# mine\nserver:\n  port: 81  # the door\n")
    os.chmod("config.yaml", 0o640)
    os.symlink("config.yaml", "link.yaml")
    assert said("config", "set", "--file", "link.yaml", "server.port=82", "messaging.queue_size=50") == (
        "✓ link.yaml changed\n"
    )
    assert Path("config.yaml").read_text() == (
        "# mine\nserver:\n  port: 82  # the door\nmessaging:\n  queue_size: 50\n"
    )
    assert stat.S_IMODE(os.stat("config.yaml").st_mode) == 0o640
    assert Path("link.yaml").is_symlink()
    assert sorted(os.listdir()) == ["config.yaml", "link.yaml"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("server.prt=1", "server.prt: unknown key; did you mean 'server.port'?"),
        ("server.port=x", "expected a whole number from 0 to 65535, found 'x'"),
        ("runtime.max_wasm_stack=1MB", "config.yaml:4: runtime.async_stack_size: 256KB is too small"),
        ("server", "'server' is not KEY=VALUE"),
        ("server=1", "server is a table of keys; known in it: host, port"),
    ],
)
def test_set_validates_first(change: str, expected: str) -> None:
    write("server:\n  port: 81\n")
    result = invoke("config", "set", "--file", "config.yaml", change)
    assert result.exit_code in (1, 2)
    assert expected in result.stderr
    assert Path("config.yaml").read_text() == "server:\n  port: 81\n"


def test_set_changes_the_file_that_is_named_whatever_profile_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    write("server:\n  port: 81\n")
    profile = Path("config-dev.yaml")
    profile.write_text("server: {port: 83}\nruntime: {pool_slots: 10, max_agents: 10}\n")
    for command in (("--profile", "dev"), ()):
        assert said(*command, "config", "set", "-f", "config.yaml", "server.host=h") == "✓ config.yaml changed\n"
        out = said(*command, "config", "set", "-f", "config.yaml", "server.port=82")
        assert "note: config-dev.yaml is set here and binds more than the file" in out
        # what only the profile says does not decide what the file may say
        assert said(*command, "config", "set", "-f", "config.yaml", "runtime.max_agents=20").startswith("✓")
        assert Path("config.yaml").read_text().startswith("server:\n  port: 82\n  host: h\n")
        assert profile.read_text() == "server: {port: 83}\nruntime: {pool_slots: 10, max_agents: 10}\n"
        monkeypatch.setenv("CAXTON_ENV", "dev")
        write("server:\n  port: 81\n")


def test_set_does_not_undo_what_somebody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    write("server:\n  port: 81\n")

    def meanwhile(*given: object) -> str:
        write("server:\n  port: 99\n")
        return "server:\n  port: 82\n"

    monkeypatch.setattr("caxton.core.config_edit.set_key", meanwhile)
    result = invoke("config", "set", "-f", "config.yaml", "server.port=82")
    assert result.exit_code == 1
    assert "config.yaml was changed by somebody else just now" in result.stderr
    assert Path("config.yaml").read_text() == "server:\n  port: 99\n"


def test_set_says_what_binds_more(monkeypatch: pytest.MonkeyPatch) -> None:
    write("server:\n  port: 81\n")
    monkeypatch.setenv("CAXTON_PORT", "99")
    assert "CAXTON_PORT is set here and binds more" in said("config", "set", "-f", "config.yaml", "server.port=82")


def test_set_a_variable() -> None:
    write("server:\n  port: 81\n")
    said("config", "set", "-f", "config.yaml", "server.host=${NAME:-localhost}")
    assert Path("config.yaml").read_text() == "server:\n  port: 81\n  host: ${NAME:-localhost}\n"


# -- lint --


def test_lint_names_inactive_keys_and_why() -> None:
    out = said("--config", str(GUIDE), "config", "lint")
    assert "not active in this version: clusters are not built yet\n  coordination.cluster.advertise_addr  (" in out
    assert "security: " in out
    only = said("--config", str(GUIDE), "config", "lint", "--security")
    assert "not active" not in only
    assert "server.host: 0.0.0.0 can be reached from other machines" in only


def test_client_certificates_let_in_only_some() -> None:
    write("server: {host: 0.0.0.0, tls: {enabled: true}}\n")
    assert "server.host" in said("--config", "config.yaml", "config", "lint", "--security")
    write("server: {host: 0.0.0.0, tls: {enabled: true, ca_path: ca.pem}}\n")
    assert "server.host" not in said("--config", "config.yaml", "config", "lint", "--security")


def test_lint_finds_what_may_be_regretted() -> None:
    write(
        "server: {host: 0.0.0.0}\n"
        "runtime: {scheduler_threads: 64, keep_resident: 100MB, default_agent_timeout: 1h}\n"
        "messaging: {enable_persistence: false, retry_attempts: 50, retry_delay: 1ms, history_bytes: 2GB, "
        "dedup_size: 100000000, max_message_size: 1GB}\n"
        "observability: {logging: {level: trace}}\n"
        "resources: {disk: {data_dir: /tmp/x}}\n"
        "security: {cors: {enabled: true}, authentication: {enabled: true, oauth2: {client_secret: a}}}\n"
        "api_keys: {openai: {valueFrom: {vaultKeyRef: {path: a, key: b}}}, other: '${X}'}\n"
    )
    os.chmod("config.yaml", 0o666)
    rows = json.loads(said("--config", "config.yaml", "config", "lint", "-o", "json"))
    found = {(row["area"], row["key"]) for row in rows if row["area"] != "inactive"}
    assert {key for area, key in found if area == "security"} == {
        "server.host",
        "server.tls.enabled",
        "security.rate_limiting.enabled",
        "security.cors.allowed_origins",
        "security.authentication.enabled",
        "security.authentication.oauth2.client_secret",
        "resources.disk.data_dir",
        "",
    }
    assert {key for area, key in found if area == "performance"} == {
        "runtime.scheduler_threads",
        "runtime.keep_resident",
        "runtime.default_agent_timeout",
        "messaging.enable_persistence",
        "messaging.retry_delay",
        "messaging.history_bytes",
        "messaging.dedup_size",
        "messaging.max_message_size",
        "observability.logging.level",
    }


FINDINGS = [
    # what is written, what is named (machine: 2 cores, 8GB); {} is a configuration with nothing to regret beside it
    ("server: {host: 0.0.0.0, tls: {enabled: true, ca_path: /ca.pem}}", {"security.rate_limiting.enabled"}),
    ("server: {host: 0.0.0.0, tls: {enabled: true}}", {"server.host", "security.rate_limiting.enabled"}),
    ("integrations: {fipa: {http_mtp: {enabled: true, accept_from: [0.0.0.0/0, 10.0.0.0/8]}}}",
     {"integrations.fipa.http_mtp.accept_from"}),
    ("integrations: {fipa: {http_mtp: {enabled: true, platforms: [{name: a, url: 'http://a.example/acc'}]}}}",
     {"integrations.fipa.http_mtp.platforms[0].url"}),
    ("integrations: {fipa: {http_mtp: {enabled: true, platforms: [{name: a, url: 'http://127.0.0.1:1/acc'}]}}}", set()),
    ("integrations: {webhooks: {enabled: true, allowed_networks: ['::/0']}}",
     {"integrations.webhooks.allowed_networks"}),
    ("security: {rate_limiting: {enabled: true, trusted_proxies: [10.0.0.0/7]}}",
     {"security.rate_limiting.trusted_proxies"}),
    ("resources: {cpu: {overcommit_ratio: 2.0}}", {"resources.cpu.overcommit_ratio"}),
    ("resources: {cpu: {overcommit_ratio: 2.0}}\nruntime: {max_agents: 3}", set()),
    ("resources: {memory: {reserve_system: 5GB}}", {"resources.memory.reserve_system"}),
    ("messaging: {delivery_timeout: 500ms}", {"messaging.delivery_timeout"}),
    ("messaging: {delivery_timeout: 0}", set()),
    ("deployment: {health_checks: {interval: 100ms}}", {"deployment.health_checks.interval"}),
    ("deployment: {health_checks: {interval: 100ms, enabled: false}}", set()),
    ("security: {secrets: {refresh_interval: 1s}}", {"security.secrets.refresh_interval"}),
    ("", set()),
]  # fmt: skip


@pytest.mark.parametrize(("text", "named"), FINDINGS)
def test_each_rule_of_lint_by_itself(text: str, named: set[str]) -> None:
    loaded = load(write(text), environ={"HOME": "/home/somebody"})
    assert {finding.key for finding in lint(loaded, Machine(cores=2, memory=8 << 30))} == named


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("::", False)])
def test_what_only_this_machine_reaches(host: str, local: bool) -> None:
    assert is_local(host) is local


# -- secrets --


def test_only_a_server_needs_its_secrets() -> None:
    secret = Path("size")
    secret.write_text("471100\n")
    secret.chmod(0o604)
    text = (
        f"messaging: {{queue_size: '${{secret:file:{secret.absolute()}}}'}}\nresources: {{disk: {{data_dir: data}}}}\n"
    )
    file = ("--config", write(text))
    assert "valid, 2 keys set" in said(*file, "config", "validate")
    assert 'queue_size: "***"' in said(*file, "config", "show")
    assert said(*file, "config", "get", "messaging.queue_size", "--file", "config.yaml") == "***\n"
    for asks in (("config", "validate", "--secrets"), ("--set", "server.port=0", "server", "start", "--dry-run")):
        why = said(*file, *asks, code=1)
        assert (
            f"config.yaml:1: messaging.queue_size: there is no ${{secret:file:{secret.absolute()}}}: others can" in why
        )
    secret.chmod(0o600)
    assert "would start" in said(*file, "--set", "server.port=0", "server", "start", "--dry-run")
    assert "valid" in said(*file, "config", "validate", "--secrets")
    secret.write_text("many words\n")
    why = said(*file, "config", "validate", "--secrets", code=1)
    assert "holds does not fit; expected a whole number from 10 to 10000000" in why
    assert "many words" not in why


# -- server start --dry-run --


def test_a_file_that_was_not_named_is_not_read() -> None:
    said("config", "init")
    assert "config.yaml, which is here, was not read" in said("config", "validate")
    assert "not read" not in said("--config", "config.yaml", "config", "validate")


def test_without_a_server_it_says_what_else_can_be_looked_at() -> None:
    for command in ("get", "diff"):
        out = said("--server", "http://127.0.0.1:1", "config", command, code=3)
        assert "caxton config show --effective" in out
    assert "--agent is of a running server" in said("config", "get", "--agent", "a", "--file", "c.yaml", code=2)


def test_dry_run_says_whether_a_server_would_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAXTON_DATA_DIR", "data")
    out = said("--set", "server.port=0", "server", "start", "--dry-run")
    assert out.startswith("✓ A server would start at http://localhost, at a free port, with the data folder data\n")
    inactive = ("--set", "runtime.agent_pool_size=3", "--set", "storage.type=memory")
    out = said("--set", "server.port=0", *inactive, "server", "start", "--dry-run")
    assert "2 keys are not active in this version: `caxton config lint` lists them" in out
    assert not Path("data").exists()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "cannot listen" in said("--set", f"server.port={port}", "server", "start", "--dry-run", code=1)
        metrics = ("--set", "server.port=0", "--set", f"server.metrics_port={port}")
        assert said(*metrics, "server", "start", "--dry-run")
        metrics = (*metrics, "--set", "observability.metrics.enabled=true")
        assert "for metrics" in said(*metrics, "server", "start", "--dry-run", code=1)
    elsewhere = ("--set", "server.port=0", "--set", "server.host=192.0.2.1")  # an address of nobody
    assert "cannot listen at 192.0.2.1:0" in said(*elsewhere, "server", "start", "--dry-run", code=1)
    protected = ("--set", "security.authentication.enabled=true", "server", "start", "--dry-run")
    assert "security.authentication.enabled" in said(*protected, code=1)
    encrypted = ("--set", "server.tls.enabled=true", "--set", "server.tls.cert_path=none.pem")
    assert "none.pem cannot be read" in said(*encrypted, "server", "start", "--dry-run", code=1)
    Path("file").write_text("")
    flag = "resources.disk.data_dir=file/data"
    assert "cannot be a folder" in said("--set", "server.port=0", "--set", flag, "server", "start", "--dry-run", code=1)
    flag = "resources.disk.data_dir=/proc/1/caxton"
    assert "cannot be written to" in said(
        "--set", "server.port=0", "--set", flag, "server", "start", "--dry-run", code=1
    )


DEV = """\
extends: base.yaml

server:
  host: localhost
  port: 8080

runtime:
  max_agents: 10
  enable_hot_reload: true

observability:
  logging:
    level: debug
    format: pretty

security:
  authentication:
    enabled: false
"""
PROD = """\
extends: base.yaml

server:
  tls:
    enabled: true

runtime:
  max_agents: 1000
  enable_hot_reload: false

observability:
  logging:
    level: info
    format: json
  tracing:
    enabled: true
    sample_rate: 0.01

security:
  authentication:
    enabled: true
  rate_limiting:
    enabled: true
"""
