"""`caxton dev`: a local server that follows the source: on every change the agent is built and swapped while it runs.

Rule 1: files are polled: a folder of sources is small, and what tells of changes differs from system to system.
Rule 2: a build that fails leaves the agent that runs as it is.
Rule 3: a server of our own is a process of its own, on a free port, with its data in build/dev; it ends with us. What
it has compiled of earlier builds is removed: an interpreter's is 50 MB each time.
Rule 4: what the agent writes is shown as it comes.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio

from caxton.cli.client import Client, multipart
from caxton.cli.errors import Failure
from caxton.cli.options import Settings, pass_settings, print_done
from caxton.cli.projects.build import describe, project_argument
from caxton.cli.projects.project import Project, find_project
from caxton.core.errors import CaxtonError

INTERVAL = 0.25  # seconds between two looks at the sources
AGENTS = "/api/v1/agents"


@click.command()
@project_argument
@pass_settings
def dev(settings: Settings, folder: Path) -> None:
    """Follow the source of a project: build it on every change, and swap the agent while the server runs.

    The server is one of its own on a free port; with --server before the command, that one. Ctrl-C ends it.
    """
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # so that the server ends with us
    project = find_project(folder)
    with _server(project, settings) as url:
        trio.run(_follow, project, Client(url))


@contextmanager
def _server(project: Project, settings: Settings) -> Iterator[str]:
    if settings.server:
        yield settings.url()
        return
    data = project.folder / "build/dev"
    data.mkdir(parents=True, exist_ok=True)
    environment = {"CAXTON_LOG_LEVEL": "warn", **os.environ, "CAXTON_DATA_DIR": str(data), "CAXTON_HOST": "127.0.0.1"}
    sets = ["--set", "server.port=0", "--set", "server.metrics_port=0", "--set", "server.grpc_port=0"]
    command = [sys.executable, "-m", "caxton.cli", *sets, "serve"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            line = server.stdout.readline()
            if "http" not in line:
                raise Failure("No server to develop on", why="it did not start", fix="read its log above")
            yield line[line.index("http") :].strip()
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(10)


async def _follow(project: Project, client: Client) -> None:
    click.echo(f"{project.name} ({project.language.title}) on {client.url}; Ctrl-C ends it")
    async with trio.open_nursery() as nursery:
        follows = trio.Event()
        show = partial(_show_log, project.name, Client(client.url), follows)
        nursery.start_soon(partial(trio.to_thread.run_sync, show, abandon_on_cancel=True))
        await follows.wait()
        async for changed in changes(project):
            for path in changed[:3]:
                click.echo(f"  changed: {path.relative_to(project.folder)}")
            await trio.to_thread.run_sync(swap, project, client)
            project.forget(project.folder / "build/dev/modules")


def _show_log(name: str, client: Client, follows: trio.Event) -> None:
    """Until the server ends, which whoever talks to it next will tell."""
    try:
        with client.events(what="No log", query={"types": "agent.log", "agents": name}) as events:
            trio.from_thread.run_sync(follows.set)
            for event in events:
                if event.type == "agent.log":
                    click.echo(f"  {click.style(f'[{name}]', fg='cyan')} {event.data['text']}")
    except Failure:
        trio.from_thread.run_sync(follows.set)


async def changes(project: Project) -> AsyncIterator[list[Path]]:
    """What has changed: at first nothing is said to have, and everything is to be built."""
    seen = await trio.to_thread.run_sync(project.sources)
    yield []
    while True:
        await trio.sleep(INTERVAL)
        found = await trio.to_thread.run_sync(project.sources)
        changed = [path for path in {**seen, **found} if seen.get(path) != found.get(path)]
        seen = found
        if changed:
            yield sorted(changed)


def swap(project: Project, client: Client) -> bool:
    """Build, and deploy it in place of what runs; whether it went well."""
    began = time.monotonic()
    try:
        project.build()
        size = describe(project)["bytes"]
        _deploy(project, client)
    except Failure as failure:
        failure.show()
        return False
    except CaxtonError as error:
        Failure("This cannot be an agent", why=error.message, fix=error.hint).show()
        return False
    print_done(f"{project.name} runs: {size:,} bytes, {time.monotonic() - began:.1f} s after the change")
    return True


def _deploy(project: Project, client: Client) -> None:
    form = multipart(
        {
            "config": (json.dumps(project.config, default=str).encode(), "", "application/json"),
            "wasm": (project.wasm.read_bytes(), project.wasm.name, "application/wasm"),
        }
    )
    what = f"{project.name} was not deployed"
    known: Any = client.request("GET", AGENTS, what=what, query={"limit": 500})  # JSON
    runs = any(item["name"] == project.name for item in known["agents"])
    method, path = ("PUT", f"{AGENTS}/{project.name}") if runs else ("POST", AGENTS)
    client.request(method, path, what=what, content=form, timeout=300)
