"""References to secrets in configuration values: how they are written, and how a value that holds one is kept unseen.

`${secret:SOURCE:PLACE#KEY}`, or the configuration guide's tables, which mean the same:
`valueFrom: {vaultKeyRef: {path: secret/data/api-keys, key: openai}}`.

Rule 1: nothing is fetched here; `caxton/secrets` does. `core/config.py` finds the references and puts the values in.
Rule 2: a text that holds a secret is a `SecretText`: whoever prints it, or shows a configuration, gets `***`.
Rule 3: a reference is no secret, and stands in errors and logs; what it stands for never does.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

MASK = "***"

# of a reference's text, what follows `${secret:` up to the `}` that closes it; variables may stand in it
INNER = r"(?:[^{}]|\$\{[^{}]*\})*"

FORMS: Mapping[str, str] = {
    "file": "file:/path#key",
    "env": "env:NAME",
    "vault": "vault:path#key",
    "k8s": "k8s:namespace/name#key",
    "aws": "aws:name?region=us-east-1#key",
}
# Kubernetes' names: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
PLACES: Mapping[str, str] = {
    "file": r"[/~].*",
    "env": r"[A-Za-z_][A-Za-z0-9_]*",
    "vault": r"[^?#\s]+",
    "k8s": rf"(?:{_LABEL}/)?[a-z0-9](?:[-.a-z0-9]{{0,251}}[a-z0-9])?",
    "aws": r"[A-Za-z0-9/_+=.@:-]+",
}


REFERENCES = tuple(f"${{secret:{form}}}" for form in FORMS.values())


class SecretText(str):
    """A text that nobody is shown; it is an ordinary one to those who use it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(MASK)


class NoSecret(Exception):
    """Why a reference could not be followed; it says nothing of the value."""


class Reference(NamedTuple):
    """Where a secret is."""

    source: str
    place: str
    key: str = ""  # of those that are there; "" takes the only one, or the whole
    region: str = ""  # of AWS


# what the references stand for, or why that is not known; by the text between `${secret:` and `}`
Fetched = Mapping[str, SecretText | NoSecret]
# texts of references, the environment, and the seconds that all of it may take
Fetch = Callable[[Sequence[str], Mapping[str, str], float], Fetched]


def parse_reference(text: str) -> Reference:
    """What *text*, the part between `${secret:` and `}`, names. Raises NoSecret."""
    source, colon, rest = text.partition(":")
    if source not in FORMS or not colon:
        raise NoSecret(f"{source!r} is no source of secrets; there are {', '.join(FORMS.values())}")
    place, _, key = rest.rpartition("#") if "#" in rest else (rest, "", "")
    region = ""
    if source == "aws" and "?" in place:
        place, _, option = place.partition("?")
        name, _, region = option.partition("=")
        if name != "region" or not re.fullmatch(r"[a-z0-9-]+", region):
            raise NoSecret(f"{option!r} is not region=NAME; write {FORMS['aws']}")
    if not re.fullmatch(PLACES[source], place):
        more = "; a path begins with / or ~" if source == "file" else ""
        raise NoSecret(f"{place!r} is no place of a secret; write {FORMS[source]}{more}")
    if source == "env" and key:
        raise NoSecret(f"a variable has no keys; write {FORMS['env']}")
    return Reference(source, place, key, region)


def pick(reference: Reference, found: str | Mapping[str, Any]) -> SecretText:
    """The value of the reference's key among what was found at its place. Raises NoSecret."""
    key: object = reference.key
    if isinstance(found, str):
        if key:
            raise NoSecret(f"there are no keys, and so no {key!r}; leave #{key} out for all of it")
        return _text(found)
    value: Any = found
    if not key:
        if len(found) != 1:
            raise NoSecret(f"there are {len(found)} keys; say which: {_names(found)}")
        (value,) = found.values()
    elif key in found:
        value = found[reference.key]
    else:
        for part in reference.key.split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise NoSecret(f"there is no key {key!r}; there are: {_names(found)}")
            value = value[part]
    if isinstance(value, bool):
        return SecretText(str(value).lower())
    if not isinstance(value, str | int | float):
        raise NoSecret(f"{key!r} is no text, but a table or a list")
    return _text(str(value))


def _text(value: str) -> SecretText:
    if value == MASK:
        raise NoSecret(f"it is {MASK}, which stands for what is not shown, and was copied from such a place")
    return SecretText(value)


def _names(found: Mapping[str, Any]) -> str:
    names = sorted(str(name) for name in found)
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")


def named_secret(table: object) -> str:
    """The NAME of `valueFrom: {secretRef: NAME}`, a secret that the server has for its agents; else ""."""
    name = table.get("secretRef") if isinstance(table, Mapping) and set(table) == {"secretRef"} else None
    return name if isinstance(name, str) else ""


def from_table(table: object) -> str:
    """The reference in the guide's form, what stands under `valueFrom`. Raises NoSecret."""
    if not isinstance(table, Mapping) or len(table) != 1:
        raise NoSecret("valueFrom is one of secretKeyRef, vaultKeyRef, awsSecretRef")
    ((kind, said),) = table.items()
    if kind == "secretRef":
        raise NoSecret(f"secretRef is for an agent's environment; here write one of {', '.join(REFERENCES)}")
    known = {
        "secretKeyRef": ("name", "key", "namespace"),
        "vaultKeyRef": ("path", "key"),
        "awsSecretRef": ("name", "key", "region"),
    }.get(kind)
    if known is None:
        raise NoSecret(f"{kind!r} names no source; write one of ${{secret:...}}: {', '.join(FORMS.values())}")
    if (
        not isinstance(said, Mapping)
        or set(said) - set(known)
        or not all(isinstance(one, str) for one in said.values())
    ):
        raise NoSecret(f"{kind} is a table of {', '.join(known)}")
    if known[0] not in said:
        raise NoSecret(f"{kind} needs {known[0]}")
    key = f"#{said['key']}" if said.get("key") else ""
    if kind == "vaultKeyRef":
        return f"vault:{said['path']}{key}"
    if kind == "awsSecretRef":
        return f"aws:{said['name']}{'?region=' + said['region'] if said.get('region') else ''}{key}"
    return f"k8s:{said['namespace'] + '/' if said.get('namespace') else ''}{said['name']}{key}"
