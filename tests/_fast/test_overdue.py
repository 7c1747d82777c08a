"""Messages whose time has passed: at their turn, and before somebody comes to them."""

import pytest

from caxton._fast import scheduler as native
from tests._fast.lives import Lives, dead_letters, reporter
from tests._fast.scheduling import open_stage

PAST, FUTURE = "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"
LATER = 2**62  # µs


@pytest.mark.parametrize(("field", "reason"), [("expires_at", native.EXIT_EXPIRED), ("reply_by", native.EXIT_LATE)])
def test_whose_time_has_passed_is_a_dead_letter(field: str, reason: int) -> None:
    with Lives().begin() as life:
        port = life.keep("a", reporter())
        life.send("a", 1, **{field: PAST})
        life.send("a", 2, **{field: FUTURE})
        life.go_on()
        assert life.contents("a") == [2]
        assert dead_letters(life) == [(1, "a", reason, 1)]
        assert [code for code, _ in life.of(native.EVENT_UNDELIVERED, port)] == [reason]


def test_without_a_ledger_a_late_message_is_only_reported() -> None:
    with open_stage() as stage:
        port = stage.seat("a", "quiet")
        stage.send("a", 1, expires_at=PAST)
        stage.wait_for(native.EVENT_UNDELIVERED, port)
        assert stage.scheduler.statistics(port).handled == 0


def test_what_is_to_be_tried_again_ends_when_its_time_has_passed() -> None:
    """Wherever it waits; and what stood behind it in its conversation is next."""
    refuse_the_first = "(if (i32.eq (global.get $n) (i32.const 1)) (then (return (i32.const 7))))"
    with Lives().begin(retry_attempts=3, retry_delay_ns=1 << 39) as life:
        port = life.keep("a", reporter(refuse_the_first))
        life.send("a", 1, conversation_id="c", expires_at=FUTURE)
        life.send("a", 2, conversation_id="c")
        life.watch(lambda: life.scheduler.statistics(port).retrying == 2)
        assert life.scheduler.take_overdue(port, 1) == []
        assert life.scheduler.overdue_ports(LATER) == [port]
        ((message, reason),) = life.scheduler.take_overdue(port, LATER)
        assert (message.content, reason) == (b"1", native.EXIT_EXPIRED)
        life.scheduler.bury(port, message, reason)
        life.go_on()
        assert life.contents("a") == [1, 2]
        assert dead_letters(life) == [(1, "a", native.EXIT_EXPIRED, 2)]
        assert life.scheduler.overdue_ports(LATER) == []
