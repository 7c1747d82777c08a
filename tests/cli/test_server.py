"""The whole way: a server in a process of its own, driven by the command line, with agents that talk."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

import caxton
from tests.certificates import Authority

EXAMPLES = Path(caxton.__file__).parent.parent / "examples"
COMMAND = (sys.executable, "-m", "caxton.cli")

pytestmark = pytest.mark.slow


class Box:
    """A data folder, and a server on it at a free port."""

    def __init__(self, folder: Path) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith("CAXTON_")}
        self.folder = folder
        self.environment = {**own, "CAXTON_DATA_DIR": str(folder), "CAXTON_PORT": "0", "CAXTON_METRICS_PORT": "0"}

    def run(self, *arguments: str, code: int = 0) -> str:
        """Standard output, then standard error, of a command that ends with *code*."""
        command = [*COMMAND, *arguments]
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert result.returncode == code, (arguments, result.stdout, result.stderr)
        return result.stdout + result.stderr

    def start(self) -> None:
        text = self.run("server", "start", "--detach")
        found = re.match(r"✓ Server running at (https?://localhost:\d+)\n", text)
        assert found, text
        self.environment["CAXTON_SERVER"] = found[1]

    def deploy(self, name: str, *options: str) -> str:
        return self.run("deploy", str(EXAMPLES / name / f"{name}.wasm"), *options)


@contextmanager
def open_box(folder: Path, **variables: str) -> Iterator[Box]:
    box = Box(folder)
    box.environment |= variables
    box.start()
    try:
        yield box
    finally:
        subprocess.run([*COMMAND, "server", "stop"], env=box.environment, capture_output=True, timeout=60)


def read_until(stream: IO[str], wanted: set[str]) -> None:
    """Read lines until all of *wanted* were seen; the test's time limit ends a stream that lacks one."""
    while wanted:
        line = stream.readline()
        assert line, f"the stream ended without {wanted}"
        wanted.discard(line.rstrip("\n"))


def test_the_three_minute_tour(tmp_path: Path) -> None:
    with open_box(tmp_path) as box:
        assert box.deploy("ping") == "✓ Agent 'ping' deployed and healthy\n"
        assert box.deploy("pong", "--name", "pong") == "✓ Agent 'pong' deployed and healthy\n"
        follow = [*COMMAND, "logs", "--agents", "ping,pong", "--follow"]
        with subprocess.Popen(follow, env=box.environment, stdout=subprocess.PIPE, text=True) as logs:
            assert logs.stdout
            lines = {"Sending ping to pong", "Received pong, sending ping to pong"}
            read_until(logs.stdout, {*(f"[ping] {line}" for line in lines), "[pong] Received ping, sending pong back"})
            logs.send_signal(signal.SIGINT)
            logs.stdout.read()
        assert logs.returncode == 0
        assert box.run("agent", "status", "pong") == "✓ Running (1/1 instances healthy)\n"
        table = box.run("agent", "list").splitlines()
        assert table[0].split() == ["AGENT", "ID", "NAME", "STATUS", "UPTIME", "MESSAGES"]
        assert [line.split()[:3] for line in table[1:3]] == [["ping", "ping", "Running"], ["pong", "pong", "Running"]]
        assert table[-1] == "2 agents (2 running)"


def test_over_https(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    cert, key = authority.issue("server")
    mine = tmp_path / "mine.pem"
    mine.write_bytes(b"".join(path.read_bytes() for path in authority.issue("me")))
    tls = {"enabled": True, "cert_path": str(cert), "key_path": str(key), "ca_path": str(authority.path)}
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps({"server": {"tls": tls}}))
    with open_box(tmp_path / "data", CAXTON_CONFIG_PATH=str(file)) as box:
        assert box.environment["CAXTON_SERVER"].startswith("https://localhost:")
        assert "is not trusted" in box.run("agent", "list", code=3)
        assert "ask for a client certificate" in box.run("--ca", str(authority.path), "agent", "list", code=3)
        assert "PEM form" in box.run("--ca", str(file), "agent", "list", code=1)
        box.environment |= {"CAXTON_CA": str(authority.path), "CAXTON_CERT": str(mine)}
        assert "0 agents" in box.run("agent", "list")
        assert box.run("server", "status").startswith("✓ Server running at https://")
        file.write_text(json.dumps({"server": {"tls": {**tls, "min_version": "TLSv1.3"}}}))
        assert "server.tls.min_version: tlsv1.2 -> tlsv1.3" in box.run("config", "reload")
        file.write_text(json.dumps({"server": {"tls": {**tls, "ca_path": str(file)}}}))
        assert "holds no certificates in PEM form" in box.run("config", "reload", code=1)
        assert "only files say this" in box.run("config", "set", "server.tls.ca_path=", code=1)


def test_a_message_is_answered(tmp_path: Path) -> None:
    with open_box(tmp_path) as box:
        box.deploy("echo", "--memory", "10MB", "--replicas", "2")
        sent = box.run("message", "send", "--to", "echo", "--content", '{"text": "ü"}', "--wait", "10s")
        assert sent == '[echo] inform: {"text":"ü"}\n'
        assert re.match(r"✓ Message [0-9a-f-]{36} delivered", box.run("message", "send", "--to", "echo"))
        unknown = box.run("message", "send", "--to", "ecko", code=1)
        assert unknown.startswith("✗ Message not sent: agent not found\n  why: ")
        box.run("message", "send", "--to", "echo", "--conversation", "c1", "--content", "hello")
        listed = json.loads(box.run("message", "list", "--conversation", "c1", "--output", "json"))
        assert listed["messages"][0]["content"] == "hello"


def test_an_agent_stops_starts_and_goes(tmp_path: Path) -> None:
    with open_box(tmp_path) as box:
        box.deploy("echo")
        assert box.run("agent", "stop", "echo") == "✓ Agent 'echo' stopped\n"
        assert "Stopped (0/1 instances healthy)" in box.run("agent", "status", "echo")
        box.run("agent", "start", "echo")
        assert "name: echo" in box.run("agent", "inspect", "echo")
        assert box.run("agent", "delete", "echo") == "✓ Agent 'echo' removed\n"
        assert "agent not found" in box.run("agent", "status", "echo", code=1)


def test_what_is_no_agent_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "text.wasm").write_text("not a module")
    with open_box(tmp_path / "data") as box:
        text = box.run("deploy", str(tmp_path / "text.wasm"), code=1)
        assert text.startswith("✗ Deployment failed: invalid wasm\n  why: ")
        box.deploy("echo")
        again = box.run("deploy", str(EXAMPLES / "echo" / "echo.wasm"), code=1)
        assert again.startswith("✗ Deployment failed: agent already exists\n  why: ")
        assert "  to fix: " in again


def test_agents_come_back_with_the_server(tmp_path: Path) -> None:
    with open_box(tmp_path) as box:
        box.deploy("echo")
        assert box.run("server", "stop") == "✓ Server stopped\n"
        box.start()
        assert box.run("message", "send", "--to", "echo", "--content", "7", "--wait", "10s") == "[echo] inform: 7\n"


def test_one_server_per_data_folder(tmp_path: Path) -> None:
    with open_box(tmp_path) as box:
        status = box.run("server", "status")
        assert status.startswith(f"✓ Server running at {box.environment['CAXTON_SERVER']}\n")
        del box.environment["CAXTON_SERVER"]  # the port is 0: where it is, the data folder tells
        assert box.run("server", "status").partition("\n")[0] == status.partition("\n")[0]
        assert box.run("server", "start", "--detach", code=1).startswith("✗ A server is running already\n")
        assert box.run("serve", code=1).startswith("✗ The server cannot run: data dir locked\n")
        assert box.run("server", "stop") == "✓ Server stopped\n"
        assert box.run("server", "stop", code=3).startswith("✗ No server to stop\n")
        assert "server not reachable" in box.run("server", "status", code=3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_well_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    box = Box(tmp_path)
    with subprocess.Popen([*COMMAND, "serve"], env=box.environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert server.stdout.readline().startswith("✓ Server running at http://localhost:")
        server.send_signal(number)
        assert server.wait(5) == 0


def test_a_second_signal_does_not_wait_for_watchers(tmp_path: Path) -> None:
    box = Box(tmp_path)
    with subprocess.Popen([*COMMAND, "serve"], env=box.environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        host, _, port = server.stdout.readline().strip().rpartition("/")[2].partition(":")
        with socket.create_connection((host, int(port))) as watcher:
            watcher.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: caxton\r\n\r\n")
            assert watcher.recv(1000).startswith(b"HTTP/1.1 200")
            server.send_signal(signal.SIGTERM)
            server.send_signal(signal.SIGINT)  # another one: two of the same may arrive as one
            assert server.wait(5) == 0


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    with open_box(tmp_path / "first") as box:
        port = box.environment["CAXTON_SERVER"].rpartition(":")[2]
        other = Box(tmp_path / "second")
        text = other.run("--set", f"server.port={port}", "server", "start", "--detach", code=1)
        assert text.startswith("✗ Server not started\n")
        assert f"✗ The server cannot listen at 127.0.0.1:{port}" in text
        metrics = ("--set", "observability.metrics.enabled=true", "--set", f"server.metrics_port={port}")
        text = other.run(*metrics, "server", "start", "--detach", code=1)
        assert f"✗ The server cannot listen at 127.0.0.1:{port}, for metrics" in text
        assert "server.metrics_port=9091" in text


def test_a_configuration_that_does_not_hold_is_said(tmp_path: Path) -> None:
    text = Box(tmp_path).run("--set", "security.authentication.enabled=true", "serve", code=1)
    assert "security.authentication.enabled" in text
    assert "Traceback" not in text


def test_the_log_goes_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "caxton.log"
    config = tmp_path / "config.yaml"
    logging = {"output": "file", "file_path": str(file)}
    config.write_text(json.dumps({"observability": {"logging": logging}, "experimental": {"enable_gpu_support": True}}))
    with open_box(tmp_path / "data", CAXTON_CONFIG_PATH=str(config)) as box:
        (line,) = [line for line in file.read_text().splitlines() if "not active" in line]
        assert json.loads(line)["level"] == "warn"
        box.run("config", "set", "observability.logging.max_file_size=1")
        box.run("config", "set", 'observability.logging.levels={"caxton.node": "debug"}')
        assert any(path.name.startswith("caxton.log.2") for path in tmp_path.iterdir())
    flag = f"observability.logging.file_path={tmp_path}/none/c.log"
    box.environment |= {"CAXTON_CONFIG_PATH": str(config), "CAXTON_PORT": "0"}
    assert "cannot be written to" in box.run("--set", flag, "serve", code=1)
    assert "cannot be written to" in box.run("--set", flag, "server", "start", "--dry-run", code=1)
