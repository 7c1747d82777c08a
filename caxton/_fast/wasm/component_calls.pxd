"""Host functions of the WIT package caxton:agent, for components: the same functions behind as for core modules (hostcalls.pxd).

FUNCTIONS is the table. What the arguments of a function are was checked when the component was linked (core/wasm_component.py).
"""

from caxton._fast.wasm.c_component cimport wasmtime_context_t
from caxton._fast.wasm.instance cimport agent_t

cdef agent_t* agent_at(wasmtime_context_t* context) noexcept nogil
