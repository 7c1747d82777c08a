"""A message to several: who cannot take it is named to the sender, and the others have it."""

import pytest

from caxton._fast import scheduler as native
from caxton._fast.scheduler import SEND_MAILBOX_FULL, SEND_NO_RECEIVER, SEND_STOPPED, UNSENT
from caxton.core.errors import AgentNotFound
from tests._fast.lives import Lives, dead_letters, reporter
from tests._fast.scheduling import Stage, both_kinds, open_stage, sender_guest


def test_a_receiver_that_is_full_is_named_while_the_others_have_the_message() -> None:
    with open_stage() as stage:
        free, full, shut = stage.host("free"), stage.host("full", queue_size=1), stage.host("shut")
        stage.send("full")
        stage.scheduler.set_accepting(shut, False)
        assert stage.send(["free", "full", "shut"], 7).delivered_to == 1
        stage.until(lambda: len(stage.of(native.EVENT_UNDELIVERED)) == 2)
        refusals = {detail: code for code, (_, detail) in stage.of(native.EVENT_UNDELIVERED)}
        assert refusals == {"full": SEND_MAILBOX_FULL, "shut": SEND_STOPPED}
        assert [message.content for message in stage.scheduler.receive(free, 10)] == [b"7"]
        assert len(stage.scheduler.receive(full, 10)) == 1


def missed(stage: Stage, count: int) -> list[str]:
    """Whom the sender is told of, in order."""
    stage.until(lambda: len(stage.of(native.EVENT_UNDELIVERED)) >= count)
    assert {code for code, _ in stage.of(native.EVENT_UNDELIVERED)} == {SEND_NO_RECEIVER}
    return [name for _, (_, name) in stage.of(native.EVENT_UNDELIVERED)]


@pytest.mark.parametrize("found", [["free"], ["free", "other"]])
def test_those_who_are_nowhere_are_named_while_the_others_have_the_message(found: list[str]) -> None:
    with open_stage() as stage:
        ports = [stage.host("free"), stage.host("other")][: len(found)]
        receipt = stage.send(["ghost", *found, "phantom", "topic:nobody.listens"], 7)
        assert (receipt.delivered_to, receipt.not_found) == (len(found), ("ghost", "phantom", "topic:nobody.listens"))
        assert missed(stage, 3) == ["ghost", "phantom", "topic:nobody.listens"]
        for port in ports:
            assert [message.content for message in stage.scheduler.receive(port, 10)] == [b"7"]
        assert stage.send(found, 8).not_found == ()
        assert stage.send("free", 8).not_found == ()


def test_when_all_are_nowhere_the_message_is_refused() -> None:
    with open_stage() as stage:
        with pytest.raises(AgentNotFound, match="phantom"):
            stage.send(["ghost", "phantom"])
        assert not stage.pump(0)


@both_kinds
@pytest.mark.parametrize("found", [["one"], ["one", "two"]])
def test_a_guest_that_sends_to_nobody_among_others_is_told(found: list[str]) -> None:
    with open_stage() as stage:
        ports = {name: stage.host(name) for name in ("one", "two")}
        guest = stage.seat("a", sender_guest(["ghost", *found]))
        stage.send("a")
        for name in found:
            assert stage.receive(ports[name])[0].sender == "a"
        assert missed(stage, 1) == ["ghost"]
        assert [at for kind, at, _, _ in stage.events if kind == native.EVENT_UNDELIVERED] == [guest]


def test_a_thousand_who_are_nowhere_are_told_of_in_part() -> None:
    with open_stage() as stage:
        free = stage.host("free")
        names = [f"ghost-{number}" for number in range(1000)]
        receipt = stage.send([*names, "free"], 7)
        assert receipt.not_found == tuple(names)
        assert missed(stage, 64) == names[:64]
        assert len(stage.scheduler.receive(free, 10)) == 1


def test_one_dead_letter_has_those_who_are_nowhere_and_nobody_else() -> None:
    with Lives().begin() as life:
        life.keep("a", reporter())
        life.keep("b", reporter())
        life.send(["a", "ghost", "b", "phantom"], 7)
        life.go_on()
        assert life.contents("a") == life.contents("b") == [7]
        assert dead_letters(life) == [(7, "", UNSENT - SEND_NO_RECEIVER, 1)]
