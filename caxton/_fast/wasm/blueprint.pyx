"""See blueprint.pxd."""

from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from caxton._fast.activity cimport DO_GUEST, DO_HOST, set_activity
from caxton._fast.platform cimport cx_load_i32
from caxton._fast.wasm.c_component cimport *
from caxton._fast.wasm.component cimport Component
from caxton._fast.wasm.component_calls cimport agent_at
from caxton._fast.wasm.component_guest cimport component_t, COMPONENTS
from caxton._fast.wasm.engine cimport Engine
from caxton._fast.wasm.errors cimport error_text, take_invalid_wasm
from caxton._fast.wasm.hostcalls cimport define_hostcalls
from caxton._fast.wasm.instance cimport *
from caxton._fast.wasm.module cimport Module
from caxton._fast.wasm.wasi cimport define_wasi

from caxton._fast.wasm.component_calls import FUNCTIONS as AGENT_FUNCTIONS
from caxton._fast.wasm.wasi2 import DROP_NOTHING, RESOURCES
from caxton._fast.wasm.wasi2 import FUNCTIONS as WASI_FUNCTIONS

from caxton.core.errors import DeploymentFailed, InvalidWasm
from caxton.core.wasm_component import EXPORTS as COMPONENT_EXPORTS
from caxton.core.wasm_component import is_guest, known
from caxton.core.wasm_component_memory import SCALE

# which export serves as which function: the first that is there; params and results as core.wasm_binary writes them
EXPORTS = (
    (FN_HANDLE_MESSAGE, ("handle_message",), ("i32", "i32"), (("i32",), ("i64",))),
    (FN_ALLOC, ("caxton_alloc", "alloc", "malloc"), ("i32",), (("i32",),)),
    (FN_INITIALIZE, ("_initialize",), (), ((),)),
    (FN_INIT, ("agent_init", "init"), (), (("i32",), ())),
    (FN_SHUTDOWN, ("agent_shutdown", "shutdown"), (), ((), ("i32",))),
    (FN_HANDLE_TIMER, ("handle_timer",), ("i32",), (("i32",), ())),
    (FN_CAPABILITIES, ("get_capabilities",), ("i32", "i32"), (("i32",),)),
    (FN_RESPONSE, ("get_response",), ("i32", "i32"), (("i32",),)),
    (FN_HEALTH, ("health_check",), (), (("i32",),)),
)


cdef class Linker:
    def __cinit__(self, Engine engine not None):
        self.engine = engine
        self.handle = wasmtime_linker_new(engine.handle)
        if define_hostcalls(self.handle) or define_wasi(self.handle):
            raise DeploymentFailed("the host functions could not be defined", hint="this is a defect of the build: run the tests")

    def __dealloc__(self):
        if self.handle != NULL:
            wasmtime_linker_delete(self.handle)


COMPONENT_FUNCTIONS = (
    (FN_HANDLE_MESSAGE, "handle-message"),
    (FN_INIT, "init"),
    (FN_SHUTDOWN, "shutdown"),
    (FN_HANDLE_TIMER, "handle-timer"),
    (FN_CAPABILITIES, "get-capabilities"),
    (FN_HEALTH, "health"),
)
FUNCTIONS = {**AGENT_FUNCTIONS, **WASI_FUNCTIONS}


cdef wasmtime_error_t* observed(
    void* env, wasmtime_context_t* context, const wasmtime_component_func_type_t* type, wasmtime_component_val_t* args, size_t nargs,
    wasmtime_component_val_t* results, size_t nresults
) noexcept nogil:
    """The host function *env*, with what the thread does told to the profiler."""
    cdef agent_t* agent = agent_at(context)
    cdef wasmtime_error_t* error
    set_activity(agent.activity, DO_HOST)
    error = (<wasmtime_component_func_callback_t>env)(NULL, context, type, args, nargs, results, nresults)
    set_activity(agent.activity, DO_GUEST)
    return error


cdef void observed_async(
    void* env, wasmtime_context_t* context, const wasmtime_component_func_type_t* type, wasmtime_component_val_t* args, size_t nargs,
    wasmtime_component_val_t* results, size_t nresults, wasmtime_error_t** error, wasmtime_async_continuation_t* continuation
) noexcept nogil:
    cdef agent_t* agent = agent_at(context)
    set_activity(agent.activity, DO_HOST)
    (<wasmtime_component_func_async_callback_t>env)(NULL, context, type, args, nargs, results, nresults, error, continuation)
    set_activity(agent.activity, DO_GUEST)


cdef int checked(wasmtime_error_t* error, str what) except -1:
    if error != NULL:
        raise take_invalid_wasm(error, f"the component cannot be linked: {what}")
    return 0


cdef int define_imports(wasmtime_component_linker_t* linker, Component component) except -1:
    """What the host has of each imported interface, under the version that the component asks for."""
    cdef wasmtime_component_linker_instance_t* root = wasmtime_component_linker_root(linker)
    cdef wasmtime_component_linker_instance_t* instance
    cdef bytes raw
    types = {}
    try:
        for interface, functions in component.imported.items():
            package = interface.partition("@")[0]
            have = known(interface) or {}
            names = [name for name in functions if name in have]
            # resources of interfaces that lie outside are the same ones: the functions that are not there speak of them
            resources = component.resources[interface] if interface.startswith("wasi:") else []
            if not interface or not (names or resources):
                continue
            raw = interface.encode()
            instance = NULL
            checked(wasmtime_component_linker_instance_add_instance(root, raw, len(raw), &instance), interface)
            try:
                for name in resources:
                    number, drop = RESOURCES.get(name) or (types.setdefault(name, 16 + len(types)), DROP_NOTHING)
                    define_resource(instance, name, number, drop)
                for name in names:
                    address, suspends = FUNCTIONS[f"{package}#{name}"]
                    define_function(instance, name, address, suspends)
            finally:
                wasmtime_component_linker_instance_delete(instance)
    finally:
        wasmtime_component_linker_instance_delete(root)
    return 0


cdef int define_resource(wasmtime_component_linker_instance_t* instance, str name, uint32_t number, size_t drop) except -1:
    cdef bytes raw = name.encode()
    cdef wasmtime_component_resource_type_t* type = wasmtime_component_resource_type_new_host(number)
    cdef wasmtime_error_t* error = wasmtime_component_linker_instance_add_resource(
        instance, raw, len(raw), type, <wasmtime_component_resource_destructor_t><void*>drop, NULL, NULL
    )
    wasmtime_component_resource_type_delete(type)
    return checked(error, name)


cdef int define_function(wasmtime_component_linker_instance_t* instance, str name, size_t address, bint suspends) except -1:
    cdef bytes raw = name.encode()
    if suspends:
        return checked(
            wasmtime_component_linker_instance_add_func_async(instance, raw, len(raw), observed_async, <void*>address, NULL), name
        )
    return checked(wasmtime_component_linker_instance_add_func(instance, raw, len(raw), observed, <void*>address, NULL), name)


cdef class Blueprint:
    def __cinit__(self, Linker linker not None, Module module not None):
        self.module = module
        self._names = []
        memset(&self.plan, 0, sizeof(blueprint_t))
        self.plan.engine = module.engine.handle
        if isinstance(module, Component):
            self._link_component(<Component>module)
        else:
            self._link_module(linker, module)

    cdef int _link_module(self, Linker linker, Module module) except -1:
        cdef wasmtime_error_t* error
        cdef char text[512]
        cdef size_t n
        self.plan.kind = &MODULES
        error = wasmtime_linker_instantiate_pre(linker.handle, module.handle, &self.plan.pre)
        if error != NULL:
            n = error_text(error, text, 512)
            wasmtime_error_delete(error)
            raise InvalidWasm(f"the module cannot be linked: {text[:n].decode(errors='replace')}")
        functions = {item.name: item for item in module.exports() if item.kind == "func"}
        for index, names, params, results in EXPORTS:
            found = next((functions[name] for name in names if name in functions), None)
            if found is None or found.params != params or found.results not in results:
                continue
            name = found.name.encode()
            self._names.append(name)
            self.plan.names[<int>index] = name
            self.plan.exports |= 1 << <int>index
            self.plan.returns |= len(found.results) << <int>index
            if index == FN_HANDLE_MESSAGE:
                self.plan.packed = found.results == ("i64",)
        if not self.plan.exports & 1:
            raise InvalidWasm(
                "Missing required export: 'handle_message' (i32, i32) -> i32",
                hint="export a function handle_message(pointer, length) that returns 0",
            )
        return 0

    cdef int _link_component(self, Component component) except -1:
        cdef component_t* plan = <component_t*>calloc(1, sizeof(component_t))
        cdef wasmtime_component_export_index_t* guest
        cdef wasmtime_error_t* error
        cdef bytes raw
        if plan == NULL:
            raise MemoryError
        self.plan.kind = &COMPONENTS
        self.plan.component = plan
        plan.component = component.component
        plan.memories = max(component.memories, 1)
        plan.linker = wasmtime_component_linker_new(component.engine.handle)
        define_imports(plan.linker, component)
        error = wasmtime_component_linker_define_unknown_imports_as_traps(plan.linker, plan.component)
        if error != NULL:
            raise take_invalid_wasm(error, "the component cannot be linked")
        interface = next(name for name in component.exported if is_guest(name))
        raw = interface.encode()
        guest = wasmtime_component_get_export_index(plan.component, NULL, raw, len(raw))
        for index, name in COMPONENT_FUNCTIONS:
            if name not in component.exported[interface]:
                continue
            raw = name.encode()
            plan.indexes[<int>index] = wasmtime_component_get_export_index(plan.component, guest, raw, len(raw))
            self.plan.exports |= 1 << <int>index
            self.plan.returns |= ("->" in COMPONENT_EXPORTS[name]) << <int>index
        wasmtime_component_export_index_delete(guest)
        if component.exported.get("", {}).get(SCALE) == "() -> u32":
            raw = SCALE.encode()
            plan.scale = wasmtime_component_get_export_index(plan.component, NULL, raw, len(raw))
        return 0

    def is_used(self):
        """Whether an instance of it is left."""
        return cx_load_i32(&self.plan.users) > 0

    def __dealloc__(self):
        cdef component_t* plan = <component_t*>self.plan.component
        cdef int i
        if plan != NULL:
            for i in range(FN_COUNT):
                if plan.indexes[i] != NULL:
                    wasmtime_component_export_index_delete(plan.indexes[i])
            if plan.scale != NULL:
                wasmtime_component_export_index_delete(plan.scale)
            if plan.linker != NULL:
                wasmtime_component_linker_delete(plan.linker)
            free(plan)
        if self.plan.pre != NULL:
            wasmtime_instance_pre_delete(self.plan.pre)
