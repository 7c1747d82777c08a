"""Capabilities and the directory from the command line."""

from collections.abc import Callable

from click.testing import Result

from tests.cli.conftest import FakeServer, error

Run = Callable[..., Result]
PROVIDER = {
    "agent_id": "a",
    "version": "2",
    "priority": 50,
    "status": "active",
    "load_score": 0.25,
    "response_time_avg": 1.5,
    "success_rate": 0.995,
    "routing_score": 37.5,
}


def test_capabilities_are_a_table(run: Run, api: FakeServer) -> None:
    providers = [PROVIDER, PROVIDER | {"agent_id": "b", "status": "unhealthy"}]
    api.answers["GET /api/v1/capabilities"] = {
        "capabilities": [{"capability": "sums", "providers": providers}],
        "total": 9,
    }
    result = run("capabilities", "list", "--agent", "a")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["CAPABILITY", "ACTIVE", "AGENTS"],
        ["sums", "1/2", "a,", "b"],
    ]
    assert "9 in all" in result.stderr
    assert api.asked[0].query == "agent_id=a&limit=100"


def test_one_is_shown_with_its_providers(run: Run, api: FakeServer) -> None:
    api.answers["GET /api/v1/capabilities/sums"] = {"capability": "sums", "providers": [PROVIDER]}
    result = run("capabilities", "show", "sums", "--strategy", "least_loaded")
    assert result.stdout.splitlines()[1].split() == ["a", "active", "2", "50", "25%", "1.50", "ms", "99.5%"]
    assert api.asked[0].query == "routing_strategy=least_loaded&include_unhealthy=1"
    api.answers["GET /api/v1/capabilities/none"] = (404, error("NOT_FOUND", "no agent has the capability 'none'"))
    assert run("capabilities", "show", "none").exit_code != 0


def test_the_directory_is_searched(run: Run, api: FakeServer) -> None:
    agents = [{"name": "a", "services": [{"name": "x", "type": "sums"}], "lease_time": "2026-01-31T12:00:00Z"}]
    api.answers["GET /api/v1/directory/agents"] = {"agents": agents, "truncated": True, "next_cursor": "7"}
    result = run("directory", "search", "--type", "sums", "--type", "news", "--protocol", "p")
    assert result.stdout.splitlines()[1].split() == ["a", "sums", "-", "2026-01-31T12:00:00Z"]
    assert "more: --cursor 7" in result.stderr
    assert api.asked[0].query == "type=sums&type=news&protocol=p&limit=100"
