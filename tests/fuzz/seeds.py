"""The binary seeds from readable ones: `python -m tests.fuzz.seeds` writes them again, when frame or ABI have changed.

Frames are made of corpus/envelope_json; scripts for the guest of abi_pointers are here, components in component_seeds.
"""

import struct
from pathlib import Path

from caxton.core.wasm_abi import WASI_MODULE
from tests._fast.agreement import by_native
from tests.fuzz import component_seeds
from tests.fuzz.abi_pointers import HEAD, IMPORTS, NUMBERS, SCRIPT
from tests.oracles import envelope as twin

CORPUS = Path(__file__).parent / "corpus"
# the operands of steps that are no calls: a byte, an i32 or an i64
LAYOUTS = {"grow": "b", "fill": "ibi", "copy": "iii", "poke": "iI", "reply": "ii"}

# kinds of guest: the pages that its memory begins with, and what it exports
ALLOCATES, PACKED, CAPABLE, ON_DEMAND = 4, 8, 16, 32
END = 1 << 33  # the end of the memory; END - 1 is the last byte
EDGES = [
    (END, 0),
    (END - 1, 1),
    (END - 1, 2),
    (END, 1),
    (0, END),
    (1, END),
    (1 << 31, 1 << 31),
    (0xFFFFFFFF, 0xFFFFFFFF),
]


def operand(kind: str, value: int) -> bytes:
    """The shortest way to say it."""
    if kind == "b":
        return bytes([value])
    if kind == "I":
        return struct.pack("<b", value) if -128 < value < 128 else b"\x80" + struct.pack("<Q", value)
    if END - 0x40 < value <= END:
        return bytes([END - value])
    if 0 <= value < 0x40:
        return bytes([0x40 + value])
    if SCRIPT <= value < SCRIPT + 0x100:
        return bytes([0x80, value - SCRIPT])
    return b"\xff" + struct.pack("<I", value)


def step(name: str, *operands: int) -> bytes:
    if name in IMPORTS:
        kinds = "".join("i" if kind == "i32" else "I" for kind in IMPORTS[name][1].params)
    else:
        kinds = LAYOUTS.get(name, "i" * len(operands))
    return bytes([NUMBERS[name]]) + b"".join(map(operand, kinds, operands))


def liar(kind: int, *steps: bytes, answers: int = 0, bits: int = 5) -> bytes:
    return HEAD.pack(kind, answers, bits) + b"".join(steps)


def sends(name: str, *texts: bytes, kind: int = 1 | ALLOCATES, extra: tuple[int, ...] = (), answers: int = 0) -> bytes:
    """One call with *texts* for its first operands, which lie at TEXTS, behind the script."""
    place = TEXTS
    operands: list[int] = []
    for text in texts:
        operands += [place, len(text)]
        place += len(text)
    script = step(name, *operands, *extra).ljust(TEXTS - SCRIPT, b"\0")
    return liar(kind, script, *texts, answers=answers)


def reply(pointer: int, length: int) -> bytes:
    return step("reply", pointer, length)


MESSAGE = b'{"performative":"inform","receiver":["client","liar"],"content":{"x":1}}'
BARE = b'{"performative":"inform","content":"\\u0061"}'
LISTS = b'{"capabilities":["lying","none"],"groups":"all","agents":["client"]}'
OUT = 0x8000
TEXTS = SCRIPT + 32  # before it, every function of the guest comes to an `end`, which is 0


def scripts() -> dict[str, bytes]:
    found = {
        "idle": liar(1 | ALLOCATES),
        "no-memory": liar(0, bits=0x12345678),
        "no-memory-capable": liar(0 | CAPABLE, bits=0x0F5A0F5A, answers=2),
        "no-memory-allocates": liar(0 | ALLOCATES | ON_DEMAND, bits=0x7FFFFFFF),
        "send": sends("send_message", MESSAGE),
        "send-topic": sends("send_message", MESSAGE.replace(b'["client","liar"]', b'"topic:orders.new"')),
        "send-damaged": sends("send_message", MESSAGE[:-3]),
        "broadcast": sends("broadcast_message", LISTS, BARE),
        "broadcast-to-all": sends("broadcast_message", b" {} ", MESSAGE),
        "broadcast-wrong": sends("broadcast_message", b'{"groups":["all"', BARE),
        "subscribe": sends("subscribe_messages", b'{"topics":["orders.*"]}'),
        "log": sends("console_log", b"gr\xc3\xbc\xff"),
        "store": sends("store_data", b"key", b"value"),
        "store-and-load": liar(
            2 | ALLOCATES,
            step("store_data", SCRIPT, 8, SCRIPT, 64),
            step("load_data", SCRIPT, 8, OUT, 16),
            step("load_data", SCRIPT, 8, OUT, 256),
            step("delete_data", SCRIPT, 8),
            step("load_data", 0, 1, END - 16, 16),
            step("last_error", OUT, 4),
            step("last_error", OUT, 300),
        ),
        "call": sends("mcp_call", b'{"tool":"x"}', extra=(OUT, 64), answers=2),
        "call-short-buffer": sends("mcp_call", b'{"tool":"x"}', extra=(END - 16, 16), answers=3),
        "call-fails": sends("memory_search", b"{}", extra=(OUT, 64), answers=4, kind=1 | CAPABLE),
        "call-kept": liar(1, *(step("mcp_call", 0, 2, OUT, room) for room in (1, 2, 64, 64)), answers=2),
        "call-twice": liar(1, step("mcp_call", 0, 2, OUT, 8), step("memory_search", 0, 2, OUT, 8), answers=9),
        "call-grows": liar(1 | ON_DEMAND, step("grow", 1), step("mcp_call", 0, 2, END - 16, 16), answers=2),
        "timers": liar(1, *[step("set_timer", delay) for delay in (0, 10**6, 1 << 63)], step("cancel_timer", 5)),
        "sleep": liar(1, step("sleep_micros", 50), step("sched_yield"), step("current_timestamp"), step("random_u32")),
        "replies": liar(1 | ALLOCATES, step("response", 40), step("end"), step("end"), step("response", 65537)),
        "packed-reply": liar(1 | PACKED, reply(TEXTS, len(MESSAGE)).ljust(32, b"\0"), MESSAGE),
        "packed-content": liar(
            1 | PACKED, step("poke", 0x100, int.from_bytes(b'{"a": 1}', "little")), reply(0x100, 8)
        ),
        "packed-edge": liar(2 | PACKED | ALLOCATES, reply(END - 1, 1), step("end"), reply(END, 1)),
        "capabilities": liar(1 | CAPABLE, step("capabilities", 30)),
        "capabilities-lie": liar(3 | CAPABLE | ALLOCATES, step("capabilities", 65537)),
        "alloc-edge": liar(2 | ALLOCATES | CAPABLE, step("alloc", END - 63)),
        "alloc-outside": liar(1 | ALLOCATES, step("alloc", END - 1)),
        "grow-to-the-limit": liar(3 | ON_DEMAND, *[step("grow", 1)] * 2, step("fill", 0x30000, 0x7B, 0x10000)),
        "trap": liar(1, step("end"), step("trap")),
        "refuse": liar(1, step("end"), step("refuse")),
        "exit": liar(1, step("end"), step("proc_exit", 0)),
        "wasi-write": liar(
            1,
            step("poke", OUT, 3 << 32 | SCRIPT),
            step("poke", OUT + 8, 0x2000 << 32 | SCRIPT),
            step("fill", SCRIPT + 2, ord("\n"), 1),
            step("fd_write", 1, OUT, 2, OUT + 64),
            step("fd_write", 2, OUT, 2, OUT + 64),
        ),
        "wasi-poll": liar(
            1,
            step("poke", OUT + 16, 1),
            step("poke", OUT + 24, 50_000),
            step("poll_oneoff", OUT, OUT + 256, 2, OUT + 512),
        ),
        "wasi-gets": liar(
            1,
            *[step(name, OUT, OUT + 64) for name in ("args_sizes_get", "args_get", "environ_sizes_get", "environ_get")],
            *[step("clock_time_get", clock, 0, OUT) for clock in (0, 1, 4)],
            step("clock_res_get", 1, END - 8),
            step("random_get", OUT, 256),
            step("fd_fdstat_get", 1, END - 24),
            step("fd_read", 0, 0, 0, OUT),
        ),
    }  # fmt: skip
    for wanted in ("caxton", WASI_MODULE):
        calls = [
            step(name, *(pair * 2)[: len(signature.params)])
            for name, (module, signature) in IMPORTS.items()
            for pair in EDGES
            if module == wanted and len(signature.params) > 1 and "i64" not in signature.params
        ]
        found[f"edges-{wanted}"] = liar(1, *calls)
    return found


def frames() -> dict[str, bytes]:
    found = {}
    for path in sorted((CORPUS / "envelope_json").iterdir()):
        envelope = by_native(path.read_bytes())
        if envelope is not None and len(envelope.to_frame()) < 2000:
            found[path.stem] = envelope.to_frame()
    good = twin.Message(performative="inform", receiver=("a",), content="1")
    found["turn"] = twin.write_frame(twin.Message(kind="timer", argument=41))
    found["second-delivery"] = twin.write_frame(good, delivery_attempt=2, accepted_us=1)
    found["cut"] = twin.write_frame(good)[:-1]
    found["twice"] = twin.write_frame(twin.Message(performative="cfp", receiver=("a", "a")))
    return found


def segment(*messages: bytes, handled: int = 0) -> bytes:
    """Each frame for two owners, and the first *handled* of them handled by the first."""

    def entry(kind: int, count: int, sequence: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 8)
        return struct.pack("<IBBHQ", 16 + len(body), kind, 0, count, sequence) + body

    parts = [b"CXJ\x01\0\0\0\0"]
    parts += [entry(1, 0, port, struct.pack("<I", 2) + name) for port, name in ((1, b"me"), (2, b"b#"))]
    for number, frame in enumerate(messages, 1):
        place = 1 << 24 | sum(map(len, parts)) >> 3
        parts.append(entry(2, 2, number, struct.pack("<QII", place, 1, 2) + frame))
    parts += [entry(3 + number % 2, 0, number, struct.pack("<II", 1, 0)) for number in range(1, handled + 1)]
    return b"".join(parts)


def segments() -> dict[str, bytes]:
    found = {name: segment(frame) for name, frame in frames().items() if len(frame) < 1000}
    good = twin.write_frame(twin.Message(performative="inform", receiver=("a",), content="1"))
    found["several"] = segment(*[good] * 5, handled=3)
    found["empty"] = segment()
    return found


def made() -> dict[str, dict[str, bytes]]:
    """All that are made, by target."""
    components = {"component_calls": component_seeds.components(), "component_binary": component_seeds.binaries()}
    return {"abi_pointers": scripts(), "frame": frames(), "segment": segments()} | components


def main() -> None:
    for folder, seeds in made().items():
        (CORPUS / folder).mkdir(exist_ok=True)
        for path in (CORPUS / folder).iterdir():
            path.unlink()
        for name, seed in seeds.items():
            (CORPUS / folder / f"{name}.bin").write_bytes(seed)


if __name__ == "__main__":
    main()
