"""What `df` answers to whom, with FIPA's words, and what it keeps."""

import json
from typing import Any

import pytest

from caxton.core.answer import Unanswered
from caxton.core.directory import facilitator
from caxton.core.directory.descriptions import Description, service_of
from caxton.core.directory.facilitator import Facilitator, Limits, Row
from caxton.core.directory.requests import Mail

LIMITS = Limits(lease=60, max_lease=1000, results=2)
QUOTES = {"name": "pricing", "services": [{"name": "quote", "type": "pricing"}]}


def mail(content: object = None, sender: str = "pricing", act: str = "request", **fields: Any) -> Mail:
    data = content if isinstance(content, bytes) else b"" if content is None else json.dumps(content).encode()
    fields.setdefault("message_id", f"m{len(data)}{act}{data.hex()[-8:]}")
    return Mail(performative=act, sender=sender, content=data, **fields)


def ask(facilitator: Facilitator, action: str, description: object = None, now: float = 0, **more: Any) -> Any:
    content = {"action": action, "description": description}
    if "constraints" in more:
        content["constraints"] = more.pop("constraints")
    return facilitator.receive(mail(content, **more), now)[-1].content


def word_of(facilitator: Facilitator, message: Mail, now: float = 0) -> tuple[str, str]:
    with pytest.raises(Unanswered) as caught:
        facilitator.receive(message, now)
    return caught.value.performative, caught.value.word


def names(content: Any) -> list[str]:
    return [each["name"] for each in content["result"]]


def test_register_search_modify_deregister() -> None:
    df = Facilitator(LIMITS)
    assert ask(df, "register", QUOTES)["done"] == "register"
    assert names(ask(df, "search", {"services": [{"type": "pricing"}]}, sender="anna")) == ["pricing"]
    changed = {"name": {"name": "pricing"}, "services": [{"name": "quote", "type": "billing"}], "lease-time": 5}
    assert ask(df, "modify", changed)["description"]["lease_time"] == "1970-01-01T00:00:05.000Z"
    assert names(ask(df, "search", {"services": [{"type": "pricing"}]})) == []
    assert names(ask(df, "search", {"services": [{"type": "billing"}]}, now=4)) == ["pricing"]
    assert names(ask(df, "search", {"services": [{"type": "billing"}]}, now=5)) == []
    ask(df, "register", QUOTES, now=6)
    assert ask(df, "deregister", {"name": "pricing"}, now=7)["done"] == "deregister"
    assert names(ask(df, "search", now=7)) == []


@pytest.mark.parametrize(
    ("message", "act", "word"),
    [
        (mail({"action": "search"}, act="propose"), "not-understood", "unsupported-act"),
        (mail({"action": "search"}, language="fipa-sl0"), "not-understood", "unsupported-value"),
        (mail({"action": "search"}, ontology="weather"), "not-understood", "unrecognised-value"),
        (mail({"action": "search"}, protocol="fipa-propose"), "not-understood", "unsupported-value"),
        (mail(b"{not json"), "not-understood", "unrecognised-value"),
        (mail([1]), "not-understood", "unrecognised-value"),
        (mail(act="cancel", conversation_id="c"), "not-understood", "unexpected-act"),
        (mail({}), "refuse", "missing-argument"),
        (mail({"action": "dance"}), "refuse", "unsupported-function"),
        (mail({"action": ["register"]}), "refuse", "unsupported-function"),
        (mail({"action": "register"}), "refuse", "missing-argument"),
        (mail({"action": "search", "more": 1}), "refuse", "unexpected-argument"),
        (mail({"action": "register", "description": {}}), "refuse", "missing-parameter"),
        (mail({"action": "deregister", "description": {}}), "refuse", "missing-parameter"),
        (
            mail({"action": "register", "description": {"name": "pricing", "services": [{"name": "x"}]}}),
            "refuse",
            "missing-parameter",
        ),
        (mail({"action": "register", "description": {"nom": "pricing"}}), "refuse", "unexpected-parameter"),
        (mail({"action": "register", "description": {"name": 7}}), "refuse", "unrecognised-parameter-value"),
        (mail({"action": "register", "description": 7}), "refuse", "unrecognised-parameter-value"),
        (
            mail({"action": "register", "description": QUOTES | {"lease_time": "yesterday"}}),
            "refuse",
            "unrecognised-parameter-value",
        ),
        (
            mail({"action": "register", "description": QUOTES | {"lease_time": -1}}),
            "refuse",
            "unrecognised-parameter-value",
        ),
        (
            mail({"action": "register", "description": QUOTES | {"ontologies": ["x" * 17000]}}),
            "refuse",
            "unrecognised-parameter-value",
        ),
        (mail({"action": "search", "constraints": {"max_depth": "x"}}), "refuse", "unrecognised-parameter-value"),
        (mail({"action": "register", "description": QUOTES}, sender="eve"), "refuse", "unauthorised"),
        (mail({"action": "deregister", "description": QUOTES}, sender="eve"), "refuse", "unauthorised"),
        (mail({"action": "modify", "description": QUOTES}), "failure", "not-registered"),
        (mail({"action": "deregister", "description": QUOTES}), "failure", "not-registered"),
        (mail({"query": {}}, act="subscribe"), "refuse", "missing-parameter"),
        (mail({"query": {}, "x": 1}, act="subscribe", conversation_id="c"), "not-understood", "unrecognised-value"),
    ],
)
def test_what_it_does_not_do_has_a_word(message: Mail, act: str, word: str) -> None:
    df = Facilitator(LIMITS)
    assert word_of(df, message) == (act, word)
    assert (df.unsaved, df.changes, len(df.directory)) == ([], [], 0)


def test_registering_twice_is_a_failure_but_not_for_a_message_that_came_again() -> None:
    df = Facilitator(LIMITS)
    message = mail({"action": "register", "description": QUOTES}, message_id="m1")
    first = df.receive(message, 0)
    assert df.receive(message, 0) == first
    again = mail({"action": "register", "description": QUOTES}, message_id="m2")
    assert word_of(df, again) == ("failure", "already-registered")


def test_a_deregistration_that_came_again_is_answered_as_before_also_after_a_crash() -> None:
    df = Facilitator(LIMITS)
    ask(df, "register", QUOTES)
    message = mail({"action": "deregister", "description": {"name": "pricing"}}, message_id="m1")
    first = df.receive(message, 0)
    assert df.receive(message, 0) == first
    rows = {(row.kind, row.name, row.conversation): row for row in df.unsaved}
    df = Facilitator(LIMITS)
    df.restore([row for row in rows.values() if row.body], now=1)
    assert df.receive(message, 1) == first
    other = mail({"action": "deregister", "description": {"name": "pricing"}}, message_id="m2")
    assert word_of(df, other) == ("failure", "not-registered")
    ask(df, "register", QUOTES, now=1)
    assert Row(kind="gone", name="pricing") in df.unsaved


def test_deregistrations_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facilitator, "GONE", 2)
    df = Facilitator(LIMITS)
    for name in ("a", "b", "c"):
        ask(df, "register", {"name": name}, sender=name)
        ask(df, "deregister", {"name": name}, sender=name)
    assert [row.name for row in df.unsaved if row.kind == "gone" and not row.body] == ["a"]


def test_a_long_lease_is_shortened() -> None:
    df = Facilitator(LIMITS)
    granted = ask(df, "register", QUOTES | {"lease_time": 5000})
    assert granted["description"]["lease_time"] == "1970-01-01T00:16:40.000Z"


def test_a_registration_without_lease_lasts_while_the_agent_lives() -> None:
    df = Facilitator(LIMITS)
    ask(df, "register", QUOTES)
    for now in range(0, 200, 20):
        df.tick(now)
        df.renew(["pricing"], now)
    assert names(ask(df, "search", now=200)) == ["pricing"]
    df.tick(240)
    assert names(ask(df, "search", now=240)) == []
    assert df.unsaved[-1] == Row(kind="registered", name="pricing")


def test_results_are_cut_visibly() -> None:
    df = Facilitator(LIMITS)
    for name in ("a", "b", "c"):
        df.declare(name, Description(name=name, services=(service_of("sums"),)), 0)
    found = ask(df, "search")
    assert (names(found), found["truncated"]) == (["a", "b"], True)
    rest = ask(df, "search", constraints={"cursor": found["cursor"]})
    assert (names(rest), rest["truncated"]) == (["c"], False)
    assert names(ask(df, "search", constraints={"max-results": -1})) == ["a", "b", "c"]
    assert names(ask(df, "search", constraints={"max-results": 1})) == ["a"]


def test_a_search_goes_no_deeper_and_says_so() -> None:
    df = Facilitator(LIMITS)
    found = ask(df, "search", constraints={"max_depth": 2})
    assert (found["searched_depth"], "no federation" in found["text"]) == (0, True)


def test_a_search_id_is_answered_once() -> None:
    df = Facilitator(LIMITS)
    first = mail({"action": "search", "constraints": {"search_id": "s1"}}, message_id="m1")
    assert df.receive(first, 0) == df.receive(first, 0)  # the same message, after a crash
    other = mail({"action": "search", "constraints": {"search_id": "s1"}}, message_id="m2")
    assert word_of(df, other) == ("failure", "internal-error")


def test_subscribers_are_told_what_changes_for_them() -> None:
    df = Facilitator(LIMITS)
    df.declare("old", Description(name="old", services=(service_of("sums"),)), 0)
    wanted = mail({"query": {"services": [{"type": "sums"}]}}, sender="anna", act="subscribe", conversation_id="c1")
    agree, current = df.receive(wanted, 0)
    assert (agree.performative, current.performative) == ("agree", "inform")
    assert (current.content["change"], names(current.content)) == ("current", ["old"])
    df.take_news()
    sums = {"name": "pricing", "services": [{"name": "x", "type": "sums"}]}
    ask(df, "register", sums)
    ask(df, "modify", sums | {"protocols": ["p"]})
    ask(df, "modify", QUOTES)
    assert [(to.subscriber, what) for to, what, _ in df.take_news()] == [
        ("anna", "registered"),
        ("anna", "modified"),
        ("anna", "removed"),
    ]
    [done] = df.receive(mail(sender="anna", act="cancel", conversation_id="c1"), 0)
    assert done.content == {"done": "cancel"}
    ask(df, "modify", sums)
    assert df.take_news() == []


def test_what_was_kept_comes_back() -> None:
    df = Facilitator(LIMITS)
    ask(df, "register", QUOTES)
    ask(df, "register", {"name": "short", "lease_time": 5}, sender="short")
    df.put("ops", "operator", Description(services=(service_of("sums"),)), None, 0)
    df.receive(mail({"query": {}}, sender="anna", act="subscribe", conversation_id="c1", reply_with="r"), 0)
    ask(df, "register", {"name": "gone"}, sender="gone")
    df.forget("gone", 0)
    rows = {(row.kind, row.name, row.conversation): row for row in df.unsaved}
    again = Facilitator(LIMITS)
    again.restore([row for row in rows.values() if row.body], now=10)
    assert names(ask(again, "search", now=10)) == ["pricing", "ops"]
    [subscription] = again.subscriptions
    assert subscription == next(iter(df.subscriptions))
    assert again.unsaved == [Row(kind="registered", name="short")]
