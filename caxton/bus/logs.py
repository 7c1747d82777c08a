"""What agents wrote, and what the platform wrote about them: the last lines, all agents together."""

from collections import deque
from collections.abc import Sequence

from caxton.core.views import LogLine


class LogRing:
    def __init__(self, capacity: int = 20_000) -> None:
        self._lines: deque[LogLine] = deque(maxlen=capacity)

    def append(self, line: LogLine) -> None:
        self._lines.append(line)

    def select(self, agents: Sequence[str], since: float | None, limit: int) -> list[LogLine]:
        """The newest *limit* lines of these agents (all when empty), at or after *since*, oldest first."""
        wanted = frozenset(agents)
        found: list[LogLine] = []
        for line in reversed(self._lines):
            if len(found) == limit:
                break
            # guests on several threads: the lines' times are not quite in the order in which they arrived
            if (not wanted or line.agent in wanted) and (since is None or line.at >= since):
                found.append(line)
        found.reverse()
        return found
