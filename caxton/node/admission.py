"""Whether the machine has room for another agent: processors that are promised, and memory that is free.

Rule 1: only who comes new is asked. Agents that come back after a restart were admitted before, and a change of these
        limits sends nobody away.
Rule 2: what cannot be found out about the machine bounds nothing.
"""

import os
from pathlib import Path

from caxton.core.config_keys import HostConfig
from caxton.core.errors import ResourceLimitExceeded
from caxton.core.limits import format_bytes, format_millicores, format_percent

CGROUP = Path("/sys/fs/cgroup")
MEMORY = Path("/proc/meminfo")
USUAL_RESERVE = 500 << 20
TENTH = 10


class Machine:
    """What there is, within what this process is allowed (its container, its affinity)."""

    def millicores(self) -> int:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        quota, _, period = _line(CGROUP / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            return min(cores * 1000, int(quota) * 1000 // int(period))
        return cores * 1000

    def memory(self) -> int:
        """All of it; 0 is not known."""
        found = [_meminfo("MemTotal"), _number(CGROUP / "memory.max")]
        return min((size for size in found if size), default=0)

    def free_memory(self) -> int | None:
        """What new work can have without swapping; None is not known."""
        free = _meminfo("MemAvailable")
        limit, used = _number(CGROUP / "memory.max"), _number(CGROUP / "memory.current")
        if limit and used:
            free = min(free or limit, max(limit - used, 0))
        return free or None


class Admission:
    def __init__(self, limits: HostConfig, machine: Machine) -> None:
        self.limits = limits
        self.machine = machine

    def check(self, promised: int, more: int, *, is_new: bool = True) -> None:
        """Raise ResourceLimitExceeded when *more* millicores beside those *promised* are too much, or any memory for an
        instance that is new."""
        cpu = self.limits.cpu
        if cpu.overcommit_ratio and more:
            there = self.machine.millicores()
            room = int(there * (1 - cpu.reserve_system) * cpu.overcommit_ratio)
            if promised + more > room:
                raise ResourceLimitExceeded(
                    f"{format_millicores(promised)} of the processors are promised to agents, and "
                    f"{format_millicores(more)} more were asked for; {format_millicores(room)} may be promised: "
                    f"{format_millicores(there)}, less {format_percent(cpu.reserve_system)} for the system, times "
                    f"{cpu.overcommit_ratio:g}",
                    hint="ask for less (resources.cpu), delete agents, or raise resources.cpu.overcommit_ratio",
                    details={"promised": promised, "asked": more, "limit": room},
                )
        free, reserve = self.machine.free_memory(), self.reserve()
        if more and is_new and free is not None and free < reserve:
            raise ResourceLimitExceeded(
                f"the machine has {_rough(free)} of memory left, and {_rough(reserve)} are kept for the system",
                hint="free some, delete agents, or lower resources.memory.reserve_system",
                details={"free": free, "limit": reserve},
            )

    def reserve(self) -> int:
        """Bytes that agents leave to the system."""
        return self.limits.memory.reserve_system or min(USUAL_RESERVE, self.machine.memory() // TENTH)


def _rough(size: int) -> str:
    return format_bytes(size >> 20 << 20)


def _line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> int:
    text = _line(path)
    return int(text) if text.isdigit() else 0


def _meminfo(name: str) -> int:
    for line in _line(MEMORY).splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    return 0
