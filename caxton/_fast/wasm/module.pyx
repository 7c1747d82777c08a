"""Modules: compiled from bytes, written as an artefact, read back.

An artefact is machine code: `open` and `deserialize` must only see files that we wrote ourselves. runtime/modules.py is the only caller and verifies
a checksum of its own first; the engine then checks that version, target and settings match, which is a check against mistakes, not against malice.
"""

import os

from libc.stdint cimport uint8_t

from caxton._fast.wasm.c_api cimport *
from caxton._fast.wasm.errors cimport take_internal, take_invalid_wasm

from caxton.core.errors import InternalError
from caxton.core.wasm_binary import Extern

cdef dict KINDS = {TYPE_FUNC: "func", TYPE_GLOBAL: "global", TYPE_TABLE: "table", TYPE_MEMORY: "memory", TYPE_TAG: "tag"}
cdef dict VALUES = {
    VALTYPE_I32: "i32",
    VALTYPE_I64: "i64",
    VALTYPE_F32: "f32",
    VALTYPE_F64: "f64",
    VALTYPE_V128: "v128",
    VALTYPE_EXTERNREF: "externref",
    VALTYPE_FUNCREF: "funcref",
}


cdef str name_of(const wasm_byte_vec_t* name):
    return name.data[:name.size].decode("utf-8", "replace") if name.size else ""


cdef tuple values_of(const wasm_valtype_vec_t* values):
    cdef size_t i
    return tuple([VALUES.get(wasm_valtype_kind(values.data[i]), "?") for i in range(values.size)])


cdef object extern_of(str module, str name, const wasm_externtype_t* type):
    cdef const wasm_functype_t* signature
    cdef int kind = wasm_externtype_kind(type)
    if kind == TYPE_FUNC:
        signature = wasm_externtype_as_functype_const(type)
        return Extern(module, name, "func", values_of(wasm_functype_params(signature)), values_of(wasm_functype_results(signature)))
    return Extern(module, name, KINDS.get(kind, "?"), (), ())


cdef class Module:
    def __cinit__(self):
        self.handle = NULL

    def __init__(self):
        raise TypeError("use Module.compile or Module.deserialize")

    def __dealloc__(self):
        if self.handle != NULL:
            wasmtime_module_delete(self.handle)

    @staticmethod
    cdef Module wrap(Engine engine, wasmtime_module_t* handle):
        cdef Module module = Module.__new__(Module)
        module.handle = handle
        module.engine = engine
        return module

    @staticmethod
    def compile(Engine engine not None, bytes wasm not None) -> Module:
        """Compile here and now. The server compiles in a child process (runtime/modules.py): the compiler is not hardened against its input."""
        cdef const uint8_t* data = <const uint8_t*>(<char*>wasm)
        cdef size_t size = len(wasm)
        cdef wasmtime_module_t* handle = NULL
        cdef wasmtime_error_t* error
        with nogil:
            error = wasmtime_module_new(engine.handle, data, size, &handle)
        if error != NULL:
            raise take_invalid_wasm(error, "the module does not compile")
        return Module.wrap(engine, handle)

    @staticmethod
    def deserialize(Engine engine not None, const uint8_t[::1] artefact not None) -> Module:
        """Take over the machine code in *artefact* (a copy is made). Only for what `serialize` gave: it is run as it is."""
        cdef size_t size = artefact.shape[0]
        cdef wasmtime_module_t* handle = NULL
        cdef wasmtime_error_t* error
        if size == 0:
            raise InternalError("the compiled module cannot be loaded: it is empty")
        cdef const uint8_t* data = &artefact[0]
        with nogil:
            error = wasmtime_module_deserialize(engine.handle, data, size, &handle)
        if error != NULL:
            raise take_internal(error, "the compiled module cannot be loaded")
        return Module.wrap(engine, handle)

    @staticmethod
    def open(Engine engine not None, path not None) -> Module:
        """Map the machine code in the file, which must stay as it is; else as `deserialize`."""
        cdef bytes raw = os.fsencode(path)
        cdef const char* name = raw
        cdef wasmtime_module_t* handle = NULL
        cdef wasmtime_error_t* error
        with nogil:
            error = wasmtime_module_deserialize_file(engine.handle, name, &handle)
        if error != NULL:
            raise take_internal(error, "the compiled module cannot be loaded")
        return Module.wrap(engine, handle)

    def serialize(self) -> bytes:
        """The artefact: what `deserialize` takes, on an engine of the same fingerprint."""
        cdef wasm_byte_vec_t out
        cdef wasmtime_error_t* error
        with nogil:
            error = wasmtime_module_serialize(self.handle, &out)
        if error != NULL:
            raise take_internal(error, "the compiled module cannot be written")
        try:
            return out.data[:out.size]
        finally:
            wasm_byte_vec_delete(&out)

    def imports(self) -> list:
        cdef wasm_importtype_vec_t types
        cdef size_t i
        wasmtime_module_imports(self.handle, &types)
        try:
            return [
                extern_of(
                    name_of(wasm_importtype_module(types.data[i])),
                    name_of(wasm_importtype_name(types.data[i])),
                    wasm_importtype_type(types.data[i]),
                )
                for i in range(types.size)
            ]
        finally:
            wasm_importtype_vec_delete(&types)

    def exports(self) -> list:
        cdef wasm_exporttype_vec_t types
        cdef size_t i
        wasmtime_module_exports(self.handle, &types)
        try:
            return [
                extern_of("", name_of(wasm_exporttype_name(types.data[i])), wasm_exporttype_type(types.data[i])) for i in range(types.size)
            ]
        finally:
            wasm_exporttype_vec_delete(&types)


def wat2wasm(str text not None) -> bytes:
    """The binary of a module in text form; bytes that are a binary already come back as they are."""
    cdef bytes raw = text.encode()
    cdef wasm_byte_vec_t out
    cdef wasmtime_error_t* error = wasmtime_wat2wasm(raw, len(raw), &out)
    if error != NULL:
        raise take_invalid_wasm(error, "the text is no module")
    try:
        return out.data[:out.size]
    finally:
        wasm_byte_vec_delete(&out)
