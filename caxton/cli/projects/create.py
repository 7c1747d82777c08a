"""`caxton agent create`: a project from a skeleton, with the SDK beside it and scenarios that it passes."""

import re
import shutil
from pathlib import Path

import click

from caxton.cli.errors import Failure
from caxton.cli.options import print_done
from caxton.cli.projects import toolchains
from caxton.cli.projects.languages import LANGUAGES, Language

SKELETONS = Path(__file__).parent / "skeletons"
TEMPLATES = ("request-handler", "bidder")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")  # what every language takes as the name of a project
CAPABILITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,126}")
EXTRA = {"rust": "Cargo.toml", "go": "go.mod", "assemblyscript": "package.json", "javascript": "package.json"}


@click.command()
@click.argument("name")
@click.option(
    "--template",
    type=click.Choice(TEMPLATES),
    default="request-handler",
    show_default=True,
    help="What it does at first: answer requests, or bid in contract nets.",
)
@click.option(
    "--language", type=click.Choice(list(LANGUAGES)), default="python", show_default=True, help="What it is written in."
)
@click.option("--capability", "capabilities", multiple=True, help="What others find it by; repeatable.")
def create(name: str, template: str, language: str, capabilities: tuple[str, ...]) -> None:
    """Make a project for an agent in the folder NAME: source, SDK, scenarios, configuration."""
    if not NAME.fullmatch(name):
        raise Failure(f"Not a name for a project: '{name}'", fix="a letter, then letters, digits, '-' and '_'")
    for capability in capabilities:
        if not CAPABILITY.fullmatch(capability):
            raise Failure(f"Not a capability: '{capability}'", fix="letters, digits, '.', '-' and '_'")
    folder = Path(name)
    if folder.exists():
        raise Failure(f"'{name}' exists already", fix="choose another name, or remove it")
    chosen = LANGUAGES[language]
    make(folder, name, template, chosen, capabilities)
    print_done(f"Agent '{name}' created: {folder / chosen.entry}")
    click.echo(f"  next: cd {name} && caxton build && caxton test && caxton deploy")


def make(folder: Path, name: str, template: str, language: Language, capabilities: tuple[str, ...]) -> None:
    """Write all files of a project."""
    words = {
        "name": name,
        "title": language.title,
        "entry": language.entry,
        "capabilities": ", ".join(capabilities),
        "declare": _declare(language, capabilities),
    }
    common, own = SKELETONS / "common", SKELETONS / language.name
    _write(own / template, folder / language.entry, words)
    if extra := EXTRA.get(language.name):
        _write(own / extra, folder / extra, words)
    _write(common / f"{template}.yaml", folder / "tests/scenarios.yaml", words)
    _write(common / "agent.yaml", folder / "agent.yaml", words)
    _write(common / "README.md", folder / "README.md", words)
    _write(common / "gitignore", folder / ".gitignore", words)
    _copy_sdk(language, folder / "sdk")


def _declare(language: Language, capabilities: tuple[str, ...]) -> str:
    """The capabilities as the source says them: a list's inside, or C's line."""
    if language.name == "c":
        inside = ", ".join(f'"{each}"' for each in capabilities)
        return f"CAPABILITIES({inside})\n\n" if capabilities else ""
    quote = "'" if language.name == "javascript" else '"'
    inside = ", ".join(f"{quote}{each}{quote}" for each in capabilities)
    return f"{inside}," if language.name == "python" and len(capabilities) == 1 else inside  # a tuple of one


def _write(skeleton: Path, path: Path, words: dict[str, str]) -> None:
    text = skeleton.read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace("{{" + word + "}}", value)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _copy_sdk(language: Language, into: Path) -> None:
    source = toolchains.sources() / language.name
    into.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", "*.wasm")
    for pattern in language.sdk:
        for path in sorted(source.glob(pattern)):
            if path.is_dir():
                shutil.copytree(path, into / path.name, ignore=ignored)
            else:
                shutil.copyfile(path, into / path.name)
    if language.is_component:
        shutil.copytree(toolchains.wit(), into / "wit")
