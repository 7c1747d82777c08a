"""The listener's certificates: files into a context, and what is wrong with them in words.

Rule 1: what is asked for is done or the server does not start: no file is left out because it cannot be read.
Rule 2: files are tried in a context of their own before they go into the one that is used. OpenSSL takes certificate
        and key one after the other; a pair that does not match would leave the listener with half of each.
Rule 3: HTTP/1.1 only. What this room knows of hypercorn (the end of connections, `server.py`) is of HTTP/1.1.
"""

import ssl
from pathlib import Path

from caxton.core.config_tls import TlsConfig
from caxton.core.errors import InvalidConfig

VERSIONS = {"tlsv1.2": ssl.TLSVersion.TLSv1_2, "tlsv1.3": ssl.TLSVersion.TLSv1_3}
MAKE_ONE = (
    "for a trial: `openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost "
    "-keyout key.pem -out cert.pem`"
)


def server_context(tls: TlsConfig) -> ssl.SSLContext:
    """What the listener needs. Raises InvalidConfig."""
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


def reload(context: ssl.SSLContext, tls: TlsConfig) -> None:
    """New connections get the certificate that is in the files now. Raises InvalidConfig; then nothing has changed."""
    server_context(tls)
    _load_pair(context, tls)


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
