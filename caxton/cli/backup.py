"""`caxton backup …`: make, check and put back backups.

`create` asks the server that holds the data folder, or that `--server` names, and fetches what it made; when no server
holds the folder it reads the folder itself. `verify` and `restore` work on files and ask no server.
"""

import os
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from caxton.cli.client import Client
from caxton.cli.errors import Failure
from caxton.cli.lazy import Group
from caxton.cli.options import Settings, output_option, pass_settings, print_done, print_json
from caxton.cli.progress import progress

if TYPE_CHECKING:
    from caxton.store.archive import Manifest

BACKUPS = "/api/v1/backups"
CREATE_TIMEOUT = 3600.0  # seconds; the server answers when the backup is made

file_argument = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@click.group(cls=Group)
def backup() -> None:
    """Make, check and put back backups."""


@backup.command()
@file_argument
@output_option
@pass_settings
def create(settings: Settings, file: Path, output: str) -> None:
    """Back up the server, running or not, to FILE."""
    import trio

    from caxton.store.backup import back_up_folder

    what = "No backup was made"
    if file.exists():
        raise Failure(what, why=f"{file} exists", fix="choose another name, or remove it")
    if client := _server(settings, what):
        with progress(f"Backing up {client.url}"):
            manifest = _fetch(client, file, what)
    else:
        with progress("Backing up the data folder"):
            manifest = trio.run(back_up_folder, settings.data_dir(), file.absolute())
    _show(file, manifest, output, f"Backup made: {file}")


@backup.command()
@file_argument
@output_option
def verify(file: Path, output: str) -> None:
    """Check every byte of the backup FILE, and the database in it."""
    import trio

    from caxton.store.backup import verify_backup

    with progress(f"Checking {file}"):
        manifest = trio.run(verify_backup, file.absolute())
    _show(file, manifest, output, f"Backup {file} is sound")


@backup.command()
@file_argument
@click.option("--force", is_flag=True, help="Also if the data folder is in use; what is there is kept aside.")
@output_option
@pass_settings
def restore(settings: Settings, file: Path, force: bool, output: str) -> None:
    """Make the backup FILE the contents of the data folder; its server must have ended."""
    import trio

    from caxton.store.backup import restore_backup

    folder = Path(settings.load().data_dir)
    with progress(f"Restoring {file}"):
        manifest, aside = trio.run(partial(restore_backup, file.absolute(), folder, force=force))
    if output == "json":
        print_json({"data_dir": str(folder), "replaced": str(aside) if aside else None, **_facts(file, manifest)})
        return
    _show(file, manifest, output, f"Restored to {folder}")
    if aside:
        click.echo(f"  what was there is kept in {aside}")


def _server(settings: Settings, what: str) -> Client | None:
    """The server that is meant: the one that was named, else the one that holds the data folder, if any."""
    from caxton.store.lock import read_holder

    if settings.server:
        return settings.client()
    holder = read_holder(settings.data_dir())
    if holder is None:
        return None
    if not holder.address:
        why = f"process {holder.pid} holds the data folder, and does not answer yet"
        raise Failure(what, why=why, fix="try again when it is ready, or name the server: `caxton --server URL …`")
    return Client(holder.address)


def _fetch(client: Client, file: Path, what: str) -> "Manifest":
    """Let the server make a backup, and move it here."""
    from caxton.store.archive import read_archive

    made = client.request("POST", BACKUPS, what=what, body={}, timeout=CREATE_TIMEOUT)
    path = f"{BACKUPS}/{made['name']}"
    temporary = file.with_name(f".{file.name}.part")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            client.download(path, out, what=what)
            out.flush()
            os.fsync(out.fileno())
        manifest = read_archive(temporary, lambda _: None)
        temporary.rename(file)
    except OSError as error:
        raise Failure(what, why=f"{file} cannot be written: {error.strerror}", fix="name another FILE") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        client.request("DELETE", path, what="The server's own copy was not removed")
    return manifest


def _facts(file: Path, manifest: "Manifest") -> dict[str, Any]:  # Any: JSON
    import msgspec

    facts = msgspec.to_builtins(manifest.facts)
    return {"file": str(file), "created_at": manifest.created_at, "caxton": manifest.caxton, **facts}


def _show(file: Path, manifest: "Manifest", output: str, done: str) -> None:
    if output == "json":
        print_json(_facts(file, manifest))
        return
    print_done(done)
    facts = manifest.facts
    made = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(manifest.created_at))
    click.echo(f"  made {made} by caxton {manifest.caxton} from node {facts.node_id}")
    parts = [f"{facts.agents} agents", f"{facts.segments} segments of messages", f"{facts.dead_letters} dead letters"]
    click.echo(f"  {', '.join(parts)}")
