"""The agent management system: `ams`, who knows every agent of this node and how it fares (FIPA00023).

FIPA's life cycle and Caxton's:

    initiated   it has its name, and has not run yet
    active      it runs; one outside is attached
    suspended   it was stopped, drains, or has failed for good: it is started by its operator, or by `modify`
    waiting     its supervisor will start it again; one outside is away
    transit     never: agents do not move

Rule 1: agents come by deployment (or by attaching), not by `register`; a deployed one goes by its operator, not by
        `deregister`.
Rule 2: an agent may only have itself suspended, or resumed.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from caxton._fast.envelope import Envelope
from caxton.bus.bus import Bus
from caxton.bus.delivery import AMS
from caxton.bus.reserved import Answers
from caxton.core.agent import AgentState
from caxton.core.answer import Answer, Unanswered
from caxton.core.directory.descriptions import AmsDescription, read_ams_description, read_constraints
from caxton.core.directory.facilitator import PAGE
from caxton.core.directory.requests import Asked, Mail, check_mail, need_description, read_request
from caxton.core.errors import CaxtonError
from caxton.node.agents import Agents
from caxton.node.directory import mail_of
from caxton.runtime.replica import AgentStatus
from caxton.runtime.supervisor import Runtime

ACTIONS = ("register", "deregister", "modify", "search", "get-description")

STATES: dict[AgentState, str] = {
    AgentState.UNLOADED: "initiated",
    AgentState.LOADED: "initiated",
    AgentState.READY: "initiated",
    AgentState.RUNNING: "active",
    AgentState.DRAINING: "suspended",
    AgentState.STOPPED: "suspended",
    AgentState.FAILED: "suspended",
}


def state_of(status: AgentStatus, is_live: bool) -> str:
    """FIPA's word for how an agent fares."""
    if any(replica.restarting for replica in status.replicas) and status.state is not AgentState.RUNNING:
        return "waiting"
    if status.kind == "attached" and status.state is AgentState.RUNNING and not is_live:
        return "waiting"
    return STATES[status.state]


class AgentManagement:
    def __init__(
        self, bus: Bus, runtime: Runtime, agents: Agents, is_live: Callable[[str], bool], platform: str
    ) -> None:
        self._reserved = bus.reserved
        self._runtime = runtime
        self._agents = agents
        self._is_live = is_live
        self._platform = platform
        bus.reserved.host(AMS, self.handle)

    async def handle(self, message: Envelope) -> Answers:
        mail = mail_of(message)
        check_mail(mail, acts=("request",), protocols=("fipa-request",))
        asked = read_request(mail.content, ACTIONS)
        if asked.action == "get-description":
            return Answer("inform", {"result": [self.platform()]})
        if asked.action == "search":
            return Answer("inform", self._search(asked))
        description = read_ams_description(need_description(asked), action=asked.content)
        if not description.name:
            raise Unanswered(
                "missing-parameter",
                "an ams-agent-description has a name",
                action=asked.content,
                object="ams-agent-description",
                parameter="name",
            )
        return await self._change(asked, description, mail)

    # Any: JSON, here and below
    def platform(self) -> dict[str, Any]:
        """The ap-description."""
        services = [{"name": name, "type": f"fipa.{name}", "addresses": [name]} for name in self._names()]
        return {"name": self._platform, "ap_services": services}

    def _names(self) -> list[str]:
        """Agents of the platform; `system:...` are addresses to ask, and no agents."""
        return [name for name in self._reserved.names() if ":" not in name]

    def _search(self, asked: Asked) -> dict[str, Any]:
        template = read_ams_description(asked.description, action=asked.content)
        constraints = read_constraints(asked.constraints, action=asked.content)
        limit = PAGE if constraints.max_results is None or constraints.max_results < 0 else constraints.max_results
        found = [each for each in self._descriptions() if _matches(template, each)][constraints.cursor :]
        limit = min(limit, PAGE)
        content: dict[str, Any] = {
            "result": [msgspec.to_builtins(each) for each in found[:limit]],
            "truncated": len(found) > limit,
        }
        if len(found) > limit:
            content["cursor"] = constraints.cursor + limit
        return content

    def _descriptions(self) -> Iterator[AmsDescription]:
        for name in self._names():
            yield AmsDescription(name=name, state="active")
        for status in sorted(self._runtime.list(), key=lambda each: each.name):
            yield self._describe(status)

    def _describe(self, status: AgentStatus) -> AmsDescription:
        return AmsDescription(name=status.name, state=state_of(status, self._is_live(status.name)))

    async def _change(self, asked: Asked, description: AmsDescription, mail: Mail) -> Answer:
        name = description.name
        if name != mail.sender:
            raise Unanswered("unauthorised", f"{mail.sender!r} cannot change {name!r}", action=asked.content)
        if not self._runtime.knows(name):
            if asked.action != "register":
                raise Unanswered("not-registered", f"no agent here is named {name!r}", action=asked.content)
            raise Unanswered(
                "unsupported-function",
                f"{name!r} is not an agent of this platform; agents come by deployment or over a WebSocket",
                action=asked.content,
                function="register",
            )
        if asked.action == "register":
            raise Unanswered(
                "already-registered", f"{name!r} is registered since it was deployed", action=asked.content
            )
        try:
            if asked.action == "deregister":
                await self._deregister(name, asked)
            else:
                await self._modify(name, description, asked)
        except CaxtonError as error:
            raise Unanswered("internal-error", str(error), action=asked.content) from None
        return Answer("inform", {"done": asked.action, "description": {"name": name}})

    async def _deregister(self, name: str, asked: Asked) -> None:
        if self._runtime.get(name).kind != "attached":
            raise Unanswered(
                "unsupported-function",
                f"{name!r} was deployed by its operator, who removes it: caxton agent remove",
                action=asked.content,
                function="deregister",
            )
        await self._agents.delete(name)

    async def _modify(self, name: str, description: AmsDescription, asked: Asked) -> None:
        if description.ownership or description.state not in ("active", "suspended"):
            raise Unanswered(
                "unsupported-function",
                "of an ams-agent-description only the state can be modified, to active or suspended",
                action=asked.content,
                function="modify",
            )
        rests = self._runtime.get(name).state in (AgentState.STOPPED, AgentState.FAILED)
        if description.state == "suspended" and not rests:
            await self._agents.stop(name, 0.0, drain=False)
        elif description.state == "active" and rests:
            await self._agents.start(name)


def _matches(template: AmsDescription, found: AmsDescription) -> bool:
    return all(
        not wanted or wanted == have
        for wanted, have in (
            (template.name, found.name),
            (template.state, found.state),
            (template.ownership, found.ownership),
        )
    )
