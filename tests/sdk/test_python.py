"""The layer of the Python SDK, beside a world that notes what it is asked; componentize-py makes the real one."""

import gc
import importlib
import json
import sys
from collections.abc import Iterator
from functools import wraps
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from caxton.cli.projects.toolchains import sources

MESSAGE = '{"performative":"request","sender":"tester","reply_with":"r","content":"x"}'


class Err(Exception):
    """As in the module `componentize_py_types`."""

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.value = value


class World:
    """The host: `asked` is what it was asked, `tools` answers or raises."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.tools: Any = lambda request: request

    def call_tool(self, request: str) -> str:
        self.asked.append(request)
        return json.dumps(self.tools(json.loads(request)))

    def sleep(self, microseconds: int) -> None:
        self.asked.append(f"sleep {microseconds}")

    def error(self, line: str) -> None:
        self.asked.append(line)


@pytest.fixture
def world() -> World:
    return World()


# Any: the SDK, which is imported beside this world
@pytest.fixture
def sdk(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    names = ("messaging", "random", "state", "timers")
    imports = {name: SimpleNamespace() for name in names}
    imports["tools"] = SimpleNamespace(call_tool=world.call_tool, memory_search=world.call_tool)
    imports["clock"] = SimpleNamespace(sleep=world.sleep)
    imports["log"] = SimpleNamespace(info=world.error, error=world.error)
    modules = {
        "componentize_py_types": {"Err": Err},
        "wit_world": {"exports": SimpleNamespace(Guest=object)},
        "wit_world.imports": imports,
    }
    for name, members in modules.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.syspath_prepend(str(sources() / "python"))
    yield importlib.import_module("caxton_agent")
    for name in [name for name in sys.modules if name.partition(".")[0] == "caxton_agent"]:
        del sys.modules[name]


def handled(guest: Any) -> Any:
    return json.loads(guest().handle_message(MESSAGE))


def failed(guest: Any) -> str:
    with pytest.raises(Err) as caught:
        guest().handle_message(MESSAGE)
    return str(caught.value.value)


def test_what_waits_is_a_plain_call_or_is_awaited(sdk: Any, world: World) -> None:
    class Plain(sdk.Agent):  # type: ignore[misc]
        def handle(self, message: Any, ctx: Any) -> Any:
            ctx.sleep(0.5)
            return [ctx.tool("t", timeout=2, a=1), ctx.search("q", limit=3)]

    class Awaiting(sdk.Agent):  # type: ignore[misc]
        async def handle(self, message: Any, ctx: Any) -> Any:
            await ctx.sleep(0.5)
            return [await ctx.tool("t", timeout=2, a=1), await self.found(ctx)]

        async def found(self, ctx: Any) -> Any:
            return await ctx.search("q", limit=3)

    asked = ["sleep 500000", '{"tool":"t","arguments":{"a":1},"timeout_ms":2000}', '{"query":"q","limit":3}']
    for agent in (Plain, Awaiting):
        world.asked.clear()
        answer = handled(sdk.serve(agent))
        assert world.asked == asked
        assert answer == {"performative": "inform", "content": [json.loads(each) for each in asked[1:]]}


def test_every_method_may_be_async(sdk: Any, world: World) -> None:
    class Awaiting(sdk.Agent):  # type: ignore[misc]
        async def start(self, ctx: Any) -> None:
            await ctx.sleep(1)

        async def timer(self, timer: int, ctx: Any) -> None:
            await ctx.sleep(timer)

        async def health(self, ctx: Any) -> None:
            await ctx.sleep(3)
            raise RuntimeError("unwell")

        async def stop(self, ctx: Any) -> None:
            await ctx.sleep(4)

    guest = sdk.serve(Awaiting)()
    guest.init()
    guest.handle_timer(2)
    with pytest.raises(Err, match="RuntimeError: unwell"):
        guest.health()
    guest.shutdown()
    assert [each for each in world.asked if each.startswith("sleep")] == [f"sleep {n}000000" for n in (1, 2, 3, 4)]


def test_an_error_of_the_host_is_raised_where_it_is_awaited(sdk: Any, world: World) -> None:
    def refuse(request: Any) -> Any:
        raise Err(SimpleNamespace(code=SimpleNamespace(name="UNAVAILABLE"), message="no such tool"))

    class Awaiting(sdk.Agent):  # type: ignore[misc]
        async def handle(self, message: Any, ctx: Any) -> Any:
            try:
                return await ctx.tool("t")
            except sdk.Unavailable as error:
                return message.failure(str(error))

    world.tools = refuse
    assert handled(sdk.serve(Awaiting))["content"] == "no such tool"


class Foreign:
    """What an event loop would bring."""

    def __await__(self) -> Iterator[str]:
        yield "a future"


def test_who_awaits_an_event_loop_is_told_so(sdk: Any, world: World) -> None:
    class Stubborn(sdk.Agent):  # type: ignore[misc]
        async def handle(self, message: Any, ctx: Any) -> Any:
            try:
                await Foreign()
            finally:
                await Foreign()  # once more

    class Careful(sdk.Agent):  # type: ignore[misc]
        async def handle(self, message: Any, ctx: Any) -> Any:
            try:
                await Foreign()
            except TypeError:
                return "without"

    assert "cannot await 'a future' of an event loop: agents have none" in failed(sdk.serve(Stubborn))
    assert "await Foreign()" in "".join(world.asked)  # the traceback in the log
    assert handled(sdk.serve(Careful))["content"] == "without"


@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")  # the interpreter's own, which is for the log
def test_an_await_that_was_forgotten_is_told(sdk: Any, world: World) -> None:
    class Forgetful(sdk.Agent):  # type: ignore[misc]
        async def handle(self, message: Any, ctx: Any) -> Any:
            return {"answer": ctx.tool("t")}

    assert "coroutine is no JSON; was it awaited?" in failed(sdk.serve(Forgetful))
    gc.collect()


def test_a_decorator_changes_nothing(sdk: Any, world: World) -> None:
    def noted(function: Any) -> Any:
        @wraps(function)
        def wrapper(self: Any, message: Any, ctx: Any) -> Any:
            ctx.log.info("noted")
            return function(self, message, ctx)

        return wrapper

    class Awaiting(sdk.Agent):  # type: ignore[misc]
        @noted
        async def handle(self, message: Any, ctx: Any) -> Any:
            await ctx.sleep(1)
            return "done"

    assert handled(sdk.serve(Awaiting))["content"] == "done"
    assert world.asked == ["noted", "sleep 1000000"]


def test_an_agent_that_cannot_be_made_is_a_failed_start(sdk: Any, world: World) -> None:
    class Broken(sdk.Agent):  # type: ignore[misc]
        def __init__(self) -> None:
            raise ValueError("no colour")

    with pytest.raises(Err, match="ValueError: no colour"):
        sdk.serve(Broken)().init()


def test_an_answer_that_is_answered_again_has_a_mark(sdk: Any) -> None:
    message = sdk.Message(MESSAGE)
    first, second = message.propose({"cost": 1}).fields, message.accept_proposal().fields
    assert first["in_reply_to"] == second["in_reply_to"] == "r"
    assert (first["reply_with"], second["reply_with"]) == ("propose-1", "accept-proposal-2")
    assert message.propose(1, reply_with="mine").fields["reply_with"] == "mine"
    assert "reply_with" not in message.reject_proposal().fields
    assert sdk.Message(message.fields).inform(1).fields["receiver"] == "tester"
