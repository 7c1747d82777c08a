"""Fetches what `${secret:...}` in a configuration stands for: from files, variables, Vault, Kubernetes and AWS.

Rule 1: all of it is for threads: clients block. A server fetches before its event loop starts, and later by
        `trio.to_thread`.
Rule 2: each place is asked once, however many keys of it are wanted; all places at a time, and together no longer than
        the caller's patience.
Rule 3: a client is imported when a reference needs it, and belongs to the extra of its name.
Rule 4: what cannot be had is a `NoSecret` that says why, and never holds a value.
"""

import importlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from caxton.core.secrets import Fetched, NoSecret, Reference, SecretText, parse_reference, pick
from caxton.secrets import aws, files, kubernetes, vault

__all__ = ["fetch"]

# Any: what stands at a place is a text, or the operator's own table
Found = str | Mapping[str, Any]


class Source(NamedTuple):
    """One kind of place."""

    read: Callable[[Reference, Mapping[str, str], float], Found]
    module: str = ""  # the client that it needs
    extra: str = ""  # of this package, which installs it


def _variable(reference: Reference, environ: Mapping[str, str], patience: float) -> str:
    value = environ.get(reference.place)
    if value is None:
        raise NoSecret(f"the variable {reference.place} is not set")
    return value


SOURCES: Mapping[str, Source] = {
    "file": Source(files.read),
    "env": Source(_variable),
    "vault": Source(vault.read, "hvac", "vault"),
    "k8s": Source(kubernetes.read, "kubernetes", "kubernetes"),
    "aws": Source(aws.read, "boto3", "aws"),
}


def fetch(texts: Sequence[str], environ: Mapping[str, str], patience: float) -> Fetched:
    """The value of each reference, or why there is none; by its text."""
    outcome: dict[str, SecretText | NoSecret] = {}
    wanted: dict[Reference, list[tuple[str, Reference]]] = {}  # by place
    for text in texts:
        try:
            reference = parse_reference(text)
            _import_client(SOURCES[reference.source])
        except NoSecret as error:
            outcome[text] = error
        else:
            wanted.setdefault(reference._replace(key=""), []).append((text, reference))
    found = _ask(list(wanted), environ, patience)
    for place, references in wanted.items():
        there = found.get(place, NoSecret(f"no answer within {patience:g} s"))
        for text, reference in references:
            try:
                outcome[text] = there if isinstance(there, NoSecret) else pick(reference, there)
            except NoSecret as error:
                outcome[text] = error
    return outcome


def _import_client(source: Source) -> None:
    """Here, and not in a thread: the second that an import may take is no time of the service."""
    if not source.module:
        return
    try:
        importlib.import_module(source.module)
    except ImportError:
        raise NoSecret(f"{source.module} is not installed: `pip install caxton[{source.extra}]`") from None


def _ask(places: Sequence[Reference], environ: Mapping[str, str], patience: float) -> dict[Reference, Found | NoSecret]:
    """What each place answers in time."""
    found: dict[Reference, Found | NoSecret] = {}

    def ask(place: Reference) -> None:
        try:
            found[place] = SOURCES[place.source].read(place, environ, patience)
        except NoSecret as error:
            found[place] = error
        except Exception as error:  # a client may raise anything, and what it says may hold anything
            found[place] = NoSecret(f"the client failed with {type(error).__name__}")

    # Threads that nobody has to wait for: a client's own timeouts bound each read, not the whole, and no thread can be
    # ended. They hold nothing but a socket.
    threads = [threading.Thread(target=ask, args=(place,), name="secret", daemon=True) for place in places]
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    return dict(found)
