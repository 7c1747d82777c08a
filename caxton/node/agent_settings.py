"""Changes keys of one agent while it runs: what it is told at once, and what it has from its next start on.

Rule 1: the agent is never started anew for this: what it holds in memory stays. Keys that need that (its memory, its
        environment, its code) come by an update.
Rule 2: all of a change or nothing: it is checked as a deployment is, written to the store, then told.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

import apsw
import msgspec

from caxton.core.config import merge, nested
from caxton.core.config_tree import table_leaves
from caxton.core.errors import InvalidConfig
from caxton.core.manifest import AgentConfig, AgentDefaults, AgentSpec, parse_agent_config
from caxton.core.settings import nearest, plain
from caxton.node.agents import Agents
from caxton.store.settings import Change

# makes of the changes what is written in the same transaction
Also = Callable[[Sequence[Change]], Callable[[apsw.Connection], None]]
FROM_SERVER = ("health_check", "circuit_breaker")  # tables that an agent without them has from the server


class LiveAgents:
    def __init__(self, agents: Agents, defaults: Callable[[], AgentDefaults]) -> None:
        self._agents = agents
        self._defaults = defaults

    def created_at(self, name: str) -> float:
        """When the agent of this name was deployed; infinity: there is none."""
        return self._agents.spec(name).created_at if self._agents.knows(name) else inf

    # Any: values as people write them
    def values(self, name: str) -> Mapping[str, Any]:
        """What may be changed, as it is now. Raises AgentNotFound."""
        return flat(self._agents.spec(name).config, self._defaults())

    async def configure(self, name: str, changes: Mapping[str, Any], also: Also) -> Sequence[Change]:
        """All of them or none. Raises AgentNotFound, InvalidConfig, StoreError.

        What *also* makes of the changes is written with them; without a change nothing is.
        """
        known = [key for key, leaf in table_leaves(AgentConfig).items() if leaf.key.dynamic]
        wrong = [
            f"{key}: of an agent that runs these may be changed: {', '.join(known)}{nearest(key, known)}"
            for key in changes
            if key not in known
        ]
        made: list[Change] = []
        self._agents.spec(name)
        if wrong:
            raise InvalidConfig("\n".join([f"agent {name}", *wrong]))

        def changed(spec: AgentSpec) -> AgentConfig:
            defaults = self._defaults()
            config = _with(spec.config, changes, defaults)
            before, after = flat(spec.config, defaults), flat(config, defaults)
            made.extend(
                Change(key=key, agent=name, before=before[key], after=after[key])
                for key in changes
                if before[key] != after[key]
            )
            return config

        changed(self._agents.spec(name))  # what is wrong, or changes nothing, waits for nobody
        if made:
            made.clear()
            await self._agents.adjust(name, changed, lambda connection: also(made)(connection))
        return made


def _with(config: AgentConfig, changes: Mapping[str, Any], defaults: AgentDefaults) -> AgentConfig:
    """The configuration with these changes, checked as a deployment is. Raises InvalidConfig."""
    tree = plain(config)
    for table in FROM_SERVER:
        if getattr(config, table) is None:
            tree.pop(table)
    for key, value in changes.items():
        tree = merge(tree, nested(key, value))
    # a limit of the server that became lower is no reason to refuse what has nothing to do with it
    most = config.resources
    room = msgspec.structs.replace(
        defaults,
        resources=msgspec.structs.replace(
            defaults.resources,
            memory=max(defaults.resources.memory, most.memory),
            cpu=max(defaults.resources.cpu, most.cpu if "resources.cpu" not in changes else 0),
        ),
    )
    return parse_agent_config(tree, defaults=room)


def flat(config: AgentConfig, defaults: AgentDefaults) -> dict[str, Any]:
    """The keys that may change, with what holds, as people write them. Any: JSON."""
    held = {table: getattr(config, table) or getattr(defaults, table) for table in FROM_SERVER}
    config = msgspec.structs.replace(config, **held)
    found = {}
    for key, leaf in table_leaves(AgentConfig).items():
        if leaf.key.dynamic:
            value: Any = config
            for part in key.split("."):
                value = getattr(value, part)
            found[key] = leaf._replace(default=value).shown_default
    return found
