"""The engine, made once, shared by every module, store and thread; components have another one."""

class Engine:
    pooling: bool
    components: bool
    pool_slots: int
    max_memory: int
    memory_reservation: int
    max_table_elements: int
    max_wasm_stack: int
    async_stack_size: int
    keep_resident: int
    warnings: tuple[str, ...]
    fingerprint: str

    def __init__(
        self,
        *,
        pool_slots: int = 1016,
        max_memory: int = 104_857_600,
        memory_reservation: int = 4_294_967_296,
        max_table_elements: int = 10_000,
        max_wasm_stack: int = 65_536,
        async_stack_size: int = 262_144,
        keep_resident: int = 65_536,
        pooling: bool = True,
        components: bool = False,
    ) -> None:
        """Raise InvalidConfig for sizes that cannot be; want of address space only makes `warnings`."""
    def increment_epoch(self) -> None:
        """Move the epoch on by one tick: what runs past its deadline gives way."""

def struct_sizes() -> dict[str, int]:
    """Bytes of each structure as compiled here; the tests hold them against the wheel's own description."""
