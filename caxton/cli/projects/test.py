"""`caxton test`: the project's scenarios, against its agent in a private server, in virtual time."""

import importlib.util
import inspect
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import click

from caxton.cli.errors import ERROR, Failure
from caxton.cli.options import output_option, print_json
from caxton.cli.progress import progress
from caxton.cli.projects.build import project_argument
from caxton.cli.projects.project import Project, find_project

LOG_LINES = 20


@attrs.frozen
class Outcome:
    """One scenario."""

    file: str
    name: str
    error: str
    seconds: float
    log: list[str]  # of a scenario that failed: the last lines of the agent's log in it


@click.command()
@project_argument
@click.option("--only", metavar="TEXT", default="", help="Only scenarios whose name has this text.")
@output_option
def test(folder: Path, only: str, output: str) -> None:
    """Run the scenarios of a project; FOLDER is the current one when it is not given.

    They are the files in its folder `tests`: YAML, or Python with functions `test_...(stage, agent)`. The agent is
    built first when its source has changed. Time is virtual, so an hour takes as long as what happens in it.
    """
    project = find_project(folder)
    files = project.scenarios()
    if not files:
        why = f"{project.folder / 'tests'} has no .yaml and no .py"
        raise Failure(f"{project.name} has no scenarios", why=why, fix="write one: docs/testing-agents.md#scenarios")
    if project.is_stale():
        with progress(f"Building {project.name}"):
            project.build()
    outcomes: list[Outcome] = []
    reports: list[dict[str, Any]] = []
    with progress(f"Testing {project.name}"):
        for path in files:
            found, report = run_file(project, path, only)
            outcomes += found
            reports.append(report)
    if not outcomes:
        raise Failure(f"No scenario has '{only}' in its name", fix="leave out --only")
    failed = [each for each in outcomes if each.error]
    if output == "json":
        print_json({"agent": project.name, "scenarios": [attrs.asdict(each) for each in outcomes], "coverage": reports})
    else:
        _print(outcomes, reports, len(failed))
    if failed:
        raise SystemExit(ERROR)


# Any: JSON
def run_file(project: Project, path: Path, only: str) -> tuple[list[Outcome], dict[str, Any]]:
    """All scenarios of a file, with its coverage."""
    from caxton.testing import run

    return run(_python if path.suffix == ".py" else _yaml, project, path, only)


async def _yaml(project: Project, path: Path, only: str) -> tuple[list[Outcome], dict[str, Any]]:
    from caxton.cli.projects.scenarios import Player, Scenario, coverage, read
    from caxton.testing import open_stage

    try:
        book = read(path)
    except ValueError as error:
        raise Failure("Not scenarios", why=str(error), fix="see docs/testing-agents.md#scenarios") from None
    outcomes = []
    async with open_stage(*book.settings, modules=_compiled(project)) as stage:
        await _deploy(stage, project)
        player = Player(stage, project.name, book.tools)

        async def play(scenario: Scenario) -> None:
            await player.play(scenario)

        for scenario in book.scenarios:
            if only in scenario.name:
                outcomes.append(await _attempt(stage, project, path, scenario.name, play, scenario))
        return outcomes, _report(path, coverage(stage, project.name))


async def _python(project: Project, path: Path, only: str) -> tuple[list[Outcome], dict[str, Any]]:
    from caxton.cli.projects.scenarios import coverage
    from caxton.testing import open_stage

    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the project's own code
        raise Failure("Not scenarios", why=_told(error, path), fix=f"look at {path.name}") from None
    outcomes = []
    async with open_stage(*getattr(module, "SETTINGS", ()), modules=_compiled(project)) as stage:
        await _deploy(stage, project)
        for name, function in vars(module).items():
            if name.startswith("test_") and inspect.iscoroutinefunction(function) and only in name:
                outcomes.append(await _attempt(stage, project, path, name, function, stage, project.name))
        return outcomes, _report(path, coverage(stage, project.name))


def _compiled(project: Project) -> Path:
    """Where the agent is kept in its compiled form, from one file and one run to the next."""
    folder = project.folder / "build/modules"
    project.forget(folder)
    return folder


async def _deploy(stage: Any, project: Project) -> None:
    config = {key: value for key, value in project.config.items() if key != "name"}
    await stage.wasm(project.name, project.wasm, **config)


async def _attempt(
    stage: Any, project: Project, path: Path, name: str, play: Callable[..., Awaitable[None]], *arguments: Any
) -> Outcome:
    began, began_at = time.monotonic(), time.time()
    error, log = "", []
    try:
        await play(*arguments)
    except Exception as found:  # a scenario ends here, and the next one begins
        error = _told(found, path)
        log = [line.text for line in stage.node.agents.logs([project.name], began_at, LOG_LINES)]
    return Outcome(path.name, name, error, round(time.monotonic() - began, 3), log)


def _told(error: Exception, path: Path) -> str:
    """What is wrong; in a file of Python also where."""
    said = str(error)
    if path.suffix != ".py":
        return said or type(error).__name__
    if not said or not isinstance(error, AssertionError):
        said = f"{type(error).__name__}: {said}".removesuffix(": ")
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    return f"{said}\n{path.name}:{own[-1].lineno}: {own[-1].line}" if own else said


def _report(path: Path, found: Any) -> dict[str, Any]:
    import msgspec

    return {"file": path.name, **msgspec.structs.asdict(found)}


def _print(outcomes: list[Outcome], reports: list[dict[str, Any]], failed: int) -> None:
    for each in outcomes:
        mark = click.style("✗", fg="red") if each.error else click.style("✓", fg="green")
        click.echo(f"{mark} {each.name} ({each.seconds:.2f} s)")
        if each.error:
            click.echo("".join(f"    {line}\n" for line in each.error.splitlines()), nl=False)
        if each.log:
            click.echo("    the agent's log:")
            click.echo("".join(f"      {line}\n" for lines in each.log for line in lines.splitlines()), nl=False)
    for report in reports:
        click.echo(f"\nCoverage of {report['file']}")
        click.echo(f"  heard {', '.join(report['heard']) or 'nothing'}; said {', '.join(report['said']) or 'nothing'}")
        for name, ratio in report["protocols"].items():
            states = ", ".join(report["states"][name])
            click.echo(f"  {name}: {ratio:.0%} of its table; states {states}")
            for row in report["missing"][name]:
                click.echo(f"    not seen: {row}")
    click.echo(f"\n{len(outcomes) - failed} passed, {failed} failed")
