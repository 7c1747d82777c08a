"""The part of libwasmtime's C API for components. Declarations only; the rules are those of c_api.pxd.

Who owns what: the arguments of a call stay ours, and its result becomes ours. What a host function writes as its result is taken over with all that
hangs on it, so strings, lists and boxes come from the library's own `*_new*`; what it is given is borrowed. `extern_type` gives an item that is ours.
A borrowed resource has to go through `resource_any_to_host` exactly once: that ends the loan.
"""

# Over 500 lines for the reason that c_api.pxd has.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from caxton._fast.wasm.c_api cimport *

cdef extern from * nogil:
    """
    #include <stdbool.h>
    #include <stddef.h>
    #include <stdint.h>

    #ifndef CAXTON_WASMTIME_COMPONENT_C_API
    #define CAXTON_WASMTIME_COMPONENT_C_API

    typedef struct wasmtime_component wasmtime_component_t;
    typedef struct wasmtime_component_type wasmtime_component_type_t;
    typedef struct wasmtime_component_instance_type wasmtime_component_instance_type_t;
    typedef struct wasmtime_component_extern wasmtime_component_extern_t;
    typedef struct wasmtime_component_func_type wasmtime_component_func_type_t;
    typedef struct wasmtime_component_export_index wasmtime_component_export_index_t;
    typedef struct wasmtime_component_resource_type wasmtime_component_resource_type_t;
    typedef struct wasmtime_component_resource_any wasmtime_component_resource_any_t;
    typedef struct wasmtime_component_resource_host wasmtime_component_resource_host_t;
    typedef struct wasmtime_component_list_type wasmtime_component_list_type_t;
    typedef struct wasmtime_component_record_type wasmtime_component_record_type_t;
    typedef struct wasmtime_component_tuple_type wasmtime_component_tuple_type_t;
    typedef struct wasmtime_component_variant_type wasmtime_component_variant_type_t;
    typedef struct wasmtime_component_enum_type wasmtime_component_enum_type_t;
    typedef struct wasmtime_component_option_type wasmtime_component_option_type_t;
    typedef struct wasmtime_component_result_type wasmtime_component_result_type_t;
    typedef struct wasmtime_component_linker wasmtime_component_linker_t;
    typedef struct wasmtime_component_linker_instance wasmtime_component_linker_instance_t;

    typedef struct wasmtime_component_val wasmtime_component_val_t;
    typedef struct wasmtime_component_valrecord_entry wasmtime_component_valrecord_entry_t;
    typedef struct { size_t size; wasmtime_component_val_t* data; } wasmtime_component_vallist_t;
    typedef struct { size_t size; wasmtime_component_val_t* data; } wasmtime_component_valtuple_t;
    typedef struct { size_t size; wasmtime_component_valrecord_entry_t* data; } wasmtime_component_valrecord_t;
    typedef struct { wasm_byte_vec_t discriminant; wasmtime_component_val_t* val; } wasmtime_component_valvariant_t;
    typedef struct { bool is_ok; wasmtime_component_val_t* val; } wasmtime_component_valresult_t;
    typedef union {
        bool boolean;
        uint8_t u8;
        uint32_t u32;
        uint64_t u64;
        wasm_byte_vec_t string;
        wasmtime_component_vallist_t list;
        wasmtime_component_valrecord_t record;
        wasmtime_component_valtuple_t tuple;
        wasmtime_component_valvariant_t variant;
        wasm_byte_vec_t enumeration;
        wasmtime_component_val_t* option;
        wasmtime_component_valresult_t result;
        wasmtime_component_resource_any_t* resource;
    } wasmtime_component_valunion_t;
    struct wasmtime_component_val { uint8_t kind; wasmtime_component_valunion_t of; };
    struct wasmtime_component_valrecord_entry { wasm_byte_vec_t name; wasmtime_component_val_t val; };

    typedef union {
        wasmtime_component_list_type_t* list;
        wasmtime_component_record_type_t* record;
        wasmtime_component_tuple_type_t* tuple;
        wasmtime_component_variant_type_t* variant;
        wasmtime_component_enum_type_t* enum_;
        wasmtime_component_option_type_t* option;
        wasmtime_component_result_type_t* result;
        wasmtime_component_resource_type_t* own;
    } wasmtime_component_valtype_union_t;
    typedef struct { uint8_t kind; wasmtime_component_valtype_union_t of; } wasmtime_component_valtype_t;

    typedef union {
        wasmtime_component_type_t* component;
        wasmtime_component_instance_type_t* component_instance;
        wasmtime_component_func_type_t* component_func;
        wasmtime_component_resource_type_t* resource;
        wasmtime_component_valtype_t type;
    } wasmtime_component_item_union_t;
    typedef struct { uint8_t kind; wasmtime_component_item_union_t of; } wasmtime_component_item_t;

    typedef struct { uint64_t store_id; uint32_t private_; } wasmtime_component_instance_t;
    typedef struct { struct { uint64_t store_id; uint32_t private1; } head; uint32_t private2; void* private3; } wasmtime_component_func_t;

    typedef wasmtime_error_t* (*wasmtime_component_func_callback_t)(
        void*, wasmtime_context_t*, const wasmtime_component_func_type_t*, wasmtime_component_val_t*, size_t, wasmtime_component_val_t*, size_t);
    typedef void (*wasmtime_component_func_async_callback_t)(
        void*, wasmtime_context_t*, const wasmtime_component_func_type_t*, wasmtime_component_val_t*, size_t, wasmtime_component_val_t*, size_t,
        wasmtime_error_t**, wasmtime_async_continuation_t*);
    typedef wasmtime_error_t* (*wasmtime_component_resource_destructor_t)(void*, wasmtime_context_t*, uint32_t);

    _Static_assert(sizeof(wasmtime_component_valunion_t) == 24 && sizeof(wasmtime_component_val_t) == 32, "component val");
    _Static_assert(sizeof(wasmtime_component_valrecord_entry_t) == 48, "component record entry");
    _Static_assert(sizeof(wasmtime_component_valtype_t) == 16 && sizeof(wasmtime_component_item_t) == 24, "component types");
    _Static_assert(sizeof(wasmtime_component_instance_t) == 16 && sizeof(wasmtime_component_func_t) == 32, "component instance, func");

    /* -- configuration -- */
    void wasmtime_pooling_allocation_config_total_component_instances_set(wasmtime_pooling_allocation_config_t*, uint32_t);
    void wasmtime_pooling_allocation_config_max_component_instance_size_set(wasmtime_pooling_allocation_config_t*, size_t);
    void wasmtime_pooling_allocation_config_max_core_instances_per_component_set(wasmtime_pooling_allocation_config_t*, uint32_t);
    void wasmtime_pooling_allocation_config_max_memories_per_component_set(wasmtime_pooling_allocation_config_t*, uint32_t);
    void wasmtime_pooling_allocation_config_max_tables_per_component_set(wasmtime_pooling_allocation_config_t*, uint32_t);
    void wasmtime_config_wasm_component_model_async_set(wasm_config_t*, bool);
    /* -- components -- */
    wasmtime_error_t* wasmtime_component_new(const wasm_engine_t*, const uint8_t*, size_t, wasmtime_component_t**);
    wasmtime_error_t* wasmtime_component_serialize(const wasmtime_component_t*, wasm_byte_vec_t*);
    wasmtime_error_t* wasmtime_component_deserialize(const wasm_engine_t*, const uint8_t*, size_t, wasmtime_component_t**);
    wasmtime_error_t* wasmtime_component_deserialize_file(const wasm_engine_t*, const char*, wasmtime_component_t**);
    wasmtime_component_type_t* wasmtime_component_type(const wasmtime_component_t*);
    void wasmtime_component_delete(wasmtime_component_t*);
    wasmtime_component_export_index_t* wasmtime_component_get_export_index(
        const wasmtime_component_t*, const wasmtime_component_export_index_t*, const char*, size_t);
    void wasmtime_component_export_index_delete(wasmtime_component_export_index_t*);
    /* -- types -- */
    void wasmtime_component_type_delete(wasmtime_component_type_t*);
    size_t wasmtime_component_type_import_count(const wasmtime_component_type_t*, const wasm_engine_t*);
    bool wasmtime_component_type_import_nth(
        const wasmtime_component_type_t*, const wasm_engine_t*, size_t, char**, size_t*, wasmtime_component_extern_t**);
    size_t wasmtime_component_type_export_count(const wasmtime_component_type_t*, const wasm_engine_t*);
    bool wasmtime_component_type_export_nth(
        const wasmtime_component_type_t*, const wasm_engine_t*, size_t, char**, size_t*, wasmtime_component_extern_t**);
    size_t wasmtime_component_instance_type_export_count(const wasmtime_component_instance_type_t*, const wasm_engine_t*);
    bool wasmtime_component_instance_type_export_nth(
        const wasmtime_component_instance_type_t*, const wasm_engine_t*, size_t, char**, size_t*, wasmtime_component_extern_t**);
    void wasmtime_component_extern_type(const wasmtime_component_extern_t*, wasmtime_component_item_t*);
    void wasmtime_component_extern_delete(wasmtime_component_extern_t*);
    void wasmtime_component_item_delete(wasmtime_component_item_t*);
    bool wasmtime_component_func_type_async(const wasmtime_component_func_type_t*);
    size_t wasmtime_component_func_type_param_count(const wasmtime_component_func_type_t*);
    bool wasmtime_component_func_type_param_nth(
        const wasmtime_component_func_type_t*, size_t, char**, size_t*, wasmtime_component_valtype_t*);
    bool wasmtime_component_func_type_result(const wasmtime_component_func_type_t*, wasmtime_component_valtype_t*);
    void wasmtime_component_valtype_delete(wasmtime_component_valtype_t*);
    void wasmtime_component_list_type_element(const wasmtime_component_list_type_t*, wasmtime_component_valtype_t*);
    size_t wasmtime_component_record_type_field_count(const wasmtime_component_record_type_t*);
    bool wasmtime_component_record_type_field_nth(
        const wasmtime_component_record_type_t*, size_t, char**, size_t*, wasmtime_component_valtype_t*);
    size_t wasmtime_component_tuple_type_types_count(const wasmtime_component_tuple_type_t*);
    bool wasmtime_component_tuple_type_types_nth(const wasmtime_component_tuple_type_t*, size_t, wasmtime_component_valtype_t*);
    size_t wasmtime_component_variant_type_case_count(const wasmtime_component_variant_type_t*);
    bool wasmtime_component_variant_type_case_nth(
        const wasmtime_component_variant_type_t*, size_t, char**, size_t*, bool*, wasmtime_component_valtype_t*);
    size_t wasmtime_component_enum_type_names_count(const wasmtime_component_enum_type_t*);
    bool wasmtime_component_enum_type_names_nth(const wasmtime_component_enum_type_t*, size_t, char**, size_t*);
    void wasmtime_component_option_type_ty(const wasmtime_component_option_type_t*, wasmtime_component_valtype_t*);
    bool wasmtime_component_result_type_ok(const wasmtime_component_result_type_t*, wasmtime_component_valtype_t*);
    bool wasmtime_component_result_type_err(const wasmtime_component_result_type_t*, wasmtime_component_valtype_t*);
    /* -- values -- */
    wasmtime_component_val_t* wasmtime_component_val_new(wasmtime_component_val_t*);
    void wasmtime_component_val_delete(wasmtime_component_val_t*);
    void wasmtime_component_vallist_new_uninit(wasmtime_component_vallist_t*, size_t);
    void wasmtime_component_valrecord_new_uninit(wasmtime_component_valrecord_t*, size_t);
    void wasmtime_component_valtuple_new_uninit(wasmtime_component_valtuple_t*, size_t);
    /* -- resources -- */
    wasmtime_component_resource_type_t* wasmtime_component_resource_type_new_host(uint32_t);
    void wasmtime_component_resource_type_delete(wasmtime_component_resource_type_t*);
    wasmtime_component_resource_host_t* wasmtime_component_resource_host_new(bool, uint32_t, uint32_t);
    uint32_t wasmtime_component_resource_host_rep(const wasmtime_component_resource_host_t*);
    uint32_t wasmtime_component_resource_host_type(const wasmtime_component_resource_host_t*);
    void wasmtime_component_resource_host_delete(wasmtime_component_resource_host_t*);
    wasmtime_error_t* wasmtime_component_resource_any_to_host(
        wasmtime_context_t*, const wasmtime_component_resource_any_t*, wasmtime_component_resource_host_t**);
    wasmtime_error_t* wasmtime_component_resource_host_to_any(
        wasmtime_context_t*, const wasmtime_component_resource_host_t*, wasmtime_component_resource_any_t**);
    /* -- linking -- */
    wasmtime_component_linker_t* wasmtime_component_linker_new(const wasm_engine_t*);
    void wasmtime_component_linker_delete(wasmtime_component_linker_t*);
    wasmtime_component_linker_instance_t* wasmtime_component_linker_root(wasmtime_component_linker_t*);
    wasmtime_error_t* wasmtime_component_linker_define_unknown_imports_as_traps(wasmtime_component_linker_t*, const wasmtime_component_t*);
    wasmtime_error_t* wasmtime_component_linker_instance_add_instance(
        wasmtime_component_linker_instance_t*, const char*, size_t, wasmtime_component_linker_instance_t**);
    wasmtime_error_t* wasmtime_component_linker_instance_add_func(
        wasmtime_component_linker_instance_t*, const char*, size_t, wasmtime_component_func_callback_t, void*, wasmtime_finalizer_t);
    wasmtime_error_t* wasmtime_component_linker_instance_add_func_async(
        wasmtime_component_linker_instance_t*, const char*, size_t, wasmtime_component_func_async_callback_t, void*, wasmtime_finalizer_t);
    wasmtime_error_t* wasmtime_component_linker_instance_add_resource(
        wasmtime_component_linker_instance_t*, const char*, size_t, const wasmtime_component_resource_type_t*,
        wasmtime_component_resource_destructor_t, void*, wasmtime_finalizer_t);
    void wasmtime_component_linker_instance_delete(wasmtime_component_linker_instance_t*);
    /* -- instances and calls -- */
    wasmtime_call_future_t* wasmtime_component_linker_instantiate_async(
        const wasmtime_component_linker_t*, wasmtime_context_t*, const wasmtime_component_t*, wasmtime_component_instance_t*,
        wasmtime_error_t**);
    bool wasmtime_component_instance_get_func(
        const wasmtime_component_instance_t*, wasmtime_context_t*, const wasmtime_component_export_index_t*, wasmtime_component_func_t*);
    wasmtime_call_future_t* wasmtime_component_func_call_async(
        const wasmtime_component_func_t*, wasmtime_context_t*, const wasmtime_component_val_t*, size_t, wasmtime_component_val_t*, size_t,
        wasmtime_error_t**);

    #endif
    """
    # -- what the library keeps to itself --
    ctypedef struct wasmtime_component_t
    ctypedef struct wasmtime_component_type_t
    ctypedef struct wasmtime_component_instance_type_t
    ctypedef struct wasmtime_component_extern_t
    ctypedef struct wasmtime_component_func_type_t
    ctypedef struct wasmtime_component_export_index_t
    ctypedef struct wasmtime_component_resource_type_t
    ctypedef struct wasmtime_component_resource_any_t
    ctypedef struct wasmtime_component_resource_host_t
    ctypedef struct wasmtime_component_list_type_t
    ctypedef struct wasmtime_component_record_type_t
    ctypedef struct wasmtime_component_tuple_type_t
    ctypedef struct wasmtime_component_variant_type_t
    ctypedef struct wasmtime_component_enum_type_t
    ctypedef struct wasmtime_component_option_type_t
    ctypedef struct wasmtime_component_result_type_t
    ctypedef struct wasmtime_component_linker_t
    ctypedef struct wasmtime_component_linker_instance_t

    ctypedef struct wasmtime_component_val_t
    ctypedef struct wasmtime_component_valrecord_entry_t

    ctypedef struct wasmtime_component_vallist_t:
        size_t size
        wasmtime_component_val_t* data
    ctypedef struct wasmtime_component_valtuple_t:
        size_t size
        wasmtime_component_val_t* data
    ctypedef struct wasmtime_component_valrecord_t:
        size_t size
        wasmtime_component_valrecord_entry_t* data
    ctypedef struct wasmtime_component_valvariant_t:
        wasm_byte_vec_t discriminant
        wasmtime_component_val_t* val       # NULL: the case has no value
    ctypedef struct wasmtime_component_valresult_t:
        bint is_ok
        wasmtime_component_val_t* val       # NULL: none
    ctypedef union wasmtime_component_valunion_t:
        bint boolean
        uint8_t u8
        uint32_t u32
        uint64_t u64
        wasm_byte_vec_t string
        wasmtime_component_vallist_t list
        wasmtime_component_valrecord_t record
        wasmtime_component_valtuple_t tuple
        wasmtime_component_valvariant_t variant
        wasm_byte_vec_t enumeration
        wasmtime_component_val_t* option    # NULL: none
        wasmtime_component_valresult_t result
        wasmtime_component_resource_any_t* resource
    ctypedef struct wasmtime_component_val_t:
        uint8_t kind
        wasmtime_component_valunion_t of
    ctypedef struct wasmtime_component_valrecord_entry_t:
        wasm_byte_vec_t name
        wasmtime_component_val_t val

    ctypedef union wasmtime_component_valtype_union_t:
        wasmtime_component_list_type_t* list
        wasmtime_component_record_type_t* record
        wasmtime_component_tuple_type_t* tuple
        wasmtime_component_variant_type_t* variant
        wasmtime_component_enum_type_t* enum_
        wasmtime_component_option_type_t* option
        wasmtime_component_result_type_t* result
        wasmtime_component_resource_type_t* own
    ctypedef struct wasmtime_component_valtype_t:
        uint8_t kind
        wasmtime_component_valtype_union_t of
    ctypedef union wasmtime_component_item_union_t:
        wasmtime_component_type_t* component
        wasmtime_component_instance_type_t* component_instance
        wasmtime_component_func_type_t* component_func
        wasmtime_component_resource_type_t* resource
        wasmtime_component_valtype_t type
    ctypedef struct wasmtime_component_item_t:
        uint8_t kind
        wasmtime_component_item_union_t of

    ctypedef struct wasmtime_component_instance_t:
        uint64_t store_id
    ctypedef struct wasmtime_component_func_t:
        void* private3

    ctypedef wasmtime_error_t* (*wasmtime_component_func_callback_t)(
        void*, wasmtime_context_t*, const wasmtime_component_func_type_t*, wasmtime_component_val_t*, size_t,
        wasmtime_component_val_t*, size_t) noexcept nogil
    ctypedef void (*wasmtime_component_func_async_callback_t)(
        void*, wasmtime_context_t*, const wasmtime_component_func_type_t*, wasmtime_component_val_t*, size_t,
        wasmtime_component_val_t*, size_t, wasmtime_error_t**, wasmtime_async_continuation_t*) noexcept nogil
    ctypedef wasmtime_error_t* (*wasmtime_component_resource_destructor_t)(void*, wasmtime_context_t*, uint32_t) noexcept nogil

    # -- configuration --
    void wasmtime_pooling_allocation_config_total_component_instances_set(wasmtime_pooling_allocation_config_t*, uint32_t) noexcept
    void wasmtime_pooling_allocation_config_max_component_instance_size_set(wasmtime_pooling_allocation_config_t*, size_t) noexcept
    void wasmtime_pooling_allocation_config_max_core_instances_per_component_set(wasmtime_pooling_allocation_config_t*, uint32_t) noexcept
    void wasmtime_pooling_allocation_config_max_memories_per_component_set(wasmtime_pooling_allocation_config_t*, uint32_t) noexcept
    void wasmtime_pooling_allocation_config_max_tables_per_component_set(wasmtime_pooling_allocation_config_t*, uint32_t) noexcept
    void wasmtime_config_wasm_component_model_async_set(wasm_config_t*, wasm_bool) noexcept
    # -- components --
    wasmtime_error_t* wasmtime_component_new(const wasm_engine_t*, const uint8_t*, size_t, wasmtime_component_t**) noexcept
    wasmtime_error_t* wasmtime_component_serialize(const wasmtime_component_t*, wasm_byte_vec_t*) noexcept
    wasmtime_error_t* wasmtime_component_deserialize(const wasm_engine_t*, const uint8_t*, size_t, wasmtime_component_t**) noexcept
    wasmtime_error_t* wasmtime_component_deserialize_file(const wasm_engine_t*, const char*, wasmtime_component_t**) noexcept
    wasmtime_component_type_t* wasmtime_component_type(const wasmtime_component_t*) noexcept
    void wasmtime_component_delete(wasmtime_component_t*) noexcept
    wasmtime_component_export_index_t* wasmtime_component_get_export_index(
        const wasmtime_component_t*, const wasmtime_component_export_index_t*, const char*, size_t) noexcept
    void wasmtime_component_export_index_delete(wasmtime_component_export_index_t*) noexcept
    # -- types --
    void wasmtime_component_type_delete(wasmtime_component_type_t*) noexcept
    size_t wasmtime_component_type_import_count(const wasmtime_component_type_t*, const wasm_engine_t*) noexcept
    wasm_bool wasmtime_component_type_import_nth(
        const wasmtime_component_type_t*, const wasm_engine_t*, size_t, char**, size_t*, wasmtime_component_extern_t**) noexcept
    size_t wasmtime_component_type_export_count(const wasmtime_component_type_t*, const wasm_engine_t*) noexcept
    wasm_bool wasmtime_component_type_export_nth(
        const wasmtime_component_type_t*, const wasm_engine_t*, size_t, char**, size_t*, wasmtime_component_extern_t**) noexcept
    size_t wasmtime_component_instance_type_export_count(const wasmtime_component_instance_type_t*, const wasm_engine_t*) noexcept
    wasm_bool wasmtime_component_instance_type_export_nth(
        const wasmtime_component_instance_type_t*, const wasm_engine_t*, size_t, char**, size_t*, wasmtime_component_extern_t**) noexcept
    void wasmtime_component_extern_type(const wasmtime_component_extern_t*, wasmtime_component_item_t*) noexcept
    void wasmtime_component_extern_delete(wasmtime_component_extern_t*) noexcept
    void wasmtime_component_item_delete(wasmtime_component_item_t*) noexcept
    wasm_bool wasmtime_component_func_type_async(const wasmtime_component_func_type_t*) noexcept
    size_t wasmtime_component_func_type_param_count(const wasmtime_component_func_type_t*) noexcept
    wasm_bool wasmtime_component_func_type_param_nth(
        const wasmtime_component_func_type_t*, size_t, char**, size_t*, wasmtime_component_valtype_t*) noexcept
    wasm_bool wasmtime_component_func_type_result(const wasmtime_component_func_type_t*, wasmtime_component_valtype_t*) noexcept
    void wasmtime_component_valtype_delete(wasmtime_component_valtype_t*) noexcept
    void wasmtime_component_list_type_element(const wasmtime_component_list_type_t*, wasmtime_component_valtype_t*) noexcept
    size_t wasmtime_component_record_type_field_count(const wasmtime_component_record_type_t*) noexcept
    wasm_bool wasmtime_component_record_type_field_nth(
        const wasmtime_component_record_type_t*, size_t, char**, size_t*, wasmtime_component_valtype_t*) noexcept
    size_t wasmtime_component_tuple_type_types_count(const wasmtime_component_tuple_type_t*) noexcept
    wasm_bool wasmtime_component_tuple_type_types_nth(const wasmtime_component_tuple_type_t*, size_t, wasmtime_component_valtype_t*) noexcept
    size_t wasmtime_component_variant_type_case_count(const wasmtime_component_variant_type_t*) noexcept
    wasm_bool wasmtime_component_variant_type_case_nth(
        const wasmtime_component_variant_type_t*, size_t, char**, size_t*, wasm_bool*, wasmtime_component_valtype_t*) noexcept
    size_t wasmtime_component_enum_type_names_count(const wasmtime_component_enum_type_t*) noexcept
    wasm_bool wasmtime_component_enum_type_names_nth(const wasmtime_component_enum_type_t*, size_t, char**, size_t*) noexcept
    void wasmtime_component_option_type_ty(const wasmtime_component_option_type_t*, wasmtime_component_valtype_t*) noexcept
    wasm_bool wasmtime_component_result_type_ok(const wasmtime_component_result_type_t*, wasmtime_component_valtype_t*) noexcept
    wasm_bool wasmtime_component_result_type_err(const wasmtime_component_result_type_t*, wasmtime_component_valtype_t*) noexcept
    # -- values --
    wasmtime_component_val_t* wasmtime_component_val_new(wasmtime_component_val_t*) noexcept
    void wasmtime_component_val_delete(wasmtime_component_val_t*) noexcept
    void wasmtime_component_vallist_new_uninit(wasmtime_component_vallist_t*, size_t) noexcept
    void wasmtime_component_valrecord_new_uninit(wasmtime_component_valrecord_t*, size_t) noexcept
    void wasmtime_component_valtuple_new_uninit(wasmtime_component_valtuple_t*, size_t) noexcept
    # -- resources --
    wasmtime_component_resource_type_t* wasmtime_component_resource_type_new_host(uint32_t) noexcept
    void wasmtime_component_resource_type_delete(wasmtime_component_resource_type_t*) noexcept
    wasmtime_component_resource_host_t* wasmtime_component_resource_host_new(wasm_bool, uint32_t, uint32_t) noexcept
    uint32_t wasmtime_component_resource_host_rep(const wasmtime_component_resource_host_t*) noexcept
    uint32_t wasmtime_component_resource_host_type(const wasmtime_component_resource_host_t*) noexcept
    void wasmtime_component_resource_host_delete(wasmtime_component_resource_host_t*) noexcept
    wasmtime_error_t* wasmtime_component_resource_any_to_host(
        wasmtime_context_t*, const wasmtime_component_resource_any_t*, wasmtime_component_resource_host_t**) noexcept
    wasmtime_error_t* wasmtime_component_resource_host_to_any(
        wasmtime_context_t*, const wasmtime_component_resource_host_t*, wasmtime_component_resource_any_t**) noexcept
    # -- linking --
    wasmtime_component_linker_t* wasmtime_component_linker_new(const wasm_engine_t*) noexcept
    void wasmtime_component_linker_delete(wasmtime_component_linker_t*) noexcept
    wasmtime_component_linker_instance_t* wasmtime_component_linker_root(wasmtime_component_linker_t*) noexcept
    wasmtime_error_t* wasmtime_component_linker_define_unknown_imports_as_traps(wasmtime_component_linker_t*, const wasmtime_component_t*) noexcept
    wasmtime_error_t* wasmtime_component_linker_instance_add_instance(
        wasmtime_component_linker_instance_t*, const char*, size_t, wasmtime_component_linker_instance_t**) noexcept
    wasmtime_error_t* wasmtime_component_linker_instance_add_func(
        wasmtime_component_linker_instance_t*, const char*, size_t, wasmtime_component_func_callback_t, void*,
        wasmtime_finalizer_t) noexcept
    wasmtime_error_t* wasmtime_component_linker_instance_add_func_async(
        wasmtime_component_linker_instance_t*, const char*, size_t, wasmtime_component_func_async_callback_t, void*,
        wasmtime_finalizer_t) noexcept
    wasmtime_error_t* wasmtime_component_linker_instance_add_resource(
        wasmtime_component_linker_instance_t*, const char*, size_t, const wasmtime_component_resource_type_t*,
        wasmtime_component_resource_destructor_t, void*, wasmtime_finalizer_t) noexcept
    void wasmtime_component_linker_instance_delete(wasmtime_component_linker_instance_t*) noexcept
    # -- instances and calls --
    wasmtime_call_future_t* wasmtime_component_linker_instantiate_async(
        const wasmtime_component_linker_t*, wasmtime_context_t*, const wasmtime_component_t*, wasmtime_component_instance_t*,
        wasmtime_error_t**) noexcept
    wasm_bool wasmtime_component_instance_get_func(
        const wasmtime_component_instance_t*, wasmtime_context_t*, const wasmtime_component_export_index_t*,
        wasmtime_component_func_t*) noexcept
    wasmtime_call_future_t* wasmtime_component_func_call_async(
        const wasmtime_component_func_t*, wasmtime_context_t*, const wasmtime_component_val_t*, size_t, wasmtime_component_val_t*, size_t,
        wasmtime_error_t**) noexcept

cdef enum:
    # wasmtime_component_val_t.kind
    CVAL_BOOL = 0
    CVAL_U8 = 2
    CVAL_U32 = 6
    CVAL_U64 = 8
    CVAL_STRING = 12
    CVAL_LIST = 13
    CVAL_RECORD = 14
    CVAL_TUPLE = 15
    CVAL_VARIANT = 16
    CVAL_ENUM = 17
    CVAL_OPTION = 18
    CVAL_RESULT = 19
    CVAL_RESOURCE = 21

    # wasmtime_component_valtype_t.kind, beyond those that have only a name
    CTYPE_LIST = 13
    CTYPE_RECORD = 14
    CTYPE_TUPLE = 15
    CTYPE_VARIANT = 16
    CTYPE_ENUM = 17
    CTYPE_OPTION = 18
    CTYPE_RESULT = 19
    CTYPE_OWN = 21
    CTYPE_BORROW = 22

    # wasmtime_component_item_t.kind
    ITEM_INSTANCE = 1
    ITEM_FUNC = 3
    ITEM_RESOURCE = 4
