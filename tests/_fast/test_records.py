"""What drain() says of the records of several threads: in the order in which each agent did it."""

from collections import Counter, defaultdict
from uuid import UUID

from caxton._fast import scheduler as native
from tests._fast.probe import Probe, poke, step
from tests._fast.probe import probe as guest_of_probe
from tests._fast.scheduling import Stage, both_kinds, open_stage, sender_guest

KEY, VALUE = 0x100, 0x200


def store(probe: Probe, value: str) -> None:
    probe.post(poke(KEY, "k"), poke(VALUE, value), step("store_data", KEY, 1, VALUE, len(value)))


def stored(stage: Stage) -> dict[int, list[str]]:
    """By port, every value in the order in which it was said."""
    values = defaultdict(list)
    for kind, port, _, b in stage.events:
        if kind == native.EVENT_STATE:
            values[port] += [value.decode() for _, value in b]
    return values


@both_kinds
def test_what_an_agent_stores_comes_in_its_order_though_its_turns_run_on_several_threads() -> None:
    agents, values = 12, [str(number) for number in range(200)]
    with open_stage(threads=3) as stage:
        probes = [Probe(stage, f"probe{i}") for i in range(agents)]
        for value in values:
            for probe in probes:
                store(probe, value)
        stage.watch(lambda: stage.scheduler.totals()["handled"] == agents * len(values), within=20)
        stage.events += stage.scheduler.drain()
        assert stored(stage) == {probe.port: values for probe in probes}


@both_kinds
def test_what_an_agent_stored_last_comes_before_its_exit() -> None:
    with open_stage(threads=3) as stage:
        probes = [Probe(stage, f"probe{i}") for i in range(6)]
        for life in range(1, 30):
            for probe in probes:
                for number in range(3):
                    store(probe, f"{life}.{number}")
                probe.post(step("trap"))
            for probe in probes:
                stage.exit_of(probe.port, life)
                assert stored(stage)[probe.port][-1] == f"{life}.2"
                stage.start(probe.port, guest_of_probe(), ready=False)


def states(stage: Stage) -> Counter[tuple[int, int]]:
    """Of every message that is remembered: (handled, failed)."""
    found, _ = stage.scheduler.history(None, 0, 1_000_000)
    receipts = [stage.scheduler.records.receipt(UUID(str(message.message_id)).bytes) for _, message in found]
    return Counter((receipt[3], receipt[4]) for receipt in receipts if receipt is not None)


def test_a_turn_is_told_after_the_message_that_it_handled_whichever_threads_had_them() -> None:
    """Volatile messages, which no segment waits for: a receipt that is told too early stays at "delivered"."""
    with open_stage(threads=2) as stage:
        for name in ("a", "b", "c"):
            stage.seat(name, "quiet")
            stage.seat(f"to-{name}", sender_guest(name, 300))
        for _ in range(30):
            for name in ("a", "b", "c"):
                stage.send(f"to-{name}")
            stage.scheduler.read_records()
        while stage.scheduler.totals()["handled"] < 30 * 3 * 301:
            stage.events += stage.scheduler.drain()
        assert states(stage) == {(1, 0): 30 * 3 * 301}


def test_a_receipt_is_kept_as_long_as_its_message_however_many_threads_there_are() -> None:
    with open_stage(threads=3, history_messages=400) as stage:
        port = stage.host("outside")
        for number in range(400):
            stage.send("outside", number)
        for message in stage.scheduler.receive(port, 400):
            stage.scheduler.settle(port, message)
        stage.scheduler.read_records()
        assert states(stage) == {(1, 0): 400}
