"""The message in and out, native: each `time_` repeats one function 10,000 times on a request as agents send it.

Divide by 10,000 for the time of one, or run this file: it prints nanoseconds. For scale, msgspec decodes the same text.
"""

import msgspec

from caxton._fast.envelope import Envelope, _bench

ROUNDS = 10_000

REQUEST = msgspec.json.encode(
    {
        "performative": "request",
        "sender": "agent_17",
        "content": {
            "action": "process_data",
            "parameters": {"x": 1, "text": "the quick brown fox jumps over the lazy dog"},
        },
        "conversation_id": "conv_789",
        "reply_with": "msg_001",
        "ontology": "caxton-v1",
        "language": "json",
        "protocol": "fipa-request",
        "receiver": "agent_00004711",
    }
)
FOUR_HUNDRED = REQUEST.replace(b"the quick", b"the " + b"quick and clever " * 6)
ESCAPED = REQUEST.replace(b"agent_", b"\\u0061gent\\u005f").replace(b"dog", "dög".encode())


class Messages:
    params = ("request", "four_hundred", "escaped")
    param_names = ("message",)

    def setup(self, message: str) -> None:
        self.data = {"request": REQUEST, "four_hundred": FOUR_HUNDRED, "escaped": ESCAPED}[message]
        self.envelope = Envelope.from_json(self.data)

    def time_parse(self, message: str) -> None:
        _bench(self.data, ROUNDS, "parse")

    def time_write(self, message: str) -> None:
        _bench(self.data, ROUNDS, "write")

    def time_size(self, message: str) -> None:
        _bench(self.data, ROUNDS, "size")

    def time_write_frame(self, message: str) -> None:
        _bench(self.data, ROUNDS, "frame")

    def time_read_frame(self, message: str) -> None:
        _bench(self.data, ROUNDS, "from_frame")

    def time_stamp(self, message: str) -> None:
        _bench(self.data, ROUNDS, "stamp")

    def time_python_from_json(self, message: str) -> None:
        for _ in range(ROUNDS):
            Envelope.from_json(self.data)

    def time_python_to_json(self, message: str) -> None:
        for _ in range(ROUNDS):
            self.envelope.to_json()

    def time_msgspec_decode(self, message: str) -> None:
        for _ in range(ROUNDS):
            msgspec.json.decode(self.data)


if __name__ == "__main__":
    from functools import partial
    from timeit import repeat

    for name in Messages.params:
        suite = Messages()
        suite.setup(name)
        print(f"{name}, {len(suite.data)} bytes; nanoseconds each, best of 20")
        for function in sorted(dir(suite)):
            if function.startswith("time_"):
                best = min(repeat(partial(getattr(suite, function), name), number=1, repeat=20))
                print(f"    {function.removeprefix('time_'):20} {best / ROUNDS * 1e9:7.1f}")
