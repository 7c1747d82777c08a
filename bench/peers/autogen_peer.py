"""autogen-core: `SingleThreadedAgentRuntime`, a routed agent that awaits `send_message` to another.

Spawn is the runtime's own making of an agent from its registered factory, without a first message.
"""

from dataclasses import dataclass
from itertools import count as counter

from autogen_core import AgentId, MessageContext, RoutedAgent, SingleThreadedAgentRuntime, message_handler

from bench.peers.adapter import PAYLOAD, in_asyncio, main, timed_async, timed_together_async


@dataclass
class Message:
    payload: str


@dataclass
class Begin:
    count: int


@dataclass
class Times:
    times: list[int]


class Echo(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("answers")

    @message_handler
    async def answer(self, message: Message, context: MessageContext) -> Message:
        return message


class Asker(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("asks")

    @message_handler
    async def ask(self, message: Begin, context: MessageContext) -> Times:
        other, payload = AgentId("echo", "1"), Message(PAYLOAD.decode())
        return Times(await timed_async(message.count, lambda: self.send_message(payload, other)))


@in_asyncio
async def round_trip(count):
    runtime = SingleThreadedAgentRuntime()
    await Echo.register(runtime, "echo", Echo)
    await Asker.register(runtime, "asker", Asker)
    runtime.start()
    answer = await runtime.send_message(Begin(count), AgentId("asker", "1"))
    await runtime.close()
    return answer.times


@in_asyncio
async def spawn(count):
    runtime = SingleThreadedAgentRuntime()
    await Echo.register(runtime, "echo", Echo)
    runtime.start()
    keys = counter()
    times = await timed_async(
        count, lambda: runtime.try_get_underlying_agent_instance(AgentId("echo", str(next(keys))), Echo)
    )
    await runtime.close()
    return times


@in_asyncio
async def together(count):
    runtime = SingleThreadedAgentRuntime()
    await Echo.register(runtime, "echo", Echo)
    runtime.start()
    keys = counter()

    async def start(size):
        for _ in range(size):
            await runtime.try_get_underlying_agent_instance(AgentId("echo", str(next(keys))), Echo)

    times = await timed_together_async(count, start)
    await runtime.close()
    return times


if __name__ == "__main__":
    main("autogen-core", "autogen-core", {"round_trip": round_trip, "spawn": spawn, "together": together})
