"""The machine: a table of small conversations, then random acts in every protocol."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton.core.performatives import Performative as Act
from caxton.core.protocols import (
    BROKERING,
    CONTRACT_NET,
    DUTCH_AUCTION,
    ENGLISH_AUCTION,
    ITERATED_CONTRACT_NET,
    PROPOSE,
    PROTOCOLS,
    QUERY,
    RECRUITING,
    REQUEST,
    REQUEST_WHEN,
    SUBSCRIBE,
    Group,
    Kind,
    Machine,
    Protocol,
    Timing,
    find,
)
from caxton.core.protocols.protocol import START, I, P

# the protocol; acts with `>` of the initiator and `<` of the participant; the state behind each
STORIES: list[tuple[Protocol, str, str]] = [
    (REQUEST, ">request <agree <inform", "DECIDE WORKING DONE"),
    (REQUEST, ">request <agree <failure", "DECIDE WORKING FAILED"),
    (REQUEST, ">request <refuse", "DECIDE REFUSED"),
    (REQUEST, ">request <inform", "DECIDE DONE"),
    (REQUEST, ">request <not-understood", "DECIDE NOT_UNDERSTOOD"),
    (REQUEST, ">request >not-understood", "DECIDE NOT_UNDERSTOOD"),
    (REQUEST, ">request <agree >cancel <inform", "DECIDE WORKING CANCELLING CANCELLED"),
    (REQUEST, ">request <agree >cancel <failure <inform", "DECIDE WORKING CANCELLING WORKING DONE"),
    (QUERY, ">query-if <inform", "DECIDE DONE"),
    (QUERY, ">query-ref <agree <failure", "DECIDE WORKING FAILED"),
    (QUERY, ">query-if <inform-if", "DECIDE DONE"),
    (REQUEST_WHEN, ">request-when <agree <inform", "DECIDE ARMED DONE"),
    (REQUEST_WHEN, ">request-when <agree <refuse", "DECIDE ARMED REFUSED"),
    (CONTRACT_NET, ">cfp <propose >accept-proposal <inform", "BIDDING PROPOSED COMMITTED DONE"),
    (CONTRACT_NET, ">cfp <propose >accept-proposal <failure", "BIDDING PROPOSED COMMITTED FAILED"),
    (CONTRACT_NET, ">cfp <propose >reject-proposal", "BIDDING PROPOSED REJECTED"),
    (CONTRACT_NET, ">cfp <refuse", "BIDDING REFUSED"),
    (CONTRACT_NET, ">cfp <failure", "BIDDING FAILED"),
    (
        ITERATED_CONTRACT_NET,
        ">cfp <propose >cfp <propose >accept-proposal",
        "BIDDING PROPOSED BIDDING PROPOSED COMMITTED",
    ),
    (PROPOSE, ">propose <accept-proposal", "OFFERED ACCEPTED"),
    (PROPOSE, ">propose <reject-proposal", "OFFERED REJECTED"),
    (SUBSCRIBE, ">subscribe <agree <inform <inform <failure", "DECIDE ACTIVE ACTIVE ACTIVE FAILED"),
    (SUBSCRIBE, ">subscribe <refuse", "DECIDE REFUSED"),
    (SUBSCRIBE, ">subscribe <inform >cancel <inform", "DECIDE ACTIVE CANCELLING CANCELLED"),
    (BROKERING, ">proxy <agree <failure", "DECIDE MATCHING FAILED"),
    (BROKERING, ">proxy <agree <inform <propose <inform <failure", "DECIDE MATCHING PROXIED PROXIED PROXIED FAILED"),
    (RECRUITING, ">proxy <agree <inform", "DECIDE MATCHING DONE"),
    (ENGLISH_AUCTION, ">inform >cfp <propose >accept-proposal >cfp >inform", "OPEN CALLED BID LEADING CALLED ENDED"),
    (ENGLISH_AUCTION, ">inform >cfp <propose >reject-proposal >cfp >cfp", "OPEN CALLED BID OPEN CALLED CALLED"),
    (DUTCH_AUCTION, ">inform >cfp >cfp <propose >accept-proposal >inform", "OPEN CALLED CALLED BID WON ENDED"),
    (DUTCH_AUCTION, ">inform >cfp <propose >reject-proposal >inform", "OPEN CALLED BID OPEN ENDED"),
]

# the same, where the last act changes nothing: `=` legal, `!` out of sequence
STILL: list[tuple[Protocol, str, str]] = [
    (REQUEST, ">request >request", "="),
    (REQUEST, ">request <agree <agree", "="),
    (REQUEST, ">request <inform <agree", "="),
    (REQUEST, ">request <failure <agree", "="),
    (REQUEST, ">request <agree <inform <agree", "!"),
    (REQUEST, ">request <inform <inform", "="),
    (REQUEST, ">request <inform <failure", "!"),
    (REQUEST, ">request <inform >cancel", "="),
    (REQUEST, ">request <inform >cancel <failure", "="),
    (REQUEST, ">request <inform >request", "!"),
    (REQUEST, ">request <agree >request", "!"),
    (REQUEST, ">request <refuse <inform", "!"),
    (REQUEST, ">request >cancel >cancel", "="),
    (REQUEST, ">request <cancel", "!"),
    (REQUEST, ">request >inform", "!"),
    (REQUEST, ">inform", "!"),
    (REQUEST, "<inform", "!"),
    (REQUEST, ">cancel", "!"),
    (REQUEST, ">not-understood", "!"),
    (REQUEST, ">request <propose", "!"),
    (SUBSCRIBE, ">subscribe <inform <agree", "="),
    (CONTRACT_NET, ">cfp >cfp", "="),
    (CONTRACT_NET, ">cfp <propose >cfp", "!"),
    (CONTRACT_NET, ">cfp >accept-proposal", "!"),
    (CONTRACT_NET, ">cfp <propose <inform", "!"),
    (PROPOSE, ">propose <inform", "!"),
]


def acts(story: str) -> list[tuple[str, Act]]:
    return [(word[0], Act(word[1:])) for word in story.split()]


def play(machine: Machine, story: str) -> list[str]:
    states = []
    for number, (sign, act) in enumerate(acts(story)):
        machine.step(I if sign == ">" else P, act, now=float(number))
        states.append(machine.state)
    return states


@pytest.mark.parametrize(("protocol", "story", "states"), STORIES, ids=[f"{p.name}: {s}" for p, s, _ in STORIES])
def test_a_conversation_goes_its_way(protocol: Protocol, story: str, states: str) -> None:
    machine = Machine(protocol)
    assert play(machine, story) == states.split()
    assert machine.out_of_sequence == machine.repeated == 0


@pytest.mark.parametrize(("protocol", "story", "states"), STORIES, ids=[f"{p.name}: {s}" for p, s, _ in STORIES])
def test_an_agent_that_talks_to_itself_goes_the_same_way(protocol: Protocol, story: str, states: str) -> None:
    machine, found = Machine(protocol), []
    for number, (_, act) in enumerate(acts(story)):
        machine.step(machine.role_of(act), act, now=float(number))
        found.append(machine.state)
    assert found == states.split()


@pytest.mark.parametrize(("protocol", "story", "sign"), STILL, ids=[f"{p.name}: {s}" for p, s, _ in STILL])
def test_what_changes_nothing(protocol: Protocol, story: str, sign: str) -> None:
    machine = Machine(protocol)
    *before, (side, act) = acts(story)
    for number, (role, earlier) in enumerate(before):
        machine.step(I if role == ">" else P, earlier, now=float(number))
    main = machine.main
    illegal = machine.out_of_sequence
    step = machine.step(I if side == ">" else P, act, now=9.0)
    assert step.kind is (Kind.REPEATED if sign == "=" else Kind.OUT_OF_SEQUENCE)
    assert machine.main == main
    assert machine.out_of_sequence - illegal == (sign == "!")


def test_what_was_expected_is_told() -> None:
    machine = Machine(CONTRACT_NET)
    play(machine, ">cfp <propose")
    told = machine.step(P, Act.INFORM, now=3.0).told
    assert told == "reject-proposal by the initiator or accept-proposal by the initiator or cancel by the initiator"


def test_the_same_message_again_is_no_second_notification() -> None:
    machine = Machine(SUBSCRIBE)
    play(machine, ">subscribe <agree")
    assert machine.step(P, Act.INFORM, now=3.0, message_id="a").kind is Kind.MOVED
    assert machine.step(P, Act.INFORM, now=4.0, message_id="a").kind is Kind.REPEATED
    assert machine.step(P, Act.INFORM, now=5.0, message_id="b").kind is Kind.MOVED


class TestCancel:
    def test_a_result_that_was_on_its_way_wins(self) -> None:
        machine = Machine(REQUEST)
        machine.step(I, Act.REQUEST, now=0.0, reply_with="r1")
        machine.step(I, Act.CANCEL, now=1.0, reply_with="c1")
        machine.step(P, Act.INFORM, now=2.0, in_reply_to="r1")
        assert machine.state == "DONE"
        # and the answer to the cancel, behind it, is legal
        assert machine.step(P, Act.FAILURE, now=3.0, in_reply_to="c1").kind is Kind.REPEATED

    def test_a_notification_between_is_none_of_its_answers(self) -> None:
        machine = Machine(SUBSCRIBE)
        machine.step(I, Act.SUBSCRIBE, now=0.0, reply_with="s1")
        machine.step(P, Act.AGREE, now=1.0)
        machine.step(I, Act.CANCEL, now=2.0, reply_with="c1")
        machine.step(P, Act.INFORM, now=3.0, in_reply_to="s1")
        assert machine.state == "CANCELLING"
        machine.step(P, Act.INFORM, now=4.0, in_reply_to="c1")
        assert machine.state == "CANCELLED"

    def test_one_that_fails_gives_the_deadline_back(self) -> None:
        machine = Machine(CONTRACT_NET)
        machine.step(I, Act.CFP, now=0.0, deadline=10.0)
        machine.step(I, Act.CANCEL, now=1.0, deadline=2.0)
        assert machine.next_deadline() == 2.0
        machine.step(P, Act.FAILURE, now=1.5)
        assert machine.next_deadline() == 10.0

    def test_one_without_an_answer_times_out(self) -> None:
        machine = Machine(SUBSCRIBE, Timing(first_answer=5.0))
        play(machine, ">subscribe <agree >cancel")
        assert machine.tick(machine.next_deadline()) == "TIMED_OUT"


class TestTime:
    @pytest.mark.parametrize(
        ("protocol", "story", "state"),
        [
            (REQUEST, ">request", "TIMED_OUT"),
            (CONTRACT_NET, ">cfp", "NO_BID"),
            (ITERATED_CONTRACT_NET, ">cfp <propose >cfp", "NO_BID"),
            (ENGLISH_AUCTION, ">inform >cfp", "NO_BID"),
            (PROPOSE, ">propose", "TIMED_OUT"),
        ],
    )
    def test_the_default_ends_the_wait_for_a_first_answer(self, protocol: Protocol, story: str, state: str) -> None:
        machine = Machine(protocol, Timing(first_answer=60.0))
        play(machine, story)
        last = len(story.split()) - 1.0
        assert machine.next_deadline() == last + 60.0
        assert machine.tick(last + 59.0) is None
        assert machine.tick(last + 60.0) == state

    @pytest.mark.parametrize(
        ("protocol", "story"),
        [
            (REQUEST, ">request <agree"),
            (REQUEST_WHEN, ">request-when <agree"),
            (SUBSCRIBE, ">subscribe <agree"),
            (CONTRACT_NET, ">cfp <propose"),
            (ENGLISH_AUCTION, ">inform"),
        ],
    )
    def test_who_works_has_promised_or_lasts_has_no_deadline(self, protocol: Protocol, story: str) -> None:
        machine = Machine(protocol)
        play(machine, story)
        assert machine.next_deadline() == inf

    def test_reply_by_is_the_deadline_of_who_answers(self) -> None:
        machine = Machine(CONTRACT_NET)
        machine.step(I, Act.CFP, now=0.0, deadline=3.0)
        assert machine.next_deadline() == 3.0
        machine.step(P, Act.PROPOSE, now=1.0, deadline=8.0)
        assert machine.next_deadline() == 8.0
        machine.step(I, Act.ACCEPT_PROPOSAL, now=2.0, deadline=20.0)
        assert machine.tick(20.0) == "TIMED_OUT"

    def test_a_bid_that_comes_too_late_is_rejected_by_the_platform(self) -> None:
        machine = Machine(CONTRACT_NET)
        machine.step(I, Act.CFP, now=0.0, deadline=3.0)
        machine.tick(3.0)
        step = machine.step(P, Act.PROPOSE, now=3.1)
        assert (step.kind, step.answer, machine.state) == (Kind.LATE, Act.REJECT_PROPOSAL, "NO_BID")

    def test_who_did_not_bid_is_called_again(self) -> None:
        machine = Machine(ENGLISH_AUCTION)
        play(machine, ">inform >cfp")
        machine.tick(1e6)
        assert machine.step(I, Act.CFP, now=1e6).kind is Kind.MOVED
        assert (machine.state, machine.round) == ("CALLED", 3)

    def test_rounds_are_bounded(self) -> None:
        machine = Machine(ITERATED_CONTRACT_NET, Timing(max_rounds=2))
        play(machine, ">cfp <propose >cfp <propose")
        step = machine.step(I, Act.CFP, now=5.0)
        assert (step.kind, step.told) == (Kind.OUT_OF_SEQUENCE, "no further round: 2 at most")
        assert machine.step(I, Act.ACCEPT_PROPOSAL, now=6.0).kind is Kind.MOVED


class TestEnds:
    def test_a_message_that_could_not_be_delivered_ends_its_session(self) -> None:
        machine = Machine(REQUEST)
        machine.step(I, Act.REQUEST, now=0.0, message_id="a")
        assert machine.undelivered("a", 1.0)
        assert machine.state == "UNDELIVERED"

    def test_and_goes_on_when_it_is_sent_again(self) -> None:
        machine = Machine(REQUEST)
        machine.step(I, Act.REQUEST, now=0.0, message_id="a")
        machine.undelivered("a", 1.0)
        assert machine.step(I, Act.REQUEST, now=2.0, message_id="a").kind is Kind.MOVED
        assert (machine.state, machine.next_deadline()) == ("DECIDE", 62.0)
        assert machine.step(I, Act.REQUEST, now=3.0, message_id="a").kind is Kind.REPEATED
        assert machine.step(P, Act.INFORM, now=4.0).kind is Kind.MOVED

    def test_but_not_when_more_was_said_since(self) -> None:
        machine = Machine(REQUEST)
        machine.step(I, Act.REQUEST, now=0.0, message_id="a")
        machine.step(P, Act.AGREE, now=0.5, message_id="b")
        assert not machine.undelivered("a", 1.0)
        assert machine.state == "WORKING"

    def test_a_broker_is_done_when_what_it_opened_is(self) -> None:
        machine = Machine(BROKERING)
        play(machine, ">proxy <agree <inform")
        assert machine.complete(4.0)
        assert machine.state == "DONE"
        assert not Machine(SUBSCRIBE).complete(0.0)

    def test_what_is_over_is_not_abandoned(self) -> None:
        machine = Machine(REQUEST)
        play(machine, ">request <inform")
        assert not machine.abandon(9.0)
        assert machine.state == "DONE"


def test_after_a_crash_what_was_said_may_be_said_again() -> None:
    machine = Machine(REQUEST)
    play(machine, ">request <agree")
    machine.recovered = True
    assert machine.step(I, Act.REQUEST, now=9.0).kind is Kind.REPEATED
    assert machine.step(P, Act.AGREE, now=9.1).kind is Kind.REPEATED
    assert machine.step(P, Act.INFORM, now=9.2).kind is Kind.MOVED
    assert machine.step(I, Act.REQUEST, now=9.3).kind is Kind.OUT_OF_SEQUENCE


class TestGroup:
    def test_calls_are_refusals_proposals_not_understood_and_no_bids(self) -> None:
        group = Group(CONTRACT_NET)
        for peer in "abcd":
            group.session(peer).step(I, Act.CFP, now=0.0, deadline=5.0)
        group.session("a").step(P, Act.PROPOSE, now=1.0)
        group.session("b").step(P, Act.REFUSE, now=1.0)
        group.session("c").step(P, Act.NOT_UNDERSTOOD, now=1.0)
        assert group.waiting == ["d"]
        assert group.next_deadline() == 5.0
        assert list(group.tick(5.0)) == [("d", "NO_BID")]
        assert group.is_answered
        assert not group.is_final
        assert group.counts() == {"PROPOSED": 1, "REFUSED": 1, "NOT_UNDERSTOOD": 1, "NO_BID": 1}
        group.session("a").step(I, Act.REJECT_PROPOSAL, now=6.0)
        assert group.is_final


# -- every protocol, random acts --

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("step"),
            st.sampled_from([I, P]),
            st.sampled_from(list(Act)),
            st.sampled_from(["", "a", "b", "c", "d", "e", "f"]),
            st.sampled_from(["", "x", "y"]),
            st.sampled_from([None, 0.5, 3.0]),
        ),
        st.tuples(st.just("tick"), st.sampled_from([0.1, 1.0, 100.0])),
    ),
    max_size=30,
)


def shown(machine: Machine) -> tuple[object, ...]:
    return (machine.main, machine.cancel, machine.round, machine.deadline, machine.last, machine.since, machine.last_id)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.name)
@given(steps=STEPS)
def test_an_illegal_act_changes_nothing_and_is_reported(protocol: Protocol, steps: list[tuple[object, ...]]) -> None:
    machine, now = Machine(protocol), 0.0
    for kind, *values in steps:
        now += 0.25
        if kind == "tick":
            now += values[0]  # type: ignore[operator]  # the lists are of mixed types
            machine.tick(now)
            assert machine.next_deadline() > now
            continue
        role, act, message_id, name, delay = values
        before, reported = shown(machine), machine.out_of_sequence
        step = machine.step(  # type: ignore[call-overload]
            role,  # type: ignore[arg-type]
            act,  # type: ignore[arg-type]
            now=now,
            message_id=message_id,  # type: ignore[arg-type]
            reply_with=name,  # type: ignore[arg-type]
            in_reply_to=name,  # type: ignore[arg-type]
            deadline=None if delay is None else now + delay,  # type: ignore[operator]
        )
        legal = (role, act) in protocol.rows(before[0])  # type: ignore[arg-type]
        if step.kind is Kind.MOVED:
            assert legal or act is Act.CANCEL or before[1] == "CANCELLING"
        else:
            assert shown(machine)[0] == before[0]
            assert (machine.round, machine.last, machine.since) == (before[2], before[4], before[5])
        if step.kind in (Kind.OUT_OF_SEQUENCE, Kind.LATE):
            assert shown(machine) == before
            assert machine.out_of_sequence == reported + 1
        if machine.is_final:
            assert machine.next_deadline() == inf


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.name)
class TestTables:
    def test_every_state_is_reached(self, protocol: Protocol) -> None:
        reached, new = set(), {START}
        while new:
            state = new.pop()
            reached.add(state)
            after = {*protocol.rows(state).values(), *([protocol.expiry[state]] if state in protocol.expiry else [])}
            new |= after - reached
        # brokering's DONE is the platform's word, by `complete`
        assert set(protocol.table) - reached <= {"DONE"}
        assert protocol is BROKERING or set(protocol.table) <= reached

    def test_every_state_leads_to_an_end(self, protocol: Protocol) -> None:
        ending = {state for state in protocol.states if protocol.is_final(state)}
        for _ in protocol.states:
            ending |= {s for s in protocol.states if any(after in ending for after in protocol.rows(s).values())}
        assert ending == set(protocol.states)

    def test_only_the_initiator_begins(self, protocol: Protocol) -> None:
        assert {role for role, _ in protocol.table[START]} == {I}

    def test_who_made_an_act_is_never_in_doubt(self, protocol: Protocol) -> None:
        """An agent that talks to itself: no state lets both sides make the same act."""
        for state in protocol.table:
            both = [act for role, act in protocol.table[state] if (role.other, act) in protocol.table[state]]
            assert both == []

    def test_what_is_said_about_states_is_about_its_states(self, protocol: Protocol) -> None:
        named = protocol.awaited | protocol.lasting | protocol.promises | set(protocol.expiry)
        assert named <= set(protocol.table)
        assert {state for state, *_ in protocol.overtaken | protocol.rounds} | {s for s, _ in protocol.late} <= set(
            protocol.table
        )
        assert all(protocol.owes(state) is not None for state in protocol.awaited | set(protocol.expiry))


def test_tokens_have_aliases_and_no_case() -> None:
    assert find("fipa-english-auction") is find("FIPA-Auction-English") is ENGLISH_AUCTION
    assert find("fipa-dutch-auction") is DUTCH_AUCTION
    assert find("my-own") is None
    assert len(PROTOCOLS) == 11
