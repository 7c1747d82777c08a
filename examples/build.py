"""Builds the example agents: `python examples/build.py [NAME ...] [--into DIRECTORY]`.

Needs nothing but PyPI's ziglang, which brings clang and a WebAssembly linker. Without libc an agent is a few kilobytes;
the linker puts the stack first in memory, so overflowing it is a trap and not a silent overwrite.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BIDDING = ("manager", "bidder", "refuser", "liar", "silent")
AGENTS = ("ping", "pong", "echo", *(f"contract-net/{name}" for name in BIDDING))
COMMAND = [
    *(sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-wasi", "-mexec-model=reactor", "-nostdlib"),
    *("-std=c11", "-Os", "-s", "-Wall", "-Wextra", "-Werror", "-fno-builtin", f"-I{HERE.parent / 'sdk/c'}"),
    *("-Wl,--no-entry", "-Wl,-z,stack-size=16384"),
]


def source(name: str) -> Path:
    """`ping` is examples/ping/ping.c; of an example with several agents `contract-net/liar` is one."""
    return HERE / f"{name}.c" if "/" in name else HERE / name / f"{name}.c"


def build(name: str, into: Path | None = None) -> Path:
    """Compile an agent's source to NAME.wasm, beside it or into another directory."""
    wasm = into / f"{source(name).stem}.wasm" if into else source(name).with_suffix(".wasm")
    subprocess.run([*COMMAND, "-o", str(wasm), str(source(name))], check=True)
    wasm.chmod(0o644)  # the linker marks it executable; it is not
    return wasm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=AGENTS)
    parser.add_argument("--into", type=Path)
    arguments = parser.parse_args()
    for name in arguments.names:
        wasm = build(name, arguments.into)
        print(f"✓ {wasm}: {wasm.stat().st_size} bytes")


if __name__ == "__main__":
    main()
