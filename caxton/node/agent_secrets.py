"""Gives agents the secrets that they name, if they may have them.

Rule 1: with the agent only the name of a secret is kept. What it stands for is looked up at each start of an instance,
        and stands in the environment of that instance and nowhere else.
Rule 2: which agent may have which secret is said by the server's files alone: nobody who deploys, and nobody who
        changes keys of a running server, can give himself one.
Rule 3: a secret that is another one now is for instances that start from here on. No agent is started anew for it:
        what it has in memory would be lost. The log names those that still have the old one.
"""

import logging
from collections.abc import Mapping

from caxton.core.config_secrets import AgentSecret
from caxton.core.errors import Forbidden, InvalidConfig
from caxton.core.manifest import AgentSpec

log = logging.getLogger(__name__)


class AgentSecrets:
    def __init__(self, secrets: Mapping[str, AgentSecret]) -> None:
        self._secrets = secrets
        self._holders: dict[str, frozenset[str]] = {}  # agents that were given some since the server started, and which

    def check(self, spec: AgentSpec) -> None:
        """Raises Forbidden, InvalidConfig when the agent cannot have what it names."""
        if spec.kind == "attached" and spec.config.secrets:
            raise InvalidConfig("secrets: an attached agent lives outside, and has no environment here")
        for secret in spec.config.secrets.values():
            self._find(spec.name, secret)

    def environment(self, spec: AgentSpec) -> list[tuple[str, str]]:
        """Of an instance that starts now. Raises Forbidden."""
        config = spec.config
        found = [(variable, self._find(spec.name, secret)) for variable, secret in config.secrets.items()]
        if config.secrets:
            self._holders[spec.name] = frozenset(config.secrets.values())
        return [*config.environment.items(), *found]

    def forget(self, agent: str) -> None:
        self._holders.pop(agent, None)

    def change(self, secrets: Mapping[str, AgentSecret]) -> None:
        """These hold for instances that start from here on."""
        before, self._secrets = self._secrets, secrets
        for name, old in before.items():
            new = secrets.get(name)
            behind = sorted(
                agent
                for agent, held in self._holders.items()
                if name in held and (new is None or new.value != old.value or not new.is_for(agent))
            )
            if behind:
                log.warning(
                    "the secret %s is another one now, or for others: until their next start %s have the old one",
                    name,
                    ", ".join(behind),
                )

    def _find(self, agent: str, name: str) -> str:
        secret = self._secrets.get(name)
        if secret is None or not secret.is_for(agent):
            # the same words for both: whoever deploys does not learn which secrets there are
            raise Forbidden(
                f"the agent {agent!r} may not have the secret {name!r}",
                hint="the server's file gives it: `security: {secrets: {agents: "
                f"{{{name}: {{value: ${{secret:…}}, agents: [{agent}]}}}}}}}}`, then `caxton config reload`",
                details={"agent": agent, "secret": name},
            )
        return secret.value
