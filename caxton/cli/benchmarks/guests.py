"""Guests of the benchmarks, in text form: small enough to be read, and nothing but what is measured."""

# takes a message and does nothing
SINK = """
(module
  (memory (export "memory") 1)
  (func (export "handle_message") (param i32 i32) (result i32) (i32.const 0)))
"""

# traps on every message
TRAP = """
(module
  (memory (export "memory") 1)
  (func (export "handle_message") (param i32 i32) (result i32) unreachable))
"""


def relay(text: str) -> str:
    """Answers every message by sending *text*."""
    data = text.encode()
    return f"""
(module
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 4096) "{_escaped(data)}")
  (func (export "handle_message") (param i32 i32) (result i32)
    (call $send (i32.const 4096) (i32.const {len(data)}))))
"""


# Answers every message with one of its own for the partner. Agents share one module: the partner's name is what init
# reads from the environment variable PARTNER (8 bytes), so 10,000 agents need no 10,000 modules.
PAIRED = """
(module
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 4096) "%s")
  (func (export "init") (result i32)
    (drop (call $environ (i32.const 0) (i32.const 64)))
    ;; "PARTNER=" is 8 bytes; the 8 bytes of the name go to their place in the message
    (i64.store (i32.const %d) (i64.load (i32.const 72)))
    (i32.const 0))
  (func (export "handle_message") (param i32 i32) (result i32)
    (call $send (i32.const 4096) (i32.const %d))))
"""

PLACE = "########"


def paired(message: str) -> str:
    """The module for agents that talk in pairs; PLACE in *message* is where the partner's name of 8 bytes goes."""
    data = message.encode()
    return PAIRED % (_escaped(data), 4096 + data.index(PLACE.encode()), len(data))


# Answers every message with a long one, which its init puts together: a module with a megabyte of text compiles slowly.
FILLED = """
(module
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (memory (export "memory") %(pages)d)
  (data (i32.const %(head_at)d) "%(head)s")
  (data (i32.const %(tail_at)d) "%(tail)s")
  (func (export "init") (result i32)
    (memory.fill (i32.const %(fill_at)d) (i32.const 120) (i32.const %(filler)d))
    (i32.const 0))
  (func (export "handle_message") (param i32 i32) (result i32)
    (call $send (i32.const %(head_at)d) (i32.const %(length)d))))
"""


def filled(head: bytes, filler: int, tail: bytes) -> str:
    """Sends *head*, so many letters x, *tail*."""
    head_at = 1024
    length = len(head) + filler + len(tail)
    return FILLED % {
        "pages": (head_at + length) // 65_536 + 1,
        "head_at": head_at,
        "head": _escaped(head),
        "fill_at": head_at + len(head),
        "filler": filler,
        "tail_at": head_at + len(head) + filler,
        "tail": _escaped(tail),
        "length": length,
    }


def _escaped(data: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in data)
