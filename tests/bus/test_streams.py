"""Attached agents: mail waits while they are away, comes again until it is acknowledged, one session at a time."""

import pytest
import trio
import trio.testing

from caxton.bus import streams
from caxton.core.errors import AgentNotFound, CaxtonError, InvalidTransition
from tests.bus.desk import PATIENCE, Desk, open_desk, receive
from tests.node.wat import guest, message


def post(desk: Desk, *contents: object) -> list[str]:
    return [desk.bus.post(message("outside", content)).message_id for content in contents]


async def test_mail_waits_while_the_agent_is_away() -> None:
    async with open_desk() as desk:
        desk.attach("outside")
        post(desk, 1, 2)
        async with desk.bus.stream("outside") as session:
            post(desk, 3)
            assert await receive(session, 3) == [1, 2, 3]


async def test_a_waiting_session_wakes_for_mail(nursery: trio.Nursery) -> None:
    async with open_desk() as desk:
        desk.attach("outside")
        async with desk.bus.stream("outside") as session:
            for number in range(3):

                async def later(number: int = number) -> None:
                    await trio.testing.wait_all_tasks_blocked()
                    post(desk, number)

                nursery.start_soon(later)
                assert await receive(session, 1) == [number]


async def test_what_is_not_acknowledged_comes_again_marked() -> None:
    async with open_desk() as desk:
        desk.attach("outside")
        first, second, third = post(desk, 1, 2, 3)
        async with desk.bus.stream("outside") as session:
            new = await session.receive(10)
            assert [mail.delivery_attempt for mail in new] == [0, 0, 0]
            assert not any({"delivery_attempt", "redelivered"} & mail.as_dict().keys() for mail in new)
            session.ack([second, "never heard of"])
            session.ack([second])
        post(desk, 4)
        async with desk.bus.stream("outside") as session:
            again = await session.receive(10)
            assert [(mail.message_id, mail.delivery_attempt) for mail in again] == [(first, 2), (third, 2)]
            assert all(mail.as_dict()["redelivered"] is True for mail in again)
            assert [mail.as_dict()["content"] for mail in await session.receive(10)] == [4]
            session.ack([first, third])
        async with desk.bus.stream("outside") as session:
            (last,) = await session.receive(10)
            assert (last.as_dict()["content"], last.delivery_attempt) == (4, 2)


async def test_acknowledging_what_came_before_spares_its_second_coming() -> None:
    async with open_desk() as desk:
        desk.attach("outside")
        first, second = post(desk, 1, 2)
        async with desk.bus.stream("outside") as session:
            await session.receive(10)
        async with desk.bus.stream("outside") as session:
            session.ack([first])
            assert [mail.message_id for mail in await session.receive(10)] == [second]


async def test_what_comes_again_is_also_handed_out_in_portions() -> None:
    async with open_desk() as desk:
        desk.attach("outside")
        post(desk, *range(5))
        async with desk.bus.stream("outside") as session:
            await session.receive(10)
        async with desk.bus.stream("outside") as session:
            assert [[mail.as_dict()["content"] for mail in await session.receive(2)] for _ in range(3)] == [
                [0, 1],
                [2, 3],
                [4],
            ]


async def test_a_session_holds_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "WINDOW", 3)
    async with open_desk() as desk:
        desk.attach("outside")
        first, *_ = post(desk, *range(5))
        async with desk.bus.stream("outside") as session:
            assert len(await session.receive(2)) == 2
            assert len(await session.receive(10)) == 1
            with trio.move_on_after(0.01) as scope:
                await session.receive(10)
            assert scope.cancelled_caught
            session.ack([first])
            assert [mail.as_dict()["content"] for mail in await session.receive(10)] == [3]


async def test_a_cancelled_receive_loses_nothing() -> None:
    async with open_desk() as desk:
        desk.attach("outside")
        async with desk.bus.stream("outside") as session:
            with trio.move_on_after(0):
                await session.receive(10)
            post(desk, 1)
            with trio.move_on_after(0):
                await session.receive(10)
            assert await receive(session, 1) == [1]


async def test_a_second_session_is_refused_or_takes_over(nursery: trio.Nursery) -> None:
    async with open_desk() as desk:
        desk.attach("outside")
        post(desk, 1)
        async with desk.bus.stream("outside") as old:
            assert len(await old.receive(10)) == 1
            with pytest.raises(InvalidTransition):
                async with desk.bus.stream("outside"):
                    pass
            async with desk.bus.stream("outside", takeover=True) as new:
                for use in (lambda: old.ack([]), lambda: old.send([message("outside")])):
                    with pytest.raises(InvalidTransition, match="taken over"):
                        use()
                with pytest.raises(InvalidTransition, match="taken over"):
                    await old.receive(1)
                assert await receive(new, 1) == [1]
        async with desk.bus.stream("outside"):
            pass  # the end of the old one did not end the place of the new one, nor leave one behind


@pytest.mark.parametrize("attempt", range(8))  # Trio shuffles the tasks of a turn
async def test_a_takeover_loses_no_news(nursery: trio.Nursery, attempt: int) -> None:
    """Old and new session wait at the same time; the old one's end must not take the new one's news away."""
    got: list[object] = []

    async def old(desk: Desk) -> None:
        async with desk.bus.stream("outside") as session:
            with pytest.raises(InvalidTransition):
                await session.receive(1)

    async def new(desk: Desk) -> None:
        async with desk.bus.stream("outside", takeover=True) as session:
            got.extend(await receive(session, 1))

    async with open_desk() as desk:
        desk.attach("outside")
        async with trio.open_nursery() as sessions:
            sessions.start_soon(old, desk)
            await trio.testing.wait_all_tasks_blocked()
            sessions.start_soon(new, desk)
            await trio.testing.wait_all_tasks_blocked()
            post(desk, 1)
        assert got == [1]


async def test_a_session_whose_agent_is_deleted_ends() -> None:
    async with open_desk() as desk:
        desk.attach("outside")
        async with trio.open_nursery() as tasks:
            async with desk.bus.stream("outside") as session:

                async def wait() -> None:
                    with pytest.raises(AgentNotFound, match="deleted"), trio.fail_after(PATIENCE):
                        await session.receive(1)

                tasks.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                desk.bus.streams.forget("outside")
                for use in (lambda: session.ack([]), lambda: session.send([])):
                    with pytest.raises(AgentNotFound, match="deleted"):
                        use()
        desk.bus.streams.forget("outside")  # once more harms nobody


async def test_forgetting_an_agent_gives_back_what_it_has_not_acknowledged() -> None:
    async with open_desk() as desk:
        desk.attach("outside")
        first, second = post(desk, 1, 2)
        async with desk.bus.stream("outside") as session:
            await session.receive(10)
            session.ack([first])
            assert [mail.message_id for mail in desk.bus.streams.forget("outside")] == [second]


async def test_only_attached_agents_have_a_stream() -> None:
    async with open_desk() as desk:
        await desk.seat("quiet", guest("quiet"))
        with pytest.raises(InvalidTransition, match="runs inside the server"):
            async with desk.bus.stream("quiet"):
                pass
        with pytest.raises(AgentNotFound):
            async with desk.bus.stream("nobody"):
                pass


async def test_what_a_session_sends_is_from_its_agent() -> None:
    async with open_desk() as desk:
        desk.attach("outside")
        desk.attach("other")
        async with desk.bus.stream("outside") as session, desk.bus.stream("other") as other:
            outcomes = session.send([message("other", 1, sender="somebody"), b"{", message("nobody")])
            assert [isinstance(outcome, CaxtonError) for outcome in outcomes] == [False, True, True]
            (mail,) = await other.receive(10)
            assert mail.sender == "outside"
