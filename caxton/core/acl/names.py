"""Names across platforms: `agent` here is `agent@here` elsewhere, and `agent@there` everywhere.

Rule 1: a name from outside never becomes a name without a platform: nobody outside can send as a local agent.
Rule 2: from outside only agents and waiting clients (`client:...`) can be reached; topics, groups and capabilities are
        addresses of this platform's own agents.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import attrs

from caxton.core.acl.message import AgentId
from caxton.core.errors import AgentNotFound, Forbidden

CLIENT: Final = "client:"


def split_name(name: str) -> tuple[str, str]:
    """Local part and platform; without an `@` there is no platform."""
    local, at, platform = name.rpartition("@")
    return (local, platform) if at else (name, "")


@attrs.frozen
class Home:
    """This platform as others know it."""

    name: str
    aliases: frozenset[str]  # other names of it, which only it itself uses
    url: str

    def is_own(self, platform: str) -> bool:
        return platform == self.name or platform in self.aliases

    def abroad(self, name: str, urls: Mapping[str, str]) -> AgentId:
        """The agent as other platforms know it. *urls*: where other platforms answer."""
        local, platform = split_name(name)
        if platform and not self.is_own(platform):
            return AgentId(name, (urls[platform],) if platform in urls else ())
        return AgentId(f"{local}@{self.name}", (self.url,))

    def at_home(self, agent: AgentId) -> AgentId:
        """The agent as our agents know it: one of ours by its local name."""
        local, platform = split_name(agent.name)
        return AgentId(local) if self.is_own(platform) else AgentId(agent.name)

    def receiver(self, agent: AgentId) -> str:
        """The local name of a receiver of a message from outside. Raises AgentNotFound."""
        local, platform = split_name(agent.name)
        if not local or (platform and not self.is_own(platform)):
            raise AgentNotFound(
                f"{agent.name!r} is no agent of the platform {self.name!r}, which passes nothing on to others",
                details={"name": agent.name},
            )
        if ":" in local and not local.startswith(CLIENT):
            raise AgentNotFound(
                f"{local!r} is no agent's name; topics, groups and capabilities are not reached from outside",
                details={"name": agent.name},
            )
        return local

    def platform_of_sender(self, sender: AgentId | None) -> str:
        """The platform that a sender from outside says it is of. Raises Forbidden."""
        if sender is None:
            raise Forbidden("the message has no sender, and whoever sends from outside has to say who it is")
        local, platform = split_name(sender.name)
        if not local or not platform:
            raise Forbidden(f"the sender {sender.name!r} names no platform", hint="a name abroad is agent@platform")
        if self.is_own(platform):
            raise Forbidden(f"the sender {sender.name!r} would be an agent of this platform, and it comes from outside")
        if ":" in local and not local.startswith(CLIENT):
            raise Forbidden(f"the sender {sender.name!r} has a ':' in its name, as addresses have and agents have not")
        return platform


def is_allowed(url: str, beginnings: tuple[str, ...]) -> bool:
    """Whether an address begins with one of these: the same scheme, host and port, and the path from its start."""
    try:
        asked = urlsplit(url)
        place = (asked.scheme, asked.hostname, asked.port)
    except ValueError:
        return False
    for beginning in beginnings:
        known = urlsplit(beginning)
        if place == (known.scheme, known.hostname, known.port) and asked.path.startswith(known.path):
            return asked.username is None
    return False
