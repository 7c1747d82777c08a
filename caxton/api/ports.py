"""The node as the API sees it: everything this room asks of the floors below.

`caxton.node.Node` fits these Protocols; so does the little node in `tests/api/`. What cannot wait is not async: posting
a message takes a place in a mailbox or raises. Every method raises members of the tree in `core/errors.py`, no others.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import trio

from caxton.core.conversations import Conversation, ConversationPage, TrackerStatistics
from caxton.core.directory.descriptions import Constraints, Description
from caxton.core.errors import CaxtonError
from caxton.core.manifest import AgentConfig
from caxton.core.views import (
    AgentInfo,
    BreakerInfo,
    CapabilityHealth,
    CapabilityInfo,
    DeadLetterFilter,
    DeadLetterInfo,
    EdgeLimits,
    Event,
    EventFilter,
    LogLine,
    MessageRecord,
    MessageState,
    Profile,
    Receipt,
    Registration,
    Retried,
    ToolServerInfo,
)


class Message(Protocol):
    """A message that left a mailbox; `caxton._fast.envelope.Envelope` in truth."""

    def to_json(self) -> bytes: ...


class Agents(Protocol):
    async def deploy(self, wasm: bytes, config: AgentConfig) -> AgentInfo:
        """Check, compile, store and start a module. Raises InvalidWasm, AgentAlreadyExists, DeploymentFailed."""

    async def attach(self, config: AgentConfig) -> AgentInfo:
        """Make the mailbox of an agent that lives outside and comes by `Bus.stream`. Raises AgentAlreadyExists."""

    def list(self, status: str | None, limit: int, offset: int) -> tuple[list[AgentInfo], int]:
        """One page, ordered by name, and how many there are in all."""

    def get(self, name: str) -> AgentInfo:
        """Raises AgentNotFound."""

    async def update(self, name: str, wasm: bytes | None, config: AgentConfig | None) -> AgentInfo: ...
    async def start(self, name: str) -> AgentInfo: ...
    async def stop(self, name: str, grace: float, drain: bool) -> AgentInfo: ...
    async def delete(self, name: str) -> AgentInfo: ...
    async def inspect(self, name: str) -> dict[str, Any]: ...
    def logs(self, agents: Sequence[str], since: float | None, limit: int) -> Sequence[LogLine]: ...


class Stream(Protocol):
    """The outside end of one attached agent's mailbox."""

    async def receive(self, max_messages: int) -> Sequence[Message]:
        """At least one message, at most *max_messages*.

        Raises AgentNotFound when the agent is deleted, InvalidTransition when another attachment took over.
        """

    def ack(self, message_ids: Sequence[str]) -> None:
        """These were handled; what is not acknowledged is delivered again to the next attachment."""

    async def receipt(self) -> MessageState:
        """The next message of this attachment that has ended, when it was opened with *receipts*."""

    def send(self, messages: Sequence[bytes]) -> Sequence[Receipt | CaxtonError]:
        """Post each; the sender is always the attached agent."""


class Bus(Protocol):
    def post(self, data: bytes, *, sender: str | None = None, traceparent: str = "") -> Receipt:
        """*traceparent*: the trace that the caller is in; what is none is as if there were none."""

    def post_many(self, lines: Sequence[bytes], traceparent: str = "") -> Sequence[Receipt | CaxtonError]:
        """One outcome per line, in order."""

    async def settle(self, outcomes: Sequence[Receipt | CaxtonError]) -> Sequence[Receipt | CaxtonError]:
        """The same when what was posted is on the disk, as far as it has to be."""

    async def request(self, data: bytes, *, timeout: float, traceparent: str = "") -> Message:  # noqa: ASYNC109 (the bus waits)
        """Post as `client:<id>` and wait for the answer. Raises ReplyTimeout."""

    def validate(self, data: bytes) -> Message:
        """What `post` would accept, without posting. Raises InvalidMessage, MessageTooLarge."""

    def history(self, conversation_id: str | None, after: int, limit: int) -> tuple[Sequence[MessageRecord], int]:
        """Records with a sequence above *after*, oldest first, and the cursor for the next page."""

    def tap(
        self, capacity: int = 64, filter: EventFilter | None = None
    ) -> AbstractContextManager[trio.MemoryReceiveChannel[Event]]:
        """Watch events from here on; a slow watcher misses events."""

    def events_since(self, last_id: int) -> Sequence[Event]:
        """What the bounded ring still holds after *last_id*."""

    def receipt(self, message_id: str) -> MessageState:
        """What became of the message. Raises InvalidRequest, NotFound."""

    def stream(
        self, name: str, *, takeover: bool = False, receipts: bool = False
    ) -> AbstractAsyncContextManager[Stream]:
        """Attach. Raises AgentNotFound, or InvalidTransition: a wasm agent, or attached already and not *takeover*."""


class Backup(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def created_at(self) -> float: ...


class Backups(Protocol):
    async def create(self, name: str = "") -> Backup:
        """Make one. Raises InvalidRequest for a bad name, InvalidTransition for a taken one and while one is made."""

    async def list(self) -> Sequence[Backup]: ...
    async def delete(self, name: str) -> None:
        """Raises NotFound."""

    def find(self, name: str) -> Path:
        """Where it lies. Raises NotFound."""


class DeadLetters(Protocol):
    """Every method that takes a filter raises InvalidRequest for a reason that there is not."""

    async def list(self, which: DeadLetterFilter, *, before: int, limit: int) -> tuple[Sequence[DeadLetterInfo], int]:
        """One page, the newest first, and how many there are in all. *before*: the id where the last page ended."""

    def export(self, which: DeadLetterFilter) -> AsyncGenerator[Sequence[DeadLetterInfo], None]:
        """Pages, the oldest first, with the messages."""

    async def get(self, letter_id: int) -> DeadLetterInfo:
        """One, with its message. Raises NotFound."""

    async def retry(self, letter_id: int) -> Receipt:
        """Post its message again, then forget it. Raises NotFound, and what `Bus.post` raises: then it stays."""

    async def retry_all(self, which: DeadLetterFilter) -> Retried: ...
    async def remove(self, letter_id: int) -> None:
        """Raises NotFound."""

    async def purge(self, which: DeadLetterFilter) -> int:
        """How many were forgotten."""


class Tasks(Protocol):
    """Contract nets and auctions. Any: JSON; times in it are seconds since the epoch."""

    async def create(self, body: bytes) -> dict[str, Any]:
        """Take in what a client describes. Raises InvalidRequest, ResourceLimitExceeded."""

    async def distribute(self, task_id: str, changes: Mapping[str, Any], *, wait: float) -> dict[str, Any]:
        """Call for proposals, and wait for the award. Raises NotFound, InvalidTransition, InvalidRequest."""

    async def list(self, status: str, limit: int, offset: int) -> tuple[Sequence[dict[str, Any]], int]:
        """One page, the newest first, and how many there are. Raises InvalidRequest for no status."""

    async def get(self, task_id: str) -> dict[str, Any]:
        """Raises NotFound."""

    async def cancel(self, task_id: str, reason: str) -> dict[str, Any]:
        """Raises NotFound, InvalidTransition."""


class Home(Protocol):
    """This platform as others know it."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...


class Gateway(Protocol):
    """The door to other agent platforms."""

    @property
    def home(self) -> Home: ...
    @property
    def max_request_size(self) -> int: ...
    async def receive(self, content_type: str, body: bytes, peer: str) -> None:
        """One request of FIPA's HTTP transport. Raises RejectedError, UnavailableError."""

    def list(self) -> list[dict[str, Any]]:
        """The platforms that are known. Any: JSON."""

    async def forget(self, name: str) -> None:
        """A platform that was learned. Raises NotFound."""


class Capabilities(Protocol):
    async def register(self, asked: Registration) -> Registration:
        """Raises AgentNotFound, AgentAlreadyExists."""

    async def change(self, registration_id: str, changes: Mapping[str, Any]) -> Registration:
        """Raises NotFound."""

    async def remove(self, agent: str, capability: str) -> None:
        """Raises AgentNotFound, NotFound."""

    def list(self, capability: str, agent: str, status: str, version: str) -> Sequence[CapabilityInfo]:
        """By name; an empty text restricts nothing."""

    def get(self, capability: str, *, version: str, strategy: str, include_unhealthy: bool) -> CapabilityInfo:
        """Raises NotFound."""

    def health(self, capability: str = "") -> Sequence[CapabilityHealth]:
        """Of all, or of one. Raises NotFound."""


class DirectoryEntry(Protocol):
    @property
    def description(self) -> Description: ...
    @property
    def until(self) -> float: ...


class Directory(Protocol):
    def search(self, template: Description, constraints: Constraints) -> tuple[Sequence[DirectoryEntry], bool, int]:
        """What matches, whether there is more, and the cursor to go on from."""


class Conversations(Protocol):
    def get(self, conversation_id: str) -> tuple[Conversation, bool]:
        """How it stands, and whether that was made again from remembered messages. Raises NotFound."""

    def page(
        self, which: Mapping[str, str], *, is_open: bool | None, before: int, limit: int
    ) -> tuple[ConversationPage, TrackerStatistics]:
        """The newest first; *which* may have protocol, state, participant and parent."""

    def cancel(self, conversation_id: str, reason: str) -> Mapping[str, str]:
        """Send `cancel` in the initiator's place; by name what became of it. Raises NotFound, InvalidTransition."""


class Settings(Protocol):
    """The configuration of a running node. Any: JSON, and what the store keeps of a change."""

    def describe(self) -> Mapping[str, Any]:
        """All values, who said them, and what waits for a restart."""

    def of_agent(self, name: str) -> Mapping[str, Any]:
        """What may be changed of an agent while it runs, as it holds. Raises AgentNotFound."""

    async def versions(self, limit: int) -> Sequence[Any]:
        """Changes, the newest first."""

    async def set(self, changes: Mapping[str, Any], *, who: str, agent: str = "") -> Any:
        """All of them or none. Raises InvalidConfig, AgentNotFound, StoreError."""

    async def rollback(self, to: int | None, *, who: str) -> Any:
        """As after version *to*, or before the last change. Raises InvalidRequest."""

    async def reload(self, *, who: str) -> Any:
        """Read files again. Raises InvalidConfig."""


class SigningKeys(Protocol):
    """Any: JSON."""

    def list(self) -> dict[str, Any]: ...
    def get(self, agent: str) -> dict[str, Any]:
        """Raises NotFound."""

    async def put(self, agent: str, public_key: str) -> dict[str, Any]:
        """Raises InvalidRequest, NotFound, InvalidTransition."""

    async def remove(self, agent: str) -> None:
        """Raises NotFound, InvalidTransition."""


class FailedDelivery(Protocol):
    """An event that a webhook did not take."""

    @property
    def id(self) -> int: ...
    @property
    def delivery(self) -> str: ...
    @property
    def event(self) -> str: ...
    @property
    def at(self) -> float: ...
    @property
    def attempts(self) -> int: ...
    @property
    def gave_up(self) -> float | None: ...
    @property
    def reason(self) -> str: ...
    @property
    def body(self) -> bytes: ...


class Webhooks(Protocol):
    async def list(self) -> dict[str, Any]:
        """Endpoints with what waits and what was given up; times are seconds since the epoch. Any: JSON."""

    async def failed(self, endpoint: str, before: int, limit: int) -> Sequence[FailedDelivery]:
        """What was given up, the newest first. Raises NotFound."""

    async def again(self, endpoint: str, deliveries: Sequence[str]) -> int:
        """Send what was given up once more, all of it when none is named; how many. Raises NotFound."""

    async def purge(self, endpoint: str, deliveries: Sequence[str], *, waiting: bool) -> int:
        """Forget what was given up, and what waits as well; how many. Raises NotFound."""


class Requests(Protocol):
    """Where requests are counted; telemetry/instruments.py."""

    limited: Counter[str]  # refused for being too many, by kind

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """One has ended. *route* empty: none of ours; *status* 0: who asked left before the answer."""


class Meter(Protocol):
    """Metrics; node/meter.py."""

    @property
    def is_on(self) -> bool: ...
    @property
    def requests(self) -> Requests | None:
        """None: metrics are off, and nothing is to be counted."""

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """What Prometheus reads, and its type. Raises NotFound while metrics are off."""

    async def wait_is(self, on: bool) -> None:
        """Until metrics are on, or off."""


class Tools(Protocol):
    @property
    def is_enabled(self) -> bool: ...
    def list(self) -> tuple[Sequence[ToolServerInfo], Sequence[BreakerInfo]]: ...
    async def call(self, name: str, arguments: dict[str, Any], timeout_ms: float = 0) -> Any:
        """MCP's content and structured content. Raises NotFound, ToolFailed, ToolServerFailed, ToolUnavailable."""


class Node(Protocol):
    @property
    def tools(self) -> Tools: ...
    @property
    def capabilities(self) -> Capabilities: ...
    @property
    def directory(self) -> Directory: ...
    @property
    def conversations(self) -> Conversations: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def signing_keys(self) -> SigningKeys: ...
    @property
    def webhooks(self) -> Webhooks: ...
    @property
    def meter(self) -> Meter: ...
    @property
    def tasks(self) -> Tasks: ...
    @property
    def gateway(self) -> Gateway | None: ...
    @property
    def dead_letters(self) -> DeadLetters: ...
    @property
    def backups(self) -> Backups: ...
    @property
    def agents(self) -> Agents: ...
    @property
    def bus(self) -> Bus: ...
    @property
    def limits(self) -> EdgeLimits: ...
    def health(self) -> Mapping[str, Any]: ...
    def ready(self) -> tuple[bool, Mapping[str, Any]]: ...
    def metrics_system(self, fields: set[str]) -> Mapping[str, Any]:
        """The groups named (all of them when empty) of agents, messages, resources, performance."""

    async def profile(self, seconds: float, top: int) -> Profile:
        """Look for so long at what the scheduler does. Raises InvalidTransition while another profile runs."""
