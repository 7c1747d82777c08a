"""Capabilities as an operator handles them: what the directory says, by capability, with how its providers fare.

A registration by REST is the `operator` part of an agent's entry: one service for each capability. Its version,
priority, metadata and health check's address are properties of that service; its id is made of agent and capability.
"""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import msgspec

from caxton._fast.envelope import Envelope
from caxton.bus.bus import Bus
from caxton.bus.reserved import Answers
from caxton.core.agent import AgentState
from caxton.core.answer import Answer, Unanswered
from caxton.core.decoding import UNREADABLE
from caxton.core.directory.descriptions import Constraints, Description, Service, fold
from caxton.core.directory.requests import check_mail
from caxton.core.errors import AgentAlreadyExists, NotFound
from caxton.core.views import AgentInfo, CapabilityHealth, CapabilityInfo, Provider, Registration
from caxton.node.agents import Agents
from caxton.node.directory import DirectoryDesk, mail_of

SYSTEM = "system:capabilities"
MANY = 1000  # capabilities of one answer
FEW = 20  # names of each one's providers
DEFAULT_VERSION = "1.0.0"
DEFAULT_PRIORITY = 50

# how a provider fares, by its agent's state; the factor of its routing score
STATUSES: dict[str, str] = {
    AgentState.RUNNING.value: "active",
    AgentState.DRAINING.value: "draining",
    AgentState.FAILED.value: "unhealthy",
}
FACTORS = {"active": 1.0, "draining": 0.5}

ORDERS: dict[str, Callable[[Provider], float]] = {
    "priority": lambda each: -each.routing_score,
    "load_balance": lambda each: -each.priority / max(each.load_score, 0.01),
    "least_loaded": lambda each: each.load_score,
    "fastest_response": lambda each: each.response_time_avg,
}


class Question(msgspec.Struct, forbid_unknown_fields=True):
    capability: str = ""


class Capabilities:
    def __init__(self, bus: Bus, directory: DirectoryDesk, agents: Agents, queue_size: int) -> None:
        bus.reserved.host(SYSTEM, self.handle)
        self._directory = directory
        self._agents = agents
        self._queue_size = queue_size

    # -- changes --

    async def register(self, asked: Registration) -> Registration:
        """Raises AgentNotFound, AgentAlreadyExists (the agent has the capability already), StoreError."""
        info = self._agents.get(asked.agent_id)
        services = self._services(asked.agent_id)
        if any(fold(service.type) == fold(asked.capability) for service in services):
            raise AgentAlreadyExists(
                f"{asked.capability!r} of {asked.agent_id!r} is registered already",
                hint="change it with PUT, or delete it first",
                details={"registration_id": _id_of(asked.agent_id, asked.capability)},
            )
        return await self._keep(info, services, asked)

    async def change(self, registration_id: str, changes: Mapping[str, Any]) -> Registration:  # Any: JSON
        """New version, priority, metadata or health_check_url. Raises NotFound, StoreError."""
        agent, service = self._find(registration_id)
        asked = msgspec.structs.replace(_registration(agent, service), **changes)
        others = [each for each in self._services(agent) if each is not service]
        return await self._keep(self._agents.get(agent), others, asked)

    async def remove(self, agent: str, capability: str) -> None:
        """Raises AgentNotFound, NotFound: nobody registered it (what an agent declares itself stays), StoreError."""
        self._agents.get(agent)
        services = self._services(agent)
        rest = [service for service in services if fold(service.type) != fold(capability)]
        if len(rest) == len(services):
            raise NotFound(
                f"no registration of {capability!r} for {agent!r}",
                hint="what an agent declares in its manifest or module goes with the agent",
            )
        if rest:
            await self._directory.put(agent, "operator", Description(services=tuple(rest)))
        else:
            await self._directory.remove(agent, "operator")

    async def _keep(self, info: AgentInfo, others: Sequence[Service], asked: Registration) -> Registration:
        kept = msgspec.structs.replace(
            asked, registration_id=_id_of(info.name, asked.capability), registered_at=asked.registered_at or time.time()
        )
        properties = {
            "version": kept.version,
            "priority": kept.priority,
            "metadata": kept.metadata,
            "health_check_url": kept.health_check_url,
            "registered_at": kept.registered_at,
        }
        service = Service(name=kept.capability, type=kept.capability, properties=properties)
        await self._directory.put(info.name, "operator", Description(services=(*others, service)))
        return msgspec.structs.replace(kept, status=_status_of(info))

    def _services(self, agent: str) -> Sequence[Service]:
        said = self._directory.part(agent, "operator")
        return () if said is None else said.services

    def _find(self, registration_id: str) -> tuple[str, Service]:
        for entry in self._directory.search(Description(), Constraints(max_results=-1))[0]:
            for service in self._services(entry.name):
                if _id_of(entry.name, service.type) == registration_id:
                    return entry.name, service
        raise NotFound(f"no registration {registration_id!r}", hint="GET /api/v1/capabilities shows those there are")

    # -- questions --

    def handle(self, message: Envelope) -> Answers:
        """An agent asks what there is: a query to `system:capabilities`, of one capability or of all."""
        mail = mail_of(message)
        check_mail(
            attrs.evolve(mail, ontology=""), acts=("query-ref", "request"), protocols=("fipa-query", "fipa-request")
        )
        try:
            asked = msgspec.json.decode(mail.content or b"{}", type=Question | None) or Question()
        except UNREADABLE as error:
            text = f'the content is {{"capability": "..."}}, or nothing: {error}'
            raise Unanswered("unrecognised-value", text, parameter="content") from None
        names = [fold(asked.capability)] if asked.capability else list(self._directory.capabilities())[:MANY]
        found = []
        for name in names:
            agents = [entry.name for entry in self._directory.providers(name)]
            found.append({"capability": name, "agents": len(agents), "providers": agents[:FEW]})
        return Answer("inform", {"capabilities": found})

    def list(self, capability: str, agent: str, status: str, version: str) -> Sequence[CapabilityInfo]:
        """Those that match, by name; an empty text restricts nothing."""
        found = []
        for name in self._directory.capabilities():
            if capability and fold(capability) != name:
                continue
            providers = [
                each
                for each in self._providers(name)
                if (not agent or each.agent_id == agent)
                and (not status or each.status == status)
                and (not version or each.version == version)
            ]
            if providers:
                found.append(CapabilityInfo(capability=name, providers=tuple(providers)))
        return found

    def get(self, capability: str, *, version: str, strategy: str, include_unhealthy: bool) -> CapabilityInfo:
        """Its providers, the one first that the strategy would choose. Raises NotFound."""
        providers = self._providers(capability)
        if not providers:
            raise NotFound(
                f"no agent has the capability {capability!r}",
                hint="caxton capabilities list shows those there are",
                details=self._directory.missing(capability),
            )
        chosen = [
            each
            for each in providers
            if (not version or each.version == version) and (include_unhealthy or each.status != "unhealthy")
        ]
        return CapabilityInfo(capability=fold(capability), providers=tuple(sorted(chosen, key=ORDERS[strategy])))

    def health(self, capability: str = "") -> Sequence[CapabilityHealth]:
        """How many of each capability's providers are well."""
        if capability and not self._directory.providers(capability):
            self.get(capability, version="", strategy="priority", include_unhealthy=True)  # says that there is none
        found = []
        for name in [fold(capability)] if capability else self._directory.capabilities():
            providers = self._providers(name)
            well = sum(each.status == "active" for each in providers)
            state = "healthy" if well == len(providers) else "degraded" if well else "unhealthy"
            found.append(CapabilityHealth(capability=name, status=state, providers=len(providers), active=well))
        return found

    def _providers(self, capability: str) -> Sequence[Provider]:
        found = []
        for entry in self._directory.providers(capability):
            info = self._agents.get(entry.name) if self._agents.knows(entry.name) else None
            for service in entry.description.services:
                if fold(service.type) == fold(capability.partition(":")[0]):
                    found.append(self._provider(entry.name, service, info))
        return found

    def _provider(self, name: str, service: Service, info: AgentInfo | None) -> Provider:
        status = "inactive" if info is None else _status_of(info)
        load = 0.0 if info is None else min(1.0, self._agents.waiting(name) / self._queue_size)
        said = service.properties
        priority = (
            said["priority"] if isinstance(said.get("priority"), int) else DEFAULT_PRIORITY
        )  # an agent's own words
        ended = 0 if info is None else info.metrics.messages_processed + info.metrics.messages_failed
        return Provider(
            agent_id=name,
            version=str(said.get("version", DEFAULT_VERSION)),
            priority=priority,
            status=status,
            load_score=round(load, 4),
            response_time_avg=0.0 if info is None else round(info.metrics.average_latency_ms, 4),
            success_rate=info.metrics.messages_processed / ended if info is not None and ended else 1.0,
            routing_score=round(priority * FACTORS.get(status, 0.0) * (1 - load), 4),
            metadata=said["metadata"] if isinstance(said.get("metadata"), dict) else {},
            registration_id=_id_of(name, service.type) if "registered_at" in said else "",
        )


def _status_of(info: AgentInfo) -> str:
    return STATUSES.get(info.status, "inactive")


def _id_of(agent: str, capability: str) -> str:
    return "reg_" + uuid.uuid5(uuid.NAMESPACE_URL, agent + "\0" + fold(capability)).hex


def _registration(agent: str, service: Service) -> Registration:
    said = service.properties
    return Registration(
        agent_id=agent,
        capability=service.type,
        version=said["version"],
        priority=said["priority"],
        metadata=said["metadata"],
        health_check_url=said["health_check_url"],
        registered_at=said["registered_at"],
    )
