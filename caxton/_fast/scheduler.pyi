"""The door from Trio to the native part: ports, instances, messages in, events out.

A *port* is an address with a mailbox: an agent's (a wasm instance stands behind it) or a host port (Python receives
from it: attached agents, waiting clients). A port outlives its instances: a restart keeps the mailbox. All methods are
called from one thread, the one that runs Trio, and none blocks but `stop`. Nothing here is async: wait for `wake_fd` to
become readable, then call `drain()`.
"""

from collections.abc import Sequence
from typing import Any, Final

from caxton._fast.envelope import Envelope
from caxton._fast.history import History
from caxton._fast.profile import Profile
from caxton._fast.router import Router
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module

# events of drain(): (kind, port, a, b)

# instance is up and its init returned 0: a = capabilities JSON (bytes), b = ns that it took
EVENT_STARTED: Final[int]
# instance is gone: a = EXIT_*, b = why (str)
EVENT_EXITED: Final[int]
# nothing waits and no turn runs
EVENT_DRAINED: Final[int]
# a host port has mail
EVENT_MAIL: Final[int]
# a guest waits in a slow host call: a = call id, b = (name: str, request: bytes)
EVENT_CALL: Final[int]
# a guest wrote a line: a = 1 out | 2 err, b = (text: str, at_us: int)
EVENT_LOG: Final[int]
# a turn committed a timer: a = timer id, b = due_us, 0 = cancelled or spent
EVENT_TIMER: Final[int]
# a turn committed key-value changes: b = list of (key: bytes, value: bytes | None)
EVENT_STATE: Final[int]
# a guest subscribed: b = filter JSON (bytes)
EVENT_SUBSCRIBE: Final[int]
# a guest's message could not be delivered (a = SEND_* < 0), or a message was not handled (a = EXIT_* > 0):
# b = (Envelope, detail: str): of several receivers the name of the one without it, or why a turn failed
EVENT_UNDELIVERED: Final[int]
# answer to check_health(): a = 0 when it is well
EVENT_HEALTH: Final[int]

# reasons of EVENT_EXITED
EXIT_NORMAL: Final[int]  # the shutdown turn is done
EXIT_TRAP: Final[int]
EXIT_TIMEOUT: Final[int]
EXIT_INIT: Final[int]  # instantiation failed, or init returned an error
EXIT_KILLED: Final[int]  # drop()
EXIT_MEMORY: Final[int]  # a message did not fit into the guest's memory
EXIT_REFUSED: Final[int]  # only of a turn: handle_message returned an error code; the instance lives

# send errors (also what a guest's send_message returns)
SEND_INVALID: Final[int]
SEND_NO_RECEIVER: Final[int]
SEND_MAILBOX_FULL: Final[int]
SEND_TOO_LARGE: Final[int]
SEND_STOPPED: Final[int]
SEND_HOPS: Final[int]

class Receipt:
    message_id: str
    delivered_to: int

class PortStatistics:
    """Counters of one port since it was opened; times in ns, sizes in bytes."""

    received: int
    handled: int
    failed: int
    sent: int
    turns_ns: int
    waited_ns: int
    waiting: int
    mailbox_bytes: int
    memory_bytes: int
    state_bytes: int
    state: str  # idle, queued, running, waiting

class Scheduler:
    wake_fd: int
    threads: int
    router: Router
    records: History
    newest_message: int

    def __init__(
        self,
        engine: Engine,
        *,
        threads: int = 0,
        max_message_size: int = 1 << 20,
        journal_bytes: int = 0,
        history_messages: int = 100_000,
        history_bytes: int = 64 << 20,
        slice_us: int = 1000,
        node: str = "",
        records: bool = True,
    ) -> None:
        """*threads* 0: one per core.

        *records* False writes no journal, so nothing is counted or kept: to measure what that costs.

        *journal_bytes* is per thread, 4 messages of the largest size at least; 0: 8 MiB, or 8 messages.
        """
    def start(self) -> None: ...
    def stop(self) -> None:
        """Finish no more turns, join the threads, free every instance. Idempotent."""

    # -- ports and routes --
    def open_port(self, name: str, *, host: bool = False, queue_size: int = 10_000, queue_bytes: int = 1 << 26) -> int:
        """Make an address. Raises AgentAlreadyExists when another port has the name."""
    def open_replica(self, name: str, *, queue_size: int = 10_000, queue_bytes: int = 1 << 26) -> int:
        """Another port behind the same name; conversations stick to one replica."""
    def close_port(self, port_id: int) -> list[Envelope]:
        """Take the address away, drop its instance; gives back what waited in the mailbox."""
    def add_capability(self, port_id: int, capability: str) -> None: ...
    def join_group(self, port_id: int, group: str) -> None: ...
    def subscribe(self, port_id: int, topic: str, content_filter: bytes = b"", acts: int = 0) -> None:
        """Receive what is sent to `topic:<topic>` (`*` one level, `**` the rest), holds the filter and is of the acts.

        *acts*: bit i stands for the performative with code i (core.performatives); 0 for all. Raises InvalidRequest for
        a bad filter.
        """
    def clear_routes(self, port_id: int) -> None: ...
    def has_address(self, address: str) -> bool: ...
    def name_of(self, port_id: int) -> str:
        """The port's name; empty when it is closed."""
    def set_accepting(self, port_id: int, accepting: bool) -> None:
        """Whether new messages are taken; their senders are told SEND_STOPPED else."""

    # -- instances --
    def spawn(
        self,
        port_id: int,
        module: Module,
        *,
        memory: int,
        timeout_ns: int,
        cpu_millicores: int = 0,
        log_lines_per_second: int = 1000,
        state_quota: int = 1 << 20,
        environment: Sequence[tuple[bytes, bytes]] = (),
        state: Sequence[tuple[bytes, bytes]] = (),
        next_timer: int = 1,
    ) -> None:
        """Start an instance behind the port; EVENT_STARTED or EVENT_EXITED(EXIT_INIT) follows."""
    def shutdown(self, port_id: int) -> None:
        """Finish the running turn, call the guest's shutdown export, free it.

        EVENT_EXITED(EXIT_NORMAL). The mailbox stays.
        """
    def drop(self, port_id: int) -> None:
        """Free the instance now, even inside a turn; EVENT_EXITED(EXIT_KILLED)."""
    def drain_port(self, port_id: int) -> None:
        """Refuse new messages, handle what waits; EVENT_DRAINED."""
    def fire_timer(self, port_id: int, timer_id: int) -> None: ...
    def check_health(self, port_id: int) -> None: ...
    def complete_call(self, port_id: int, call_id: int, result: bytes, error: str = "") -> None:
        """Answer EVENT_CALL; a non-empty error becomes the guest's last_error and a negative result."""

    # -- messages --
    def submit(self, json: bytes, *, sender: str = "") -> Receipt:
        """One message from outside.

        Raises InvalidMessage, MessageTooLarge, AgentNotFound, MailboxFull, InvalidTransition (draining or failed).
        """
    def submit_envelope(self, envelope: Envelope, *, sender: str = "") -> Receipt: ...
    def receive(self, port_id: int, max_messages: int) -> list[Envelope]:
        """Take mail out of a host port; EVENT_MAIL comes again for what arrives after it was emptied."""

    # -- events and records --
    def drain(self) -> list[tuple[int, int, Any, Any]]:
        """What happened since the last call, oldest first; also advances the journal. Any: see EVENT_*.

        When it was very much, `wake_fd` stays readable and the next call gives the rest; after stop() there is no
        such bound.
        """
    def history(self, conversation_id: str | None, after: int, limit: int) -> tuple[list[tuple[int, Envelope]], int]:
        """Recent accepted messages with a number above *after*, oldest first, and the next cursor."""
    def statistics(self, port_id: int) -> PortStatistics: ...
    def start_profile(self) -> None:
        """Begin to count what the threads do. Raises InvalidTransition while another profile runs."""
    def stop_profile(self) -> Profile:
        """End it; what was counted. Also after stop(), which ends it where it is."""
    def totals(self) -> dict[str, int]:
        """accepted, handled, failed, undelivered, waiting, agents, threads, turns (those that no record was written of
        too), journal_lag_bytes, hop_p50_ns, hop_p99_ns."""
