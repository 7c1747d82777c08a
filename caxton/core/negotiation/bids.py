"""What a proposal offers, and which of several is the best.

A bid is the content of a `propose`: an object with numbers, at its top or in its `condition`, `proposal` or `bid`:

    {"cost": 12.5, "estimated_time": 30, "confidence": 0.9, "proposal_id": "p-1"}

Rule 1: a number that is negative, not finite or beyond LARGEST spoils the bid, and so does a known member that is no
        number. Members that are no numbers and that nobody knows are the bidder's own business.
Rule 2: of COSTS less is better, of everything else more.
Rule 3: equally good bids stand in the order in which they came.
"""

from collections.abc import Mapping
from math import inf, isfinite
from typing import Any, Final

import msgspec

from caxton.core.errors import InvalidRequest
from caxton.core.negotiation.messages import read_json

COSTS: Final = frozenset({"cost", "price", "estimated_time"})
KNOWN: Final = (*sorted(COSTS), "confidence")
PLACES: Final = ("condition", "proposal", "bid")
LARGEST: Final = 1e15
MAX_VALUES: Final = 32

BEST_BID: Final = {"cost": 1.0, "estimated_time": 1.0, "confidence": 1.0}


class BadBid(ValueError):
    """The content of a `propose` is no bid; the text says why, for its sender."""


class Bid(msgspec.Struct, frozen=True, kw_only=True):
    values: dict[str, float]
    proposal_id: str = ""


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    """`lowest_cost` and `fastest` look at one member; `best_bid` and `weighted` add up several."""

    name: str = "best_bid"
    weights: dict[str, float] = {}


LOWEST: Final = {"lowest_cost": "cost", "fastest": "estimated_time"}
STRATEGIES: Final = ("best_bid", *LOWEST, "weighted")


def read_bid(content: bytes) -> Bid:
    """Raises BadBid."""
    value = read_json(content)
    if not isinstance(value, dict):
        raise BadBid('the content is no object; expected one such as {"cost": 12.5, "confidence": 0.9}')
    values: dict[str, float] = {}
    proposal_id = ""
    for place in [value, *(inner for name in PLACES if isinstance(inner := value.get(name), dict))]:
        if isinstance(found := place.get("proposal_id"), str | int):
            proposal_id = proposal_id or str(found)[:256]
        for name, number in place.items():
            if name in values or name == "proposal_id":
                continue
            if isinstance(number, bool) or not isinstance(number, int | float):
                if name in KNOWN:
                    raise BadBid(f"{name} is no number")
                continue
            values[name] = _checked(name, number)
            if len(values) > MAX_VALUES:
                raise BadBid(f"more than {MAX_VALUES} numbers")
    return Bid(values=values, proposal_id=proposal_id)


def _checked(name: str, number: float) -> float:
    name = name[:64]
    try:
        number = float(number)
    except OverflowError:
        number = inf
    if not isfinite(number):
        raise BadBid(f"{name} is not finite")
    if number < 0:
        raise BadBid(f"{name} is negative: {number:g}")
    if number > LARGEST:
        raise BadBid(f"{name} is {number:g}; the most is {LARGEST:g}")
    if name == "confidence" and number > 1:
        raise BadBid(f"confidence is {number:g}; it goes from 0 to 1")
    return number


# Any: JSON, as a client wrote it
def parse_strategy(value: Any) -> Strategy:
    """`"lowest_cost"`, `{"weighted": {"cost": 2, "confidence": 1}}` or `{"name": "fastest"}`. Raises InvalidRequest."""
    weights: Any = {}
    if isinstance(value, dict):
        if set(value) == {"weighted"}:
            value, weights = "weighted", value["weighted"]
        else:
            weights = value.get("weights", {})
            value = value.get("name")
    if not isinstance(value, str) or value not in STRATEGIES:
        raise InvalidRequest(
            f"strategy is {value!r}; there are {', '.join(STRATEGIES)}",
            hint='write "best_bid", or {"weighted": {"cost": 2, "confidence": 1}}',
            details={"field": "strategy"},
        )
    if value != "weighted":
        return Strategy(name=value)
    if not isinstance(weights, dict) or not weights or len(weights) > MAX_VALUES:
        raise InvalidRequest(
            "strategy weighted needs weights, by the name of a bid's member",
            hint='such as {"weighted": {"cost": 2, "confidence": 1}}',
            details={"field": "strategy"},
        )
    for name, weight in weights.items():
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_number or not 0 <= weight <= LARGEST:
            raise InvalidRequest(
                f"the weight of {name!r} is {weight!r}; it is a number from 0 on", details={"field": "strategy"}
            )
    return Strategy(name=value, weights={str(name): float(weight) for name, weight in weights.items()})


def rank(strategy: Strategy, bids: Mapping[str, Bid]) -> list[str]:
    """Whose bid is best, next best, and so on."""
    if (member := LOWEST.get(strategy.name)) is not None:
        return sorted(bids, key=lambda who: bids[who].values.get(member, inf))
    weights = strategy.weights or BEST_BID
    found = scores(weights, bids)
    return sorted(bids, key=lambda who: -found[who])


def scores(weights: Mapping[str, float], bids: Mapping[str, Bid]) -> dict[str, float]:
    """From 0 to 1. Each member is scaled from the worst of these bids (0) to the best (1); one that lacks it has 0."""
    whole = sum(weights.values()) or 1.0
    found = dict.fromkeys(bids, 0.0)
    for member, weight in weights.items():
        values = {who: bid.values[member] for who, bid in bids.items() if member in bid.values}
        if not values or not weight:
            continue
        low, high = min(values.values()), max(values.values())
        for who, value in values.items():
            share = 1.0 if low == high else (value - low) / (high - low)
            if member in COSTS and low != high:
                share = 1.0 - share
            found[who] += share * weight / whole
    return found
