"""A message out of JSON text that lies in its block already.

Fields become slices of the text. Escapes are resolved and names are gathered in place, because both only ever get shorter.
Unknown top-level keys are members of `params`: they are written behind those that it has, so that nothing is dropped.
"""

# Over 500 lines, just: one reader, a function for each field, inlined into one loop.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memchr, memcmp, memcpy, memmove, strlen

from caxton._fast.byte_scan cimport has_high, same_bytes, utf8_stop
from caxton._fast.envelope cimport (
    DELIVERY_COUNT,
    DELIVERY_DURABLE,
    E_DEPTH,
    E_DUPLICATE,
    E_FIELD_LENGTH,
    E_JSON,
    E_MEMORY,
    E_MESSAGE_ID,
    E_NOT_OBJECT,
    E_PERFORMATIVE,
    E_PROTOCOL,
    E_RECEIVERS,
    E_TIME,
    E_TOO_LARGE,
    E_TYPE,
    E_UTF8,
    F_CONTENT,
    F_CONVERSATION_ID,
    F_PARAMS,
    F_PROTOCOL,
    F_RECEIVER,
    F_REPLY_TO,
    F_SENDER,
    F_TRACESTATE,
    FIELD_COUNT,
    KEY_DELIVERY,
    KEY_DELIVERY_ATTEMPT,
    KEY_EXPIRES_AT,
    KEY_HOP_COUNT,
    KEY_MESSAGE_ID,
    KEY_PERFORMATIVE,
    KEY_PRIORITY,
    KEY_REDELIVERED,
    KEY_REPLY_BY,
    PRIORITY_COUNT,
    PRIORITY_CRITICAL,
    PRIORITY_HIGH,
    PRIORITY_LOW,
    PRIORITY_NORMAL,
    envelope_t,
    slice_t,
)
from caxton._fast.json_scan cimport (
    MAX_DEPTH,
    fail,
    is_digit,
    is_space,
    needs_escape,
    refuse,
    same_string,
    scan_t,
    skip_key,
    skip_number,
    skip_space,
    skip_string,
    skip_value,
    unescape,
)
from caxton._fast.message_block cimport (
    LARGEST,
    MAX_TRACESTATE,
    SENDER_ROOM,
    name_joins,
    names_free,
    names_init,
    names_t,
)
from caxton._fast.rfc3339 cimport moment_parse
from caxton._fast.uuid7 cimport uuid_parse
from caxton._fast.vocabulary cimport DELIVERIES, KEY_TEXT, PRIORITIES, act_of, escaped_key_of, key_of

cdef enum:
    MAX_EXTRAS = 64          # unknown top-level keys of one message

ctypedef struct extra_t:
    uint32_t start           # of the member `"key": value`, from the start of the text
    uint32_t key_end         # its closing quote
    uint32_t end

ctypedef struct reader_t:
    scan_t scan
    char* text               # behind the header of the block
    uint32_t max_name
    uint32_t max_depth
    uint32_t max_receivers
    uint32_t seen            # bit per key
    uint32_t extra_count
    extra_t[MAX_EXTRAS] extras


cdef inline envelope_t* _block(reader_t* reader) noexcept nogil:
    return <envelope_t*>(reader.text - sizeof(envelope_t))


cdef inline const char* _string(reader_t* reader, const char* p, int key, slice_t* out) noexcept nogil:
    """Read a string in place. *out* counts from the block's start; the needs-escape bit of a field is set."""
    cdef bint escaped = False
    cdef const char* start = p + 1
    cdef uint32_t length
    if p[0] != c'"':
        return refuse(&reader.scan, E_TYPE, p, key)
    p = skip_string(&reader.scan, start, &escaped)
    if p == NULL:
        return NULL
    length = <uint32_t>(p - start)
    if escaped:
        length = unescape(start, p, <char*>start)
        if memchr(start, 0, length) != NULL:
            return refuse(&reader.scan, E_UTF8, start - 1, key)
        if key < FIELD_COUNT and needs_escape(start, length):
            _block(reader).escapes |= <uint16_t>(1 << key)
    out.offset = <uint32_t>(sizeof(envelope_t) + (start - reader.text))
    out.length = length
    return p + 1


cdef inline const char* _field(reader_t* reader, const char* p, int key, uint32_t limit) noexcept nogil:
    """A string field of the message; an empty one is not set."""
    cdef const char* start = p
    cdef slice_t* field = &_block(reader).fields[key]
    p = _string(reader, p, key, field)
    if p != NULL and field.length > limit:
        return refuse(&reader.scan, E_FIELD_LENGTH, start, key)
    return p


cdef inline const char* _agent(reader_t* reader, const char* p, int key, slice_t* name) noexcept nogil:
    """An agent: its name, or an object with its name; equality is by name only (FIPA00023), so its addresses are checked and left out."""
    cdef const char* start = p
    cdef const char* word
    cdef const char* word_end
    cdef bint escaped
    cdef bint named = False
    cdef char[KEY_TEXT] plain
    if p[0] != c'{':
        p = _string(reader, p, key, name)
    else:
        p = skip_space(p + 1)
        while p[0] != c'}':
            escaped = False
            word = p + 1
            p = skip_key(&reader.scan, p)
            if p == NULL:
                return NULL
            word_end = skip_string(&reader.scan, word, &escaped)
            if escaped and word_end - word <= KEY_TEXT:
                word_end = plain + unescape(word, word_end, plain)
                word = plain
            if word_end - word == 4 and same_bytes(word, "name", 4):
                if named:
                    return refuse(&reader.scan, E_DUPLICATE, p, key)
                named = True
                p = _string(reader, p, key, name)
            else:
                p = skip_value(&reader.scan, p, reader.max_depth)
            if p == NULL:
                return NULL
            p = skip_space(p)
            if p[0] == c'}':
                break
            if p[0] != c',':
                return fail(&reader.scan, E_JSON, p)
            p = skip_space(p + 1)
            if p[0] == c'}':
                return fail(&reader.scan, E_JSON, p)
        if not named:
            return refuse(&reader.scan, E_TYPE, start, key)
        p += 1
    if p != NULL and (name.length == 0 or name.length > reader.max_name):
        return refuse(&reader.scan, E_FIELD_LENGTH, start, key)
    return p


cdef inline const char* _gather(reader_t* reader, const char* p, int key, names_t* names) noexcept nogil:
    cdef char* start = <char*>p
    cdef uint32_t limit = reader.max_receivers
    cdef slice_t name
    p = skip_space(p + 1)
    if p[0] == c']':
        return p + 1
    while True:
        p = _agent(reader, p, key, &name)
        if p == NULL:
            return NULL
        memmove(start + names.end, <char*>_block(reader) + name.offset, name.length)
        start[names.end + name.length] = 0
        if name_joins(names, name.length) and names.count > limit:
            return refuse(&reader.scan, E_RECEIVERS, p, key)
        p = skip_space(p)
        if p[0] == c']':
            break
        if p[0] != c',':
            return fail(&reader.scan, E_JSON, p)
        p = skip_space(p + 1)
    _block(reader).fields[key].offset = <uint32_t>(sizeof(envelope_t) + (start - reader.text))
    _block(reader).fields[key].length = names.end - 1
    return p + 1


cdef inline const char* _agents(reader_t* reader, const char* p, int key, uint32_t* count) noexcept nogil:
    """An array of agents, gathered at its start: names, a NUL between two. A name that comes again is left out (it is a set)."""
    cdef names_t names
    names_init(&names, p)
    p = _gather(reader, p, key, &names)
    names_free(&names)
    if p != NULL and names.count:
        count[0] = names.count
    return p


cdef inline const char* _named(reader_t* reader, const char* p, int key, uint32_t* count) noexcept nogil:
    """One agent or several; an empty string or array is none."""
    cdef const char* start = p
    cdef slice_t* field = &_block(reader).fields[key]
    if p[0] == c'[':
        return _agents(reader, p, key, count)
    if p[0] == c'"' and p[1] == c'"':
        return p + 2
    count[0] = 1
    return _agent(reader, p, key, field)


cdef inline const char* _integer(reader_t* reader, const char* p, int key, int64_t* out) noexcept nogil:
    """A number written without fraction and exponent; what is beyond a million counts as a million."""
    cdef const char* start = p
    cdef bint whole = False
    cdef int64_t value = 0
    if p[0] != c'-' and not is_digit(p[0]):
        return refuse(&reader.scan, E_TYPE, p, key)
    p = skip_number(&reader.scan, p, &whole)
    if p == NULL:
        return NULL
    if not whole:
        return refuse(&reader.scan, E_TYPE, start, key)
    out[0] = 0
    if start[0] == c'-':
        start += 1
        value = -1
    while start < p:
        out[0] = min(out[0] * 10 + (start[0] - c'0'), <int64_t>1000000)
        start += 1
    if value:
        out[0] = -out[0]
    return p


cdef inline const char* _priority(reader_t* reader, const char* p) noexcept nogil:
    cdef const char* start = p
    cdef slice_t word
    cdef int64_t number = 0
    cdef uint8_t i
    if p[0] != c'"':
        p = _integer(reader, p, KEY_PRIORITY, &number)
        _block(reader).priority = (
            PRIORITY_LOW if number <= 2 else PRIORITY_NORMAL if number <= 6 else PRIORITY_HIGH if number <= 9 else PRIORITY_CRITICAL
        )
        return p
    p = _string(reader, p, KEY_PRIORITY, &word)
    if p == NULL:
        return NULL
    for i in range(PRIORITY_COUNT):
        if strlen(PRIORITIES[i]) == word.length and memcmp(PRIORITIES[i], <char*>_block(reader) + word.offset, word.length) == 0:
            _block(reader).priority = i
            return p
    return refuse(&reader.scan, E_TYPE, start, KEY_PRIORITY)


cdef inline bint _is_word(const char* p, uint32_t n, const char* word) noexcept nogil:
    """Is this *word*, which is small letters, in any case?"""
    cdef uint32_t i
    if strlen(word) != n:
        return False
    for i in range(n):
        if p[i] | 0x20 != word[i]:
            return False
    return True


cdef inline const char* _delivery(reader_t* reader, const char* p) noexcept nogil:
    cdef const char* start = p
    cdef slice_t word
    cdef uint8_t i
    p = _string(reader, p, KEY_DELIVERY, &word)
    if p == NULL:
        return NULL
    for i in range(DELIVERY_DURABLE, DELIVERY_COUNT):
        if _is_word(<char*>_block(reader) + word.offset, word.length, DELIVERIES[i]):
            _block(reader).delivery = i
            return p
    return refuse(&reader.scan, E_TYPE, start, KEY_DELIVERY)


cdef inline const char* _header_value(reader_t* reader, const char* p, int key) noexcept nogil:
    """The value of a KEY_*."""
    cdef const char* start = p
    cdef envelope_t* block = _block(reader)
    cdef slice_t word
    cdef int64_t number = 0
    if key == KEY_PRIORITY:
        return _priority(reader, p)
    if key == KEY_DELIVERY:
        return _delivery(reader, p)
    if key == KEY_REDELIVERED:
        # the platform's own word, true of one delivery and not of the message: read over
        if same_bytes(p, "true", 4):
            return p + 4
        return p + 5 if same_bytes(p, "false", 5) else refuse(&reader.scan, E_TYPE, p, key)
    if key == KEY_HOP_COUNT or key == KEY_DELIVERY_ATTEMPT:
        p = _integer(reader, p, key, &number)
        if p != NULL and (number < 0 or key == KEY_HOP_COUNT and number > 255):
            return refuse(&reader.scan, E_TYPE, start, key)
        if key == KEY_HOP_COUNT:
            block.hop_count = <uint8_t>number
        return p
    p = _string(reader, p, key, &word)
    if p == NULL:
        return NULL
    if key == KEY_PERFORMATIVE:
        block.act = <uint8_t>act_of(<char*>block + word.offset, word.length)
        return p if block.act else refuse(&reader.scan, E_PERFORMATIVE, start, key)
    if key == KEY_MESSAGE_ID:
        return p if uuid_parse(<char*>block + word.offset, word.length, block.message_id) else refuse(&reader.scan, E_MESSAGE_ID, start, key)
    number = moment_parse(<char*>block + word.offset, word.length)
    if number == 0:
        return refuse(&reader.scan, E_TIME, start, key)
    if key == KEY_REPLY_BY:
        block.reply_by_us = number
    else:
        block.expires_at_us = number
    return p


cdef inline const char* _value(reader_t* reader, const char* p, int key) noexcept nogil:
    """The value of a known key."""
    cdef const char* start = p
    cdef uint32_t count = 0
    if p[0] == c'n' and same_bytes(p, "null", 4):
        return p + 4
    if key == F_CONTENT or key == F_PARAMS:
        if key == F_PARAMS and p[0] != c'{':
            return refuse(&reader.scan, E_TYPE, p, key)
        p = skip_value(&reader.scan, p, reader.max_depth)
        if p != NULL:
            _block(reader).fields[key].offset = <uint32_t>(sizeof(envelope_t) + (start - reader.text))
            _block(reader).fields[key].length = <uint32_t>(p - start)
        return p
    if key == F_RECEIVER or key == F_REPLY_TO:
        p = _named(reader, p, key, &count)
        if key == F_RECEIVER:
            _block(reader).receivers = <uint16_t>count
        return p
    if key == F_SENDER and p[0] == c'{':
        return _agent(reader, p, key, &_block(reader).fields[key])
    if key < FIELD_COUNT:
        return _field(reader, p, key, reader.max_name if key != F_TRACESTATE else MAX_TRACESTATE)
    return _header_value(reader, p, key)


cdef inline const char* _extra(reader_t* reader, const char* p, const char* word, const char* word_end) noexcept nogil:
    """An unknown key: its value is checked, and the member is carried in params."""
    cdef uint32_t i
    cdef extra_t* extra
    for i in range(reader.extra_count):
        extra = &reader.extras[i]
        if same_string(word, word_end, reader.text + extra.start + 1, reader.text + extra.key_end):
            return refuse(&reader.scan, E_DUPLICATE, word - 1, -1)
    if reader.extra_count == MAX_EXTRAS:
        return refuse(&reader.scan, E_FIELD_LENGTH, word - 1, F_PARAMS)
    # in params it is one level deeper, and has to be readable there
    if reader.max_depth == 0:
        return fail(&reader.scan, E_DEPTH, p)
    p = skip_value(&reader.scan, p, min(reader.max_depth, <uint32_t>MAX_DEPTH) - 1)
    if p == NULL:
        return NULL
    extra = &reader.extras[reader.extra_count]
    extra.start = <uint32_t>(word - 1 - reader.text)
    extra.key_end = <uint32_t>(word_end - reader.text)
    extra.end = <uint32_t>(p - reader.text)
    reader.extra_count += 1
    return p


cdef inline const char* _members(reader_t* reader, const char* p) noexcept nogil:
    """The members of the message, from behind its opening brace to behind its closing one."""
    cdef const char* word
    cdef const char* word_end
    cdef bint escaped
    cdef int key
    p = skip_space(p)
    if p[0] == c'}':
        return p + 1
    while True:
        if p[0] != c'"':
            return fail(&reader.scan, E_JSON, p)
        word = p + 1
        escaped = False
        word_end = skip_string(&reader.scan, word, &escaped)
        if word_end == NULL:
            return NULL
        p = skip_space(word_end + 1)
        if p[0] != c':':
            return fail(&reader.scan, E_JSON, p)
        p = skip_space(p + 1)
        key = escaped_key_of(word, word_end - word) if escaped else key_of(word, word_end - word)
        if key < 0:
            p = _extra(reader, p, word, word_end)
        elif reader.seen >> key & 1:
            return refuse(&reader.scan, E_DUPLICATE, word - 1, key)
        else:
            reader.seen |= <uint32_t>1 << key
            p = _value(reader, p, key)
        if p == NULL:
            return NULL
        p = skip_space(p)
        if p[0] == c'}':
            return p + 1
        if p[0] != c',':
            return fail(&reader.scan, E_JSON, p)
        p = skip_space(p + 1)


cdef inline const char* _merge_extras(reader_t* reader) noexcept nogil:
    """Write params anew, behind the text, with the unknown members at its end; the block may move."""
    cdef envelope_t* block = _block(reader)
    cdef slice_t params = block.fields[F_PARAMS]
    cdef size_t room = params.length + 2
    cdef size_t old = block.size
    cdef bint flag = False
    cdef uint32_t i
    cdef extra_t* extra
    cdef const char* p
    cdef const char* word
    cdef const char* word_end
    cdef char* out
    # a key that params has already
    if params.length:
        p = skip_space(<char*>block + params.offset + 1)
        while p[0] == c'"':
            word = p + 1
            word_end = skip_string(&reader.scan, word, &flag)
            for i in range(reader.extra_count):
                extra = &reader.extras[i]
                if same_string(word, word_end, reader.text + extra.start + 1, reader.text + extra.key_end):
                    return refuse(&reader.scan, E_DUPLICATE, reader.text + extra.start, F_PARAMS)
            p = skip_space(skip_value(&reader.scan, skip_key(&reader.scan, p), MAX_DEPTH))
            if p[0] == c',':
                p = skip_space(p + 1)
    for i in range(reader.extra_count):
        room += reader.extras[i].end - reader.extras[i].start + 1
    if old + room > LARGEST:
        return fail(&reader.scan, E_TOO_LARGE, reader.text)
    block = <envelope_t*>realloc(block, old + room)
    if block == NULL:
        return fail(&reader.scan, E_MEMORY, reader.text)
    reader.text = <char*>block + sizeof(envelope_t)
    block.size = <uint32_t>(old + room)
    out = <char*>block + old - SENDER_ROOM
    block.fields[F_PARAMS].offset = <uint32_t>(old - SENDER_ROOM)
    if params.length:
        memcpy(out, <char*>block + params.offset, params.length - 1)
        out += params.length - 1
        while is_space((out - 1)[0]):
            out -= 1
    else:
        out[0] = c'{'
        out += 1
    for i in range(reader.extra_count):
        extra = &reader.extras[i]
        if i or (out - 1)[0] != c'{':
            out[0] = c','
            out += 1
        memcpy(out, reader.text + extra.start, extra.end - extra.start)
        out += extra.end - extra.start
    out[0] = c'}'
    block.fields[F_PARAMS].length = <uint32_t>(out + 1 - (<char*>block + block.fields[F_PARAMS].offset))
    return reader.text


cdef inline const char* message_read(reader_t* reader, size_t length) noexcept nogil:
    """The whole text; not NULL when it is a message."""
    cdef scan_t* scan = &reader.scan
    cdef const char* end = reader.text + length
    cdef const char* p
    if has_high(reader.text, length):
        p = utf8_stop(reader.text, end)
        if p != end:
            return fail(scan, E_UTF8, p)
    p = skip_space(reader.text)
    if p[0] == c'{':
        p = _members(reader, p + 1)
    else:
        p = skip_value(scan, p, reader.max_depth)
    if p == NULL:
        return NULL
    p = skip_space(p)
    if p != end:
        return fail(scan, E_JSON, p)
    if skip_space(reader.text)[0] != c'{':
        return fail(scan, E_NOT_OBJECT, reader.text)
    if _block(reader).act == 0:
        return refuse(scan, E_PERFORMATIVE, reader.text, KEY_PERFORMATIVE)
    if _block(reader).receivers == 0:
        return refuse(scan, E_RECEIVERS, reader.text, F_RECEIVER)
    if _block(reader).fields[F_PROTOCOL].length and not _block(reader).fields[F_CONVERSATION_ID].length:
        return refuse(scan, E_PROTOCOL, reader.text + _block(reader).fields[F_PROTOCOL].offset - sizeof(envelope_t) - 1, F_PROTOCOL)
    return _merge_extras(reader) if reader.extra_count else p
