"""What an agent can ask of its host. Messages, timers and state take effect when the turn ends well, or not at all.

Rule 1: a call to the host that waits suspends the agent as a whole, so there is nothing to wait for in Python: methods
of AsyncContext are coroutines that never suspend.
"""

from collections.abc import Iterable
from typing import Any

from wit_world.imports import clock, messaging, random, state, timers, tools
from wit_world.imports import log as lines

from caxton_agent.errors import call
from caxton_agent.message import Reply, decode, encode


class Log:
    """The agent's log: `caxton logs --agents NAME`."""

    def info(self, *parts: object) -> None:
        lines.info(" ".join(map(str, parts)))

    def error(self, *parts: object) -> None:
        lines.error(" ".join(map(str, parts)))


class State:
    """Small key-value state that outlives the instance. Values are JSON."""

    def get(self, key: str, default: Any = None) -> Any:
        found = call(state.load, key)
        return default if found is None else decode(found)

    def set(self, key: str, value: Any) -> None:
        call(state.store, key, encode(value))

    def remove(self, key: str) -> bool:
        """Whether there was a value."""
        return call(state.remove, key)

    def get_bytes(self, key: str) -> bytes | None:
        return call(state.load_bytes, key)

    def set_bytes(self, key: str, value: bytes) -> None:
        call(state.store_bytes, key, value)

    def __getitem__(self, key: str) -> Any:
        found = call(state.load, key)
        if found is None:
            raise KeyError(key)
        return decode(found)

    def __setitem__(self, key: str, value: Any) -> None:
        self.set(key, value)

    def __delitem__(self, key: str) -> None:
        if not self.remove(key):
            raise KeyError(key)

    def __contains__(self, key: str) -> bool:
        return call(state.load_bytes, key) is not None


class Shared:
    """What waits for nothing: the same in `def` and in `async def`."""

    def __init__(self) -> None:
        self.log = Log()
        self.state = State()

    def send(self, to: str | Reply, performative: str = "inform", content: Any = None, **fields: Any) -> None:
        """Send a message, or an answer that `message.answer(...)` made. NoReceiver, MailboxFull, ... at once."""
        reply = to if isinstance(to, Reply) else Reply(performative, content, receiver=to, **fields)
        call(messaging.send, reply.text())

    def broadcast(
        self,
        performative: str,
        content: Any = None,
        *,
        agents: Iterable[str] = (),
        groups: Iterable[str] = (),
        capabilities: Iterable[str] = (),
        **fields: Any,
    ) -> int:
        """Send to many; how many they are. Without a selector: the group `all`."""
        given = {"agents": list(agents), "groups": list(groups), "capabilities": list(capabilities)}
        selector = encode({name: value for name, value in given.items() if value})
        return call(messaging.broadcast, selector, Reply(performative, content, **fields).text())

    def subscribe(self, *topics: str, content: dict[str, Any] | None = None) -> None:
        """Hear what is sent to `topic:...`, where the content matches."""
        given = {"topics": list(topics), **({"content": content} if content else {})}
        call(messaging.subscribe, encode(given))

    def set_timer(self, seconds: float) -> int:
        """`timer` is called so much later, with the number that is returned; at most a year."""
        return call(timers.set, round(seconds * 1e6))

    def cancel_timer(self, timer: int) -> None:
        call(timers.cancel, timer)

    def now(self) -> float:
        """Seconds since 1970."""
        return clock.now() / 1e6

    def random(self) -> float:
        """A number from 0 to 1 of the system's generator."""
        return (random.get_u64() >> 11) / (1 << 53)


class Context(Shared):
    """Given to methods of an agent that are `def`. What waits is a plain call."""

    def tool(self, name: str, /, timeout: float | None = None, **arguments: Any) -> Any:
        """Call a tool; the agent waits for its answer and holds no thread. Unavailable, CallFailed."""
        request: dict[str, Any] = {"tool": name, "arguments": arguments}
        if timeout is not None:
            request["timeout_ms"] = round(timeout * 1000)
        return decode(call(tools.call_tool, encode(request)))

    def search(self, query: str, **options: Any) -> Any:
        """Search the memory of the agent's workspace."""
        return decode(call(tools.memory_search, encode({"query": query, **options})))

    def sleep(self, seconds: float) -> None:
        clock.sleep(max(0, round(seconds * 1e6)))


class AsyncContext(Shared):
    """Given to methods of an agent that are `async def`. What waits is awaited: `answer = await ctx.tool(...)`."""

    def __init__(self) -> None:
        super().__init__()
        self._plain = Context()

    async def tool(self, name: str, /, timeout: float | None = None, **arguments: Any) -> Any:  # noqa: ASYNC109 (the host's)
        """Call a tool; the agent waits for its answer and holds no thread. Unavailable, CallFailed."""
        return self._plain.tool(name, timeout, **arguments)

    async def search(self, query: str, **options: Any) -> Any:
        """Search the memory of the agent's workspace."""
        return self._plain.search(query, **options)

    async def sleep(self, seconds: float) -> None:
        self._plain.sleep(seconds)
