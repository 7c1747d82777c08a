"""Figures of the whole node, in the shape of `GET /api/v1/metrics/system`."""

import os
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from caxton._fast.scheduler import Scheduler
from caxton.core.agent import AgentState
from caxton.node.agents import Agents
from caxton.node.dead_letters import DeadLetters
from caxton.runtime.supervisor import Runtime

RATE_WINDOW = 1.0  # seconds that a rate is averaged over, at least


class Metrics:
    def __init__(
        self, scheduler: Scheduler, runtime: Runtime, agents: Agents, letters: DeadLetters, data_dir: Path
    ) -> None:
        self._scheduler = scheduler
        self._runtime = runtime
        self._agents_room = agents
        self._letters = letters
        self._data_dir = data_dir
        self._rate_from = (time.monotonic(), 0)
        self._rate = 0.0
        self._cpu_from = (time.monotonic(), time.process_time())
        self._cpu = 0.0

    # Any: groups of numbers, as the API shows them
    def system(self, fields: set[str]) -> Mapping[str, Any]:
        """The groups named, all when none is."""
        groups = {
            "agents": self._agents,
            "messages": self._messages,
            "resources": self._resources,
            "performance": self._performance,
            "conversations": self._conversations,
        }
        wanted = {name: group for name, group in groups.items() if not fields or name in fields}
        return {"timestamp": time.time(), **{name: group() for name, group in wanted.items()}}

    def _agents(self) -> Mapping[str, int]:
        states = [agent.state for agent in self._runtime.list()]
        broken = self._agents_room.broken
        return {
            "total": len(states) + broken,
            "running": states.count(AgentState.RUNNING),
            "failed": states.count(AgentState.FAILED) + broken,
        }

    # Any: numbers, and dead letters by reason
    def _messages(self) -> Mapping[str, Any]:
        totals = self._scheduler.totals()
        now = time.monotonic()
        since, handled = self._rate_from
        if now - since >= RATE_WINDOW:
            self._rate = (totals["handled"] - handled) / (now - since)
            self._rate_from = (now, totals["handled"])
        return {
            "total_processed": totals["handled"],
            "total_failed": totals["failed"],
            "total_undelivered": totals["undelivered"],
            "rate_per_second": round(self._rate, 1),
            "queue_size": totals["waiting"],
            "dead_letters": self._letters.figures,
        }

    # Any: numbers, and endings by protocol
    def _conversations(self) -> Mapping[str, Any]:
        return msgspec.structs.asdict(self._scheduler.tracker.statistics())

    def _resources(self) -> Mapping[str, float]:
        now, used = time.monotonic(), time.process_time()
        since, before = self._cpu_from
        if now - since >= RATE_WINDOW:
            self._cpu = (used - before) / (now - since) * 100
            self._cpu_from = (now, used)
        disk = sum(_size(path) for path in self._data_dir.rglob("*"))
        return {
            "cpu_usage_percent": round(self._cpu, 1),
            "memory_used_mb": round(resident_bytes() / 2**20, 1),
            "memory_available_mb": round(_available_bytes() / 2**20, 1),
            "disk_used_gb": round(disk / 2**30, 6),
        }

    def _performance(self) -> Mapping[str, float]:
        totals = self._scheduler.totals()
        return {
            "message_latency_p50": totals["hop_p50_ns"] / 1e6,
            "message_latency_p99": totals["hop_p99_ns"] / 1e6,
            "agent_spawn_time_ms": self._runtime.last_spawn_ns / 1e6,
        }


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # it was there a moment ago


def resident_bytes() -> int:
    """Resident memory of this process; where the system does not say it, the most it ever was."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _available_bytes() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * resource.getpagesize()
    except (ValueError, OSError):
        return 0
