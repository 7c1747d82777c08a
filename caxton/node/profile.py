"""Where the scheduler's time goes, summed up for whoever asks: `GET /api/v1/debug/profile`.

The native part counts samples by port; here ports become agents and samples become percent. Nothing is left out: what
belongs to no agent, and agents that are not shown, have rows of their own.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import attrs
import trio

from caxton._fast import profile as native
from caxton._fast.scheduler import Scheduler
from caxton.core.views import Profile, ProfileRow, ProfileThread

IDLE = native.ACTIVITIES.index("idle")
DELETED = "(deleted)"  # agents that were there when the profile began, and are gone


async def run_profile(scheduler: Scheduler, seconds: float, top: int) -> Profile:
    """Look for so long at what the scheduler threads do. Raises InvalidTransition while another profile runs."""
    scheduler.start_profile()
    cpu = time.thread_time()
    try:
        await trio.sleep(seconds)
    finally:
        cpu = time.thread_time() - cpu
        found = scheduler.stop_profile()
    return summarise(found, cpu, top)


@attrs.define
class Tally:
    """Samples by activity, and messages, of one agent or of several."""

    messages: int = 0
    counts: list[int] = attrs.field(factory=lambda: [0] * len(native.ACTIVITIES))

    def add(self, messages: int, counts: Sequence[int]) -> None:
        self.messages += messages
        self.counts = [a + b for a, b in zip(self.counts, counts, strict=True)]

    @property
    def busy(self) -> int:
        return sum(self.counts) - self.counts[IDLE]


def summarise(found: native.Profile, cpu: float, top: int) -> Profile:
    """*cpu*: seconds that the Python thread was at work; *top*: how many agents have a row of their own."""
    agents: dict[str, Tally] = defaultdict(Tally)
    others, total, unattributed = Tally(), Tally(found.messages), Tally()
    for port, name, messages, counts in found.ports:
        if port:
            agents[name or DELETED].add(messages, counts)
    for thread in found.threads:
        total.add(0, thread)
    ranked = sorted(agents.items(), key=lambda item: (-item[1].busy, item[0]))
    for _, tally in ranked[top:]:
        others.add(tally.messages, tally.counts)
    # messages of agents that no sample met are here as well
    unattributed.add(total.messages, total.counts)
    for tally in agents.values():
        unattributed.add(-tally.messages, [-count for count in tally.counts])

    whole = sum(total.counts)

    def row(name: str, tally: Tally) -> ProfileRow:
        spent = tally.busy / found.looks * found.seconds if found.looks else 0.0
        return ProfileRow(
            agent_id=name,
            share=_percent(tally.busy, whole),
            messages=tally.messages,
            us_per_message=round(spent / tally.messages * 1e6, 3) if tally.messages else None,
            **_shares(tally.counts, whole),
        )

    return Profile(
        seconds=round(found.seconds, 3),
        samples=found.looks,
        agents=tuple(row(name, tally) for name, tally in ranked[:top]),
        others_count=len(ranked[top:]),
        others=row("", others),
        unattributed=row("", unattributed),
        total=row("", total),
        idle=_percent(total.counts[IDLE], whole),
        threads=tuple(
            ProfileThread(thread=number, idle=_percent(counts[IDLE], sum(counts)), **_shares(counts, sum(counts)))
            for number, counts in enumerate(found.threads)
        ),
        python_thread=round(100 * cpu / found.seconds, 2),
    )


# Any: keyword arguments
def _shares(counts: Sequence[int], whole: int) -> dict[str, Any]:
    named = zip(native.ACTIVITIES, counts, strict=True)
    return {name: _percent(count, whole) for name, count in named if name != "idle"}


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0
