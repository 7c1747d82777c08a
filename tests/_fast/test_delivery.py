"""The way of messages: whom an address reaches, in which order, and that none is lost or doubled."""

import json
import random
from typing import Any

import pytest

from caxton._fast import scheduler as native
from caxton._fast.wasm.module import Module
from caxton.core.errors import (
    AgentNotFound,
    CaxtonError,
    InvalidMessage,
    InvalidTransition,
    MailboxFull,
    MessageTooLarge,
)
from tests._fast.components import quoted
from tests._fast.probe import Probe, poke, step
from tests._fast.scheduling import Stage, both_kinds, guest, open_stage


def token(number: int, sender: int = 0) -> str:
    return f"#{sender:04x}{number:012x}"


def stream(name: str, receiver: str, total: int, *, sender: int = 0, batch: int = 10, pause_us: int = -1) -> Module:
    """Sends *total* tokens to *receiver* when it gets its first message; sleeps before each turn unless below 0."""
    message = json.dumps({"performative": "inform", "receiver": receiver, "content": token(0, sender)})
    again = json.dumps({"performative": "inform", "receiver": name})
    return guest(
        "stream",
        MESSAGE=quoted(message),
        LENGTH=len(message),
        LAST=2048 + message.index('#') + 16,
        AGAIN=quoted(again),
        AGAIN_LENGTH=len(again),
        TOTAL=total,
        BATCH=batch,
        PAUSE=pause_us,
    )  # fmt: skip


def heard(stage: Stage, ports: dict[str, int]) -> dict[str, list[Any]]:
    """What waits in host ports."""
    mail = {name: stage.scheduler.receive(port, 1000) for name, port in ports.items()}
    return {name: [message.as_dict().get("content") for message in messages] for name, messages in mail.items()}


# -- ways in ---------------------------------------------------------------------------------------------------------


@both_kinds
def test_a_message_from_outside_has_a_receipt_and_an_answer() -> None:
    with open_stage() as stage:
        me = stage.host()
        stage.seat("mirror", "mirror")
        receipt = stage.send("mirror", token(1), reply_with="r1", conversation_id="c1")
        assert receipt.delivered_to == 1
        answer = stage.receive(me)[0]
        assert (answer.sender, answer.receiver, answer.performative) == ("mirror", "me", "inform")
        fields = answer.as_dict()
        assert (fields["in_reply_to"], fields["conversation_id"], fields["content"]) == ("r1", "c1", token(1))
        assert answer.message_id != receipt.message_id


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"", InvalidMessage),
        (b"\xff", InvalidMessage),
        (b"{}", InvalidMessage),
        (b'{"performative":"inform","receiver":"a"', InvalidMessage),
        (b'{"performative":"inform","receiver":"nobody"}', AgentNotFound),
        (b'{"performative":"inform","receiver":["nobody","none"]}', AgentNotFound),
        (b'{"performative":"inform","receiver":"a","content":"' + b"x" * 5000 + b'"}', MessageTooLarge),
        (b'{"performative":"inform","receiver":"full"}', MailboxFull),
        (b'{"performative":"inform","receiver":["full","full2"]}', MailboxFull),
        (b'{"performative":"inform","receiver":"drains"}', InvalidTransition),
    ],
)
def test_what_cannot_be_accepted_is_refused_and_leaves_no_trace(message: bytes, error: type[CaxtonError]) -> None:
    with open_stage(max_message_size=4096) as stage:
        stage.host("a")
        for name in ("full", "full2"):
            stage.host(name, queue_size=1)
            stage.send(name, 0)
        stage.scheduler.set_accepting(stage.host("drains"), False)
        before = stage.scheduler.totals()["accepted"]
        with pytest.raises(error):
            stage.scheduler.submit(message)
        assert stage.scheduler.totals()["accepted"] == before == 2


def test_a_mailbox_is_full_by_bytes_too() -> None:
    with open_stage() as stage:
        stage.host("a", queue_bytes=10_000)
        for _ in range(2):
            stage.send("a", "x" * 6000)
        with pytest.raises(MailboxFull):
            stage.send("a", 1)


def test_an_agent_without_an_instance_collects_mail() -> None:
    with open_stage() as stage:
        me = stage.host()
        port = stage.scheduler.open_port("mirror")
        tokens = [token(i) for i in range(100)]
        for text in tokens:
            stage.send("mirror", text)
        assert stage.scheduler.statistics(port).waiting == 100
        stage.start(port, "mirror")
        assert [m.as_dict()["content"] for m in stage.receive(me, 100)] == tokens


def test_what_was_accepted_is_in_the_history() -> None:
    with open_stage() as stage:
        me = stage.host()
        stage.seat("mirror", "mirror")
        stage.ask(me, "mirror", token(1), conversation_id="a")
        stage.ask(me, "mirror", token(2), conversation_id="b")
        # the answer is there before the turn that gave it has ended
        stage.watch(lambda: stage.scheduler.history(None, 0, 10)[1] == 4)
        found, cursor = stage.scheduler.history("b", 0, 10)
        assert [(m.sender, m.as_dict()["content"]) for _, m in found] == [("me", token(2)), ("mirror", token(2))]
        assert cursor == stage.scheduler.newest_message == 4


# -- whom an address reaches -----------------------------------------------------------------------------------------


def test_several_receivers_get_it_once_each() -> None:
    with open_stage() as stage:
        ports = {name: stage.host(name) for name in "abc"}
        assert stage.send(["a", "b", "nobody"], 1).delivered_to == 2
        assert stage.send(["a", "a", "c"], 2, sender="a").delivered_to == 2
        assert heard(stage, ports) == {"a": [1, 2], "b": [1], "c": [2]}


@both_kinds
def test_a_conversation_sticks_to_one_replica_and_the_rest_goes_round() -> None:
    with open_stage() as stage:
        first = stage.scheduler.open_port("work")
        ports = [first] + [stage.scheduler.open_replica("work") for _ in range(3)]
        for i in range(40):
            for _ in range(5):
                stage.send("work", conversation_id=f"c{i}")
        waiting = [stage.scheduler.statistics(port).waiting for port in ports]
        assert sum(waiting) == 200
        assert all(count and count % 5 == 0 for count in waiting)
        for _ in range(40):
            stage.send("work")
        assert [
            stage.scheduler.statistics(port).waiting - before for port, before in zip(ports, waiting, strict=True)
        ] == [10] * 4


def test_a_replica_that_drains_is_passed_over() -> None:
    with open_stage() as stage:
        first = stage.scheduler.open_port("work")
        second = stage.scheduler.open_replica("work")
        stage.scheduler.set_accepting(first, False)
        for i in range(20):
            stage.send("work", conversation_id=f"c{i}")
        assert stage.scheduler.statistics(second).waiting == 20
        stage.scheduler.close_port(first)
        stage.send("work")
        assert stage.scheduler.statistics(second).waiting == 21


def test_a_topic_reaches_whose_pattern_act_and_filter_it_holds() -> None:
    with open_stage() as stage:
        ports = {name: stage.host(name) for name in ("exact", "one", "rest", "large", "requests")}
        stage.scheduler.subscribe(ports["exact"], "orders.created")
        stage.scheduler.subscribe(ports["one"], "orders.*")
        stage.scheduler.subscribe(ports["rest"], "**")
        stage.scheduler.subscribe(ports["large"], "orders.created", b'{"total":{"gte":100}}')
        stage.scheduler.subscribe(ports["requests"], "orders.created", b"", 1 << 0x13)
        assert stage.send("topic:orders.created", {"total": 99}, performative="inform").delivered_to == 3
        assert stage.send("topic:orders.created", {"total": 100}).delivered_to == 5
        assert stage.send("topic:orders.paid", {"total": 1}).delivered_to == 2
        assert {name: len(mail) for name, mail in heard(stage, ports).items()} == {
            "exact": 2,
            "one": 3,
            "rest": 3,
            "large": 1,
            "requests": 1,
        }
        stage.scheduler.clear_routes(ports["rest"])
        assert stage.send("topic:orders.paid").delivered_to == 1
        with pytest.raises(AgentNotFound):
            stage.send("topic:else")


def test_a_capability_reaches_one_and_a_group_all_but_the_sender() -> None:
    with open_stage() as stage:
        ports = {name: stage.host(name) for name in "abc"}
        for name in "ab":
            stage.scheduler.add_capability(ports[name], "pricing")
        for name in "abc":
            stage.scheduler.join_group(ports[name], "all")
        for _ in range(4):
            assert stage.send("capability:pricing").delivered_to == 1
        assert [len(mail) for mail in heard(stage, ports).values()] == [2, 2, 0]
        assert stage.send("broadcast://all").delivered_to == 3
        agent = Probe(stage)
        stage.scheduler.join_group(agent.port, "all")
        message = '{"performative":"inform","receiver":"broadcast://all","content":1}'
        assert agent.do(poke(0, message), step("send_message", 0, len(message))) == [0]
        assert [len(mail) for mail in heard(stage, ports).values()] == [2, 2, 2]
        assert stage.scheduler.statistics(agent.port).received == 1


# -- order -----------------------------------------------------------------------------------------------------------


def test_a_higher_priority_goes_first_and_the_lowest_is_not_forgotten() -> None:
    with open_stage(threads=1) as stage:
        me = stage.host()
        port = stage.scheduler.open_port("mirror")
        names = ["low", "normal", "high", "critical"]
        for i in range(20):
            for number, name in enumerate(names):
                stage.send("mirror", token(i, number), priority=name)
        stage.start(port, "mirror")
        order = [m.as_dict()["content"] for m in stage.receive(me, 80)]
        for number in range(4):
            assert [text for text in order if text.startswith(f"#{number:04x}")] == [
                token(i, number) for i in range(20)
            ]
        assert order[:16] == [token(i, 3) for i in range(16)]
        assert order[16] == token(0, 0)


@pytest.mark.slow
def test_each_senders_messages_keep_their_order_while_threads_steal() -> None:
    senders, total = 8, 6_250
    with open_stage(threads=2) as stage:
        sinks = [stage.scheduler.open_port(f"sink{i}", queue_size=100_000) for i in range(2)]
        for sink in sinks:
            stage.start(sink, "ordered", memory=2 << 20)
        for i in range(senders):
            stage.seat(f"s{i}", stream(f"s{i}", f"sink{i % 2}", total, sender=i, batch=1 + 7 * i))
        for i in range(20):  # others, so that there is something to steal
            stage.seat(f"noise{i}", stream(f"noise{i}", f"noise{(i + 1) % 20}", 500, batch=1))
        for i in range(20):
            stage.send(f"noise{i}", token(0))
        for i in range(senders):
            stage.send(f"s{i}", token(0))
        stage.watch(
            lambda: (
                sum(stage.scheduler.statistics(sink).handled for sink in sinks) == senders * total
                or stage.of(native.EVENT_EXITED)
            ),
            within=20,
        )
        assert not stage.of(native.EVENT_EXITED)
        assert [stage.scheduler.statistics(sink).handled for sink in sinks] == [senders * total // 2] * 2


# -- nothing is lost -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_host_port_that_is_emptied_on_each_event_misses_nothing() -> None:
    senders, total = 6, 3_000
    with open_stage(threads=2) as stage:
        me = stage.host("me", queue_size=100_000)
        for i in range(senders):
            stage.seat(f"s{i}", stream(f"s{i}", "me", total, sender=i, batch=3))
        for i in range(senders):
            stage.send(f"s{i}", token(0))
        got: dict[str, list[int]] = {}
        seen = 0
        while sum(map(len, got.values())) < senders * total:
            stage.until(lambda: len(stage.of(native.EVENT_MAIL, me)) > seen)  # noqa: B023
            seen = len(stage.of(native.EVENT_MAIL, me))
            while mail := stage.scheduler.receive(me, 7):
                for message in mail:
                    got.setdefault(message.sender, []).append(int(message.as_dict()["content"][5:], 16))
                if len(mail) < 7:
                    break
        assert got == {f"s{i}": list(range(1, total + 1)) for i in range(senders)}


class Population:
    """Mirrors that are started and ended at random."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.mirror = stage, guest("mirror")
        self.names = [f"agent{i}" for i in range(10)]
        self.ports = {name: stage.scheduler.open_port(name) for name in self.names}
        self.starts = dict.fromkeys(self.names, 0)
        self.returned: list[str] = []

    def lives(self, name: str) -> bool:
        return len(self.stage.of(native.EVENT_EXITED, self.ports[name])) < self.starts[name]

    def start(self, name: str) -> None:
        if not self.lives(name):
            self.stage.start(self.ports[name], self.mirror, ready=False)
            self.starts[name] += 1

    def close(self, name: str) -> None:
        self.returned += [m.as_dict()["content"] for m in self.stage.scheduler.close_port(self.ports[name])]
        self.ports[name] = self.stage.scheduler.open_port(name)
        self.starts[name] = 0

    def change(self, name: str, rng: random.Random) -> None:
        chance = rng.random()
        if chance < 0.01:
            self.stage.scheduler.drop(self.ports[name])
        elif chance < 0.02:
            self.stage.scheduler.shutdown(self.ports[name])
        elif chance < 0.025:
            self.close(name)
        elif chance < 0.06:
            self.start(name)


@both_kinds
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_no_message_is_lost_or_doubled_while_agents_come_and_go(seed: int) -> None:
    rng = random.Random(seed)
    sent: list[str] = []
    with open_stage(threads=2) as stage:
        me = stage.host("me", queue_size=1_000_000)
        population = Population(stage)
        for number in range(10_000):
            stage.send(rng.choice(population.names), token(number), priority=rng.choice(["low", "normal", "high"]))
            sent.append(token(number))
            population.change(rng.choice(population.names), rng)
            if number % 16 == 0:
                stage.events += stage.scheduler.drain()
        for name in population.names:
            stage.scheduler.drop(population.ports[name])
            stage.watch(lambda: not population.lives(name))  # noqa: B023
            population.start(name)
        stage.watch(lambda: all(stage.scheduler.statistics(port).waiting == 0 for port in population.ports.values()))
        stage.watch(lambda: all(stage.scheduler.statistics(p).state == "idle" for p in population.ports.values()))
        answered = [m.as_dict()["content"] for m in stage.scheduler.receive(me, 1_000_000)]
        lost = [message.as_dict()["content"] for _, (message, _) in stage.of(native.EVENT_UNDELIVERED)]
        assert sorted(answered + population.returned + lost) == sent
        assert len(answered) > 1000
