"""The directory: descriptions of agents with leases, found by templates, and told to subscribers when they change.

    directory.put(name, "registered", description, until, now)      changes to take: [Change, ...]
    directory.search(template, now, limit=..., after=...)           Found(entries, truncated, cursor)
    directory.tick(now)                                             what ran out; after it next_deadline() > now

Rule 1: an agent's entry is made of parts by where they come from: `declared` (its manifest and its module; the runtime
        renews it while the agent lives), `registered` (its own message) and `operator` (REST). Each has its own lease;
        the entry is what the parts say together, and is gone with the last of them.
Rule 2: an index has the entries by name, service, type, protocol, ontology and language. A search takes the smallest
        set that its template names, and looks at nothing else.
Rule 3: `now` is wall clock time, in seconds since the epoch: leases are told to others, and survive a restart.
Rule 4: results are in the order of first registration; the number of the last one is the cursor to go on from.
"""

import heapq
from collections.abc import Iterator, Sequence
from math import inf
from typing import Literal

import attrs

from caxton.core.directory.descriptions import Description, fold, keys_of, matches, merged

Part = Literal["declared", "registered", "operator"]
What = Literal["registered", "modified", "removed"]
PARTS: tuple[Part, ...] = ("declared", "registered", "operator")


@attrs.frozen
class Change:
    """What became of one agent's entry."""

    what: What
    name: str
    description: Description  # as it is now; of one that is gone, as it was
    before: Description | None  # as it was


@attrs.define(eq=False)
class Entry:
    """One agent."""

    name: str
    number: int  # order of first registration
    parts: dict[Part, tuple[Description, float]] = attrs.field(factory=dict)  # with the end of its lease
    description: Description = attrs.field(factory=Description)
    until: float = 0.0
    keys: set[tuple[str, str]] = attrs.field(factory=set)


@attrs.frozen
class Found:
    entries: tuple[Entry, ...]
    truncated: bool
    cursor: int  # of the last entry; search again after it


@attrs.define(eq=False)
class Directory:
    _entries: dict[str, Entry] = attrs.field(factory=dict)
    _by_key: dict[tuple[str, str], dict[int, Entry]] = attrs.field(factory=dict)
    _by_number: dict[int, Entry] = attrs.field(factory=dict)
    _leases: list[tuple[float, str, Part]] = attrs.field(factory=list)  # a heap; renewed ones stand there twice
    _next: int = 1

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: str, now: float) -> Entry | None:
        entry = self._entries.get(name)
        return entry if entry is not None and entry.until > now else None

    def part(self, name: str, part: Part, now: float) -> tuple[Description, float] | None:
        """What this part says, and until when; None: nothing, or its lease has ended."""
        entry = self._entries.get(name)
        found = None if entry is None else entry.parts.get(part)
        return found if found is not None and found[1] > now else None

    # -- changes --

    def put(self, name: str, part: Part, description: Description, until: float, now: float) -> list[Change]:
        """This part says this from now on."""
        entry = self._entries.get(name)
        if entry is None:
            entry = self._entries[name] = Entry(name, self._next)
            self._by_number[entry.number] = entry
            self._next += 1
        entry.parts[part] = description, until
        self._arm(until, name, part)
        return self._settle(entry, now)

    def renew(self, name: str, part: Part, until: float) -> bool:
        """The part stays as it is, until then; False: there is none, or it ran out."""
        entry = self._entries.get(name)
        if entry is None or part not in entry.parts:
            return False
        description, end = entry.parts[part]
        entry.parts[part] = description, until
        if until < end:
            self._arm(until, name, part)
        # else what stands in the heap is earlier, and is put back when its time comes
        entry.until = max(end for _, end in entry.parts.values())
        return True

    def remove(self, name: str, part: Part, now: float) -> list[Change]:
        entry = self._entries.get(name)
        if entry is None or entry.parts.pop(part, None) is None:
            return []
        return self._settle(entry, now)

    def forget(self, name: str, now: float) -> list[Change]:
        """The agent is gone."""
        entry = self._entries.get(name)
        if entry is None:
            return []
        entry.parts.clear()
        return self._settle(entry, now)

    def tick(self, now: float) -> list[Change]:
        """Take out what has run out."""
        changes: list[Change] = []
        while self._leases and self._leases[0][0] <= now:
            _, name, part = heapq.heappop(self._leases)
            entry = self._entries.get(name)
            held = None if entry is None else entry.parts.get(part)
            if entry is None or held is None:
                continue
            if held[1] <= now:
                del entry.parts[part]
                changes += self._settle(entry, now)
            elif held[1] < inf:
                heapq.heappush(self._leases, (held[1], name, part))
        return changes

    def _arm(self, until: float, name: str, part: Part) -> None:
        if until < inf:
            heapq.heappush(self._leases, (until, name, part))
        if len(self._leases) > 64 + 8 * len(self._entries):  # somebody changes its lease again and again
            self._leases = [
                (end, entry.name, part)
                for entry in self._entries.values()
                for part, (_, end) in entry.parts.items()
                if end < inf
            ]
            heapq.heapify(self._leases)

    def next_deadline(self) -> float:
        return self._leases[0][0] if self._leases else inf

    def _settle(self, entry: Entry, now: float) -> list[Change]:
        """Make the entry what its parts say, and the index what the entry says."""
        before = entry.description if entry.keys else None
        if not entry.parts:
            self._unindex(entry, entry.keys)
            del self._entries[entry.name], self._by_number[entry.number]
            return [] if before is None else [Change("removed", entry.name, before, before)]
        parts = [entry.parts[part][0] for part in PARTS if part in entry.parts]
        entry.description = merged(entry.name, parts)
        entry.until = max(end for _, end in entry.parts.values())
        keys = keys_of(entry.description)
        self._unindex(entry, entry.keys - keys)
        for key in keys - entry.keys:
            self._by_key.setdefault(key, {})[entry.number] = entry
        entry.keys = keys
        if before is None:
            return [Change("registered", entry.name, entry.description, None)]
        return [] if before == entry.description else [Change("modified", entry.name, entry.description, before)]

    def _unindex(self, entry: Entry, keys: set[tuple[str, str]]) -> None:
        for key in keys:
            held = self._by_key[key]
            del held[entry.number]
            if not held:
                del self._by_key[key]

    # -- questions --

    def search(self, template: Description, now: float, *, limit: int, after: int = 0) -> Found:
        """The first *limit* entries after that number whose description matches."""
        found: list[Entry] = []
        for entry in self._candidates(template, after):
            if entry.until > now and matches(template, entry.description):
                if len(found) == limit:
                    return Found(tuple(found), True, found[-1].number if found else after)
                found.append(entry)
        return Found(tuple(found), False, found[-1].number if found else after)

    def _candidates(self, template: Description, after: int) -> Iterator[Entry]:
        smallest = self._by_number
        for key in keys_of(template):
            held = self._by_key.get(key)
            if held is None:
                return
            if len(held) < len(smallest):
                smallest = held
        for number in sorted(smallest):  # nearly sorted already, and that is what sorts fast
            if number > after:
                yield smallest[number]

    def providers(self, capability: str, now: float) -> list[Entry]:
        """Agents with a service of this type, in the order of registration."""
        held = self._by_key.get(("type", fold(capability)), {})
        return [held[number] for number in sorted(held) if held[number].until > now]

    def capabilities(self, now: float) -> dict[str, int]:
        """Every type of service, and how many agents have one."""
        counts: dict[str, int] = {}
        nothing_ran_out = self.next_deadline() > now  # as after each tick; then nobody need be looked at
        for (kind, name), held in self._by_key.items():
            if kind != "type":
                continue
            count = len(held) if nothing_ran_out else sum(entry.until > now for entry in held.values())
            if count:
                counts[name] = count
        return dict(sorted(counts.items()))

    def related(self, capability: str, now: float, *, limit: int = 5) -> Sequence[tuple[str, int]]:
        """Capabilities like this one, the most alike first, and how many agents have each."""
        return [(name, count) for _, name, count in sorted(self._alike(fold(capability), now))[:limit]]

    def _alike(self, wanted: str, now: float) -> Iterator[tuple[float, str, int]]:
        """Those that share a word, or begin alike; the better the lower the number."""
        words = _words(wanted)
        for name, count in self.capabilities(now).items():
            shared = len(words & _words(name))
            if shared:
                yield -shared / len(words | _words(name)), name, count
            elif len(wanted) > 3 and name[:4] == wanted[:4]:
                yield 0.0, name, count


def _words(name: str) -> set[str]:
    return {word for word in name.replace(".", "-").replace(":", "-").split("-") if word}
