"""See wasi2.pxd."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memset, strlen

from caxton._fast.platform cimport cx_monotonic_ns, cx_poke_i32, cx_random, cx_realtime_us
from caxton._fast.wasm.component_calls cimport agent_at
from caxton._fast.wasm.component_guest cimport FREE_POLLABLE, guest_t, MAX_POLLABLES, MAX_POLLED, put_text, READY
from caxton._fast.wasm.component_values cimport *
from caxton._fast.wasm.hostcalls cimport at_once, sleep_until
from caxton._fast.wasm.instance cimport agent_t, WAIT_NOTHING
from caxton._fast.wasm.wasi cimport write_lines

ctypedef wasmtime_component_val_t val_t
ctypedef const wasmtime_component_func_type_t type_t

cdef enum:
    # types of resources, for wasmtime_component_resource_type_new_host
    POLLABLE = 1
    INPUT_STREAM = 2
    OUTPUT_STREAM = 3

    STDIN = 0
    STDOUT = 1
    STDERR = 2

    MAX_WRITE = 4096        # bytes that check-write permits: as one value each they take 32 times as much
    MAX_RANDOM = 65536

cdef int64_t DAY_NS = 86_400_000_000_000


cdef wasmtime_error_t* refused(const char* why) noexcept nogil:
    return wasmtime_error_new(why)


cdef inline guest_t* guest_at(wasmtime_context_t* c) noexcept nogil:
    return <guest_t*>agent_at(c).guest


# -- pollables -------------------------------------------------------------------------------------------------------

cdef int64_t new_pollable(guest_t* guest, int64_t due_ns) noexcept nogil:
    """Its number, or -1 when the guest has too many."""
    cdef uint32_t i, room
    cdef int64_t* larger
    for i in range(guest.due_used):
        if guest.due_ns[i] == FREE_POLLABLE:
            guest.due_ns[i] = due_ns
            return i
    if guest.due_used == MAX_POLLABLES:
        return -1
    if guest.due_used == guest.due_room:
        room = min(guest.due_room * 2 + 8, <uint32_t>MAX_POLLABLES)
        larger = <int64_t*>realloc(guest.due_ns, room * sizeof(int64_t))
        if larger == NULL:
            return -1
        guest.due_ns = larger
        guest.due_room = room
    guest.due_ns[guest.due_used] = due_ns
    guest.due_used += 1
    return guest.due_used - 1


cdef wasmtime_error_t* give_pollable(wasmtime_context_t* c, val_t* r, int64_t due_ns) noexcept nogil:
    cdef int64_t number = new_pollable(guest_at(c), due_ns)
    if number < 0:
        return refused(b"too many pollables: drop those that are not needed (1024 at a time)")
    return put_own(r, c, POLLABLE, <uint32_t>number)


cdef wasmtime_error_t* drop_pollable(void* env, wasmtime_context_t* c, uint32_t number) noexcept nogil:
    cdef guest_t* guest = guest_at(c)
    if guest != NULL and number < guest.due_used:
        guest.due_ns[number] = FREE_POLLABLE
    return NULL


cdef wasmtime_error_t* drop_nothing(void* env, wasmtime_context_t* c, uint32_t number) noexcept nogil:
    return NULL


cdef wasmtime_error_t* get_pollable(wasmtime_context_t* c, const val_t* value, uint32_t* number) noexcept nogil:
    cdef uint32_t type = 0
    cdef wasmtime_error_t* error = get_borrowed(value, c, &type, number)
    if error != NULL:
        return error
    if type != POLLABLE or number[0] >= guest_at(c).due_used:
        return refused(b"this is no pollable")
    return NULL


cdef wasmtime_error_t* ready(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    cdef uint32_t number = 0
    cdef wasmtime_error_t* error = get_pollable(c, &a[0], &number)
    if error == NULL:
        put_bool(r, guest_at(c).due_ns[number] <= cx_monotonic_ns())
    return error


cdef void block(
    void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m, wasmtime_error_t** failure,
    wasmtime_async_continuation_t* continuation
) noexcept nogil:
    cdef uint32_t number = 0
    at_once(continuation)
    failure[0] = get_pollable(c, &a[0], &number)
    if failure[0] == NULL:
        wait_until(agent_at(c), guest_at(c).due_ns[number], continuation)


cdef void wait_until(agent_t* agent, int64_t due_ns, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef int64_t now = cx_monotonic_ns()
    if due_ns > now:
        sleep_until(agent, min(due_ns, now + DAY_NS), continuation)


cdef void report(guest_t* guest) noexcept nogil:
    """The places in the list of those that are due: the answer of `poll`."""
    cdef int64_t now = cx_monotonic_ns()
    cdef uint32_t i, count = 0
    cdef val_t* items
    for i in range(guest.polled_count):
        count += guest.due_ns[guest.polled[i]] <= now
    items = put_list(guest.answer, count)
    count = 0
    for i in range(guest.polled_count):
        if guest.due_ns[guest.polled[i]] <= now:
            put_u32(&items[count], i)
            count += 1
    free(guest.polled)
    guest.polled = NULL


cdef wasm_bool polled(void* env) noexcept nogil:
    cdef agent_t* agent = <agent_t*>env
    if cx_monotonic_ns() < agent.wake_ns:
        return False
    cx_poke_i32(&agent.waiting, WAIT_NOTHING)
    report(<guest_t*>agent.guest)
    return True


cdef void poll(
    void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m, wasmtime_error_t** failure,
    wasmtime_async_continuation_t* continuation
) noexcept nogil:
    """The guest is suspended until the earliest is due."""
    cdef guest_t* guest = guest_at(c)
    cdef int64_t earliest = 0
    cdef size_t i, count
    at_once(continuation)
    if a[0].kind != CVAL_LIST or a[0].of.list.size == 0 or a[0].of.list.size > MAX_POLLED:
        failure[0] = refused(b"poll takes 1 to 1024 pollables")
        return
    count = a[0].of.list.size
    free(guest.polled)
    guest.polled = <uint32_t*>malloc(count * sizeof(uint32_t))
    guest.polled_count = 0
    if guest.polled == NULL:
        failure[0] = refused(b"no memory left")
        return
    for i in range(count):
        failure[0] = get_pollable(c, &a[0].of.list.data[i], &guest.polled[i])
        if failure[0] != NULL:
            return
        if i == 0 or guest.due_ns[guest.polled[i]] < earliest:
            earliest = guest.due_ns[guest.polled[i]]
    guest.polled_count = <uint32_t>count
    guest.answer = r
    if earliest <= cx_monotonic_ns():
        report(guest)
        return
    # who waits for longer than a day is told that nothing is due, and asks again
    wait_until(agent_at(c), earliest, continuation)
    continuation.callback = polled


# -- streams ---------------------------------------------------------------------------------------------------------

cdef wasmtime_error_t* get_stream(wasmtime_context_t* c, const val_t* value, uint32_t wanted, uint32_t* number) noexcept nogil:
    cdef uint32_t type = 0
    cdef wasmtime_error_t* error = get_borrowed(value, c, &type, number)
    if error == NULL and type != wanted:
        return refused(b"this is no such stream")
    return error


cdef wasmtime_error_t* nothing_to_read(
    void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m
) noexcept nogil:
    cdef uint32_t stream = 0
    cdef wasmtime_error_t* error = get_stream(c, &a[0], INPUT_STREAM, &stream)
    if error == NULL:
        put_case(put_failed(r), b"closed")
    return error


cdef wasmtime_error_t* subscribe_input(
    void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m
) noexcept nogil:
    cdef uint32_t stream = 0
    cdef wasmtime_error_t* error = get_stream(c, &a[0], INPUT_STREAM, &stream)
    return error if error != NULL else give_pollable(c, r, READY)


cdef wasmtime_error_t* subscribe_output(
    void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m
) noexcept nogil:
    cdef uint32_t stream = 0
    cdef wasmtime_error_t* error = get_stream(c, &a[0], OUTPUT_STREAM, &stream)
    return error if error != NULL else give_pollable(c, r, READY)


cdef wasmtime_error_t* check_write(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    cdef uint32_t stream = 0
    cdef wasmtime_error_t* error = get_stream(c, &a[0], OUTPUT_STREAM, &stream)
    if error == NULL:
        put_u64(put_ok(r), MAX_WRITE)
    return error


cdef wasmtime_error_t* write(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    cdef char text[MAX_WRITE]
    cdef uint32_t stream = 0, i
    cdef wasmtime_error_t* error = get_stream(c, &a[0], OUTPUT_STREAM, &stream)
    if error != NULL:
        return error
    if a[1].kind != CVAL_LIST or a[1].of.list.size > MAX_WRITE:
        return refused(b"a write of more bytes than check-write permits (4096)")
    for i in range(<uint32_t>a[1].of.list.size):
        text[i] = <char>a[1].of.list.data[i].of.u8
    write_lines(agent_at(c), <int>stream, text, <uint32_t>a[1].of.list.size)
    put_done(r)
    return NULL


cdef wasmtime_error_t* write_zeroes(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    cdef char text[MAX_WRITE]
    cdef uint32_t stream = 0
    cdef wasmtime_error_t* error = get_stream(c, &a[0], OUTPUT_STREAM, &stream)
    if error != NULL:
        return error
    if a[1].of.u64 > MAX_WRITE:
        return refused(b"a write of more bytes than check-write permits (4096)")
    memset(text, 0, MAX_WRITE)
    write_lines(agent_at(c), <int>stream, text, <uint32_t>a[1].of.u64)
    put_done(r)
    return NULL


cdef wasmtime_error_t* flush(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    """A line is in the log when it is complete; there is nothing that waits."""
    cdef uint32_t stream = 0
    cdef wasmtime_error_t* error = get_stream(c, &a[0], OUTPUT_STREAM, &stream)
    if error == NULL:
        put_done(r)
    return error


cdef wasmtime_error_t* error_text(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    """No stream of ours gives an error: there is none that could be asked."""
    return refused(b"this is no error")


# -- clocks and chance -----------------------------------------------------------------------------------------------

cdef wasmtime_error_t* monotonic_now(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    put_u64(r, <uint64_t>cx_monotonic_ns())
    return NULL


cdef wasmtime_error_t* monotonic_resolution(
    void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m
) noexcept nogil:
    put_u64(r, 1)
    return NULL


cdef wasmtime_error_t* subscribe_instant(
    void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m
) noexcept nogil:
    return give_pollable(c, r, <int64_t>min(a[0].of.u64, <uint64_t>0x7FFFFFFFFFFFFFFF))


cdef wasmtime_error_t* subscribe_duration(
    void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m
) noexcept nogil:
    # two hundred years from now are as good as for ever
    return give_pollable(c, r, cx_monotonic_ns() + <int64_t>min(a[0].of.u64, <uint64_t>0x5FFFFFFFFFFFFFFF))


cdef wasmtime_error_t* put_datetime(val_t* r, uint64_t seconds, uint32_t nanoseconds) noexcept nogil:
    cdef wasmtime_component_valrecord_entry_t* fields = put_record(r, b"seconds", b"nanoseconds")
    put_u64(&fields[0].val, seconds)
    put_u32(&fields[1].val, nanoseconds)
    return NULL


cdef wasmtime_error_t* wall_now(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    cdef uint64_t now = <uint64_t>cx_realtime_us()
    return put_datetime(r, now // 1_000_000, <uint32_t>(now % 1_000_000) * 1000)


cdef wasmtime_error_t* wall_resolution(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    return put_datetime(r, 0, 1000)


cdef wasmtime_error_t* random_bytes(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    cdef uint8_t chunk[256]
    cdef val_t* items
    cdef size_t length = <size_t>a[0].of.u64, i
    if a[0].of.u64 > MAX_RANDOM:
        return refused(b"at most 65536 random bytes at a time")
    items = put_list(r, length)
    for i in range(length):
        if i % sizeof(chunk) == 0:
            cx_random(chunk, sizeof(chunk))
        items[i].kind = CVAL_U8
        items[i].of.u8 = chunk[i % sizeof(chunk)]
    return NULL


cdef wasmtime_error_t* random_u64(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    cdef uint64_t value = 0
    cx_random(&value, sizeof(value))
    put_u64(r, value)
    return NULL


cdef wasmtime_error_t* insecure_seed(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    cdef uint64_t value[2]
    cdef val_t* items = put_tuple(r, 2)
    cx_random(value, sizeof(value))
    put_u64(&items[0], value[0])
    put_u64(&items[1], value[1])
    return NULL


# -- the command line ------------------------------------------------------------------------------------------------

cdef wasmtime_error_t* environment(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    cdef agent_t* agent = agent_at(c)
    cdef val_t* items = put_list(r, agent.environment_count)
    cdef val_t* pair
    cdef const char* at = agent.environment
    cdef const char* equals
    cdef size_t length
    cdef uint32_t i
    for i in range(agent.environment_count):
        length = strlen(at)
        equals = <const char*>memchr(at, b"=", length)
        pair = put_tuple(&items[i], 2)
        if equals == NULL:
            equals = at + length
        put_text(&pair[0], at, equals - at)
        put_text(&pair[1], equals + (equals < at + length), at + length - equals - (equals < at + length))
        at += length + 1
    return NULL


cdef wasmtime_error_t* arguments(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    put_text(put_list(r, 1), agent_at(c).port.name, agent_at(c).port.name_length)
    return NULL


cdef wasmtime_error_t* nowhere(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    put_none(r)
    return NULL


cdef wasmtime_error_t* exit_(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    return refused(b"the agent called exit")


cdef wasmtime_error_t* stdin_(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    return put_own(r, c, INPUT_STREAM, STDIN)


cdef wasmtime_error_t* stdout_(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    return put_own(r, c, OUTPUT_STREAM, STDOUT)


cdef wasmtime_error_t* stderr_(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    return put_own(r, c, OUTPUT_STREAM, STDERR)


cdef wasmtime_error_t* none_at_all(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    """No folder is open to the guest."""
    put_list(r, 0)
    return NULL


# -- the tables ------------------------------------------------------------------------------------------------------

# name of a resource type -> its number here, and the address of its destructor
RESOURCES = {
    "pollable": (POLLABLE, <size_t><void*>drop_pollable),
    "input-stream": (INPUT_STREAM, <size_t><void*>drop_nothing),
    "output-stream": (OUTPUT_STREAM, <size_t><void*>drop_nothing),
}
DROP_NOTHING = <size_t><void*>drop_nothing      # of resources that nobody ever holds

# interface without its version and function -> address, and whether it suspends the guest; blueprint.pyx links them
FUNCTIONS = {
    "wasi:io/error#[method]error.to-debug-string": (<size_t><void*>error_text, False),
    "wasi:io/poll#[method]pollable.ready": (<size_t><void*>ready, False),
    "wasi:io/poll#[method]pollable.block": (<size_t><void*>block, True),
    "wasi:io/poll#poll": (<size_t><void*>poll, True),
    "wasi:io/streams#[method]input-stream.read": (<size_t><void*>nothing_to_read, False),
    "wasi:io/streams#[method]input-stream.blocking-read": (<size_t><void*>nothing_to_read, False),
    "wasi:io/streams#[method]input-stream.skip": (<size_t><void*>nothing_to_read, False),
    "wasi:io/streams#[method]input-stream.blocking-skip": (<size_t><void*>nothing_to_read, False),
    "wasi:io/streams#[method]input-stream.subscribe": (<size_t><void*>subscribe_input, False),
    "wasi:io/streams#[method]output-stream.check-write": (<size_t><void*>check_write, False),
    "wasi:io/streams#[method]output-stream.write": (<size_t><void*>write, False),
    "wasi:io/streams#[method]output-stream.blocking-write-and-flush": (<size_t><void*>write, False),
    "wasi:io/streams#[method]output-stream.flush": (<size_t><void*>flush, False),
    "wasi:io/streams#[method]output-stream.blocking-flush": (<size_t><void*>flush, False),
    "wasi:io/streams#[method]output-stream.subscribe": (<size_t><void*>subscribe_output, False),
    "wasi:io/streams#[method]output-stream.write-zeroes": (<size_t><void*>write_zeroes, False),
    "wasi:io/streams#[method]output-stream.blocking-write-zeroes-and-flush": (<size_t><void*>write_zeroes, False),
    "wasi:clocks/monotonic-clock#now": (<size_t><void*>monotonic_now, False),
    "wasi:clocks/monotonic-clock#resolution": (<size_t><void*>monotonic_resolution, False),
    "wasi:clocks/monotonic-clock#subscribe-instant": (<size_t><void*>subscribe_instant, False),
    "wasi:clocks/monotonic-clock#subscribe-duration": (<size_t><void*>subscribe_duration, False),
    "wasi:clocks/wall-clock#now": (<size_t><void*>wall_now, False),
    "wasi:clocks/wall-clock#resolution": (<size_t><void*>wall_resolution, False),
    "wasi:random/random#get-random-bytes": (<size_t><void*>random_bytes, False),
    "wasi:random/random#get-random-u64": (<size_t><void*>random_u64, False),
    "wasi:random/insecure#get-insecure-random-bytes": (<size_t><void*>random_bytes, False),
    "wasi:random/insecure#get-insecure-random-u64": (<size_t><void*>random_u64, False),
    "wasi:random/insecure-seed#insecure-seed": (<size_t><void*>insecure_seed, False),
    "wasi:cli/environment#get-environment": (<size_t><void*>environment, False),
    "wasi:cli/environment#get-arguments": (<size_t><void*>arguments, False),
    "wasi:cli/environment#initial-cwd": (<size_t><void*>nowhere, False),
    "wasi:cli/exit#exit": (<size_t><void*>exit_, False),
    "wasi:cli/stdin#get-stdin": (<size_t><void*>stdin_, False),
    "wasi:cli/stdout#get-stdout": (<size_t><void*>stdout_, False),
    "wasi:cli/stderr#get-stderr": (<size_t><void*>stderr_, False),
    "wasi:cli/terminal-stdin#get-terminal-stdin": (<size_t><void*>nowhere, False),
    "wasi:cli/terminal-stdout#get-terminal-stdout": (<size_t><void*>nowhere, False),
    "wasi:cli/terminal-stderr#get-terminal-stderr": (<size_t><void*>nowhere, False),
    "wasi:filesystem/preopens#get-directories": (<size_t><void*>none_at_all, False),
}
