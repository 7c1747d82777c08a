"""What happened, for those who watch: numbered events, the ring of log lines, messages read back."""

import pytest
import trio

from caxton._fast.scheduler import EVENT_EXITED, EVENT_LOG, EVENT_MAIL, EVENT_SUBSCRIBE
from caxton.bus import bus
from caxton.bus.events import EventLog
from caxton.bus.logs import LogRing
from caxton.core.views import EventFilter, LogLine
from tests.bus.desk import PATIENCE, open_desk
from tests.node.wat import example, guest, message

# -- the ring and the taps, without anything around them --


async def test_the_ring_keeps_the_newest_and_numbers_only_grow() -> None:
    log = EventLog(capacity=3)
    for number in range(5):
        log.emit("x", {"n": number}, at=float(number))
    assert [(event.id, event.data["n"]) for event in log.since(0)] == [(3, 2), (4, 3), (5, 4)]
    assert [event.id for event in log.since(4)] == [5]
    assert log.since(5) == log.since(99) == []


async def test_a_tap_sees_what_it_asked_for_from_then_on() -> None:
    log = EventLog()
    log.emit("a.b", {"agent_id": "x"})
    wanted = EventFilter(types=("a.*",), agents=("x",))
    assert not log.wants("a.b")
    with log.tap(10, wanted) as watched, log.tap(10, None) as everything:
        log.emit("a.b", {"agent_id": "x"})
        log.emit("a.b", {"agent_id": "y"})
        log.emit("b", {"agent_id": "x"})
        assert log.wants("b")
        assert [watched.receive_nowait().id] == [2]
        assert [everything.receive_nowait().id for _ in range(3)] == [2, 3, 4]
        with pytest.raises(trio.WouldBlock):
            watched.receive_nowait()
    log.emit("a.b", {"agent_id": "x"})  # nobody there any more
    assert not log.wants("a.b")


async def test_a_slow_watcher_misses_events_and_is_told_how_many() -> None:
    log = EventLog()
    with log.tap(2, None) as slow, log.tap(100, None) as quick:
        for _ in range(5):
            log.emit("x", {})
        assert [slow.receive_nowait().id for _ in range(2)] == [1, 2]
        log.emit("x", {})
        told, sixth = slow.receive_nowait(), slow.receive_nowait()
        assert (told.type, told.data["details"]) == ("system.alert", {"missed": 3})
        assert log.since(told.id)[0] == sixth  # who loses the connection between the two goes on with the sixth
        assert sixth.id == 6
        assert [quick.receive_nowait().id for _ in range(6)] == [1, 2, 3, 4, 5, 6]


async def test_one_free_place_is_for_the_news_of_the_loss() -> None:
    log = EventLog()
    with log.tap(1, None) as slow:
        for _ in range(3):
            log.emit("x", {})
        assert slow.receive_nowait().id == 1
        log.emit("x", {})
        assert slow.receive_nowait().data["details"] == {"missed": 2}
        log.emit("x", {})
        assert slow.receive_nowait().data["details"] == {"missed": 1}


async def test_a_watcher_that_closed_its_end_costs_nothing() -> None:
    log = EventLog()
    with log.tap(1, None) as watcher:
        watcher.close()
        log.emit("x", {})


def lines(*described: tuple[str, float]) -> LogRing:
    ring = LogRing(capacity=5)
    for agent, at in described:
        ring.append(LogLine(agent=agent, stream="out", text=f"{agent}{at:g}", at=at))
    return ring


@pytest.mark.parametrize(
    ("agents", "since", "limit", "found"),
    [
        ([], None, 100, ["b2", "a3", "b4", "a3.5", "a6"]),  # a1 has left the ring
        (["a"], None, 100, ["a3", "a3.5", "a6"]),
        (["a", "c"], None, 2, ["a3.5", "a6"]),
        ([], 4.0, 100, ["b4", "a6"]),  # a3.5 came later than b4, but is older
        (["b"], 3.9, 100, ["b4"]),
        (["nobody"], None, 100, []),
        ([], None, 0, []),
    ],
)
def test_the_newest_lines_are_selected(agents: list[str], since: float | None, limit: int, found: list[str]) -> None:
    ring = lines(("a", 1.0), ("b", 2.0), ("a", 3.0), ("b", 4.0), ("a", 3.5), ("a", 6.0))
    assert [line.text for line in ring.select(agents, since, limit)] == found


# -- over a scheduler --


async def test_a_conversation_is_read_page_by_page() -> None:
    async with open_desk() as desk:
        desk.attach("outside")
        for number in range(5):
            desk.bus.post(message("outside", number, conversation_id="c" if number % 2 == 0 else "d"))
        page, cursor = desk.bus.history("c", 0, 2)
        assert [bytes(record.content) for record in page] == [b"0", b"2"]
        page, cursor = desk.bus.history("c", cursor, 2)
        assert [(bytes(record.content), record.conversation_id) for record in page] == [(b"4", "c")]
        assert desk.bus.history("c", cursor, 2)[0] == []
        assert len(desk.bus.history(None, 0, 100)[0]) == 5
        assert desk.bus.history("never", 0, 100)[0] == []


async def test_a_record_shows_what_the_sender_said() -> None:
    async with open_desk() as desk:
        desk.attach("a")
        desk.attach("b")
        fields = {
            "conversation_id": "c",
            "reply_with": "r",
            "in_reply_to": "q",
            "protocol": "p",
            "ontology": "o",
            "language": "l",
        }
        receipt = desk.bus.post(message(["a", "b"], {"n": [1]}, sender="me", **fields))
        (record,), _ = desk.bus.history(None, 0, 1)
        assert {name: getattr(record, name) for name in fields} == fields
        assert (record.message_id, record.sender, record.receiver) == (receipt.message_id, "me", ["a", "b"])
        assert bytes(record.content).replace(b" ", b"") == b'{"n":[1]}'


async def test_messages_are_shown_to_those_who_watch() -> None:
    async with open_desk() as desk:
        await desk.seat("quiet", guest("quiet"))
        await desk.seat("echo", example("echo"))
        desk.bus.post(message("quiet", "before"))
        await desk.until(lambda: desk.scheduler.newest_message == 1)
        with desk.bus.tap(filter=EventFilter(types=("message.sent",))) as channel, trio.fail_after(PATIENCE):
            desk.bus.post(message("quiet", sender="me", conversation_id="c"))  # a guest that wakes nobody
            event = await channel.receive()
            assert {**event.data, "message_id": ""} == {
                "message_id": "",
                "from": "me",
                "to": "quiet",
                "performative": "request",
                "conversation_id": "c",
            }
            assert event.at == pytest.approx(desk.bus.history(None, 1, 1)[0][0].accepted_at)
            desk.bus.post(message("echo", sender="quiet"))
            sent = [(await channel.receive()).data for _ in range(2)]
            assert [(data["from"], data["performative"]) for data in sent] == [("quiet", "request"), ("echo", "inform")]


async def test_of_very_many_messages_only_the_newest_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "TAPPED_AT_ONCE", 3)
    async with open_desk() as desk:
        desk.attach("outside")
        with desk.bus.tap(filter=EventFilter(types=("message.sent", "system.alert"))) as channel:
            desk.bus.post_many([message("outside", conversation_id=str(number)) for number in range(10)])
            with trio.fail_after(PATIENCE):
                events = [await channel.receive() for _ in range(4)]
        assert events[0].data["details"] == {"missed": 7}
        assert [event.data["conversation_id"] for event in events[1:]] == ["7", "8", "9"]


async def test_a_guest_s_lines_are_kept_and_shown() -> None:
    async with open_desk() as desk:
        await desk.seat("counter", guest("counter"))
        with desk.bus.tap(filter=EventFilter(types=("agent.log",), agents=("counter",))) as channel:
            desk.bus.post(message("counter"))
            with trio.fail_after(PATIENCE):
                event = await channel.receive()
        assert event.data == {"agent_id": "counter", "stream": "out", "text": "1"}
        (line,) = desk.bus.logs.select(["counter"], None, 10)
        assert (line.text, line.at) == ("1", event.at)


async def test_a_port_that_is_closed_says_nothing() -> None:
    async with open_desk() as desk:
        port = desk.scheduler.open_port("gone", host=True)
        desk.scheduler.close_port(port)
        desk.bus.handle(EVENT_LOG, port, 1, ("late", 1))
        desk.bus.handle(EVENT_SUBSCRIBE, port, 0, b'{"topics": ["a"]}')
        desk.bus.handle(EVENT_MAIL, port, 0, None)
        assert (desk.bus.logs.select([], None, 10), desk.bus.events_since(0)) == ([], [])
        assert not desk.bus.handle(EVENT_EXITED, port, 0, "")  # that one is the runtime's
