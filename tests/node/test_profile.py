"""Samples of ports become percent of agents, and nothing gets lost on the way."""

from pathlib import Path

import attrs
import pytest
import trio

from caxton._fast.profile import ACTIVITIES
from caxton.core.errors import InvalidTransition
from caxton.core.views import ProfileRow, ProfileShares
from caxton.node.profile import summarise
from tests.node.opened import deploy, open_a_node
from tests.node.wat import guest, message


@attrs.frozen
class Found:
    """As `caxton._fast.profile.Profile`."""

    seconds: float
    looks: int
    messages: int
    threads: list[tuple[int, ...]]
    ports: list[tuple[int, str, int, tuple[int, ...]]]


def counts(**samples: int) -> tuple[int, ...]:
    return tuple(samples.get(name, 0) for name in ACTIVITIES)


FOUND = Found(
    seconds=2.0,
    looks=1000,
    messages=1500,
    threads=[counts(idle=200, guest=500, envelope=250, scheduler=50), counts(idle=600, guest=300, journal=100)],
    ports=[
        (0, "", 0, counts(scheduler=20)),
        (1, "small", 100, counts(envelope=40, scheduler=10)),
        (2, "pair", 600, counts(guest=300, envelope=100)),
        (3, "pair", 700, counts(guest=400, envelope=110, journal=100)),
        (4, "", 0, counts(guest=100, scheduler=10)),
    ],
)


def shares(row: ProfileShares) -> dict[str, float]:
    return {name: value for name in ACTIVITIES if name != "idle" and (value := getattr(row, name))}


def test_replicas_are_one_agent_and_shares_are_of_all_threads():
    found = summarise(FOUND, 0.5, top=20)
    assert [row.agent_id for row in found.agents] == ["pair", "(deleted)", "small"]
    pair = found.agents[0]
    assert (pair.share, shares(pair)) == (50.5, {"guest": 35.0, "envelope": 10.5, "journal": 5.0})
    # 1010 samples of 2 ms
    assert (pair.messages, pair.us_per_message) == (1300, round(2.02e6 / 1300, 3))
    assert found.agents[1].us_per_message is None
    assert (found.idle, found.python_thread) == (40.0, 25.0)
    assert [(thread.thread, thread.idle, thread.guest) for thread in found.threads] == [
        (0, 20.0, 50.0),
        (1, 60.0, 30.0),
    ]


@pytest.mark.parametrize("top", [1, 2, 20])
def test_what_is_not_shown_by_itself_is_in_the_sums(top: int):
    found = summarise(FOUND, 0.5, top=top)
    rows = [*found.agents, found.others, found.unattributed]
    assert (len(found.agents), found.others_count) == (min(top, 3), max(3 - top, 0))
    for field in ProfileRow.__struct_fields__:
        if field not in ("agent_id", "us_per_message"):
            assert sum(getattr(row, field) for row in rows) == pytest.approx(getattr(found.total, field)), field
    assert found.total.share + found.idle == 100
    assert sum(shares(found.total).values()) == pytest.approx(found.total.share)
    # 20 samples for no port, and 10 that were not kept for theirs; and messages of an agent that no sample met
    assert shares(found.unattributed) == {"scheduler": 1.5}
    assert (found.unattributed.messages, found.total.messages) == (100, 1500)


def test_a_profile_without_a_single_look_divides_nothing_by_zero():
    found = summarise(Found(0.001, 0, 0, [counts(), counts()], []), 0.0, top=20)
    assert (found.agents, found.idle, found.total.share) == ((), 0.0, 0.0)


async def test_a_node_says_who_works(tmp_path: Path):
    async with open_a_node(tmp_path) as node:
        await deploy(node, "busy", guest("spin"), resources={"timeout": "300ms"})
        await deploy(node, "quiet")
        node.bus.post(message("busy"))
        found = await node.profile(0.2, 1)
        (busy,) = found.agents
        assert busy.agent_id == "busy"
        assert busy.guest >= 0.9 * busy.share > 0
        assert busy.share > 25 / len(found.threads)


async def test_a_profile_that_is_cancelled_makes_room_for_the_next(tmp_path: Path):
    async with open_a_node(tmp_path) as node, trio.open_nursery() as nursery:
        nursery.start_soon(node.profile, 300, 20)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(InvalidTransition, match="a profile runs already"):
            await node.profile(1, 20)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
            assert (await node.profile(0.001, 20)).total.messages == 0
