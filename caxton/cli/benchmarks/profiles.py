"""What the profiles that come with Caxton gain, against a server that is told nothing.

Each run is a process of its own that opens a node with the profile, one agent that takes whatever comes, and the load
of `durable`: batches that are posted by several tasks at once, then single messages at a steady rate. Memory is what is
resident when the node is up, and after the load. ROUNDS rounds of all, in turn; of each figure the median.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import trio

from caxton._fast.wasm.module import wat2wasm
from caxton.cli.benchmarks import Result, quantile
from caxton.cli.benchmarks.durable import accepted, paced
from caxton.cli.benchmarks.guests import SINK
from caxton.core.config import load_config, shipped
from caxton.core.manifest import parse_agent_config
from caxton.node import open_node
from caxton.node.metrics import resident_bytes

ROUNDS = 3


def measure() -> Result:
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in ("", *shipped())}
    for _ in range(ROUNDS):
        for name, found in runs.items():
            command = [sys.executable, "-m", "caxton.cli.benchmarks.profiles", name]
            found.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
    medians = {
        name: {figure: statistics.median(run[figure] for run in found) for figure in found[0]}
        for name, found in runs.items()
    }
    told_nothing = medians.pop("")
    return {
        "figures": {**medians},
        "baseline": {**told_nothing},
        "ratios": {
            name: {figure: value / told_nothing[figure] for figure, value in found.items()}
            for name, found in medians.items()
        },
    }


async def run(folder: Path, profile: str) -> dict[str, float]:
    config = load_config(profile=profile or None, sets=[f"resources.disk.data_dir={folder}"], environ={})
    async with open_node(config) as node:
        agent = parse_agent_config({"name": "sink"}, defaults=node.limits.agent_defaults)
        await node.agents.deploy(wat2wasm(SINK), agent)
        idle = resident_bytes()
        rate = await accepted(node)
        times = await paced(node)
        return {
            "accepted_per_second": rate,
            "accept_p50_ms": quantile(times, 0.5),
            "accept_p99_ms": quantile(times, 0.99),
            "idle_megabytes": idle / 1e6,
            "loaded_megabytes": resident_bytes() / 1e6,
        }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(trio.run(run, Path(temporary), sys.argv[1])))
