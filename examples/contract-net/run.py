"""Runs the example and prints its trace: `python examples/contract-net/run.py [--bidders N]`.

Starts a server of its own, deploys one manager and its bidders (honest ones, one that refuses, one that lies, one that
never answers), asks the manager, and prints what was said, message by message. Then the platform's own `cnp` calls the
same bidders. Everything is done over the REST API and the command line, as anybody could.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from caxton.cli.client import Client, multipart

HERE = Path(__file__).parent
WAIT_MS = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bidders", type=int, default=5, help="honest ones (5)")
    honest = [f"bidder-{number}" for number in range(1, parser.parse_args().bidders + 1)]
    with tempfile.TemporaryDirectory(prefix="caxton-example-") as folder:
        environment = dict(os.environ, CAXTON_DATA_DIR=folder, CAXTON_HOST="127.0.0.1")
        settings = ["--set", "server.port=0", "--set", "server.metrics_port=0", "--set", "server.grpc_port=0"]
        command = [sys.executable, "-m", "caxton.cli", *settings, "serve"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            try:
                line = server.stdout.readline()
                show(line[line.index("http") :].strip(), honest)
            finally:
                server.send_signal(signal.SIGTERM)
                server.wait(10)


def show(url: str, honest: list[str]) -> None:
    client = Client(url)
    agents = {"manager": "manager", **dict.fromkeys(honest, "bidder"), "refuser": "refuser", "liar": "liar"}
    for name, module in {**agents, "silent": "silent"}.items():
        wasm = ((HERE / f"{module}.wasm").read_bytes(), f"{module}.wasm", "application/wasm")
        form = multipart({"wasm": wasm, "name": (name.encode(), "", "text/plain")})
        client.request("POST", "/api/v1/agents", what=f"{name} was not deployed", content=form)
    called = [*honest, "refuser", "liar", "silent"]
    print(f"{len(called)} bidders: {', '.join(called)}\n\n-- the manager of this example --\n")
    answer = client.request(
        "POST",
        "/api/v1/messages",
        what="The manager was not asked",
        query={"wait": 10},
        body={
            "performative": "request",
            "receiver": "manager",
            "reply_with": "1",
            "language": "json",
            "content": {"bidders": called, "task": {"weigh": "3 kg"}, "wait_ms": WAIT_MS},
        },
    )
    trace(client, answer["content"]["conversation_id"])
    print(f"\nanswer: {answer['performative']} {json.dumps(answer['content'])}\n\n-- the platform's cnp --\n")
    to = [argument for name in called for argument in ("--to", name)]
    options = ["--strategy", "lowest_cost", "--standby", "0", "--max-wait", f"{WAIT_MS}ms", "--output", "json"]
    task = json.loads(caxton(url, "tasks", "create", "weigh", *to, *options, quiet=True))["task_id"]
    with client.events(what="No events", query={"types": "task.completed"}) as events:
        found = client.request("GET", f"/api/v1/tasks/{task}", what="No task")
        if not found["ended_at"]:
            next(iter(events))
    trace(client, task)
    print()
    caxton(url, "tasks", "show", task)


def trace(client: Client, conversation: str) -> None:
    """Every message of the conversation, by the time at which the platform accepted it."""
    query = {"conversation_id": conversation, "limit": 1000}
    found = client.request("GET", "/api/v1/messages", what="No messages", query=query)
    messages = sorted(
        ((seconds(message["timestamp"]), message) for message in found["messages"]), key=lambda pair: pair[0]
    )
    for at, message in messages:
        said = json.dumps(message["content"], separators=(",", ":"))
        people = f"{message['sender']} → {message['receiver']}"
        print(f"{(at - messages[0][0]) * 1000:9.3f} ms  {people:<24} {message['performative']:<16} {said[:60]}")


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def caxton(url: str, *arguments: str, quiet: bool = False) -> str:
    command = [sys.executable, "-m", "caxton.cli", "--server", url, *arguments]
    if not quiet:
        print("$ caxton", *arguments)
        subprocess.run(command, check=True)
        return ""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
