"""xoscar: actors of one pool in one process.

round_trip  A asks for a reference to B that is local to the pool; a call on it awaits B's method under B's lock,
            without a message. The fastest that xoscar has.
by_message  A calls B on the reference that it was given: a message over xoscar's in-process transport.
"""

import xoscar

from bench.peers.adapter import PAYLOAD, in_asyncio, main, timed_async, timed_together_async

ADDRESS = "test://127.0.0.1:0"


class Echo(xoscar.Actor):
    async def answer(self, payload):
        return payload


class Asker(xoscar.Actor):
    def __init__(self, other):
        super().__init__()
        self.other = other

    async def ask(self, count, local):
        other = await xoscar.actor_ref(self.other) if local else self.other
        return await timed_async(count, lambda: other.answer(PAYLOAD))


async def ask(count, local):
    async with await xoscar.create_actor_pool(ADDRESS, n_process=0) as pool:
        echo = await xoscar.create_actor(Echo, address=pool.external_address)
        asker = await xoscar.create_actor(Asker, echo, address=pool.external_address)
        return await asker.ask(count, local)


@in_asyncio
async def round_trip(count):
    return await ask(count, local=True)


@in_asyncio
async def by_message(count):
    return await ask(count, local=False)


@in_asyncio
async def spawn(count):
    async with await xoscar.create_actor_pool(ADDRESS, n_process=0) as pool:
        return await timed_async(count, lambda: xoscar.create_actor(Echo, address=pool.external_address))


@in_asyncio
async def together(count):
    """One after the other: all of them in a `gather` take as long."""
    async with await xoscar.create_actor_pool(ADDRESS, n_process=0) as pool:

        async def start(size):
            return [await xoscar.create_actor(Echo, address=pool.external_address) for _ in range(size)]

        async def end(started):
            for actor in started:
                await xoscar.destroy_actor(actor)

        return await timed_together_async(count, start, end)


if __name__ == "__main__":
    workloads = {"round_trip": round_trip, "by_message": by_message, "together": together, "spawn": spawn}
    main("xoscar", "xoscar", workloads)
