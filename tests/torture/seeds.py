"""Seeds that once found something, kept in tests/seeds so that every later run tries them again."""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "seeds"


def kept(part: str) -> list[int]:
    path = FOLDER / f"{part}.txt"
    return [int(line) for line in path.read_text().splitlines() if line[:1].isdigit()] if path.exists() else []


def keep(part: str, seed: int) -> Path:
    """Note that this seed has failed."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{part}.txt"
    if seed not in kept(part):
        with path.open("a") as file:
            file.write(f"{seed}\n")
    return path
