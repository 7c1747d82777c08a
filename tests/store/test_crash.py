"""kill -9: whatever was acknowledged is there."""

import random
from collections import defaultdict
from pathlib import Path

import pytest

from caxton.store import Store, open_store
from tests.store.processes import child, read_line


class Acknowledged:
    """What the killed processes said they had written."""

    def __init__(self) -> None:
        self.last: dict[str, dict[str, int]] = defaultdict(dict)
        self.timers: dict[str, set[int]] = defaultdict(set)
        self.modules: set[str] = set()
        self.count = 0

    def note(self, line: str) -> None:
        kind, name, *values = line.split()
        self.count += 1
        if kind == "module":
            self.modules.add(values[0])
        elif kind == "timer":
            self.timers[name].add(int(values[0]))
        else:
            self.last[kind][name] = int(values[0]) if values else 0

    async def check(self, store: Store) -> None:
        assert {spec.name for spec in await store.agents.list()} >= set(self.last["agent"])
        for name, last in self.last["state"].items():
            state = await store.state.load(name)
            counter = int(state.pop(b"counter"))
            assert counter >= last
            assert state == {b"%d" % i: b"x" * 100 for i in range(1, counter + 1)}
        for name, timers in self.timers.items():
            assert {timer.timer_id for timer in await store.timers.load(name)} >= timers
        for name, last in self.last["lifecycle"].items():
            (newest,) = await store.lifecycle.recent(name, 1)
            assert newest.incarnation >= last
        for sha in self.modules:
            await store.modules.get(sha)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
async def test_every_acknowledged_write_survives_kill_9(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    acknowledged = Acknowledged()
    for round_ in range(5):
        with child("write", tmp_path, str(round_)) as process:
            assert read_line(process) == "opening"
            for _ in range(int(rng.expovariate(1 / 500))):  # short runs too: killed while it opens, or migrates
                acknowledged.note(read_line(process))
            process.kill()
            assert process.stdout is not None
            for line in process.stdout:  # said before it died
                acknowledged.note(line)
        async with open_store(tmp_path) as store:
            assert not store.meta.clean_start or acknowledged.count == 0
            await acknowledged.check(store)
    assert acknowledged.count > 100
