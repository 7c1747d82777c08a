"""Backups by REST, of a real node that works meanwhile."""

from pathlib import Path

from caxton.store.backup import restore_backup, verify_backup
from tests.api.serving import code_of, open_server, request_to
from tests.api.test_end_to_end import deploy_echo, open_real_server

BACKUPS = "/api/v1/backups"


async def test_a_backup_of_a_running_server_makes_another_one(tmp_path: Path) -> None:
    async with open_real_server(tmp_path / "old") as server:
        await deploy_echo(server)
        made = await server.http.post(BACKUPS, json={"name": "one"})
        assert made.status_code == 201
        assert made.headers["location"] == f"{BACKUPS}/one"
        assert made.json()["created_at"].endswith("Z")

        fetched = await server.http.get(f"{BACKUPS}/one")
        assert fetched.headers["content-type"] == "application/x-tar"
        assert len(fetched.content) == made.json()["size"] == int(fetched.headers["content-length"])
        (tmp_path / "file").write_bytes(fetched.content)

        assert (await server.http.get(BACKUPS)).json() == {"backups": [made.json()], "total": 1}
        assert (await server.http.delete(f"{BACKUPS}/one")).json() == {"name": "one", "status": "removed"}
        assert (await server.http.get(BACKUPS)).json() == {"backups": [], "total": 0}
    assert (await verify_backup(tmp_path / "file")).facts.agents == 1
    await restore_backup(tmp_path / "file", tmp_path / "new")
    async with open_real_server(tmp_path / "new") as server:
        reply = await server.post(request_to("echo", {"n": 1}), wait="10")
        assert reply.json()["content"] == {"n": 1}


async def test_a_backup_needs_no_name(tmp_path: Path) -> None:
    async with open_real_server(tmp_path) as server:
        made = await server.http.post(BACKUPS)
        assert made.status_code == 201
        assert made.json()["name"].endswith(".caxton-backup")


async def test_what_cannot_be_is_named(tmp_path: Path) -> None:
    async with open_real_server(tmp_path) as server:
        assert (await server.http.post(BACKUPS, json={"name": "one"})).status_code == 201
        assert code_of(await server.http.post(BACKUPS, json={"name": "one"})) == (409, "INVALID_STATE")
        for body in ({"name": "../up"}, {"name": ".x"}, {"path": "/tmp/x"}, {"name": 7}):
            assert code_of(await server.http.post(BACKUPS, json=body)) == (400, "INVALID_REQUEST")
        for name in ("two", "..%2fcaxton.lock"):
            assert (await server.http.get(f"{BACKUPS}/{name}")).status_code in (400, 404)
            assert (await server.http.delete(f"{BACKUPS}/{name}")).status_code in (400, 404)
        assert (tmp_path / "caxton.lock").exists()


async def test_a_node_that_has_none_says_so() -> None:
    async with open_server() as server:
        assert (await server.http.get(BACKUPS)).json() == {"backups": [], "total": 0}
        assert code_of(await server.http.post(BACKUPS)) == (409, "INVALID_STATE")
        assert code_of(await server.http.get(f"{BACKUPS}/one")) == (404, "NOT_FOUND")
