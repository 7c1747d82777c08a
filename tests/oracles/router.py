"""What the address book is, in dicts: the specification of `caxton/_fast/router`.

A route is a key with its members, in the order in which they joined. A message goes to the members of one route per
receiver (of several, where patterns of topics match), each port once, in order.

Rule 1: exactly one key is looked up: the address itself; else the address without `@node` when that is this node's
name; else, for `name@platform`, the key `@platform`; else, for `client:<id>`, the key `client:`. A topic is only looked
up as it is.
Rule 2: `topic:` goes to every member of the topic's own route, then of each pattern that matches, as
`core/routing.py` says; who set a filter or acts receives only what they let through.
Rule 3: `broadcast://` goes to every member but the port that sends.
Rule 4: every other key goes to one member. One that accepts comes before one that does not.
Rule 5: without a conversation it is the next member's turn. With one, the choice is a function of the conversation and
of who is there: it is stable while the same members accept; when one goes, only its conversations move; when one
comes, conversations only move to it. Which member it is, is left to the implementation.
Rule 6: a port joins a route once; a second time replaces its filter and acts.
Rule 7: of several receivers, those that lead to nobody are missing; the others are not held back by them.

Because of rule 5, `answers` gives every answer that the rules allow, and `resolve` one of them.
"""

import json
from hashlib import blake2b

import attrs

from caxton._fast.envelope import Envelope
from caxton.core.errors import AgentAlreadyExists, AgentNotFound, InvalidRequest
from caxton.core.routing import MISSING, Filter, check_topic_pattern, topic_matches

MAX_NAME = 256  # bytes
EVERYTHING = Filter()

Answer = tuple[int, ...]


@attrs.define(eq=False)
class Port:
    id: int
    keys: list[str]
    accepting: bool = True


@attrs.define(eq=False)
class Member:
    port: Port
    content_filter: Filter
    acts: int

    def wants(self, envelope: Envelope) -> bool:
        content = MISSING if envelope.content is None else json.loads(envelope.content)
        return (self.acts == 0 or bool(self.acts >> envelope.act & 1)) and self.content_filter.matches(content)


class Router:
    def __init__(self, node: str = "") -> None:
        self.node = node
        self.ports: dict[int, Port] = {}
        self.routes: dict[str, dict[int, Member]] = {}  # key -> port id -> member
        self.opened = 0
        self.turns = 0

    def open_port(self, name: str, *, host: bool = False, replica: bool = False) -> int:
        if not 0 < len(name.encode()) <= MAX_NAME or "\0" in name:
            raise InvalidRequest(f"a port's name has 1 to {MAX_NAME} bytes and no NUL, found {name!r}")
        if self.has(name) and not replica:
            raise AgentAlreadyExists(name)
        self.opened += 1
        self.ports[self.opened] = Port(self.opened, [])
        self._join(self.opened, name)
        return self.opened

    def close_port(self, port_id: int) -> None:
        for key in self._port(port_id).keys:
            self._leave(port_id, key)
        del self.ports[port_id]

    def clear_routes(self, port_id: int) -> None:
        port = self._port(port_id)
        for key in port.keys[1:]:
            self._leave(port_id, key)
        del port.keys[1:]

    def add_capability(self, port_id: int, capability: str) -> None:
        self._join(port_id, f"capability:{capability}")

    def join_group(self, port_id: int, group: str) -> None:
        self._join(port_id, f"broadcast://{group}")

    def subscribe(self, port_id: int, topic: str, content_filter: bytes = b"", acts: int = 0) -> None:
        self._port(port_id)
        check_topic_pattern(topic)
        self._join(port_id, f"topic:{topic}", Filter.parse_json(content_filter.strip()), acts)

    def set_accepting(self, port_id: int, accepting: bool) -> None:
        self._port(port_id).accepting = accepting

    def has(self, address: str) -> bool:
        return address in self.routes

    def keys(self, port_id: int) -> list[str]:
        return list(self._port(port_id).keys)

    def reclaim(self) -> None:
        """Nothing is kept that could be freed."""

    def resolve(self, envelope: Envelope) -> list[int]:
        found: list[int] = []
        for address in envelope.receivers:
            options = self._options(address, envelope)
            found += [port for port in self._pick(options, envelope.conversation_id) if port not in found]
        return found

    def answers(self, envelope: Envelope) -> set[Answer]:
        found: set[Answer] = {()}
        for address in envelope.receivers:
            options = self._options(address, envelope)
            found = {so_far + tuple(p for p in option if p not in so_far) for so_far in found for option in options}
        return found

    def missing(self, envelope: Envelope) -> list[str]:
        """Rule 7."""
        names = envelope.receivers if len(envelope.receivers) > 1 else []
        return [name for name in names if not any(self._options(name, envelope))]

    # -- below: how --

    def _port(self, port_id: int) -> Port:
        try:
            return self.ports[port_id]
        except KeyError:
            raise AgentNotFound(f"port {port_id} is not open") from None

    def _join(self, port_id: int, key: str, content_filter: Filter = EVERYTHING, acts: int = 0) -> None:
        port = self._port(port_id)
        self.routes.setdefault(key, {})[port_id] = Member(port, content_filter, acts)
        if key not in port.keys:
            port.keys.append(key)

    def _leave(self, port_id: int, key: str) -> None:
        del self.routes[key][port_id]
        if not self.routes[key]:
            del self.routes[key]

    def _key_of(self, address: str) -> str:
        if address in self.routes:
            return address
        at = f"@{self.node}"
        if self.node and address.endswith(at) and address != at and address.removesuffix(at) in self.routes:
            return address.removesuffix(at)
        local, _, platform = address.rpartition("@")
        if local and f"@{platform}" in self.routes:
            return f"@{platform}"
        return "client:" if address.startswith("client:") else address

    def _options(self, address: str, envelope: Envelope) -> list[Answer]:
        """The answers that one receiver may give; every option is made of the same route."""
        if address.startswith("topic:"):
            matching = [address] if "*" not in address else []
            matching += [key for key in self.routes if _is_pattern(key) and topic_matches(key[6:], address[6:])]
            members = [m for key in matching for m in self.routes.get(key, {}).values() if m.wants(envelope)]
            return [tuple(dict.fromkeys(member.port.id for member in members))]
        members = list(self.routes.get(self._key_of(address), {}).values())
        if address.startswith("broadcast://"):
            return [tuple(member.port.id for member in members)]
        accepting = [member.port.id for member in members if member.port.accepting]
        return [(port,) for port in accepting or [member.port.id for member in members]] or [()]

    def _pick(self, options: list[Answer], conversation: str | None) -> Answer:
        if conversation is None:
            self.turns += 1
            return options[self.turns % len(options)]
        return max(options, key=lambda option: blake2b(f"{conversation} {option}".encode()).digest())


def _is_pattern(key: str) -> bool:
    return key.startswith("topic:") and "*" in key
