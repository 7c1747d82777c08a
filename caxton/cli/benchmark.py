"""`caxton benchmark NAME`: figures of this machine, each beside a baseline that is measured in the same run.

A ratio of one run says more than a number: machines differ, and are noisy. What is measured stands at the top of each
module in `benchmarks/`.
"""

import importlib
import json
from typing import Any

import click

# name: what it measures; each is a module of caxton.cli.benchmarks (`-` is `_` there) with a function `measure`
BENCHMARKS = {
    "call": "a message into a guest and its handle_message, against wasmtime-py",
    "spawn": "instances from a compiled module, against wasmtime-py; with task and records; restart after a trap",
    "hop": "messages between guests, against a Trio memory channel; 2, 1,000 and 10,000 agents",
    "contract-net": "rounds of FIPA's contract net with 10, 50 and 1,000 bidders, against as many hops",
    "rest": "POST /messages, against an empty route of the same server; NDJSON batches",
    "durable": "messages acknowledged after the fsync, against bare inserts into SQLite; restart; a long queue",
    "profiles": "what each profile of the configuration gains, against a server that is told nothing",
    "websocket": "messages over one agent stream in batch frames",
    "languages": "an echo agent in each language: size, cold and warm start, memory, messages per second",
    "vectors": "the best of 100,000 and of 512 rows of float32, against NumPy",
}


@click.command(context_settings={"max_content_width": 100})
@click.argument("name", type=click.Choice(sorted(BENCHMARKS)))
@click.option("--json", "as_json", is_flag=True, help="One JSON object: benchmark, figures, baseline, ratios.")
def benchmark(name: str, as_json: bool) -> None:
    """Measure this machine; takes seconds to a minute.

    \b
    call          a message into a guest and its handle_message, against wasmtime-py
    spawn         instances from a compiled module, against wasmtime-py
    hop           messages between guests, against a Trio memory channel
    contract-net  rounds of FIPA's contract net, against as many hops
    rest          POST /messages, against an empty route of the same server
    durable       messages acknowledged after the fsync, against bare inserts into SQLite
    profiles      what each profile of the configuration gains
    websocket     messages over one agent stream in batch frames
    languages     an echo agent in each language that can be built here
    vectors       the best of 100,000 and of 512 rows of float32, against NumPy
    """
    result = {"benchmark": name, **importlib.import_module(f"caxton.cli.benchmarks.{name.replace('-', '_')}").measure()}
    if as_json:
        click.echo(json.dumps(result))
        return
    for group in ("figures", "baseline", "ratios", "absent"):
        if not result.get(group):
            continue
        click.echo(f"{group}:")
        for key, value in result[group].items():
            click.echo(f"  {key:<34} {_shown(value)}")


# Any: a number, several, or a group of either
def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(item)}" for key, item in value.items())
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " ".join(_shown(item) for item in value)
    return f"{value:,.3f}" if isinstance(value, float) and abs(value) < 100 else f"{value:,.0f}"
