"""Talks to a server over its REST API.

Rule 1: only the standard library, because every command pays for these imports.
Rule 2: whatever goes wrong leaves as a Failure that says what was tried; a server's own words are kept.
Rule 3: JSON stays plain values here; the commands print it and know its members.
"""

import http.client
import json
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from caxton import __version__
from caxton.cli.errors import UNREACHABLE, Failure

if TYPE_CHECKING:
    import ssl

TIMEOUT = 60.0  # seconds without a byte
JSON = "application/json"


# where the server gives no hint of its own
FIXES = {
    "AGENT_NOT_FOUND": "`caxton agent list` shows what there is",
    "AGENT_ALREADY_EXISTS": "choose another --name, or remove the other one first: `caxton agent delete NAME`",
    "SHUTTING_DOWN": "wait until the server is back",
}


class ServerFailure(Failure):
    """The server answered with an error: `body`."""

    def __init__(self, what: str, status: int, body: Mapping[str, Any]) -> None:
        error = body.get("error")
        error = error if isinstance(error, dict) else {"message": str(error or f"HTTP status {status}")}
        self.body = body
        title = str(error.get("code", "")).replace("_", " ").lower() or f"HTTP status {status}"
        super().__init__(
            f"{what}: {title}",
            why=str(error.get("message", "")),
            fix=str(error.get("hint") or FIXES.get(error.get("code", ""), "")),
            trace_id=str(error.get("trace_id") or ""),
        )


class ServerEvent(NamedTuple):
    """One event of the server's stream."""

    id: str
    type: str
    data: dict[str, Any]


class Client:
    """One server. A connection is made per request: a command makes few, and a stream has its own."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT, ca: str | None = None, cert: str | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Failure(f"'{url}' is no server address", fix="write it like http://localhost:8080")
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port
        self._prefix = parts.path.rstrip("/")
        self._context = _tls_context(ca, cert) if self._secure else None

    def request(
        self,
        method: str,
        path: str,
        *,
        what: str,
        query: Mapping[str, object] | None = None,
        body: Any = None,
        content: tuple[bytes, str] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """The JSON answer (None for an empty one). *body* goes as JSON, *content* as (bytes, content type)."""
        data, kind = content or (None if body is None else json.dumps(body).encode(), JSON)
        headers = {"Accept": JSON} | ({"Content-Type": kind} if data is not None else {})
        with self._open(method, path, what=what, query=query, data=data, headers=headers, timeout=timeout) as answer:
            with self._reaching(what):
                text = answer.read()
        try:
            found = json.loads(text) if text else None
        except ValueError:
            found = {"error": text.decode(errors="replace")[:200]}
            if answer.status < 400:
                raise Failure(what, why=f"{self.url} answered something that is not JSON") from None
        if answer.status >= 400:
            raise ServerFailure(what, answer.status, found if isinstance(found, dict) else {})
        return found

    def download(self, path: str, file: IO[bytes], *, what: str, query: Mapping[str, object] | None = None) -> None:
        """Write what is at *path* to *file*, all of it."""
        with self._open("GET", path, what=what, headers={}, query=query) as answer:
            if answer.status >= 400:
                text = answer.read()
                raise ServerFailure(what, answer.status, json.loads(text) if text.startswith(b"{") else {})
            left = answer.length
            while True:
                with self._reaching(what):
                    data = answer.read(1 << 20)
                if not data:
                    break
                file.write(data)
                left = None if left is None else left - len(data)
            if left:
                raise Failure(what, why=f"{self.url} ended the transfer {left} bytes too soon")

    @contextmanager
    def events(self, *, what: str, query: Mapping[str, object], last_id: str = "") -> Iterator[Iterator[ServerEvent]]:
        """Open the event stream; it counts from the moment this returns. The iterator ends when the server ends it."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        with self._open("GET", "/api/v1/events", what=what, query=query, headers=headers) as answer:
            if answer.status >= 400:
                text = answer.read()
                raise ServerFailure(what, answer.status, json.loads(text) if text.startswith(b"{") else {})
            yield self._read_events(answer, what)

    def _read_events(self, answer: http.client.HTTPResponse, what: str) -> Iterator[ServerEvent]:
        """The text/event-stream format, as far as the server writes it: id, event, data; a comment keeps it alive."""
        fields: dict[str, str] = {}
        while True:
            with self._reaching(what):
                line = answer.readline().decode(errors="replace")
            if not line:
                return
            if line := line.rstrip("\r\n"):
                name, _, value = line.partition(":")
                if name:
                    value = value.removeprefix(" ")
                    fields[name] = f"{fields[name]}\n{value}" if name in fields else value
            elif "data" in fields:
                yield ServerEvent(fields.get("id", ""), fields.get("event", "message"), json.loads(fields["data"]))
                fields = {}

    @contextmanager
    def _open(
        self,
        method: str,
        path: str,
        *,
        what: str,
        headers: Mapping[str, str],
        query: Mapping[str, object] | None = None,
        data: bytes | None = None,
        timeout: float | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        target = self._prefix + urllib.parse.quote(path)
        chosen = {key: value for key, value in (query or {}).items() if value not in (None, "", ())}
        if chosen:
            target += "?" + urllib.parse.urlencode(chosen, doseq=True)
        with closing(self._connection(timeout or self.timeout)) as connection:
            with self._reaching(what):
                headers = {"User-Agent": f"caxton/{__version__}", **headers}
                connection.request(method, target, body=data, headers=headers)
                answer = connection.getresponse()
            yield answer

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self._context is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._context)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout)

    @contextmanager
    def _reaching(self, what: str) -> Iterator[None]:
        """Around what uses the connection, and no more: a broken pipe of our own output is not the server's doing."""
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(what, error) from None

    def _unreachable(self, what: str, error: Exception) -> Failure:
        if isinstance(error, TimeoutError):
            why = f"{self.url} did not answer in time"
        elif isinstance(error, ConnectionRefusedError):
            why = f"nothing listens at {self.url}"
        else:
            why = f"{self.url}: {error or type(error).__name__}"
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            said = getattr(error, "verify_message", "") or str(error)
            why = f"{self.url} shows a certificate that is not trusted: {said}"
            return Failure(
                f"{what}: server not trusted",
                why=why,
                fix="name the file of its CA: `caxton --ca FILE …`, CAXTON_CA",
                code=UNREACHABLE,
            )
        # what a client hears of it in TLS 1.3 depends on the moment: an alert, or only the end
        if self._secure and (isinstance(error, ConnectionResetError) or "CERTIFICATE_REQUIRED" in str(error)):
            return Failure(
                f"{what}: the server ended the connection",
                why=f"{self.url}: {error}; it may ask for a client certificate",
                fix="show one: `caxton --cert FILE …`, CAXTON_CERT; the file holds certificate and key",
                code=UNREACHABLE,
            )
        fix = (
            "start one: `caxton serve`",
            "or name another: `caxton --server URL …`, CAXTON_SERVER, CAXTON_HOST and CAXTON_PORT",
        )
        return Failure(f"{what}: server not reachable", why=why, fix=fix, code=UNREACHABLE)


def _tls_context(ca: str | None, cert: str | None) -> "ssl.SSLContext":
    import ssl

    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        why = (
            f"{ca} holds no certificates in PEM form" if isinstance(error, ssl.SSLError) else f"{ca}: {error.strerror}"
        )
        raise Failure("The CA's file cannot be used", why=why, fix="name another with --ca or CAXTON_CA") from None
    if cert:
        try:
            context.load_cert_chain(cert)
        except OSError as error:
            why = f"{cert} does not hold a certificate and its key in PEM form"
            if not isinstance(error, ssl.SSLError):
                why = f"{cert}: {error.strerror}"
            fix = "name another with --cert or CAXTON_CERT"
            raise Failure("The client's certificate cannot be used", why=why, fix=fix) from None
    return context


def multipart(fields: Mapping[str, tuple[bytes, str, str]]) -> tuple[bytes, str]:
    """A form of (bytes, file name or "", content type) by name, and its own content type."""
    import secrets

    boundary = secrets.token_hex(16)
    parts = []
    for name, (data, filename, kind) in fields.items():
        file = f'; filename="{urllib.parse.quote(filename)}"' if filename else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\nContent-Type: {kind}\r\n\r\n'
        parts += [head.encode(), data, b"\r\n"]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"
