"""Generated JSON that is mostly a message: what senders write, and what they get wrong."""

import json
import random
from typing import Any

from hypothesis import strategies as st

from tests.oracles import envelope as twin

texts = st.text(st.one_of(st.characters(max_codepoint=0x7F), st.characters(exclude_categories=["Cs"])), max_size=12)
names = st.one_of(st.sampled_from(["a", "b", "ams", "topic:orders.created", 'quo"te', "ü", "x\ny\\"]), texts)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)
agents = st.one_of(names, st.fixed_dictionaries({"name": names}, optional={"addresses": json_values}))
moments = st.one_of(
    st.datetimes().map(lambda at: at.isoformat() + "Z"),
    st.datetimes().map(lambda at: at.isoformat(" ", "milliseconds") + "-05:30"),
    st.sampled_from(
        ["2026-02-29T00:00:00Z", "2024-02-29t23:59:59.123456789z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59-00:01"]
    ),
    texts,
)
uuids = st.one_of(st.uuids().map(str), st.uuids().map(lambda id_: str(id_).upper()), texts)
acts = st.one_of(
    st.sampled_from(twin.ACTS),
    st.sampled_from(["REQUEST", "Query_If", "accept", "Reject", "QUERY", "counter-propose", "request-whenever-x", ""]),
)
strings = st.one_of(st.none(), names)
values: dict[str, st.SearchStrategy[Any]] = {
    "performative": acts,
    "sender": agents,
    "receiver": st.one_of(agents, st.lists(agents, max_size=20)),
    "reply_to": st.one_of(agents, st.lists(agents, max_size=3)),
    "content": json_values,
    "reply_by": moments,
    "expires_at": moments,
    "message_id": uuids,
    "priority": st.one_of(st.sampled_from(["low", "normal", "high", "critical", "urgent", ""]), st.integers(-3, 12)),
    "hop_count": st.one_of(st.integers(-1, 300), st.just(10**30)),
    "params": st.dictionaries(st.sampled_from(["a", "x_b", "X-c"]), json_values, max_size=3),
    "delivery_attempt": st.integers(-1, 3),
    "redelivered": st.booleans(),
    "delivery": st.one_of(
        st.none(),
        st.sampled_from(["durable", "Relaxed", "VOLATILE", "volat\u0131le", "\u017ftrict", "durable ", "", "none"]),
    ),
    **dict.fromkeys(twin.STRINGS, strings),
    **dict.fromkeys(("x_b", "X-c", "timestamp"), json_values),
}
likely = {"performative": st.sampled_from(["inform", "REQUEST"]), "receiver": st.just("a")}


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """JSON text that is mostly a message: keys in any order, some twice, some of a wrong type, written in odd ways."""
    wild = draw(st.booleans())
    keys = draw(
        st.lists(st.sampled_from(sorted(values)), max_size=7, unique=not draw(st.sampled_from([False] * 7 + [True])))
    )
    chosen = [key for key in likely if key not in keys] + keys
    random_ = draw(st.randoms(use_true_random=False))
    random_.shuffle(chosen)
    members = []
    for key in chosen:
        strategy = values[key] if wild or key not in likely else likely[key]
        if draw(st.integers(0, 30)) == 0:
            strategy = json_values
        members.append(odd_string(key, random_) + space(random_) + ":" + space(random_) + odd(draw(strategy), random_))
    return (
        space(random_)
        + "{"
        + ",".join(space(random_) + member + space(random_) for member in members)
        + "}"
        + space(random_)
    ).encode()


def space(random_: random.Random) -> str:
    return random_.choice(["", "", "", "", " ", "\n\t", "\r\n  "])


def odd(value: Any, random_: random.Random) -> str:
    """JSON text of *value*, with blanks and needless escapes."""
    if isinstance(value, str):
        return odd_string(value, random_)
    if isinstance(value, list):
        return "[" + ",".join(space(random_) + odd(element, random_) + space(random_) for element in value) + "]"
    if isinstance(value, dict):
        members = [
            odd_string(key, random_) + ":" + space(random_) + odd(element, random_) for key, element in value.items()
        ]
        return "{" + ",".join(space(random_) + member for member in members) + "}"
    return json.dumps(value)


def odd_string(text: str, random_: random.Random) -> str:
    if random_.random() < 0.8:
        return json.dumps(text, ensure_ascii=random_.random() < 0.2)
    return (
        '"'
        + "".join(json.dumps(c)[1:-1] if ord(c) > 0xFFFF else f"\\u{ord(c):04{random_.choice('xX')}}" for c in text)
        + '"'
    )
