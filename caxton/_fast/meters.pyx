"""See meters.pxd."""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from caxton._fast.platform cimport cx_peek_u32
from caxton._fast.router cimport port_t, Router

globals().update({"MOST_BOUNDS": MOST_BOUNDS, "MOST_SERIES": MOST_SERIES})


cdef class Histogram:
    """See meters.pyi."""

    def __cinit__(self, bounds):
        cdef int i, bits
        cdef list given = [round(bound * 1e9) for bound in bounds]
        if not 0 < len(given) <= MOST_BOUNDS or given != sorted(set(given)) or given[0] <= 0:
            raise ValueError(f"1 to {MOST_BOUNDS} bounds above 0, each larger than the one before, not {bounds!r}")
        self.size = len(given)
        for i in range(self.size):
            self.bounds[i] = given[i]
        self.bounds[self.size] = INT64_MAX
        for bits in range(65):
            i = 0
            # the smallest number with so many bits
            while bits and self.bounds[i] < INT64_MAX and self.bounds[i] < <int64_t>(<uint64_t>1 << min(bits - 1, 62)):
                i += 1
            self.first[bits] = i

    def observe(self, double seconds):
        """Count one value; a negative one counts as 0."""
        self.count(<int64_t>(seconds * 1e9 + 0.5) if seconds < 9e9 else INT64_MAX)

    def counts_and_sum(self):
        """How many fell into each bucket (one more than there are bounds), and the sum of all in seconds."""
        cdef int i
        return [self.counts[i] for i in range(self.size + 1)], self.sum_ns / 1e9


cdef class Meters:
    """See meters.pyi."""

    def __cinit__(self, bounds, uint32_t series):
        if not 0 < series <= MOST_SERIES:
            raise ValueError(f"{series} series; there are 1 to {MOST_SERIES}")
        self.waits, self.turns = Histogram(bounds), Histogram(bounds)
        self.series_room = series
        self.series = <series_t*>calloc(series, sizeof(series_t))
        if self.series == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.seen)
        free(self.series)

    def ended(self):
        """Turns by kind and outcome: {(KIND_*, EXIT_*): how many}, without those that never were."""
        cdef int i
        return {(i // OUTCOMES, i % OUTCOMES): self.ends[i] for i in range(TURN_KINDS * OUTCOMES) if self.ends[i]}

    def accepted_by_act(self):
        """Accepted messages: {(came from outside, code of the act): how many}, without those that never were."""
        cdef int i
        return {(i >= ACTS, i % ACTS): self.accepted[i] for i in range(2 * ACTS) if self.accepted[i]}

    cdef int _make_room(self, uint32_t ports) except -1:
        cdef uint32_t room = max(self.room, <uint32_t>64)
        cdef seen_t* larger
        while room < ports:
            room *= 2
        if room > self.room:
            larger = <seen_t*>realloc(self.seen, room * sizeof(seen_t))
            if larger == NULL:
                raise MemoryError
            memset(larger + self.room, 0, (room - self.room) * sizeof(seen_t))
            self.seen, self.room = larger, room
        return 0

    def assign(self, uint32_t port_id, uint32_t series):
        """Where the port's numbers are added from now on; what it had counted before, and nobody has gathered, too."""
        if series >= self.series_room:
            raise ValueError(f"there is no series {series}, but {self.series_room}")
        self._make_room(port_id + 1)
        self.seen[port_id].series = series

    def clear(self, uint32_t series):
        """Its numbers begin anew."""
        if series < self.series_room:
            memset(&self.series[series], 0, sizeof(series_t))

    def gather(self, Router router not None, ports):
        """Add up what these ports have counted; ([(handled, failed, ns in turns, waiting, backlog) of each series], the longest mailbox).

        An id that is no open port is passed over.
        """
        cdef port_t* port
        cdef seen_t* seen
        cdef series_t* sums
        cdef uint32_t i, port_id, waiting, longest = 0
        for i in range(self.series_room):
            self.series[i].waiting = self.series[i].backlog = 0
        self._make_room(router._opened)
        for each in ports:
            port_id = each
            port = router.find(port_id)
            if port == NULL:
                continue
            seen = &self.seen[port_id]
            sums = &self.series[seen.series]
            sums.handled += port.handled - seen.handled
            sums.failed += port.failed - seen.failed
            sums.turns_ns += port.turns_ns - seen.turns_ns
            seen.handled, seen.failed, seen.turns_ns = port.handled, port.failed, port.turns_ns
            waiting = cx_peek_u32(&port.mailbox.count)
            sums.waiting += waiting
            sums.backlog += cx_peek_u32(&port.backlog)
            longest = max(longest, waiting)
        return [
            (self.series[i].handled, self.series[i].failed, self.series[i].turns_ns, self.series[i].waiting, self.series[i].backlog)
            for i in range(self.series_room)
        ], longest
