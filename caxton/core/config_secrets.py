"""The keys of `security.secrets`: how secrets are fetched, and which of them agents may have.

Who fetches: `caxton/secrets`. Who gives them to agents: `node/agent_secrets.py`.
"""

import re
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec
from msgspec import Meta

from caxton.core.settings import FILES, NEXT, YES, Key, Seconds

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,126}", re.ASCII)

SomeTime = Annotated[float, Meta(ge=0.001, extra={"unit": "duration"})]


class AgentSecret(msgspec.Struct, frozen=True, kw_only=True):
    value: Annotated[str, Key("of it; write a reference", secret=True)]
    agents: Annotated[tuple[str, ...], Key("names of agents that may have it, such as `billing-*`")] = ()

    def is_for(self, agent: str) -> bool:
        return any(fnmatchcase(agent, pattern) for pattern in self.agents)


class SecretsConfig(msgspec.Struct, frozen=True, kw_only=True):
    timeout: Annotated[SomeTime, Key("of fetching [secrets](configuration.md#secrets), all of them together")] = 5.0
    refresh_interval: Annotated[
        Seconds, Key("between two looks whether a secret is another one now; 0 is only with a reload", dynamic=YES)
    ] = 0.0
    agents: Annotated[
        dict[str, AgentSecret],
        Key(
            "[what agents may have](configuration.md#secrets-of-agents): a table of {value, agents} by name; an agent "
            "that `agents` does not name may not have it",
            dynamic=f"{FILES}, {NEXT}",
        ),
    ] = {}


def check_secrets(problems: list[str], secrets: SecretsConfig) -> None:
    """What no single value shows."""
    for name, secret in secrets.agents.items():
        key = f"security.secrets.agents.{name}"
        if not NAME.fullmatch(name):
            problems.append(f"{key}: {name!r} is no name; use up to 127 letters, digits, '_', '-' and '.'")
        if not secret.value:
            problems.append(f"{key}.value: it is empty")
        elif "\0" in secret.value or not _is_text(secret.value):
            problems.append(f"{key}.value: a variable's value is UTF-8 text without NUL")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can write
        return False
    return True
