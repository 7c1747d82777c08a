"""Erlang/OTP: two processes that send each other a map with a 64-byte binary, on one scheduler thread.

One scheduler (`+S 1:1`) because it is a little faster at this than two, and Caxton's round trip runs on one thread
too. The work and its clock are in erlang_peer.erl; times come back as text.
"""

import json
import subprocess
import sys
from pathlib import Path

from bench.peers.adapter import line, warm_up

SOURCE = Path(__file__).with_suffix(".erl")
BUILT = Path(__file__).parents[2] / "build" / "peers"


def main() -> None:
    workload, count = sys.argv[1], int(sys.argv[2])
    warm = warm_up(count)
    BUILT.mkdir(parents=True, exist_ok=True)
    subprocess.run(["erlc", "-o", BUILT, SOURCE], check=True)
    command = ["erl", "+S", "1:1", "-noshell", "-pa", BUILT, "-run", "erlang_peer", workload, str(warm + count)]
    version, times = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split(maxsplit=1)
    nanoseconds = [int(time) for time in times.split()]
    print(json.dumps(line("Erlang/OTP", version, workload, nanoseconds[warm:])), flush=True)


if __name__ == "__main__":
    main()
