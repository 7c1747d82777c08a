"""Where a message goes: each `time_` resolves one message 10,000 times natively; divide by 10,000 for the time of one.

10,000 agents are there, in a group each 10, with a capability each 100 and a topic each 20. `Change` is what opening,
joining and closing all of them costs.
"""

from caxton._fast.envelope import Envelope
from caxton._fast.router import Router

ROUNDS = 10_000
AGENTS = 10_000
ADDRESSES = {
    "name": ["agent 4711"],
    "name at node": ["agent 4711@here"],
    "nobody": ["agent"],
    "one of 3 replicas": ["shared"],
    "one of 100 who can": ["capability:7"],
    "group of 10": ["broadcast://7"],
    "topic of 20": ["topic:orders.7"],
    "topic and a pattern": ["topic:special.7"],
    "8 names": [f"agent {number}" for number in range(8)],
}


def populated() -> Router:
    router = Router("here")
    for number in range(AGENTS):
        port = router.open_port(f"agent {number}")
        router.join_group(port, str(number // 10))
        router.add_capability(port, str(number // 100))
        router.subscribe(port, f"orders.{number // 20}")
        if number % 1000 == 0:
            router.subscribe(port, "special.*", b'{"order.total": {"gte": 100}}')
    for _ in range(3):
        router.open_port("shared", replica=True)
    return router


class Resolve:
    params = (list(ADDRESSES), ["", "conversation-17"])
    param_names = ("address", "conversation")
    router: Router | None = None

    def setup(self, address: str, conversation: str) -> None:
        if Resolve.router is None:
            Resolve.router = populated()
        fields: dict[str, object] = {"conversation_id": conversation} if conversation else {}
        self.message = Envelope.make(
            performative="inform", receiver=ADDRESSES[address], content=b'{"order": {"total": 250}}', **fields
        )

    def time_resolve(self, address: str, conversation: str) -> None:
        assert self.router is not None
        self.router.count_resolved(self.message, ROUNDS)


class Everybody:
    """One message to 10,000, once."""

    def setup(self) -> None:
        self.router = Router()
        for number in range(AGENTS):
            port = self.router.open_port(f"agent {number}")
            self.router.join_group(port, "all")
            self.router.join_group(port, "too")
            self.router.subscribe(port, "orders.**")
        self.broadcast = Envelope.make(performative="inform", receiver="broadcast://all")
        self.both = Envelope.make(performative="inform", receiver=["broadcast://all", "broadcast://too"])
        self.topic = Envelope.make(performative="inform", receiver="topic:orders.created")

    def time_broadcast(self) -> None:
        self.router.count_resolved(self.broadcast, 1)

    def time_two_groups_of_the_same(self) -> None:
        self.router.count_resolved(self.both, 1)

    def time_pattern(self) -> None:
        self.router.count_resolved(self.topic, 1)


class Change:
    timeout = 120

    def time_open_join_and_close_ten_thousand(self) -> None:
        router = Router()
        ports = [router.open_port(f"agent {number}") for number in range(AGENTS)]
        for port in ports:
            router.join_group(port, "all")
        for port in ports:
            router.close_port(port)
        router.reclaim()

    def peakmem_open_and_join_ten_thousand(self) -> None:
        router = Router()
        for number in range(AGENTS):
            router.join_group(router.open_port(f"agent {number}"), "all")
