"""Profiles over HTTP: what may be asked, one at a time, and gone with the client that wanted it."""

import msgspec
import pytest
import trio

from caxton.core.views import Profile
from tests.api.serving import code_of, open_server

PROFILE = "/api/v1/debug/profile"


async def test_a_profile_lasts_and_shows_as_much_as_is_asked_for():
    async with open_server() as server:
        for name in ("c", "a", "b"):
            await server.deploy(name)
        found = msgspec.convert((await server.http.get(f"{PROFILE}?seconds=2.5&top=2")).json(), Profile)
        assert (found.seconds, [row.agent_id for row in found.agents], found.others_count) == (2.5, ["a", "b"], 1)
        found = msgspec.convert((await server.http.get(PROFILE)).json(), Profile)
        assert (found.seconds, len(found.agents)) == (10, 3)


@pytest.mark.parametrize(
    "query", ["seconds=0.9", "seconds=301", "seconds=soon", "seconds=nan", "top=0", "top=1001", "top=1.5"]
)
async def test_what_no_profile_can_be_is_refused(query: str):
    async with open_server() as server:
        assert code_of(await server.http.get(f"{PROFILE}?{query}")) == (400, "INVALID_REQUEST")


async def test_there_is_one_at_a_time_and_it_ends_when_its_client_leaves():
    async with open_server() as server, trio.open_nursery() as nursery:
        nursery.start_soon(server.http.get, f"{PROFILE}?seconds=300")
        await server.node.profile_began.wait()
        assert code_of(await server.http.get(f"{PROFILE}?seconds=1")) == (409, "INVALID_STATE")
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True), trio.fail_after(10):
            await server.node.profile_ended.wait()
            assert (await server.http.get(f"{PROFILE}?seconds=1")).status_code == 200
