"""SPADE: two agents in one process on its embedded XMPP server; messages between them take its container's short cut.

round_trip  A's behaviour sends and awaits the answer of B's; no XMPP on the way, SPADE's fastest.
spawn       `Agent.start`: register, connect, log in, start a behaviour.

The server is started here rather than by `spade.run`, which would take XMPP's well-known port.
"""

import asyncio
import itertools
import socket
import time
from contextlib import suppress

import loguru
from pyjabber.server import Server
from pyjabber.server_parameters import Parameters
from spade.agent import Agent
from spade.behaviour import CyclicBehaviour, OneShotBehaviour
from spade.container import Container
from spade.message import Message

from bench.peers.adapter import PAYLOAD, main, timed_async, timed_together_async

PATIENCE = 10.0
SOME = 20  # started together: a thousand would take minutes


class Answering(CyclicBehaviour):
    async def run(self):
        message = await self.receive(timeout=PATIENCE)
        if message is not None:
            await self.send(message.make_reply())


class Asking(OneShotBehaviour):
    def __init__(self, other, count):
        super().__init__()
        self.other, self.count, self.times = other, count, []

    async def run(self):
        for _ in range(self.count):
            began = time.perf_counter_ns()
            await self.send(Message(to=self.other, body=PAYLOAD.decode(), metadata={"performative": "request"}))
            if await self.receive(timeout=PATIENCE) is None:
                raise RuntimeError("no answer")
            self.times.append(time.perf_counter_ns() - began)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def with_server(workload):
    """Run *workload(count, new)* beside an XMPP server; *new* makes an agent that is not started."""

    def run(count):
        loguru.logger.remove()
        container, port = Container(), free_port()
        plugins = [
            name for name in Parameters().plugins if not name.startswith("urn:xmpp:http:upload")
        ]  # has a fixed port
        server = Server(Parameters(client_port=port, server_port=free_port(), database_in_memory=True, plugins=plugins))
        serving = container.loop.create_task(server.start())
        container.run(server.ready.wait())
        numbers = itertools.count()

        def new():
            return Agent(f"agent{next(numbers)}@localhost", "secret", port=port)

        async def whole():
            return await workload(count, new)

        try:
            return container.loop.run_until_complete(whole())
        finally:
            serving.cancel()
            with suppress(asyncio.CancelledError):
                container.run(serving)

    return run


@with_server
async def round_trip(count, new):
    answerer, asker = new(), new()
    answerer.add_behaviour(Answering())
    await answerer.start()
    await asker.start()
    asking = Asking(str(answerer.jid), count)
    asker.add_behaviour(asking)
    await asking.join()
    await asker.stop()
    await answerer.stop()
    return asking.times


@with_server
async def spawn(count, new):
    agents = []

    async def start():
        agent = new()
        agent.add_behaviour(Answering())
        await agent.start()
        agents.append(agent)

    times = await timed_async(count, start)
    await asyncio.gather(*(agent.stop() for agent in agents))
    return times


@with_server
async def together(count, new):
    async def start(size):
        agents = [new() for _ in range(size)]
        for agent in agents:
            agent.add_behaviour(Answering())
        await asyncio.gather(*(agent.start() for agent in agents))
        return agents

    async def end(agents):
        await asyncio.gather(*(agent.stop() for agent in agents))

    return await timed_together_async(count, start, end, SOME)


if __name__ == "__main__":
    main("SPADE", "spade", {"round_trip": round_trip, "spawn": spawn, "together": together})
