"""Errors and traps of libwasmtime, as text and as exceptions; its use is by cimport (errors.pxd)."""

def trap_text_at(address: int) -> str:
    """What `trap_text` says of the wasm_trap_t at *address*; for tests and debuggers."""

def error_text_at(address: int, room: int) -> bytes:
    """What `error_text` writes into *room* bytes for the wasmtime_error_t at *address*; for tests and debuggers."""

def trap_code_texts() -> list[str]:
    """The sentence of each trap code of a core module, in the order of the codes."""
