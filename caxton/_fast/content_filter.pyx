"""The matcher of content filters.

Rule 1: a match is one walk over the content that notes where the asked-for values lie, and then the tests. Nothing is allocated, nothing recurses.
Rule 2: a member that comes twice counts as its last one, as in Python's `json`; that is why the walk does not end early.
Rule 3: content was validated before. Content that was not gives some answer, never a read outside it.
"""

from libc.stdint cimport uint32_t
from libc.stdlib cimport free
from libc.string cimport memcmp

from caxton._fast.filter_program cimport (
    KIND_CONTAINER,
    KIND_FALSE,
    KIND_NULL,
    KIND_NUMBER,
    KIND_STRING,
    KIND_TRUE,
    MAX_NAMES,
    MAX_PATHS,
    NO_MEMORY,
    OP_EQ,
    OP_EXISTS,
    OP_GT,
    OP_GTE,
    OP_IN,
    OP_LT,
    OP_NE,
    OP_PREFIX,
    node_t,
    operand_t,
    program_compile,
    program_t,
    test_t,
)
from caxton._fast.json_scalar cimport (
    compare_escaped,
    compare_integers,
    compare_string,
    is_integer,
    read_double,
    skip_space,
    skip_string,
    skip_value,
    text_t,
)

from caxton.core.errors import InvalidRequest

cdef enum:
    UNRELATED = 2            # beside -1, 0 and 1: a value and an operand of different types

cdef struct filter_s:
    program_t program

cdef struct found_t:
    text_t start             # NULL: missing
    size_t length

cdef struct frame_t:
    const node_t* node
    uint32_t position        # of the next element of an array
    bint is_object


cdef filter_t* filter_compile(const char* json, size_t length, uint32_t* position) noexcept nogil:
    return <filter_t*>program_compile(json, length, position)


cdef void filter_free(filter_t* program) noexcept nogil:
    free(program)


# -- the walk --

cdef inline const node_t* member_node(
    const program_t* program, const node_t* parent, text_t key, size_t length, bint escaped
) noexcept nogil:
    cdef uint32_t child = parent.first_child
    cdef const node_t* node
    cdef text_t name
    while child != 0:
        node = &program.nodes[child]
        name = program.text + node.name
        if escaped:
            if compare_escaped(key, key + length, name, node.length, False) == 0:
                return node
        elif node.length == length and memcmp(key, name, length) == 0:
            return node
        child = node.next_sibling
    return NULL


cdef inline const node_t* element_node(const program_t* program, const node_t* parent, uint32_t index) noexcept nogil:
    cdef uint32_t child = parent.first_child
    while child != 0:
        if program.nodes[child].index == index:
            return &program.nodes[child]
        child = program.nodes[child].next_sibling
    return NULL


cdef void find_values(const program_t* program, text_t p, text_t end, found_t* found) noexcept nogil:
    """Notes in *found*, by slot, where the values of the program's paths lie in `[p, end)`."""
    cdef frame_t frames[MAX_NAMES + 1]
    cdef int depth = 0
    cdef frame_t* frame = NULL
    cdef const node_t* node
    cdef text_t start
    cdef uint32_t slot
    cdef bint escaped
    p = skip_space(p, end)
    if p >= end or (p[0] | 0x20) != c"{":
        return
    frame = &frames[0]
    frame.node = program.nodes
    frame.position = 0
    frame.is_object = p[0] == c"{"
    p += 1
    while True:
        p = skip_space(p, end)
        if p >= end:
            return
        if p[0] == c",":
            p += 1
            continue
        if (p[0] | 0x20) == c"}":
            if depth == 0:
                return
            depth -= 1
            frame = &frames[depth]
            p += 1
            continue
        if frame.is_object:
            if p[0] != c'"':
                return
            start = p + 1
            p = skip_string(start, end, &escaped)
            node = member_node(program, frame.node, start, p - start, escaped)
            if p < end:
                p = skip_space(p + 1, end)
            if p >= end or p[0] != c":":
                return
            p = skip_space(p + 1, end)
        else:
            node = element_node(program, frame.node, frame.position)
            frame.position += 1
        start = p
        if node == NULL:
            p = skip_value(p, end)
        else:
            for slot in range(node.slots_begin, node.slots_end):
                found[slot].start = NULL
            if node.first_child != 0 and p < end and (p[0] | 0x20) == c"{":
                if node.slot >= 0:
                    found[node.slot].start = start
                    found[node.slot].length = 1
                depth += 1  # as deep as the tree at most
                frame = &frames[depth]
                frame.node = node
                frame.position = 0
                frame.is_object = p[0] == c"{"
                p += 1
            else:
                p = skip_value(p, end)
                if node.slot >= 0 and p > start:
                    found[node.slot].start = start
                    found[node.slot].length = p - start
        if p == start:  # no value where one must be
            return


# -- the tests --

cdef inline int kind_of(text_t value) noexcept nogil:
    if value[0] == c'"':
        return KIND_STRING
    if value[0] == c"t":
        return KIND_TRUE
    if value[0] == c"f":
        return KIND_FALSE
    if value[0] == c"n":
        return KIND_NULL
    if (value[0] | 0x20) == c"{":
        return KIND_CONTAINER
    return KIND_NUMBER


cdef int relation(
    const program_t* program, const found_t* value, const operand_t* operand, bint prefix
) noexcept nogil:
    """-1, 0 or 1 as *value* is below, equal to or above *operand*, or UNRELATED; with *prefix*, 0 when it starts with it."""
    cdef text_t text = program.text + operand.text
    cdef double number
    if kind_of(value.start) != operand.kind:
        return UNRELATED
    if operand.kind == KIND_STRING:
        if value.length < 2:  # a lone quote
            return UNRELATED
        return compare_string(value.start + 1, value.length - 2, text, operand.length, prefix)
    if operand.kind == KIND_NUMBER:
        if operand.integer and is_integer(value.start, value.length):
            return compare_integers(value.start, value.length, text, operand.length)
        number = read_double(value.start, value.length)
        return (number > operand.number) - (number < operand.number)
    return 0


cdef bint holds(const program_t* program, const test_t* test, const found_t* value) noexcept nogil:
    cdef const operand_t* operand = &program.operands[test.first]
    cdef uint32_t i
    cdef int order
    if test.op == OP_EXISTS:
        return (value.start != NULL) == (test.count != 0)
    if value.start == NULL:
        return test.op == OP_NE
    if test.op == OP_IN:
        for i in range(test.count):
            if relation(program, value, operand + i, False) == 0:
                return True
        return False
    order = relation(program, value, operand, test.op == OP_PREFIX)
    if test.op == OP_EQ or test.op == OP_PREFIX:
        return order == 0
    if test.op == OP_NE:
        return order != 0
    if test.op == OP_GT:
        return order == 1
    if test.op == OP_GTE:
        return order == 0 or order == 1
    if test.op == OP_LT:
        return order == -1
    return order == 0 or order == -1


cdef bint filter_matches(const filter_t* compiled, const char* content, size_t length) noexcept nogil:
    cdef const program_t* program = <const program_t*>compiled
    cdef found_t found[MAX_PATHS]
    cdef const test_t* test
    cdef uint32_t i
    if program.test_count == 0:
        return True
    for i in range(program.path_count):
        found[i].start = NULL
    find_values(program, <text_t>content, <text_t>content + length, found)
    for i in range(program.test_count):
        test = &program.tests[i]
        if not holds(program, test, &found[program.nodes[test.node].slot]):
            return False
    return True


# -- the Python face --

cdef class ContentFilter:
    """A compiled filter."""

    def __cinit__(self, bytes text not None):
        cdef uint32_t position = 0
        self.program = filter_compile(text, len(text), &position)
        if self.program == NULL and position == NO_MEMORY:
            raise MemoryError
        if self.program == NULL:
            raise InvalidRequest(
                f"content filter is not valid at byte {position}",
                hint="an object of conditions, path to scalar or to operators: {\"order.total\": {\"gte\": 100}}",
                details={"position": position},
            )

    def __dealloc__(self):
        filter_free(self.program)

    def matches(self, bytes content not None):
        """Whether JSON *content*, valid or empty, satisfies every condition."""
        return filter_matches(self.program, content, len(content))

    def count_matches(self, bytes content not None, uint32_t times):
        """`matches` *times* times over, for measuring without Python's share."""
        cdef uint32_t i, count = 0
        cdef const char* text = content
        cdef size_t length = len(content)
        with nogil:
            for i in range(times):
                count += filter_matches(self.program, text, length)
        return count


def match_topic(str pattern not None, str topic not None):
    """The native `topic_matches`, for the test that compares it with `core/routing`."""
    cdef bytes left = pattern.encode()
    cdef bytes right = topic.encode()
    return bool(topic_matches(left, len(left), right, len(right)))
