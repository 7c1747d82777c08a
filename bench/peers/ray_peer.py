"""Ray: an actor that gets from another; each is a process of its own.

Optional, for its size: `make peers PEERS_ARGS=--with-ray`.
"""

import ray

from bench.peers.adapter import PAYLOAD, main, timed, timed_together

SOME = 8  # started together: each is a process


@ray.remote(num_cpus=0)
class Echo:
    def answer(self, payload):
        return payload


@ray.remote(num_cpus=0)
class Asker:
    def ask(self, other, count):
        return timed(count, lambda: ray.get(other.answer.remote(PAYLOAD)))


def round_trip(count):
    ray.init(include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    try:
        return ray.get(Asker.remote().ask.remote(Echo.remote(), count))
    finally:
        ray.shutdown()


def spawn(count):
    ray.init(include_dashboard=False, logging_level="ERROR", log_to_driver=False)

    def ready():
        actor = Echo.remote()
        ray.get(actor.answer.remote(PAYLOAD))
        return actor

    try:
        return timed(count, ready)
    finally:
        ray.shutdown()


def together(count):
    ray.init(include_dashboard=False, logging_level="ERROR", log_to_driver=False)

    def start(size):
        actors = [Echo.remote() for _ in range(size)]
        ray.get([actor.answer.remote(PAYLOAD) for actor in actors])
        return actors

    try:
        return timed_together(count, start, lambda actors: [ray.kill(actor) for actor in actors], SOME)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main("Ray", "ray", {"round_trip": round_trip, "spawn": spawn, "together": together})
