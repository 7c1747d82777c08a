"""Other platforms from the command line."""

from collections.abc import Callable

from click.testing import Result

from tests.cli.conftest import FakeServer

Run = Callable[..., Result]
JADE = {
    "name": "10.0.0.5:1099/JADE",
    "url": "http://10.0.0.5:7778/acc",
    "learned": True,
    "state": "unreachable",
    "problem": "refused",
    "sent": 1,
    "received": 2,
    "waiting": 3,
}


def test_the_list_says_who_is_reached(run: Run, api: FakeServer) -> None:
    own = {"name": "shop", "url": "http://shop:8080/acc"}
    api.answers["GET /api/v1/platforms"] = {"platform": own, "platforms": [JADE]}
    lines = run("platforms", "list").stdout.splitlines()
    assert lines[0] == "This platform is shop at http://shop:8080/acc."
    assert lines[2].split() == [JADE["name"], JADE["url"], "learned", "unreachable", "1", "2", "3"]


def test_one_is_forgotten(run: Run, api: FakeServer) -> None:
    api.answers["DELETE /api/v1/platforms/10.0.0.5%3A1099/JADE"] = {"status": "forgotten"}
    assert run("platforms", "forget", str(JADE["name"])).stdout == "✓ 10.0.0.5:1099/JADE is forgotten.\n"
