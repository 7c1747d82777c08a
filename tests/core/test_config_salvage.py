"""What can be told of configurations with mistakes, and what must not be guessed."""

from pathlib import Path

import pytest

from caxton.core.config_salvage import salvage
from caxton.core.errors import InvalidConfig

DEFAULT = "/home/somebody/.local/share/caxton"


def told(folder: Path, text: str, *sets: str, name: str = "config.yaml", **environ: str) -> str:
    path = folder / name
    path.write_text(text)
    return salvage(str(path), profile=None, sets=sets, environ={"HOME": "/home/somebody", **environ}).data_dir


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("server: {prot: 1}\nresources: {disk: {data_dir: /a}}\n", "/a"),
        ("server: {port: many}\n", DEFAULT),
        ("server: {port: many}\nresources: {disk: {data_dir: '${WHERE}/x'}}\n", "/b/x"),
        ("resources: {disk: {data_dir: '${NOWHERE}/x'}}\n", ""),
        ("resources: {disk: {data_dir: '${secret:env:WHERE}/x'}}\n", ""),
        ("resources: {disk: {data_dir: [1]}}\n", ""),
        ("resources: [1]\n", ""),
        # no YAML any more
        ("server: {port: 1\n", DEFAULT),
        ("server: [\nresources:\n  disk:\n    data_dir: /a # here\n", "/a"),
        ("server: [\nresources: {disk: {data_dir: '/a b'}}\n", "/a b"),
        ('server: [\nresources: {disk: {"data_dir": "/a"}}\n', "/a"),
        ("server: [\nresources: {disk: {data_dir: '${WHERE}'}}\n", "/b"),
        ("server: [\n# data_dir: /a\n", DEFAULT),
        ("server: [\ndata_dir: /a\ndata_dir: /b\n", ""),
        ("extends: base.yaml\nserver: [\n", ""),
        # it was meant to be there
        ("resource: {disk: {data_dir: /a}}\n", ""),
        ("resources: {disk: {data_dri: /a}}\n", ""),
    ],
)
def test_the_data_folder(tmp_path: Path, text: str, expected: str) -> None:
    assert told(tmp_path, text, WHERE="/b") == expected
    assert told(tmp_path, text, CAXTON_DATA_DIR="/above", WHERE="/b") == "/above"
    assert told(tmp_path, text, "resources.disk.data_dir=/flag", WHERE="/b") == "/flag"


def test_other_languages_and_files_that_are_gone(tmp_path: Path) -> None:
    assert told(tmp_path, '[resources.disk]\ndata_dir = "/a"\n[oops', name="c.toml") == "/a"
    assert told(tmp_path, '{"resources": {"disk": {"data_dir": "/a"}}', name="c.json") == "/a"
    gone = str(tmp_path / "gone.yaml")
    assert salvage(gone, profile=None, sets=(), environ={"HOME": "/x"}).data_dir == ""
    assert salvage(gone, profile=None, sets=(), environ={"CAXTON_DATA_DIR": "/x"}).data_dir == "/x"


def test_mistakes_of_whoever_asks_are_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"server\.prt: unknown key"):
        told(tmp_path, "", "server.prt=1")
    with pytest.raises(InvalidConfig, match="CAXTON_PORT"):
        told(tmp_path, "", CAXTON_PORT="many")


def test_where_the_server_listens(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("server: {port: 81, host: a, tls: {enabled: true}, x: 1}\n")
    found = salvage(str(path), profile=None, sets=["server.host=b"], environ={"HOME": "/x"})
    assert (found.host, found.port, found.tls) == ("b", 81, True)
    path.write_text("server: {port: many}\n")
    assert salvage(str(path), profile=None, sets=(), environ={"HOME": "/x"}).port == 8080
