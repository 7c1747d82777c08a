"""Pykka: threading actors. A asks B from its own thread (`ActorRef.ask`, the lower-level of its two APIs)."""

import pykka

from bench.peers.adapter import PAYLOAD, main, timed, timed_together


class Echo(pykka.ThreadingActor):
    def on_receive(self, message):
        return message


class Asker(pykka.ThreadingActor):
    def __init__(self, other):
        super().__init__()
        self.other = other

    def on_receive(self, count):
        return timed(count, lambda: self.other.ask(PAYLOAD))


def round_trip(count):
    asker = Asker.start(Echo.start())
    times = asker.ask(count)
    pykka.ActorRegistry.stop_all()
    return times


def spawn(count):
    times = timed(count, Echo.start)
    pykka.ActorRegistry.stop_all()
    return times


def together(count):
    def start(size):
        return [Echo.start() for _ in range(size)]

    return timed_together(count, start, lambda started: pykka.ActorRegistry.stop_all())


if __name__ == "__main__":
    main("Pykka", "pykka", {"round_trip": round_trip, "spawn": spawn, "together": together})
