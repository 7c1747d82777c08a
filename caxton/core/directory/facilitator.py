"""The directory facilitator: what `df` does with a message, without sending any.

    outcome = facilitator.receive(mail, now)      answers for the sender; `news` and `unsaved` for whoever runs it
    facilitator.tick(now)                         leases end

Rule 1: an agent changes its own entry only; its sender is who the platform says it is.
Rule 2: a registration without lease_time lasts while the agent lives (`renew`); with one it ends then, at the latest
        after `max_lease`.
Rule 3: there is no federation: a search looks here only, says so when it was asked to go deeper, and drops a search id
        that it has seen.
Rule 4: a message that comes a second time (after a crash, with its message_id) is answered as the first time.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any

import attrs
import msgspec

from caxton.core.answer import Answer, Unanswered
from caxton.core.decoding import UNREADABLE
from caxton.core.directory.descriptions import (
    Constraints,
    Description,
    check_complete,
    read_constraints,
    read_description,
)
from caxton.core.directory.directory import Change, Directory, Entry, Part
from caxton.core.directory.requests import Asked, Mail, check_mail, need_description, read_request
from caxton.core.directory.subscriptions import MAX_SUBSCRIPTIONS, News, Subscription, Subscriptions

ACTS = ("request", "subscribe", "cancel")
PROTOCOLS = ("fipa-request", "fipa-subscribe")
ACTIONS = ("register", "deregister", "modify", "search")
SEARCH_IDS = 10_000  # that are remembered
GONE = 10_000  # agents whose deregistration is remembered, until they register anew
PAGE = 1000  # entries of one answer at most


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What must survive a restart: a part of an entry, or a subscription. Without body: it is gone."""

    kind: str  # a Part, `subscription`, or `gone`: which message deregistered the agent
    name: str  # the agent
    conversation: str = ""
    body: bytes = b""


class Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of a part's row."""

    description: Description
    until: float | None = None  # None: while the agent lives
    message_id: str = ""


@attrs.frozen
class Limits:
    lease: float = 60.0  # of what is renewed while the agent lives
    max_lease: float = 30 * 86_400.0
    results: int = 100  # of a search that does not say
    answer_bytes: int = 1 << 19


_subscription = msgspec.json.Decoder(dict[str, Any])  # Any: see _subscription_of


@attrs.define(eq=False)
class Facilitator:
    limits: Limits = attrs.field(factory=Limits)
    directory: Directory = attrs.field(factory=Directory)
    subscriptions: Subscriptions = attrs.field(factory=Subscriptions)
    news: list[tuple[Subscription, News, Description]] = attrs.field(factory=list)  # to be told
    changes: list[Change] = attrs.field(factory=list)  # the same, for whoever watches
    unsaved: list[Row] = attrs.field(factory=list)  # to be written before anybody is told
    _renewed: set[str] = attrs.field(factory=set)  # agents whose registration lasts while they live
    _by_message: dict[str, str] = attrs.field(factory=dict)  # which message registered the agent
    _gone: dict[str, str] = attrs.field(factory=dict)  # which message deregistered the agent, the oldest first
    _searches: dict[str, str] = attrs.field(factory=dict)  # search id to the message that brought it

    # -- messages --

    def receive(self, mail: Mail, now: float) -> list[Answer]:
        """Raises Unanswered."""
        check_mail(mail, acts=ACTS, protocols=PROTOCOLS)
        self.tick(now)
        if mail.performative == "subscribe":
            return self._subscribe(mail, now)
        if mail.performative == "cancel":
            return self._cancel(mail)
        asked = read_request(mail.content, ACTIONS)
        if asked.action == "search":
            return [Answer("inform", self.search(asked, mail.message_id, now))]
        description = read_description(need_description(asked), action=asked.content)
        if asked.action == "deregister" and not description.name:
            raise Unanswered(
                "missing-parameter",
                "whom to deregister: name",
                action=asked.content,
                object="df-agent-description",
                parameter="name",
            )
        if asked.action != "deregister":
            check_complete(description, action=asked.content)
        if description.name != mail.sender:
            raise Unanswered(
                "unauthorised",
                f"{mail.sender!r} cannot change what {description.name!r} says of itself",
                action=asked.content,
            )
        if asked.action == "deregister":
            return [self._deregister(asked, description, mail.message_id, now)]
        return [self._register(asked, description, mail.message_id, now)]

    def _register(self, asked: Asked, description: Description, message_id: str, now: float) -> Answer:
        name = description.name
        is_new = self.directory.part(name, "registered", now) is None
        if asked.action == "register" and not is_new and self._by_message.get(name) != message_id:
            raise Unanswered(
                "already-registered", f"{name!r} is registered; modify it, or deregister it first", action=asked.content
            )
        if asked.action == "modify" and is_new:
            raise Unanswered("not-registered", f"{name!r} is not registered", action=asked.content)
        until = self._lease_end(description, now, asked)
        granted = self.put(name, "registered", description, until, now, message_id)
        return Answer(
            "inform", {"done": asked.action, "description": as_told(granted, until or now + self.limits.lease)}
        )

    def _deregister(self, asked: Asked, description: Description, message_id: str, now: float) -> Answer:
        name = description.name
        if self.directory.part(name, "registered", now) is not None:
            self.remove(name, "registered", now)
            self._gone[name] = message_id
            self.unsaved.append(Row(kind="gone", name=name, body=message_id.encode()))
            if len(self._gone) > GONE:
                self._forget_gone(next(iter(self._gone)))
        elif self._gone.get(name) != message_id:
            raise Unanswered("not-registered", f"{name!r} is not registered", action=asked.content)
        return Answer("inform", {"done": "deregister", "description": {"name": name}})

    def search(self, asked: Asked, message_id: str, now: float) -> dict[str, Any]:
        """The content of the answer. Raises Unanswered."""
        template = read_description(asked.description, action=asked.content)
        constraints = read_constraints(asked.constraints, action=asked.content)
        self._note_search(constraints, message_id, asked)
        found, truncated, cursor = self.find(template, constraints, now)
        content: dict[str, Any] = {"result": [as_told(each.description, each.until) for each in found]}
        content["truncated"] = truncated
        if truncated:
            content["cursor"] = cursor
        if constraints.max_depth > 0:
            content["searched_depth"] = 0
            content["text"] = "this directory has no federation: only agents of this node were looked at"
        return content

    def find(self, template: Description, constraints: Constraints, now: float) -> tuple[list[Entry], bool, int]:
        """Entries, whether there are more, and where to go on."""
        asked_for = self.limits.results if constraints.max_results is None else constraints.max_results
        limit = PAGE if asked_for < 0 else min(asked_for, PAGE)
        found = self.directory.search(template, now, limit=limit, after=constraints.cursor)
        room = self.limits.answer_bytes
        taken: list[Entry] = []
        for entry in found.entries:
            room -= len(msgspec.json.encode(entry.description)) + 64
            if room < 0 and taken:
                return taken, True, taken[-1].number
            taken.append(entry)
        return taken, found.truncated, found.cursor

    def _note_search(self, constraints: Constraints, message_id: str, asked: Asked) -> None:
        search_id = constraints.search_id
        if not search_id:
            return
        if self._searches.get(search_id, message_id) != message_id:
            raise Unanswered("internal-error", f"the search {search_id!r} was answered already", action=asked.content)
        self._searches[search_id] = message_id
        if len(self._searches) > SEARCH_IDS:
            del self._searches[next(iter(self._searches))]

    # -- subscriptions --

    def _subscribe(self, mail: Mail, now: float) -> list[Answer]:
        content = mail.content
        if not mail.conversation_id:
            raise Unanswered("missing-parameter", "a subscription needs a conversation_id", parameter="conversation_id")
        asked = read_request(content, ("search",)) if b'"action"' in content else _query(content)
        template = read_description(asked.description, action=asked.content)
        constraints = read_constraints(asked.constraints, action=asked.content)
        key = mail.sender, mail.conversation_id
        if len(self.subscriptions) >= MAX_SUBSCRIPTIONS and self.subscriptions.remove(key) is None:
            raise Unanswered(
                "unsupported-function", f"there are {MAX_SUBSCRIPTIONS} subscriptions already", action=asked.content
            )
        subscription = Subscription(
            mail.sender, mail.conversation_id, template, mail.reply_with, mail.reply_to or (mail.sender,), mail.ontology
        )
        self.subscriptions.add(subscription)
        body = msgspec.json.encode(attrs.asdict(subscription, recurse=False) | {"template": template})
        self.unsaved.append(Row(kind="subscription", name=mail.sender, conversation=mail.conversation_id, body=body))
        answers = [Answer("agree", {"action": asked.content})]
        found, truncated, _ = self.find(template, constraints, now)
        told = [as_told(each.description, each.until) for each in found]
        answers.append(Answer("inform", {"change": "current", "result": told, "truncated": truncated}))
        return answers

    def _cancel(self, mail: Mail) -> list[Answer]:
        if self.end_subscription((mail.sender, mail.conversation_id)):
            return [Answer("inform", {"done": "cancel"})]
        raise Unanswered("unexpected-act", "there is no subscription of yours in this conversation", act="cancel")

    def end_subscription(self, key: tuple[str, str]) -> bool:
        if self.subscriptions.remove(key) is None:
            return False
        self.unsaved.append(Row(kind="subscription", name=key[0], conversation=key[1]))
        return True

    # -- what the platform says of agents --

    def declare(self, name: str, description: Description, now: float) -> None:
        """The agent lives, and its manifest and module say this."""
        self._note(self.directory.put(name, "declared", description, now + self.limits.lease, now))

    def renew(self, names: Iterable[str], now: float) -> None:
        """These agents live."""
        until = now + self.limits.lease
        for name in names:
            self.directory.renew(name, "declared", until)
            if name in self._renewed:
                self.directory.renew(name, "registered", until)

    def put(
        self, name: str, part: Part, description: Description, until: float | None, now: float, message_id: str = ""
    ) -> Description:
        """Keep what an agent or an operator says; *until* None: while the agent lives."""
        description = msgspec.structs.replace(description, name=name, lease_time=None)
        if until is None:
            self._renewed.add(name)
        elif part == "registered":
            self._renewed.discard(name)
        if part == "registered":
            self._by_message[name] = message_id
            self._forget_gone(name)
        end = inf if part == "operator" else now + self.limits.lease if until is None else until
        self._note(self.directory.put(name, part, description, end, now))
        body = msgspec.json.encode(Kept(description=description, until=until, message_id=message_id))
        self.unsaved.append(Row(kind=part, name=name, body=body))
        return description

    def remove(self, name: str, part: Part, now: float) -> None:
        self._note(self.directory.remove(name, part, now))
        if part != "declared":
            self.unsaved.append(Row(kind=part, name=name))
        if part == "registered":
            self._renewed.discard(name)
            self._by_message.pop(name, None)

    def _forget_gone(self, name: str) -> None:
        if self._gone.pop(name, None) is not None:
            self.unsaved.append(Row(kind="gone", name=name))

    def forget(self, name: str, now: float) -> None:
        """The agent was deleted."""
        self._forget_gone(name)
        self._note(self.directory.forget(name, now))
        self._renewed.discard(name)
        self._by_message.pop(name, None)
        self.unsaved += (Row(kind="registered", name=name), Row(kind="operator", name=name))
        for subscription in self.subscriptions.of(name):
            self.end_subscription(subscription.key)

    def tick(self, now: float) -> None:
        """Leases end."""
        changes = self.directory.tick(now)
        for change in changes:
            if self.directory.part(change.name, "registered", now) is None and change.name in self._by_message:
                del self._by_message[change.name]
                self._renewed.discard(change.name)
                self.unsaved.append(Row(kind="registered", name=change.name))
        self._note(changes)

    def restore(self, rows: Iterable[Row], now: float) -> None:
        """What an earlier process kept; what has run out meanwhile does not come back."""
        for row in rows:
            if row.kind == "subscription":
                self.subscriptions.add(_subscription_of(row.body))
                continue
            if row.kind == "gone":
                self._gone[row.name] = row.body.decode()
                continue
            kept = msgspec.json.decode(row.body, type=Kept)
            if kept.until is not None and kept.until <= now:
                self.unsaved.append(Row(kind=row.kind, name=row.name))
                continue
            part: Part = "operator" if row.kind == "operator" else "registered"
            end = inf if part == "operator" else kept.until or now + self.limits.lease
            if part == "registered":
                self._by_message[row.name] = kept.message_id
                if kept.until is None:
                    self._renewed.add(row.name)
            self.directory.put(row.name, part, kept.description, end, now)

    def _note(self, changes: Sequence[Change]) -> None:
        self.changes += changes
        for change in changes:
            self.news += [(to, what, change.description) for to, what in self.subscriptions.told_of(change)]

    def take_news(self) -> list[tuple[Subscription, News, Description]]:
        news, self.news = self.news, []
        return news

    def take_changes(self) -> list[Change]:
        changes, self.changes = self.changes, []
        return changes

    def _lease_end(self, description: Description, now: float, asked: Asked) -> float | None:
        """When the lease ends that was asked for, as far as it is granted; None: none was."""
        wanted = description.lease_time
        if wanted is None:
            return None
        try:
            end = datetime.fromisoformat(wanted).timestamp() if isinstance(wanted, str) else now + wanted
        except (ValueError, OverflowError, OSError):
            end = 0.0
        if not end > now:
            raise Unanswered(
                "unrecognised-parameter-value",
                f"lease_time {wanted!r} is neither a number of seconds nor a moment to come",
                action=asked.content,
                object="df-agent-description",
                parameter="lease_time",
            )
        return min(end, now + self.limits.max_lease)


def as_told(description: Description, until: float) -> dict[str, Any]:
    """A description as others see it, with the end of its lease."""
    told: dict[str, Any] = msgspec.to_builtins(description)
    if until < inf:
        told["lease_time"] = (
            datetime.fromtimestamp(until, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        )
    return told


def _query(content: bytes) -> Asked:
    """A subscription may say just the template: {"query": {...}}; nothing at all is everybody."""
    try:
        value = msgspec.json.decode(content) if content else {}
    except UNREADABLE as error:
        raise Unanswered("unrecognised-value", f"the content is not JSON: {error}", parameter="content") from None
    if not isinstance(value, dict) or set(value) - {"query"}:
        raise Unanswered(
            "unrecognised-value", 'the content is {"query": {...}} with a df-agent-description', parameter="content"
        )
    return Asked("search", value, value.get("query"))


def _subscription_of(body: bytes) -> Subscription:
    fields = _subscription.decode(body)
    fields["template"] = msgspec.convert(fields["template"], Description)
    fields["receivers"] = tuple(fields["receivers"])
    return Subscription(**fields)
