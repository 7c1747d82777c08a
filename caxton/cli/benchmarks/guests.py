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
  (data (i32.const 4096) "{escaped(data)}")
  (func (export "handle_message") (param i32 i32) (result i32)
    (call $send (i32.const 4096) (i32.const {len(data)}))))
"""


# Answers every message with one of its own for the partner. Agents share one module: the partner's name and that of the
# conversation are what init reads from the environment variables PARTNER and SESSION (8 bytes each, in this order), so
# 10,000 agents need no 10,000 modules.
PAIRED = """
(module
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 4096) "%s")
  (func (export "init") (result i32)
    (drop (call $environ (i32.const 0) (i32.const 64)))
    ;; "PARTNER=" is 8 bytes, and so is "SESSION=": the 8 bytes behind each go to their place in the message
    (i64.store (i32.const %d) (i64.load (i32.const 72)))
    (i64.store (i32.const %d) (i64.load (i32.const 89)))
    (i32.const 0))
  (func (export "handle_message") (param i32 i32) (result i32)
    (call $send (i32.const 4096) (i32.const %d))))
"""

PLACE = "########"
SESSION_PLACE = "@@@@@@@@"


def paired(message: str) -> str:
    """The module for agents that talk in pairs; PLACE and SESSION_PLACE in *message* are where these names go."""
    data = message.encode()
    places = (4096 + data.index(place.encode()) for place in (PLACE, SESSION_PLACE))
    return PAIRED % (escaped(data), *places, len(data))


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
        "head": escaped(head),
        "fill_at": head_at + len(head),
        "filler": filler,
        "tail_at": head_at + len(head) + filler,
        "tail": escaped(tail),
        "length": length,
    }


# The manager of a contract net: calls every bidder, accepts the first when all have proposed, rejects the others, and
# begins again when it is informed of the result. Its three messages are filled in at fixed places: the receiver's name,
# which is the reply_with of its call too, and the conversation, a number of 8 digits. The act is told by its first
# letter, at byte 17 of every message: {"performative":"
MANAGER = """
(module
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 2048) "00000000")
  (data (i32.const 4096) "%(cfp)s")
  (data (i32.const 5120) "%(accept)s")
  (data (i32.const 6144) "%(reject)s")
  (data (i32.const 8192) "%(names)s")
  (global $proposals (mut i32) (i32.const 0))
  (func $next_conversation (local $at i32)
    (local.set $at (i32.const 2055))
    (block $done
      (loop $carry
        (br_if $done (i32.lt_u (local.get $at) (i32.const 2048)))
        (i32.store8 (local.get $at) (i32.add (i32.load8_u (local.get $at)) (i32.const 1)))
        (br_if $done (i32.le_u (i32.load8_u (local.get $at)) (i32.const 57)))
        (i32.store8 (local.get $at) (i32.const 48))
        (local.set $at (i32.sub (local.get $at) (i32.const 1)))
        (br $carry)))
    (i64.store (i32.const %(cfp_conversation)d) (i64.load (i32.const 2048)))
    (i64.store (i32.const %(accept_conversation)d) (i64.load (i32.const 2048)))
    (i64.store (i32.const %(reject_conversation)d) (i64.load (i32.const 2048))))
  (func $call (result i32) (local $at i32) (local $failed i32)
    (call $next_conversation)
    (local.set $at (i32.const 8192))
    (loop $each
      (i64.store (i32.const %(cfp_receiver)d) (i64.load (local.get $at)))
      (i64.store (i32.const %(cfp_reply_with)d) (i64.load (local.get $at)))
      (local.set $failed (i32.or (local.get $failed) (call $send (i32.const 4096) (i32.const %(cfp_length)d))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $each (i32.lt_u (local.get $at) (i32.const %(end)d))))
    (local.get $failed))
  (func $award (result i32) (local $at i32) (local $failed i32)
    (i64.store (i32.const %(accept_receiver)d) (i64.load (i32.const 8192)))
    (local.set $failed (call $send (i32.const 5120) (i32.const %(accept_length)d)))
    (local.set $at (i32.const 8200))
    (loop $each
      (i64.store (i32.const %(reject_receiver)d) (i64.load (local.get $at)))
      (local.set $failed (i32.or (local.get $failed) (call $send (i32.const 6144) (i32.const %(reject_length)d))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $each (i32.lt_u (local.get $at) (i32.const %(end)d))))
    (local.get $failed))
  (func (export "handle_message") (param $at i32) (param $length i32) (result i32)
    (if (i32.ne (i32.load8_u offset=17 (local.get $at)) (i32.const %(propose)d)) (then (return (call $call))))
    (global.set $proposals (i32.add (global.get $proposals) (i32.const 1)))
    (if (i32.lt_u (global.get $proposals) (i32.const %(bidders)d)) (then (return (i32.const 0))))
    (global.set $proposals (i32.const 0))
    (call $award)))
"""

# Proposes to every call, and informs when it is accepted. The conversation, and what it has to answer with, stand at
# fixed places of what it gets.
BIDDER = """
(module
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 4096) "%(propose)s")
  (data (i32.const 5120) "%(inform)s")
  (func (export "handle_message") (param $at i32) (param $length i32) (result i32) (local $act i32)
    (local.set $act (i32.load8_u offset=17 (local.get $at)))
    (if (i32.eq (local.get $act) (i32.const %(cfp_letter)d)) (then
      (i64.store (i32.const %(propose_conversation)d) (i64.load offset=%(called_conversation)d (local.get $at)))
      (i64.store (i32.const %(propose_in_reply_to)d) (i64.load offset=%(called_reply_with)d (local.get $at)))
      (return (call $send (i32.const 4096) (i32.const %(propose_length)d)))))
    (if (i32.eq (local.get $act) (i32.const %(accept_letter)d)) (then
      (i64.store (i32.const %(inform_conversation)d) (i64.load offset=%(awarded_conversation)d (local.get $at)))
      (return (call $send (i32.const 5120) (i32.const %(inform_length)d)))))
    (i32.const 0)))
"""


def escaped(data: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in data)
