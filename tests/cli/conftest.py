"""A tiny HTTP server that answers what a test tells it to, so that the client meets real sockets."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest
from click.testing import CliRunner, Result

from caxton.cli.main import cli


@attrs.frozen
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: str
    content_type: str
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@attrs.define(eq=False)
class FakeServer:
    """Answers `METHOD path` with (status, JSON value), with bytes of an event stream, or 404."""

    url: str
    answers: dict[str, Any] = attrs.field(factory=dict)
    asked: list[Asked] = attrs.field(factory=list)


@pytest.fixture
def api() -> Iterator[FakeServer]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fake.asked.append(Asked(self.command, parts.path, parts.query, self.headers.get("Content-Type", ""), body))
            found = fake.answers.get(f"{self.command} {parts.path}", (404, error("NOT_FOUND", "no such path")))
            if isinstance(found, list):  # one answer per request
                found = found.pop(0)
            status, value = found if isinstance(found, tuple) else (200, found)
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake = FakeServer(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield fake
        server.shutdown()
        thread.join()


def error(code: str, message: str, hint: str = "", trace_id: str = "") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "details": {}, "hint": hint, "trace_id": trace_id}}


def agent(name: str, status: str = "running", **more: Any) -> dict[str, Any]:
    metrics = {"uptime_seconds": 3725.0, "messages_processed": 12345}
    ready = int(status == "running")
    return {
        "agent_id": name,
        "name": name,
        "status": status,
        "replicas": 1,
        "replicas_ready": ready,
        "reason": "",
        "metrics": metrics,
        **more,
    }


@pytest.fixture
def run(api: FakeServer) -> Callable[..., Result]:
    """Run a command line against the fake server."""

    def invoke(*arguments: str, stdin: str = "") -> Result:
        return CliRunner().invoke(cli, ["--server", api.url, *arguments], prog_name="caxton", input=stdin)

    return invoke
