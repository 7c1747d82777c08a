"""The native ledger through real schedulers, life after life, beside its twin in dicts."""

import json
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton._fast.ledger import Ledger
from caxton._fast.scheduler import Scheduler
from caxton._fast.wasm.module import Module
from caxton.core.errors import InvalidTransition, StoreError
from tests._fast.lives import Life, Lives, reporter
from tests._fast.scheduling import engine
from tests._fast.test_delivery import stream, token
from tests.fuzz.segment import one_input
from tests.oracles import ledger as oracle

AGENTS = ("a", "b", "relay", "sink")
HEADER = oracle.HEADER


def module_of(name: str) -> Module:
    return reporter("(call $out)", receiver="sink") if name == "relay" else reporter()


class Chance:
    """Random acts on one life; numbers are the messages' contents."""

    def __init__(self, rng: random.Random, life: Life) -> None:
        self.rng = rng
        self.life = life
        self.running: set[str] = set()
        for name in AGENTS:
            life.keep(name)
        life.keep("outside", host=True)

    def act(self, number: int) -> None:
        rng, life = self.rng, self.life
        match rng.choice(
            ["send"] * 6 + ["burst", "start", "stop", "commit", "commit", "fail", "refill", "carry", "mail"]
        ):
            case "send":
                life.send(rng.choice(["a", "b", "relay", "outside", ["a", "b"], ["a", "relay", "outside"]]), number)
            case "burst":
                for extra in range(30):
                    life.send(rng.choice(["a", "relay"]), number + extra / 100)
            case "start":
                self.start(rng.choice(AGENTS))
            case "stop" if self.running:
                name = rng.choice(sorted(self.running))
                self.running.discard(name)
                port = life.ports[name]
                exits = len(life.of(2, port))
                life.scheduler.set_accepting(port, False)
                life.scheduler.drop(port)
                life.exit_of(port, exits + 1)
            case "commit":
                life.commit()
            case "fail":
                assert (batch := life.take()) is life.take()
                assert batch is None or life.ledger.take() is batch
            case "refill":
                life.events += life.scheduler.drain()
                life.refill()
            case "carry" if life.ledger.next_segment - life.ledger.oldest > 1:
                life.carry()
            case "mail":
                for message in life.scheduler.receive(life.ports["outside"], rng.randrange(4)):
                    life.scheduler.settle(life.ports["outside"], message)

    def start(self, name: str) -> None:
        if name not in self.running:
            self.running.add(name)
            self.life.scheduler.set_accepting(self.life.ports[name], True)
            self.life.start(self.life.ports[name], module_of(name), log_lines_per_second=1_000_000)


def check_whole_turns(past: Lives) -> None:
    """What the relay handled and what it sent are in the same segments."""
    for records in past.segments.values():
        sent = handled = 0
        seen = set()
        for entry in oracle.entries(records):
            if (
                entry.kind == oracle.ACCEPTED
                and entry.owners == ("sink",)
                and entry.order == first_place(past, records, entry)
            ):
                sent += 1
            elif entry.kind == oracle.HANDLED and entry.owners == ("relay",):
                assert entry.sequence not in seen
                seen.add(entry.sequence)
                handled += 1
        assert sent == handled


def first_place(past: Lives, records: bytes, entry: oracle.Entry) -> int:
    segment = next(number for number, found in past.segments.items() if found is records)
    return segment << 24 | entry.at >> 3


def check_order(life: Life) -> None:
    for name in ("a", "b", "relay"):
        firsts = list(dict.fromkeys(life.contents(name)))
        assert firsts == sorted(firsts), name


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_what_was_committed_is_handled_in_some_life(seed: int) -> None:
    rng = random.Random(seed)
    past = Lives()
    number = 0
    for _ in range(4):
        with past.begin(threads=2) as life:
            chance = Chance(rng, life)
            for _ in range(60):
                chance.act(number := number + 1)
        life.events += life.scheduler.drain()
        check_order(life)
        each = [life.scheduler.statistics(port).backlog_bytes for port in life.ports.values()]
        assert life.scheduler.backlog_bytes == sum(each)  # every owner has a port here
    with past.begin(threads=2) as life:
        chance = Chance(rng, life)
        for name in AGENTS:
            chance.start(name)
        while life.ledger.live:
            life.events += life.scheduler.drain()
            life.refill()
            for message in life.scheduler.receive(life.ports["outside"], 100):
                life.scheduler.settle(life.ports["outside"], message)
            life.commit()
        check_order(life)
        assert past.twin.live == {}
        assert all(life.scheduler.statistics(port).backlog == 0 for port in life.ports.values())
        assert life.scheduler.backlog_bytes == 0
        life.send("a", "the end")
        life.go_on()
        assert life.ledger.oldest >= life.ledger.next_segment - 1
    assert set(past.twin.accepted) == set(past.twin.done)
    assert set(past.twin.done.values()) <= {1}
    check_whole_turns(past)


def test_what_was_carried_once_is_carried_again() -> None:
    """After a carry a backlog's oldest message is in a new segment, and those behind it in older ones."""
    past = Lives()
    with past.begin() as life:
        life.keep("off")
        for number in range(6):
            life.send("off", number)
            life.commit()
        assert life.ledger.oldest == 1
        for expected in range(1, 7):
            assert life.ledger.oldest == expected
            assert life.carry() == 1
            life.commit()
        assert life.ledger.live == 6
        # and those that were carried, together with what came between
        assert life.carry() == 1
        life.commit()
    with past.begin() as life:
        life.keep("off", reporter())
        life.go_on()
        assert life.contents("off") == list(range(6))


def test_a_carried_broadcast_keeps_every_receiver() -> None:
    past = Lives()
    with past.begin() as life:
        for name in ("off", "gone"):
            life.keep(name)
        life.keep("host", host=True)
        life.send(["off", "gone", "host"], "all")
        life.send("off", "one")
        life.commit()
        assert life.carry() == 4
        life.commit()
        assert life.ledger.oldest == 2
    with past.begin() as life:
        for name in ("off", "gone", "host"):
            life.keep(name, reporter())
        life.go_on()
        assert [life.contents(name) for name in ("off", "gone", "host")] == [["all", "one"], ["all"], ["all"]]


def test_settled_twice_is_settled_once() -> None:
    """And what comes after it is read."""
    past = Lives()
    with past.begin() as life:
        port = life.keep("host", host=True)
        receipt = life.send("host", 1)
        (mail,) = life.receive(port)
        life.scheduler.settle(port, mail)
        life.scheduler.settle(port, mail)
        life.scheduler.bury(port, mail, 1)
        life.scheduler.settle(port, mail)
        life.commit()
        assert life.ledger.live == 0
        last = life.send("host", 2)
        life.commit()
        assert life.ledger.is_committed(receipt.sequence)
        assert life.ledger.is_committed(last.sequence)


def test_a_batch_that_failed_is_the_same_again() -> None:
    past = Lives()
    with past.begin() as life:
        life.keep("off")
        first = life.send("off", 1)
        batch = life.take()
        assert batch is not None
        second = life.send("off", 2)
        assert life.take() is batch
        assert not life.ledger.is_committed(first.sequence)
        past.write(batch)
        life.ledger.committed()
        assert life.ledger.is_committed(first.sequence)
        assert not life.ledger.is_committed(second.sequence)
        life.commit()
        assert life.ledger.is_committed(second.sequence)
        assert sorted(past.segments) == [1, 2]


def test_sequence_numbers_of_two_rings_and_boots_never_meet() -> None:
    past = Lives()
    seen: set[int] = set()
    for _ in range(3):
        with past.begin(threads=3) as life:
            life.keep("relay", reporter("(call $out)", receiver="sink"))
            life.keep("sink", reporter())
            for number in range(50):
                life.send("relay", number)
            life.go_on()
    for (sequence, _), times in past.twin.accepted.items():
        assert times == 1
        assert sequence not in seen
        seen.add(sequence)
    assert len(seen) == 300


@pytest.mark.slow
def test_each_senders_messages_keep_their_order_whichever_thread_it_runs_on() -> None:
    """They go through one ring or another as their sender is carried from core to core; the store has them in order."""
    past = Lives()
    with past.begin(threads=3) as life:
        life.keep("off")
        # who sleeps wakes on another thread; the others keep the reader busy with one ring or another
        for number in range(10):
            busy = number < 4
            module = stream(
                f"s{number}", "off", 3000 if busy else 200, sender=number, batch=1, pause_us=-1 if busy else 0
            )
            life.keep(f"s{number}", module)
        for number in range(10):
            life.send(f"s{number}", 0)
        life.watch(lambda: life.commit() and life.scheduler.statistics(life.ports["off"]).backlog == 13_200, within=20)
    waiting = [json.loads(content) for content in past.twin.waiting()["off"]]
    for number in range(10):
        assert [text for text in waiting if text.startswith(f"#{number:04x}")] == [
            token(n, number) for n in range(1, 3001 if number < 4 else 201)
        ]


def test_boots_wrap_around() -> None:
    assert [Scheduler(engine(), threads=1, boot=boot).ledger.boot for boot in (0, 1, 65535, 65536, 65537)] == [
        0,
        1,
        65535,
        1,
        2,
    ]


# -- bytes that are no segment ---------------------------------------------------------------------------------------


def some_segment() -> bytes:
    past = Lives()
    with past.begin() as life:
        for name in ("off", "gone"):
            life.keep(name)
        life.keep("relay", reporter())
        for number in range(4):
            life.send(["off", "gone"], number)
            life.send("relay", number)
        life.send("off", "x" * 300)
        life.settle()
        life.commit()
    assert len(past.segments) == 1 or sorted(past.segments) == list(range(1, len(past.segments) + 1))
    return past.segments[1]


SEGMENT: list[bytes] = []


def segment() -> bytes:
    if not SEGMENT:
        SEGMENT.append(some_segment())
    return SEGMENT[0]


@pytest.mark.slow
@settings(max_examples=150)
@given(st.data())
def test_any_bytes_are_read_or_called_damaged(data: st.DataObject) -> None:
    good = segment()
    records = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(records) - 1))
        match data.draw(st.sampled_from(["byte", "word", "cut", "insert", "count"])):
            case "byte":
                records[at] = data.draw(st.integers(0, 255))
            case "word":
                struct.pack_into(
                    "<I",
                    records,
                    min(at & ~3, len(records) - 4),
                    data.draw(st.sampled_from([0, 1, 8, 0xFFFFFFFF, 1 << 30])),
                )
            case "cut":
                del records[at + 1 :]
                break
            case "insert":
                records[at & ~7 : at & ~7] = bytes(8)
            case "count":
                starts = [entry.at for entry in oracle.entries(good)]
                start = data.draw(st.sampled_from(starts))
                if start + 8 <= len(records):
                    struct.pack_into("<H", records, start + 6, data.draw(st.sampled_from([0, 1, 7, 65535])))
        if len(records) < 4:
            break
    one_input(bytes(records), good)


@pytest.mark.parametrize(
    "records", [b"", b"CXJ", HEADER[:7], b"CXJ\x02\0\0\0\0", HEADER + b"\x01" * 8, HEADER + bytes(16)]
)
def test_what_is_no_segment_is_damaged(records: bytes) -> None:
    scheduler = Scheduler(engine(), threads=1, boot=2)
    scheduler.ledger.begin_recovery(1)
    with pytest.raises(StoreError) as caught:
        scheduler.ledger.recover(1, records)
    assert caught.value.details["cause"] == "damaged"


def test_an_entry_with_more_receivers_than_it_has_room_for_is_not_carried() -> None:
    past = Lives()
    with past.begin() as life:
        life.keep("off")
        life.send("off", 1)
        life.commit()
        records = bytearray(past.segments[1])
        (entry,) = oracle.entries(records)
        struct.pack_into("<H", records, entry.at + 6, 2000)
        with pytest.raises(StoreError):
            life.ledger.carry(1, bytes(records))
        assert life.carry() == 1


def test_nothing_is_recovered_before_or_after_its_time() -> None:
    scheduler = Scheduler(engine(), threads=1, boot=2)
    ledger: Ledger = scheduler.ledger
    with pytest.raises(InvalidTransition):
        ledger.recover(1, segment())
    ledger.begin_recovery(1)
    ledger.recover(1, segment())
    with pytest.raises(InvalidTransition):
        ledger.recover(1, segment())
    ledger.recovered()
    with pytest.raises(InvalidTransition):
        ledger.recover(2, segment())


def test_ports_that_are_closed_are_forgotten_when_nothing_refers_to_them() -> None:
    past = Lives()
    with past.begin() as life:
        life.keep("stays")
        life.send("stays", 1)
        for number in range(300):
            port = life.keep(f"off{number}")
            life.send(f"off{number}", number)
            life.commit()
            life.scheduler.close_port(port)
            segment = life.ledger.refill(port)
            for message in life.scheduler.take_backlog(port, segment, past.segments[segment]):
                if number != 7:  # nobody says what became of this one
                    life.scheduler.bury(port, message, 1)
            life.ledger.forget(port)
            life.commit()
            assert life.ledger.known_ports < 150
        life.send("stays", 2)
        life.commit()
    assert past.twin.waiting() == {"stays": [b"1", b"2"], "off7": [b"7"]}


def test_what_comes_for_a_port_that_is_forgotten_is_given_to_somebody() -> None:
    past = Lives()
    with past.begin() as life:
        port = life.keep("off")
        life.send("off", 1)  # its record is in the ring
        life.scheduler.close_port(port)
        life.ledger.forget(port)
        life.commit()
        assert list(life.ledger.take_late()) == [port]
        assert life.ledger.backlog(port) == 1
        segment = life.ledger.refill(port)
        for message in life.scheduler.take_backlog(port, segment, past.segments[segment]):
            life.scheduler.bury(port, message, 1)
        life.commit()
        assert life.ledger.live == 0
        assert past.twin.live == {}
