"""The native tracker against its readable twin, then what only the native one has: limits, rows, events, threads."""

# Over 500 lines: one protocol's step after another, all on the same tracker and its twin.

import threading
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import cycle
from math import inf
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton._fast.envelope import Envelope
from caxton._fast.tracker import ILLEGAL, LATE, LOOP, MOVED, REPEATED, ROUNDS, UNOPENED, UNTRACKED, Tracker
from caxton.core.conversations import Conversation, decode_row
from caxton.core.errors import InvalidMessage
from caxton.core.performatives import Performative
from caxton.core.protocols import PROTOCOLS, Timing
from tests.oracles.conversation import Message
from tests.oracles.conversation import Tracker as Readable

SECOND = 1_000_000_000
IDS = [str(uuid.UUID(int=0x018F << 112 | n)) for n in range(1, 9)]


class Clock:
    """Both of the tracker's clocks, which start with the real ones."""

    def __init__(self) -> None:
        self.start_ns, self.start_us = time.monotonic_ns(), time.time_ns() // 1000
        self.now = 0.0

    @property
    def ns(self) -> int:
        return self.start_ns + round(self.now * SECOND)

    @property
    def us(self) -> int:
        return self.start_us + round(self.now * 1e6)


def envelope(message: Message, clock: Clock) -> Envelope:
    fields: dict[str, Any] = {
        "performative": message.performative,
        "sender": message.sender,
        "receiver": message.receiver,
        "conversation_id": message.conversation_id,
        "protocol": message.protocol,
        "message_id": message.message_id or str(uuid.uuid4()),
    }
    for key in ("reply_with", "in_reply_to"):
        if value := getattr(message, key):
            fields[key] = value
    if message.reply_to:
        fields["reply_to"] = ["somebody"]
    if message.reply_in is not None:
        at = datetime.fromtimestamp(clock.us / 1e6 + message.reply_in, UTC)
        fields["reply_by"] = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return Envelope.from_json(msgspec.json.encode(fields))


class Rig:
    def __init__(self, **options: Any) -> None:
        self.tracker, self.clock = Tracker(), Clock()
        self.tracker.configure(**{"clock_skew": 0.0, **options})

    def say(self, act: str, sender: str = "a", receiver: str = "b", **fields: Any) -> int:
        return self.step(self.message(act, sender, receiver, **fields))

    def message(self, act: str, sender: str = "a", receiver: str = "b", **fields: Any) -> Message:
        return Message(
            **{
                "conversation_id": "c1",
                "protocol": "fipa-request",
                "performative": act,
                "sender": sender,
                "receiver": receiver,
                "message_id": str(uuid.uuid4()),
                **fields,
            }
        )

    def step(self, message: Message, *, outside: bool = False, durable: bool = False) -> int:
        return self.tracker.observe(
            envelope(message, self.clock),
            message.receiver,
            now_ns=self.clock.ns,
            now_us=self.clock.us,
            outside=outside,
            durable=durable,
        )

    def tick(self) -> int:
        return self.tracker.tick_at(self.clock.ns, self.clock.us)

    def conversation(self, id: str = "c1") -> Conversation:
        found = self.tracker.get(id)
        assert found is not None
        return found

    def state(self, id: str = "c1") -> str:
        (session,) = self.conversation(id).sessions
        return session.state


# -- the same as the readable one --

MESSAGES = st.builds(
    Message,
    conversation_id=st.sampled_from(["c1", "c2"]),
    protocol=st.sampled_from([*(p.name for p in PROTOCOLS), "FIPA-English-Auction", "my-own"]),
    performative=st.sampled_from([act.value for act in Performative]),
    sender=st.sampled_from(["a", "b", "c", "ams"]),
    receiver=st.sampled_from(["a", "b", "c"]),
    message_id=st.sampled_from(IDS),
    reply_with=st.sampled_from(["", "x", "y"]),
    in_reply_to=st.sampled_from(["", "x", "y"]),
    reply_to=st.booleans(),
    reply_in=st.sampled_from([None, None, -1.0, 0.5, 5.0]),
)


@attrs.frozen
class Lost:
    """It could not be delivered."""

    message: Message


@st.composite
def talks(draw: st.DrawFn) -> list[Message | float | Lost]:
    """Steps that are likely to be legal, with random ones and pauses between."""
    protocol = draw(st.sampled_from(PROTOCOLS))
    steps: list[Message | float | Lost] = []
    acts = sorted({act for rows in protocol.table.values() for _, act in rows})
    for _ in range(draw(st.integers(1, 25))):
        match draw(st.integers(0, 9)):
            case 0:
                steps.append(draw(MESSAGES))
            case 1:
                steps.append(draw(st.sampled_from([0.2, 1.0, 6.0, 100.0])))
            case 2:
                steps.append(said_again(draw, steps))
            case 3:
                again = said_again(draw, steps)
                steps.append(Lost(again) if isinstance(again, Message) else again)
            case _:
                sender, receiver = draw(st.sampled_from([("a", "b"), ("b", "a"), ("a", "a"), ("a", "c"), ("c", "a")]))
                message = draw(MESSAGES)
                steps.append(
                    Message(
                        conversation_id="c1",
                        protocol=protocol.name,
                        performative=draw(st.sampled_from([*acts, Performative.CANCEL])).value,
                        sender=sender,
                        receiver=receiver,
                        message_id=message.message_id if draw(st.booleans()) else str(uuid.uuid4()),
                        reply_with=message.reply_with,
                        in_reply_to=message.in_reply_to,
                        reply_in=message.reply_in,
                    )
                )
    return steps


def said_again(draw: st.DrawFn, steps: Sequence[Message | float | Lost]) -> Message | float:
    said = [step for step in steps if isinstance(step, Message)]
    return draw(st.sampled_from(said)) if said else 0.1


def compare(rig: Rig, readable: Readable) -> None:
    for id, expected in readable.conversations.items():
        found = rig.conversation(id)
        assert (found.messages, found.repeated, found.out_of_sequence) == (
            expected.messages,
            expected.repeated,
            expected.out_of_sequence,
        )
        assert len(found.sessions) == len(expected.sessions)
        for seen, session in zip(found.sessions, expected.sessions, strict=True):
            machine = session.machine
            assert (seen.initiator, seen.participant, seen.protocol) == (
                session.initiator,
                session.participant,
                machine.protocol.name,
            )
            assert (seen.state, seen.round, seen.owing_role) == (machine.state, machine.round, machine.owes)
            assert (seen.messages, seen.repeated, seen.out_of_sequence) == (
                machine.messages,
                machine.repeated,
                machine.out_of_sequence,
            )
            assert [(e.role, e.performative) for e in seen.expected] == [(r, a.value) for r, a in machine.expected]
            last = None if seen.last is None else (seen.last.role, seen.last.performative)
            assert last == (None if machine.last is None else (machine.last[0], machine.last[1].value))
            if machine.deadline == inf:
                assert seen.deadline is None
            else:
                assert seen.deadline == pytest.approx(rig.clock.start_us / 1e6 + machine.deadline, abs=0.2)


@pytest.mark.slow
@settings(max_examples=200)
@given(steps=st.one_of(talks(), st.lists(st.one_of(MESSAGES, st.sampled_from([0.2, 6.0, 100.0])), max_size=25)))
def test_every_step_is_that_of_the_readable_one(steps: list[Message | float | Lost]) -> None:
    rig = Rig(first_answer=60.0, max_rounds=3)
    readable = Readable(Timing(first_answer=60.0, max_rounds=3))
    for step in steps:
        rig.clock.now += 0.01
        if isinstance(step, float):
            rig.clock.now += step
            assert rig.tick() == readable.tick(rig.clock.now)
            after = rig.tracker.next_deadline_ns()
            assert after == 0 or after > rig.clock.ns
        elif isinstance(step, Lost):
            lost = rig.tracker.undelivered(envelope(step.message, rig.clock), step.message.receiver)
            assert lost == readable.undelivered(step.message, rig.clock.now)
        else:
            assert rig.step(step) == readable.observe(step, rig.clock.now)
        earliest = readable.next_deadline()
        found = rig.tracker.next_deadline_ns()
        assert (found == 0) == (earliest == inf)
        if found:
            assert (found - rig.clock.start_ns) / SECOND == pytest.approx(max(earliest, -1e9), abs=1e-4)
    compare(rig, readable)
    assert rig.tracker.statistics().events_lost == 0


# -- what is told --


def test_an_illegal_act_is_told_with_what_was_expected() -> None:
    rig = Rig()
    rig.say("request")
    assert rig.say("propose", "b", "a") == ILLEGAL
    (event,), late = rig.tracker.read_events()
    assert (event.type, event.sender, event.receiver, event.performative) == (
        "conversation.out_of_sequence",
        "b",
        "a",
        "propose",
    )
    assert event.state == event.after == "DECIDE"
    assert event.told.startswith("expected refuse by the participant or agree by the participant")
    assert late == []
    (violation,) = rig.conversation().violations
    assert (violation.kind, violation.performative, violation.state) == ("out-of-sequence", "propose", "DECIDE")
    assert rig.tracker.read_events() == ([], [])


def test_of_many_wrong_acts_some_are_told_and_all_are_counted() -> None:
    rig = Rig()
    rig.say("request")
    for _ in range(5):
        assert rig.say("propose", "b", "a") == ILLEGAL
    told, _ = rig.tracker.read_events(2)
    assert [event.performative for event in told] == ["propose", "propose"]
    assert (rig.tracker.untold, rig.tracker.statistics().out_of_sequence) == (3, 5)


def test_an_act_that_opens_nothing_is_told_and_makes_no_conversation() -> None:
    rig = Rig()
    assert rig.say("inform") == UNOPENED
    (event,), _ = rig.tracker.read_events()
    assert event.told == "there is no conversation between the two that it belongs to; request opens one"
    assert rig.tracker.get("c1") is None


def test_a_message_of_the_platform_about_another_is_not_judged() -> None:
    rig = Rig()
    rig.say("request")
    assert rig.say("failure", "ams", "a") == MOVED
    assert rig.state() == "DECIDE"
    assert rig.tracker.read_events() == ([], [])


def test_a_late_proposal_is_given_back_to_be_answered() -> None:
    rig = Rig()
    rig.say("cfp", protocol="fipa-contract-net", reply_in=1.0)
    rig.clock.now = 1.5
    assert rig.tick() == 1
    assert rig.state() == "NO_BID"
    assert rig.say("propose", "b", "a", protocol="fipa-contract-net", reply_with="p1") == LATE
    events, (message,) = rig.tracker.read_events()
    assert [event.type for event in events] == ["conversation.timed_out", "conversation.late"]
    assert (message.sender, message.reply_with) == ("b", "p1")


def test_the_end_is_told_to_who_wants_it() -> None:
    rig = Rig()
    rig.say("request")
    rig.say("inform", "b", "a")
    assert rig.tracker.read_events() == ([], [])
    rig.tracker.watch_ended(True)
    rig.say("request", conversation_id="c2")
    rig.say("refuse", "b", "a", conversation_id="c2")
    (event,), _ = rig.tracker.read_events()
    assert (event.type, event.conversation_id, event.after) == ("conversation.ended", "c2", "REFUSED")
    assert rig.tracker.statistics().endings == {"fipa-request": {"REFUSED": 1, "DONE": 1}}


def test_events_that_nobody_reads_are_counted() -> None:
    rig = Rig()
    for _ in range(5000):
        rig.say("inform")
    events, _ = rig.tracker.read_events()
    assert len(events) == 4096
    assert rig.tracker.statistics().events_lost == 5000 - 4096


def test_a_dead_letter_that_is_sent_again_takes_its_session_along() -> None:
    rig = Rig()
    message = rig.message("request")
    rig.step(message)
    rig.tracker.undelivered(envelope(message, rig.clock), "b")
    assert rig.tracker.statistics().open == 0
    assert rig.step(message) == MOVED
    assert (rig.state(), rig.tracker.statistics().open) == ("DECIDE", 1)
    assert rig.say("inform", "b", "a") == MOVED
    assert rig.tracker.statistics().endings == {"fipa-request": {"DONE": 1}}


# -- limits --


def test_beyond_the_limit_nothing_is_followed_and_that_is_told() -> None:
    rig = Rig(max_conversations=2)
    assert [rig.say("request", conversation_id=f"c{n}") for n in range(3)] == [MOVED, MOVED, UNTRACKED]
    (event,), _ = rig.tracker.read_events()
    assert event.type == "conversation.limit"
    # one that has ended makes room
    rig.say("inform", "b", "a", conversation_id="c0")
    assert rig.say("request", conversation_id="c2") == MOVED
    assert rig.tracker.statistics().untracked == 1


def test_participants_are_bounded() -> None:
    rig = Rig(max_participants=2)
    net = {"protocol": "fipa-contract-net"}
    assert [rig.say("cfp", "a", f"b{n}", **net) for n in range(3)] == [MOVED, MOVED, UNTRACKED]
    assert rig.conversation().participants == 2


def test_nothing_is_followed_when_it_is_switched_off() -> None:
    rig = Rig(max_conversations=0)
    assert rig.say("inform") == MOVED
    assert rig.tracker.statistics().steps == 0


def test_rounds_are_bounded() -> None:
    rig = Rig(max_rounds=2)
    net: dict[str, Any] = {"protocol": "fipa-iterated-contract-net"}
    for _ in range(2):
        assert rig.say("cfp", **net) == MOVED
        assert rig.say("propose", "b", "a", **net) == MOVED
    assert rig.say("cfp", **net) == ROUNDS
    (event,), _ = rig.tracker.read_events()
    assert event.told == "no further round: 2 at most"


def finish(rig: Rig, ids: Sequence[str]) -> None:
    for id in ids:
        rig.clock.now += 0.000001
        rig.say("request", conversation_id=id)
        rig.say("inform", "b", "a", conversation_id=id)


@pytest.mark.parametrize("kept", [0, 1, 10, 700])
def test_so_many_that_ended_are_shown_the_newest(kept: int) -> None:
    rig = Rig(kept_ended=kept)
    ids = [f"c{n}" for n in range(2000)]
    finish(rig, ids)
    assert [each.id for each in rig.tracker.list(limit=1000).conversations] == ids[::-1][:kept]
    assert rig.tracker.statistics().ended == kept
    rig.tracker.configure(kept_ended=max(kept - 9, 0))
    assert rig.tracker.statistics().ended == max(kept - 9, 0)


def test_what_ended_is_shown_for_a_while() -> None:
    rig = Rig(kept_seconds=60.0)
    finish(rig, [f"c{n}" for n in range(2000)])
    rig.tracker.forget_at(rig.clock.ns + 59 * SECOND)
    assert rig.tracker.statistics().ended == 2000
    rig.tracker.forget_at(rig.clock.ns + 61 * SECOND)
    assert rig.tracker.statistics().ended == 0


def test_what_ended_and_has_a_row_stays_until_that_has_gone() -> None:
    rig = Rig(kept_ended=0, keeps=True)
    durable(rig, "request")
    assert rig.tracker.collect()
    durable(rig, "inform", "b", "a")
    assert rig.tracker.statistics().ended == 1
    assert rig.tracker.collect() == [("c1", None)]
    assert rig.tracker.statistics().ended == 0


def test_violations_of_a_conversation_are_the_newest() -> None:
    rig = Rig()
    rig.say("request")
    for _ in range(20):
        rig.say("propose", "b", "a")
    rig.say("cfp", "b", "a")
    found = rig.conversation()
    assert len(found.violations) == 16
    assert found.violations[-1].performative == "cfp"
    assert found.out_of_sequence == 21


# -- time --


def test_a_client_outside_may_have_a_clock_that_is_late() -> None:
    rig = Rig(clock_skew=2.0)
    rig.step(rig.message("request", reply_in=1.0), outside=True)
    rig.step(rig.message("request", reply_in=1.0, conversation_id="c2"))
    rig.clock.now = 1.5
    assert rig.tick() == 1
    assert (rig.state("c1"), rig.state("c2")) == ("DECIDE", "TIMED_OUT")
    rig.clock.now = 3.5
    assert rig.tick() == 1


def test_deadlines_come_in_their_order_whatever_is_taken_out_between() -> None:
    rig = Rig()
    delays = [(n * 7919) % 500 + 1.0 for n in range(500)]
    for n, delay in enumerate(delays):
        rig.say("request", conversation_id=f"c{n}", reply_in=delay)
    for n in range(0, 500, 3):
        rig.say("inform", "b", "a", conversation_id=f"c{n}")
    left = sorted(delay for n, delay in enumerate(delays) if n % 3)
    for delay in left[::10]:
        rig.clock.now = delay + 0.001
        rig.tick()
        assert rig.tracker.statistics().timed_out == sum(other <= delay for other in left)
        following = min((other for other in left if other > delay), default=None)
        found = rig.tracker.next_deadline_ns()
        assert (found - rig.clock.start_ns) / SECOND == pytest.approx(following, abs=1e-4) if following else found == 0


def test_who_is_away_has_time_from_when_it_has_the_message() -> None:
    rig = Rig(first_answer=60.0, idle=1800.0)

    def send(id: str, **fields: Any) -> Envelope:
        message = envelope(rig.message("request", conversation_id=id, **fields), rig.clock)
        rig.tracker.observe(message, "b", now_ns=rig.clock.ns, now_us=rig.clock.us, away=True)
        return message

    waits, named = send("waits"), send("named", reply_in=30.0)
    answered = send("answered")
    rig.say("agree", "b", "a", conversation_id="answered")
    rig.clock.now = 7200.0
    assert rig.tick() == 1
    rig.tracker.reap_at(rig.clock.ns, rig.clock.us)
    assert [rig.state(id) for id in ("waits", "named", "answered")] == ["DECIDE", "TIMED_OUT", "ABANDONED"]
    assert rig.tracker.taken([named, waits, answered], "b") == 1
    assert rig.tracker.taken([waits], "b") == 0, "it comes again, and has no more time"
    (session,) = rig.conversation("waits").sessions
    assert session.deadline == pytest.approx(time.time() + 60.0, abs=0.5)


def test_what_is_idle_is_abandoned_and_a_promise_is_not() -> None:
    rig = Rig(idle=1800.0, longest=86_400.0)
    rig.say("request", conversation_id="works")
    rig.say("agree", "b", "a", conversation_id="works")
    rig.say("request-when", conversation_id="promised", protocol="fipa-request-when")
    rig.say("agree", "b", "a", conversation_id="promised", protocol="fipa-request-when")
    rig.say("request", conversation_id="has-time", reply_in=4000.0)
    rig.clock.now = 1801.0
    rig.tracker.reap_at(rig.clock.ns, rig.clock.us)
    assert (rig.state("works"), rig.state("promised"), rig.state("has-time")) == ("ABANDONED", "ARMED", "DECIDE")
    rig.clock.now = 86_401.0
    rig.tracker.reap_at(rig.clock.ns, rig.clock.us)
    assert rig.state("promised") == "ABANDONED"
    assert rig.tracker.statistics().abandoned == 3


def test_a_session_ends_when_its_last_message_could_not_be_delivered() -> None:
    rig = Rig()
    message = rig.message("request")
    rig.step(message)
    assert rig.tracker.undelivered(envelope(message, rig.clock), "b")
    assert rig.state() == "UNDELIVERED"
    assert not rig.tracker.undelivered(envelope(message, rig.clock), "b")


def test_what_a_broker_opened_has_ended() -> None:
    rig = Rig()
    say = {"protocol": "fipa-brokering"}
    rig.say("proxy", **say)
    rig.say("agree", "b", "a", **say)
    rig.say("inform", "b", "a", **say)
    assert rig.tracker.complete("c1") == 1
    assert rig.state() == "DONE"
    assert rig.tracker.complete("c1") == rig.tracker.complete("unknown") == 0


# -- who answers elsewhere, clients, branches --


def test_who_was_told_to_answer_somebody_else_does() -> None:
    rig = Rig()
    rig.say("request", "recruiter", "target", reply_to=True)
    assert rig.say("agree", "target", "designated") == MOVED
    assert rig.say("inform", "target", "designated") == MOVED
    assert rig.state() == "DONE"


def test_who_may_answer_somebody_else_is_found_among_thousands() -> None:
    rig = Rig(kept_ended=0, kept_seconds=0.0)
    for n in range(3000):
        rig.say("request", "recruiter", f"target{n}", reply_to=n % 2 == 0)
    # a second session of the same participant: the answers are to the first
    rig.say("request", "other", "target4", reply_to=True)
    assert rig.say("agree", "target4", "designated") == MOVED
    assert rig.say("agree", "target5", "designated") == UNOPENED
    by_pair = {(each.initiator, each.participant): each.state for each in rig.conversation().sessions}
    assert by_pair["recruiter", "target4"] != by_pair["other", "target4"] == by_pair["recruiter", "target2"]


def test_the_answers_to_somebody_else_end_with_their_conversation() -> None:
    rig = Rig(kept_ended=0, kept_seconds=0.0)
    for n in range(40):
        rig.say("request", "recruiter", f"target{n}", reply_to=True)
        rig.say("refuse", f"target{n}", "designated")
    rig.clock.now = 1.0
    while rig.tracker.reap_at(rig.clock.ns, rig.clock.us):
        pass
    assert rig.tracker.get("c1") is None
    assert rig.say("agree", "target7", "designated") == UNOPENED
    rig.say("request", "recruiter", "target7", reply_to=True)
    assert rig.say("agree", "target7", "designated") == MOVED


@pytest.mark.parametrize("reply_to", [False, True])
def test_one_conversation_of_thousands_costs_no_step_more_than_many(reply_to: bool) -> None:
    rig = Rig()

    def nanoseconds(ids: Sequence[str]) -> float:
        opened = [
            rig.message("request", f"a{n}", f"b{n}", conversation_id=ids[n % len(ids)], reply_to=reply_to)
            for n in range(4000)
        ]
        messages = [(envelope(message, rig.clock), message.receiver) for message in opened]
        return min(Tracker().time_steps(messages, 1) for _ in range(3))

    # each would look at 2,000 others
    assert nanoseconds(["together"]) < 10 * nanoseconds([f"alone{n}" for n in range(4000)])


def test_each_client_is_itself_behind_the_port_that_they_share() -> None:
    rig = Rig()
    message = rig.message("request", "client:1", "b")
    rig.step(message)
    answer = envelope(rig.message("inform", "b", "client:1"), rig.clock)
    assert rig.tracker.observe(answer, "client:", now_ns=rig.clock.ns, now_us=rig.clock.us) == MOVED
    assert rig.state() == "DONE"


@pytest.mark.parametrize("key", ["parent_conversation", "X-parent-conversation"])
def test_a_branch_names_its_parent(key: str) -> None:
    rig = Rig()
    data = {
        "performative": "request",
        "sender": "a",
        "receiver": "b",
        "conversation_id": "branch",
        "protocol": "fipa-request",
        "params": {"other": "1", key: "trunk"},
    }
    message = Envelope.from_json(msgspec.json.encode(data))
    rig.tracker.observe(message, "b", now_ns=rig.clock.ns, now_us=rig.clock.us)
    assert rig.conversation("branch").parent == "trunk"
    assert [c.id for c in rig.tracker.list(parent="trunk").conversations] == ["branch"]


def branch(rig: Rig, act: str, id: str, parent: str, sender: str = "a", receiver: str = "b", **more: Any) -> Envelope:
    data = {
        "performative": act,
        "sender": sender,
        "receiver": receiver,
        "conversation_id": id,
        "protocol": "fipa-request",
        "message_id": str(uuid.uuid4()),
        "params": {"parent_conversation": parent},
    }
    message = Envelope.from_json(msgspec.json.encode(data))
    rig.tracker.observe(message, receiver, now_ns=rig.clock.ns, now_us=rig.clock.us, **more)
    return message


def completed(rig: Rig) -> list[str]:
    return [event.completes for event in rig.tracker.read_events()[0] if event.completes]


def test_a_parent_is_named_when_its_last_branch_ends() -> None:
    rig = Rig(kept_ended=0, first_answer=60.0)
    for n in range(100):
        for trunk in ("t1", "t2", f"own{n}"):
            branch(rig, "request", f"{trunk}-{n}", trunk)
    for n in range(100):
        rig.say("inform", "b", "a", conversation_id=f"own{n}-{n}")
        assert completed(rig) == [f"own{n}"]
    for n in range(99):
        rig.say("refuse", "b", "a", conversation_id=f"t1-{n}")
        assert completed(rig) == []
    rig.say("refuse", "b", "a", conversation_id="t1-99")
    assert completed(rig) == ["t1"]
    rig.clock.now = 61.0
    assert rig.tick() == 100
    assert completed(rig) == ["t2"]
    # one that comes later is the only one again
    branch(rig, "request", "late", "t1")
    rig.say("inform", "b", "a", conversation_id="late")
    assert completed(rig) == ["t1"]


def test_branches_that_go_on_count_again_and_over_a_restart() -> None:
    rig = Rig(keeps=True)
    lost = branch(rig, "request", "b1", "trunk", durable=True)
    branch(rig, "request", "b2", "trunk", durable=True)
    rig.tracker.undelivered(lost, "b")
    rig.tracker.observe(lost, "b", now_ns=rig.clock.ns, now_us=rig.clock.us, durable=True)
    after = Rig(keeps=True)
    for row in rows_of(rig).values():
        assert row is not None
        after.tracker.recover(row)
    for each in (rig, after):
        for id, expected in (("b2", []), ("b1", ["trunk"])):
            each.say("inform", "b", "a", conversation_id=id)
            assert completed(each) == expected


def test_that_it_was_the_last_branch_is_told_though_nobody_reads() -> None:
    rig = Rig()
    branch(rig, "request", "b1", "trunk")
    for _ in range(5000):
        rig.say("inform", conversation_id="none")
    rig.say("inform", "b", "a", conversation_id="b1")
    assert completed(rig) == ["trunk"]


# -- lists --


def test_lists_are_filtered_and_paged_newest_first() -> None:
    rig = Rig()
    for n in range(7):
        rig.say("request", "a", f"b{n % 2}", conversation_id=f"c{n}")
    rig.say("cfp", "m", "b0", conversation_id="net", protocol="fipa-contract-net")
    rig.say("inform", "b1", "a", conversation_id="c1")
    listed = rig.tracker.list
    page = listed(limit=3)
    assert [c.id for c in page.conversations] == ["net", "c6", "c5"]
    page = listed(limit=3, before=page.cursor)
    assert [c.id for c in page.conversations] == ["c4", "c3", "c2"]
    page = listed(limit=3, before=page.cursor)
    assert [c.id for c in page.conversations] == ["c1", "c0"]
    assert page.cursor == 0
    assert [c.id for c in listed(protocol="fipa-contract-net").conversations] == ["net"]
    assert [c.id for c in listed(state="done").conversations] == ["c1"]
    assert [c.id for c in listed(participant="b1").conversations] == ["c5", "c3", "c1"]
    assert [c.id for c in listed(is_open=False).conversations] == ["c1"]
    assert [c.id for c in listed(participant="b0", state="decide", protocol="fipa-request").conversations] == [
        "c6",
        "c4",
        "c2",
        "c0",
    ]
    assert listed(protocol="unknown").conversations == ()
    rig.say("cancel", conversation_id="c0")
    assert listed(state="CANCELLING").conversations == ()
    rig.say("cancel", "a", "b0", conversation_id="c0")
    assert [c.id for c in listed(state="CANCELLING").conversations] == ["c0"]


def test_who_owes_what_is_told_in_words() -> None:
    rig = Rig()
    rig.say("cfp", "manager", "pricing", protocol="fipa-contract-net", reply_in=1.0)
    (session,) = rig.conversation().sessions
    assert session.told == "participant pricing owes failure, propose, refuse"
    assert session.overdue(rig.clock.us / 1e6 + 5.1) == pytest.approx(4.1, abs=0.2)


# -- rows --


def rows_of(rig: Rig) -> dict[str, bytes | None]:
    return dict(rig.tracker.collect())


def durable(rig: Rig, act: str, sender: str = "a", receiver: str = "b", **fields: Any) -> int:
    return rig.step(rig.message(act, sender, receiver, **fields), durable=True)


def test_what_opened_and_ended_between_two_commits_writes_nothing() -> None:
    rig = Rig(keeps=True)
    durable(rig, "request")
    durable(rig, "inform", "b", "a")
    assert rows_of(rig) == {}


def test_what_ended_after_it_was_written_is_deleted_and_what_is_volatile_is_not_written() -> None:
    rig = Rig(keeps=True)
    rig.say("request", conversation_id="volatile")
    durable(rig, "request")
    assert list(rows_of(rig)) == ["c1"]
    assert rows_of(rig) == {}
    durable(rig, "inform", "b", "a")
    assert rows_of(rig) == {"c1": None}
    assert rows_of(rig) == {}


def test_a_row_gives_the_conversation_back_with_its_deadline_and_its_promise() -> None:
    rig = Rig(keeps=True)
    durable(rig, "request-when", protocol="fipa-request-when")
    durable(rig, "agree", "b", "a", protocol="fipa-request-when")
    durable(rig, "cfp", "a", "b", conversation_id="net", protocol="fipa-contract-net", reply_in=30.0)
    durable(rig, "propose", "b", "a")  # no such session: out of sequence
    rows = rows_of(rig)
    after = Rig(keeps=True)
    for row in rows.values():
        assert row is not None
        assert after.tracker.recover(row)
        assert not after.tracker.recover(row)  # it is there
    assert after.state("c1") == "ARMED"
    before, now = rig.conversation("net").sessions[0], after.conversation("net").sessions[0]
    assert now.deadline == pytest.approx(before.deadline, abs=0.2)
    assert now == msgspec.structs.replace(before, deadline=now.deadline)
    assert after.conversation("c1").violations == rig.conversation("c1").violations
    after.clock.now = 31.0
    assert after.tick() == 1
    assert after.state("net") == "NO_BID"
    # the next one has a number of its own
    after.say("request", conversation_id="next")
    assert after.conversation("next").number > max(rig.conversation(id).number for id in ("c1", "net"))


def test_after_a_crash_a_turn_that_runs_again_repeats_itself() -> None:
    """A row may be ahead of the messages: the request is sent again, and so is the answer."""
    rig = Rig(keeps=True)
    durable(rig, "request")
    durable(rig, "agree", "b", "a")
    row = rows_of(rig)["c1"]
    assert row is not None
    after = Rig(keeps=True)
    after.tracker.recover(row)
    assert durable(after, "request") == REPEATED
    assert durable(after, "agree", "b", "a") == REPEATED
    assert durable(after, "inform", "b", "a") == MOVED
    assert durable(after, "request") == ILLEGAL


def test_a_deadline_that_passed_while_the_server_was_down_is_due_at_once() -> None:
    rig = Rig(keeps=True)
    durable(rig, "request", reply_in=-5.0)
    row = rows_of(rig)["c1"]
    assert row is not None
    after = Rig()
    after.tracker.recover(row)
    assert after.tick() == 1


@given(cut=st.integers(0, 400), noise=st.binary(max_size=8), at=st.integers(0, 400))
def test_any_bytes_are_a_row_or_one_error(cut: int, noise: bytes, at: int) -> None:
    rig = Rig(keeps=True)
    durable(rig, "request", message_id=IDS[0])
    durable(rig, "propose", "b", "a", message_id=IDS[1])
    row = rows_of(rig)["c1"]
    assert row is not None
    for bad in (row[:cut], row[:at] + noise + row[at + len(noise) :]):
        try:
            decode_row(bad)
            Tracker().recover(bad)
        except InvalidMessage:
            pass


def test_a_row_of_a_protocol_that_is_gone_is_left() -> None:
    rig = Rig(keeps=True)
    durable(rig, "request")
    row = rows_of(rig)["c1"]
    assert row is not None
    assert not Tracker().recover(row.replace(b"fipa-request", b"fipa-bequest"))


def test_waiting_ends_with_the_earliest_deadline() -> None:
    tracker = Tracker()
    assert tracker.wait_seconds() == inf
    rig = Rig()
    rig.say("request", reply_in=5.0)
    assert rig.tracker.wait_seconds() == pytest.approx(5.0, abs=0.5)


# -- loops --


def loops(rig: Rig) -> list[str]:
    return [event.told for event in rig.tracker.read_events()[0] if event.type == "conversation.loop"]


def ping_pong(rig: Rig, times: int, pause: float = 0.001) -> list[int]:
    """The same two messages of an auction, again and again."""
    rig.say("inform", protocol="fipa-auction-english")
    return go_round(rig, times, pause)


def go_round(rig: Rig, times: int, pause: float = 0.001) -> list[int]:
    say = {"protocol": "fipa-auction-english"}
    outcomes = []
    for _ in range(times):
        for act, sender, receiver in (("cfp", "a", "b"), ("propose", "b", "a"), ("reject-proposal", "a", "b")):
            rig.clock.now += pause
            outcomes.append(rig.say(act, sender, receiver, **say))
    return outcomes


def test_the_same_trajectory_is_told_once_and_goes_on() -> None:
    rig = Rig(max_repeats=10)
    assert set(ping_pong(rig, 60)) == {MOVED}
    assert loops(rig) == ["the same messages go to and fro, as often as messaging.loops.max_repeats says"]


def test_it_is_stopped_where_that_is_wanted() -> None:
    rig = Rig(max_repeats=10, stop_loops=True)
    outcomes = ping_pong(rig, 60)
    first = outcomes.index(LOOP)
    assert 30 <= first < 90
    assert len(loops(rig)) == 1
    state = rig.state()
    assert rig.say("cancel", protocol="fipa-auction-english") == MOVED  # another message may pass
    assert state in ("OPEN", "CALLED", "BID")


def test_what_takes_its_time_is_no_loop() -> None:
    rig = Rig(max_repeats=10)
    ping_pong(rig, 60, pause=1.5)
    assert loops(rig) == []


@pytest.mark.parametrize("length", [1, 8, 63, 64, 65, 127, 128, 129, 500])
def test_another_content_is_another_message(length: int) -> None:
    rig = Rig(max_repeats=3)
    rig.say("subscribe", protocol="fipa-subscribe")
    rig.say("agree", "b", "a", protocol="fipa-subscribe")
    for number in range(200):
        data = {
            "performative": "inform",
            "sender": "b",
            "receiver": "a",
            "conversation_id": "c1",
            "protocol": "fipa-subscribe",
            "content": "x" * length + str(number + 100),
        }
        rig.clock.now += 0.001
        message = Envelope.from_json(msgspec.json.encode(data))
        assert rig.tracker.observe(message, "a", now_ns=rig.clock.ns, now_us=rig.clock.us) == MOVED
    assert loops(rig) == []


def test_a_cycle_of_requests_is_told_when_it_closes() -> None:
    rig = Rig(max_repeats=10)
    rig.say("request", "a", "b")
    rig.say("request", "b", "c")
    rig.say("request", "b", "d")
    rig.say("request", "d", "e")
    assert loops(rig) == []
    assert rig.say("request", "c", "a") == MOVED
    assert loops(rig) == ["who is asked has asked, over others, who asks now"]


def test_a_cycle_of_requests_is_stopped_where_that_is_wanted() -> None:
    rig = Rig(max_repeats=10, stop_loops=True)
    rig.say("request", "a", "b")
    rig.say("request", "b", "c")
    assert rig.say("request", "c", "a") == LOOP
    assert rig.conversation().participants == 2


def test_an_answered_request_is_no_part_of_a_cycle() -> None:
    rig = Rig(max_repeats=10)
    rig.say("request", "a", "b")
    rig.say("request", "b", "c")
    rig.say("inform", "c", "b")
    rig.say("request", "c", "a")
    # nor is another protocol, or a star
    rig.say("query-ref", "c", "a", protocol="fipa-query", conversation_id="c2")
    for n in range(20):
        rig.say("cfp", "m", f"b{n}", protocol="fipa-contract-net", conversation_id="net")
    assert loops(rig) == []


def test_a_loop_that_is_below_one_bound_is_beyond_the_next() -> None:
    rig = Rig(max_repeats=1000)
    ping_pong(rig, 60)
    assert loops(rig) == []
    rig.tracker.configure(max_repeats=10)
    assert set(go_round(rig, 60)) == {MOVED}
    assert len(loops(rig)) == 1
    rig.tracker.configure(max_repeats=10, stop_loops=True)
    assert LOOP in go_round(rig, 2)
    assert loops(rig) == [], "it was told"
    rig.tracker.configure(max_repeats=1000, stop_loops=True)
    assert LOOP not in go_round(rig, 2)


@pytest.mark.slow
def test_threads_step_while_others_look() -> None:
    """The same conversations on two threads, and everything that Trio's thread asks meanwhile."""
    tracker = Tracker()
    changes = cycle([0, 1, 5, 100])
    clock = Clock()
    acts = (
        ("request", "a", "b"),
        ("agree", "b", "a"),
        ("propose", "b", "a"),
        ("inform", "b", "a"),
        ("cancel", "a", "b"),
    )
    said = [
        Message(str(uuid.uuid4()), "fipa-request", act, sender, receiver, str(uuid.uuid4()))
        for _ in range(20)
        for act, sender, receiver in acts
    ]

    def run() -> None:
        for _ in range(5):
            # blocks of its own: the messages change as they are counted on
            tracker.time_steps([(envelope(message, clock), message.receiver) for message in said], 100, fresh=True)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        tracker.tick()
        tracker.wait_seconds()
        tracker.reap(16)
        tracker.collect()
        tracker.read_events()
        tracker.list(limit=5, state="done")
        tracker.complete(said[0].conversation_id)
        tracker.undelivered(envelope(said[0], clock), "b")
        tracker.taken([envelope(said[0], clock)], "b")
        limits = next(changes)
        tracker.configure(keeps=True, kept_ended=limits, max_repeats=limits, first_answer=limits / 1e5, max_hops=limits)
    for thread in threads:
        thread.join()
    found = tracker.statistics()
    assert found.steps == 2 * 5 * 100 * len(said)
    assert found.moved + found.repeated + found.out_of_sequence + found.untracked == found.steps
    for conversation in tracker.list(limit=1000).conversations:
        assert tracker.get(conversation.id) is not None
