"""Kept messages through a scheduler: retries, dead letters, times that passed, receivers that are away."""

import json
from typing import Any

import pytest

from caxton._fast import scheduler as native
from caxton.core.errors import InvalidTransition, MailboxFull, StorageFull
from tests._fast.components import quoted
from tests._fast.lives import Life, Lives, dead_letters, reporter
from tests._fast.probe import Probe
from tests._fast.scheduling import both_kinds, guest
from tests._fast.test_sending import sends

REFUSE = "(return (i32.const 7))"


def first_calls(count: int, do: str) -> str:
    return f"(if (i32.le_u (global.get $n) (i32.const {count})) (then {do}))"


def attempts(life: Life, name: str) -> list[tuple[Any, int, bool]]:
    return [(m["content"], m.get("delivery_attempt", 0), m.get("redelivered", False)) for m in life.messages(name)]


def handled_by(life: Life, name: str, count: int) -> None:
    life.watch(lambda: life.scheduler.statistics(life.ports[name]).handled == count)


RETRIES = {"retry_attempts": 3, "retry_delay_ns": 1_000_000}


@both_kinds
def test_a_refused_message_comes_again_and_knows_it() -> None:
    with Lives().begin(**RETRIES) as life:
        life.keep("a", reporter(first_calls(2, REFUSE)))
        life.send("a", 1)
        life.go_on()
        assert attempts(life, "a") == [(1, 0, False), (1, 2, True), (1, 3, True)]
        figures = life.scheduler.statistics(life.ports["a"])
        assert (figures.handled, figures.failed, figures.retrying) == (1, 2, 0)
        assert dead_letters(life) == []


@both_kinds
def test_after_the_last_attempt_it_is_a_dead_letter() -> None:
    with Lives().begin(**RETRIES) as life:
        port = life.keep("a", reporter(REFUSE))
        life.send("a", 1)
        life.go_on()
        assert [attempt for _, attempt, _ in attempts(life, "a")] == [0, 2, 3, 4]
        assert dead_letters(life) == [(1, "a", native.EXIT_REFUSED, 4)]
        ((reason, (message, _)),) = life.of(native.EVENT_UNDELIVERED, port)
        assert (reason, message.as_dict()["content"]) == (native.EXIT_REFUSED, 1)


@both_kinds
def test_a_refused_turn_leaves_nothing_in_the_state() -> None:
    write = "(drop (call $store (i32.const 1024) (i32.const 1) (i32.const 1024) (i32.const 1)))"
    with Lives().begin(**RETRIES) as life:
        port = life.keep("a", reporter(write + first_calls(2, REFUSE)))
        life.send("a", 1)
        life.go_on()
        assert len(life.of(native.EVENT_STATE, port)) == 1
        assert [owner for owner, _, _ in life.state] == ["a"]


def test_an_answer_to_nobody_is_not_tried_again() -> None:
    with Lives().begin(**RETRIES) as life:
        port = life.ports["a"] = life.scheduler.open_port("a")
        life.scheduler.keep_port(port, "a")
        life.start(port, "mirror")
        life.send("a", "#" * 17, sender="")
        life.go_on()
        figures = life.scheduler.statistics(port)
        assert (figures.handled, figures.failed, figures.retrying) == (0, 1, 0)
        assert life.scheduler.totals()["turns"] == 2  # with the first, that of its birth


def test_the_order_of_a_conversation_outlives_a_retry() -> None:
    with Lives().begin(**RETRIES) as life:
        life.keep("a", reporter(first_calls(2, REFUSE)))
        for number in range(5):
            life.send("a", number, conversation_id="c")
        life.go_on()
        assert life.contents("a") == [0, 0, 0, 1, 2, 3, 4]


def test_a_message_without_a_conversation_holds_nobody_back() -> None:
    with Lives().begin(retry_attempts=1, retry_delay_ns=1 << 39) as life:
        life.keep("a", reporter(first_calls(1, REFUSE)))
        for number in range(4):
            life.send("a", number)
        life.go_on(until_live=1)
        assert life.contents("a") == [0, 1, 2, 3]
        assert life.scheduler.statistics(life.ports["a"]).retrying == 1


def test_many_retries_all_come_due() -> None:
    """Also those that come due while the thread ends another turn."""
    with Lives().begin(threads=1, retry_attempts=5, retry_delay_ns=20_000) as life:
        life.keep("a", reporter("(if (i32.rem_u (global.get $n) (i32.const 3)) (then (return (i32.const 1))))"))
        for number in range(400):
            life.send("a", number)
        life.go_on()
        assert set(life.contents("a")) == set(range(400))


@both_kinds
def test_a_killed_turn_comes_again_and_does_not_count() -> None:
    spin = "(loop $ever (br $ever))"
    with Lives().begin(**RETRIES) as life:
        port = life.keep("a", reporter(spin))
        life.send("a", 1)
        life.watch(lambda: len(life.contents("a")) == 1)
        life.scheduler.drop(port)
        assert life.exit_of(port)[0] == native.EXIT_KILLED
        assert life.scheduler.statistics(port).retrying == 1
        life.start(port, reporter())
        life.go_on()
        assert attempts(life, "a") == [(1, 0, False), (1, 0, False)]
        assert life.dead == []


@both_kinds
def test_a_crash_counts_and_the_next_instance_tries_again() -> None:
    with Lives().begin(**RETRIES) as life:
        port = life.keep("a", reporter("unreachable"))
        life.send("a", 1)
        assert life.exit_of(port)[0] == native.EXIT_TRAP
        life.start(port, reporter())
        life.go_on()
        assert attempts(life, "a") == [(1, 0, False), (1, 2, True)]


@both_kinds
def test_what_retries_goes_back_when_the_port_is_closed() -> None:
    with Lives().begin(retry_attempts=1, retry_delay_ns=1 << 39) as life:
        port = life.keep("a", reporter(REFUSE))
        for number in range(3):
            life.send("a", number, conversation_id="c")
        life.watch(lambda: life.scheduler.statistics(port).retrying == 3)
        left = life.scheduler.close_port(port)
        assert sorted(message.as_dict()["content"] for message in left) == [0, 1, 2]
        life.commit()
        assert life.ledger.live == 0
        assert sorted(letter[0] for letter in dead_letters(life)) == [0, 1, 2]


@both_kinds
def test_closing_a_port_while_its_turns_fail_loses_nothing() -> None:
    for _ in range(20):
        with Lives().begin(retry_attempts=1000, retry_delay_ns=0) as life:
            port = life.keep("a", reporter(REFUSE))
            for number in range(20):
                life.send("a", number)
            life.wait_for(native.EVENT_LOG, port)
            life.scheduler.close_port(port)
            life.go_on()
            assert sorted(letter[0] for letter in dead_letters(life)) == list(range(20))


# -- receivers that are away -----------------------------------------------------------------------------------------


def test_a_volatile_message_is_refused_where_a_kept_one_waits() -> None:
    past = Lives()
    with past.begin() as life:
        port = life.keep("off")
        assert life.send("off", 1).kept
        with pytest.raises(InvalidTransition):
            life.send("off", 2, delivery="volatile")
        assert life.send("off", 3, delivery="relaxed").kept
        assert life.scheduler.statistics(port).backlog == 2
        life.commit()
    with past.begin() as life:
        life.keep("off", reporter())
        life.go_on()
        assert life.contents("off") == [1, 3]


def test_only_what_is_relaxed_needs_no_sync() -> None:
    with Lives().begin() as life:
        life.keep("off")
        life.send("off", 1, delivery="relaxed")
        batch = life.commit()
        assert batch is not None
        assert not batch.needs_sync
        life.send("off", 1)
        batch = life.commit()
        assert batch is not None
        assert batch.needs_sync


def test_a_store_that_takes_nothing_refuses_what_has_to_be_kept() -> None:
    with Lives().begin() as life:
        life.keep("a", reporter())
        life.scheduler.set_refusing(True)
        with pytest.raises(StorageFull):
            life.send("a", 1)
        life.send("a", 2, delivery="volatile")
        life.scheduler.set_refusing(False)
        life.send("a", 3)
        life.watch(lambda: len(life.contents("a")) == 2)
        assert life.contents("a") == [2, 3]


def test_the_backlog_has_a_bound() -> None:
    with Lives().begin() as life:
        port = life.keep("off")
        life.scheduler.keep_port(port, "off", backlog=3)
        for number in range(3):
            life.send("off", number)
        with pytest.raises(MailboxFull):
            life.send("off", 3)
        # said once more, it counts nothing twice
        life.scheduler.keep_port(port, "off", backlog=10)
        assert life.scheduler.statistics(port).backlog == 3


def test_a_port_is_drained_when_nothing_waits_to_be_tried_again() -> None:
    with Lives().begin(retry_attempts=3, retry_delay_ns=50_000_000) as life:
        port = life.keep("a", reporter(first_calls(1, REFUSE)))
        life.send("a", 1)
        life.watch(lambda: life.scheduler.statistics(port).retrying == 1)
        life.scheduler.drain_port(port)
        life.wait_for(native.EVENT_DRAINED, port)
        counters = life.scheduler.statistics(port)
        assert (counters.retrying, counters.handled) == (0, 1)


def fill(life: Life, name: str, **fields: object) -> int:
    """How many messages were taken until the port was full."""
    for taken in range(1000):
        try:
            life.send(name, taken, **fields)
        except MailboxFull:
            return taken
    raise AssertionError("it is never full")


def test_the_backlog_has_a_bound_in_bytes() -> None:
    """Counted over a restart, given back by a refill, and asked before a message comes: it is never exceeded."""
    past = Lives()
    with past.begin() as life:
        port = life.keep("off")
        life.send("off", 0)
        one = life.scheduler.statistics(port).backlog_bytes
        assert one > 100
        life.scheduler.keep_port(port, "off", backlog_bytes=5 * one)
        assert fill(life, "off") == 4
        assert life.scheduler.statistics(port).backlog_bytes == 5 * one
        life.commit()
    with past.begin() as life:
        port = life.keep("off")
        assert life.scheduler.statistics(port).backlog_bytes == 5 * one == life.scheduler.backlog_bytes
        life.scheduler.keep_port(port, "off", backlog_bytes=5 * one)
        assert fill(life, "off") == 0
        life.scheduler.set_accepting(port, True)
        life.start(port, reporter())
        life.go_on()
        assert life.scheduler.statistics(port).backlog_bytes == 0
        life.send("off", "again")


def test_all_backlogs_together_have_a_bound() -> None:
    """Also those of owners that have no port yet; closing a port gives its part back."""
    past = Lives()
    with past.begin() as life:
        one = life.keep("one")
        life.keep("two")
        life.send("one", 0)
        size = life.scheduler.backlog_bytes
        life.send("two", 0)
        life.commit()
    with past.begin(backlog_bytes=6 * size) as life:
        assert life.scheduler.backlog_bytes == 2 * size
        one = life.keep("one")
        assert fill(life, "one") == 4
        two = life.keep("two")
        assert fill(life, "two") == 0
        life.scheduler.close_port(one)
        assert fill(life, "two") == 5
        life.scheduler.close_port(two)
        assert life.scheduler.backlog_bytes == 0


@both_kinds
def test_a_guest_is_told_that_the_backlog_has_no_room() -> None:
    with Lives().begin() as life:
        port = life.keep("off")
        life.send("off", 0)
        life.scheduler.keep_port(port, "off", backlog_bytes=life.scheduler.backlog_bytes)
        agent = Probe(life)
        assert agent.do(sends({"performative": "inform", "receiver": "off", "content": 1})) == [
            native.SEND_MAILBOX_FULL
        ]


def test_the_only_one_of_several_who_takes_it_keeps_it() -> None:
    """The others refuse: what is written for one receiver still says that it is kept."""
    past = Lives()
    with past.begin() as life:
        life.keep("a")
        life.scheduler.open_port("full", host=True, queue_size=0)
        life.scheduler.open_port("too", host=True, queue_size=0)
        assert life.send(["full", "a", "too"], 1).delivered_to == 1
        life.commit()
    with past.begin() as life:
        life.keep("a", reporter())
        life.go_on()
        assert life.contents("a") == [1]


def test_several_receivers_each_have_it_as_they_can() -> None:
    past = Lives()
    with past.begin() as life:
        life.keep("a", reporter())
        life.keep("off")
        client = life.scheduler.open_port("client:1", host=True)
        life.scheduler.never_keep(client)
        assert life.send(["a", "off", "client:1"], 1).delivered_to == 3
        life.go_on(until_live=1)
        assert life.contents("a") == [1]
        assert [message.as_dict()["content"] for message in life.receive(client)] == [1]
        # who is never kept leaves no trace that the ledger would wait for
        assert past.twin.waiting() == {"off": [b"1"]}
    with past.begin() as life:
        life.keep("off", reporter())
        life.keep("a", reporter())
        life.go_on()
        assert (life.contents("off"), life.contents("a")) == ([1], [])


def test_a_client_that_is_away_does_not_spill() -> None:
    """Two receivers, so that the message itself is kept."""
    with Lives().begin() as life:
        client = life.scheduler.open_port("client:1", host=True, queue_size=1)
        life.scheduler.never_keep(client)
        life.scheduler.set_away(client, True)
        life.keep("off")
        assert [life.send(["off", "client:1"], number).delivered_to for number in range(3)] == [2, 1, 1]
        assert life.scheduler.statistics(client).backlog == 0


def broadcaster(names: list[str]) -> Any:
    """Broadcasts one message to *names*; its block is shared by all of them."""
    text = json.dumps({"performative": "inform", "content": -1}, separators=(",", ":"))
    selector = json.dumps({"agents": names}, separators=(",", ":"))
    return guest(
        "broadcaster", SELECTOR=quoted(selector), SELECTOR_LENGTH=len(selector), MESSAGE=quoted(text), LENGTH=len(text)
    )


@both_kinds
def test_a_guests_broadcast_is_kept_for_those_who_can_keep_it() -> None:
    """The first of them is never kept, one is away, one runs: one block for all, one fate for each."""
    past = Lives()
    names = ["client:1", "off", "a"]
    with past.begin() as life:
        client = life.scheduler.open_port("client:1", host=True)
        life.scheduler.never_keep(client)
        life.keep("off")
        life.keep("a")
        life.keep("caller", broadcaster(names))
        life.send("caller", 1)
        handled_by(life, "caller", 1)
        life.go_on(until_live=2)
        assert [message.as_dict()["content"] for message in life.receive(client)] == [-1]
        assert past.twin.waiting() == {"off": [b"-1"], "a": [b"-1"]}
        assert life.carry() == 2
        life.commit()
    with past.begin() as life:
        for name in ("off", "a"):
            life.keep(name, reporter())
        life.go_on()
        assert (life.contents("off"), life.contents("a")) == ([-1], [-1])


# -- much --------------------------------------------------------------------------------------------------------------


def test_a_large_state_and_its_turn_are_one_batch() -> None:
    """Through a ring that is smaller than the state, too."""
    write = "(drop (call $store (i32.const 1024) (i32.const 4) (i32.const 0x40000) (i32.const 300000)))"
    for options in ({}, {"journal_bytes": 1, "max_message_size": 1024}):
        with Lives().begin(threads=1, **options) as life:
            port = life.keep("a", reporter(write))
            life.send("a", 1)
            state = life.wait_for(native.EVENT_STATE, port)[1]
            handled_by(life, "a", 1)  # of a group that is longer than the ring the state is told before its end
            life.commit()
            assert life.ledger.live == 0
            assert [is_last for _, _, is_last in life.state].count(True) == 1
            assert sum(len(piece) for _, piece, _ in life.state) > 300_000
            ((_, value),) = state
            assert len(value) == 300_000


@pytest.mark.slow
def test_a_turn_longer_than_half_a_ring_is_one_segment() -> None:
    """33 MB of messages through a ring of 8 MB, and what came before and after them."""
    past = Lives()
    with past.begin(threads=1) as life:
        more = "(br_if $more (local.tee $i (i32.sub (local.get $i) (i32.const 1))))"
        many = f"(local.set $i (i32.const 550)) (loop $more (call $out) {more})"
        life.keep("a", reporter(many, receiver="off", content="x" * 60_000))
        life.keep("off")
        life.send("off", "before")
        life.commit()
        life.send("a", 1)
        handled_by(life, "a", 1)
        life.send("off", "after")
        life.commit()
        (_,) = [records for records in past.segments.values() if len(records) > 33_000_000]
        assert len(past.twin.live) == 552
    with past.begin(threads=1) as life:
        life.keep("off", reporter())
        life.go_on()
        lines = life.lines(life.ports["off"])
        assert ("before" in lines[0], len(lines), "after" in lines[-1]) == (True, 552, True)


def test_order_is_kept_through_the_store() -> None:
    past = Lives()
    with past.begin() as life:
        port = life.keep("off")
        for number in range(1500):
            life.send("off", number)
            if number % 100 == 0:
                life.commit()
        life.scheduler.set_accepting(port, True)
        life.start(port, reporter(), log_lines_per_second=1_000_000)
        for number in range(1500, 2000):
            life.send("off", number)
            if number % 50 == 0:
                life.events += life.scheduler.drain()
                life.commit()
                life.refill()
        life.go_on()
        assert life.contents("off") == list(range(2000))
        assert life.scheduler.statistics(port).backlog == 0


def test_a_refill_stops_where_the_mailbox_is_full_of_bytes() -> None:
    past = Lives()
    with past.begin() as life:
        port = life.keep("host", host=True, queue_bytes=100_000)
        life.scheduler.set_away(port, True)
        for number in range(30):
            life.send("host", [number, "x" * 20_000])
        life.commit()
        life.scheduler.set_away(port, False)
        mail: list[int] = []
        while len(mail) < 30:
            life.events += life.scheduler.drain()
            assert life.scheduler.statistics(port).mailbox_bytes < 130_000
            for message in life.scheduler.receive(port, 2):
                mail.append(message.as_dict()["content"][0])
                life.scheduler.settle(port, message)
            life.refill()
        assert mail == list(range(30))
        life.commit()
        assert life.ledger.live == 0


def test_a_message_longer_than_todays_limit_is_still_delivered() -> None:
    past = Lives()
    with past.begin(max_message_size=1 << 20) as life:
        life.keep("off")
        life.send("off", "x" * 7000)
        life.commit()
    with past.begin(max_message_size=1024) as life:
        life.keep("off", reporter())
        life.go_on()
        assert life.contents("off") == ["x" * 7000]


def test_a_group_of_thousands_goes_through_a_small_ring() -> None:
    past = Lives()
    with past.begin(threads=1, journal_bytes=1, max_message_size=8192) as life:
        for number in range(1500):
            name = f"off{number}"
            port = life.keep(name)
            life.scheduler.join_group(port, "all")
        life.keep("caller", reporter("(call $out)", receiver="broadcast://all"))
        life.send("caller", 1)
        handled_by(life, "caller", 1)
        life.go_on(until_live=1500)
        assert len(past.twin.waiting()) == 1500
        # from outside it does not fit: nobody gets it, rather than some
        with pytest.raises(MailboxFull):
            life.send("broadcast://all", 2)
        life.commit()
        assert len(past.twin.live) == 1500
        assert life.scheduler.statistics(life.ports["off1"]).backlog == 1
