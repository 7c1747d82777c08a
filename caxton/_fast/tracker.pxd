"""The face of the conversation tracker (conversation.pxd) for Python. It decides nothing: it fills the tables, writes rows, and reads what was told."""

from libc.stdint cimport uint32_t, uint64_t

from caxton._fast.conversation cimport conversation_event_t, conversation_t, session_t, tracker_t

cdef class Tracker:
    cdef tracker_t tracker
    cdef bint made              # tracker_init has succeeded
    cdef readonly uint64_t untold   # wrong messages that read_events() left out
    cdef list names             # texts that the tables point to
    cdef list states            # names of each protocol's states
    cdef dict numbers           # (protocol, state) -> their numbers
    cdef bytes _row(self, uint32_t hash, bytes id, uint64_t number)
    cdef _load(self, protocol)
    cdef _load_shapes(self)
    cdef _name(self, bytes token, uint32_t protocol)
    cdef _told(self, conversation_event_t* event)
    cdef _keep(self, conversation_t* conversation, kept)
    cdef _fill(self, session_t* session, item, int main)
