"""`caxton config` and SIGHUP on a server in a process of its own."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from caxton.store.lock import read_holder
from tests.cli.test_server import open_box

pytestmark = pytest.mark.slow


def test_a_server_is_changed_while_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("messaging: {queue_size: 100}\n")
    with open_box(tmp_path / "data", CAXTON_CONFIG_PATH=str(file)) as box:
        assert box.run("config", "get", "messaging.queue_size") == "100\n"
        assert box.run("config", "set", "observability.logging.level=debug") == (
            "✓ Changed (version 1)\n  observability.logging.level: info -> debug\n"
        )
        assert box.run("config", "diff", "-o", "json").startswith("[")
        assert "needs a restart" in box.run("config", "set", "server.port=1", code=1)
        assert "version 1" in box.run("config", "get", "observability.logging")
        box.deploy("ping")
        box.run("config", "set", "observability.logging.max_file_size=1B")
        assert "max_file_size: 1B -> 100MB" in box.run("config", "rollback")
        assert list((tmp_path / "data").glob("server.log.*")), "the log of a detached server has bounds"
        out = box.run("config", "set", "--agent", "ping", "--resources.timeout=10s")
        assert out == "✓ Changed (version 4)\n  agent ping: resources.timeout: 30s -> 10s\n"
        assert box.run("config", "get", "--agent", "ping", "resources.timeout") == "10s\n"
        assert "  timeout: 10s\n" in box.run("config", "get", "--agent", "ping")
        assert "there is no agent named 'pong'" in box.run("config", "get", "--agent", "pong", code=1)
        assert "resources.timeout: 10s -> 30s" in box.run("config", "rollback")
        assert "observability.logging.level: debug -> info" in box.run("config", "rollback", "0")
        rows = json.loads(box.run("config", "history", "-o", "json"))
        assert [row["action"] for row in rows] == ["rollback", "rollback", "set", "rollback", "set", "set"]
        assert "rollback" in box.run("config", "history")
        breaker = ("--circuit-breaker.timeout=10s", "--circuit-breaker.threshold=3")
        out = box.run("config", "set", "--agent", "ping", *breaker)
        assert "agent ping: circuit_breaker.timeout: 30s -> 10s\n" in out
        assert "agent ping: circuit_breaker.threshold: 5 -> 3\n" in out
        out = box.run("config", "set", "--agent", "ping", "circuit_breaker.timeout=20s", 'tools=["a.*", "b"]')
        assert "agent ping: circuit_breaker.timeout: 10s -> 20s\n" in out
        assert 'agent ping: tools: [] -> ["a.*", "b"]\n' in out
        file.write_text("messaging: {queue_size: 200}\nserver: {host: localhost}\n")
        assert "messaging.queue_size: 100 -> 200" in box.run("config", "reload")
        file.write_text("messaging: {queue_size: 300}\n")
        holder = read_holder(tmp_path / "data")
        assert holder is not None
        os.kill(holder.pid, signal.SIGHUP)
        for _ in range(200):
            if box.run("config", "get", "messaging.queue_size") == "300\n":
                break
            time.sleep(0.02)
        else:
            pytest.fail("SIGHUP changed nothing")
        file.write_text("messaging: {queue_size: many}\n")
        assert "config.yaml:1: messaging.queue_size" in box.run("config", "reload", code=1)
        os.kill(holder.pid, signal.SIGHUP)
        assert box.run("config", "get", "messaging.queue_size") == "300\n"
        del box.environment["CAXTON_SERVER"]  # it is found by its data folder
        out = box.run("server", "status")
        assert out.startswith("✓ Server running at http://localhost:")
        assert "! the configuration has mistakes; the server is looked for at http://localhost:" in out
        assert "0 agents" not in box.run("agent", "list")
        file.write_text("messaging: {queue_size: 100\n")
        out = box.run("server", "stop")
        assert out.startswith("✓ Server stopped\n! the configuration has mistakes; the data folder is ")
        assert "config.yaml:" in out
        assert read_holder(tmp_path / "data") is None
