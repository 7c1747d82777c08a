"""The figures of `caxton benchmark profiles`: a node with the profile does work."""

from pathlib import Path

import pytest

from caxton.cli.benchmarks import durable
from caxton.cli.benchmarks.profiles import run


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["", "constrained", "latency", "throughput"])
async def test_a_profile_is_measured(profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "SECONDS", 0.01)
    figures = await run(tmp_path, profile)
    assert all(figure > 0 for figure in figures.values())
    assert figures["loaded_megabytes"] < 4000
