"""Secrets in a file of this machine: a table in YAML, TOML or JSON, or a text by itself, such as a mounted secret.

A file is refused when others can read it, by the rule of PostgreSQL's private keys: it belongs to this user and nobody
else has a right to it (`chmod 600`), or it belongs to root and a group may read it (`chmod 640`).
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caxton.core.config_text import decode
from caxton.core.errors import InvalidConfig
from caxton.core.secrets import NoSecret, Reference

LARGEST = 1 << 20  # bytes
TABLES = (".yaml", ".yml", ".toml", ".json")


# Any: the operator's own table
def read(reference: Reference, environ: Mapping[str, str], patience: float) -> str | Mapping[str, Any]:
    """What the file holds. Raises NoSecret."""
    path = Path(reference.place).expanduser()
    try:
        # not blocking: a named pipe without a writer is refused below instead of waited for
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as stream:
            _check(os.fstat(stream.fileno()), path)  # of what was opened, not of what stands there by now
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise NoSecret(f"the file {path} cannot be read: {error.strerror or error}") from None
    if len(data) > LARGEST:
        raise NoSecret(f"the file {path} is larger than {LARGEST >> 20}MB")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise NoSecret(f"the file {path} is not UTF-8 text") from None
    if path.suffix not in TABLES:
        return text.removesuffix("\n").removesuffix("\r")
    try:
        return decode(text, path.name)
    except InvalidConfig:
        # what is wrong with it is told with its text elsewhere; here that would be a secret
        raise NoSecret(f"the file {path} is no {path.suffix[1:].upper()} table") from None


def _check(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NoSecret(f"{path} is no file")
    mine = os.geteuid()
    if status.st_uid not in (mine, 0):
        raise NoSecret(f"the file {path} belongs to another user: `chown {mine} {path}`")
    allowed = 0o640 if status.st_uid == 0 else 0o600
    if (mode := stat.S_IMODE(status.st_mode)) & 0o077 & ~allowed:
        raise NoSecret(f"others can read or write the file {path} (its mode is {mode:o}): `chmod 600 {path}`")
