"""Several messages in one binary WebSocket frame.

    frame  = record*
    record = length body        length: 4 bytes, unsigned, little-endian; body: that many bytes of JSON text

A frame may be empty. The frame's own boundary is the only other framing, so a record that is cut is an error of the
whole frame: where one length is wrong, no later one can be trusted.
"""

from collections.abc import Iterable
from struct import Struct

LENGTH = Struct("<I")


class BrokenBatch(ValueError):
    """The lengths in a frame do not add up."""


def join_batch(bodies: Iterable[bytes]) -> bytes:
    parts: list[bytes] = []
    for body in bodies:
        parts += (LENGTH.pack(len(body)), body)
    return b"".join(parts)


def split_batch(frame: bytes) -> list[bytes]:
    bodies: list[bytes] = []
    position, end = 0, len(frame)
    while position < end:
        if end - position < LENGTH.size:
            raise BrokenBatch(f"the frame ends inside a length, at byte {position} of {end}")
        (length,) = LENGTH.unpack_from(frame, position)
        position += LENGTH.size
        if length > end - position:
            raise BrokenBatch(f"a record at byte {position} says {length} bytes, {end - position} are left")
        bodies.append(frame[position : position + length])
        position += length
    return bodies
