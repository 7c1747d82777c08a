"""The table of `make bench-compare`: what fails, and what is only said. Nothing is counted here."""

import pytest

from bench.compare import run as compare
from bench.compare.table import Row, rows, text


def row(base: float | str, head: float | str) -> Row:
    return Row(name="hop", base=base, head=head, limit=0.1)


@pytest.mark.parametrize(
    ("base", "head", "failed"),
    [
        (1000.0, 1000.0, False),
        (1000.0, 1100.0, False),
        (1000.0, 1101.0, True),
        (1000.0, 10.0, False),
        (1000.0, "ImportError: no such thing", True),
        ("ImportError: no such thing", 1000.0, False),
        ("ImportError: one", "ImportError: other", False),
    ],
)
def test_growth_beyond_a_tenth_fails_and_so_does_what_runs_no_longer(base, head, failed):
    assert row(base, head).failed is failed


def test_change_is_a_share_of_the_base():
    assert row(1000.0, 1150.0).change == pytest.approx(0.15)
    assert row("gone", 1150.0).change is None


def test_a_workload_of_either_side_is_in_the_table():
    compared = rows({"both": 1.0, "old": 1.0}, {"both": 1.0, "new": 1.0}, 0.1)
    assert [(row.name, row.failed) for row in compared] == [("both", False), ("new", False), ("old", True)]


def test_the_table_has_counts_changes_and_reasons():
    shown = text(rows({"hop": 1000.0, "spawn": "ImportError: x"}, {"hop": 1150.0, "spawn": 82_614.2}, 0.1))
    assert shown.splitlines() == [
        "        base    head  change",
        "hop    1,000   1,150  +15.0%",
        "spawn      -  82,614",
        "spawn on base: ImportError: x",
    ]


def dump(name: str, instructions: int) -> str:
    return f"part: 3\n\ndesc: Trigger: Client Request: {name}\n\nevents: Ir\nsummary: {instructions}\n\nfn=(1)\n"


def test_an_operation_is_what_twice_as_many_take_more():
    dumps = [dump("hop: once", 5100), dump("hop: twice", 9100), dump("-", 99), "", dump("hop: once", 5000)]
    assert compare.differences({"hop": 100, "spawn": "why"}, dumps) == {"hop": 41.0, "spawn": "why"}


def test_only_trees_of_other_commits_are_removed(tmp_path):
    trees, precious = tmp_path / "trees", tmp_path / "precious"
    old, used, linked = (trees / (letter * 40) for letter in "abc")
    for path in (old, used, precious, trees / "notes"):
        path.mkdir(parents=True)
    linked.symlink_to(precious)
    compare.forget_trees(trees, [used.name])
    assert sorted(path.name for path in trees.iterdir()) == [used.name, linked.name, "notes"]
    assert precious.is_dir()


def test_a_name_that_is_no_revision_is_said():
    with pytest.raises(compare.CannotCompare, match="no-such-revision is no revision"):
        compare.revision("no-such-revision")
