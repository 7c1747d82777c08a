"""The proof in small, and the proof of the proof: what is broken on purpose is found."""

from collections import Counter
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tests.torture.cuts import Run, Windows, torture_cuts
from tests.torture.diary import Diary, Known, number_in, read_diary, text_of
from tests.torture.kills import Plan, torture, work_in_peace
from tests.torture.model import MISTAKES, open_model
from tests.torture.oracle import Effects, Verdict, judge
from tests.torture.powerloss import SECTOR, Medium
from tests.torture.real import open_real
from tests.torture.seeds import kept
from tests.torture.simulation import simulate, torture_simulated

SIZE = 128


def judged(
    acknowledged: str = "", first: str = "", second: str = "", dead: str = "", delivered: str = "", attempted: str = ""
) -> Verdict:
    """Numbers as words; everything acknowledged was attempted."""

    def mark(*texts: str) -> bytearray:
        return bytearray(sum(str(number) in text.split() for text in texts) for number in range(SIZE))

    def count(text: str) -> np.ndarray:
        return np.array([text.split().count(str(number)) for number in range(SIZE)], np.uint16)

    known = Known(mark(acknowledged, attempted), mark(acknowledged), Counter(map(int, delivered.split())))
    return judge(known, Effects(count(first), count(second), set(map(int, dead.split()))))


def test_what_arrived_once_is_good() -> None:
    assert judged("1 2 16", "1 2 16 3", "1 2 16 3", attempted="3 4", delivered="16").is_good


def test_a_dead_letter_is_not_lost() -> None:
    assert judged("1 2", "2", dead="1 2").is_good


@pytest.mark.parametrize(
    "case",
    [
        {"acknowledged": "1"},  # forgotten
        {"acknowledged": "1", "first": "1"},  # the turn is there, what it sent is not
        {"attempted": "1", "first": "1"},  # the same, of a message that nobody was answered
        {"acknowledged": "16", "first": "16", "second": "16"},  # did not leave the server
    ],
)
def test_a_loss_is_found(case: dict[str, str]) -> None:
    assert (judged(**case).lost, judged(**case).corrupt) == (1, 0)


@pytest.mark.parametrize(
    "case",
    [
        {"acknowledged": "1", "first": "1 1", "second": "1"},
        {"acknowledged": "1", "first": "1", "second": "1 1"},
        {"acknowledged": "1", "second": "1"},  # an effect without its cause
        {"first": "1", "second": "1"},  # nobody sent it
        {"acknowledged": "16", "first": "16", "delivered": "16", "dead": "16"},  # it left, and its turn was undone
    ],
)
def test_what_must_not_be_is_found(case: dict[str, str]) -> None:
    assert judged(**case).corrupt >= 1


def test_a_second_delivery_is_a_duplicate() -> None:
    verdict = judged("16", "16", "16", delivered="16 16 16")
    assert verdict.is_good
    assert str(verdict) == "acknowledged 1, lost 0, corrupt 0, duplicates 2"


def test_a_diary_says_what_was_written(tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary")
    diary.attempt(0, 10)
    diary.acknowledge([0, 1, 2, 5, 9])
    diary.deliver([5])
    diary.deliver([5, 9])
    diary.close()
    known = read_diary(diary.path, 16)
    assert known.attempted == b"\1" * 10 + bytes(6)
    assert [number for number, is_known in enumerate(known.acknowledged) if is_known] == [0, 1, 2, 5, 9]
    assert known.delivered == {5: 2, 9: 1}
    assert diary.acknowledged == 5


@pytest.mark.parametrize("number", [0, 1, 127, 1 << 40])
def test_damage_to_a_number_shows(number: int) -> None:
    text = text_of(number)
    assert number_in(text + "xxx") == number
    for at in range(1, len(text)):
        if text[at] != ":":
            assert number_in(text[:at] + ("1" if text[at] == "0" else "0") + text[at + 1 :]) is None


def test_sectors_of_unsynced_writes_are_new_or_old_and_synced_ones_are_there() -> None:
    seen = set()
    for seed in range(200):
        medium = Medium()
        medium.write(0, b"a" * 4 * SECTOR)
        medium.sync()
        medium.write(SECTOR // 2, b"b" * 2 * SECTOR)
        image = medium.after_the_cut(Random(seed), 0.5)
        assert len(image) == 4 * SECTOR
        seen.add(tuple(image[start] for start in range(0, 4 * SECTOR, SECTOR // 2)))
    half = "a", "b"
    assert seen == {
        tuple(map(ord, ("a", one, two, two, three, "a", "a", "a"))) for one in half for two in half for three in half
    }


@pytest.mark.slow
def test_no_power_cut_loses_a_durable_commit() -> None:
    report = torture_cuts(30, seed=1)
    assert report.verdict.is_good, report.verdict.findings
    assert report.verdict.acknowledged > 200
    assert report.windows.relaxed > 0


@pytest.mark.slow
def test_a_disk_that_lies_about_its_syncs_is_found_out(tmp_path: Path) -> None:
    verdict = Verdict()
    for seed in range(3):
        verdict += Run(seed, tmp_path, Windows(), lying_disk=True).run()
    assert verdict.lost > 0


@pytest.mark.slow
def test_what_the_machine_promises_holds_in_every_order_of_events() -> None:
    report = torture_simulated(range(200), open_model)
    assert report.verdict.is_good, report.verdict.findings
    assert report.verdict.acknowledged > 10_000
    assert report.verdict.duplicates > 1000


@pytest.mark.slow
def test_what_the_real_machine_promises_holds_in_every_order_of_events() -> None:
    report = torture_simulated(range(200), open_real)
    assert report.verdict.is_good, report.verdict.findings
    assert report.verdict.acknowledged > 5000


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_machine_with_a_mistake_is_found_out(mistake: str) -> None:
    report = torture_simulated(range(10), partial(open_model, mistake=mistake))
    assert report.failed


def test_a_seed_repeats() -> None:
    assert simulate(7, open_model) == simulate(7, open_model) != simulate(8, open_model)


@pytest.mark.parametrize("seed", kept("simulation"))
def test_seeds_that_failed_once_in_the_simulation(seed: int) -> None:
    assert simulate(seed, open_model).is_good


@pytest.mark.parametrize("seed", kept("cuts"))
def test_seeds_that_failed_once_by_a_power_cut(tmp_path: Path, seed: int) -> None:
    assert Run(seed, tmp_path, Windows()).run().is_good


@pytest.mark.slow
async def test_the_last_word_of_agents_that_change_threads_is_kept(tmp_path: Path) -> None:
    plan = Plan(kills=0, messages=4000, seed=1, patience=5, settings=("runtime.scheduler_threads=2",))
    verdict = await work_in_peace(tmp_path, plan)
    assert verdict.acknowledged >= 4000
    assert verdict.is_good, verdict.findings


@pytest.mark.slow
async def test_no_kill_loses_an_acknowledged_message(tmp_path: Path) -> None:
    report = await torture(tmp_path, Plan(kills=3, messages=3000, seed=1, patience=5), print)
    assert report.verdict.is_good, report.verdict.findings
    assert report.verdict.acknowledged >= 3000
