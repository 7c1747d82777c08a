"""The compiler of content filters.

Rule 1: a filter is a stranger's text. Nothing here recurses, and the limits of `core/routing.py` hold.
Rule 2: a function that returns `bint` says False when the text is no filter, and leaves the parser at the offending byte.
"""

from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from caxton._fast.json_scalar cimport is_integer, read_double, read_escape, skip_space, text_t, utf8_length, write_utf8

cdef struct parser_t:
    text_t start
    text_t p
    text_t end
    program_t* program


cdef program_t* program_new(text_t json, size_t length) noexcept nogil:
    """A program with room for whatever *json* can ask for."""
    cdef size_t i, names = 2, tests = 0, operands = 0  # the root, and a key whose colon is missing
    cdef program_t* program
    cdef char* room
    for i in range(length):
        if json[i] == c":":
            names += 1
            tests += 1
            operands += 1
        elif json[i] == c"," or json[i] == c"[":
            operands += 1
        elif json[i] == c"." or json[i] == c"\\":  # an escape can be a dot
            names += 1
    tests = min(tests, <size_t>(MAX_PATHS * (OP_EXISTS + 1)))
    operands = min(operands, <size_t>MAX_OPERANDS)
    names = min(names, <size_t>(1 + MAX_PATHS * MAX_NAMES))
    # one block, what needs the widest alignment first
    room = <char*>malloc(
        sizeof(program_t) + operands * sizeof(operand_t) + names * sizeof(node_t) + tests * sizeof(test_t) + length
    )
    if room == NULL:
        return NULL
    program = <program_t*>room
    memset(program, 0, sizeof(program_t))
    room += sizeof(program_t)
    program.operands = <operand_t*>room
    room += operands * sizeof(operand_t)
    program.nodes = <node_t*>room
    room += names * sizeof(node_t)
    program.tests = <test_t*>room
    program.text = <unsigned char*>room + tests * sizeof(test_t)
    memset(program.nodes, 0, sizeof(node_t))
    program.nodes[0].slot = -1
    program.node_count = 1
    return program


cdef bint expect(parser_t* parser, char c) noexcept nogil:
    parser.p = skip_space(parser.p, parser.end)
    if parser.p >= parser.end or parser.p[0] != <unsigned char>c:
        return False
    parser.p += 1
    return True


cdef bint another(parser_t* parser, char closing, bint* more) noexcept nogil:
    """Behind a member or element: a comma, or the end."""
    parser.p = skip_space(parser.p, parser.end)
    if parser.p >= parser.end or (parser.p[0] != c"," and parser.p[0] != <unsigned char>closing):
        return False
    more[0] = parser.p[0] == c","
    parser.p = skip_space(parser.p + 1, parser.end)
    return True


cdef bint read_string(parser_t* parser, uint32_t* text, uint32_t* length) noexcept nogil:
    """Decodes into the text pool, where it cannot become longer than it was."""
    cdef unsigned char* out = parser.program.text + parser.program.text_size
    cdef uint32_t size = 0, code = 0
    cdef int width
    cdef text_t next
    if not expect(parser, c'"'):
        return False
    while parser.p < parser.end and parser.p[0] >= 0x20:
        if parser.p[0] == c'"':
            parser.p += 1
            text[0] = parser.program.text_size
            length[0] = size
            parser.program.text_size += size
            return True
        if parser.p[0] == c"\\":
            next = read_escape(parser.p + 1, parser.end, &code)
            if next == NULL or 0xD800 <= code < 0xE000:
                return False
            size += write_utf8(code, out + size)
            parser.p = next
            continue
        width = utf8_length(parser.p, parser.end)
        if width == 0:
            return False
        memcpy(out + size, parser.p, width)
        size += width
        parser.p += width
    return False


cdef bint digits(parser_t* parser) noexcept nogil:
    cdef text_t first = parser.p
    while parser.p < parser.end and c"0" <= parser.p[0] <= c"9":
        parser.p += 1
    return parser.p > first


cdef bint read_number(parser_t* parser, operand_t* operand) noexcept nogil:
    cdef text_t first = parser.p
    if parser.p[0] == c"-":
        parser.p += 1
    if parser.p < parser.end and parser.p[0] == c"0":
        parser.p += 1
    elif not digits(parser):
        return False
    if parser.p < parser.end and parser.p[0] == c".":
        parser.p += 1
        if not digits(parser):
            return False
    if parser.p < parser.end and (parser.p[0] | 0x20) == c"e":
        parser.p += 1
        if parser.p < parser.end and (parser.p[0] == c"+" or parser.p[0] == c"-"):
            parser.p += 1
        if not digits(parser):
            return False
    operand.kind = KIND_NUMBER
    operand.text = parser.program.text_size
    operand.length = <uint32_t>(parser.p - first)
    operand.integer = is_integer(first, operand.length)
    operand.number = read_double(first, operand.length)
    memcpy(parser.program.text + operand.text, first, operand.length)
    parser.program.text_size += operand.length
    return True


cdef bint read_word(parser_t* parser, const char* word, size_t length) noexcept nogil:
    if <size_t>(parser.end - parser.p) < length or memcmp(parser.p, word, length) != 0:
        return False
    parser.p += length
    return True


cdef bint read_scalar(parser_t* parser) noexcept nogil:
    """Appends an operand."""
    cdef operand_t* operand
    cdef unsigned char c
    if parser.program.operand_count == MAX_OPERANDS:
        return False
    parser.p = skip_space(parser.p, parser.end)
    if parser.p >= parser.end:
        return False
    operand = &parser.program.operands[parser.program.operand_count]
    memset(operand, 0, sizeof(operand_t))
    c = parser.p[0]
    if c == c'"':
        operand.kind = KIND_STRING
        if not read_string(parser, &operand.text, &operand.length):
            return False
    elif c == c"t":
        operand.kind = KIND_TRUE
        if not read_word(parser, "true", 4):
            return False
    elif c == c"f":
        operand.kind = KIND_FALSE
        if not read_word(parser, "false", 5):
            return False
    elif c == c"n":
        operand.kind = KIND_NULL
        if not read_word(parser, "null", 4):
            return False
    elif c != c"-" and not c"0" <= c <= c"9":
        return False
    elif not read_number(parser, operand):
        return False
    parser.program.operand_count += 1
    return True


cdef uint32_t array_index(text_t name, uint32_t length) noexcept nogil:
    cdef uint32_t i, index = 0
    if length == 0 or length > 9 or (length > 1 and name[0] == c"0"):
        return NO_INDEX
    for i in range(length):
        if not c"0" <= name[i] <= c"9":
            return NO_INDEX
        index = index * 10 + (name[i] - c"0")
    return index


cdef uint32_t child_named(program_t* program, uint32_t parent, uint32_t name, uint32_t length) noexcept nogil:
    """The child of *parent*; made when there is none."""
    cdef uint32_t child = program.nodes[parent].first_child
    cdef node_t* node
    while child != 0:
        node = &program.nodes[child]
        if node.length == length and memcmp(program.text + node.name, program.text + name, length) == 0:
            return child
        child = node.next_sibling
    child = program.node_count
    program.node_count += 1
    node = &program.nodes[child]
    memset(node, 0, sizeof(node_t))
    node.name = name
    node.length = length
    node.index = array_index(program.text + name, length)
    node.parent = parent
    node.slot = -1
    node.next_sibling = program.nodes[parent].first_child
    program.nodes[parent].first_child = child
    return child


cdef bint read_path(parser_t* parser, uint32_t* end_node) noexcept nogil:
    cdef program_t* program = parser.program
    cdef text_t key = parser.p
    cdef uint32_t text = 0, length = 0, i, begin = 0, names = 0, node = 0
    if not read_string(parser, &text, &length):
        return False
    if program.path_count == MAX_PATHS:
        parser.p = key
        return False
    for i in range(length + 1):
        if i < length and program.text[text + i] != c".":
            continue
        names += 1
        if names > MAX_NAMES:
            parser.p = key
            return False
        node = child_named(program, node, text + begin, i - begin)
        begin = i + 1
    if program.nodes[node].slot == 0:  # the same path twice
        parser.p = key
        return False
    program.nodes[node].slot = 0
    program.path_count += 1
    end_node[0] = node
    return True


cdef int operator_named(text_t name, uint32_t length) noexcept nogil:
    if length == 2:
        if memcmp(name, b"eq", 2) == 0:
            return OP_EQ
        if memcmp(name, b"ne", 2) == 0:
            return OP_NE
        if memcmp(name, b"gt", 2) == 0:
            return OP_GT
        if memcmp(name, b"lt", 2) == 0:
            return OP_LT
        if memcmp(name, b"in", 2) == 0:
            return OP_IN
    elif length == 3:
        if memcmp(name, b"gte", 3) == 0:
            return OP_GTE
        if memcmp(name, b"lte", 3) == 0:
            return OP_LTE
    elif length == 6:
        if memcmp(name, b"prefix", 6) == 0:
            return OP_PREFIX
        if memcmp(name, b"exists", 6) == 0:
            return OP_EXISTS
    return -1


cdef bint read_operand(parser_t* parser, test_t* test) noexcept nogil:
    """The operand of `test.op`; refuses what that operator cannot use."""
    cdef program_t* program = parser.program
    cdef bint more = True
    cdef int kind
    cdef text_t at
    parser.p = skip_space(parser.p, parser.end)
    at = parser.p
    test.first = program.operand_count
    if test.op == OP_IN:
        if not expect(parser, c"["):
            return False
        parser.p = skip_space(parser.p, parser.end)
        if parser.p < parser.end and parser.p[0] == c"]":
            parser.p += 1
            more = False
        while more:
            if not read_scalar(parser) or not another(parser, c"]", &more):
                return False
        test.count = program.operand_count - test.first
        return True
    if not read_scalar(parser):
        return False
    test.count = 1
    kind = program.operands[test.first].kind
    if test.op == OP_EQ or test.op == OP_NE:
        return True
    if test.op == OP_EXISTS and (kind == KIND_TRUE or kind == KIND_FALSE):
        test.count = kind == KIND_TRUE
        return True
    if kind == KIND_STRING and test.op != OP_EXISTS:
        return True
    if kind == KIND_NUMBER and OP_GT <= test.op <= OP_LTE:
        return True
    parser.p = at
    return False


cdef test_t* add_test(program_t* program, uint32_t node, int op) noexcept nogil:
    cdef test_t* test = &program.tests[program.test_count]
    program.test_count += 1
    memset(test, 0, sizeof(test_t))
    test.node = node
    test.op = op
    return test


cdef bint read_condition(parser_t* parser, uint32_t node) noexcept nogil:
    cdef uint32_t name = 0, length = 0, seen = 0
    cdef bint more = True
    cdef int op
    cdef text_t at
    parser.p = skip_space(parser.p, parser.end)
    if parser.p >= parser.end:
        return False
    if parser.p[0] != c"{":
        return read_operand(parser, add_test(parser.program, node, OP_EQ))
    parser.p = skip_space(parser.p + 1, parser.end)
    while more:  # at least one operator: an empty object would say nothing
        at = parser.p
        if not read_string(parser, &name, &length):
            return False
        op = operator_named(parser.program.text + name, length)
        if op < 0 or seen & (1u << op):
            parser.p = at
            return False
        seen |= 1u << op
        if not expect(parser, c":") or not read_operand(parser, add_test(parser.program, node, op)):
            return False
        if not another(parser, c"}", &more):
            return False
    return True


cdef bint read_filter(parser_t* parser) noexcept nogil:
    cdef uint32_t node = 0
    cdef bint more = True
    if not expect(parser, c"{"):
        return False
    parser.p = skip_space(parser.p, parser.end)
    if parser.p < parser.end and parser.p[0] == c"}":
        parser.p = skip_space(parser.p + 1, parser.end)
        more = False
    while more:
        if not read_path(parser, &node) or not expect(parser, c":"):
            return False
        if not read_condition(parser, node) or not another(parser, c"}", &more):
            return False
    return parser.p == parser.end


cdef void number_slots(program_t* program) noexcept nogil:
    """Numbers the places of values in preorder, so that each subtree's are neighbours: to forget a member is to clear a range."""
    cdef uint32_t count = 0
    cdef node_t* node = &program.nodes[0]
    while True:
        node.slots_begin = count
        if node.slot == 0:
            node.slot = count
            count += 1
        if node.first_child != 0:
            node = &program.nodes[node.first_child]
            continue
        while True:
            node.slots_end = count
            if node == program.nodes:
                return
            if node.next_sibling != 0:
                node = &program.nodes[node.next_sibling]
                break
            node = &program.nodes[node.parent]


cdef program_t* program_compile(const char* json, size_t length, uint32_t* position) noexcept nogil:
    cdef parser_t parser
    position[0] = 0
    if length > MAX_TEXT:
        position[0] = MAX_TEXT
        return NULL
    parser.start = parser.p = <text_t>json
    parser.end = parser.start + length
    parser.program = program_new(parser.start, length)
    if parser.program == NULL:
        position[0] = NO_MEMORY
        return NULL
    if length > 0 and not read_filter(&parser):
        position[0] = <uint32_t>(parser.p - parser.start)
        free(parser.program)
        return NULL
    number_slots(parser.program)
    return parser.program
