"""/api/v1/webhooks over a real node."""

import json
from pathlib import Path

import trio

from tests.api.serving import code_of, open_server
from tests.node.opened import deploy, open_a_node
from tests.node.test_webhooks import answered, open_receiver


async def test_look_send_again_and_forget(tmp_path: Path) -> None:
    async with open_receiver(answered(404), answered(404)) as receiver:
        endpoints = json.dumps([{"url": receiver.url, "secret": "0123456789abcdef0123"}])
        sets = (f"integrations.webhooks.endpoints={endpoints}", 'integrations.webhooks.allowed_networks=["127.0.0.1"]')
        async with open_a_node(tmp_path, "integrations.webhooks.enabled=true", *sets) as node:
            async with open_server(node=node) as server:
                for name in ("a", "b"):
                    await deploy(node, name)
                await receiver.wait(2)
                with trio.fail_after(5):
                    while (found := (await server.http.get("/api/v1/webhooks")).json())["endpoints"][0]["failed"] < 2:
                        pass
                (row,) = found["endpoints"]
                assert (row["url"], row["signed"], row["last_error"]) == (
                    f"http://127.0.0.1:{receiver.port}",
                    True,
                    "127.0.0.1 answered 404",
                )
                assert row["last_error_at"].endswith("Z")
                base = f"/api/v1/webhooks/{row['id']}"
                page = (await server.http.get(f"{base}/failed?limit=1")).json()
                (newest,) = page["failed"]
                assert (newest["body"]["agent_id"], newest["attempts"]) == ("b", 1)
                (oldest,) = (await server.http.get(f"{base}/failed?cursor={page['next_cursor']}")).json()["failed"]
                again = await server.http.post(f"{base}/redeliver", json={"deliveries": [oldest["delivery"]]})
                assert again.json() == {"redelivered": 1}
                await receiver.wait(3)
                assert receiver.bodies[-1]["agent_id"] == "a"
                assert (await server.http.post(f"{base}/purge")).json() == {"purged": 1}
                assert code_of(await server.http.post(f"{base}/redeliver", json={"x": 1})) == (400, "INVALID_REQUEST")
                assert code_of(await server.http.post("/api/v1/webhooks/nobody/redeliver"))[0] == 404
