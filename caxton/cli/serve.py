"""`caxton serve` runs a server here; `caxton server …` starts, stops and looks at one.

Rule 1: the data folder's lock says which process serves it (store/lock.py); there is no other pid file to go stale.
Rule 2: the first SIGTERM or SIGINT ends the server gracefully, the second at once. Both leave with exit code 0.
Rule 3: SIGHUP reads the configuration again (node/settings.py).
Rule 4: what a server needs is imported only where one is run.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from caxton.cli.client import Client, ServerFailure
from caxton.cli.errors import ERROR, MARK, UNREACHABLE, Failure
from caxton.cli.lazy import Group
from caxton.cli.options import (
    Settings,
    age,
    duration_option,
    output_option,
    pass_settings,
    print_done,
    print_json,
    server_url,
)
from caxton.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from caxton.core.config import Config, Loaded
    from caxton.store.lock import Holder

LOG_FILE = "server.log"
POLL = 0.05  # seconds between two looks at another process
LOG_TAIL = 5  # lines of a failed server's log that are shown


@click.command()
@pass_settings
def serve(settings: Settings) -> None:
    """Run a server in the foreground until SIGTERM or Ctrl-C."""
    _run(settings)


def _run(settings: Settings) -> None:
    read = partial(settings.read, secrets=True)
    run(read(), read)


def run(loaded: "Loaded", reload: "Callable[[], Loaded]") -> None:
    """Serve with this configuration; returns after a graceful end. Raises Failure."""
    import trio

    from caxton.core.errors import CaxtonError
    from caxton.telemetry import logs

    try:
        logs.start(loaded.config.observability.logging)
    except CaxtonError as wrong:
        raise Failure("The server cannot run: invalid config", why=wrong.message, fix=wrong.hint) from None
    try:
        trio.run(_serve, loaded, reload)
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]  # wrapped once per nursery
        if isinstance(error, CaxtonError):
            title = error.code.replace("_", " ").lower()
            raise Failure(f"The server cannot run: {title}", why=error.message, fix=error.hint) from None
        if isinstance(error, Failure):
            raise error from None
        raise


async def _serve(loaded: "Loaded", reload: "Callable[[], Loaded]") -> None:
    import trio

    from caxton.api.app import create_app
    from caxton.api.metrics import PATH, serve_metrics
    from caxton.api.server import serve as serve_api
    from caxton.api.tls import Renewal, server_context
    from caxton.node import open_node

    stop, config = trio.Event(), loaded.config
    tls = server_context(config.server.tls) if config.server.tls.enabled else None
    async with trio.open_nursery() as nursery:
        await nursery.start(_watch_signals, stop, nursery.cancel_scope)
        nodes: list[Any] = []
        await nursery.start(_watch_hangups, nodes, stop)
        async with open_node(loaded, reload) as node:
            nodes.append(node)
            if tls is not None:
                node.listener = Renewal(tls)
            async with trio.open_nursery() as listeners:
                listen = partial(serve_api, shutdown_trigger=stop.wait, tls=tls)
                try:
                    address = await listeners.start(listen, create_app(node), config.server.host, config.server.port)
                except OSError as error:
                    raise _cannot_listen(config, error) from None
                metrics = None
                if config.server.metrics_port:
                    listen = partial(serve_metrics, node, stop=stop, tls=tls)
                    try:
                        metrics = await listeners.start(listen, config.server.host, config.server.metrics_port)
                    except OSError as error:
                        raise _cannot_listen(config, error, "metrics_port") from None
                url = server_url(config.server.host, address.port, secure=tls is not None)
                node.announce(url)
                print_done(f"Server running at {url}")
                if metrics is not None:
                    url = server_url(config.server.host, metrics.port, secure=tls is not None)
                    click.echo(f"  metrics: {url}{PATH}")
                sys.stdout.flush()
        nursery.cancel_scope.cancel()


def _cannot_listen(config: "Config", error: OSError, key: str = "port") -> Failure:
    where = f"{config.server.host}:{getattr(config.server, key)}"
    fix = "choose another address: `caxton --set server.port=8081 serve`, `--set server.host=127.0.0.1`"
    if key == "metrics_port":
        where += ", for metrics"
        fix = "choose another port: `--set server.metrics_port=9091`; 0 leaves metrics at /metrics of server.port"
    return Failure(f"The server cannot listen at {where}", why=error.strerror or str(error), fix=fix)


async def _watch_signals(stop: Any, scope: Any, *, task_status: Any) -> None:  # Any: trio is not imported here
    import trio

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            if stop.is_set():
                scope.cancel()
            stop.set()


async def _watch_hangups(nodes: list[Any], stop: Any, *, task_status: Any) -> None:
    """SIGHUP: the files are read again, certificates too. When it says that the terminal is gone, the server ends.

    *nodes* is empty until the server is up; it has read the files just now.
    """
    import trio

    from caxton.core.errors import CaxtonError
    from caxton.telemetry import logs

    had_terminal = _has_terminal()
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            if had_terminal and not _has_terminal():
                stop.set()
                continue
            try:
                if logs.output is not None:
                    with suppress(OSError):  # it goes on in the file that it has, and tries again soon
                        logs.output.reopen()
                for node in nodes:
                    await node.settings.reload(who="SIGHUP")
            except (CaxtonError, OSError) as error:
                # the server goes on as it was; whoever sent the signal reads the log
                logging.getLogger(__name__).error("nothing was changed: %s", error)  # noqa: TRY400


def _has_terminal() -> bool:
    try:
        os.tcgetpgrp(0)
    except OSError:
        return False
    return True


@click.group(cls=Group)
def server() -> None:
    """Start, stop and look at a server."""


@server.command()
@click.option("--detach", "-d", is_flag=True, help="Start in the background and return when it is ready.")
@click.option("--dry-run", is_flag=True, help="Only say whether a server would start.")
@pass_settings
def start(settings: Settings, detach: bool, dry_run: bool) -> None:
    """Start a server: in the foreground like `caxton serve`, or in the background."""
    from caxton.store.files import make_folder

    if dry_run:
        _try_out(settings.read(secrets=True).config)
        return
    if not detach:
        _run(settings)
        return
    config = settings.load()
    folder = Path(config.data_dir)
    if holder := _holder(folder):
        why = f"process {holder.pid} serves {folder}" + (f" at {holder.address}" if holder.address else "")
        raise Failure("A server is running already", why=why, fix="stop it: `caxton server stop`")
    make_folder(folder)
    log = folder / LOG_FILE
    with log.open("ab") as stream, progress("Starting the server"):
        began = stream.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "caxton.cli", *settings.arguments(), *_logging_to(log, config), "serve"],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        url = _wait_ready(process, folder, log, began)
    print_done(f"Server running at {url}")
    click.echo(f"  log: {log}")


def _logging_to(log: Path, config: "Config") -> list[str]:
    """Options for a server whose standard streams nobody empties: its log is a file with bounds, this one."""
    if config.observability.logging.output == "file":
        return []
    path = str(log.absolute()).replace("${", "$${")
    return ["--set", "observability.logging.output=file", "--set", f"observability.logging.file_path={path}"]


def _try_out(config: "Config") -> None:
    """Everything that can keep a server from starting and can be seen without starting one. Raises Failure."""
    import socket

    from caxton.core.errors import InvalidConfig
    from caxton.store.temp import check_folder

    what = "A server would not start"
    if unmet := config.unmet_protections:
        fix = "take the key out, and let a proxy in front of the server protect it"
        raise Failure(what, why=f"{', '.join(unmet)}: this version does not have it", fix=fix)
    if config.server.tls.enabled:
        from caxton.api.tls import server_context

        try:
            server_context(config.server.tls)
        except InvalidConfig as error:
            raise Failure(what, why=error.message, fix=error.hint) from None
    if config.resources.memory.oom_kill_disable:
        from caxton.node.oom import spare_from_oom_killer

        try:
            spare_from_oom_killer()
        except InvalidConfig as error:
            raise Failure(what, why=error.message, fix=error.hint) from None
    log = Path(config.observability.logging.file_path)
    if config.observability.logging.output == "file" and not os.access(log if log.exists() else log.parent, os.W_OK):
        fix = "make its folder, for the user that the server runs as, or choose another file"
        raise Failure(what, why=f"observability.logging.file_path: {log} cannot be written to", fix=fix)
    folder = Path(config.data_dir)
    if holder := _holder(folder):
        raise Failure(what, why=f"process {holder.pid} serves the data folder {folder}", fix="`caxton server stop`")
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = f"the data folder {folder} cannot be written to: {there} does not allow it"
        raise Failure(what, why=why, fix="choose another with CAXTON_DATA_DIR, or give this user the right")
    try:
        check_folder(Path(config.resources.disk.temp_dir))
    except InvalidConfig as error:
        raise Failure(what, why=error.message, fix=error.hint) from None
    keys = ["port"]
    if config.observability.metrics.enabled and config.server.metrics_port:
        keys.append("metrics_port")
    for key in keys:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                config.server.host, getattr(config.server, key), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind, protocol) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
        except OSError as error:
            raise _cannot_listen(config, error, key) from None
    url = server_url(config.server.host, config.server.port, secure=config.server.tls.enabled)
    at = url if config.server.port else f"{url.removesuffix(':0')}, at a free port,"
    print_done(f"A server would start at {at} with the data folder {folder}")
    click.echo(f"  configuration: {', '.join(config.sources) or 'no file'}")
    if count := len(config.unserved):
        inactive = "1 key is" if count == 1 else f"{count} keys are"
        click.echo(f"  {inactive} not active in this version: `caxton config lint` lists them")


def _wait_ready(process: "subprocess.Popen[bytes]", folder: Path, log: Path, began: int, patience: float = 30.0) -> str:
    """The address of the server that *process* becomes. Raises Failure with the end of its log."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.poll() is not None:
            text = log.read_bytes()[began:].decode(errors="replace")
            said = [line for line in text.splitlines() if line.strip()][-LOG_TAIL:]
            raise Failure("Server not started", why="\n".join(said), fix=f"the whole log is {log}")
        holder = _holder(folder)
        if holder and holder.pid == process.pid and holder.address and _is_ready(holder.address):
            return holder.address
        time.sleep(POLL)
    process.terminate()
    raise Failure("Server not started", why=f"it was not ready after {patience:g} s", fix=f"read its log, {log}")


def _is_ready(url: str) -> bool:
    if url.startswith("https:"):
        return True  # it wrote its address when it listened, and it may want a certificate that we do not have
    try:
        Client(url, timeout=2).request("GET", "/ready", what="")
    except Failure:
        return False
    return True


@server.command()
@duration_option("--timeout", default="30s", help="How long to wait until it has ended.")
@pass_settings
def stop(settings: Settings, timeout: float) -> None:
    """Stop the server that holds the data folder, and wait until it has ended."""
    folder = settings.data_dir()
    holder = _holder(folder)
    if holder is None or not holder.pid:
        fix = "name its data folder: `CAXTON_DATA_DIR=… caxton server stop`"
        raise Failure("No server to stop", why=f"no process holds the data folder {folder}", fix=fix, code=UNREACHABLE)
    try:
        os.kill(holder.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it ended by itself just now
    except PermissionError:
        why = f"process {holder.pid} belongs to another user"
        raise Failure("Server not stopped", why=why, fix="stop it as that user") from None
    deadline = time.monotonic() + timeout
    with progress(f"Stopping process {holder.pid}"):
        while (now := _holder(folder)) is not None and now.pid == holder.pid:
            if time.monotonic() > deadline:
                why = f"process {holder.pid} still runs after {timeout:g} s"
                raise Failure("Server not stopped", why=why, fix="send SIGTERM once more: it then ends at once")
            time.sleep(POLL)
    print_done("Server stopped")


@server.command()
@output_option
@pass_settings
def status(settings: Settings, output: str) -> None:
    """Say how the server is; the exit code is 1 when it is not ready, 3 when there is none."""
    client = settings.client()
    health = client.request("GET", "/health", what="No status")
    try:
        ready = client.request("GET", "/ready", what="No status")
    except ServerFailure as failure:  # 503 says why not
        ready = failure.body
    if output == "json":
        print_json({"url": client.url, "health": health, "ready": ready})
    else:
        if ready.get("ready"):
            print_done(f"Server running at {client.url}")
        else:
            click.echo(f"{click.style(MARK, fg='red')} Server at {client.url} is not ready")
        for name, value in {**health, **ready.get("checks", {})}.items():
            shown = age(value) if name == "uptime_seconds" else value
            click.echo(f"  {name.removesuffix('_seconds').replace('_', ' ')}: {shown}")
    if not ready.get("ready"):
        raise SystemExit(ERROR)


def _holder(folder: Path) -> "Holder | None":
    from caxton.store.lock import read_holder

    return read_holder(folder)
