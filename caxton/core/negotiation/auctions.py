"""The auctioneer of an English and of a Dutch auction.

Source: FIPA XC00031F and XC00032F, both experimental. What they leave open is decided here:

Rule 1: in an English auction the first proposal of a call is accepted, the others are rejected, and the price rises by
        `step`. Who holds the best price is not called: nobody outbids himself. A call without a proposal ends it. The
        last accepted bidder wins if its price reaches the reserve, and is asked to buy with a fipa-request in a
        conversation of its own (`<id>/buy`).
Rule 2: in a Dutch auction the price falls by `step` with each call. The first proposals, for as many goods as there
        are, are accepted and are sales; it ends when all is sold, or when the next price would be below the reserve.
Rule 3: a call lasts `wait` seconds, or until all who were called have answered. The standards let a bidder that is not
        interested stay silent; a `refuse` is taken as well, and makes the auction faster.
Rule 4: a proposal may name its price; one that is not the price called is rejected. A `refuse` passes this call; the
        next call comes to that bidder too. A `failure` or `not-understood` leaves the auction.
        Each call has its own reply_with, and a proposal without in_reply_to is rejected: it could mean an older price.
Rule 5: prices are written down as they are called: no more than MAX_CALLS of them.
"""

from enum import StrEnum
from math import inf
from typing import Any, Final

import msgspec

from caxton.core.negotiation.bids import BadBid, read_bid
from caxton.core.negotiation.messages import NULL, PLATFORM, Heard, Negotiation, Status, keep_json, shown, why
from caxton.core.performatives import Performative as P

ENGLISH: Final = "fipa-auction-english"
DUTCH: Final = "fipa-auction-dutch"
REQUEST: Final = "fipa-request"
MAX_CALLS: Final = 10_000


class BidderState(StrEnum):
    CALLED = "called"
    PASSED = "passed"  # refused this call; it may still think better of it
    REJECTED = "rejected"  # its proposal was
    BID = "bid"  # proposed in this call, which is not over
    SILENT = "silent"  # did not answer the last call in time
    HOLDER = "holder"  # of the best price; in a Dutch auction a buyer
    LEFT = "left"  # cannot be reached, or said failure


B = BidderState


class Bidder(msgspec.Struct, kw_only=True):
    state: BidderState = B.SILENT
    since: float = 0.0
    asked: list[str] = []  # the reply_with of the last call, and of what came after it
    calls: int = 0
    answer: str = ""  # the reply_with of its proposal
    late: int = 0  # proposals that were rejected, for they came too late
    reason: str = ""


class Sale(msgspec.Struct, frozen=True, kw_only=True):
    """Who gets it, and for how much."""

    bidder: str
    price: float
    at: float


class Auction(Negotiation, kw_only=True):
    """What both kinds share."""

    price: float  # of the current call; before, of the first
    step: float
    reserve: float = 0.0
    wait: float = 5.0
    calls: int = 0
    deadline: float = 0.0  # 0: nothing is waited for
    waiting: int = 0  # for so many answers to this call
    bidders: dict[str, Bidder] = msgspec.field(default_factory=dict)

    protocol = ""  # no annotation: of the class, not of the record

    # -- what the auctioneer does --

    def start(self, now: float) -> None:
        self.started_at = now
        self.status = Status.CALLING
        if not self.participants:
            self.end(Status.FAILED, "there is nobody to call", now)
            return
        for name in dict.fromkeys(self.participants):
            self.bidders[name] = Bidder(since=now)
            self._inform(name, {"auction": "start", "item": self.action, "price": self.price})
        self._call(now)

    def receive(self, heard: Heard, now: float) -> None:
        if not self.is_over and self._is_due(heard.at or now):
            self._close(now)
        if heard.sender == PLATFORM:
            self._unreached(heard, now)
            return
        bidder = self.bidders.get(heard.sender)
        if bidder is None or bidder.state is B.LEFT:
            self.note(now, heard.sender, f"sent {heard.performative}, but takes no part")
            return
        if heard.in_reply_to and heard.in_reply_to not in bidder.asked:
            if heard.act is P.PROPOSE and not self.is_over:
                self._late(heard, bidder, "late")
            else:
                text = shown(heard.in_reply_to.encode(errors="replace"))
                self.note(now, heard.sender, f"out of sequence: {heard.performative} in reply to {text!r}, never asked")
            return
        self._heard(heard, bidder, now)

    def unreachable(self, message_id: str, name: str, conversation: str, reason: str, now: float) -> None:
        """What was said could not be sent at all."""
        is_ours = conversation in (self.id, f"{self.id}/buy")
        if is_ours and (bidder := self.bidders.get(name)) is not None and bidder.state is not B.LEFT:
            self._leave(name, bidder, reason, now)

    def tick(self, now: float) -> None:
        if not self.is_over and self._is_due(now):
            self._close(now)

    def next_deadline(self) -> float:
        return inf if self.is_over else self.deadline or inf

    def _is_due(self, at: float) -> bool:
        return 0 < self.deadline <= at

    def cancel(self, reason: str, now: float) -> None:
        if self.is_over:
            return
        for name, bidder in self.bidders.items():
            if bidder.state is B.BID:
                self._reject(name, bidder.answer, reason)
            if bidder.state is not B.LEFT:
                self._inform(name, {"auction": "end", "item": self.action, "sold": False, "reason": reason})
        self.end(Status.CANCELLED, reason, now)

    # -- both kinds --

    def _call(self, now: float) -> None:
        """At the current price, to everybody that may bid."""
        self.calls += 1
        self.waiting = 0
        self.deadline = now + self.wait
        for name, bidder in self.bidders.items():
            if bidder.state in (B.LEFT, B.HOLDER):
                continue
            asked = self.say(
                P.CFP,
                name,
                {"action": self.action, "condition": {"price": self.price}},
                conversation=self.id,
                protocol=self.protocol,
                reply_by=self.deadline,
            )
            bidder.asked = [asked]
            bidder.state, bidder.since = B.CALLED, now
            bidder.calls += 1
            self.waiting += 1
        if not self.waiting:
            self._close(now)

    def _heard(self, heard: Heard, bidder: Bidder, now: float) -> None:
        act = heard.act
        if act in (P.FAILURE, P.NOT_UNDERSTOOD) and not self.is_over:
            self._leave(heard.sender, bidder, why(heard.content), now)
        elif bidder.state is B.PASSED and act is P.PROPOSE and not self.is_over:
            self.waiting += 1  # it counts again as one of those who are waited for
            self._proposed(heard, bidder, now)
        elif bidder.state is not B.CALLED or self.is_over:
            if act is P.PROPOSE and bidder.state is B.SILENT and not self.is_over:
                self._late(heard, bidder, "late")
            else:
                self.note(now, heard.sender, f"out of sequence: {heard.performative} while {bidder.state}")
        elif act is P.PROPOSE:
            self._proposed(heard, bidder, now)
        elif act is P.REFUSE:
            bidder.state, bidder.since, bidder.reason = B.PASSED, now, why(heard.content, "")
            self._answered(now)
        else:
            self.note(now, heard.sender, f"out of sequence: {heard.performative} while {bidder.state}")

    def _proposed(self, heard: Heard, bidder: Bidder, now: float) -> None:
        if not heard.in_reply_to:
            self.note(now, heard.sender, "proposed without in_reply_to, so it is not known at which price")
            bidder.state, bidder.since = B.REJECTED, now
            self._reject(
                heard.sender,
                heard.reply_with,
                "in_reply_to is missing, which says what call, and so what price, is meant",
            )
            self._answered(now)
            return
        try:
            named = read_bid(heard.content).values.get("price", self.price) if heard.content != b"null" else self.price
            problem = "" if named == self.price else f"the price called is {self.price:g}, not {named:g}"
        except BadBid as error:
            # a proposal in words means: at this price; numbers that are none do not
            problem = "" if "no object" in str(error) else f"bad bid: {error}"
        if problem:
            self.note(now, heard.sender, problem)
            bidder.state, bidder.since = B.REJECTED, now
            self._reject(heard.sender, heard.reply_with, problem)
            self._answered(now)
            return
        bidder.answer = heard.reply_with
        bidder.since = now
        self._take(heard.sender, bidder, now)

    def _take(self, name: str, bidder: Bidder, now: float) -> None:
        """A proposal at the price called."""
        raise NotImplementedError

    def _answered(self, now: float) -> None:
        """One of those called has answered, and does not buy."""
        self.waiting -= 1
        if not self.waiting and not self.is_over:
            self._close(now)

    def _close(self, now: float) -> None:
        """The call is over."""
        raise NotImplementedError

    def _fall_silent(self, now: float) -> None:
        for bidder in self.bidders.values():
            if bidder.state is B.CALLED:
                bidder.state, bidder.since = B.SILENT, now
        self.waiting = 0

    def _accept(self, name: str, bidder: Bidder) -> None:
        bidder.state = B.HOLDER
        self.say(
            P.ACCEPT_PROPOSAL,
            name,
            {"action": self.action, "condition": {"price": self.price}},
            conversation=self.id,
            protocol=self.protocol,
            in_reply_to=bidder.answer,
            expects=False,
        )

    def _reject(self, name: str, in_reply_to: str, reason: str) -> None:
        self.say(
            P.REJECT_PROPOSAL,
            name,
            {"action": {"task_id": self.id}, "condition": {"price": self.price}, "reason": reason},
            conversation=self.id,
            protocol=self.protocol,
            in_reply_to=in_reply_to,
            expects=False,
        )

    def _late(self, heard: Heard, bidder: Bidder, reason: str) -> None:
        bidder.late += 1
        if bidder.late <= bidder.calls:  # one answer for each time it was called, whatever it sends
            self._reject(heard.sender, heard.reply_with, reason)

    # Any: JSON
    def _inform(self, name: str, content: dict[str, Any]) -> None:
        self.say(P.INFORM, name, content, conversation=self.id, protocol=self.protocol, expects=False)

    def _unreached(self, heard: Heard, now: float) -> None:
        """The platform says that somebody did not get what it was sent."""
        for name, bidder in self.bidders.items():
            if heard.in_reply_to and heard.in_reply_to in bidder.asked:
                self._leave(name, bidder, why(heard.content), now)
                return
        self.note(now, PLATFORM, f"{heard.performative}: {why(heard.content)}")

    def _leave(self, name: str, bidder: Bidder, reason: str, now: float) -> None:
        was = bidder.state
        bidder.state, bidder.since, bidder.reason = B.LEFT, now, reason
        self.note(now, name, f"left: {reason}")
        if was is B.CALLED:
            self._answered(now)


class EnglishAuction(Auction, tag="english-auction", kw_only=True):
    proposed: list[str] = msgspec.field(default_factory=list)  # in this call, in the order of their coming
    best: Sale | None = None
    asked_to_buy: str = ""  # the reply_with of the request
    result: msgspec.Raw = NULL

    protocol = ENGLISH

    def _take(self, name: str, bidder: Bidder, now: float) -> None:
        bidder.state = B.BID
        self.proposed.append(name)
        self._answered(now)

    def _close(self, now: float) -> None:
        if self.asked_to_buy:
            self._end_sale(Status.FAILED, "the winner did not answer the request to buy in time", now)
            return
        self._fall_silent(now)
        proposed = [name for name in self.proposed if self.bidders[name].state is B.BID]
        self.proposed = []
        if not proposed:
            self._sell(now)
            return
        if self.best is not None and (before := self.bidders[self.best.bidder]).state is B.HOLDER:
            before.state, before.since = B.PASSED, now
        first = proposed[0]
        self.best = Sale(bidder=first, price=self.price, at=now)
        self._accept(first, self.bidders[first])
        for name in proposed[1:]:
            self.bidders[name].state = B.REJECTED
            self._reject(name, self.bidders[name].answer, f"{first} was first")
        if self.calls >= MAX_CALLS:
            self._sell(now)
            return
        self.price += self.step
        self._call(now)

    def _sell(self, now: float) -> None:
        best = self.best
        is_sold = best is not None and best.price >= self.reserve and self.bidders[best.bidder].state is not B.LEFT
        for name, bidder in self.bidders.items():
            if bidder.state is not B.LEFT:
                end = {"auction": "end", "item": self.action, "sold": is_sold}
                if best is not None and is_sold:
                    end |= {"winner": best.bidder, "price": best.price}
                self._inform(name, end)
        if best is None or not is_sold:
            self.end(Status.FAILED, self._unsold(), now)
            return
        self.deadline = now + self.wait * 2
        self.status = Status.IN_PROGRESS
        self.asked_to_buy = self.say(
            P.REQUEST,
            best.bidder,
            {"action": {"buy": self.action, "price": best.price}},
            conversation=f"{self.id}/buy",
            protocol=REQUEST,
            reply_by=self.deadline,
        )
        self.bidders[best.bidder].asked = [self.asked_to_buy]

    def cancel(self, reason: str, now: float) -> None:
        if self.is_over or not self.asked_to_buy or self.best is None:
            super().cancel(reason, now)
            return
        content = {"action": {"task_id": self.id}, "reason": reason}
        asked = self.say(P.CANCEL, self.best.bidder, content, conversation=f"{self.id}/buy", protocol=REQUEST)
        self.bidders[self.best.bidder].asked.append(asked)
        self.end(Status.CANCELLED, reason, now)

    def _unsold(self) -> str:
        if self.best is None:
            return f"nobody bid {self.price:g}"
        if self.best.price < self.reserve:
            return (
                f"the best price, {self.best.price:g} of {self.best.bidder}, is below the reserve of {self.reserve:g}"
            )
        return f"{self.best.bidder} bid {self.best.price:g} and left"

    def _heard(self, heard: Heard, bidder: Bidder, now: float) -> None:
        if not self.asked_to_buy or self.best is None or self.is_over or heard.sender != self.best.bidder:
            super()._heard(heard, bidder, now)
            return
        if heard.act is P.AGREE:
            self.deadline = 0.0  # it has promised; how long it takes is its own business
        elif heard.act is P.INFORM:
            self.result = keep_json(heard.content)
            self._end_sale(Status.COMPLETED, "", now)
        elif heard.act in (P.REFUSE, P.FAILURE, P.NOT_UNDERSTOOD):
            self._end_sale(Status.FAILED, f"{heard.sender} will not buy: {why(heard.content)}", now)
        else:
            self.note(now, heard.sender, f"out of sequence: {heard.performative} while it was asked to buy")

    def _leave(self, name: str, bidder: Bidder, reason: str, now: float) -> None:
        super()._leave(name, bidder, reason, now)
        if self.asked_to_buy and self.best is not None and self.best.bidder == name and not self.is_over:
            self._end_sale(Status.FAILED, f"{name} will not buy: {reason}", now)

    def _end_sale(self, status: Status, reason: str, now: float) -> None:
        self.deadline = 0.0
        self.end(status, reason, now)


class DutchAuction(Auction, tag="dutch-auction", kw_only=True):
    goods: int = 1
    sales: list[Sale] = msgspec.field(default_factory=list)

    protocol = DUTCH

    def _take(self, name: str, bidder: Bidder, now: float) -> None:
        self.sales.append(Sale(bidder=name, price=self.price, at=now))
        self._accept(name, bidder)
        if len(self.sales) >= self.goods:
            self._fall_silent(now)
            self._finish(Status.COMPLETED, "", now)
            return
        self._answered(now)

    def _close(self, now: float) -> None:
        self._fall_silent(now)
        is_anybody_left = any(bidder.state not in (B.LEFT, B.HOLDER) for bidder in self.bidders.values())
        if not is_anybody_left:
            self._finish(*self._rest("nobody is left to buy"), now)
        elif self.price - self.step < self.reserve or self.calls >= MAX_CALLS:
            self._finish(*self._rest(f"nobody bid at {self.price:g}, and the reserve is {self.reserve:g}"), now)
        else:
            self.price -= self.step
            self._call(now)

    def _rest(self, reason: str) -> tuple[Status, str]:
        if self.sales:
            return Status.PARTIAL, f"{len(self.sales)} of {self.goods} sold: {reason}"
        return Status.FAILED, reason

    def _finish(self, status: Status, reason: str, now: float) -> None:
        for name, bidder in self.bidders.items():
            if bidder.state is not B.LEFT:
                end = {"auction": "end", "item": self.action, "sold": bool(self.sales)}
                self._inform(name, end | ({} if self.sales else {"reason": "no-bids"}))
        self.end(status, reason, now)
