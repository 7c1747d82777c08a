"""Checks that every link between the project's documents leads to a file, and every #anchor to a heading.

Links to other sites are not followed: a check must not depend on the weather.
"""

import re
import sys
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


def documents() -> list[Path]:
    folders = ("docs", "examples", "bench")
    return [*sorted(ROOT.glob("*.md")), *(path for folder in folders for path in sorted((ROOT / folder).rglob("*.md")))]


def anchors(document: Path) -> set[str]:
    """The ids that GitHub gives to a document's headings."""
    found: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", document.read_text(encoding="utf-8"))):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        number = sum(1 for known in found if known == slug or re.fullmatch(re.escape(slug) + r"-\d+", known))
        found.add(f"{slug}-{number}" if number else slug)
    return found


def broken(document: Path) -> list[str]:
    """What is wrong with the links of one document."""
    problems = []
    for match in LINK.finditer(FENCE.sub("", document.read_text(encoding="utf-8"))):
        link = match[1] or match[2]
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists():
            problems.append(f"{document.relative_to(ROOT)}: {link}: no such file")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            problems.append(f"{document.relative_to(ROOT)}: {link}: no such heading")
    return problems


def main() -> int:
    found = documents()
    problems = [problem for document in found for problem in broken(document)]
    print("\n".join(problems) if problems else f"{len(found)} documents, every link leads somewhere")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
