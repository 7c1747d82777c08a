"""A task: what a client asks for (`Order`), the negotiation about it, and how it stands for those who look.

Rule 1: a task is created by one request and distributed by another, or both at once by a message to `cnp`. Its id is
        also the id of its conversation.
Rule 2: whoever asked by message is answered in its own conversation: `agree`, then `inform` or `failure`. These go
        through the same outbox as all that the negotiation says.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from caxton.core.decoding import UNREADABLE
from caxton.core.errors import InvalidRequest
from caxton.core.manifest import RESERVED_NAMES
from caxton.core.negotiation.auctions import Auction, DutchAuction, EnglishAuction
from caxton.core.negotiation.bids import parse_strategy
from caxton.core.negotiation.contract_net import ContractNet, Peer
from caxton.core.negotiation.messages import NULL, Status
from caxton.core.performatives import Performative as P

CNP: Final = "cnp"
ONTOLOGY: Final = "caxton-tasks"
MAX_PARTICIPANTS: Final = 10_000
WEEK: Final = 7 * 86_400.0

# as people write them, and FIPA's names
PROTOCOLS: Final = {
    "contract-net": "contract_net",
    "iterated-contract-net": "iterated_contract_net",
    "english-auction": "english_auction",
    "dutch-auction": "dutch_auction",
    "auction-english": "english_auction",
    "auction-dutch": "dutch_auction",
}

Span = Annotated[float, Meta(gt=0, le=WEEK)]
Money = Annotated[float, Meta(ge=0, le=1e15)]


class Requirements(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    capabilities: list[str] = []
    min_performance_score: Annotated[float, Meta(ge=0, le=1)] = 0.0


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client asks for. Members of other protocols than its own are refused by `check_order`."""

    name: Annotated[str, Meta(max_length=256)] = ""
    description: Annotated[str, Meta(max_length=4096)] = ""
    data: msgspec.Raw = NULL
    protocol: str = "contract_net"
    participants: list[str] = []
    requirements: Requirements = Requirements()
    timeout_seconds: Annotated[float, Meta(ge=0, le=WEEK)] = 0.0  # for the work, from the award on; 0: without end
    max_wait_seconds: Span = 30.0  # for proposals, in each round or call
    strategy: Any = "best_bid"  # bids.parse_strategy reads it
    winners: Annotated[int, Meta(ge=1, le=1000)] = 1
    standby: Annotated[int, Meta(ge=0, le=1000)] = 1
    max_rounds: Annotated[int, Meta(ge=1, le=100)] = 3
    improvements: Annotated[int, Meta(ge=0, le=100)] = 0
    price: Money | None = None
    step: Annotated[float, Meta(gt=0, le=1e15)] | None = None
    reserve: Money = 0.0
    goods: Annotated[int, Meta(ge=1, le=1000)] = 1


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked by message, and how the answer is addressed."""

    name: str
    to: str
    conversation_id: str = ""
    protocol: str = ""
    reply_with: str = ""


class Task(msgspec.Struct, kw_only=True):
    """One task, with everything that has to survive a restart."""

    id: str
    order: Order
    created_at: float
    machine: ContractNet | EnglishAuction | DutchAuction
    asker: Asker | None = None
    left_out: dict[str, str] = {}  # participants that were named and not called, and why
    told: bool = False  # the asker has the outcome

    @property
    def is_over(self) -> bool:
        return self.machine.is_over

    def tell_agreed(self) -> None:
        """Say that the task was taken on."""
        if self.asker is not None:
            self._tell(P.AGREE, {"action": {"task_id": self.id}, "condition": {}})

    def tell_outcome(self) -> None:
        """When it is over, and only once."""
        if self.asker is None or self.told or not self.is_over:
            return
        self.told = True
        machine = self.machine
        if machine.status in (Status.COMPLETED, Status.PARTIAL):
            self._tell(P.INFORM, {"result": outcome(self)})
        else:
            self._tell(P.FAILURE, {"action": {"task_id": self.id}, "reason": machine.reason, "result": outcome(self)})

    # Any: JSON
    def _tell(self, act: P, content: dict[str, Any]) -> None:
        assert self.asker is not None
        self.machine.say(
            act,
            self.asker.to,
            content,
            conversation=self.asker.conversation_id,
            protocol=self.asker.protocol,
            in_reply_to=self.asker.reply_with,
            expects=False,
        )


_order = msgspec.json.Decoder(Order).decode


def read_order(data: bytes) -> Order:
    """What a client wrote. Raises InvalidRequest."""
    try:
        order = _order(data)
    except UNREADABLE as error:
        raise InvalidRequest(
            f"the request does not describe a task: {error}",
            hint='such as {"name": "weigh", "data": {...}, "participants": ["a", "capability:weighing"]}',
        ) from None
    return check_order(order)


def check_order(order: Order) -> Order:
    """The same with its protocol's own name. Raises InvalidRequest."""
    word = order.protocol.lower().replace("_", "-").removeprefix("fipa-")
    if (protocol := PROTOCOLS.get(word)) is None:
        raise InvalidRequest(
            f"protocol {order.protocol!r} is none that tasks have",
            hint=f"one of {', '.join(sorted(set(PROTOCOLS.values())))}",
            details={"field": "protocol"},
        )
    if protocol == "iterated_contract_net":
        order = msgspec.structs.replace(order, improvements=order.improvements or 1)
        protocol = "contract_net"
    is_auction = protocol.endswith("auction")
    if is_auction and (order.price is None or order.step is None):
        raise InvalidRequest(
            f"an auction needs a price to begin with and a step; price is {order.price}, step is {order.step}",
            hint='such as {"protocol": "english_auction", "price": 10, "step": 5, "reserve": 50}',
            details={"field": "price" if order.price is None else "step"},
        )
    if not is_auction and (order.price is not None or order.step is not None):
        raise InvalidRequest(
            "price and step belong to an auction, this is a contract net",
            hint='set "protocol" to english_auction or dutch_auction',
            details={"field": "price" if order.price is not None else "step"},
        )
    if protocol == "dutch_auction" and (order.price or 0.0) < order.reserve:
        raise InvalidRequest(
            f"the price begins at {order.price:g}, below the reserve of {order.reserve:g}", details={"field": "reserve"}
        )
    parse_strategy(order.strategy)
    if not order.participants and not order.requirements.capabilities:
        raise InvalidRequest(
            "nobody is named who could do the task",
            hint='name "participants": agents, capability:x or broadcast://group; or "requirements": {"capabilities"}',
            details={"field": "participants"},
        )
    if bad := [name for name in order.participants if name.lower() in RESERVED_NAMES or not name]:
        raise InvalidRequest(f"{bad[0]!r} cannot be a participant", details={"field": "participants"})
    return msgspec.structs.replace(order, protocol=protocol)


def make_machine(task_id: str, order: Order, names: Sequence[str]) -> ContractNet | EnglishAuction | DutchAuction:
    """The negotiation that the order asks for; nothing is said yet."""
    participants = list(names)
    action = {"task_id": task_id, "name": order.name, "description": order.description, "data": order.data}
    encoded = msgspec.Raw(msgspec.json.encode({key: value for key, value in action.items() if value != ""}))
    if order.protocol == "contract_net":
        return ContractNet(
            id=task_id,
            action=encoded,
            participants=participants,
            wait=order.max_wait_seconds,
            work=order.timeout_seconds,
            winners=order.winners,
            standby=order.standby,
            max_rounds=order.max_rounds,
            improvements=order.improvements,
            strategy=parse_strategy(order.strategy),
        )
    assert order.price is not None
    assert order.step is not None
    if order.protocol == "english_auction":
        return EnglishAuction(
            id=task_id,
            action=encoded,
            participants=participants,
            price=order.price,
            step=order.step,
            reserve=order.reserve,
            wait=order.max_wait_seconds,
        )
    return DutchAuction(
        id=task_id,
        action=encoded,
        participants=participants,
        price=order.price,
        step=order.step,
        reserve=order.reserve,
        wait=order.max_wait_seconds,
        goods=order.goods,
    )


# -- how it stands. Any: JSON, here and below --


def outcome(task: Task) -> dict[str, Any]:
    """What came of it, in short: what the asker is told, and what `distribute` answers."""
    machine = task.machine
    found: dict[str, Any] = {"task_id": task.id, "status": machine.status.value, "reason": machine.reason}
    if isinstance(machine, ContractNet):
        winners = [*machine.results, *machine.working]
        found["assigned_to"] = [name for name, _ in winners]
        found["proposals_received"] = sum(
            peer.bid is not None for round in machine.rounds for peer in round.peers.values()
        )
        found["winning_bids"] = [_bid(name, peer) for name, peer in winners]
        found["results"] = [{"agent_id": name, "content": peer.result} for name, peer in machine.results]
    else:
        sales = _sales(machine)
        found["assigned_to"] = [sale.bidder for sale in sales]
        found["sales"] = [msgspec.structs.asdict(sale) for sale in sales]
        found["price"] = machine.price
    return found


def view(task: Task) -> dict[str, Any]:
    """All of it."""
    machine = task.machine
    order = task.order
    found = outcome(task) | {
        "name": order.name,
        "description": order.description,
        "protocol": order.protocol,
        "created_at": task.created_at,
        "created_by": task.asker.name if task.asker else "",
        "started_at": machine.started_at,
        "ended_at": machine.ended_at,
        "conversation_id": task.id,
        "progress": _progress(task),
        "left_out": task.left_out,
        "notes": [msgspec.structs.asdict(note) for note in machine.notes],
        "notes_left_out": machine.notes_left_out,
    }
    if isinstance(machine, ContractNet):
        found |= _contract_net_view(machine)
    else:
        found["calls"] = machine.calls
        found["participants"] = [
            {"agent_id": name, "status": bidder.state.value, "since": bidder.since, "reason": bidder.reason}
            for name, bidder in machine.bidders.items()
        ]
        found["subtasks"] = []
    return found


def _contract_net_view(machine: ContractNet) -> dict[str, Any]:
    due = [peer.due for _, peer in machine.working if peer.due]
    return {
        "estimated_completion": _estimate(machine) or (max(due) if due else 0.0),
        "strategy": machine.strategy.name,
        "winners": machine.winners,
        "rounds": [
            {
                "conversation_id": round.conversation,
                "reply_by": round.deadline,
                "is_open": round.is_open,
                "iteration": round.iteration + 1,
            }
            for round in machine.rounds
        ],
        "participants": [
            {
                "agent_id": name,
                "status": peer.state.value,
                "since": peer.since,
                "reason": peer.reason,
                "round": number,
                **({"bid": _bid(name, peer)} if peer.bid else {}),
            }
            for number, round in enumerate(machine.rounds, 1)
            for name, peer in round.peers.items()
        ],
        "subtasks": [
            {"id": f"{round.conversation}:{name}", "agent_id": name, "status": peer.state.value}
            for round in machine.rounds
            for name, peer in round.peers.items()
            if peer.was_awarded
        ],
    }


def _estimate(machine: ContractNet) -> float:
    """When the last winner said it would be done; 0: none said."""
    times = [
        peer.since + peer.bid.values["estimated_time"]
        for _, peer in machine.working
        if peer.bid and "estimated_time" in peer.bid.values
    ]
    return max(times, default=0.0)


def _progress(task: Task) -> float:
    machine = task.machine
    if isinstance(machine, ContractNet):
        return min(1.0, len(machine.results) / machine.winners)
    return 1.0 if machine.status is Status.COMPLETED else 0.0


def _bid(name: str, peer: Peer) -> dict[str, Any]:
    assert peer.bid is not None
    return {"agent_id": name, "proposal_id": peer.bid.proposal_id, **peer.bid.values}


def _sales(machine: Auction) -> list[Any]:
    if isinstance(machine, DutchAuction):
        return machine.sales
    assert isinstance(machine, EnglishAuction)
    is_sold = machine.best is not None and (bool(machine.asked_to_buy) and machine.status is not Status.FAILED)
    return [machine.best] if is_sold else []
