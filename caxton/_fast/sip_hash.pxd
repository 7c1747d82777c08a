"""SipHash-1-3 (Aumasson and Bernstein): a hash that nobody can choose collisions for who does not know its secret.

Words are read in the machine's byte order: the value never leaves the process. Everything is inline: there is no module behind this file.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy


cdef inline uint64_t rotate(uint64_t word, int bits) noexcept nogil:
    return word << bits | word >> (64 - bits)


cdef inline void sip_round(uint64_t* v) noexcept nogil:
    v[0] += v[1]
    v[1] = rotate(v[1], 13) ^ v[0]
    v[0] = rotate(v[0], 32)
    v[2] += v[3]
    v[3] = rotate(v[3], 16) ^ v[2]
    v[0] += v[3]
    v[3] = rotate(v[3], 21) ^ v[0]
    v[2] += v[1]
    v[1] = rotate(v[1], 17) ^ v[2]
    v[2] = rotate(v[2], 32)


cdef inline uint32_t sip_hash(const char* key, uint32_t length, uint64_t secret_0, uint64_t secret_1) noexcept nogil:
    """The hash, folded to 32 bits."""
    cdef uint64_t v[4]
    cdef uint64_t word
    cdef uint32_t left = length
    v[0] = secret_0 ^ 0x736F6D6570736575ULL
    v[1] = secret_1 ^ 0x646F72616E646F6DULL
    v[2] = secret_0 ^ 0x6C7967656E657261ULL
    v[3] = secret_1 ^ 0x7465646279746573ULL
    while left >= 8:
        memcpy(&word, key, 8)
        v[3] ^= word
        sip_round(v)
        v[0] ^= word
        key += 8
        left -= 8
    word = 0
    memcpy(&word, key, left)
    word ^= <uint64_t>length << 56
    v[3] ^= word
    sip_round(v)
    v[0] ^= word
    v[2] ^= 0xFF
    sip_round(v)
    sip_round(v)
    sip_round(v)
    word = v[0] ^ v[1] ^ v[2] ^ v[3]
    return <uint32_t>(word ^ word >> 32)
