"""/api/v1/config over a real node."""

from pathlib import Path

from tests.api.serving import code_of
from tests.api.test_end_to_end import deploy_echo, open_real_server

CONFIG = "/api/v1/config"


async def test_change_look_and_go_back(tmp_path: Path) -> None:
    async with open_real_server(tmp_path) as server:
        body = {"set": {"messaging.retry_delay": "7s", "messaging.queue_size": 77}}
        made = (await server.http.patch(CONFIG, json=body, headers={"X-Caxton-Who": "sam"})).json()
        assert made["version"] == 1
        assert made["who"].startswith("sam (")
        assert made["changes"][0] == {"key": "messaging.queue_size", "agent_id": "", "before": 10000, "after": 77}
        found = (await server.http.get(CONFIG)).json()
        assert found["values"]["messaging.retry_delay"] == "7s"
        assert "messaging.retry_delay" in found["dynamic"]
        assert found["origins"]["messaging.retry_delay"] == "version 1"
        back = (await server.http.post(f"{CONFIG}/rollback", json={"version": 0})).json()
        assert (back["version"], back["action"]) == (2, "rollback")
        listed = (await server.http.get(f"{CONFIG}/versions")).json()["versions"]
        assert [one["version"] for one in listed] == [2, 1]
        assert (await server.http.get(CONFIG)).json()["values"]["messaging.queue_size"] == 10000


async def test_of_one_agent(tmp_path: Path) -> None:
    async with open_real_server(tmp_path) as server:
        await deploy_echo(server)
        body = {"set": {"resources.timeout": "3s"}, "agent": "echo"}
        made = (await server.http.patch(CONFIG, json=body)).json()
        assert made["changes"] == [{"key": "resources.timeout", "agent_id": "echo", "before": "30s", "after": "3s"}]
        missing = await server.http.patch(CONFIG, json={**body, "agent": "nobody"})
        assert code_of(missing) == (404, "AGENT_NOT_FOUND")


async def test_what_is_refused(tmp_path: Path) -> None:
    async with open_real_server(tmp_path) as server:
        for body, said in (
            ({"set": {"server.port": 1}}, "needs a restart"),
            ({"set": {"server.prt": 1}}, "did you mean 'server.port'"),
            ({"set": {"messaging.retry_delay": "soon"}}, "messaging.retry_delay: 'soon' is not an amount"),
        ):
            answer = await server.http.patch(CONFIG, json=body)
            assert code_of(answer) == (400, "INVALID_CONFIG")
            assert said in answer.json()["error"]["message"]
        for answer in (
            await server.http.patch(CONFIG, json={"sett": {}}),
            await server.http.patch(CONFIG, json={"set": {}}),
            await server.http.post(f"{CONFIG}/reload"),
            await server.http.post(f"{CONFIG}/rollback", json={"version": 5}),
            await server.http.get(f"{CONFIG}/versions?limit=0"),
        ):
            assert code_of(answer) == (400, "INVALID_REQUEST")
