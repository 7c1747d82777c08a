"""The engine and its configuration.

Rule 1: `wasm_engine_new_with_config` aborts the process when it fails (a Rust panic crosses no C boundary). So every size is checked here first, and
the pool's address space is reserved and given back once before the engine asks for it.
Rule 2: traps are signals. The engine's handlers pass on what is not theirs; who installs one for SIGSEGV or SIGFPE *after* the first engine
(`faulthandler.enable()`) must pass it on too, or a guest's trap ends the process.
Rule 3: whatever changes the machine code or its assumptions is part of `fingerprint`; pool sizes and stacks are not.

Three stages, each with a warning when it is not the one asked for: a pool with the wanted reservation per memory (4 GiB: no bounds checks in the
code); a pool with only what a memory may grow to (checks in the code, fits small address spaces); on demand, where a memory moves when it grows.
"""

import hashlib
import platform
import sys

from libc.limits cimport LONG_MAX
from libc.stdint cimport uint64_t
from posix.mman cimport MAP_ANON, MAP_FAILED, MAP_PRIVATE, PROT_NONE, mmap, munmap

from caxton._fast.wasm.c_component cimport *

from caxton._fast.wasm import WASMTIME_VERSION

from caxton.core.errors import InvalidConfig

cdef extern from * nogil:
    """
    #include <sys/mman.h>
    #ifndef MAP_NORESERVE
    #define MAP_NORESERVE 0
    #endif
    """
    int MAP_NORESERVE

cdef enum:
    PAGE = 65536
    TABLES_PER_MODULE = 4
    MEMORIES_PER_COMPONENT = 4
    CORE_INSTANCES_PER_COMPONENT = 64       # a Python agent is 14 modules, linked when it starts
    TABLE_ELEMENT = 8
    MAPS_PER_STACK = 2          # counted in /proc/self/maps: the guard page splits the mapping
    MAPS_PER_INSTANCE = 5       # stack, and memory with its image
    MAPS_ELSEWHERE = 4096

cdef uint64_t KIB = 1024
cdef uint64_t MIB = 1024 * 1024
cdef uint64_t GIB = 1024 * 1024 * 1024
cdef uint64_t HEADROOM = 256 * 1024 * 1024    # address space that must be left for everything else


cdef uint64_t rounded(uint64_t size, uint64_t unit) noexcept nogil:
    return (size + unit - 1) // unit * unit


cdef uint64_t guard_size(uint64_t reservation) noexcept nogil:
    """Unmapped bytes behind a memory. Behind a whole 4 GiB they replace the bounds checks of constant offsets; else a small one will do."""
    return 32 * MIB if reservation >= 4 * GIB else 64 * KIB


cdef bint can_reserve(uint64_t[4] sizes) noexcept nogil:
    """Whether the address space has room for all of *sizes* at once."""
    cdef void* at[4]
    cdef int i, made = 0
    for i in range(4):
        at[i] = mmap(NULL, sizes[i], PROT_NONE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0)
        if at[i] == MAP_FAILED:
            break
        made += 1
    for i in range(made):
        munmap(at[i], sizes[i])
    return made == 4


cdef long map_limit():
    """Mappings one process may have (Linux); elsewhere there is no such number."""
    try:
        with open("/proc/sys/vm/max_map_count") as file:
            return min(int(file.read()), LONG_MAX)
    except (OSError, ValueError):
        return LONG_MAX


cdef class Engine:
    def __init__(
        self,
        *,
        int pool_slots=1016,
        max_memory=100 * 1024 * 1024,
        memory_reservation=4 * 1024 * 1024 * 1024,
        int max_table_elements=10_000,
        max_wasm_stack=64 * 1024,
        async_stack_size=256 * 1024,
        keep_resident=64 * 1024,
        bint pooling=True,
        bint components=False,
    ):
        if self.handle != NULL:
            raise RuntimeError("the engine exists already")
        _between("pool_slots", pool_slots, 1, 1_000_000)
        _between("max_memory", max_memory, PAGE, 4 * GIB)
        _between("memory_reservation", memory_reservation, 0, 64 * GIB)
        _between("max_table_elements", max_table_elements, 1, 10_000_000)
        _between("max_wasm_stack", max_wasm_stack, 16 * KIB, 64 * MIB)
        _between("async_stack_size", async_stack_size, 64 * KIB, 128 * MIB)
        _between("keep_resident", keep_resident, 0, max_memory)
        if async_stack_size < max_wasm_stack + 64 * KIB:
            raise InvalidConfig(
                f"async_stack_size is {async_stack_size} bytes, max_wasm_stack {max_wasm_stack}: host functions run on the rest, which must be"
                f" at least {64 * KIB} bytes",
                hint=f"set runtime.async_stack_size to {max_wasm_stack + 64 * KIB} or more",
            )
        self.pool_slots = pool_slots
        self.max_memory = rounded(max_memory, PAGE)
        self.max_table_elements = max_table_elements
        self.max_wasm_stack = max_wasm_stack
        self.async_stack_size = rounded(async_stack_size, PAGE)
        self.keep_resident = keep_resident
        self.components = components
        self.choose(memory_reservation, pooling)
        cdef str settings = self.settings()
        digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
        self.fingerprint = f"{WASMTIME_VERSION}-{sys.platform}-{platform.machine()}-{digest}"
        cdef wasm_config_t* config = self.configure()
        if self.pooling:
            self.pool(config)
        with nogil:
            self.handle = wasm_engine_new_with_config(config)

    def __dealloc__(self):
        if self.handle != NULL:
            wasm_engine_delete(self.handle)

    def increment_epoch(self) -> None:
        """Move the epoch on by one tick: what runs past its deadline gives way."""
        wasmtime_engine_increment_epoch(self.handle)

    cdef int choose(self, uint64_t wanted, bint pooling) except -1:
        """Settle `pooling` and `memory_reservation` on the first stage the process has room for."""
        cdef uint64_t exact = self.max_memory
        cdef list warnings = []
        cdef long maps = map_limit()
        self.pooling = pooling
        self.memory_reservation = rounded(wanted, PAGE)
        if maps < MAPS_PER_INSTANCE * self.pool_slots + MAPS_ELSEWHERE:
            warnings.append(
                f"{self.pool_slots} instances need {MAPS_PER_INSTANCE * self.pool_slots + MAPS_ELSEWHERE} memory mappings, the system allows"
                f" {maps}: the last ones will not start (sysctl -w vm.max_map_count={2 * MAPS_PER_INSTANCE * self.pool_slots})"
            )
        if pooling:
            if self.memory_reservation < exact:
                self.memory_reservation = exact
            if maps < MAPS_PER_STACK * self.pool_slots + MAPS_ELSEWHERE:     # the pool's stacks alone: the engine would abort
                self.pooling = False
            elif not self.has_room():
                self.pooling = self.memory_reservation > exact
                if self.pooling:
                    asked, self.memory_reservation = self.memory_reservation, exact
                    self.pooling = self.has_room()
                if self.pooling:
                    warnings.append(
                        f"no address space for {self.pool_slots} memories of {asked} bytes each; reserving {exact} bytes each"
                        " (guests run with bounds checks in their code)"
                    )
            if not self.pooling:
                self.memory_reservation = 0
                warnings.append(
                    f"no room for a pool of {self.pool_slots} instances; making instances on demand (slower to start;"
                    " lower runtime.pool_slots or runtime.max_memory_per_agent to get the pool back)"
                )
        self.warnings = tuple(warnings)
        return 0

    cdef bint has_room(self) noexcept:
        cdef uint64_t slots = self.pool_slots
        cdef uint64_t guard = guard_size(self.memory_reservation)
        cdef uint64_t[4] sizes
        sizes[0] = slots * (self.memory_reservation + guard) + guard
        sizes[1] = slots * TABLES_PER_MODULE * rounded(<uint64_t>self.max_table_elements * TABLE_ELEMENT, PAGE)
        sizes[2] = slots * (self.async_stack_size + PAGE)
        sizes[3] = HEADROOM
        return can_reserve(sizes)

    cdef str settings(self):
        """Everything `configure` sets that reaches the machine code; bump the first word when the list below changes."""
        return (
            f"1 epoch nan simd tail-call no-gc no-threads no-memory64 no-multi-memory no-concurrency speed"
            f" reservation={self.memory_reservation} guard={guard_size(self.memory_reservation)} may-move={self.memory_reservation == 0}"
        )

    cdef wasm_config_t* configure(self) except NULL:
        cdef wasm_config_t* config = wasm_config_new()
        wasmtime_config_epoch_interruption_set(config, True)
        wasmtime_config_max_wasm_stack_set(config, self.max_wasm_stack)
        wasmtime_config_async_stack_size_set(config, self.async_stack_size)
        wasmtime_config_strategy_set(config, STRATEGY_CRANELIFT)
        wasmtime_config_cranelift_opt_level_set(config, OPT_LEVEL_SPEED)
        wasmtime_config_cranelift_nan_canonicalization_set(config, True)      # a replay computes the same bits
        wasmtime_config_parallel_compilation_set(config, False)               # the child has a memory limit and no need of threads

        # what a guest may be made of: one 32-bit memory of its own, no sharing, nothing that needs a collector
        wasmtime_config_gc_support_set(config, False)
        wasmtime_config_wasm_gc_set(config, False)
        wasmtime_config_wasm_function_references_set(config, False)
        wasmtime_config_wasm_exceptions_set(config, False)
        wasmtime_config_wasm_stack_switching_set(config, False)
        wasmtime_config_wasm_threads_set(config, False)
        wasmtime_config_shared_memory_set(config, False)
        wasmtime_config_wasm_memory64_set(config, False)
        wasmtime_config_wasm_multi_memory_set(config, False)
        wasmtime_config_wasm_custom_page_sizes_set(config, False)
        wasmtime_config_wasm_wide_arithmetic_set(config, False)
        wasmtime_config_wasm_simd_set(config, True)
        wasmtime_config_wasm_relaxed_simd_set(config, True)
        wasmtime_config_wasm_relaxed_simd_deterministic_set(config, True)
        wasmtime_config_wasm_tail_call_set(config, True)
        # component-model tasks: a third of a fiber call's time, and core modules have none
        wasmtime_config_concurrency_support_set(config, False)

        wasmtime_config_memory_reservation_set(config, self.memory_reservation)
        wasmtime_config_memory_guard_size_set(config, guard_size(self.memory_reservation))
        wasmtime_config_memory_may_move_set(config, self.memory_reservation == 0)
        wasmtime_config_memory_reservation_for_growth_set(config, MIB if self.memory_reservation == 0 else 0)
        return config

    cdef int pool(self, wasm_config_t* config) except -1:
        cdef wasmtime_pooling_allocation_config_t* pool = wasmtime_pooling_allocation_config_new()
        if self.components:
            wasmtime_pooling_allocation_config_total_component_instances_set(pool, self.pool_slots)
            wasmtime_pooling_allocation_config_max_core_instances_per_component_set(pool, CORE_INSTANCES_PER_COMPONENT)
            wasmtime_pooling_allocation_config_max_memories_per_component_set(pool, MEMORIES_PER_COMPONENT)
            wasmtime_pooling_allocation_config_max_tables_per_component_set(pool, TABLES_PER_MODULE)
            wasmtime_pooling_allocation_config_total_core_instances_set(pool, self.pool_slots * CORE_INSTANCES_PER_COMPONENT)
        else:
            wasmtime_pooling_allocation_config_total_core_instances_set(pool, self.pool_slots)
        wasmtime_pooling_allocation_config_total_memories_set(pool, self.pool_slots)
        wasmtime_pooling_allocation_config_total_tables_set(pool, self.pool_slots * TABLES_PER_MODULE)
        wasmtime_pooling_allocation_config_total_stacks_set(pool, self.pool_slots)
        wasmtime_pooling_allocation_config_total_gc_heaps_set(pool, 0)
        wasmtime_pooling_allocation_config_max_memories_per_module_set(pool, 1)
        wasmtime_pooling_allocation_config_max_tables_per_module_set(pool, TABLES_PER_MODULE)
        wasmtime_pooling_allocation_config_max_memory_size_set(pool, self.max_memory)
        wasmtime_pooling_allocation_config_table_elements_set(pool, self.max_table_elements)
        wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(pool, self.keep_resident)
        wasmtime_pooling_allocation_config_table_keep_resident_set(pool, 4096)
        wasmtime_pooling_allocation_strategy_set(config, pool)
        wasmtime_pooling_allocation_config_delete(pool)
        return 0


def _between(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InvalidConfig(f"{name} is {value}; it must be between {low} and {high}", hint=f"change runtime.{name}")


def struct_sizes() -> dict[str, int]:
    """Bytes of each structure as this extension was compiled; the tests hold them against the wheel's own description."""
    return {
        "wasm_byte_vec_t": sizeof(wasm_byte_vec_t),
        "wasm_valtype_vec_t": sizeof(wasm_valtype_vec_t),
        "wasm_importtype_vec_t": sizeof(wasm_importtype_vec_t),
        "wasm_exporttype_vec_t": sizeof(wasm_exporttype_vec_t),
        "wasm_frame_vec_t": sizeof(wasm_frame_vec_t),
        "wasm_limits_t": sizeof(wasm_limits_t),
        "wasmtime_func_t": sizeof(wasmtime_func_t),
        "wasmtime_instance_t": sizeof(wasmtime_instance_t),
        "wasmtime_memory_t": sizeof(wasmtime_memory_t),
        "wasmtime_table_t": sizeof(wasmtime_table_t),
        "wasmtime_global_t": sizeof(wasmtime_global_t),
        "wasmtime_externref_t": sizeof(wasmtime_reference_t),
        "wasmtime_extern_union_t": sizeof(wasmtime_extern_union_t),
        "wasmtime_extern_t": sizeof(wasmtime_extern_t),
        "wasmtime_valunion_t": sizeof(wasmtime_valunion_t),
        "wasmtime_val_t": sizeof(wasmtime_val_t),
        "wasmtime_val_raw_t": sizeof(wasmtime_val_raw_t),
        "wasmtime_async_continuation_t": sizeof(wasmtime_async_continuation_t),
        "wasmtime_component_vallist_t": sizeof(wasmtime_component_vallist_t),
        "wasmtime_component_valtuple_t": sizeof(wasmtime_component_valtuple_t),
        "wasmtime_component_valrecord_t": sizeof(wasmtime_component_valrecord_t),
        "wasmtime_component_valrecord_entry_t": sizeof(wasmtime_component_valrecord_entry_t),
        "wasmtime_component_valvariant_t": sizeof(wasmtime_component_valvariant_t),
        "wasmtime_component_valresult_t": sizeof(wasmtime_component_valresult_t),
        "wasmtime_component_valunion_t": sizeof(wasmtime_component_valunion_t),
        "wasmtime_component_val_t": sizeof(wasmtime_component_val_t),
        "wasmtime_component_valtype_union_t": sizeof(wasmtime_component_valtype_union_t),
        "wasmtime_component_valtype_t": sizeof(wasmtime_component_valtype_t),
        "wasmtime_component_item_union_t": sizeof(wasmtime_component_item_union_t),
        "wasmtime_component_item_t": sizeof(wasmtime_component_item_t),
        "wasmtime_component_instance_t": sizeof(wasmtime_component_instance_t),
        "wasmtime_component_func_t": sizeof(wasmtime_component_func_t),
    }
