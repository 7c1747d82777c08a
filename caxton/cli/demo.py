"""`make demo`: a server on a free port, two agents that talk, their log for seconds, figures, a clean end.

It does what a person would: it runs the real command line against a real server, and prints each command before.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from caxton.cli.client import Client
from caxton.cli.errors import Failure

SECONDS = 4.0
LINES_PER_SECOND = 4  # of the agents' log that are shown; they write more
EXAMPLES = Path(__file__).parents[2] / "examples"


@click.command(hidden=True)
def demo() -> None:
    """Start a server, deploy two agents that talk, show what they do, and stop."""
    with tempfile.TemporaryDirectory(prefix="caxton-demo-") as folder:
        environment = dict(os.environ, CAXTON_DATA_DIR=folder, CAXTON_HOST="127.0.0.1")
        settings = ["--set", "server.port=0", "--set", "server.metrics_port=0", "--set", "server.grpc_port=0"]
        command = [sys.executable, "-m", "caxton.cli", *settings, "serve"]
        _say("caxton serve")
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
            try:
                _tour(server)
            finally:
                server.send_signal(signal.SIGTERM)
                code = server.wait(10)
        click.echo(f"server ended with exit code {code}")
        if code:
            raise Failure("The demo failed", why=f"the server ended with exit code {code}", fix="read its log above")


def _tour(server: "subprocess.Popen[str]") -> None:
    assert server.stdout is not None
    line = server.stdout.readline()
    if "http" not in line:
        raise Failure("The demo failed", why="the server did not start", fix="read its log above")
    click.echo(line.rstrip())
    url = line[line.index("http") :].strip()
    for name in ("ping", "pong"):
        _run(url, "deploy", os.path.relpath(EXAMPLES / name / f"{name}.wasm"), "--name", name)
    _say(f"caxton logs --agents ping,pong --follow    # for {SECONDS:g} seconds, {LINES_PER_SECOND} lines of each")
    _follow(url)
    figures = Client(url).request("GET", "/api/v1/metrics/system", what="No figures")
    messages, performance = figures["messages"], figures["performance"]
    _run(url, "agent", "list")
    click.echo("")
    click.echo(f"{messages['rate_per_second']:,.0f} messages/s between ping and pong")
    click.echo(
        f"hop p50 {performance['message_latency_p50'] * 1000:.2f} µs, "
        f"p99 {performance['message_latency_p99'] * 1000:.2f} µs (from the mailbox to the end of the turn)"
    )


def _follow(url: str) -> None:
    client = Client(url)
    client.request("GET", "/api/v1/metrics/system", what="No figures")  # the rate counts from here
    until, second, shown = time.monotonic() + SECONDS, 0, 0
    with client.events(what="No log", query={"types": "agent.log"}) as events:
        for event in events:
            now = time.monotonic()
            if now > until:
                return
            if int(until - now) != second:
                second, shown = int(until - now), 0
            shown += 1
            if shown <= LINES_PER_SECOND:
                click.echo(f"[{event.data.get('agent_id')}] {event.data.get('text')}")


def _run(url: str, *arguments: str) -> None:
    _say(" ".join(("caxton", *arguments)))
    subprocess.run([sys.executable, "-m", "caxton.cli", "--server", url, *arguments], check=True)


def _say(text: str) -> None:
    click.echo(click.style(f"\n$ {text}", bold=True))


if __name__ == "__main__":
    try:
        demo.main(standalone_mode=False)
    except Failure as failure:
        failure.show()
        sys.exit(failure.exit_code)
