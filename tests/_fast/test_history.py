"""The recent messages and the latencies, held against a plain list."""

import random
from collections.abc import Callable, Sequence
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton._fast.envelope import Envelope
from caxton._fast.history import History
from caxton._fast.router import Router
from caxton._fast.scheduler import Scheduler
from caxton._fast.wasm.engine import Engine
from caxton.core.errors import MailboxFull

LEAST = 4096  # bytes that a history holds at least


def message(number: int, conversation: str = "", length: int = 0) -> Envelope:
    fields: dict[str, object] = {"conversation_id": conversation} if conversation else {}
    content = b'[%d,"%s"]' % (number, b"x" * length)
    return Envelope.make(performative="inform", receiver="a", content=content, **fields)


def a_history(messages: int = 1000, size: int = 1 << 20) -> History:
    return History(Router(), messages, size)


def pages(history: History, conversation: str | None, limit: int, after: int = 0) -> list[tuple[int, Envelope]]:
    """All that a client reads who follows the cursor."""
    read: list[tuple[int, Envelope]] = []
    while True:
        page, cursor = history.messages(conversation, after, limit)
        assert len(page) <= limit
        assert all(after < number <= cursor for number, _ in page)
        read += page
        if not page:
            return read
        after = cursor


# -- messages --


def test_before_the_first_message_there_is_nothing() -> None:
    history = a_history()
    assert (history.newest, history.accepted) == (0, 0)
    assert history.messages(None, 0, 10) == ([], 0)
    assert history.messages("c", 5, 10) == ([], 5)


def test_numbers_begin_with_one_and_grow_by_one() -> None:
    history = a_history()
    sent = [message(number) for number in range(50)]
    for number, envelope in enumerate(sent, 1):
        history.accept(envelope)
        assert (history.newest, history.accepted) == (number, number)
    assert history.messages(None, 0, 100) == (list(enumerate(sent, 1)), 50)


@given(
    lengths=st.lists(st.integers(0, 1500), max_size=60),
    room=st.integers(0, 20),
    size=st.sampled_from([0, LEAST, 5001, 20_000]),
)
@settings(deadline=None, max_examples=150)
def test_what_is_kept_is_the_end_of_what_was_accepted(lengths: list[int], room: int, size: int) -> None:
    history = a_history(room, size)
    sent = list(enumerate((message(n, "c", length) for n, length in enumerate(lengths)), 1))
    for _, envelope in sent:
        history.accept(envelope)
        kept = history.messages(None, 0, 1000)[0]
        assert kept == sent[: history.newest][history.newest - len(kept) :]
        assert kept
    kept = history.messages(None, 0, 1000)[0]
    assert len(kept) <= max(room, 1)
    assert sum(envelope.size for _, envelope in kept) <= max(size, LEAST)
    if len(kept) < min(len(sent), max(room, 1)):
        # forgotten for want of bytes: at most the largest message is wasted at the end, and one more did not fit
        largest = max(envelope.size for _, envelope in sent)
        assert sum(envelope.size + 8 for _, envelope in kept) > max(size, LEAST) - 2 * (largest + 8)


def test_a_message_larger_than_the_history_has_no_number_and_harms_nobody() -> None:
    history = a_history(10, LEAST)
    history.accept(message(1))
    history.accept(message(2, length=2 * LEAST))
    assert (history.newest, history.accepted) == (1, 2)
    history.accept(message(3))
    assert history.messages(None, 0, 10)[0] == [(1, message(1)), (2, message(3))]


def test_ten_thousand_messages_of_every_size_stay_whole() -> None:
    """Blocks lie at every offset of the ring, and none is torn or overwritten while it has a number."""
    rng = random.Random(1)
    history = a_history(500, 100_000)
    sent: list[Envelope] = []
    for number in range(10_000):
        sent.append(message(number, f"c{number % 7}", rng.randrange(1000)))
        history.accept(sent[-1])
        if number % 97 == 0:
            kept = history.messages(None, 0, 1000)[0]
            assert kept == list(enumerate(sent, 1))[-len(kept) :]


def test_pages_follow_each_other_without_a_gap() -> None:
    history = a_history()
    sent = list(enumerate((message(number) for number in range(100)), 1))
    for _, envelope in sent:
        history.accept(envelope)
    for limit in (1, 7, 99, 100, 101):
        assert pages(history, None, limit) == sent
    assert pages(history, None, 10, after=95) == sent[95:]
    assert history.messages(None, 100, 10) == ([], 100)
    assert history.messages(None, 10, 0) == ([], 10)


@given(
    conversations=st.lists(st.sampled_from(["", "a", "b", "ab", "a\u00fc"]), max_size=60),
    wanted=st.sampled_from(["a", "b", "ab", "a\u00fc", "none", "\u00fc"]),
    limit=st.integers(1, 9),
    after=st.integers(0, 70),
)
@settings(deadline=None)
def test_a_conversation_is_read_alone(conversations: list[str], wanted: str, limit: int, after: int) -> None:
    history = a_history(messages=40)
    for number, conversation in enumerate(conversations, 1):
        history.accept(message(number, conversation))
    expected = [
        (number, message(number, conversation))
        for number, conversation in enumerate(conversations, 1)
        if conversation == wanted and number > max(after, len(conversations) - 40)
    ]
    assert pages(history, wanted, limit, after) == expected


def test_a_reader_who_finds_nothing_need_not_look_there_again() -> None:
    history = a_history()
    for number in range(20):
        history.accept(message(number, "other"))
    assert history.messages("mine", 0, 10) == ([], 20)
    history.accept(message(20, "mine"))
    assert history.messages("mine", 20, 10) == ([(21, message(20, "mine"))], 21)


def test_a_reader_who_was_too_slow_goes_on_with_the_oldest_that_is_kept() -> None:
    history = a_history(messages=10)
    for number in range(100):
        history.accept(message(number))
    assert [number for number, _ in history.messages(None, 3, 4)[0]] == [91, 92, 93, 94]


@pytest.mark.parametrize("after", [21, 1 << 40, (1 << 64) - 1])
def test_a_cursor_from_the_future_reads_nothing(after: int) -> None:
    history = a_history()
    for number in range(20):
        history.accept(message(number))
    assert history.messages(None, after, 10) == ([], after)


def test_what_was_read_outlives_the_history() -> None:
    history = a_history(1, LEAST)
    history.accept(message(1))
    ((_, read),) = history.messages(None, 0, 1)[0]
    for number in range(100):
        history.accept(message(number + 2, length=number))
    del history
    assert read == message(1)


# -- as the node keeps it --


def test_the_scheduler_records_what_it_accepts_in_its_order() -> None:
    scheduler = Scheduler(Engine(pooling=False), threads=1, history_messages=5)
    port = scheduler.open_port("a", host=True, queue_size=8)
    sent = [scheduler.submit(message(number, f"c{number % 2}").to_json()).message_id for number in range(8)]
    with pytest.raises(MailboxFull):
        scheduler.submit(message(9).to_json())
    page, cursor = scheduler.history(None, 0, 10)
    assert [(number, envelope.message_id) for number, envelope in page] == list(enumerate(sent, 1))[-5:]
    assert (cursor, scheduler.newest_message, scheduler.totals()["accepted"]) == (8, 8, 8)
    assert [number for number, _ in scheduler.history("c1", 4, 10)[0]] == [6, 8]
    assert [envelope.message_id for envelope in scheduler.receive(port, 10)] == sent
    scheduler.stop()


# -- what became of a message --


def identified(number: int, length: int = 0) -> Envelope:
    return Envelope.make(
        performative="inform", receiver="a", content=b'"%s"' % (b"x" * length), message_id=str(UUID(int=number))
    )


@given(st.lists(st.one_of(st.integers(1, 40), st.integers(-40, -1)), max_size=300), st.integers(1, 20))
def test_an_id_finds_the_newest_message_that_has_it(steps: list[int], room: int) -> None:
    """Positive: such a message is kept. Negative: such a message is looked for."""
    history = a_history(room)
    kept: list[int] = []
    for step in steps:
        if step > 0:
            history.accept(identified(step))
            kept.append(step)
            continue
        found = history.receipt(UUID(int=-step).bytes)
        remembered = {number: place for place, number in enumerate(kept, 1) if place > len(kept) - room}
        assert (None if found is None else found[0]) == remembered.get(-step)


def test_an_index_of_forgotten_messages_begins_anew() -> None:
    history = a_history(100)
    for number in range(1, 20_001):
        history.accept(identified(number))
        if number % 97 == 0:
            assert history.receipt(UUID(int=number).bytes) == (number, 1, 0, 0, 0, 0, 0, 0)
            assert history.receipt(UUID(int=max(number - 100, 1)).bytes) is None or number <= 100
    with pytest.raises(ValueError, match="16 bytes"):
        history.receipt(b"short")


def test_bytes_that_were_overwritten_are_not_found() -> None:
    history = a_history(1000, LEAST)
    for number in range(1, 100):
        history.accept(identified(number, 500))
    assert history.receipt(UUID(int=1).bytes) is None
    assert history.receipt(UUID(int=99).bytes) is not None


# -- latencies --


def nearest_rank(values: Sequence[int], fraction: float) -> int:
    ordered = sorted(values)
    return next(value for rank, value in enumerate(ordered, 1) if rank >= fraction * len(ordered))


def is_near(found: int, expected: int) -> bool:
    return abs(found - expected) <= 0.07 * expected


DISTRIBUTIONS: list[Callable[[random.Random], float]] = [
    lambda rng: rng.uniform(0, 100),
    lambda rng: rng.uniform(1000, 1100),
    lambda rng: rng.lognormvariate(10, 1),
    lambda rng: rng.expovariate(1 / 50_000),
    lambda rng: rng.choice([500.0, 2_000_000.0, 3_000_000_000.0]),
]


@pytest.mark.parametrize("draw", DISTRIBUTIONS, ids=["small", "narrow", "lognormal", "exponential", "three"])
def test_quantiles_are_those_of_a_sorted_list_within_seven_percent(draw: Callable[[random.Random], float]) -> None:
    rng = random.Random(1)
    history = a_history()
    values = [int(draw(rng)) for _ in range(5000)]
    for value in values:
        history.count_hop(value)
    for fraction in (0.001, 0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0):
        assert is_near(history.hop_quantile(fraction), nearest_rank(values, fraction)), fraction


@given(ns=st.one_of(st.integers(0, 1000), st.integers(0, 2**64 - 1), st.integers(0, 63).map(lambda bit: 1 << bit)))
@settings(deadline=None)
def test_one_latency_is_every_quantile(ns: int) -> None:
    history = a_history()
    history.count_hop(ns)
    for fraction in (0.01, 0.5, 1.0):
        assert is_near(history.hop_quantile(fraction), ns)


@given(values=st.lists(st.integers(0, 2**40), min_size=1, max_size=50), fraction=st.floats(0.01, 1))
@settings(deadline=None)
def test_any_quantile_of_any_latencies_is_near(values: list[int], fraction: float) -> None:
    history = a_history()
    for value in values:
        history.count_hop(value)
    assert is_near(history.hop_quantile(fraction), nearest_rank(values, fraction))


def test_latencies_can_be_counted_anew() -> None:
    history = a_history()
    assert history.hop_quantile(0.5) == 0
    history.count_hop(1000)
    history.forget_hops()
    assert history.hop_quantile(0.5) == 0
    history.count_hop(10)
    assert history.hop_quantile(0.5) == 10
