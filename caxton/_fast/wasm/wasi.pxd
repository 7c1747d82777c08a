"""WASI preview 1, the part that a sandbox needs: clocks, randomness, arguments, environment, standard output to the log. No files, no sockets.

libwasmtime's own WASI is never linked: DESIGN.md 5. Numbers and layouts are those of wasi_snapshot_preview1.
"""

from libc.stdint cimport uint32_t

from caxton._fast.wasm.c_api cimport wasmtime_linker_t
from caxton._fast.wasm.instance cimport agent_t

cdef int define_wasi(wasmtime_linker_t* linker) noexcept
# logs what is complete, and keeps the rest for the next write; *stream* is 1 or 2
cdef void write_lines(agent_t* agent, int stream, const char* text, uint32_t length) noexcept nogil
