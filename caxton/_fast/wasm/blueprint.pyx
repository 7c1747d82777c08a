"""See blueprint.pxd."""

from libc.stdint cimport uint32_t
from libc.string cimport memset

from caxton._fast.platform cimport cx_load_i32
from caxton._fast.wasm.c_api cimport *
from caxton._fast.wasm.engine cimport Engine
from caxton._fast.wasm.errors cimport error_text
from caxton._fast.wasm.hostcalls cimport define_hostcalls
from caxton._fast.wasm.instance cimport *
from caxton._fast.wasm.module cimport Module
from caxton._fast.wasm.wasi cimport define_wasi

from caxton.core.errors import DeploymentFailed, InvalidWasm

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


cdef class Blueprint:
    def __cinit__(self, Linker linker not None, Module module not None):
        cdef wasmtime_error_t* error
        cdef char text[512]
        cdef size_t n
        self.module = module
        self._names = []
        memset(&self.plan, 0, sizeof(blueprint_t))
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

    def is_used(self):
        """Whether an instance of it is left."""
        return cx_load_i32(&self.plan.users) > 0

    def __dealloc__(self):
        if self.plan.pre != NULL:
            wasmtime_instance_pre_delete(self.plan.pre)
