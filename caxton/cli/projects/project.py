"""A project: a folder with one agent's source, its configuration, its SDK and its scenarios."""

import hashlib
import os
from pathlib import Path
from typing import Any

import attrs

from caxton.cli.errors import Failure
from caxton.cli.projects.languages import LANGUAGES, Language, build_project, detect
from caxton.cli.projects.toolchains import Absent, BuildFailed

CONFIG = "agent.yaml"
UNWATCHED = ("build", "node_modules", "__pycache__", "target", "tests")


@attrs.frozen
class Project:
    folder: Path
    language: Language
    config: dict[str, Any]  # as in agent.yaml; Any: YAML

    @property
    def name(self) -> str:
        return str(self.config["name"])

    @property
    def wasm(self) -> Path:
        return self.folder / f"build/{self.name}.wasm"

    def scenarios(self) -> list[Path]:
        tests = self.folder / "tests"
        return sorted(path for path in tests.glob("*") if path.suffix in (".yaml", ".yml", ".py"))

    def sources(self) -> dict[Path, int]:
        """Every file that a build may read, and when it was changed."""
        found: dict[Path, int] = {}
        for folder, folders, files in os.walk(self.folder):
            folders[:] = [name for name in folders if name not in UNWATCHED and not name.startswith(".")]
            for name in files:
                path = Path(folder) / name
                try:
                    found[path] = path.stat().st_mtime_ns
                except FileNotFoundError:
                    continue  # an editor's, gone again
        return found

    def is_stale(self) -> bool:
        """Whether the source is newer than what was built of it."""
        if not self.wasm.exists():
            return True
        built = self.wasm.stat().st_mtime_ns
        return any(changed > built for changed in self.sources().values())

    def forget(self, folder: Path) -> None:
        """Remove modules of earlier builds from a folder of modules."""
        if not self.wasm.exists():
            return
        name = hashlib.sha256(self.wasm.read_bytes()).hexdigest()
        for path in folder.glob("*/*"):
            if not path.name.startswith(name):
                path.unlink(missing_ok=True)

    def build(self) -> None:
        """Compile it; a Failure says what is missing or wrong."""
        try:
            build_project(self.language, self.folder, self.wasm)
        except Absent as absent:
            raise Failure(f"{self.language.title} cannot be built", why=str(absent), fix=absent.how) from None
        except BuildFailed as failed:
            raise Failure(
                f"Building {self.name} failed", why=str(failed), fix=f"look at {self.language.entry}"
            ) from None


def find_project(folder: Path) -> Project:
    """The project in *folder*, or the only one in a folder of it."""
    found = _project(folder)
    if found is not None:
        return found
    below = [each for path in sorted(folder.iterdir()) if path.is_dir() and (each := _project(path)) is not None]
    if len(below) == 1:
        return below[0]
    if below:
        why = f"{', '.join(each.folder.name for each in below)} are projects"
        raise Failure("Which project?", why=why, fix="go into one of them, or name it")
    raise Failure(
        "No project here",
        why=f"{folder.resolve()} has no {CONFIG} with one of {', '.join(each.entry for each in LANGUAGES.values())}",
        fix="make one: `caxton agent create NAME --language python`",
    )


def _project(folder: Path) -> Project | None:
    from caxton.core.config import read_table
    from caxton.secrets import fetch

    config, language = folder / CONFIG, detect(folder)
    if language is None or not config.is_file():
        return None
    table = read_table(config, os.environ, fetch)
    return Project(folder.resolve(), language, {**table, "name": table.get("name") or folder.resolve().name})
