"""WASI 0.2 for components, the part that a sandbox needs: io, clocks, random, standard streams to the log, arguments and environment. No files, no sockets.

libwasmtime's own WASI is never linked: DESIGN.md 5. FUNCTIONS is the table, RESOURCES the types of resources by their names.

Streams are numbers: 0 is the standard input, which is empty, 1 and 2 are the log. A pollable is a place in guest_t.due_ns: when it is due.
"""
