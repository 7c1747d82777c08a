# distutils: extra_compile_args = -ffp-contract=fast
"""Dot, cosine and top-k over blocks of float32. Knows neither what the vectors mean nor where they are kept.

Rule 1: whatever exports a buffer of C-contiguous native float32 will do: array('f'), a memoryview cast to 'f', a NumPy array.
Rule 2: a score that is not a number is no score: top_k leaves such rows out. Infinite ones are ranked like any other.
Rule 3: of two rows with the same score the lower one goes first.
Rule 4: what takes long lets go of the interpreter; what is short does not, for getting it back costs more.
"""

import sys

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_IsContiguous, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer,
)
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int8_t, int32_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

cdef extern from "stdlib.h":
    int posix_memalign(void** memory, size_t alignment, size_t size) noexcept nogil

cdef enum:
    LONG = 1 << 18          # products, some ten microseconds; and more than the second cache holds
    AHEAD = 8               # rows to ask the memory for: 2 to 3 times as fast as what the processor does by itself
    ON_STACK = 8192         # bytes that need no allocation

choose(2)
cdef char NATIVE = b"<" if sys.byteorder == "little" else b">"


# -- what comes in --

cdef inline bint _is_float(const char* format) noexcept:
    if format[0] == b"@" or format[0] == b"=" or format[0] == NATIVE:
        format += 1
    return format[0] == b"f" and format[1] == 0


cdef int _open(object source, Py_buffer* view, str name, int most, bint written=False) except -1:
    """Take a buffer of float32 in at most this many dimensions; the caller releases it."""
    if not PyObject_CheckBuffer(source):
        raise TypeError(f"{name} must be a buffer of float32, found {type(source).__name__}; array.array('f', values) is one")
    try:
        PyObject_GetBuffer(source, view, PyBUF_FORMAT | PyBUF_STRIDES | (PyBUF_WRITABLE if written else 0))
    except BufferError as error:
        raise ValueError(f"{name} must be a {'writable ' if written else ''}buffer of float32: {error}") from None
    try:
        if view.format == NULL or view.itemsize != 4 or not _is_float(view.format):
            found = "B" if view.format == NULL else (<bytes>view.format).decode("ascii", "replace")
            raise ValueError(
                f"{name} must be float32 (format 'f'), found format {found!r}; convert the values, "
                f"or memoryview(data).cast('f') where the bytes are float32"
            )
        if not 1 <= view.ndim <= most:
            raise ValueError(f"{name} must have {'one dimension' if most == 1 else 'one or two dimensions'}, found {view.ndim}")
        if not PyBuffer_IsContiguous(view, b"C"):
            shape, strides = [view.shape[i] for i in range(view.ndim)], [view.strides[i] for i in range(view.ndim)]
            raise ValueError(
                f"{name} must be contiguous row by row, found shape {shape} with strides of {strides} bytes; a copy would be"
            )
    except:
        PyBuffer_Release(view)
        raise
    return 0


cdef Py_ssize_t _rows(const Py_buffer* rows, Py_ssize_t dimensions, str whose) except -1:
    """How many rows of so many dimensions there are."""
    cdef Py_ssize_t values = rows.len // 4
    if rows.ndim == 2:
        if rows.shape[1] != dimensions:
            raise ValueError(f"{whose} has {dimensions} dimensions, rows have {rows.shape[1]}")
        return rows.shape[0]
    if values == 0:
        return 0
    if dimensions == 0 or values % dimensions:
        raise ValueError(f"{whose} has {dimensions} dimensions, {values} values are no whole rows of them")
    return values // dimensions


cdef void* _zeros(size_t size) except NULL:
    """Zeros from a whole cache line on; the caller frees them."""
    cdef void* memory
    if posix_memalign(&memory, 64, max(size, <size_t>64)):
        raise MemoryError(f"no memory for {size} bytes of vectors")
    memset(memory, 0, size)
    return memory


cdef char* _scratch(size_t size, char* some, void** memory) except NULL:
    """So many bytes from a whole cache line on: of *some*, or else of *memory*, which the caller frees."""
    if size <= ON_STACK - 64:
        return <char*>((<size_t>some + 63) & ~<size_t>63)
    memory[0] = _zeros(size)
    return <char*>memory[0]


# -- the best --

cdef inline bint _worse(hit_t a, hit_t b) noexcept nogil:
    return a.score < b.score or (a.score == b.score and a.index > b.index)


cdef inline void _sink(hit_t* hits, Py_ssize_t at, Py_ssize_t count) noexcept nogil:
    cdef hit_t moved = hits[at]
    cdef Py_ssize_t child
    while (child := 2 * at + 1) < count:
        if child + 1 < count and _worse(hits[child + 1], hits[child]):
            child += 1
        if not _worse(hits[child], moved):
            break
        hits[at] = hits[child]
        at = child
    hits[at] = moved


cdef void offer(best_t* best, float score, Py_ssize_t index) noexcept nogil:
    cdef hit_t hit = hit_t(score, index)
    cdef Py_ssize_t at, parent
    if best.count == best.bound:
        if best.bound and _worse(best.hits[0], hit):
            best.hits[0] = hit
            _sink(best.hits, 0, best.count)
        return
    if score != score:
        return
    at = best.count
    best.count += 1
    while at:
        parent = (at - 1) // 2
        if not _worse(hit, best.hits[parent]):
            break
        best.hits[at] = best.hits[parent]
        at = parent
    best.hits[at] = hit


cdef void sort(best_t* best) noexcept nogil:
    cdef Py_ssize_t last = best.count - 1
    cdef hit_t worst
    while last > 0:
        worst = best.hits[0]
        best.hits[0] = best.hits[last]
        best.hits[last] = worst
        _sink(best.hits, 0, last)
        last -= 1


cdef void _score(four_t* four, const float* query, Py_ssize_t dimensions, best_t* best) noexcept nogil:
    """Score up to four rows; the last one stands in for those that are missing."""
    cdef float[4] scores
    cdef int r
    for r in range(four.count, 4):
        four.rows[r] = four.rows[four.count - 1]
    score_four(four.rows, query, dimensions, scores)
    for r in range(four.count):
        # false for what is not a number
        if best.count < best.bound or scores[r] > best.hits[0].score:
            offer(best, scores[r], four.indices[r])
    four.count = 0


cdef inline void _take(four_t* four, const float* row, Py_ssize_t index, const float* query, Py_ssize_t dimensions, best_t* best) noexcept nogil:
    four.rows[four.count] = row
    four.indices[four.count] = index
    four.count += 1
    if four.count == 4:
        _score(four, query, dimensions, best)


cdef void scan(const float* rows, Py_ssize_t count, Py_ssize_t stride, const float* query, best_t* best) noexcept nogil:
    cdef four_t four
    cdef Py_ssize_t i
    cdef bint far = count * stride >= LONG
    four.count = 0
    for i in range(count):
        if far and i + AHEAD < count:
            prefetch(rows + (i + AHEAD) * stride, stride)
        _take(&four, rows + i * stride, i, query, stride, best)
    if four.count:
        _score(&four, query, stride, best)
    sort(best)


# -- codes --

cdef class Block:
    """Rows for many searches: a copy of them, and 8-bit codes of a quarter of their size beside it.

    A search reads the codes of all rows and finds out what each score is at least and at most; only the rows that can be among
    the best are scored, as `top_k` scores them. So the answer is the same, from a fourth of the memory traffic.
    A block does not change; searches may run in several threads.
    """

    def __cinit__(self, rows, Py_ssize_t dimensions):
        cdef Py_buffer buffer
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            raise ValueError(f"a block has 1 to {MOST_DIMENSIONS} dimensions, found {dimensions}")
        _open(rows, &buffer, "rows", 2)
        try:
            self.count = _rows(&buffer, dimensions, "the block")
            self.dimensions = dimensions
            self.stride = (dimensions + LANES - 1) & ~<Py_ssize_t>(LANES - 1)
            self.groups = (self.count + LANES - 1) // LANES
            self.rows = <float*>_zeros(self.count * self.stride * sizeof(float))
            self.codes = <int8_t*>_zeros(self.groups * LANES * self.stride)
            self.scales = <float*>_zeros(self.groups * LANES * sizeof(float))
            self.errors = <float*>_zeros(self.groups * LANES * sizeof(float))
            self.lengths = <float*>_zeros(self.groups * LANES * sizeof(float))
            with nogil:
                self.prepare(<const float*>buffer.buf)
        finally:
            PyBuffer_Release(&buffer)

    def __dealloc__(self):
        free(self.rows)
        free(self.codes)
        free(self.scales)
        free(self.errors)
        free(self.lengths)

    def __len__(self):
        return self.count

    cdef void prepare(self, const float* rows) noexcept nogil:
        cdef Py_ssize_t i
        cdef coded_t coded
        for i in range(self.groups * LANES):
            coded = coded_t(0, INFINITY, 0, 0)
            if i < self.count:
                memcpy(self.rows + i * self.stride, rows + i * self.dimensions, self.dimensions * sizeof(float))
                coded = encode(
                    self.rows + i * self.stride, self.stride,
                    self.codes + (i // LANES) * LANES * self.stride + (i % LANES) * 4, LANES * 4,
                )
            self.scales[i], self.errors[i], self.lengths[i] = coded.scale, coded.error, coded.length

    def top_k(self, query, Py_ssize_t k):
        """The *k* rows with the highest dot product with *query*, best first: (row, score)."""
        if k < 0:
            raise ValueError(f"k must be 0 or more, found {k}")
        cdef Py_buffer wanted
        cdef best_t best, floor
        cdef char[ON_STACK] some
        cdef char* scratch
        cdef void* memory = NULL
        cdef Py_ssize_t bound = min(k, self.count), padded = self.stride * sizeof(float)
        _open(query, &wanted, "query", 1)
        try:
            if wanted.shape[0] != self.dimensions:
                raise ValueError(f"query has {wanted.shape[0]} dimensions, rows have {self.dimensions}")
            if bound == 0:
                return []
            # the query from a whole cache line on, its codes, and two heaps
            scratch = _scratch(padded + self.stride + 2 * bound * sizeof(hit_t), some, &memory)
            memset(scratch + self.dimensions * sizeof(float), 0, (self.stride - self.dimensions) * sizeof(float))
            memcpy(scratch, wanted.buf, self.dimensions * sizeof(float))
        finally:
            PyBuffer_Release(&wanted)
        try:
            best.hits, best.count, best.bound = <hit_t*>(scratch + padded + self.stride), 0, bound
            floor.hits, floor.count, floor.bound = best.hits + bound, 0, bound
            if self.count * self.stride < LONG:
                self.search(<float*>scratch, <int8_t*>(scratch + padded), &floor, &best)
            else:
                with nogil:
                    self.search(<float*>scratch, <int8_t*>(scratch + padded), &floor, &best)
            return _listed(&best)
        finally:
            free(memory)

    cdef void search(self, const float* query, int8_t* codes, best_t* floor, best_t* best) noexcept nogil:
        cdef float[TILE] most
        cdef float[GROUPS] tops
        cdef float[4] least
        cdef int32_t[LANES] sums
        cdef four_t four
        cdef Py_ssize_t first, last, i, l
        cdef float bar
        cdef coded_t coded = coded_t(0, 0, 0, 0)
        # where so many are wanted, bounds would rule out too few
        if 8 * best.bound <= self.count:
            coded = encode(query, self.stride, codes, 4)
        if coded.scale == 0:
            scan(self.rows, self.count, self.stride, query, best)
            return
        four.count = 0
        last = 0
        while last < self.count:
            first = last
            last = min(self.count, first + TILE)
            i = first
            while i < last:
                sum_codes(self.codes + i * self.stride, codes, self.stride // 4, coded.total, sums)
                tops[(i - first) // LANES] = bounds(sums, self.scales + i, self.errors + i, self.lengths + i, &coded, most + (i - first), least)
                for l in range(4):
                    if floor.count < floor.bound or least[l] > floor.hits[0].score:
                        offer(floor, least[l], i)
                i += LANES
            # bound rows have at least this score
            bar = floor.hits[0].score if floor.count == floor.bound else -INFINITY
            if best.count == best.bound:
                bar = max(bar, best.hits[0].score)
            i = first
            while i < last:
                if not tops[(i - first) // LANES] < bar:
                    for l in range(i, min(i + LANES, last)):
                        if not most[l - first] < bar:
                            _take(&four, self.rows + l * self.stride, l, query, self.stride, best)
                i += LANES
            if four.count:
                _score(&four, query, self.stride, best)
        sort(best)


# -- Python --

def _use(int most):
    """For tests: the plain loops (0), at most AVX2 (1), or all that the processor has; says which it is."""
    return choose(most)


cdef list _listed(const best_t* best):
    return [(best.hits[i].index, best.hits[i].score) for i in range(best.count)]


def top_k(rows, query, Py_ssize_t k):
    """The *k* rows with the highest dot product with *query*, best first: (row, score).

    *rows* has two dimensions, or one with the rows one after the other. Where they are normalised, scores are cosines.
    """
    if k < 0:
        raise ValueError(f"k must be 0 or more, found {k}")
    cdef Py_buffer block, wanted
    cdef char[ON_STACK] some
    cdef void* memory = NULL
    cdef best_t best
    cdef Py_ssize_t count, dimensions
    _open(query, &wanted, "query", 1)
    try:
        _open(rows, &block, "rows", 2)
        try:
            count, dimensions = _rows(&block, wanted.shape[0], "query"), wanted.shape[0]
            best.count, best.bound = 0, min(k, count)
            if best.bound == 0:
                return []
            best.hits = <hit_t*>_scratch(best.bound * sizeof(hit_t), some, &memory)
            if count * dimensions < LONG:
                scan(<float*>block.buf, count, dimensions, <float*>wanted.buf, &best)
            else:
                with nogil:
                    scan(<float*>block.buf, count, dimensions, <float*>wanted.buf, &best)
            return _listed(&best)
        finally:
            free(memory)
            PyBuffer_Release(&block)
    finally:
        PyBuffer_Release(&wanted)


cdef int _pair(object a, object b, double* products) except -1:
    cdef Py_buffer left, right
    _open(a, &left, "a", 1)
    try:
        _open(b, &right, "b", 1)
        try:
            if left.shape[0] != right.shape[0]:
                raise ValueError(f"a has {left.shape[0]} dimensions, b has {right.shape[0]}")
            pair(<float*>left.buf, <float*>right.buf, left.shape[0], products)
        finally:
            PyBuffer_Release(&right)
    finally:
        PyBuffer_Release(&left)
    return 0


def dot(a, b):
    """The dot product of two vectors, summed in double."""
    cdef double[3] products
    _pair(a, b, products)
    return products[0]


def cosine(a, b):
    """The cosine of the angle between two vectors, -1 to 1; 0 where one of them is all zeros: it is like nothing."""
    cdef double[3] products
    _pair(a, b, products)
    if products[1] == 0 or products[2] == 0:
        return 0.0 if products[0] == 0 else float("nan")
    cdef double value = products[0] / sqrt(products[1]) / sqrt(products[2])
    return 1.0 if value > 1 else -1.0 if value < -1 else value


def normalise(rows):
    """Give each row (or the one vector) the length 1, in place; what is all zeros stays so, what is infinite becomes NaN."""
    cdef Py_buffer block
    cdef double[3] products
    cdef double length
    cdef Py_ssize_t i, dimensions
    cdef float* row
    _open(rows, &block, "rows", 2, written=True)
    try:
        dimensions = block.shape[block.ndim - 1]
        with nogil:
            for i in range(1 if block.ndim == 1 else block.shape[0]):
                row = <float*>block.buf + i * dimensions
                pair(row, row, dimensions, products)
                length = sqrt(products[0])
                if length != 0:
                    divide(row, dimensions, length)
    finally:
        PyBuffer_Release(&block)
