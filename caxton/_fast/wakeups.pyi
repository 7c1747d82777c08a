def wakeups(count: int, pause_ns: int) -> list[int]:
    """Nanoseconds from a signal to the thread that waited for it, *count* times, after pauses in which both rest."""
