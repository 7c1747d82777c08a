"""What a scheduler thread does now, and for whom: two words that it writes and the profiler reads (profile.pxd).

Rule 1: only the thread itself writes them, and never waits to: a store that orders nothing, whether a profile runs or not.
Rule 2: who changes the activity inside a guest's call sets it back to DO_GUEST before the guest goes on.

The two words are not read as one: a sample may see the activity of one port and the number of the next, once in many thousands.
"""

from libc.stdint cimport int32_t

from caxton._fast.platform cimport cx_poke_i32

cdef enum:
    DO_IDLE = 0             # parked: nothing to do
    DO_SCHEDULE = 1         # queues, mailboxes, choosing what is next
    DO_GUEST = 2            # WebAssembly
    DO_ENVELOPE = 3         # reads and writes the JSON of messages
    DO_ROUTER = 4           # finds receivers, puts into mailboxes
    DO_JOURNAL = 5          # appends records, waits for room for them
    DO_HOST = 6             # other host functions and what they leave: state, timers, logs, WASI
    DO_INSTANCE = 7         # makes and frees instances
    DO_COUNT = 8

ctypedef struct activity_t:
    int32_t what            # DO_*
    int32_t port            # 0: for none

cdef inline void set_activity(activity_t* activity, int what) noexcept nogil:
    cx_poke_i32(&activity.what, what)
