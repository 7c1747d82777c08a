"""What the records are counted into while metrics are on. See meters.pxd for the rules."""

from collections.abc import Iterable, Sequence

from caxton._fast.router import Router

MOST_BOUNDS: int
MOST_SERIES: int

class Histogram:
    """How long things took, by upper bounds in seconds."""

    size: int  # bounds

    def __init__(self, bounds: Sequence[float]) -> None:
        """1 to MOST_BOUNDS, above 0 and ascending; else ValueError."""
    def observe(self, seconds: float) -> None:
        """Count one value; a negative one counts as 0."""
    def counts_and_sum(self) -> tuple[list[int], float]:
        """How many fell into each bucket (one more than there are bounds), and the sum of all in seconds."""

class Meters:
    """As `History.meters` it is told of every record."""

    waits: Histogram  # of messages, from mailbox to the start of their turn
    turns: Histogram  # the turns themselves

    def __init__(self, bounds: Sequence[float], series: int) -> None:
        """With room for *series* sums by agent, 1 to MOST_SERIES."""
    def ended(self) -> dict[tuple[int, int], int]:
        """Turns by kind and outcome: {(KIND_*, EXIT_*): how many}, without those that never were."""
    def accepted_by_act(self) -> dict[tuple[bool, int], int]:
        """Accepted messages: {(came from outside, code of the act): how many}, without those that never were."""
    def assign(self, port_id: int, series: int) -> None:
        """Where the port's numbers are added from now on; series 0 from the beginning."""
    def clear(self, series: int) -> None:
        """Its numbers begin anew."""
    def gather(self, router: Router, ports: Iterable[int]) -> tuple[list[tuple[int, int, int, int, int]], int]:
        """Add up what these ports have counted; ([(handled, failed, ns in turns, waiting, backlog) of each series], the
        longest mailbox). An id that is no open port is passed over."""
