"""The chat example: an agent in Python, and the MCP server that it calls, both as they are."""

import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from caxton._fast.envelope import Envelope
from caxton.cli.projects.languages import LANGUAGES, build_example
from caxton.cli.projects.toolchains import CHECKOUT, Absent
from caxton.core.config import load_config, read_table
from caxton.core.config_mcp import McpServer
from caxton.core.errors import ToolFailed
from caxton.core.manifest import parse_agent_config
from caxton.node import Node, open_node
from caxton.secrets import fetch
from tests.node.wat import message
from tests.tools.serving import open_desk

pytestmark = pytest.mark.slow

CHAT = CHECKOUT / "examples/chat"


async def test_the_shop() -> None:
    shop = McpServer(name="shop", command=sys.executable, args=(str(CHAT / "shop.py"),))
    async with open_desk(shop) as (desk, _):
        found = await desk.call("find", {"text": "is there an espresso cup?"})
        assert found["structuredContent"] == {"result": ["espresso cup"]}
        found = await desk.call("shop.look_up", {"name": "milk jug"})
        assert found["structuredContent"] == {"name": "milk jug", "count": 0, "price": 14}
        with pytest.raises(ToolFailed, match="we do not sell tea"):
            await desk.call("look_up", {"name": "tea"})


async def ask(node: Node, text: object, conversation: str = "c1", act: str = "query-ref") -> tuple[str, Any]:
    asked = message("chat", text, performative=act, protocol="fipa-query", conversation_id=conversation)
    answer: Envelope = await node.bus.request(asked, timeout=60)
    fields = answer.as_dict()
    assert (fields["sender"], fields["conversation_id"]) == ("chat", conversation)
    return fields["performative"], fields["content"]


@pytest.mark.timeout(600)
async def test_a_conversation_about_the_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wasm = tmp_path / "chat.wasm"
    try:
        await trio.to_thread.run_sync(build_example, LANGUAGES["python"], CHAT / "chat.py", wasm)
    except Absent as absent:
        pytest.skip(f"python: {absent}; `make sdk-test` installs it")
    monkeypatch.chdir(CHECKOUT)
    environ = {"PYTHON": sys.executable, "CAXTON_DATA_DIR": str(tmp_path / "data")}
    config = load_config(str(CHAT / "caxton.yaml"), environ=environ, sets=["runtime.compile_timeout=120s"])
    agent = parse_agent_config(read_table(CHAT / "agent.yaml", environ, fetch))
    async with open_node(config) as node:
        await node.agents.deploy(wasm.read_bytes(), agent)
        assert await ask(node, "Hello!") == ("inform", "What are you looking for?")
        assert await ask(node, "Do you have an espresso cup?") == ("inform", "We have 12 of them: espresso cup.")
        assert await ask(node, "And what does it cost?") == ("inform", "One espresso cup costs 8.50.")
        # another conversation knows nothing of it
        assert await ask(node, "What does it cost?", "c2") == ("inform", "What are you looking for?")
        await node.agents.stop("chat", grace=5, drain=True)
        await node.agents.start("chat")
        assert await ask(node, "Is it expensive?") == ("inform", "One espresso cup costs 8.50.")
        assert await ask(node, "Bye!") == ("inform", "Goodbye! That was question 5.")
        assert (await ask(node, 7))[0] == "not-understood"
        outside = message("chat", "A milk jug, please?", performative="query-ref")  # in no conversation
        answer = await node.bus.request(outside, timeout=60)
        assert answer.as_dict()["content"] == "We have 0 of them: milk jug."
        # what it may not call, it cannot
        await node.settings.set({"tools": ["shop.find"]}, who="test", agent="chat")
        act, why = await ask(node, "How many grinders, a grinder?")
        assert act == "failure"
        assert "may call shop.find, and asked for shop.look_up" in why
