"""The keys of `server.tls`: certificates of the listener. What is done with the files: `api/tls.py`."""

from typing import Annotated, Literal

import msgspec

from caxton.core.settings import FILES, Key

NEW = f"{FILES}, for new connections"


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True):
    enabled: Annotated[bool, Key("the server speaks HTTPS, and only that", env="CAXTON_TLS_ENABLED")] = False
    cert_path: Annotated[
        str, Key("PEM file: the server's certificate, then those between it and its CA", dynamic=NEW)
    ] = "/etc/caxton/tls/cert.pem"
    key_path: Annotated[str, Key("PEM file of its key, without a password", dynamic=NEW)] = "/etc/caxton/tls/key.pem"
    ca_path: Annotated[
        str,
        Key(
            "PEM file of CAs: who shows no certificate signed by one of them is refused; empty asks nobody", dynamic=NEW
        ),
    ] = ""
    min_version: Annotated[Literal["tlsv1.2", "tlsv1.3"], Key("the oldest that is spoken", dynamic=NEW)] = "tlsv1.2"
