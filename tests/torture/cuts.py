"""Power cuts under the real store: segments with the state, timers and dead letters of their turns, and the recovery.

A run is a few lives over one folder. In each life commits are made one after the other, as the committer makes them,
until the power is cut; what the disk then holds is opened again and compared with what had been promised.

lost      commits whose `write` had returned and which are not there. A durable commit may never be lost; a relaxed one
          (sync=False) only when no durable commit followed it: these are counted apart, as the loss window.
corrupt   everything else: the file does not open or does not pass its check, half of a commit, a segment with other
          bytes.
"""

import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

import apsw
import attrs
import trio

from caxton._fast.envelope import Envelope
from caxton.core.errors import CaxtonError, StoreError
from caxton.store import Store, open_store, writer
from caxton.store.dead_letters import write_dead_letters
from caxton.store.journal import delete_segments, write_segment
from caxton.store.state import Change, write_state
from caxton.store.timers import write_timers
from tests.torture.oracle import Verdict, check
from tests.torture.powerloss import Disk, powered

COMMITS = 60  # of a life, at most
LIVES = 3
OWNERS = [f"agent-{number}" for number in range(6)]
SIZES = (0, 40, 400, 4000, 40_000)  # bytes of a segment
CHECKPOINT_PAGES = (10, 40, 200, 1000)  # how much goes into the WAL before a checkpoint: small, so that there are some
OPERATIONS = 1600  # about so many has a life; some are cut after their end
RELAXED = 0.3  # of the commits, in the lives that have relaxed ones
SYNCED_ONLY = 0.5  # of the lives


@attrs.frozen
class Commit:
    """What one segment's transaction writes: a value of its number and the seed."""

    number: int
    sync: bool
    settled_below: int
    records: bytes
    state: list[tuple[str, Change]]
    timers: list[tuple[str, int, int]]
    dead: list[tuple[bytes, str, int, int, str]]
    keep_bytes: int | None  # of history, when this commit also deletes some

    def write(self, connection: apsw.Connection) -> None:
        write_segment(connection, self.number, self.number, 1, self.settled_below, self.records)
        for owner, change in self.state:
            write_state(connection, owner, [change])
        write_timers(connection, self.timers)
        write_dead_letters(connection, self.dead, self.number)
        if self.keep_bytes is not None:
            delete_segments(connection, 0, self.keep_bytes)


@attrs.define
class Contents:
    """What the database holds after a commit."""

    state: dict[tuple[str, bytes], bytes] = attrs.field(factory=dict)
    timers: dict[tuple[str, int], int] = attrs.field(factory=dict)
    dead: list[str] = attrs.field(factory=list)  # details, in order

    def after(self, commit: Commit) -> "Contents":
        after = Contents(dict(self.state), dict(self.timers), [*self.dead, *(row[4] for row in commit.dead)])
        for owner, (key, value) in commit.state:
            if value is None:
                after.state.pop((owner, key), None)
            else:
                after.state[owner, key] = value
        for owner, timer_id, due_us in commit.timers:
            if due_us:
                after.timers[owner, timer_id] = due_us
            else:
                after.timers.pop((owner, timer_id), None)
        return after


@attrs.define(eq=False)
class Windows:
    """What relaxed commits cost in the lives that had some."""

    relaxed: int = 0  # commits that returned
    lost: int = 0
    lives: int = 0
    lives_with_loss: int = 0
    longest: int = 0  # commits lost by one cut

    def add(self, relaxed: int, lost: int) -> None:
        self.relaxed += relaxed
        self.lost += lost
        self.lives += 1
        self.lives_with_loss += lost > 0
        self.longest = max(self.longest, lost)

    def __str__(self) -> str:
        return (
            f"relaxed: {self.lost} of {self.relaxed} commits lost, by {self.lives_with_loss} of {self.lives} cuts, "
            f"at most {self.longest} by one"
        )


class _Wrong(Exception):
    """The oracle's finding."""


class Run:
    """LIVES lives over one folder, from one seed."""

    def __init__(self, seed: int, root: Path, windows: Windows, *, lying_disk: bool = False) -> None:
        """*lying_disk*: its syncs do nothing; the oracle must see that."""
        self.lying_disk = lying_disk
        self.rng = Random(f"cuts {seed}")
        self.seed = seed
        self.root = root
        self.windows = windows
        self.commits: dict[int, Commit] = {}
        self.contents = {0: Contents()}
        self.last = 0  # the newest commit that is on the disk
        self.verdict = Verdict()

    def run(self, lives: int = LIVES) -> Verdict:
        folder = self.root / f"{self.seed}-0"
        folder.mkdir()
        for life in range(lives):
            folder = self.life(life, folder)
            try:
                self.compare(folder)
            except (_Wrong, CaxtonError, apsw.Error) as error:
                finding = f"seed {self.seed}, life {life + 1}: {error}"
                self.verdict += Verdict(corrupt=1, findings=Counter({finding: 1}))
                break
        return self.verdict

    def life(self, life: int, folder: Path) -> Path:
        """Commit until the power is off; the folder that is found afterwards."""
        cut_at = self.rng.randint(1, OPERATIONS // (1 if self.rng.random() < 0.7 else 20))
        self.relaxed = 0.0 if self.rng.random() < SYNCED_ONLY else RELAXED
        with powered(f"powerloss-{self.seed}-{life}", self.rng, cut_at) as disk, small_checkpoints(self.rng):
            disk.load(folder)
            disk.is_lying = self.lying_disk
            self.promised: list[Commit] = []
            trio.run(self.commit_until_dark, folder, disk)
            if disk.images is None:
                disk.cut()
            assert disk.images is not None
            found = self.root / f"{self.seed}-{life + 1}"
            found.mkdir()
            for name, image in disk.images.items():
                (found / name).write_bytes(image)
        shutil.rmtree(folder)
        return found

    async def commit_until_dark(self, folder: Path, disk: Disk) -> None:
        try:
            async with open_store(folder, vfs=disk.name) as store:
                for number in range(self.last + 1, self.last + 1 + COMMITS):
                    commit = self.commits[number] = self.make(number, self.settled_below(number - 1))
                    self.contents[number] = self.contents[number - 1].after(commit)
                    await store.write(commit.write, commit.sync)
                    self.promised.append(commit)
        except (StoreError, apsw.Error):
            if disk.images is None:
                raise  # the power is on: this is no part of the plan

    def settled_below(self, number: int) -> int:
        return self.commits[number].settled_below if number else 1

    def make(self, number: int, settled_below: int) -> Commit:
        rng = self.rng
        return Commit(
            number=number,
            sync=rng.random() >= self.relaxed,
            settled_below=max(settled_below, number - rng.randint(0, 5)),
            records=rng.randbytes(rng.choice(SIZES)),
            state=[
                (
                    rng.choice(OWNERS),
                    (
                        b"%d" % rng.randint(1, 8),
                        None if rng.random() < 0.2 else rng.randbytes(rng.choice((1, 50, 2000))),
                    ),
                )
                for _ in range(rng.randint(0, 6))
            ],
            timers=[(rng.choice(OWNERS), rng.randint(1, 4), rng.choice((0, number))) for _ in range(rng.randint(0, 2))],
            dead=[(FRAME, rng.choice(OWNERS), 1, 3, f"letter of {number}")] if rng.random() < 0.1 else [],
            keep_bytes=rng.randint(0, 200_000) if rng.random() < 0.1 else None,
        )

    # -- the oracle --

    def compare(self, folder: Path) -> None:
        newest, found, segments = trio.run(partial(read, folder))
        if newest not in self.contents:
            raise _Wrong(f"the newest segment is {newest}, there were {max(self.contents)} commits")
        gone = [commit for commit in self.promised if commit.number > newest]
        lost = sum(commit.sync for commit in gone)
        last_synced = max((commit.number for commit in self.promised if commit.sync), default=0)
        lost += sum(not commit.sync and commit.number < last_synced for commit in gone)
        findings = Counter({f"seed {self.seed}: {lost} durable commits lost": 1} if lost else {})
        self.verdict += Verdict(acknowledged=sum(c.sync for c in self.promised), lost=lost, findings=findings)
        if self.relaxed:
            self.windows.add(sum(not commit.sync for commit in self.promised), len(gone) - lost)
        if newest < self.last:
            raise _Wrong(f"commit {self.last} was found after an earlier cut; now the newest is {newest}")
        if found != self.contents[newest]:
            raise _Wrong(f"segment {newest} is there, with the state, timers or dead letters of another moment")
        if newest and list(segments) != list(range(min(segments), newest + 1)):
            raise _Wrong(f"segments are missing: there are {list(segments)}")
        if newest and min(segments) > self.settled_below(newest):
            raise _Wrong(f"segment {min(segments)} is the oldest; {self.settled_below(newest)} is still live")
        for number, records in segments.items():
            if records != self.commits[number].records:
                raise _Wrong(f"segment {number} has other bytes")
        if (finding := check(folder / "local.db")) != "ok":
            raise _Wrong(f"integrity_check: {finding}")
        self.last = newest


async def read(folder: Path) -> tuple[int, Contents, dict[int, bytes]]:
    """What a server that starts here finds: the newest segment, everything beside, all segments."""
    async with open_store(folder) as store:
        newest = await store.journal.newest()
        found = Contents()
        for owner in OWNERS:
            found.state |= {(owner, key): value for key, value in (await store.state.load(owner)).items()}
        found.timers = {(timer.agent, timer.timer_id): timer.due_us for timer in await store.timers.load_all()}
        found.dead = [letter.detail for letter in await store.dead_letters.export(limit=10_000)]
        return newest.id if newest else 0, found, await _segments(store)


async def _segments(store: Store) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    first = 0
    while page := await store.journal.read_from(first):
        found |= {segment.id: segment.records for segment in page}
        first = page[-1].id + 1
    return found


@contextmanager
def small_checkpoints(rng: Random) -> Iterator[None]:
    """Checkpoints come often enough to be cut."""
    before = writer.CHECKPOINT_PAGES, writer.RESTART_PAGES
    pages = rng.choice(CHECKPOINT_PAGES)
    writer.CHECKPOINT_PAGES, writer.RESTART_PAGES = pages, rng.choice((2, 16)) * pages
    try:
        yield
    finally:
        writer.CHECKPOINT_PAGES, writer.RESTART_PAGES = before


@attrs.frozen
class CutsReport:
    verdict: Verdict
    windows: Windows
    cuts: int
    failed: list[int]  # seeds


def torture_cuts(cuts: int, seed: int) -> CutsReport:
    """So many power cuts, from seeds *seed*, *seed* + 1, ..."""
    windows, verdict, done, failed = Windows(), Verdict(), 0, []
    logging.getLogger("caxton.store").setLevel(logging.CRITICAL)  # a disk without power is what it would tell us of
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as root:
        while done < cuts:
            lives = min(LIVES, cuts - done)
            found = Run(seed, Path(root), windows).run(lives)
            if not found.is_good:
                failed.append(seed)
            verdict += found
            done += lives
            seed += 1
    return CutsReport(verdict, windows, done, failed)


FRAME = Envelope.from_json(b'{"performative":"inform","receiver":"agent-0","content":"undelivered"}').to_frame()
