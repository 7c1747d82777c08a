"""Vault, Kubernetes and AWS Secrets Manager, as far as who reads secrets sees them: HTTP on a free port."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs

# method, path, headers, body -> status, body
Answer = Callable[[str, str, Any, bytes], tuple[int, bytes]]


@attrs.define(eq=False)
class Service:
    """One of them. What a test puts into `secrets` is there; the paths that were asked for are in `asked`."""

    url: str = ""
    token: str = "let-me-in"
    secrets: dict[str, Any] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)
    silent: threading.Event | None = None  # answers only when this is set
    raw: Callable[[Callable[[bytes], object]], object] | None = None  # answers instead, byte by byte


@contextmanager
def open_service(answer: Callable[[Service, str, Any, bytes], tuple[int, Any]]) -> Iterator[Service]:
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            service.asked.append(self.path)
            if service.silent is not None:
                service.silent.wait(30)
            if service.raw is not None:
                self.close_connection = True
                with suppress(OSError):
                    service.raw(self.wfile.write)
                return
            status, value = answer(service, self.path, self.headers, body)
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = reply

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that has gone is what some tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        service.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield service
        finally:
            if service.silent is not None:
                service.silent.set()
            server.shutdown()
            thread.join()


def vault(service: Service, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
    """`secret/` is versioned, `kv/` is not: https://developer.hashicorp.com/vault/api-docs/secret/kv"""
    if headers["X-Vault-Token"] != service.token:
        return 403, {"errors": ["permission denied"]}
    place = path.removeprefix("/v1/")
    if place not in service.secrets:
        return 404, {"errors": []}
    data: Any = service.secrets[place]
    if place.startswith("secret/data/"):
        data = {"data": data, "metadata": {"version": 1, "destroyed": False}}
    return 200, {"request_id": "1", "lease_id": "", "renewable": False, "lease_duration": 0, "data": data}


def kubernetes(service: Service, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
    """`GET /api/v1/namespaces/{namespace}/secrets/{name}` of the API of Kubernetes."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
    if headers["Authorization"] != f"Bearer {service.token}":
        return 403, {**status, "reason": "Forbidden", "code": 403}
    _, _, _, _, namespace, _, name = path.split("/")
    if f"{namespace}/{name}" not in service.secrets:
        return 404, {**status, "reason": "NotFound", "code": 404}
    data = {
        key: base64.b64encode(value.encode()).decode() for key, value in service.secrets[f"{namespace}/{name}"].items()
    }
    metadata = {"name": name, "namespace": namespace}
    return 200, {"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "type": "Opaque", "data": data}


def kube_config(folder: Path, service: Service) -> str:
    """A KUBECONFIG that leads to it; the namespace of its context is `apps`."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": service.url}}],
        "users": [{"name": "u", "user": {"token": service.token}}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "apps"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return str(path)


def aws(service: Service, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
    """GetSecretValue of the JSON protocol of AWS; of the signature only region and service are checked."""
    assert headers["X-Amz-Target"] == "secretsmanager.GetSecretValue"
    assert "/secretsmanager/aws4_request" in headers["Authorization"]
    name = json.loads(body)["SecretId"]
    service.asked.append(headers["Authorization"].split("/")[2])
    if name not in service.secrets:
        return 400, {"__type": "ResourceNotFoundException", "Message": "Secrets Manager can't find it."}
    value = service.secrets[name]
    held = {"SecretBinary": base64.b64encode(value).decode()} if isinstance(value, bytes) else {"SecretString": value}
    return 200, {"ARN": "arn:aws:secretsmanager:us-east-1:1:secret:x", "Name": name, "VersionId": "v" * 32, **held}
