"""The listener's certificates: files into a context, and what is wrong with them in words.

Rule 1: what is asked for is done or the server does not start: no file is left out because it cannot be read.
Rule 2: files that are read again make a context of their own, which is used when all of them are right: nobody gets
        half of a pair that does not match.
Rule 3: HTTP/1.1 only. What this room knows of hypercorn (the end of connections, `server.py`) is of HTTP/1.1.
"""

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caxton.core.config_tls import TlsConfig
from caxton.core.errors import InvalidConfig

VERSIONS = {"tlsv1.2": ssl.TLSVersion.TLSv1_2, "tlsv1.3": ssl.TLSVersion.TLSv1_3}
MAKE_ONE = (
    "for a trial: `openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost "
    "-keyout key.pem -out cert.pem`"
)


class ServerContext(ssl.SSLContext):
    """What the listener holds; a new connection gets what `current` is then."""

    current: ssl.SSLContext

    def wrap_bio(self, *given: Any, **named: Any) -> ssl.SSLObject:  # Any: as ssl.SSLContext has it
        return self.current.wrap_bio(*given, **named)


class Renewal:
    """Certificates, CAs and the oldest version of a listener, as its files have them now; `node.Listener`."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._next = context.current

    def prepare(self, tls: TlsConfig) -> Sequence[str]:
        """Make a context of the files as they are now; what is wrong with them."""
        try:
            self._next = _context(tls)
        except InvalidConfig as error:
            return [error.message]
        return []

    def renew(self) -> None:
        """New connections get what was prepared; those that there are stay as they are."""
        self._context.current = self._next


def server_context(tls: TlsConfig) -> ServerContext:
    """What the listener needs. Raises InvalidConfig."""
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.current = _context(tls)
    return context


def _context(tls: TlsConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = VERSIONS[tls.min_version]
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, tls)
    if tls.ca_path:
        try:
            context.load_verify_locations(_readable("ca_path", tls.ca_path))
        except ssl.SSLError as error:
            raise InvalidConfig(
                f"server.tls.ca_path: {tls.ca_path} holds no certificates in PEM form ({_said(error)})"
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _load_pair(context: ssl.SSLContext, tls: TlsConfig) -> None:
    chain, key = _readable("cert_path", tls.cert_path), _readable("key_path", tls.key_path)

    def no_password() -> str:
        raise InvalidConfig(
            f"server.tls.key_path: {key} is protected by a password, and nobody is there to type it",
            hint="take it off (`openssl pkey -in key.pem -out plain.pem`), and let only the server read the file",
        )

    try:
        context.load_cert_chain(chain, key, no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            problem = f"server.tls.key_path: {key} is the key of another certificate than the one in {chain}"
        elif b"PRIVATE KEY-----" not in key.read_bytes():
            problem = f"server.tls.key_path: {key} holds no private key in PEM form ({_said(error)})"
        else:
            problem = f"server.tls.cert_path: {chain} with its key {key} cannot be used ({_said(error)})"
        raise InvalidConfig(problem, hint=MAKE_ONE) from None


def _readable(key: str, path: str) -> Path:
    try:
        with Path(path).open("rb"):
            return Path(path)
    except OSError as error:
        raise InvalidConfig(
            f"server.tls.{key}: the file {path or '(empty)'} cannot be read: {error.strerror}", hint=MAKE_ONE
        ) from None


def _said(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()
