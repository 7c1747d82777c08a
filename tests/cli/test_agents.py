"""What an operator sees of agents."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.cli.conftest import FakeServer, agent, error

Run = Callable[..., Result]
WASM = b"\0asm\1\0\0\0"


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "ping.wasm"
    path.write_bytes(WASM)
    return path


def test_deploy_waits_until_the_agent_is_healthy(run: Run, api: FakeServer, module: Path) -> None:
    api.answers["POST /api/v1/agents"] = 201, agent("ping", "loaded")
    api.answers["GET /api/v1/agents/ping"] = [
        agent("ping", "ready"),
        agent("ping", replicas=2),
        agent("ping", replicas=2, replicas_ready=2),
    ]
    result = run("deploy", str(module), "--replicas", "2", "--cpu", "500m")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "✓ Agent 'ping' deployed and healthy\n", "")
    form = api.asked[0]
    assert form.content_type.startswith("multipart/form-data; boundary=")
    assert WASM in form.body
    assert b'{"resources": {"cpu": "500m"}, "replicas": 2, "name": "ping"}' in form.body


def test_deploy_names_what_a_component_imports_in_vain(run: Run, api: FakeServer, module: Path) -> None:
    api.answers["POST /api/v1/agents"] = 201, agent("ping")
    api.answers["GET /api/v1/agents/ping"] = agent("ping", replicas_ready=1) | {
        "unavailable_imports": ["wasi:sockets/tcp@0.2.9"]
    }
    result = run("deploy", str(module))
    assert result.exit_code == 0
    assert result.stdout.endswith("calling it ends the instance:\n    wasi:sockets/tcp@0.2.9\n")


def test_deploy_sends_no_secret_unless_it_is_told_to(
    run: Run, api: FakeServer, module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOKS_TOKEN", "hunter2")
    config = tmp_path / "agent.yaml"
    named = "{name: KEY, valueFrom: {secretRef: api}}"
    config.write_text(f"environment: [{named}, {{name: TOKEN, value: 'x ${{secret:env:HOOKS_TOKEN}}'}}]\n")
    api.answers["POST /api/v1/agents"] = 201, agent("ping")
    command = ("deploy", str(module), "--config", str(config), "--wait", "0")
    result = run(*command)
    assert result.exit_code == 1
    assert "environment[1].value: the value would be sent to the server and kept with the agent" in result.stderr
    assert "--embed-secrets" in result.stderr
    assert "hunter2" not in result.output
    assert api.asked == []
    assert run(*command, "--embed-secrets").exit_code == 0
    assert b'"value": "x hunter2"' in api.asked[0].body
    assert b'{"secretRef": "api"}' in api.asked[0].body


def test_deploy_merges_its_flags_over_the_agents_file(run: Run, api: FakeServer, module: Path, tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text("name: scout\nresources: {memory: 50MB, cpu: 50m}\ncapabilities: [search]\n")
    api.answers["POST /api/v1/agents"] = 201, agent("scout")
    result = run("deploy", str(module), "--config", str(config), "--cpu", "1", "--wait", "0", "-o", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["name"] == "scout"
    expected = {"name": "scout", "resources": {"memory": "50MB", "cpu": "1"}, "capabilities": ["search"]}
    assert json.dumps(expected["resources"]).encode() in api.asked[0].body
    assert b'"capabilities": ["search"]' in api.asked[0].body
    assert b'"delivery"' not in api.asked[0].body


def test_deploy_says_how_safe_messages_are(run: Run, api: FakeServer, module: Path, tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text("name: scout\ndelivery: durable\n")
    api.answers["POST /api/v1/agents"] = 201, agent("scout")
    run("deploy", str(module), "--config", str(config), "--delivery", "Volatile", "--wait", "0")
    assert b'{"name": "scout", "delivery": "volatile"}' in api.asked[0].body
    result = run("deploy", str(module), "--delivery", "safe")
    assert (result.exit_code, len(api.asked)) == (2, 1)
    assert "'safe' is not one of 'durable', 'relaxed', 'volatile'" in result.stderr


def test_a_refused_module_says_what_why_and_how_to_fix_it(run: Run, api: FakeServer, module: Path) -> None:
    body = error("INVALID_WASM", "Missing required export: 'handle_message'", "export it from your module", "0af7")
    api.answers["POST /api/v1/agents"] = 400, body
    result = run("deploy", str(module))
    assert result.exit_code == 1
    assert result.stderr == (
        "✗ Deployment failed: invalid wasm\n"
        "  why: Missing required export: 'handle_message'\n"
        "  to fix: export it from your module\n"
        "  trace: 0af7\n"
    )


def test_an_agent_that_fails_to_start_is_a_failed_deployment(run: Run, api: FakeServer, module: Path) -> None:
    api.answers["POST /api/v1/agents"] = 201, agent("ping", "loaded")
    api.answers["GET /api/v1/agents/ping"] = agent("ping", "failed", reason="agent_init returned 7")
    result = run("deploy", str(module))
    assert result.exit_code == 1
    assert "why: agent_init returned 7" in result.stderr
    assert "`caxton logs --agents ping`" in result.stderr


def test_a_broken_agent_file_is_named(run: Run, module: Path, tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text("name: [")
    result = run("deploy", str(module), "--config", str(config))
    assert result.exit_code == 1
    assert "agent.yaml" in result.stderr
    assert "Traceback" not in result.output


def test_the_list_reads_every_page_and_counts(run: Run, api: FakeServer) -> None:
    api.answers["GET /api/v1/agents"] = [
        {"agents": [agent("ping"), agent("pong")], "total": 3, "next_offset": 2},
        {"agents": [agent("weather", "failed")], "total": 3, "next_offset": None},
    ]
    result = run("agent", "list")
    assert result.stdout == (
        "AGENT ID  NAME     STATUS   UPTIME  MESSAGES\n"
        "ping      ping     Running  1h 2m   12,345\n"
        "pong      pong     Running  1h 2m   12,345\n"
        "weather   weather  Failed   -       12,345\n"
        "\n"
        "3 agents (2 running, 1 failed)\n"
    )
    assert "offset=2" in api.asked[1].query


def test_an_empty_list_is_a_list(run: Run, api: FakeServer) -> None:
    api.answers["GET /api/v1/agents"] = {"agents": [], "total": 0, "next_offset": None}
    assert run("agent", "list").stdout == "AGENT ID  NAME  STATUS  UPTIME  MESSAGES\n\n0 agents\n"


def test_status_counts_healthy_instances(run: Run, api: FakeServer) -> None:
    api.answers["GET /api/v1/agents/ping"] = agent("ping", replicas=3, replicas_ready=3)
    assert run("agent", "status", "ping").stdout == "✓ Running (3/3 instances healthy)\n"


def test_status_of_a_failed_agent_has_the_reason_and_exit_code_1(run: Run, api: FakeServer) -> None:
    api.answers["GET /api/v1/agents/ping"] = agent("ping", "failed", reason="4 restarts in 60s")
    result = run("agent", "status", "ping")
    assert (result.exit_code, result.stdout) == (1, "✗ Failed (0/1 instances healthy)\n  why: 4 restarts in 60s\n")


def test_an_unknown_agent_leads_to_the_list(run: Run, api: FakeServer) -> None:
    api.answers["GET /api/v1/agents/pin"] = 404, error("AGENT_NOT_FOUND", "there is no agent 'pin'")
    result = run("agent", "status", "pin")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1:] == [
        "  why: there is no agent 'pin'",
        "  to fix: `caxton agent list` shows what there is",
    ]


def test_stop_says_how_to_end(run: Run, api: FakeServer) -> None:
    api.answers["POST /api/v1/agents/team/ping/stop"] = agent("team/ping", "stopped")
    result = run("agent", "stop", "team/ping", "--grace", "200ms", "--no-drain")
    assert result.stdout == "✓ Agent 'team/ping' stopped\n"
    assert api.asked[0].json() == {"grace_period_seconds": 0.2, "drain_messages": False}


def test_start_and_delete_report_the_state(run: Run, api: FakeServer) -> None:
    api.answers["POST /api/v1/agents/ping/start"] = agent("ping")
    api.answers["DELETE /api/v1/agents/ping"] = {"agent_id": "ping", "status": "removed"}
    assert run("agent", "start", "ping").stdout == "✓ Agent 'ping' running\n"
    assert run("agent", "delete", "ping").stdout == "✓ Agent 'ping' removed\n"


def test_inspect_prints_a_tree(run: Run, api: FakeServer) -> None:
    api.answers["GET /api/v1/agents/ping/inspect"] = {
        "name": "ping",
        "limits": {"memory": "50MB"},
        "topics": [],
        "children": [{"a": 1}],
    }
    result = run("agent", "inspect", "ping")
    assert result.stdout == "name: ping\nlimits:\n  memory: 50MB\ntopics: -\nchildren:\n  [0]:\n    a: 1\n"
