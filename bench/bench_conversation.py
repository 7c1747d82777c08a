"""The conversation step of the router: what every message with a protocol costs more than one without."""

import itertools
import json
import uuid

from caxton._fast.envelope import Envelope
from caxton._fast.tracker import Tracker

TIMES = 2000

Messages = list[tuple[Envelope, str]]


def message(act: str, sender: str, receiver: str, conversation: str, protocol: str) -> tuple[Envelope, str]:
    data = {
        "performative": act,
        "sender": sender,
        "receiver": receiver,
        "conversation_id": conversation,
        "protocol": protocol,
        "message_id": str(uuid.uuid4()),
        "content": {"order": 1234, "items": [1, 2, 3]},
    }
    return Envelope.from_json(json.dumps(data).encode()), receiver


def notifications(conversations: int) -> Messages:
    """Of subscriptions that are open, one of each in turn; each with an id of its own."""
    ids = [str(uuid.uuid4()) for _ in range(conversations)]
    rounds = range(max(8, 8 // conversations))
    return [message("inform", "pub", f"sub{i}", id, "fipa-subscribe") for _ in rounds for i, id in enumerate(ids)]


def subscribed(conversations: int) -> tuple[Tracker, Messages]:
    tracker, informs = Tracker(), notifications(conversations)
    for envelope, receiver in informs[:conversations]:
        id = envelope.conversation_id or ""
        tracker.time_steps([message("subscribe", receiver, "pub", id, "fipa-subscribe")], 1)
        tracker.time_steps([message("agree", "pub", receiver, id, "fipa-subscribe")], 1)
    return tracker, informs


def requests(conversations: int) -> Messages:
    """Whole conversations, several at once: opened, agreed, done."""
    ids = [str(uuid.uuid4()) for _ in range(conversations)]
    acts = (("request", "a", "b"), ("agree", "b", "a"), ("inform", "b", "a"))
    return [message(act, s, r, id, "fipa-request") for (act, s, r), id in itertools.product(acts, ids)]


def contract_net(bidders: int) -> Messages:
    id = str(uuid.uuid4())
    names = [f"bidder-{i}" for i in range(bidders)]
    return [
        *(message("cfp", "manager", name, id, "fipa-contract-net") for name in names),
        *(message("propose", name, "manager", id, "fipa-contract-net") for name in names),
        message("accept-proposal", "manager", names[0], id, "fipa-contract-net"),
        *(message("reject-proposal", "manager", name, id, "fipa-contract-net") for name in names[1:]),
        message("inform", names[0], "manager", id, "fipa-contract-net"),
    ]


class Step:
    """Nanoseconds of one step; the target is 200."""

    unit = "ns"
    params = (1, 100)
    param_names = ("conversations",)

    def setup(self, conversations: int) -> None:
        self.tracker, self.informs = subscribed(conversations)

    def track_notification(self, conversations: int) -> float:
        return self.tracker.time_steps(self.informs, TIMES // conversations)


class Whole:
    """Nanoseconds of one step, opening and forgetting conversations included."""

    unit = "ns"

    def track_request(self) -> float:
        return Tracker().time_steps(requests(1), 20 * TIMES, fresh=True)

    def track_100_requests_at_once(self) -> float:
        return Tracker().time_steps(requests(100), TIMES // 5, fresh=True)

    def track_contract_net_of_50(self) -> float:
        return Tracker().time_steps(contract_net(50), TIMES // 5, fresh=True)


if __name__ == "__main__":
    for count in Step.params:
        step = Step()
        step.setup(count)
        print(f"notification in one of {count}: {step.track_notification(count):.0f} ns")
    whole = Whole()
    print(f"a request at a time: {whole.track_request():.0f} ns a step")
    print(f"100 requests at a time: {whole.track_100_requests_at_once():.0f} ns a step")
    print(f"contract net of 50: {whole.track_contract_net_of_50():.0f} ns a step")
