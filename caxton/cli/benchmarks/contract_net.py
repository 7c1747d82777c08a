"""Rounds of FIPA's contract net between wasm agents, against as many hops.

A round is a cfp to each of n bidders, a proposal of each, one accept-proposal, n-1 reject-proposals and the inform of
the winner: 3n+1 messages of about the size of those of the benchmark `hop`, each with a conversation_id of the round,
reply_with and in_reply_to, on one scheduler thread. The baseline is the same number of hops, as `hop` measures them:
between two agents, and for 1,000 bidders among 1,000 agents, whose memories are as cold. `vs_hops` is
the worst of the sizes, `vs_hops_by_size` has each, `vs_hops_of_two` each against the two. The windows of hops and of
rounds are taken in turn, and the best of each is compared.

`step_us` is what following the protocol costs per message: the difference to the same round with a `protocol` that
nobody knows, so that no conversation is kept. It can be below zero when the machine is noisy.
"""

import json
import select
import time
from collections.abc import Sequence

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import EVENT_EXITED, EVENT_STARTED, EVENT_UNDELIVERED, Scheduler
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module, wat2wasm
from caxton.cli.benchmarks import Result
from caxton.cli.benchmarks.guests import BIDDER, MANAGER, PLACE, escaped
from caxton.cli.benchmarks.hop import Pairs
from caxton.core.errors import InternalError

SIZES = (10, 50, 1000)
ROUNDS = 8
SECONDS = 0.2  # of one window
PATIENCE = 30.0
WARM_UP = 0.1
MANAGER_NAME = "manager0"
CONVERSATION, REPLY_WITH = "########", "&&&&&&&&"  # where eight bytes go
TASK = {"task": "process_data", "parameters": {"x": 1, "text": "the quick brown fox jumps over the lazy dog"}}


def message(act: str, receiver: str, protocol: str, content: object, **fields: str) -> bytes:
    """As a guest sends it."""
    return json.dumps(
        {
            "performative": act,
            "receiver": receiver,
            "content": content,
            "conversation_id": CONVERSATION,
            **fields,
            "ontology": "caxton-v1",
            "language": "json",
            "protocol": protocol,
        },
        separators=(",", ":"),
    ).encode()


class Net:
    """A manager and its bidders on one scheduler thread."""

    def __init__(self, bidders: int, protocol: str = "fipa-contract-net") -> None:
        self.bidders = bidders
        self.messages = 3 * bidders + 1
        engine = Engine(pool_slots=bidders + 16, max_memory=1 << 20)
        self.scheduler = Scheduler(engine, threads=1)
        self.scheduler.start()
        names = [f"b{number:07d}" for number in range(bidders)]
        manager, bidder = modules(names, protocol)
        self.manager = self.scheduler.open_port(MANAGER_NAME)
        compiled = Module.compile(engine, wat2wasm(bidder))
        for name in names:
            self.scheduler.spawn(self.scheduler.open_port(name), compiled, memory=1 << 20, timeout_ns=10**9)
        self.scheduler.spawn(self.manager, Module.compile(engine, wat2wasm(manager)), memory=1 << 20, timeout_ns=10**10)
        up = 0
        while up < bidders + 1:
            up += sum(kind == EVENT_STARTED for kind in self._events(PATIENCE))
        self.scheduler.submit(b'{"performative":"request","receiver":"%b"}' % MANAGER_NAME.encode())

    def _events(self, seconds: float) -> list[int]:
        select.select([self.scheduler.wake_fd], [], [], seconds)
        events = self.scheduler.drain()
        for kind, port, _, what in events:
            if kind in (EVENT_EXITED, EVENT_UNDELIVERED):
                raise InternalError(f"agent {port} dropped out of the contract net: {what}")
        return [kind for kind, *_ in events]

    def microseconds(self, seconds: float) -> float:
        """Of one round."""
        before, began = self.scheduler.totals()["handled"], time.perf_counter()
        while (left := began + seconds - time.perf_counter()) > 0:
            self._events(left)
        handled = self.scheduler.totals()["handled"] - before
        return (time.perf_counter() - began) / (handled / self.messages) * 1e6


def modules(names: Sequence[str], protocol: str) -> tuple[str, str]:
    """The manager's and the bidders' module; the places to fill in are found in messages made for it."""
    first = names[0]
    cfp = message("cfp", PLACE, protocol, TASK, reply_with=REPLY_WITH)
    called = delivered(cfp.replace(PLACE.encode(), first.encode(), 1))
    accept = message("accept-proposal", PLACE, protocol, TASK, in_reply_to="p0000000", reply_with="w0000000")
    awarded = delivered(accept.replace(PLACE.encode(), first.encode(), 1))
    reject = message(
        "reject-proposal", PLACE, protocol, TASK | {"reason": "another was better"}, in_reply_to="p0000000"
    )
    bid = {"cost": 12.5, "estimated_time": 30, "confidence": 0.9, "note": "the quick brown fox jumps over the dog"}
    propose = message("propose", MANAGER_NAME, protocol, bid, in_reply_to=REPLY_WITH, reply_with="p0000000")
    inform = message("inform", MANAGER_NAME, protocol, TASK, in_reply_to="w0000000")
    manager = MANAGER % {
        "cfp": escaped(cfp),
        "accept": escaped(accept),
        "reject": escaped(reject),
        "cfp_length": len(cfp),
        "accept_length": len(accept),
        "reject_length": len(reject),
        "cfp_receiver": 4096 + cfp.index(PLACE.encode()),
        "accept_receiver": 5120 + accept.index(PLACE.encode()),
        "reject_receiver": 6144 + reject.index(PLACE.encode()),
        "cfp_conversation": 4096 + conversation_in(cfp),
        "accept_conversation": 5120 + conversation_in(accept),
        "reject_conversation": 6144 + conversation_in(reject),
        "cfp_reply_with": 4096 + cfp.index(REPLY_WITH.encode()),
        "names": escaped("".join(names).encode()),
        "end": 8192 + 8 * len(names),
        "bidders": len(names),
        "propose": ord("p"),
    }
    bidder = BIDDER % {
        "propose": escaped(propose),
        "inform": escaped(inform),
        "propose_length": len(propose),
        "inform_length": len(inform),
        "propose_conversation": 4096 + conversation_in(propose),
        "propose_in_reply_to": 4096 + propose.index(REPLY_WITH.encode()),
        "inform_conversation": 5120 + conversation_in(inform),
        "called_conversation": conversation_in(called),
        "called_reply_with": called.index(REPLY_WITH.encode()),
        "awarded_conversation": conversation_in(awarded),
        "cfp_letter": ord("c"),
        "accept_letter": ord("a"),
    }
    return manager, bidder


def delivered(text: bytes) -> bytes:
    """As a guest gets it from the manager."""
    return Envelope.from_json(text).with_sender(MANAGER_NAME).to_json()


def conversation_in(text: bytes) -> int:
    key = b'"conversation_id":"'
    return text.index(key) + len(key)


def measure() -> Result:
    windows: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for agents in (2, 1000):
            pairs = Pairs(agents, 1)
            pairs.start(agents // 2)
            windows.setdefault(f"hop_{agents}", []).append(1e6 / pairs.rate(SECONDS))
            pairs.scheduler.stop()
        for bidders in SIZES:
            for kind, protocol in (("", "fipa-contract-net"), ("untracked_", "none-contract-net")):
                net = Net(bidders, protocol)
                try:
                    net.microseconds(WARM_UP)
                    windows.setdefault(f"{kind}{bidders}", []).append(net.microseconds(SECONDS))
                finally:
                    net.scheduler.stop()
    return result(windows)


def result(windows: dict[str, list[float]]) -> Result:
    """From microseconds: of a hop, and of rounds."""
    best = {name: min(seen) for name, seen in windows.items()}
    figures: dict[str, dict[str, float]] = {
        name: {} for name in ("round_ms", "message_us", "step_us", "messages", "of_hops_ms", "vs_hops", "vs_two")
    }
    for bidders in SIZES:
        size, messages = str(bidders), 3 * bidders + 1
        hops = best["hop_1000" if bidders >= 1000 else "hop_2"] * messages
        figures["round_ms"][size] = best[size] / 1000
        figures["message_us"][size] = best[size] / messages
        figures["step_us"][size] = (best[size] - best[f"untracked_{size}"]) / messages
        figures["messages"][size] = messages
        figures["of_hops_ms"][size] = hops / 1000
        figures["vs_hops"][size] = best[size] / hops
        figures["vs_two"][size] = best[size] / (best["hop_2"] * messages)
    return {
        "figures": {name: figures[name] for name in ("round_ms", "message_us", "step_us", "messages")}
        | {"windows": windows},
        "baseline": {
            "hop_us": {"2": best["hop_2"], "1000": best["hop_1000"]},
            "round_of_hops_ms": figures["of_hops_ms"],
        },
        "ratios": {
            "vs_hops": max(figures["vs_hops"].values()),
            "vs_hops_by_size": figures["vs_hops"],
            "vs_hops_of_two": figures["vs_two"],
        },
    }
