"""`make polyglot-demo`: for every language, in a fresh folder: create an agent, build it, test it, deploy it, ask it.

A language whose toolchain is absent is named, with what is missing. `--language NAME` takes only these.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from caxton.cli.projects.languages import LANGUAGES

SERVER = ["--set", "server.port=0", "--set", "server.metrics_port=0", "--set", "server.grpc_port=0"]
COMMAND = [sys.executable, "-m", "caxton.cli"]
PATIENCE = "120s"  # of a deployment: an interpreter compiles for ten seconds, on a busy machine for longer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--language", action="append", choices=list(LANGUAGES))
    chosen = parser.parse_args().language or list(LANGUAGES)
    with tempfile.TemporaryDirectory(prefix="caxton-polyglot-") as folder:
        environment = {**os.environ, "CAXTON_DATA_DIR": f"{folder}/data", "CAXTON_HOST": "127.0.0.1"}
        server = subprocess.Popen([*COMMAND, *SERVER, "serve"], env=environment, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            environment["CAXTON_SERVER"] = line[line.index("http") :].strip()
            outcomes = {language: show(language, Path(folder) / language, environment) for language in chosen}
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
    print("\n" + "\n".join(f"{language:<15} {outcome}" for language, outcome in outcomes.items()))
    if "failed" in outcomes.values():
        sys.exit(1)


def show(language: str, folder: Path, environment: dict[str, str]) -> str:
    """`done`, `failed`, or what is absent."""
    folder.mkdir()
    name = f"hello-{language}"
    steps = [
        ["agent", "create", name, "--language", language, "--capability", "greeting"],
        ["build"],
        ["test"],
        ["deploy", "--wait", PATIENCE],
        ["message", "send", "--to", name, "--content", '"world"', "--wait", "10s"],
    ]
    print(f"\n-- {LANGUAGES[language].title}")
    for step in steps:
        print(f"$ caxton {' '.join(step)}", flush=True)
        done = subprocess.run([*COMMAND, *step], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            print(done.stderr, end="")
            if step == ["build"] and "not installed" in done.stderr:
                return "skipped: " + " ".join(done.stderr.split("why: ")[1].splitlines()[:1])
            return "failed"
    return "done"


if __name__ == "__main__":
    main()
