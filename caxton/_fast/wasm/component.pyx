"""See component.pxd."""

import os

from libc.stdint cimport uint8_t

from caxton._fast.wasm.c_component cimport *
from caxton._fast.wasm.errors cimport take_internal, take_invalid_wasm

from caxton.core.errors import InternalError, InvalidWasm
from caxton.core.wasm_binary import Extern
from caxton.core.wasm_component import check, is_guest

cdef enum:
    MAX_NESTING = 32
    MAX_MEMBERS = 1024      # of an interface, and interfaces of a component: the engine walks its list from the start for each of them
    MAX_NAME = 512

# by wasmtime_component_valtype_t.kind
cdef tuple NAMES = ("bool", "s8", "s16", "s32", "s64", "u8", "u16", "u32", "u64", "f32", "f64", "char", "string")


cdef str text_of(const char* name, size_t length):
    if length > MAX_NAME:
        raise InvalidWasm(f"the component has a name of {length} bytes; {MAX_NAME} are allowed")
    return name[:length].decode("utf-8", "replace")


cdef size_t bounded(size_t count, str whose, str what) except? 0:
    if count > MAX_MEMBERS:
        raise InvalidWasm(f"{whose} {count} {what}; {MAX_MEMBERS} are allowed", hint="build it for the world `agent` of wit/agent.wit")
    return count


cdef str render(const wasmtime_component_valtype_t* type, int depth):
    """A type in the words of core/wasm_component.py."""
    cdef wasmtime_component_valtype_t inner
    cdef char* name = NULL
    cdef size_t length = 0, i, count
    cdef wasm_bool more = False
    cdef list parts = []
    cdef str ok, err
    if depth > MAX_NESTING:
        return "?"
    if type.kind < len(NAMES):
        return NAMES[type.kind]
    if type.kind == CTYPE_LIST:
        wasmtime_component_list_type_element(type.of.list, &inner)
        return f"list<{taken(&inner, depth)}>"
    if type.kind == CTYPE_OPTION:
        wasmtime_component_option_type_ty(type.of.option, &inner)
        return f"option<{taken(&inner, depth)}>"
    if type.kind == CTYPE_RESULT:
        ok = taken(&inner, depth) if wasmtime_component_result_type_ok(type.of.result, &inner) else "_"
        err = taken(&inner, depth) if wasmtime_component_result_type_err(type.of.result, &inner) else ""
        if err:
            return f"result<{ok}, {err}>"
        return "result" if ok == "_" else f"result<{ok}>"
    if type.kind == CTYPE_RECORD:
        count = wasmtime_component_record_type_field_count(type.of.record)
        for i in range(count):
            if wasmtime_component_record_type_field_nth(type.of.record, i, &name, &length, &inner):
                parts.append(f"{text_of(name, length)}: {taken(&inner, depth)}")
        return f"record{{{', '.join(parts)}}}"
    if type.kind == CTYPE_TUPLE:
        count = wasmtime_component_tuple_type_types_count(type.of.tuple)
        for i in range(count):
            if wasmtime_component_tuple_type_types_nth(type.of.tuple, i, &inner):
                parts.append(taken(&inner, depth))
        return f"tuple<{', '.join(parts)}>"
    if type.kind == CTYPE_VARIANT:
        count = wasmtime_component_variant_type_case_count(type.of.variant)
        for i in range(count):
            if wasmtime_component_variant_type_case_nth(type.of.variant, i, &name, &length, &more, &inner):
                parts.append(text_of(name, length) + (f"({taken(&inner, depth)})" if more else ""))
        return f"variant{{{', '.join(parts)}}}"
    if type.kind == CTYPE_ENUM:
        count = wasmtime_component_enum_type_names_count(type.of.enum_)
        for i in range(count):
            if wasmtime_component_enum_type_names_nth(type.of.enum_, i, &name, &length):
                parts.append(text_of(name, length))
        return f"enum{{{', '.join(parts)}}}"
    return {CTYPE_OWN: "own", CTYPE_BORROW: "borrow"}.get(type.kind, "?")


cdef str taken(wasmtime_component_valtype_t* type, int depth):
    """The same of a type that is ours to delete."""
    try:
        return render(type, depth + 1)
    finally:
        wasmtime_component_valtype_delete(type)


cdef str signature(const wasmtime_component_func_type_t* function):
    cdef wasmtime_component_valtype_t type
    cdef char* name = NULL
    cdef size_t length = 0, i
    cdef list params = []
    for i in range(wasmtime_component_func_type_param_count(function)):
        if wasmtime_component_func_type_param_nth(function, i, &name, &length, &type):
            params.append(taken(&type, 0))
    text = f"({', '.join(params)})"
    if wasmtime_component_func_type_async(function):
        text = "async " + text
    if wasmtime_component_func_type_result(function, &type):
        text += f" -> {taken(&type, 0)}"
    return text


cdef tuple members(const wasmtime_component_instance_type_t* instance, wasm_engine_t* engine, str interface):
    """The functions of an interface, and the names of its resources."""
    cdef wasmtime_component_extern_t* extern_ = NULL
    cdef wasmtime_component_item_t item
    cdef char* name = NULL
    cdef size_t length = 0, i
    cdef dict functions = {}
    cdef list resources = []
    cdef size_t count = wasmtime_component_instance_type_export_count(instance, engine)
    for i in range(bounded(count, f"the component's interface `{interface}` has", "functions and types")):
        if not wasmtime_component_instance_type_export_nth(instance, engine, i, &name, &length, &extern_):
            continue
        wasmtime_component_extern_type(extern_, &item)
        try:
            if item.kind == ITEM_FUNC:
                functions[text_of(name, length)] = signature(item.of.component_func)
            elif item.kind == ITEM_RESOURCE:
                resources.append(text_of(name, length))
        finally:
            wasmtime_component_item_delete(&item)
            wasmtime_component_extern_delete(extern_)
    return functions, resources


cdef object note(
    wasmtime_component_extern_t* extern_, const char* text, size_t length, wasm_engine_t* engine, dict functions, dict resources
):
    """Write down one import or export, and delete it."""
    cdef wasmtime_component_item_t item
    wasmtime_component_extern_type(extern_, &item)
    try:
        name = text_of(text, length)
        if item.kind == ITEM_INSTANCE:
            functions[name], resources[name] = members(item.of.component_instance, engine, name)
        elif item.kind == ITEM_FUNC:
            functions.setdefault("", {})[name] = signature(item.of.component_func)
    finally:
        wasmtime_component_item_delete(&item)
        wasmtime_component_extern_delete(extern_)


cdef wasmtime_component_t* compiled(Engine engine, bytes wasm) except NULL:
    cdef const uint8_t* data = <const uint8_t*>(<char*>wasm)
    cdef size_t size = len(wasm)
    cdef wasmtime_component_t* handle = NULL
    cdef wasmtime_error_t* error
    with nogil:
        error = wasmtime_component_new(engine.handle, data, size, &handle)
    if error != NULL:
        raise take_invalid_wasm(error, "the component does not compile")
    return handle


cdef bytes serialized(const wasmtime_component_t* component):
    cdef wasm_byte_vec_t out
    cdef wasmtime_error_t* error
    with nogil:
        error = wasmtime_component_serialize(component, &out)
    if error != NULL:
        raise take_internal(error, "the compiled component cannot be written")
    try:
        return out.data[:out.size]
    finally:
        wasm_byte_vec_delete(&out)


cdef class Component(Module):
    def __cinit__(self):
        self.component = NULL

    def __dealloc__(self):
        if self.component != NULL:
            wasmtime_component_delete(self.component)

    @staticmethod
    cdef Component made(Engine engine, wasmtime_component_t* handle, int memories):
        """Takes over the handle. Raises InvalidWasm when it cannot be an agent."""
        cdef Component component = Component.__new__(Component)
        component.component = handle
        component.engine = engine
        component.memories = memories
        component.imported, component.exported, component.resources = {}, {}, {}
        component._describe()
        component.outside = check(component.imported, component.exported)
        return component

    def _describe(self):
        cdef wasmtime_component_type_t* type = wasmtime_component_type(self.component)
        cdef wasm_engine_t* engine = self.engine.handle
        cdef wasmtime_component_extern_t* extern_ = NULL
        cdef char* name = NULL
        cdef size_t length = 0, i, count
        try:
            count = bounded(wasmtime_component_type_import_count(type, engine), "the component imports", "interfaces and functions")
            for i in range(count):
                if wasmtime_component_type_import_nth(type, engine, i, &name, &length, &extern_):
                    note(extern_, name, length, engine, self.imported, self.resources)
            count = bounded(wasmtime_component_type_export_count(type, engine), "the component exports", "interfaces and functions")
            for i in range(count):
                if wasmtime_component_type_export_nth(type, engine, i, &name, &length, &extern_):
                    note(extern_, name, length, engine, self.exported, {})
        finally:
            wasmtime_component_type_delete(type)

    @staticmethod
    def compile(Engine engine not None, bytes wasm not None, int memories=1) -> Component:
        """Compile here and now. The server compiles in a child process (runtime/modules.py)."""
        return Component.made(engine, compiled(engine, wasm), memories)

    @staticmethod
    def artefact(Engine engine not None, bytes wasm not None) -> bytes:
        """What `compile` and `serialize` give, of a component that may not be an agent."""
        cdef wasmtime_component_t* handle = compiled(engine, wasm)
        try:
            return serialized(handle)
        finally:
            wasmtime_component_delete(handle)

    @staticmethod
    def deserialize(Engine engine not None, artefact) -> Component:
        raise InternalError("a component's artefact is mapped from its file: use Component.open")

    @staticmethod
    def open(Engine engine not None, path not None, int memories=1) -> Component:
        """Map the machine code in the file: its pages come from the disk as they are used. Only for what `serialize` gave: it is run as it is.

        The file must stay as it is as long as the component lives; another may take its name.
        """
        cdef bytes raw = os.fsencode(path)
        cdef const char* name = raw
        cdef wasmtime_component_t* handle = NULL
        cdef wasmtime_error_t* error
        with nogil:
            error = wasmtime_component_deserialize_file(engine.handle, name, &handle)
        if error != NULL:
            raise take_internal(error, "the compiled component cannot be loaded")
        return Component.made(engine, handle, memories)

    def serialize(self) -> bytes:
        """The artefact: what `open` takes out of a file, on an engine of the same fingerprint."""
        return serialized(self.component)

    def imports(self) -> list:
        return [Extern(interface, name, "func") for interface, functions in self.imported.items() for name in functions]

    def exports(self) -> list:
        """What the guest can be asked, under the names that a core module's exports have."""
        functions = next((found for name, found in self.exported.items() if is_guest(name)), {})
        return [Extern("", "health_check" if name == "health" else name.replace("-", "_"), "func") for name in functions]
