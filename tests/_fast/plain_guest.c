/* A guest in plain C, in the place of libwasmtime's stores, fibers and calls, for ThreadSanitizer.

ThreadSanitizer sees neither a fiber's change of stacks nor what Rust and compiled guests do. So `make sanitize` puts this
library in front of libwasmtime (LD_PRELOAD): the functions below are found first, and the rest of Caxton's native part runs
as it is, instrumented: scheduler, turns, router, mailboxes, rings, outbox, and the host functions too. Engines, modules,
traps and errors are still libwasmtime's; each is used by one thread at a time.

The guest is the probe (probe.py): it does what its message says. It has no stack of its own: where it stands in its script
is kept between two polls, and a host call that waits is asked again, as a fiber would be. A module without handle_timer is
taken for the mirror (mirror.wat), or for one whose `init` traps or never ends.

Rule 1: what is shared between threads is the epoch, nothing else; a store belongs to who polls it, as in libwasmtime.
Rule 2: the table of calls is in the order of core.wasm_abi, as in probe.py; the operations are in the order of probe.py's.
*/

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* -- what is used of libwasmtime's C API; caxton/_fast/wasm/c_api.pxd is the whole and says for which version -- */

typedef struct { size_t size; void **data; } vec_t;
typedef struct { uint64_t store_id; void *private_; } wasmtime_func_t;
typedef struct { uint64_t store_id; size_t private_; } wasmtime_instance_t;
typedef struct { struct { uint64_t store_id; uint32_t private1; } head; uint32_t private2; } wasmtime_memory_t;
typedef struct { uint8_t kind; union { wasmtime_func_t func; wasmtime_memory_t memory; } of; } wasmtime_extern_t;
typedef struct { uint8_t kind; union { int32_t i32; int64_t i64; uint8_t v128[16]; uint64_t reference[3]; } of; } wasmtime_val_t;
typedef union { int32_t i32; int64_t i64; uint8_t v128[16]; } wasmtime_val_raw_t;
typedef struct { bool (*callback)(void *); void *env; void (*finalizer)(void *); } continuation_t;
typedef void *(*plain_call_t)(void *env, void *caller, wasmtime_val_raw_t *values, size_t count);
typedef void (*slow_call_t)(void *env, void *caller, const wasmtime_val_t *args, size_t, wasmtime_val_t *results, size_t, void **trap, continuation_t *);

_Static_assert(sizeof(wasmtime_extern_t) == 32 && offsetof(wasmtime_extern_t, of) == 8, "extern");
_Static_assert(sizeof(wasmtime_val_t) == 32 && sizeof(wasmtime_val_raw_t) == 16 && sizeof(continuation_t) == 24, "values");

const vec_t *wasm_functype_params(const void *);
const vec_t *wasm_functype_results(const void *);
uint8_t wasm_valtype_kind(const void *);
void *wasmtime_trap_new_code(uint8_t);
void *wasmtime_error_new(const char *);

enum { I32 = 0, I64 = 1, EXTERN_FUNC = 0, EXTERN_MEMORY = 3, OUT_OF_BOUNDS = 1, UNREACHABLE = 9 };
enum { PAGE = 65536, FIRST_PAGES = 4, MOST_PAGES = 64, INBOX = 0x10000, RESULTS = 0x20000, TIMER = 0x38000, MOST_OPERANDS = 8 };

/* -- the host functions -- */

typedef struct {
    const char *name;
    plain_call_t plain;
    slow_call_t slow;
    void *env;
    uint8_t operands, kinds[MOST_OPERANDS], results, result_kind;
} host_t;

static host_t hosts[] = {
    {"send_message"}, {"broadcast_message"}, {"subscribe_messages"}, {"console_log"}, {"console_error"}, {"current_timestamp"}, {"random_u32"},
    {"sleep_micros"}, {"set_timer"}, {"cancel_timer"}, {"store_data"}, {"load_data"}, {"delete_data"}, {"mcp_call"}, {"memory_search"}, {"last_error"}, {"set_error"},
    {"args_get"}, {"args_sizes_get"}, {"environ_get"}, {"environ_sizes_get"}, {"clock_res_get"}, {"clock_time_get"}, {"random_get"}, {"fd_write"},
    {"fd_read"}, {"fd_close"}, {"fd_seek"}, {"fd_fdstat_get"}, {"fd_fdstat_set_flags"}, {"fd_prestat_get"}, {"fd_prestat_dir_name"}, {"proc_exit"},
    {"sched_yield"}, {"poll_oneoff"},
};
enum { HOSTS = sizeof hosts / sizeof *hosts };
enum { END = 1000, POKE, PEEK, FILL, GROW, TRAP, REFUSE, SPIN };

/* Defined again by every scheduler, always as the same: no thread of an older one is left when a new one is made (a test has one at a time). */
static void *define(const char *name, size_t length, const void *type, plain_call_t plain, slow_call_t slow, void *env) {
    for (int i = 0; i < HOSTS; i++) {
        host_t *host = &hosts[i];
        if (strlen(host->name) != length || memcmp(host->name, name, length)) continue;
        const vec_t *params = wasm_functype_params(type), *results = wasm_functype_results(type);
        if (host->plain == plain && host->slow == slow && host->env == env) return NULL;
        host->plain = plain;
        host->slow = slow;
        host->env = env;
        host->operands = (uint8_t)params->size;
        for (size_t k = 0; k < params->size; k++) host->kinds[k] = wasm_valtype_kind(params->data[k]);
        host->results = (uint8_t)results->size;
        if (results->size) host->result_kind = wasm_valtype_kind(results->data[0]);
        return NULL;
    }
    return wasmtime_error_new("the plain guest knows no host function of this name");
}

void *wasmtime_linker_define_func_unchecked(void *linker, const char *module, size_t module_length, const char *name, size_t length, const void *type,
                                            plain_call_t call, void *env, void *finalizer) {
    return define(name, length, type, call, NULL, env);
}

void *wasmtime_linker_define_async_func(void *linker, const char *module, size_t module_length, const char *name, size_t length, const void *type,
                                        slow_call_t call, void *env, void *finalizer) {
    return define(name, length, type, NULL, call, env);
}

void *wasmtime_linker_instantiate_pre(const void *linker, const void *module, void **pre) {
    *pre = malloc(1);
    return NULL;
}

void wasmtime_instance_pre_delete(void *pre) { free(pre); }

/* -- stores: one instance each -- */

typedef struct {
    void *data;
    uint8_t *memory;
    uint64_t size, limit;
    uint64_t ticks, deadline;       /* of the epoch */
    uint32_t at, out;               /* the script: where it is read, where results go */
    bool is_probe;
} store_t;

static uint64_t epoch;              /* atomic */
static uint32_t instances;          /* atomic */

void wasmtime_engine_increment_epoch(void *engine) { __atomic_add_fetch(&epoch, 1, __ATOMIC_RELAXED); }

void *wasmtime_store_new(void *engine, void *data, void *finalizer) {
    store_t *store = calloc(1, sizeof *store);
    if (!store) abort();            /* as libwasmtime does */
    store->data = data;
    store->limit = UINT64_MAX;
    return store;
}

void wasmtime_store_delete(store_t *store) {
    if (store->memory) munmap(store->memory, MOST_PAGES * PAGE);
    free(store);
}

void *wasmtime_store_context(store_t *store) { return store; }
void *wasmtime_caller_context(store_t *caller) { return caller; }
void *wasmtime_context_get_data(const store_t *store) { return store->data; }
void wasmtime_store_limiter(store_t *store, int64_t memory, int64_t elements, int64_t n, int64_t tables, int64_t memories) { store->limit = (uint64_t)memory; }
void wasmtime_context_epoch_deadline_async_yield_and_update(store_t *store, uint64_t ticks) { store->ticks = ticks; }

void wasmtime_context_set_epoch_deadline(store_t *store, uint64_t ticks) {
    store->deadline = __atomic_load_n(&epoch, __ATOMIC_RELAXED) + ticks;
}

uint8_t *wasmtime_memory_data(const store_t *store, const void *memory) { return store->memory; }
size_t wasmtime_memory_data_size(const store_t *store, const void *memory) { return store->size; }

static int64_t grow(store_t *store, uint64_t pages) {
    uint64_t before = store->size / PAGE, size = store->size + pages * PAGE;
    if (pages > MOST_PAGES || size > MOST_PAGES * PAGE || size > store->limit) return -1;
    if (!store->memory) {           /* all at once: it must not move, as in the engine where address space is reserved */
        void *memory = mmap(NULL, MOST_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) return -1;
        store->memory = memory;
    }
    store->size = size;
    return (int64_t)before;
}

void *wasmtime_memory_grow(store_t *store, const void *memory, uint64_t pages, uint64_t *before) {
    int64_t outcome = grow(store, pages);
    if (outcome < 0) return wasmtime_error_new("failed to grow memory");
    *before = (uint64_t)outcome;
    return NULL;
}

enum { INSTANTIATE = 1, HANDLE_MESSAGE, ALLOC, INIT, HANDLE_TIMER, RESPONSE, OTHER };

bool wasmtime_instance_export_get(store_t *store, const void *instance, const char *name, size_t length, wasmtime_extern_t *item) {
    static const struct { const char *name; uintptr_t function; } names[] = {
        {"handle_message", HANDLE_MESSAGE}, {"caxton_alloc", ALLOC}, {"init", INIT}, {"handle_timer", HANDLE_TIMER}, {"get_response", RESPONSE},
    };
    memset(item, 0, sizeof *item);
    if (length == 6 && !memcmp(name, "memory", 6)) {
        item->kind = EXTERN_MEMORY;
        return true;
    }
    if (length == 12 && !memcmp(name, "handle_timer", 12)) store->is_probe = true;
    item->kind = EXTERN_FUNC;
    item->of.func.private_ = (void *)(uintptr_t)OTHER;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i].name) == length && !memcmp(name, names[i].name, length)) item->of.func.private_ = (void *)names[i].function;
    return true;
}

/* -- calls: what a fiber would run, as a machine that can be left and entered again -- */

typedef struct {
    store_t *store;
    uintptr_t function;
    wasmtime_val_t args[2], *results;
    size_t expected;
    void **trap, **error;
    bool begun, spins;
    const host_t *waits;            /* the slow call that the script waits for */
    wasmtime_val_t slow_args[MOST_OPERANDS], slow_result;
    continuation_t continuation;
} future_t;

static future_t *future_new(store_t *store, uintptr_t function, void **trap, void **error) {
    future_t *future = calloc(1, sizeof *future);
    if (!future) abort();
    future->store = store;
    future->function = function;
    future->trap = trap;
    future->error = error;
    return future;
}

void *wasmtime_instance_pre_instantiate_async(const void *pre, store_t *store, wasmtime_instance_t *instance, void **trap, void **error) {
    memset(instance, 0, sizeof *instance);
    return future_new(store, INSTANTIATE, trap, error);
}

void *wasmtime_func_call_async(store_t *store, const wasmtime_func_t *func, const wasmtime_val_t *args, size_t count, wasmtime_val_t *results,
                               size_t expected, void **trap, void **error) {
    future_t *future = future_new(store, (uintptr_t)func->private_, trap, error);
    if (count) memcpy(future->args, args, count * sizeof *args);
    future->results = results;
    future->expected = expected;
    return future;
}

void wasmtime_call_future_delete(future_t *future) { free(future); }

static bool finished(future_t *future, int32_t result) {
    if (future->expected) {
        future->results[0].kind = I32;
        future->results[0].of.i32 = result;
    }
    return true;
}

static bool trapped(future_t *future, uint8_t code) {
    *future->trap = wasmtime_trap_new_code(code);
    return true;
}

static bool inside(const store_t *store, uint64_t at, uint64_t length) { return at + length <= store->size; }

static bool digits(store_t *store, int count, uint64_t *value) {
    *value = 0;
    if (!inside(store, store->at, (uint64_t)count)) return false;
    while (count--) {
        uint32_t c = store->memory[store->at++];
        *value = *value << 4 | (c - (c > '9' ? 'a' - 10 : '0'));
    }
    return true;
}

static bool put(store_t *store, char c) {
    if (!inside(store, store->out, 1)) return false;
    store->memory[store->out++] = (uint8_t)c;
    return true;
}

static bool put_hex(store_t *store, uint64_t value, int count) {
    while (count--)
        if (!put(store, "0123456789abcdef"[value >> (4 * count) & 15])) return false;
    return true;
}

static bool put_result(store_t *store, int64_t value) { return put(store, '"') && put_hex(store, (uint64_t)value, 16) && put(store, '"') && put(store, ','); }

static bool put_outcome(store_t *store, const host_t *host, int32_t i32, int64_t i64) {
    return !host->results || put_result(store, host->result_kind == I64 ? i64 : i32);
}

/* the script goes on behind the call; true: it ended the guest's call or the guest waits, and *done says which */
static bool call_host(future_t *future, const host_t *host, bool *done) {
    store_t *store = future->store;
    wasmtime_val_raw_t values[MOST_OPERANDS + 1];
    uint64_t operand;
    *done = true;
    for (int i = 0; i < host->operands; i++) {
        if (!digits(store, 16, &operand)) return trapped(future, OUT_OF_BOUNDS);
        if (host->kinds[i] == I32) operand = (uint32_t)operand;
        values[i].i64 = (int64_t)operand;
        future->slow_args[i].kind = host->kinds[i];
        future->slow_args[i].of.i64 = (int64_t)operand;
    }
    if (host->slow) {
        future->slow_result.of.i64 = 0;
        host->slow(host->env, store, future->slow_args, host->operands, &future->slow_result, host->results, future->trap, &future->continuation);
        future->waits = host;
        return false;
    }
    *future->trap = host->plain(host->env, store, values, host->operands);
    if (*future->trap) return true;
    return put_outcome(store, host, values[0].i32, values[0].i64) ? false : trapped(future, OUT_OF_BOUNDS);
}

/* answers with the 17 characters of its message that begin with `#` */
static bool mirror(future_t *future) {
    store_t *store = future->store;
    const uint8_t *message = store->memory + (uint32_t)future->args[0].of.i32, *found = memchr(message, '#', (uint32_t)future->args[1].of.i32);
    if (!found) return finished(future, 1);
    store->out = RESULTS;
    put(store, '"');
    for (int i = 0; i < 17; i++) put(store, (char)found[i]);
    put(store, '"');
    return finished(future, 0);
}

static bool run_script(future_t *future) {
    store_t *store = future->store;
    uint64_t op, a, b, n;
    bool done;
    if (!future->begun) {
        future->begun = true;
        store->at = (uint32_t)future->args[0].of.i32;
        do {
            if (!inside(store, store->at, 1)) return trapped(future, OUT_OF_BOUNDS);
        } while (store->memory[store->at++] != '#');
        store->out = RESULTS;
        put(store, '[');
    }
    for (;;) {
        if (future->waits) {
            if (!future->continuation.callback(future->continuation.env)) return false;
            if (!put_outcome(store, future->waits, future->slow_result.of.i32, future->slow_result.of.i64)) return trapped(future, OUT_OF_BOUNDS);
            future->waits = NULL;
        }
        if (__atomic_load_n(&epoch, __ATOMIC_RELAXED) >= store->deadline) {
            /* the slice is over; the next one counts from when it goes on */
            store->deadline = UINT64_MAX;
            return false;
        }
        if (future->spins) continue;
        if (!digits(store, 16, &op)) return trapped(future, OUT_OF_BOUNDS);
        if (op < HOSTS) {
            if (!hosts[op].plain && !hosts[op].slow) return trapped(future, UNREACHABLE);
            if (call_host(future, &hosts[op], &done)) return done;
            continue;
        }
        if (op == POKE || op == PEEK || op == FILL) {
            if (!digits(store, 16, &a) || !digits(store, 16, &n)) return trapped(future, OUT_OF_BOUNDS);
            a = (uint32_t)a;
            n = (uint32_t)n;
        }
        switch (op) {
        case END:
            put(store, '0');
            put(store, ']');
            return finished(future, 0);
        case POKE:
            for (; n; n--, a++) {
                if (!digits(store, 2, &b) || !inside(store, a, 1)) return trapped(future, OUT_OF_BOUNDS);
                store->memory[a] = (uint8_t)b;
            }
            break;
        case PEEK:
            if (!inside(store, a, n)) return trapped(future, OUT_OF_BOUNDS);
            put(store, '"');
            put(store, 'x');
            for (; n; n--) put_hex(store, store->memory[a++], 2);
            put(store, '"');
            if (!put(store, ',')) return trapped(future, OUT_OF_BOUNDS);
            break;
        case FILL:          /* where, the byte, how many */
            if (!digits(store, 16, &b) || !inside(store, a, (uint32_t)b)) return trapped(future, OUT_OF_BOUNDS);
            memset(store->memory + a, (int)n, (uint32_t)b);
            break;
        case GROW:
            if (!digits(store, 16, &n) || !put_result(store, grow(store, (uint32_t)n))) return trapped(future, OUT_OF_BOUNDS);
            break;
        case TRAP:
            return trapped(future, UNREACHABLE);
        case REFUSE:
            return finished(future, 1);
        case SPIN:
            future->spins = true;
        }
    }
}

bool wasmtime_call_future_poll(future_t *future) {
    store_t *store = future->store;
    uint32_t count, length;
    if (store->deadline == UINT64_MAX) store->deadline = __atomic_load_n(&epoch, __ATOMIC_RELAXED) + store->ticks;
    switch (future->function) {
    case INSTANTIATE:
        if (grow(store, FIRST_PAGES) < 0) *future->error = wasmtime_error_new("memory minimum size of 4 pages exceeds memory limits");
        return true;
    case HANDLE_MESSAGE:
        return store->is_probe ? run_script(future) : mirror(future);
    case ALLOC:
        return finished(future, (uint32_t)future->args[0].of.i32 <= 0x10000 ? INBOX : 0);
    case INIT:
        if (!future->begun && __atomic_add_fetch(&instances, 1, __ATOMIC_RELAXED) & 1) return trapped(future, UNREACHABLE);
        future->begun = future->spins = true;
        return run_script(future);
    case HANDLE_TIMER:
        memcpy(store->memory + TIMER, &future->args[0].of.i32, 4);
        memcpy(&count, store->memory + TIMER + 4, 4);
        count++;
        memcpy(store->memory + TIMER + 4, &count, 4);
        return finished(future, 0);
    case RESPONSE:
        length = store->out - RESULTS;
        if (!inside(store, (uint32_t)future->args[0].of.i32, length)) return trapped(future, OUT_OF_BOUNDS);
        memmove(store->memory + (uint32_t)future->args[0].of.i32, store->memory + RESULTS, length);
        return finished(future, (int32_t)length);
    default:
        return finished(future, 0);
    }
}

/* -- a race, so that `make sanitize` knows that one would be found -- */

static int raced;

static void *write_it(void *nothing) {
    raced++;
    return nothing;
}

void plain_guest_race(void) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, write_it, NULL)) abort();
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}
