"""A spinner with the elapsed time for whatever takes longer than a second.

On standard error and only on a terminal: a log or a pipe shall not fill with spinner frames.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PATIENCE = 1.0  # seconds before anything is shown


@contextmanager
def progress(text: str) -> Iterator[None]:
    """Show *text* and the elapsed seconds while the block runs."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    spinner = threading.Thread(target=_spin, args=(text, done), daemon=True)
    spinner.start()
    try:
        yield
    finally:
        done.set()
        spinner.join()


def _spin(text: str, done: threading.Event) -> None:
    began = time.monotonic()
    wait = PATIENCE
    turn = 0
    while not done.wait(wait):
        wait = 0.1
        frame = FRAMES[turn % len(FRAMES)]
        click.echo(f"\r{frame} {text} … {time.monotonic() - began:.0f} s", nl=False, err=True)
        turn += 1
    if turn:
        click.echo("\r\x1b[K", nl=False, err=True)
