"""WASI preview 1, the part that a sandbox needs: clocks, randomness, arguments, environment, standard output to the log. No files, no sockets.

libwasmtime's own WASI is never linked: DESIGN.md 5. Numbers and layouts are those of wasi_snapshot_preview1.
"""

from caxton._fast.wasm.c_api cimport wasmtime_linker_t

cdef int define_wasi(wasmtime_linker_t* linker) noexcept
