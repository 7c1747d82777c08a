"""The initiator of a contract net: calls, compares, awards, and awards again when a winner fails.

    call ── propose ──▶ proposed ── accept ──▶ awarded ── inform ──▶ done
      │ refuse, not-understood, failure            │ failure, not-understood, no result in time
      ▼                                            ▼
    refused, …                              the next best bid, else a new round

Source: FIPA SC00029H and SC00030H (reference tables: caxton.core.protocols). What they leave open is decided here:

Rule 1: a round ends when everybody has answered or `wait` seconds have passed, whichever is first. Who has not
        answered is `no_bid`; a proposal that comes later is answered `reject-proposal`, reason "late", once.
Rule 2: the best `winners` bids are accepted. The next `standby` are not answered until the work is done: they are who
        gets it when a winner fails. All others are rejected at once. A proposal may say by its own reply_by how long
        it holds; after that it is rejected.
Rule 3: when a winner fails and nobody stands by, those who proposed and have not failed are called again. A session
        that ended stays ended, so each round is a conversation of its own (`<id>`, `<id>/2`, …), `rounds` at most.
Rule 4: a bid that is none (bids.py) is rejected with the reason, and cost nobody anything.
Rule 5: with `improvements` it is the iterated contract net: within a round, those who proposed are called again, so
        often, and told the best bid so far.
Rule 6: a winner that takes longer than `work` seconds is sent `cancel` and counts as failed. If its result comes all
        the same while somebody is still wanted, it counts.
"""

from enum import StrEnum
from math import inf
from typing import Any, Final

import msgspec

from caxton.core.negotiation.bids import BadBid, Bid, Strategy, rank, read_bid
from caxton.core.negotiation.messages import NULL, PLATFORM, Heard, Negotiation, Status, keep_json, shown, why
from caxton.core.performatives import Performative as P

CONTRACT_NET: Final = "fipa-contract-net"
ITERATED: Final = "fipa-iterated-contract-net"


class PeerState(StrEnum):
    CALLED = "called"
    PROPOSED = "proposed"
    REFUSED = "refused"
    NOT_UNDERSTOOD = "not_understood"
    FAILED = "failed"
    NO_BID = "no_bid"
    LATE = "late"  # no_bid, and its late proposal was rejected
    REJECTED = "rejected"
    AWARDED = "awarded"
    DONE = "done"
    TIMED_OUT = "timed_out"  # awarded, and no result in time
    CANCELLED = "cancelled"


S = PeerState

# what ends a peer's part while it is called, has proposed or works
ENDS: Final = {
    P.REFUSE: S.REFUSED,
    P.NOT_UNDERSTOOD: S.NOT_UNDERSTOOD,
    P.FAILURE: S.FAILED,
}
# by state: the acts that are expected; everything else is noted and changes nothing
EXPECTED: Final = {
    S.CALLED: {P.PROPOSE, P.REFUSE, P.NOT_UNDERSTOOD, P.FAILURE},
    S.PROPOSED: {P.NOT_UNDERSTOOD},
    S.AWARDED: {P.INFORM, P.NOT_UNDERSTOOD, P.FAILURE},
    S.NO_BID: {P.PROPOSE},
    S.TIMED_OUT: {P.INFORM, P.FAILURE},
    S.CANCELLED: {P.INFORM, P.FAILURE, P.REFUSE, P.NOT_UNDERSTOOD},
}
UNDONE: Final = frozenset({S.FAILED, S.NOT_UNDERSTOOD, S.TIMED_OUT})  # of one who was awarded the work


class Peer(msgspec.Struct, kw_only=True):
    """One participant in one round."""

    state: PeerState = S.CALLED
    since: float
    asked: list[str] = []  # the reply_with of everything it was sent
    answer: str = ""  # the reply_with of its proposal
    holds_until: float = 0.0  # its proposal; 0: for ever
    was_awarded: bool = False
    due: float = 0.0  # when its result is, once it is awarded
    bid: Bid | None = None
    reason: str = ""
    result: msgspec.Raw = NULL


class Round(msgspec.Struct, kw_only=True):
    conversation: str
    deadline: float
    iteration: int = 0
    is_open: bool = True
    calls: int = 0  # peers that have not answered
    peers: dict[str, Peer] = {}


class ContractNet(Negotiation, tag="contract-net", kw_only=True):
    wait: float = 30.0  # seconds for proposals
    work: float = 0.0  # seconds from the award to the result; 0: without end
    winners: int = 1
    standby: int = 1
    max_rounds: int = 3
    improvements: int = 0
    strategy: Strategy = Strategy()
    rounds: list[Round] = msgspec.field(default_factory=list)

    # -- what the initiator does --

    def start(self, now: float) -> None:
        """Call everybody."""
        self.started_at = now
        self.status = Status.CALLING
        if not self.participants:
            self.end(Status.FAILED, "there is nobody to call", now)
            return
        self._open_round(list(dict.fromkeys(self.participants)), now)

    def receive(self, heard: Heard, now: float) -> None:
        """A message of a participant, or of somebody else."""
        if self.rounds and self.rounds[-1].is_open and (heard.at or now) >= self.rounds[-1].deadline:
            self._go_on(now)
        found = self._find(heard)
        if found is None:
            self._receive_from_stranger(heard, now)
            return
        round, name, peer = found
        act = heard.act
        is_answer = not heard.in_reply_to or heard.in_reply_to in peer.asked
        is_expected = act in EXPECTED.get(peer.state, ()) and (heard.sender != PLATFORM or act is P.FAILURE)
        if act is None or not is_expected or not is_answer:
            self._out_of_sequence(heard, peer, is_answer, now)
            return
        if peer.state is S.CALLED:
            self._answered(round, name, peer, act, heard, now)
        elif peer.state is S.NO_BID:
            self._reject(round, name, peer, "late", now, state=S.LATE, in_reply_to=heard.reply_with)
            return
        elif peer.state is S.PROPOSED:
            self._leave(peer, ENDS[act], why(heard.content), now)
        else:
            self._worked(peer, name, act, heard, now)
        self._go_on(now)

    def unreachable(self, message_id: str, name: str, conversation: str, reason: str, now: float) -> None:
        """What was said could not be sent at all."""
        for round in self.rounds:
            peer = round.peers.get(name)
            if round.conversation != conversation or peer is None:
                continue
            if peer.state in (S.CALLED, S.PROPOSED, S.AWARDED):
                if peer.state is S.CALLED:
                    round.calls -= 1
                self._leave(peer, S.FAILED, reason, now)
            else:
                self.note(now, name, f"could not be told: {reason}")
        self._go_on(now)

    def tick(self, now: float) -> None:
        """Time has passed."""
        for round in self.rounds:
            for name, peer in round.peers.items():
                if peer.state is S.AWARDED and peer.due and peer.due <= now:
                    self._leave(peer, S.TIMED_OUT, f"no result within {self.work:g} s", now)
                    self._cancel(round, name, peer, "it took too long")
                elif peer.state is S.PROPOSED and peer.holds_until and peer.holds_until <= now:
                    self._reject(round, name, peer, "the time until which it held has passed", now)
        self._go_on(now)

    def next_deadline(self) -> float:
        if self.is_over:
            return inf
        times = [round.deadline for round in self.rounds if round.is_open]
        for round in self.rounds:
            for peer in round.peers.values():
                if peer.state is S.AWARDED and peer.due:
                    times.append(peer.due)
                elif peer.state is S.PROPOSED and peer.holds_until:
                    times.append(peer.holds_until)
        return min(times, default=inf)

    def cancel(self, reason: str, now: float) -> None:
        """Stop: proposals are rejected, those who were called or work are sent `cancel`."""
        if self.is_over:
            return
        for round in self.rounds:
            round.is_open = False
            for name, peer in round.peers.items():
                if peer.state is S.PROPOSED:
                    self._reject(round, name, peer, reason, now)
                elif peer.state in (S.CALLED, S.AWARDED):
                    self._leave(peer, S.CANCELLED, reason, now)
                    self._cancel(round, name, peer, reason)
        self.end(Status.CANCELLED, reason, now)

    # -- what came of it --

    def of_state(self, *states: PeerState) -> list[tuple[str, Peer]]:
        """Peers of all rounds, the latest part that each has played."""
        latest = {name: peer for round in self.rounds for name, peer in round.peers.items()}
        return [(name, peer) for name, peer in latest.items() if peer.state in states]

    @property
    def results(self) -> list[tuple[str, Peer]]:
        return [(name, peer) for round in self.rounds for name, peer in round.peers.items() if peer.state is S.DONE]

    @property
    def working(self) -> list[tuple[str, Peer]]:
        return [(name, peer) for round in self.rounds for name, peer in round.peers.items() if peer.state is S.AWARDED]

    # -- rounds --

    @property
    def _protocol(self) -> str:
        return ITERATED if self.improvements else CONTRACT_NET

    def _open_round(self, names: list[str], now: float) -> None:
        number = len(self.rounds) + 1
        round = Round(conversation=self.id if number == 1 else f"{self.id}/{number}", deadline=now + self.wait)
        self.rounds.append(round)
        for name in names:
            round.peers[name] = Peer(since=now)
            self._call(round, name, now)

    def _call(self, round: Round, name: str, now: float, best: Bid | None = None) -> None:
        peer = round.peers[name]
        condition: dict[str, Any] = {"winners": self.winners, "strategy": self.strategy.name}
        if round.iteration:
            condition["iteration"] = round.iteration + 1
        if best is not None:
            condition["best_bid"] = best.values
        content = {"action": self.action, "condition": condition}
        asked = self.say(
            P.CFP,
            name,
            content,
            conversation=round.conversation,
            protocol=self._protocol,
            in_reply_to=peer.answer,
            reply_by=round.deadline,
        )
        peer.asked.append(asked)
        peer.state, peer.since = S.CALLED, now
        round.calls += 1

    def _go_on(self, now: float) -> None:
        """Whatever follows from what happened."""
        if self.is_over or not self.rounds:
            return
        round = self.rounds[-1]
        if round.is_open and (not round.calls or now >= round.deadline):
            self._close(round, now)
        if not round.is_open:
            self._award_more(round, now)

    def _close(self, round: Round, now: float) -> None:
        for peer in round.peers.values():
            if peer.state is S.CALLED:
                self._leave(peer, S.NO_BID, "no answer in time", now)
        round.calls = 0
        proposed = {name: peer.bid for name, peer in round.peers.items() if peer.state is S.PROPOSED and peer.bid}
        if round.iteration < self.improvements and len(proposed) > 1:
            best = proposed[rank(self.strategy, proposed)[0]]
            round.iteration += 1
            round.deadline = now + self.wait
            for name in proposed:
                self._call(round, name, now, best)
            return
        round.is_open = False

    # -- awards --

    @property
    def _wanted(self) -> int:
        """How many more winners there should be."""
        return self.winners - len(self.results) - len(self.working)

    def _award_more(self, round: Round, now: float) -> None:
        bids = {name: peer.bid for name, peer in round.peers.items() if peer.state is S.PROPOSED and peer.bid}
        wanted = max(0, self._wanted)
        ranked = rank(self.strategy, bids) if bids else []
        for name in ranked[:wanted]:
            self._accept(round, name, now)
        spare = ranked[wanted:]
        is_working = bool(self.working)
        reason = "another proposal was better" if is_working or self.results else "nothing is awarded any more"
        for name in spare[self.standby if is_working else 0 :]:
            self._reject(round, name, round.peers[name], reason, now)
        if is_working:
            self.status = Status.IN_PROGRESS
        if self._wanted > 0 and self._may_call_again(round):
            self.status = self.status if is_working else Status.CALLING
            self._open_round(self._who_may_work(), now)
        elif not is_working:
            self._finish(round, now)

    def _may_call_again(self, round: Round) -> bool:
        """Only a winner that failed is a reason for another round: that few bid at all is an answer."""
        has_failed = any(peer.was_awarded and peer.state in UNDONE for r in self.rounds for peer in r.peers.values())
        return has_failed and len(self.rounds) < self.max_rounds and bool(self._who_may_work())

    def _who_may_work(self) -> list[str]:
        """Those whose last part in this was a bid that somebody else's beat."""
        return [name for name, peer in self.of_state(S.REJECTED) if peer.bid is not None]

    def _accept(self, round: Round, name: str, now: float) -> None:
        peer = round.peers[name]
        assert peer.bid is not None
        asked = self.say(
            P.ACCEPT_PROPOSAL,
            name,
            {"action": self.action, "condition": peer.bid.values},
            conversation=round.conversation,
            protocol=self._protocol,
            in_reply_to=peer.answer,
            reply_by=now + self.work if self.work else 0.0,
        )
        peer.asked.append(asked)
        peer.state, peer.since, peer.was_awarded = S.AWARDED, now, True
        peer.due = now + self.work if self.work else 0.0

    def _reject(
        self,
        round: Round,
        name: str,
        peer: Peer,
        reason: str,
        now: float,
        *,
        state: PeerState = S.REJECTED,
        in_reply_to: str = "",
    ) -> None:
        self._leave(peer, state, reason, now)
        condition = peer.bid.values if peer.bid is not None else {}
        self.say(
            P.REJECT_PROPOSAL,
            name,
            {"action": {"task_id": self.id}, "condition": condition, "reason": reason},
            conversation=round.conversation,
            protocol=self._protocol,
            in_reply_to=in_reply_to or peer.answer,
            expects=False,
        )

    def _cancel(self, round: Round, name: str, peer: Peer, reason: str) -> None:
        asked = self.say(
            P.CANCEL,
            name,
            {"action": {"task_id": self.id}, "reason": reason},
            conversation=round.conversation,
            protocol=self._protocol,
        )
        peer.asked.append(asked)

    def _finish(self, round: Round, now: float) -> None:
        done = len(self.results)
        if done >= self.winners:
            self.end(Status.COMPLETED, "", now)
        elif done:
            self.end(Status.PARTIAL, f"{done} of {self.winners} results: {self._shortage(round)}", now)
        else:
            self.end(Status.FAILED, self._shortage(round), now)

    def _shortage(self, round: Round) -> str:
        counts: dict[str, int] = {}
        for peer in round.peers.values():
            counts[peer.state] = counts.get(peer.state, 0) + 1
        said = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in sorted(counts.items()))
        failed = [n for r in self.rounds for n, peer in r.peers.items() if peer.was_awarded and peer.state in UNDONE]
        if failed:
            return f"{', '.join(failed[:5])} did not do the work, and nobody else could be asked ({said})"
        return f"nobody proposed anything usable ({said})"

    # -- what participants do --

    def _find(self, heard: Heard) -> tuple[Round, str, Peer] | None:
        for round in self.rounds:
            if heard.sender == PLATFORM:  # about somebody: whom, says what it answers
                for name, peer in round.peers.items():
                    if heard.in_reply_to and heard.in_reply_to in peer.asked:
                        return round, name, peer
            elif heard.conversation_id == round.conversation and heard.sender in round.peers:
                return round, heard.sender, round.peers[heard.sender]
        return None

    def _receive_from_stranger(self, heard: Heard, now: float) -> None:
        if heard.sender == PLATFORM:
            self.note(now, PLATFORM, f"{heard.performative}: {why(heard.content)}")
            return
        self.note(now, heard.sender, f"sent {heard.performative}, but was not called")
        if heard.performative == P.PROPOSE:
            self.say(
                P.REJECT_PROPOSAL,
                heard.sender,
                {"action": {"task_id": self.id}, "condition": {}, "reason": "not called"},
                conversation=heard.conversation_id,
                protocol=self._protocol,
                in_reply_to=heard.reply_with,
                expects=False,
            )

    def _out_of_sequence(self, heard: Heard, peer: Peer, is_answer: bool, now: float) -> None:
        if heard.again:
            return  # at-least-once delivery explains it
        if is_answer:
            self.note(now, heard.sender, f"out of sequence: {heard.performative} while {peer.state.replace('_', ' ')}")
        else:
            text = shown(heard.in_reply_to.encode(errors="replace"))
            self.note(now, heard.sender, f"out of sequence: {heard.performative} in reply to {text!r}, never asked")

    def _answered(self, round: Round, name: str, peer: Peer, act: P, heard: Heard, now: float) -> None:
        round.calls -= 1
        if act is not P.PROPOSE:
            self._leave(peer, ENDS[act], why(heard.content), now)
            return
        peer.answer = heard.reply_with
        try:
            peer.bid = read_bid(heard.content)
        except BadBid as error:
            peer.bid = None
            self.note(now, name, f"bad bid: {error}")
            self._reject(round, name, peer, f"bad bid: {error}", now)
            return
        peer.state, peer.since = S.PROPOSED, now
        peer.holds_until = heard.reply_by

    def _worked(self, peer: Peer, name: str, act: P, heard: Heard, now: float) -> None:
        """The work of one who was awarded it has an end; or it was told to stop, and answers that."""
        if act is P.INFORM:
            is_result = peer.state is S.AWARDED or (
                not self.is_over and heard.in_reply_to != peer.asked[-1] and self._wanted > 0
            )
            if is_result:
                peer.result = keep_json(heard.content)
                peer.state, peer.since, peer.reason = S.DONE, now, ""
            elif peer.state is S.TIMED_OUT:
                self.note(now, name, "informs after its time")
        elif peer.state is S.AWARDED:
            self._leave(peer, ENDS[act], why(heard.content), now)
        else:
            self.note(now, name, f"answers the cancellation with {act}: {why(heard.content)}")

    def _leave(self, peer: Peer, state: PeerState, reason: str, now: float) -> None:
        peer.state, peer.since, peer.reason = state, now, reason
