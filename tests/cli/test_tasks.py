"""Tasks from the command line."""

from collections.abc import Callable

from click.testing import Result

from tests.cli.conftest import FakeServer

Run = Callable[..., Result]
TASKS = "/api/v1/tasks"
AWARDED = {
    "task_id": "task-1",
    "status": "distributed",
    "reason": "",
    "assigned": ["cheap"],
    "winning_bids": [{"agent_id": "cheap", "proposal_id": "", "cost": 1.0, "confidence": 0.5}],
}
TASK = AWARDED | {
    "name": "weigh",
    "protocol": "contract_net",
    "status": "completed",
    "created_at": "2026-01-31T12:00:00Z",
    "started_at": "2026-01-31T12:00:00Z",
    "ended_at": None,
    "participants": [
        {"agent_id": "cheap", "status": "done", "reason": "", "round": 1, "bid": {"agent_id": "cheap", "cost": 1.0}},
        {"agent_id": "mute", "status": "no_bid", "reason": "no answer in time", "round": 1},
    ],
    "left_out": {"capability:flying": "nobody is there"},
    "results": [{"agent_id": "cheap", "content": {"weight": 3}}],
    "notes": [{"at": "2026-01-31T12:00:01Z", "who": "mallory", "what": "sent propose, but was not called"}],
    "notes_left_out": 0,
}


def test_a_task_is_created_and_distributed(run: Run, api: FakeServer) -> None:
    api.answers[f"POST {TASKS}"] = (201, {"task_id": "task-1", "status": "created"})
    api.answers[f"POST {TASKS}/task-1/distribute"] = AWARDED
    result = run(
        *("tasks", "create", "weigh", "--to", "a", "--to", "capability:b", "--data", '{"kg":3}'),
        *("--strategy", "cost=2,confidence=1", "--max-wait", "5s", "--winners", "2", "--capability", "scales"),
    )
    assert result.stdout.splitlines() == ["✓ Task task-1 distributed: cheap", "  cheap: cost 1, confidence 0.5"]
    assert api.asked[0].json() == {
        "name": "weigh",
        "participants": ["a", "capability:b"],
        "data": {"kg": 3},
        "protocol": "contract_net",
        "strategy": {"weighted": {"cost": 2.0, "confidence": 1.0}},
        "requirements": {"capabilities": ["scales"]},
        "max_wait_seconds": 5.0,
        "winners": 2,
    }


def test_a_task_that_nobody_gets_is_a_failure(run: Run, api: FakeServer) -> None:
    api.answers[f"POST {TASKS}/task-1/distribute"] = AWARDED | {"status": "failed", "reason": "nobody", "assigned": []}
    result = run("tasks", "distribute", "task-1", "--strategy", "fastest", "--max-wait", "1m", "--no-wait")
    assert result.exit_code == 1
    assert "Nobody got the task" in result.stderr
    assert api.asked[0].query == "wait=0"
    assert api.asked[0].json() == {"strategy": "fastest", "max_wait_seconds": 60.0}


def test_tasks_are_listed_and_shown(run: Run, api: FakeServer) -> None:
    api.answers[f"GET {TASKS}"] = {"tasks": [TASK], "total": 2, "next_offset": 1}
    api.answers[f"GET {TASKS}/task-1"] = TASK
    result = run("tasks", "list", "--status", "completed")
    assert result.stdout.splitlines()[1].split() == [
        *("task-1", "2026-01-31T12:00:00Z", "contract_net", "completed", "cheap", "weigh")
    ]
    assert "more: --offset 1" in result.stderr
    shown = run("tasks", "show", "task-1").stdout
    assert [line.split() for line in shown.splitlines() if line.startswith(("cheap", "mute"))] == [
        ["cheap", "1", "done", "cost", "1"],
        ["mute", "1", "no", "bid", "-", "no", "answer", "in", "time"],
    ]
    assert "left out: capability:flying: nobody is there" in shown
    assert 'result of cheap: {"weight": 3}' in shown
    assert "mallory: sent propose, but was not called" in shown


def test_a_task_is_cancelled(run: Run, api: FakeServer) -> None:
    api.answers[f"POST {TASKS}/task-1/cancel"] = TASK
    assert run("tasks", "cancel", "task-1", "--reason", "no").stdout == "✓ Task task-1 cancelled\n"
    assert api.asked[0].query == "reason=no"


def test_what_is_no_strategy_or_no_json_is_told(run: Run) -> None:
    assert "a weight is a number" in run("tasks", "create", "x", "--strategy", "cost=much").stderr
    assert "--data is not JSON" in run("tasks", "create", "x", "--data", "{").stderr
