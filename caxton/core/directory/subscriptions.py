"""Who wants to know what changes in the directory.

Rule 1: a subscription is one conversation of one subscriber, so that two agents that chose the same conversation id
        have one each.
Rule 2: what a subscriber is told is what changed for its template: an agent that no longer matches is `removed` for it,
        though it is still there.
"""

from collections.abc import Iterator
from typing import Literal

import attrs

from caxton.core.directory.descriptions import Description, matches
from caxton.core.directory.directory import Change

MAX_SUBSCRIPTIONS = 1000
Key = tuple[str, str]  # the subscriber and its conversation
News = Literal["registered", "modified", "removed"]


@attrs.frozen
class Subscription:
    subscriber: str
    conversation_id: str
    template: Description
    reply_with: str = ""
    receivers: tuple[str, ...] = ()  # to whom news goes
    ontology: str = ""

    @property
    def key(self) -> Key:
        return self.subscriber, self.conversation_id


@attrs.define(eq=False)
class Subscriptions:
    _held: dict[Key, Subscription] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(list(self._held.values()))

    def add(self, subscription: Subscription) -> None:
        self._held[subscription.key] = subscription

    def remove(self, key: Key) -> Subscription | None:
        return self._held.pop(key, None)

    def of(self, subscriber: str) -> list[Subscription]:
        return [each for each in self._held.values() if each.subscriber == subscriber]

    def told_of(self, change: Change) -> Iterator[tuple[Subscription, News]]:
        """Who is to be told of the change, and as what."""
        for each in list(self._held.values()):
            had = change.before is not None and matches(each.template, change.before)
            has = change.what != "removed" and matches(each.template, change.description)
            if has:
                yield each, "modified" if had else "registered"
            elif had:
                yield each, "removed"
