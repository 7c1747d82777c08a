"""A message to several: who cannot take it is named to the sender, and the others have it."""

from caxton._fast import scheduler as native
from caxton._fast.scheduler import SEND_MAILBOX_FULL, SEND_STOPPED
from tests._fast.scheduling import open_stage


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
