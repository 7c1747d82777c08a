"""Ids that are remembered: a window in time and number."""

import time

from caxton.bus.known import Known, as_duplicate
from caxton.core.views import Receipt


def receipt(at: float) -> Receipt:
    return Receipt(message_id=f"m{at}", status="delivered", delivered_to=1, accepted_at=at)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_the_oldest_go_when_there_are_too_many() -> None:
    known = Known(60, 3, clock=lambda: 100.0)
    for number in range(6):
        known.add(key(number), receipt(100.0))
    assert list(known.receipts) == [key(3), key(4), key(5)]
    known.add(key(3), receipt(100.0))
    known.add(key(6), receipt(100.0))
    assert set(known.receipts) == {key(5), key(3), key(6)}


def test_the_oldest_go_when_they_are_too_old() -> None:
    now = 100.0
    known = Known(60, 1000, clock=lambda: now)
    for number in range(5):
        known.add(key(number), receipt(now))
    now = 161.0
    assert not known.is_recent(known.receipts[key(0)])
    known.add(key(9), receipt(now))
    assert list(known.receipts) == [key(9)]
    assert known.is_recent(known.receipts[key(9)])


def test_without_a_window_nothing_is_remembered() -> None:
    for known in (Known(0, 10), Known(10, 0)):
        known.add(key(1), receipt(1e12))
        assert (known.receipts, known.is_kept) == ({}, False)


def test_what_an_earlier_process_accepted_is_known_by_its_text() -> None:
    known = Known(60, 10, clock=lambda: 100.0)
    known.recover(bytes.fromhex("0190aaaabbbb7cccadddeeeeeeeeeeee"), 99_000_000, 7, 2)
    (found,) = known.receipts.values()
    assert found.message_id == "0190aaaa-bbbb-7ccc-addd-eeeeeeeeeeee"
    assert as_duplicate(found).status == "duplicate"
    assert (found.delivered_to, found.sequence, found.accepted_at) == (2, 7, 99.0)


def test_forgetting_takes_no_longer_the_more_was_forgotten() -> None:
    known = Known(60, 1000, clock=lambda: 100.0)
    took = []
    for start in range(0, 200_000, 50_000):
        began = time.perf_counter()
        for number in range(start, start + 50_000):
            known.add(key(number), receipt(100.0))
        took.append(time.perf_counter() - began)
    assert min(took[1:]) < 5 * took[0]
