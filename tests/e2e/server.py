"""`caxton serve` in a process of its own, as an operator starts it, and HTTP to talk to it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx


@attrs.define(eq=False)
class Server:
    process: subprocess.Popen[str]
    http: httpx.Client

    def deploy(self, name: str, wasm: bytes, **config: object) -> None:
        text = json.dumps({"name": name, **config})
        answer = self.http.post("/api/v1/agents", files={"wasm": wasm}, data={"config": text})
        assert answer.status_code == 201, answer.text

    def ask(self, name: str, content: object) -> Any:
        """The content of the agent's answer; Any: JSON."""
        message = {"performative": "request", "receiver": name, "content": content}
        answer = self.http.post("/api/v1/messages?wait=10", json=message)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def tell(self, name: str) -> int:
        """The status of the answer to a message that is not waited for."""
        message = {"performative": "inform", "receiver": name}
        return self.http.post("/api/v1/messages", json=message).status_code

    def agent(self, name: str) -> Any:
        return self.http.get(f"/api/v1/agents/{name}").json()

    def lines(self, name: str) -> list[str]:
        found = self.http.get("/api/v1/logs", params={"agents": name}).json()["lines"]
        return [line["text"] for line in found if line["stream"] == "out"]


@contextmanager
def serve(folder: Path, *options: str) -> Iterator[Server]:
    """A server on a free port; killed at the end of the block, if it still runs."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("CAXTON_")}
    environment = {**own, "CAXTON_DATA_DIR": str(folder), "CAXTON_PORT": "0", "CAXTON_METRICS_PORT": "0"}
    command = [sys.executable, "-m", "caxton.cli", *options, "serve"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found, line
            with httpx.Client(base_url=found[0], timeout=20) as http:
                yield Server(process, http)
        finally:
            process.kill()
