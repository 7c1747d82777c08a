"""A compiled content filter: a tree of path names, the tests on the values they lead to, and the tests' operands.

It is one block of memory that ends with `free`. It never changes again, so any number of threads may match with it at once.
"""

from libc.stdint cimport int32_t, uint32_t

cdef enum:
    # the limits of core/routing.py
    MAX_TEXT = 16384         # bytes
    MAX_PATHS = 64
    MAX_NAMES = 16           # of one path
    MAX_OPERANDS = 1024

    NO_INDEX = 0xFFFFFFFF
    NO_MEMORY = 0xFFFFFFFF   # as a position

    OP_EQ = 0
    OP_NE = 1
    OP_GT = 2
    OP_GTE = 3
    OP_LT = 4
    OP_LTE = 5
    OP_IN = 6
    OP_PREFIX = 7
    OP_EXISTS = 8
    OP_COUNT = 9

    KIND_STRING = 0
    KIND_NUMBER = 1
    KIND_TRUE = 2
    KIND_FALSE = 3
    KIND_NULL = 4
    KIND_CONTAINER = 5       # of a value; no operand is one

ctypedef struct node_t:
    uint32_t name            # in the text pool, decoded
    uint32_t length
    uint32_t index           # the name read as an array index, or NO_INDEX
    uint32_t parent
    uint32_t first_child     # 0: none, the root is nobody's child
    uint32_t next_sibling
    int32_t slot             # where a match notes its value, or -1 when no path ends here (while compiling: 0 when one does)
    uint32_t slots_begin     # the slots of this node and of all below it
    uint32_t slots_end

ctypedef struct operand_t:
    int32_t kind
    uint32_t text            # in the text pool: the decoded string, or the number as it was written
    uint32_t length
    bint integer
    double number

ctypedef struct test_t:
    int32_t op
    uint32_t node
    uint32_t first           # operand
    uint32_t count           # operands; of `exists`: whether it should

ctypedef struct program_t:
    node_t* nodes            # [0] is the root
    test_t* tests
    operand_t* operands
    unsigned char* text
    uint32_t node_count
    uint32_t test_count
    uint32_t operand_count
    uint32_t text_size
    uint32_t path_count      # and slots

# NULL with *position* at the offending byte, or NO_MEMORY
cdef program_t* program_compile(const char* json, size_t length, uint32_t* position) noexcept nogil
