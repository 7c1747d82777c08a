"""Thespian: `simpleSystemBase`, the base without processes or sockets, by far its fastest.

Its messages are plain calls in one thread; the bases with concurrency send over queues or TCP between processes.
"""

import time

from thespian.actors import Actor, ActorSystem

from bench.peers.adapter import PAYLOAD, main, timed, timed_together


class Echo(Actor):
    def receiveMessage(self, message, sender):
        if isinstance(message, bytes):
            self.send(sender, message)


class Asker(Actor):
    """Told how often, asks so often; answers with the times."""

    def receiveMessage(self, message, sender):
        now = time.perf_counter_ns()
        if isinstance(message, int):
            self.left, self.client, self.times = message, sender, []
            self.echo = self.createActor(Echo)
        elif isinstance(message, bytes):
            self.times.append(now - self.began)
            self.left -= 1
        else:
            return
        if self.left:
            self.began = time.perf_counter_ns()
            self.send(self.echo, PAYLOAD)
        else:
            self.send(self.client, self.times)


def round_trip(count):
    system = ActorSystem("simpleSystemBase")
    try:
        return system.ask(system.createActor(Asker), count)
    finally:
        system.shutdown()


def spawn(count):
    system = ActorSystem("simpleSystemBase")
    try:
        return timed(count, lambda: system.createActor(Echo))
    finally:
        system.shutdown()


def together(count):
    system = ActorSystem("simpleSystemBase")

    def start(size):
        return [system.createActor(Echo) for _ in range(size)]

    try:
        return timed_together(count, start)
    finally:
        system.shutdown()


if __name__ == "__main__":
    main("Thespian", "thespian", {"round_trip": round_trip, "spawn": spawn, "together": together})
