"""See wasi.pxd."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memchr, memcpy, memset, strlen

from caxton._fast.platform cimport cx_monotonic_ns, cx_random, cx_realtime_us
from caxton._fast.wasm.c_api cimport *
from caxton._fast.wasm.hostcalls cimport agent_of, at_once, define, define_async, sleep_until
from caxton._fast.wasm.instance cimport agent_log, agent_t, guest_bytes

cdef enum:
    OK = 0
    EBADF = 8
    EFAULT = 21
    EINVAL = 28
    ENOTSUP = 58
    ESPIPE = 70
    CLOCK_REALTIME = 0
    LINE_ROOM = 4096
    MAX_VECTORS = 1024
    MAX_SUBSCRIPTIONS = 64
    MAX_WRITE = 65536       # bytes of one fd_write, which may take less than it is given: a host call cannot be interrupted


cdef inline wasm_trap_t* answer(wasmtime_val_raw_t* values, int32_t result) noexcept nogil:
    values[0].i32 = result
    return NULL


cdef inline uint8_t* at(wasmtime_caller_t* caller, const wasmtime_val_raw_t* value, uint32_t length) noexcept nogil:
    return guest_bytes(agent_of(caller), <uint32_t>value.i32, length)


cdef inline bint put32(wasmtime_caller_t* caller, const wasmtime_val_raw_t* value, uint32_t number) noexcept nogil:
    cdef uint8_t* to = at(caller, value, 4)
    if to != NULL:
        memcpy(to, &number, 4)
    return to != NULL


cdef inline bint put64(wasmtime_caller_t* caller, const wasmtime_val_raw_t* value, uint64_t number) noexcept nogil:
    cdef uint8_t* to = at(caller, value, 8)
    if to != NULL:
        memcpy(to, &number, 8)
    return to != NULL


# -- arguments and environment ---------------------------------------------------------------------------------------

cdef wasm_trap_t* args_sizes_get(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* v, size_t n) noexcept nogil:
    cdef bint ok = put32(caller, &v[0], 1) and put32(caller, &v[1], agent_of(caller).port.name_length + 1)
    return answer(v, OK if ok else EFAULT)


cdef wasm_trap_t* args_get(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* v, size_t n) noexcept nogil:
    cdef agent_t* agent = agent_of(caller)
    cdef uint8_t* text = at(caller, &v[1], agent.port.name_length + 1)
    if text == NULL or not put32(caller, &v[0], <uint32_t>v[1].i32):
        return answer(v, EFAULT)
    memcpy(text, agent.port.name, agent.port.name_length)
    text[agent.port.name_length] = 0
    return answer(v, OK)


cdef wasm_trap_t* environ_sizes_get(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* v, size_t n) noexcept nogil:
    cdef agent_t* agent = agent_of(caller)
    cdef bint ok = put32(caller, &v[0], agent.environment_count) and put32(caller, &v[1], agent.environment_length)
    return answer(v, OK if ok else EFAULT)


cdef wasm_trap_t* environ_get(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* v, size_t n) noexcept nogil:
    cdef agent_t* agent = agent_of(caller)
    cdef uint8_t* pointers = at(caller, &v[0], agent.environment_count * 4)
    cdef uint8_t* text = at(caller, &v[1], agent.environment_length)
    cdef uint32_t i, offset = 0, pointer
    if pointers == NULL or text == NULL:
        return answer(v, EFAULT)
    if agent.environment_length:
        memcpy(text, agent.environment, agent.environment_length)
    for i in range(agent.environment_count):
        pointer = <uint32_t>v[1].i32 + offset
        memcpy(pointers + i * 4, &pointer, 4)
        offset += <uint32_t>strlen(agent.environment + offset) + 1
    return answer(v, OK)


# -- clocks and chance -----------------------------------------------------------------------------------------------

cdef inline uint64_t clock_ns(int32_t clock) noexcept nogil:
    return <uint64_t>cx_realtime_us() * 1000 if clock == CLOCK_REALTIME else <uint64_t>cx_monotonic_ns()


cdef wasm_trap_t* clock_time_get(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* v, size_t n) noexcept nogil:
    if not 0 <= v[0].i32 <= 3:
        return answer(v, EINVAL)
    return answer(v, OK if put64(caller, &v[2], clock_ns(v[0].i32)) else EFAULT)


cdef wasm_trap_t* clock_res_get(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* v, size_t n) noexcept nogil:
    if not 0 <= v[0].i32 <= 3:
        return answer(v, EINVAL)
    return answer(v, OK if put64(caller, &v[1], 1000) else EFAULT)


cdef wasm_trap_t* random_get(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* v, size_t n) noexcept nogil:
    cdef uint32_t length = <uint32_t>v[1].i32
    cdef uint8_t* to = at(caller, &v[0], length)
    if to == NULL:
        return answer(v, EFAULT)
    if length > 65536:
        return answer(v, EINVAL)
    return answer(v, OK if cx_random(to, length) == 0 else ENOTSUP)


# -- descriptors: 0 is empty, 1 and 2 are the log --------------------------------------------------------------------

cdef void write_lines(agent_t* agent, int stream, const char* text, uint32_t length) noexcept nogil:
    """Log what is complete; keep the rest for the next write."""
    cdef char** line = &agent.line[stream - 1]
    cdef uint32_t* held = &agent.line_length[stream - 1]
    cdef const char* end
    cdef uint32_t piece
    while length:
        end = <const char*>memchr(text, b"\n", length)
        piece = <uint32_t>(end - text) if end != NULL else length
        if end != NULL and held[0] == 0:
            agent_log(agent, stream, text, piece)
        else:
            if line[0] == NULL:
                line[0] = <char*>malloc(LINE_ROOM)
                if line[0] == NULL:
                    return
            if held[0] + piece > LINE_ROOM:
                agent_log(agent, stream, line[0], held[0])
                held[0] = 0
            if piece > LINE_ROOM:
                agent_log(agent, stream, text, piece)
            else:
                memcpy(line[0] + held[0], text, piece)
                held[0] += piece
                if end != NULL:
                    agent_log(agent, stream, line[0], held[0])
                    held[0] = 0
        piece += end != NULL
        text += piece
        length -= piece


cdef wasm_trap_t* fd_write(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* v, size_t n) noexcept nogil:
    cdef uint32_t count = <uint32_t>v[2].i32, i, written = 0
    cdef uint32_t vector[2]
    cdef uint8_t* vectors
    cdef uint8_t* text
    if v[0].i32 != 1 and v[0].i32 != 2:
        return answer(v, EBADF)
    if count > MAX_VECTORS:
        return answer(v, EINVAL)
    vectors = at(caller, &v[1], count * 8)
    if vectors == NULL:
        return answer(v, EFAULT)
    for i in range(count):
        memcpy(vector, vectors + i * 8, 8)
        text = guest_bytes(agent_of(caller), vector[0], vector[1])
        if text == NULL:
            return answer(v, EFAULT)
        vector[1] = min(vector[1], MAX_WRITE - written)
        write_lines(agent_of(caller), v[0].i32, <char*>text, vector[1])
        written += vector[1]
        if written == MAX_WRITE:
            break
    return answer(v, OK if put32(caller, &v[3], written) else EFAULT)


cdef wasm_trap_t* fd_read(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* v, size_t n) noexcept nogil:
    if v[0].i32 != 0:
        return answer(v, EBADF)
    return answer(v, OK if put32(caller, &v[3], 0) else EFAULT)


cdef wasm_trap_t* fd_close(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* v, size_t n) noexcept nogil:
    return answer(v, OK if 0 <= v[0].i32 <= 2 else EBADF)


cdef wasm_trap_t* fd_seek(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* v, size_t n) noexcept nogil:
    return answer(v, ESPIPE if 0 <= v[0].i32 <= 2 else EBADF)


cdef wasm_trap_t* fd_fdstat_get(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* v, size_t n) noexcept nogil:
    cdef uint8_t* to
    cdef uint64_t rights = 2 if v[0].i32 == 0 else 64       # fd_read, fd_write
    if not 0 <= v[0].i32 <= 2:
        return answer(v, EBADF)
    to = at(caller, &v[1], 24)
    if to == NULL:
        return answer(v, EFAULT)
    memset(to, 0, 24)
    to[0] = 2       # a character device
    memcpy(to + 8, &rights, 8)
    return answer(v, OK)


cdef wasm_trap_t* fd_fdstat_set_flags(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* v, size_t n) noexcept nogil:
    return answer(v, OK if 0 <= v[0].i32 <= 2 else EBADF)


cdef wasm_trap_t* no_such_descriptor(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* v, size_t n) noexcept nogil:
    return answer(v, EBADF)


# -- the process -----------------------------------------------------------------------------------------------------

cdef wasm_trap_t* proc_exit(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* v, size_t n) noexcept nogil:
    return wasmtime_trap_new(b"the agent called proc_exit", 26)


cdef void sched_yield(
    void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults,
    wasm_trap_t** trap, wasmtime_async_continuation_t* continuation
) noexcept nogil:
    results[0].kind = VAL_I32
    results[0].of.i32 = OK
    at_once(continuation)


cdef void poll_oneoff(
    void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults,
    wasm_trap_t** trap, wasmtime_async_continuation_t* continuation
) noexcept nogil:
    """Clock subscriptions suspend the guest until the earliest; output is always ready."""
    cdef agent_t* agent = agent_of(caller)
    cdef uint32_t count = <uint32_t>args[2].of.i32, i, ready = 0
    cdef uint8_t* subscriptions
    cdef uint8_t* events
    cdef uint8_t* item
    cdef int64_t wait, earliest = -1
    cdef uint64_t timeout, now
    cdef uint32_t clock
    cdef uint16_t flags
    results[0].kind = VAL_I32
    at_once(continuation)
    if count == 0 or count > MAX_SUBSCRIPTIONS:
        results[0].of.i32 = EINVAL
        return
    subscriptions = guest_bytes(agent, <uint32_t>args[0].of.i32, count * 48)
    events = guest_bytes(agent, <uint32_t>args[1].of.i32, count * 32)
    item = guest_bytes(agent, <uint32_t>args[3].of.i32, 4)
    if subscriptions == NULL or events == NULL or item == NULL:
        results[0].of.i32 = EFAULT
        return
    for i in range(count):
        if subscriptions[i * 48 + 8] != 0:
            earliest = 0
            continue
        memcpy(&clock, subscriptions + i * 48 + 16, 4)
        memcpy(&timeout, subscriptions + i * 48 + 24, 8)
        memcpy(&flags, subscriptions + i * 48 + 40, 2)
        wait = <int64_t>min(timeout, <uint64_t>86_400_000_000_000)
        if flags & 1:
            now = clock_ns(<int32_t>clock)
            wait = <int64_t>min(timeout - now, <uint64_t>86_400_000_000_000) if timeout > now else 0
        if earliest < 0 or wait < earliest:
            earliest = wait
    # every subscription is reported when the earliest is due: a guest looks at the time again before it sleeps on
    for i in range(count):
        memset(events + ready * 32, 0, 32)
        memcpy(events + ready * 32, subscriptions + i * 48, 8)
        events[ready * 32 + 10] = subscriptions[i * 48 + 8]
        ready += 1
    memcpy(item, &ready, 4)
    results[0].of.i32 = OK
    if earliest > 0:
        sleep_until(agent, cx_monotonic_ns() + min(earliest, <int64_t>86_400_000_000_000), continuation)


cdef int define_wasi(wasmtime_linker_t* linker) noexcept:
    cdef const char* m = b"wasi_snapshot_preview1"
    cdef int failed = 0
    failed |= define(linker, m, b"args_sizes_get", b"ii>i", args_sizes_get)
    failed |= define(linker, m, b"args_get", b"ii>i", args_get)
    failed |= define(linker, m, b"environ_sizes_get", b"ii>i", environ_sizes_get)
    failed |= define(linker, m, b"environ_get", b"ii>i", environ_get)
    failed |= define(linker, m, b"clock_time_get", b"iIi>i", clock_time_get)
    failed |= define(linker, m, b"clock_res_get", b"ii>i", clock_res_get)
    failed |= define(linker, m, b"random_get", b"ii>i", random_get)
    failed |= define(linker, m, b"fd_write", b"iiii>i", fd_write)
    failed |= define(linker, m, b"fd_read", b"iiii>i", fd_read)
    failed |= define(linker, m, b"fd_close", b"i>i", fd_close)
    failed |= define(linker, m, b"fd_seek", b"iIii>i", fd_seek)
    failed |= define(linker, m, b"fd_fdstat_get", b"ii>i", fd_fdstat_get)
    failed |= define(linker, m, b"fd_fdstat_set_flags", b"ii>i", fd_fdstat_set_flags)
    failed |= define(linker, m, b"fd_prestat_get", b"ii>i", no_such_descriptor)
    failed |= define(linker, m, b"fd_prestat_dir_name", b"iii>i", no_such_descriptor)
    failed |= define(linker, m, b"proc_exit", b"i>", proc_exit)
    failed |= define_async(linker, m, b"sched_yield", b">i", sched_yield)
    failed |= define_async(linker, m, b"poll_oneoff", b"iiii>i", poll_oneoff)
    return failed
