"""The page of metrics and the catalogue say the same, and what the documents ask Prometheus for is there."""

import importlib.util
import re
from pathlib import Path

import pytest

import caxton
from caxton.core.metrics import CATALOGUE

DOCS = Path(caxton.__file__).parent.parent / "docs"
ASKED = re.compile(r"\b(?:caxton|http_server|messaging|process)_[a-z_]+\b")
BLOCK = re.compile(r"^```(?:promql|yaml)$(.*?)^```$", re.MULTILINE | re.DOTALL)


def lines_of_prometheus() -> set[str]:
    """Every name that a line of `/metrics` begins with."""
    found = set()
    for metric in CATALOGUE.values():
        if metric.kind == "histogram":
            found |= {f"{metric.exposed}_{ending}" for ending in ("bucket", "sum", "count")}
        else:
            found.add(metric.exposed)
    return found


def test_the_table_is_made_from_the_catalogue() -> None:
    spec = importlib.util.spec_from_file_location("make_metrics", DOCS / "make_metrics.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / "metrics.md").read_text() == module.wanted(), "run `python docs/make_metrics.py`"


@pytest.mark.parametrize("page", ["metrics.md", "operations.md"])
def test_what_the_documents_ask_for_is_there(page: str) -> None:
    blocks = BLOCK.findall((DOCS / page).read_text())
    asked = {name for block in blocks for name in ASKED.findall(block)}
    assert len(asked) >= 2
    labels = {label.replace(".", "_") for metric in CATALOGUE.values() for label in metric.labels}
    assert asked <= lines_of_prometheus() | labels


def test_every_metric_says_what_it_means() -> None:
    for metric in CATALOGUE.values():
        assert metric.meaning.endswith("."), metric.name
        assert re.fullmatch(r"s|By|\{[a-z_]+\}", metric.unit), metric.name
