"""What the machines say is legal by the tables of core/protocols, whatever they hear."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton.core.negotiation import Machine as Negotiation
from caxton.core.negotiation.auctions import DutchAuction, EnglishAuction
from caxton.core.negotiation.contract_net import ContractNet
from caxton.core.negotiation.messages import Heard, Said
from caxton.core.performatives import Performative
from caxton.core.protocols import Kind, Machine, Role, Step, find

CONTENTS = (b"null", b'{"cost":1}', b'{"cost":-1}', b'{"cost":2,"price":10}', b'{"price":70}', b"[")


class Sessions:
    """One machine of the tables for each conversation and participant."""

    def __init__(self) -> None:
        self.by_peer: dict[tuple[str, str], Machine] = {}

    def of(self, conversation: str, name: str, protocol: str) -> Machine:
        found = find(protocol)
        assert found is not None
        return self.by_peer.setdefault((conversation, name), Machine(found))

    def tick(self, now: float) -> None:
        for machine in self.by_peer.values():
            machine.tick(now)

    def says(self, said: Said, now: float) -> Step:
        machine = self.of(said.conversation_id, said.to, said.protocol)
        return machine.step(
            Role.INITIATOR,
            Performative(said.performative),
            now=now,
            message_id=said.message_id,
            reply_with=said.reply_with,
            in_reply_to=said.in_reply_to,
            deadline=said.reply_by or None,
        )

    def hears(self, heard: Heard, said: Said, now: float) -> Step:
        machine = self.of(said.conversation_id, said.to, said.protocol)
        act = Performative(heard.performative)
        return machine.step(Role.PARTICIPANT, act, now=now, reply_with="r", in_reply_to=heard.in_reply_to)


def negotiation(kind: str) -> Negotiation:
    common: dict[str, Any] = {"id": "t", "action": msgspec.Raw(b"1"), "participants": ["a", "b", "c"], "wait": 10.0}
    if kind == "english":
        return EnglishAuction(price=10.0, step=5.0, reserve=12.0, **common)
    if kind == "dutch":
        return DutchAuction(price=80.0, step=10.0, reserve=35.0, goods=2, **common)
    improvements = 1 if kind == "iterated" else 0
    return ContractNet(winners=2, standby=1, max_rounds=2, work=15.0, improvements=improvements, **common)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["net", "iterated", "english", "dutch"]),
    st.lists(
        st.tuples(
            st.sampled_from(
                [*[Performative.PROPOSE] * 6, *[Performative.INFORM] * 2, *[Performative.REFUSE] * 2, *Performative]
            ),
            st.integers(0, 12),
            st.sampled_from(CONTENTS),
            st.sampled_from([0.0, 0.0, 0.0, 1.0, 10.0]),
        ),
        max_size=25,
    ),
)
def test_whatever_is_heard_what_is_said_is_legal(kind: str, script: list[Any]) -> None:
    one = negotiation(kind)
    sessions = Sessions()
    said: list[Said] = []
    now = 0.0

    def speak() -> None:
        for each in one.take_outbox():
            step = sessions.says(each, now)
            assert step.kind in (Kind.MOVED, Kind.REPEATED), (each, step.told)
            said.append(each)

    one.start(now)
    speak()
    for act, which, content, passes in script:
        now += passes
        sessions.tick(now)
        one.tick(now)
        speak()
        asked = said[-1 - which % len(said)]
        heard = Heard(
            performative=act,
            sender=asked.to,
            conversation_id=asked.conversation_id,
            in_reply_to=asked.reply_with,
            reply_with="r",
            content=content,
        )
        if sessions.hears(heard, asked, now).kind is Kind.LATE:
            continue  # the platform answers it, and it is not delivered
        one.receive(heard, now)
        speak()
    one.cancel("enough", now)
    speak()
    assert one.is_over
