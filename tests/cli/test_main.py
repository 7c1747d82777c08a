"""The command line itself: help, mistakes, an absent server, completion."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import caxton
from caxton.cli.errors import ERROR, UNREACHABLE, USAGE, Failure
from caxton.cli.main import COMMANDS, cli
from caxton.cli.options import age, server_url
from tests.cli.conftest import FakeServer

Run = Callable[..., Result]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="caxton")


def test_version_in_both_forms() -> None:
    assert invoke("version").stdout == f"caxton {caxton.__version__}\n"
    assert json.loads(invoke("version", "-o", "json").stdout)["version"] == caxton.__version__


def test_version_imports_nothing_heavy() -> None:
    program = "import sys\nfrom caxton.cli.main import cli\ncli(['version'], standalone_mode=False)\n" + (
        "print(sorted({'trio', 'quart', 'msgspec', 'attrs', 'yaml', 'http.client', 'wasmtime'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_version_answers_in_150_ms() -> None:
    def once() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "caxton.cli", "version"], capture_output=True, check=True)
        return time.perf_counter() - began

    assert min(once() for _ in range(5)) <= 0.15


def test_bare_caxton_shows_how_to_begin() -> None:
    result = invoke()
    assert result.exit_code == 0
    assert result.stdout.startswith("Quick start:")


def test_help_lists_commands_without_importing_them() -> None:
    result = invoke("--help")
    shown = {name for name, place in COMMANDS.items() if not place.hidden}
    assert shown <= {line.split()[0] for line in result.stdout.splitlines() if line.startswith("  ")}
    assert "demo" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("agents",), "✗ Unknown command: 'agents'\n  to fix: Did you mean 'agent'?\n"),
        (("agent", "lst"), "✗ Unknown command: 'lst'\n  to fix: Did you mean 'list'?\n"),
        (("xyzzy",), "✗ Unknown command: 'xyzzy'\n  to fix: see `caxton --help`\n"),
    ],
)
def test_an_unknown_command_gets_the_nearest_one(arguments: tuple[str, ...], expected: str) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stderr) == (USAGE, expected)


def test_an_unknown_option_gets_the_nearest_one() -> None:
    result = invoke("agent", "list", "--ouput", "json")
    assert result.exit_code == USAGE
    assert "--output" in result.stderr.splitlines()[0]
    assert result.stderr.splitlines()[1] == "  to fix: see `caxton agent list --help`"


def test_a_wrong_amount_says_what_is_right() -> None:
    result = invoke("agent", "stop", "ping", "--grace", "3x")
    assert result.exit_code == USAGE
    assert "write us, ms, s, m, h or d" in result.stderr


def test_an_unknown_configuration_key_gets_the_nearest_one() -> None:
    result = invoke("--set", "server.prt=1", "agent", "list")
    assert result.exit_code == ERROR
    assert "server.prt: unknown key; did you mean 'port'?" in result.stderr


def test_no_server_is_exit_code_3(api: FakeServer) -> None:
    result = invoke("--server", "http://127.0.0.1:1", "agent", "list")
    assert result.exit_code == UNREACHABLE
    assert result.stderr.startswith("✗ Agents cannot be listed: server not reachable\n  why: nothing listens at ")


def test_the_environment_names_the_server(api: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    api.answers["GET /api/v1/agents"] = {"agents": [], "total": 0, "next_offset": None}
    monkeypatch.setenv("CAXTON_SERVER", api.url)
    assert invoke("agent", "list").exit_code == 0
    monkeypatch.delenv("CAXTON_SERVER")
    monkeypatch.setenv("CAXTON_PORT", api.url.rpartition(":")[2])
    assert invoke("agent", "list").exit_code == 0
    assert invoke("--set", "server.port=1", "agent", "list").exit_code == UNREACHABLE


def test_an_answer_that_is_not_json_is_said(run: Run, api: FakeServer) -> None:
    api.answers["GET /api/v1/agents"] = 200, b"<html>"
    assert "something that is not JSON" in run("agent", "list").stderr
    api.answers["GET /api/v1/agents"] = 502, b"<html>bad gateway"
    assert "bad gateway" in run("agent", "list").stderr


def test_an_address_that_is_none_is_said() -> None:
    assert "is no server address" in invoke("--server", "ftp://x", "agent", "list").stderr


def test_a_failure_has_labelled_lines() -> None:
    failure = Failure("What", why="first\n  second\n    ^", fix=("do this", "or that"), trace_id="t1")
    lines = [
        "✗ What",
        "  why: first",
        "       second",
        "         ^",
        "  to fix: do this",
        "          or that",
        "  trace: t1",
    ]
    assert failure.lines() == lines


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (59.9, "59s"), (3600, "1h"), (90061, "1d 1h"), (-1, "0s")])
def test_age_has_two_units(seconds: float, text: str) -> None:
    assert age(seconds) == text


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://localhost:1"),
        ("::", "http://localhost:1"),
        ("::1", "http://[::1]:1"),
        ("box", "http://box:1"),
    ],
)
def test_a_wildcard_is_no_place_to_go(host: str, url: str) -> None:
    assert server_url(host, 1) == url


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert "_CAXTON_COMPLETE" in result.stdout


@pytest.fixture
def completing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    def complete(words: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
        monkeypatch.setenv("_CAXTON_COMPLETE", "bash_complete")
        result = CliRunner().invoke(cli, [], prog_name="caxton", complete_var="_CAXTON_COMPLETE")
        return [line.partition(",")[2] for line in result.stdout.splitlines()]

    return complete


def test_completion_knows_commands_and_agents(
    completing: Callable[[str], list[str]], api: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert completing("caxton agent st") == ["start", "status", "stop"]
    api.answers["GET /api/v1/agents"] = {"agents": [{"name": "ping"}, {"name": "pong"}], "total": 2}
    monkeypatch.setenv("CAXTON_SERVER", api.url)
    assert completing("caxton agent stop pi") == ["ping"]


def test_a_closed_pipe_ends_quietly(api: FakeServer, tmp_path: Path) -> None:
    lines = [{"agent": "a", "stream": "out", "text": "x" * 100, "timestamp": str(n)} for n in range(5000)]
    api.answers["GET /api/v1/logs"] = {"lines": lines}
    command = f'"{sys.executable}" -m caxton.cli --server {api.url} logs | head -n 1'
    result = subprocess.run(command, shell=True, capture_output=True, text=True, env=dict(os.environ), check=True)
    assert result.stdout.startswith("[a] x")
    assert result.stderr == ""


def test_a_server_that_is_not_ready_says_why(run: Run, api: FakeServer) -> None:
    api.answers["GET /health"] = {"status": "healthy", "uptime_seconds": 61}
    api.answers["GET /ready"] = 503, {"ready": False, "checks": {"store": "disk full"}}
    result = run("server", "status")
    lines = [f"✗ Server at {api.url} is not ready", "  status: healthy", "  uptime: 1m 1s", "  store: disk full"]
    assert (result.exit_code, result.stdout.splitlines()) == (ERROR, lines)
