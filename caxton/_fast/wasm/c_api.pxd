"""The part of libwasmtime's C API that Caxton uses. Declarations only, no logic.

Rule 1: the wheel ships no header. The verbatim text below *is* our header; its layouts hold for wasmtime 50.0.* (`WASMTIME_VERSION` in
`__init__.py`), are asserted by the compiler against fixed sizes here, and against the wheel's own description in tests/_fast/wasm/test_c_api.py.
Rule 2: nothing links against the library. `caxton._fast.wasm` loads it with RTLD_GLOBAL before any extension that cimports this file.
Rule 3: every function is `noexcept nogil`: the library raises nothing and takes no GIL. A Rust panic inside it aborts the process.

Who owns what: `*_new` gives a pointer that its `*_delete` takes back. A `wasmtime_error_t*` or `wasm_trap_t*` that comes out belongs to the caller
(errors.pxd turns it into text or an exception and deletes it). `wasm_engine_new_with_config` takes the config, `wasm_functype_new` takes both
vectors, `wasm_valtype_vec_new` takes the types. What `*_params`, `*_results`, `*_type`, `*_name` of a type return is borrowed from that type.
"""

# Over 500 lines: every declaration stands twice, as C for the compiler and as Cython for us; there is no logic.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from * nogil:
    """
    #include <stdbool.h>
    #include <stddef.h>
    #include <stdint.h>

    #ifndef CAXTON_WASMTIME_C_API
    #define CAXTON_WASMTIME_C_API

    typedef struct wasm_config_t wasm_config_t;
    typedef struct wasm_engine_t wasm_engine_t;
    typedef struct wasm_valtype_t wasm_valtype_t;
    typedef struct wasm_functype_t wasm_functype_t;
    typedef struct wasm_globaltype_t wasm_globaltype_t;
    typedef struct wasm_tabletype_t wasm_tabletype_t;
    typedef struct wasm_memorytype_t wasm_memorytype_t;
    typedef struct wasm_externtype_t wasm_externtype_t;
    typedef struct wasm_importtype_t wasm_importtype_t;
    typedef struct wasm_exporttype_t wasm_exporttype_t;
    typedef struct wasm_trap_t wasm_trap_t;
    typedef struct wasm_frame_t wasm_frame_t;
    typedef struct wasmtime_error wasmtime_error_t;
    typedef struct wasmtime_module wasmtime_module_t;
    typedef struct wasmtime_store wasmtime_store_t;
    typedef struct wasmtime_context wasmtime_context_t;
    typedef struct wasmtime_caller wasmtime_caller_t;
    typedef struct wasmtime_linker wasmtime_linker_t;
    typedef struct wasmtime_instance_pre wasmtime_instance_pre_t;
    typedef struct wasmtime_call_future wasmtime_call_future_t;
    typedef struct wasmtime_pooling_allocation_config_t wasmtime_pooling_allocation_config_t;

    typedef struct { size_t size; char* data; } wasm_byte_vec_t;
    typedef struct { size_t size; wasm_valtype_t** data; } wasm_valtype_vec_t;
    typedef struct { size_t size; wasm_importtype_t** data; } wasm_importtype_vec_t;
    typedef struct { size_t size; wasm_exporttype_t** data; } wasm_exporttype_vec_t;
    typedef struct { size_t size; wasm_frame_t** data; } wasm_frame_vec_t;
    typedef struct { uint32_t min; uint32_t max; } wasm_limits_t;

    typedef struct { uint64_t store_id; void* private_; } wasmtime_func_t;
    typedef struct { uint64_t store_id; size_t private_; } wasmtime_instance_t;
    typedef struct { struct { uint64_t store_id; uint32_t private1; } head; uint32_t private2; } wasmtime_memory_t;
    typedef struct { struct { uint64_t store_id; uint32_t private1; } head; uint32_t private2; } wasmtime_table_t;
    typedef struct { struct { uint64_t store_id; uint32_t private1; } head; uint32_t private2; } wasmtime_tag_t;
    typedef struct { uint64_t store_id; uint32_t private1; uint32_t private2; uint32_t private3; } wasmtime_global_t;
    typedef struct { uint64_t store_id; uint32_t private1; uint32_t private2; void* private3; } wasmtime_reference_t;

    typedef uint8_t wasmtime_v128[16];

    typedef union {
        wasmtime_func_t func;
        wasmtime_global_t global_;
        wasmtime_table_t table;
        wasmtime_memory_t memory;
        void* sharedmemory;
        wasmtime_tag_t tag;
    } wasmtime_extern_union_t;
    typedef struct { uint8_t kind; wasmtime_extern_union_t of; } wasmtime_extern_t;

    typedef union {
        int32_t i32;
        int64_t i64;
        float f32;
        double f64;
        wasmtime_reference_t anyref;
        wasmtime_reference_t externref;
        wasmtime_reference_t exnref;
        wasmtime_func_t funcref;
        wasmtime_v128 v128;
    } wasmtime_valunion_t;
    typedef struct { uint8_t kind; wasmtime_valunion_t of; } wasmtime_val_t;

    typedef union {
        int32_t i32;
        int64_t i64;
        float f32;
        double f64;
        wasmtime_v128 v128;
        uint32_t anyref;
        uint32_t externref;
        uint32_t exnref;
        void* funcref;
    } wasmtime_val_raw_t;

    typedef bool (*wasmtime_func_async_continuation_callback_t)(void*);
    typedef void (*wasmtime_finalizer_t)(void*);
    typedef struct {
        wasmtime_func_async_continuation_callback_t callback;
        void* env;
        wasmtime_finalizer_t finalizer;
    } wasmtime_async_continuation_t;

    typedef wasm_trap_t* (*wasmtime_func_unchecked_callback_t)(void*, wasmtime_caller_t*, wasmtime_val_raw_t*, size_t);
    typedef void (*wasmtime_func_async_callback_t)(void*, wasmtime_caller_t*, const wasmtime_val_t*, size_t, wasmtime_val_t*, size_t,
                                                   wasm_trap_t**, wasmtime_async_continuation_t*);
    typedef wasmtime_error_t* (*wasmtime_epoch_callback_t)(wasmtime_context_t*, void*, uint64_t*, uint8_t*);

    _Static_assert(sizeof(void*) == 8, "libwasmtime is 64-bit only");
    _Static_assert(sizeof(wasm_byte_vec_t) == 16 && sizeof(wasm_valtype_vec_t) == 16, "vectors");
    _Static_assert(sizeof(wasmtime_func_t) == 16 && sizeof(wasmtime_instance_t) == 16, "func, instance");
    _Static_assert(sizeof(wasmtime_memory_t) == 24 && sizeof(wasmtime_table_t) == 24, "memory, table");
    _Static_assert(sizeof(wasmtime_global_t) == 24 && sizeof(wasmtime_reference_t) == 24, "global, reference");
    _Static_assert(sizeof(wasmtime_extern_t) == 32 && offsetof(wasmtime_extern_t, of) == 8, "extern");
    _Static_assert(sizeof(wasmtime_val_t) == 32 && offsetof(wasmtime_val_t, of) == 8, "val");
    _Static_assert(sizeof(wasmtime_val_raw_t) == 16, "val_raw");
    _Static_assert(sizeof(wasmtime_async_continuation_t) == 24, "async continuation");

    /* -- configuration and engine -- */
    wasm_config_t* wasm_config_new(void);
    void wasm_config_delete(wasm_config_t*);
    void wasmtime_config_epoch_interruption_set(wasm_config_t*, bool);
    void wasmtime_config_consume_fuel_set(wasm_config_t*, bool);
    void wasmtime_config_max_wasm_stack_set(wasm_config_t*, size_t);
    void wasmtime_config_async_stack_size_set(wasm_config_t*, size_t);
    void wasmtime_config_debug_info_set(wasm_config_t*, bool);
    void wasmtime_config_wasm_threads_set(wasm_config_t*, bool);
    void wasmtime_config_shared_memory_set(wasm_config_t*, bool);
    void wasmtime_config_wasm_tail_call_set(wasm_config_t*, bool);
    void wasmtime_config_wasm_reference_types_set(wasm_config_t*, bool);
    void wasmtime_config_wasm_function_references_set(wasm_config_t*, bool);
    void wasmtime_config_wasm_gc_set(wasm_config_t*, bool);
    void wasmtime_config_gc_support_set(wasm_config_t*, bool);
    void wasmtime_config_wasm_simd_set(wasm_config_t*, bool);
    void wasmtime_config_wasm_relaxed_simd_set(wasm_config_t*, bool);
    void wasmtime_config_wasm_relaxed_simd_deterministic_set(wasm_config_t*, bool);
    void wasmtime_config_wasm_bulk_memory_set(wasm_config_t*, bool);
    void wasmtime_config_wasm_multi_value_set(wasm_config_t*, bool);
    void wasmtime_config_wasm_multi_memory_set(wasm_config_t*, bool);
    void wasmtime_config_wasm_memory64_set(wasm_config_t*, bool);
    void wasmtime_config_wasm_wide_arithmetic_set(wasm_config_t*, bool);
    void wasmtime_config_wasm_exceptions_set(wasm_config_t*, bool);
    void wasmtime_config_wasm_custom_page_sizes_set(wasm_config_t*, bool);
    void wasmtime_config_wasm_stack_switching_set(wasm_config_t*, bool);
    void wasmtime_config_parallel_compilation_set(wasm_config_t*, bool);
    void wasmtime_config_cranelift_debug_verifier_set(wasm_config_t*, bool);
    void wasmtime_config_cranelift_nan_canonicalization_set(wasm_config_t*, bool);
    void wasmtime_config_strategy_set(wasm_config_t*, uint8_t);
    void wasmtime_config_cranelift_opt_level_set(wasm_config_t*, uint8_t);
    void wasmtime_config_memory_may_move_set(wasm_config_t*, bool);
    void wasmtime_config_memory_reservation_set(wasm_config_t*, uint64_t);
    void wasmtime_config_memory_guard_size_set(wasm_config_t*, uint64_t);
    void wasmtime_config_memory_reservation_for_growth_set(wasm_config_t*, uint64_t);
    void wasmtime_config_memory_init_cow_set(wasm_config_t*, bool);
    void wasmtime_config_native_unwind_info_set(wasm_config_t*, bool);
    void wasmtime_config_signals_based_traps_set(wasm_config_t*, bool);
    void wasmtime_config_macos_use_mach_ports_set(wasm_config_t*, bool);
    void wasmtime_config_concurrency_support_set(wasm_config_t*, bool);

    wasmtime_pooling_allocation_config_t* wasmtime_pooling_allocation_config_new(void);
    void wasmtime_pooling_allocation_config_delete(wasmtime_pooling_allocation_config_t*);
    void wasmtime_pooling_allocation_config_max_unused_warm_slots_set(wasmtime_pooling_allocation_config_t*, uint32_t);
    void wasmtime_pooling_allocation_config_decommit_batch_size_set(wasmtime_pooling_allocation_config_t*, size_t);
    void wasmtime_pooling_allocation_config_async_stack_keep_resident_set(wasmtime_pooling_allocation_config_t*, size_t);
    void wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(wasmtime_pooling_allocation_config_t*, size_t);
    void wasmtime_pooling_allocation_config_table_keep_resident_set(wasmtime_pooling_allocation_config_t*, size_t);
    void wasmtime_pooling_allocation_config_total_core_instances_set(wasmtime_pooling_allocation_config_t*, uint32_t);
    void wasmtime_pooling_allocation_config_total_memories_set(wasmtime_pooling_allocation_config_t*, uint32_t);
    void wasmtime_pooling_allocation_config_total_tables_set(wasmtime_pooling_allocation_config_t*, uint32_t);
    void wasmtime_pooling_allocation_config_total_stacks_set(wasmtime_pooling_allocation_config_t*, uint32_t);
    void wasmtime_pooling_allocation_config_total_gc_heaps_set(wasmtime_pooling_allocation_config_t*, uint32_t);
    void wasmtime_pooling_allocation_config_max_core_instance_size_set(wasmtime_pooling_allocation_config_t*, size_t);
    void wasmtime_pooling_allocation_config_max_tables_per_module_set(wasmtime_pooling_allocation_config_t*, uint32_t);
    void wasmtime_pooling_allocation_config_table_elements_set(wasmtime_pooling_allocation_config_t*, size_t);
    void wasmtime_pooling_allocation_config_max_memories_per_module_set(wasmtime_pooling_allocation_config_t*, uint32_t);
    void wasmtime_pooling_allocation_config_max_memory_size_set(wasmtime_pooling_allocation_config_t*, size_t);
    void wasmtime_pooling_allocation_strategy_set(wasm_config_t*, const wasmtime_pooling_allocation_config_t*);

    wasm_engine_t* wasm_engine_new_with_config(wasm_config_t*);
    void wasm_engine_delete(wasm_engine_t*);
    wasm_engine_t* wasmtime_engine_clone(wasm_engine_t*);
    void wasmtime_engine_increment_epoch(wasm_engine_t*);
    bool wasmtime_engine_is_pulley(wasm_engine_t*);

    /* -- errors and traps -- */
    wasmtime_error_t* wasmtime_error_new(const char*);
    void wasmtime_error_delete(wasmtime_error_t*);
    void wasmtime_error_message(const wasmtime_error_t*, wasm_byte_vec_t*);
    bool wasmtime_error_exit_status(const wasmtime_error_t*, int*);
    void wasmtime_error_wasm_trace(const wasmtime_error_t*, wasm_frame_vec_t*);
    wasm_trap_t* wasmtime_trap_new(const char*, size_t);
    wasm_trap_t* wasmtime_trap_new_code(uint8_t);
    bool wasmtime_trap_code(const wasm_trap_t*, uint8_t*);
    void wasm_trap_message(const wasm_trap_t*, wasm_byte_vec_t*);
    void wasm_trap_trace(const wasm_trap_t*, wasm_frame_vec_t*);
    void wasm_trap_delete(wasm_trap_t*);
    uint32_t wasm_frame_func_index(const wasm_frame_t*);
    size_t wasm_frame_func_offset(const wasm_frame_t*);
    size_t wasm_frame_module_offset(const wasm_frame_t*);
    const wasm_byte_vec_t* wasmtime_frame_func_name(const wasm_frame_t*);
    void wasm_frame_vec_delete(wasm_frame_vec_t*);

    /* -- bytes and types -- */
    void wasm_byte_vec_new_uninitialized(wasm_byte_vec_t*, size_t);
    void wasm_byte_vec_new(wasm_byte_vec_t*, size_t, const char*);
    void wasm_byte_vec_delete(wasm_byte_vec_t*);
    wasm_valtype_t* wasm_valtype_new(uint8_t);
    uint8_t wasm_valtype_kind(const wasm_valtype_t*);
    void wasm_valtype_delete(wasm_valtype_t*);
    void wasm_valtype_vec_new_empty(wasm_valtype_vec_t*);
    void wasm_valtype_vec_new(wasm_valtype_vec_t*, size_t, wasm_valtype_t* const*);
    void wasm_valtype_vec_delete(wasm_valtype_vec_t*);
    wasm_functype_t* wasm_functype_new(wasm_valtype_vec_t*, wasm_valtype_vec_t*);
    void wasm_functype_delete(wasm_functype_t*);
    const wasm_valtype_vec_t* wasm_functype_params(const wasm_functype_t*);
    const wasm_valtype_vec_t* wasm_functype_results(const wasm_functype_t*);
    const wasm_valtype_t* wasm_globaltype_content(const wasm_globaltype_t*);
    uint8_t wasm_globaltype_mutability(const wasm_globaltype_t*);
    void wasm_globaltype_delete(wasm_globaltype_t*);
    const wasm_valtype_t* wasm_tabletype_element(const wasm_tabletype_t*);
    const wasm_limits_t* wasm_tabletype_limits(const wasm_tabletype_t*);
    void wasm_tabletype_delete(wasm_tabletype_t*);
    uint64_t wasmtime_memorytype_minimum(const wasm_memorytype_t*);
    bool wasmtime_memorytype_maximum(const wasm_memorytype_t*, uint64_t*);
    void wasm_memorytype_delete(wasm_memorytype_t*);
    uint8_t wasm_externtype_kind(const wasm_externtype_t*);
    const wasm_functype_t* wasm_externtype_as_functype_const(const wasm_externtype_t*);
    const wasm_globaltype_t* wasm_externtype_as_globaltype_const(const wasm_externtype_t*);
    const wasm_tabletype_t* wasm_externtype_as_tabletype_const(const wasm_externtype_t*);
    const wasm_memorytype_t* wasm_externtype_as_memorytype_const(const wasm_externtype_t*);
    void wasm_externtype_delete(wasm_externtype_t*);
    const wasm_byte_vec_t* wasm_importtype_module(const wasm_importtype_t*);
    const wasm_byte_vec_t* wasm_importtype_name(const wasm_importtype_t*);
    const wasm_externtype_t* wasm_importtype_type(const wasm_importtype_t*);
    void wasm_importtype_vec_delete(wasm_importtype_vec_t*);
    const wasm_byte_vec_t* wasm_exporttype_name(const wasm_exporttype_t*);
    const wasm_externtype_t* wasm_exporttype_type(const wasm_exporttype_t*);
    void wasm_exporttype_vec_delete(wasm_exporttype_vec_t*);

    /* -- modules -- */
    wasmtime_error_t* wasmtime_wat2wasm(const char*, size_t, wasm_byte_vec_t*);
    wasmtime_error_t* wasmtime_module_new(wasm_engine_t*, const uint8_t*, size_t, wasmtime_module_t**);
    wasmtime_module_t* wasmtime_module_clone(wasmtime_module_t*);
    void wasmtime_module_delete(wasmtime_module_t*);
    void wasmtime_module_imports(const wasmtime_module_t*, wasm_importtype_vec_t*);
    void wasmtime_module_exports(const wasmtime_module_t*, wasm_exporttype_vec_t*);
    wasmtime_error_t* wasmtime_module_validate(wasm_engine_t*, const uint8_t*, size_t);
    wasmtime_error_t* wasmtime_module_serialize(wasmtime_module_t*, wasm_byte_vec_t*);
    wasmtime_error_t* wasmtime_module_deserialize(wasm_engine_t*, const uint8_t*, size_t, wasmtime_module_t**);
    wasmtime_error_t* wasmtime_module_deserialize_file(wasm_engine_t*, const char*, wasmtime_module_t**);
    void wasmtime_module_image_range(const wasmtime_module_t*, void**, void**);

    /* -- stores -- */
    wasmtime_store_t* wasmtime_store_new(wasm_engine_t*, void*, wasmtime_finalizer_t);
    wasmtime_context_t* wasmtime_store_context(wasmtime_store_t*);
    void wasmtime_store_delete(wasmtime_store_t*);
    void wasmtime_store_limiter(wasmtime_store_t*, int64_t, int64_t, int64_t, int64_t, int64_t);
    void wasmtime_store_epoch_deadline_callback(wasmtime_store_t*, wasmtime_epoch_callback_t, void*, wasmtime_finalizer_t);
    void* wasmtime_context_get_data(const wasmtime_context_t*);
    void wasmtime_context_set_data(wasmtime_context_t*, void*);
    void wasmtime_context_set_epoch_deadline(wasmtime_context_t*, uint64_t);
    void wasmtime_context_epoch_deadline_async_yield_and_update(wasmtime_context_t*, uint64_t);

    /* -- linking and instances -- */
    wasmtime_linker_t* wasmtime_linker_new(wasm_engine_t*);
    void wasmtime_linker_delete(wasmtime_linker_t*);
    void wasmtime_linker_allow_shadowing(wasmtime_linker_t*, bool);
    wasmtime_error_t* wasmtime_linker_define_func_unchecked(wasmtime_linker_t*, const char*, size_t, const char*, size_t,
        const wasm_functype_t*, wasmtime_func_unchecked_callback_t, void*, wasmtime_finalizer_t);
    wasmtime_error_t* wasmtime_linker_define_async_func(wasmtime_linker_t*, const char*, size_t, const char*, size_t,
        const wasm_functype_t*, wasmtime_func_async_callback_t, void*, wasmtime_finalizer_t);
    wasmtime_error_t* wasmtime_linker_instantiate_pre(const wasmtime_linker_t*, const wasmtime_module_t*, wasmtime_instance_pre_t**);
    void wasmtime_instance_pre_delete(wasmtime_instance_pre_t*);
    wasmtime_module_t* wasmtime_instance_pre_module(wasmtime_instance_pre_t*);
    wasmtime_error_t* wasmtime_instance_pre_instantiate(const wasmtime_instance_pre_t*, wasmtime_context_t*, wasmtime_instance_t*,
        wasm_trap_t**);
    wasmtime_call_future_t* wasmtime_instance_pre_instantiate_async(const wasmtime_instance_pre_t*, wasmtime_context_t*,
        wasmtime_instance_t*, wasm_trap_t**, wasmtime_error_t**);
    bool wasmtime_instance_export_get(wasmtime_context_t*, const wasmtime_instance_t*, const char*, size_t, wasmtime_extern_t*);
    bool wasmtime_instance_export_nth(wasmtime_context_t*, const wasmtime_instance_t*, size_t, char**, size_t*, wasmtime_extern_t*);
    void wasmtime_extern_delete(wasmtime_extern_t*);

    /* -- calls -- */
    wasmtime_error_t* wasmtime_func_call_unchecked(wasmtime_context_t*, const wasmtime_func_t*, wasmtime_val_raw_t*, size_t, wasm_trap_t**);
    wasmtime_call_future_t* wasmtime_func_call_async(wasmtime_context_t*, const wasmtime_func_t*, const wasmtime_val_t*, size_t,
        wasmtime_val_t*, size_t, wasm_trap_t**, wasmtime_error_t**);
    bool wasmtime_call_future_poll(wasmtime_call_future_t*);
    void wasmtime_call_future_delete(wasmtime_call_future_t*);
    wasm_functype_t* wasmtime_func_type(const wasmtime_context_t*, const wasmtime_func_t*);
    wasmtime_context_t* wasmtime_caller_context(wasmtime_caller_t*);
    bool wasmtime_caller_export_get(wasmtime_caller_t*, const char*, size_t, wasmtime_extern_t*);

    /* -- memories, globals, tables -- */
    uint8_t* wasmtime_memory_data(const wasmtime_context_t*, const wasmtime_memory_t*);
    size_t wasmtime_memory_data_size(const wasmtime_context_t*, const wasmtime_memory_t*);
    uint64_t wasmtime_memory_size(const wasmtime_context_t*, const wasmtime_memory_t*);
    wasmtime_error_t* wasmtime_memory_grow(wasmtime_context_t*, const wasmtime_memory_t*, uint64_t, uint64_t*);
    wasm_globaltype_t* wasmtime_global_type(const wasmtime_context_t*, const wasmtime_global_t*);
    void wasmtime_global_get(wasmtime_context_t*, const wasmtime_global_t*, wasmtime_val_t*);
    wasmtime_error_t* wasmtime_global_set(wasmtime_context_t*, const wasmtime_global_t*, const wasmtime_val_t*);
    uint64_t wasmtime_table_size(const wasmtime_context_t*, const wasmtime_table_t*);
    void wasmtime_val_unroot(wasmtime_val_t*);

    #endif
    """

    ctypedef bint wasm_bool "bool"

    # -- what the library keeps to itself --
    ctypedef struct wasm_config_t
    ctypedef struct wasm_engine_t
    ctypedef struct wasm_valtype_t
    ctypedef struct wasm_functype_t
    ctypedef struct wasm_globaltype_t
    ctypedef struct wasm_tabletype_t
    ctypedef struct wasm_memorytype_t
    ctypedef struct wasm_externtype_t
    ctypedef struct wasm_importtype_t
    ctypedef struct wasm_exporttype_t
    ctypedef struct wasm_trap_t
    ctypedef struct wasm_frame_t
    ctypedef struct wasmtime_error_t
    ctypedef struct wasmtime_module_t
    ctypedef struct wasmtime_store_t
    ctypedef struct wasmtime_context_t
    ctypedef struct wasmtime_caller_t
    ctypedef struct wasmtime_linker_t
    ctypedef struct wasmtime_instance_pre_t
    ctypedef struct wasmtime_call_future_t
    ctypedef struct wasmtime_pooling_allocation_config_t

    # -- vectors: pointer and count, freed by their *_vec_delete --
    ctypedef struct wasm_byte_vec_t:
        size_t size
        char* data

    ctypedef struct wasm_valtype_vec_t:
        size_t size
        wasm_valtype_t** data

    ctypedef struct wasm_importtype_vec_t:
        size_t size
        wasm_importtype_t** data

    ctypedef struct wasm_exporttype_vec_t:
        size_t size
        wasm_exporttype_t** data

    ctypedef struct wasm_frame_vec_t:
        size_t size
        wasm_frame_t** data

    ctypedef struct wasm_limits_t:
        uint32_t min
        uint32_t max         # 0xFFFFFFFF: none

    # -- handles into a store: plain values, no ownership; dead with their store --
    ctypedef struct wasmtime_func_t:
        uint64_t store_id    # 0: the null function
        void* private_       # of the engine; fetched ahead and never followed

    ctypedef struct wasmtime_instance_t:
        uint64_t store_id

    ctypedef struct wasmtime_memory_t:
        pass

    ctypedef struct wasmtime_table_t:
        pass

    ctypedef struct wasmtime_global_t:
        uint64_t store_id

    ctypedef struct wasmtime_reference_t:
        uint64_t store_id

    ctypedef union wasmtime_extern_union_t:
        wasmtime_func_t func
        wasmtime_global_t global_
        wasmtime_table_t table
        wasmtime_memory_t memory

    ctypedef struct wasmtime_extern_t:
        uint8_t kind         # EXTERN_*
        wasmtime_extern_union_t of

    ctypedef union wasmtime_valunion_t:
        int32_t i32
        int64_t i64
        float f32
        double f64
        wasmtime_reference_t externref
        wasmtime_func_t funcref
        uint8_t v128[16]

    ctypedef struct wasmtime_val_t:
        uint8_t kind         # VAL_*
        wasmtime_valunion_t of

    # a value without its kind, for the unchecked calls: arguments come in and results go out through the same array
    ctypedef union wasmtime_val_raw_t:
        int32_t i32
        int64_t i64
        float f32
        double f64
        uint8_t v128[16]
        void* funcref

    # -- callbacks: run on the guest's fiber stack; small frames, no Python --
    ctypedef void (*wasmtime_finalizer_t)(void*) noexcept nogil
    # true: the host function's results are written, resume the guest
    ctypedef wasm_bool (*wasmtime_func_async_continuation_callback_t)(void* env) noexcept nogil

    ctypedef struct wasmtime_async_continuation_t:
        wasmtime_func_async_continuation_callback_t callback
        void* env
        wasmtime_finalizer_t finalizer

    ctypedef wasm_trap_t* (*wasmtime_func_unchecked_callback_t)(
        void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t count) noexcept nogil
    ctypedef void (*wasmtime_func_async_callback_t)(
        void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults,
        wasm_trap_t** trap, wasmtime_async_continuation_t* continuation) noexcept nogil
    ctypedef wasmtime_error_t* (*wasmtime_epoch_callback_t)(
        wasmtime_context_t* context, void* data, uint64_t* delta, uint8_t* update) noexcept nogil

    # -- configuration and engine --
    wasm_config_t* wasm_config_new() noexcept
    void wasm_config_delete(wasm_config_t*) noexcept
    void wasmtime_config_epoch_interruption_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_consume_fuel_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_max_wasm_stack_set(wasm_config_t*, size_t) noexcept
    void wasmtime_config_async_stack_size_set(wasm_config_t*, size_t) noexcept
    void wasmtime_config_debug_info_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_wasm_threads_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_shared_memory_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_wasm_tail_call_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_wasm_reference_types_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_wasm_function_references_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_wasm_gc_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_gc_support_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_wasm_simd_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_wasm_relaxed_simd_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_wasm_relaxed_simd_deterministic_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_wasm_bulk_memory_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_wasm_multi_value_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_wasm_multi_memory_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_wasm_memory64_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_wasm_wide_arithmetic_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_wasm_exceptions_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_wasm_custom_page_sizes_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_wasm_stack_switching_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_parallel_compilation_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_cranelift_debug_verifier_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_cranelift_nan_canonicalization_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_strategy_set(wasm_config_t*, uint8_t) noexcept
    void wasmtime_config_cranelift_opt_level_set(wasm_config_t*, uint8_t) noexcept
    void wasmtime_config_memory_may_move_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_memory_reservation_set(wasm_config_t*, uint64_t) noexcept
    void wasmtime_config_memory_guard_size_set(wasm_config_t*, uint64_t) noexcept
    void wasmtime_config_memory_reservation_for_growth_set(wasm_config_t*, uint64_t) noexcept
    void wasmtime_config_memory_init_cow_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_native_unwind_info_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_signals_based_traps_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_macos_use_mach_ports_set(wasm_config_t*, wasm_bool) noexcept
    void wasmtime_config_concurrency_support_set(wasm_config_t*, wasm_bool) noexcept

    wasmtime_pooling_allocation_config_t* wasmtime_pooling_allocation_config_new() noexcept
    void wasmtime_pooling_allocation_config_delete(wasmtime_pooling_allocation_config_t*) noexcept
    void wasmtime_pooling_allocation_config_max_unused_warm_slots_set(wasmtime_pooling_allocation_config_t*, uint32_t) noexcept
    void wasmtime_pooling_allocation_config_decommit_batch_size_set(wasmtime_pooling_allocation_config_t*, size_t) noexcept
    void wasmtime_pooling_allocation_config_async_stack_keep_resident_set(wasmtime_pooling_allocation_config_t*, size_t) noexcept
    void wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(wasmtime_pooling_allocation_config_t*, size_t) noexcept
    void wasmtime_pooling_allocation_config_table_keep_resident_set(wasmtime_pooling_allocation_config_t*, size_t) noexcept
    void wasmtime_pooling_allocation_config_total_core_instances_set(wasmtime_pooling_allocation_config_t*, uint32_t) noexcept
    void wasmtime_pooling_allocation_config_total_memories_set(wasmtime_pooling_allocation_config_t*, uint32_t) noexcept
    void wasmtime_pooling_allocation_config_total_tables_set(wasmtime_pooling_allocation_config_t*, uint32_t) noexcept
    void wasmtime_pooling_allocation_config_total_stacks_set(wasmtime_pooling_allocation_config_t*, uint32_t) noexcept
    void wasmtime_pooling_allocation_config_total_gc_heaps_set(wasmtime_pooling_allocation_config_t*, uint32_t) noexcept
    void wasmtime_pooling_allocation_config_max_core_instance_size_set(wasmtime_pooling_allocation_config_t*, size_t) noexcept
    void wasmtime_pooling_allocation_config_max_tables_per_module_set(wasmtime_pooling_allocation_config_t*, uint32_t) noexcept
    void wasmtime_pooling_allocation_config_table_elements_set(wasmtime_pooling_allocation_config_t*, size_t) noexcept
    void wasmtime_pooling_allocation_config_max_memories_per_module_set(wasmtime_pooling_allocation_config_t*, uint32_t) noexcept
    void wasmtime_pooling_allocation_config_max_memory_size_set(wasmtime_pooling_allocation_config_t*, size_t) noexcept
    void wasmtime_pooling_allocation_strategy_set(wasm_config_t*, const wasmtime_pooling_allocation_config_t*) noexcept

    # NULL when the configuration cannot be met (no address space for the pool, contradictory sizes)
    wasm_engine_t* wasm_engine_new_with_config(wasm_config_t*) noexcept
    void wasm_engine_delete(wasm_engine_t*) noexcept
    wasm_engine_t* wasmtime_engine_clone(wasm_engine_t*) noexcept
    void wasmtime_engine_increment_epoch(wasm_engine_t*) noexcept
    wasm_bool wasmtime_engine_is_pulley(wasm_engine_t*) noexcept

    # -- errors and traps --
    wasmtime_error_t* wasmtime_error_new(const char*) noexcept
    void wasmtime_error_delete(wasmtime_error_t*) noexcept
    void wasmtime_error_message(const wasmtime_error_t*, wasm_byte_vec_t*) noexcept
    wasm_bool wasmtime_error_exit_status(const wasmtime_error_t*, int*) noexcept
    void wasmtime_error_wasm_trace(const wasmtime_error_t*, wasm_frame_vec_t*) noexcept
    wasm_trap_t* wasmtime_trap_new(const char*, size_t) noexcept
    wasm_trap_t* wasmtime_trap_new_code(uint8_t) noexcept
    wasm_bool wasmtime_trap_code(const wasm_trap_t*, uint8_t*) noexcept
    void wasm_trap_message(const wasm_trap_t*, wasm_byte_vec_t*) noexcept
    void wasm_trap_trace(const wasm_trap_t*, wasm_frame_vec_t*) noexcept
    void wasm_trap_delete(wasm_trap_t*) noexcept
    uint32_t wasm_frame_func_index(const wasm_frame_t*) noexcept
    size_t wasm_frame_func_offset(const wasm_frame_t*) noexcept
    size_t wasm_frame_module_offset(const wasm_frame_t*) noexcept
    const wasm_byte_vec_t* wasmtime_frame_func_name(const wasm_frame_t*) noexcept
    void wasm_frame_vec_delete(wasm_frame_vec_t*) noexcept

    # -- bytes and types --
    void wasm_byte_vec_new_uninitialized(wasm_byte_vec_t*, size_t) noexcept
    void wasm_byte_vec_new(wasm_byte_vec_t*, size_t, const char*) noexcept
    void wasm_byte_vec_delete(wasm_byte_vec_t*) noexcept
    wasm_valtype_t* wasm_valtype_new(uint8_t) noexcept
    uint8_t wasm_valtype_kind(const wasm_valtype_t*) noexcept
    void wasm_valtype_delete(wasm_valtype_t*) noexcept
    void wasm_valtype_vec_new_empty(wasm_valtype_vec_t*) noexcept
    void wasm_valtype_vec_new(wasm_valtype_vec_t*, size_t, wasm_valtype_t**) noexcept
    void wasm_valtype_vec_delete(wasm_valtype_vec_t*) noexcept
    wasm_functype_t* wasm_functype_new(wasm_valtype_vec_t*, wasm_valtype_vec_t*) noexcept
    void wasm_functype_delete(wasm_functype_t*) noexcept
    const wasm_valtype_vec_t* wasm_functype_params(const wasm_functype_t*) noexcept
    const wasm_valtype_vec_t* wasm_functype_results(const wasm_functype_t*) noexcept
    const wasm_valtype_t* wasm_globaltype_content(const wasm_globaltype_t*) noexcept
    uint8_t wasm_globaltype_mutability(const wasm_globaltype_t*) noexcept          # 1: mutable
    void wasm_globaltype_delete(wasm_globaltype_t*) noexcept
    const wasm_valtype_t* wasm_tabletype_element(const wasm_tabletype_t*) noexcept
    const wasm_limits_t* wasm_tabletype_limits(const wasm_tabletype_t*) noexcept
    void wasm_tabletype_delete(wasm_tabletype_t*) noexcept
    uint64_t wasmtime_memorytype_minimum(const wasm_memorytype_t*) noexcept
    wasm_bool wasmtime_memorytype_maximum(const wasm_memorytype_t*, uint64_t*) noexcept
    void wasm_memorytype_delete(wasm_memorytype_t*) noexcept
    uint8_t wasm_externtype_kind(const wasm_externtype_t*) noexcept                # TYPE_*
    const wasm_functype_t* wasm_externtype_as_functype_const(const wasm_externtype_t*) noexcept
    const wasm_globaltype_t* wasm_externtype_as_globaltype_const(const wasm_externtype_t*) noexcept
    const wasm_tabletype_t* wasm_externtype_as_tabletype_const(const wasm_externtype_t*) noexcept
    const wasm_memorytype_t* wasm_externtype_as_memorytype_const(const wasm_externtype_t*) noexcept
    void wasm_externtype_delete(wasm_externtype_t*) noexcept
    const wasm_byte_vec_t* wasm_importtype_module(const wasm_importtype_t*) noexcept
    const wasm_byte_vec_t* wasm_importtype_name(const wasm_importtype_t*) noexcept
    const wasm_externtype_t* wasm_importtype_type(const wasm_importtype_t*) noexcept
    void wasm_importtype_vec_delete(wasm_importtype_vec_t*) noexcept
    const wasm_byte_vec_t* wasm_exporttype_name(const wasm_exporttype_t*) noexcept
    const wasm_externtype_t* wasm_exporttype_type(const wasm_exporttype_t*) noexcept
    void wasm_exporttype_vec_delete(wasm_exporttype_vec_t*) noexcept

    # -- modules --
    wasmtime_error_t* wasmtime_wat2wasm(const char*, size_t, wasm_byte_vec_t*) noexcept
    wasmtime_error_t* wasmtime_module_new(wasm_engine_t*, const uint8_t*, size_t, wasmtime_module_t**) noexcept
    wasmtime_module_t* wasmtime_module_clone(wasmtime_module_t*) noexcept          # one more reference to the same code
    void wasmtime_module_delete(wasmtime_module_t*) noexcept
    void wasmtime_module_imports(const wasmtime_module_t*, wasm_importtype_vec_t*) noexcept
    void wasmtime_module_exports(const wasmtime_module_t*, wasm_exporttype_vec_t*) noexcept
    wasmtime_error_t* wasmtime_module_validate(wasm_engine_t*, const uint8_t*, size_t) noexcept
    wasmtime_error_t* wasmtime_module_serialize(wasmtime_module_t*, wasm_byte_vec_t*) noexcept
    wasmtime_error_t* wasmtime_module_deserialize(wasm_engine_t*, const uint8_t*, size_t, wasmtime_module_t**) noexcept
    wasmtime_error_t* wasmtime_module_deserialize_file(wasm_engine_t*, const char*, wasmtime_module_t**) noexcept
    void wasmtime_module_image_range(const wasmtime_module_t*, void**, void**) noexcept

    # -- stores --
    wasmtime_store_t* wasmtime_store_new(wasm_engine_t*, void* data, wasmtime_finalizer_t) noexcept
    wasmtime_context_t* wasmtime_store_context(wasmtime_store_t*) noexcept
    void wasmtime_store_delete(wasmtime_store_t*) noexcept
    # bytes per memory, elements per table, then how many of each; -1: no limit of its own
    void wasmtime_store_limiter(wasmtime_store_t*, int64_t memory, int64_t elements, int64_t instances, int64_t tables, int64_t memories) noexcept
    void wasmtime_store_epoch_deadline_callback(wasmtime_store_t*, wasmtime_epoch_callback_t, void*, wasmtime_finalizer_t) noexcept
    void* wasmtime_context_get_data(const wasmtime_context_t*) noexcept
    void wasmtime_context_set_data(wasmtime_context_t*, void*) noexcept
    void wasmtime_context_set_epoch_deadline(wasmtime_context_t*, uint64_t ticks) noexcept
    # returns nothing in truth, though the wheel's own binding declares a pointer
    void wasmtime_context_epoch_deadline_async_yield_and_update(wasmtime_context_t*, uint64_t ticks) noexcept

    # -- linking and instances --
    wasmtime_linker_t* wasmtime_linker_new(wasm_engine_t*) noexcept
    void wasmtime_linker_delete(wasmtime_linker_t*) noexcept
    void wasmtime_linker_allow_shadowing(wasmtime_linker_t*, wasm_bool) noexcept
    wasmtime_error_t* wasmtime_linker_define_func_unchecked(
        wasmtime_linker_t*, const char* module, size_t, const char* name, size_t,
        const wasm_functype_t*, wasmtime_func_unchecked_callback_t, void* env, wasmtime_finalizer_t) noexcept
    wasmtime_error_t* wasmtime_linker_define_async_func(
        wasmtime_linker_t*, const char* module, size_t, const char* name, size_t,
        const wasm_functype_t*, wasmtime_func_async_callback_t, void* env, wasmtime_finalizer_t) noexcept
    wasmtime_error_t* wasmtime_linker_instantiate_pre(
        const wasmtime_linker_t*, const wasmtime_module_t*, wasmtime_instance_pre_t**) noexcept
    void wasmtime_instance_pre_delete(wasmtime_instance_pre_t*) noexcept
    wasmtime_module_t* wasmtime_instance_pre_module(wasmtime_instance_pre_t*) noexcept
    wasmtime_error_t* wasmtime_instance_pre_instantiate(
        const wasmtime_instance_pre_t*, wasmtime_context_t*, wasmtime_instance_t*, wasm_trap_t**) noexcept
    # the three out-pointers must stay valid until the future is deleted; at most one of trap and error is set when it is done
    wasmtime_call_future_t* wasmtime_instance_pre_instantiate_async(
        const wasmtime_instance_pre_t*, wasmtime_context_t*, wasmtime_instance_t*, wasm_trap_t**, wasmtime_error_t**) noexcept
    wasm_bool wasmtime_instance_export_get(
        wasmtime_context_t*, const wasmtime_instance_t*, const char* name, size_t, wasmtime_extern_t*) noexcept
    wasm_bool wasmtime_instance_export_nth(
        wasmtime_context_t*, const wasmtime_instance_t*, size_t index, char** name, size_t* length, wasmtime_extern_t*) noexcept
    void wasmtime_extern_delete(wasmtime_extern_t*) noexcept

    # -- calls --
    wasmtime_error_t* wasmtime_func_call_unchecked(
        wasmtime_context_t*, const wasmtime_func_t*, wasmtime_val_raw_t* values, size_t count, wasm_trap_t**) noexcept
    # args, results, trap and error must stay valid until the future is deleted, and be non-NULL even for no arguments
    wasmtime_call_future_t* wasmtime_func_call_async(
        wasmtime_context_t*, const wasmtime_func_t*, const wasmtime_val_t* args, size_t, wasmtime_val_t* results, size_t,
        wasm_trap_t**, wasmtime_error_t**) noexcept
    wasm_bool wasmtime_call_future_poll(wasmtime_call_future_t*) noexcept          # true: done
    void wasmtime_call_future_delete(wasmtime_call_future_t*) noexcept
    wasm_functype_t* wasmtime_func_type(const wasmtime_context_t*, const wasmtime_func_t*) noexcept
    wasmtime_context_t* wasmtime_caller_context(wasmtime_caller_t*) noexcept
    wasm_bool wasmtime_caller_export_get(wasmtime_caller_t*, const char* name, size_t, wasmtime_extern_t*) noexcept

    # -- memories, globals, tables --
    uint8_t* wasmtime_memory_data(const wasmtime_context_t*, const wasmtime_memory_t*) noexcept
    size_t wasmtime_memory_data_size(const wasmtime_context_t*, const wasmtime_memory_t*) noexcept
    uint64_t wasmtime_memory_size(const wasmtime_context_t*, const wasmtime_memory_t*) noexcept   # pages
    wasmtime_error_t* wasmtime_memory_grow(wasmtime_context_t*, const wasmtime_memory_t*, uint64_t pages, uint64_t* before) noexcept
    wasm_globaltype_t* wasmtime_global_type(const wasmtime_context_t*, const wasmtime_global_t*) noexcept
    void wasmtime_global_get(wasmtime_context_t*, const wasmtime_global_t*, wasmtime_val_t*) noexcept
    wasmtime_error_t* wasmtime_global_set(wasmtime_context_t*, const wasmtime_global_t*, const wasmtime_val_t*) noexcept
    uint64_t wasmtime_table_size(const wasmtime_context_t*, const wasmtime_table_t*) noexcept
    void wasmtime_val_unroot(wasmtime_val_t*) noexcept

cdef enum:
    # wasmtime_val_t.kind, and what a signature table is written in
    VAL_I32 = 0
    VAL_I64 = 1
    VAL_F32 = 2
    VAL_F64 = 3
    VAL_V128 = 4
    VAL_FUNCREF = 5
    VAL_EXTERNREF = 6

    # wasm_valtype_new / wasm_valtype_kind: the same up to 4, then other numbers for references
    VALTYPE_I32 = 0
    VALTYPE_I64 = 1
    VALTYPE_F32 = 2
    VALTYPE_F64 = 3
    VALTYPE_V128 = 4
    VALTYPE_EXTERNREF = 128
    VALTYPE_FUNCREF = 129

    # wasmtime_extern_t.kind
    EXTERN_FUNC = 0
    EXTERN_GLOBAL = 1
    EXTERN_TABLE = 2
    EXTERN_MEMORY = 3
    EXTERN_SHAREDMEMORY = 4
    EXTERN_TAG = 5

    # wasm_externtype_kind
    TYPE_FUNC = 0
    TYPE_GLOBAL = 1
    TYPE_TABLE = 2
    TYPE_MEMORY = 3
    TYPE_TAG = 4

    # the epoch callback's *update*
    UPDATE_CONTINUE = 0
    UPDATE_YIELD = 1

    # wasmtime_config_strategy_set, wasmtime_config_cranelift_opt_level_set
    STRATEGY_CRANELIFT = 1
    OPT_LEVEL_SPEED = 1

    # wasmtime_trap_code
    TRAP_STACK_OVERFLOW = 0
    TRAP_MEMORY_OUT_OF_BOUNDS = 1
    TRAP_HEAP_MISALIGNED = 2
    TRAP_TABLE_OUT_OF_BOUNDS = 3
    TRAP_INDIRECT_CALL_TO_NULL = 4
    TRAP_BAD_SIGNATURE = 5
    TRAP_INTEGER_OVERFLOW = 6
    TRAP_INTEGER_DIVISION_BY_ZERO = 7
    TRAP_BAD_CONVERSION_TO_INTEGER = 8
    TRAP_UNREACHABLE = 9
    TRAP_INTERRUPT = 10
    TRAP_OUT_OF_FUEL = 11
