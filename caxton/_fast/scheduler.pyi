"""The door from Trio to the native part: ports, instances, messages in, events out.

A *port* is an address with a mailbox: an agent's (a wasm instance stands behind it) or a host port (Python receives
from it: attached agents, waiting clients). A port outlives its instances: a restart keeps the mailbox. All methods are
called from one thread, the one that runs Trio, and none blocks but `stop`. Nothing here is async: wait for `wake_fd` to
become readable, then call `drain()`.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeVar, overload

from caxton._fast.envelope import Envelope
from caxton._fast.history import History
from caxton._fast.ledger import Ledger
from caxton._fast.profile import Profile
from caxton._fast.router import Router
from caxton._fast.spans import Spans
from caxton._fast.tracker import Tracker
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module

K = TypeVar("K")

# events of drain(): (kind, port, a, b)

# instance is up and its init returned 0: a = capabilities JSON (bytes), b = ns that it took
EVENT_STARTED: Final[int]
# instance is gone: a = EXIT_*, b = why (str)
EVENT_EXITED: Final[int]
# nothing waits and no turn runs
EVENT_DRAINED: Final[int]
# a host port has mail
EVENT_MAIL: Final[int]
# a guest waits in a slow host call: a = call id, b = (name: str, request: bytes, the message that it handles or None)
EVENT_CALL: Final[int]
# a guest wrote a line: a = 1 out | 2 err, b = (text: str, at_us: int)
EVENT_LOG: Final[int]
# a turn set a timer: a = timer id, b = due_us, 0 = cancelled or spent
EVENT_TIMER: Final[int]
# a turn changed key-value state: b = list of (key: bytes, value: bytes | None). These two come out of the records, each
# agent's in the order of its turns and before its EVENT_EXITED, but not in the order of other events
EVENT_STATE: Final[int]
# a guest subscribed: b = filter JSON (bytes)
EVENT_SUBSCRIBE: Final[int]
# a guest's message could not be delivered (a = SEND_* < 0), or a message was not handled (a = EXIT_* > 0):
# b = (Envelope, detail: str): of several receivers the name of the one without it, or why a turn failed
EVENT_UNDELIVERED: Final[int]
# answer to check_health(): a = 0 when it is well
EVENT_HEALTH: Final[int]
# the port has room for its backlog: answer with refill() as often as it takes, then refilled()
EVENT_CONVERSATION: Final[int]  # look at the tracker: it has events, or an earlier deadline
EVENT_REFILL: Final[int]

# reasons of EVENT_EXITED
EXIT_NORMAL: Final[int]  # the shutdown turn is done
EXIT_TRAP: Final[int]
EXIT_TIMEOUT: Final[int]
EXIT_INIT: Final[int]  # instantiation failed, or init returned an error
EXIT_KILLED: Final[int]  # drop()
EXIT_MEMORY: Final[int]  # a message did not fit into the guest's memory
EXIT_REFUSED: Final[int]  # only of a turn: handle_message returned an error code; the instance lives
EXIT_EXPIRED: Final[int]  # only of a message: expires_at passed before its turn
EXIT_LATE: Final[int]  # the same of reply_by

# send errors (also what a guest's send_message returns)
SEND_INVALID: Final[int]
SEND_NO_RECEIVER: Final[int]
SEND_MAILBOX_FULL: Final[int]
SEND_TOO_LARGE: Final[int]
SEND_STOPPED: Final[int]
SEND_HOPS: Final[int]
SEND_LOOP: Final[int]  # it goes round in circles, and these are to be stopped
SEND_SHAPE: Final[int]  # its content is not what its act needs, and such are to be refused
SEND_MEMORY: Final[int]
UNSENT: Final[int]  # a dead letter's reason for one of them: UNSENT - code
SEND_STORE: Final[int]  # the message has to be kept, and the store takes nothing now

class Receipt:
    message_id: str
    delivered_to: int
    sequence: int  # of the ledger, which says when it is committed
    kept: bool  # durable or relaxed
    queued: bool  # all of its receivers are away
    brought: bytes  # its id, when it came with one; else empty
    not_found: tuple[str, ...]  # of several receivers, those who are nowhere

class PortStatistics:
    """Counters of one port since it was opened; times in ns, sizes in bytes."""

    received: int
    handled: int
    failed: int
    sent: int
    turns_ns: int
    cpu_ns: int
    waited_ns: int
    waiting: int  # in the mailbox
    backlog: int  # in the store
    backlog_bytes: int
    retrying: int  # for another attempt, or behind one that does
    mailbox_bytes: int
    memory_bytes: int
    state_bytes: int
    state: str  # idle, queued, running, waiting

class Scheduler:
    wake_fd: int
    threads: int
    router: Router
    records: History
    ledger: Ledger
    tracker: Tracker
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
        boot: int = 0,
        delivery: int = 1,
        retry_attempts: int = 0,
        retry_delay_ns: int = 1_000_000_000,
        backlog_bytes: int = 4 << 30,
    ) -> None:
        """*threads* 0: one per core.

        *boot* is another number in each life of the store, from 1 on; 0: there is none, and all messages are volatile.
        *delivery* (DELIVERY_*: 1 durable, 2 relaxed, 3 volatile) is of messages when neither they nor their receiver
        say.

        A message whose turn fails has *retry_attempts* turns more, the first after half to all of *retry_delay_ns*,
        which doubles each time; then it is a dead letter.

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
    backlog_bytes: int  # of all ports and owners together
    def set_failpoints(self, released: int, recorded: int) -> None:
        """SIGKILL to the own process at the pass of this number; 0: never (telemetry.failpoints)."""
    def keep_port(self, port_id: int, owner: str, *, backlog: int = 1_000_000, backlog_bytes: int = 1 << 30) -> None:
        """Whose port it is: what waits in the store for this owner is for this port, and the other way round.

        *backlog*, *backlog_bytes*: how many may wait there before senders are told SEND_MAILBOX_FULL.
        """
    largest_message_size: int  # the most that set_limits() takes
    def set_limits(
        self, *, max_message_size: int, retry_attempts: int, retry_delay_ns: int, backlog_bytes: int
    ) -> None:
        """What holds for all messages from now on; see __init__."""
    def set_bounds(self, port_id: int, *, queue_size: int, backlog: int, backlog_bytes: int) -> None:
        """How many messages the port's mailbox holds from now on, and how many wait for it in the store.

        What is there already stays.
        """
    def set_turn_limits(self, port_id: int, *, timeout_ns: int, cpu_millicores: int) -> None:
        """What the instance behind the port may take, from its next turn on. Nothing happens when there is none."""
    def set_delivery(self, port_id: int, delivery: int) -> None:
        """DELIVERY_* of messages to the port that do not say it themselves; 0: as the node's default."""
    def never_keep(self, port_id: int) -> None:
        """Who receives here is gone when the server is: what is sent to it is volatile, whatever it says."""
    def set_checkpoints(self, signer: int, guard: int) -> None:
        """The host ports that messages pass before they leave, and before they arrive, where `set_signing` says so.

        From here on no address leads to them.
        """
    def set_signing(self, port_id: int, signs: bool, guarded: bool) -> None:
        """Whether what the port's guest sends goes to the signer first, and what is sent to the port to the guard."""
    def set_away(self, port_id: int, away: bool) -> None:
        """Whether nobody receives from the host port: what its mailbox cannot hold goes to the store then."""
    def set_refusing(self, refusing: bool) -> None:
        """Whether messages that have to be kept are refused with SEND_STORE: the store takes nothing now."""
    def close_port(self, port_id: int) -> list[Envelope]:
        """Take the address away, drop its instance; gives back what waited, in the mailbox and for another attempt.

        What is kept of it are dead letters; the backlog is for `take_backlog`.
        """
    def add_capability(self, port_id: int, capability: str) -> None: ...
    def remove_capability(self, port_id: int, capability: str) -> None:
        """Nothing happens when the port does not have it."""
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
        """Whether new messages come into the mailbox.

        Else those that are kept wait in the store, and of others the sender is told SEND_STOPPED.
        """

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
        """Free the instance now, even inside a turn, whose message is for the next one; EVENT_EXITED(EXIT_KILLED)."""
    def crashed_on(self, port_id: int) -> int:
        """Which message's turn ended the port's last instance, by its sequence number; 0: none did, or it was dropped.

        All attempts of one message have one number.
        """
    def drain_port(self, port_id: int) -> None:
        """Take no new messages, as set_accepting(False), and handle what waits in the mailbox; EVENT_DRAINED."""
    def fire_timer(self, port_id: int, timer_id: int) -> None: ...
    def check_health(self, port_id: int) -> None: ...
    def complete_call(
        self,
        port_id: int,
        call_id: int,
        result: bytes,
        error: str = "",
        code: Literal["unavailable", "failed", "invalid-argument"] = "unavailable",
    ) -> None:
        """Answer EVENT_CALL; a non-empty error becomes the guest's last_error, and *code* the call's result."""

    # -- messages --
    @overload
    def submit(self, json: bytes, *, sender: str = "", known: None = None, traceparent: str = "") -> Receipt: ...
    @overload
    def submit(self, json: bytes, *, sender: str = "", known: dict[bytes, K], traceparent: str = "") -> Receipt | K:
        """One message from outside. When it brings an id that is a key of *known*, what stands there is the answer.

        *traceparent* is its caller's, for a message without one; what is none is as if there were none.

        Without *sender* it is who the message says, but no reserved name. Raises InvalidMessage, MessageTooLarge,
        Forbidden, AgentNotFound, MailboxFull, StorageFull, InvalidTransition (volatile, and its receiver drains, is
        stopped or has failed).
        """
    def forward(self, json: bytes, sender: str, *, source: int = 0, target: int = 0) -> Receipt:
        """A message that the signer or the guard lets through: its hops count on. *source*: the sender's port.

        With *target* only this port gets it, and no guard looks at it again. Raises as submit().
        """
    def submit_envelope(self, envelope: Envelope, *, sender: str = "") -> Receipt: ...
    def receive(self, port_id: int, max_messages: int) -> list[Envelope]:
        """Take mail out of a host port; EVENT_MAIL comes again for what arrives after it was emptied."""
    def settle(self, port_id: int, envelope: Envelope) -> None:
        """An agent outside has handled this message. Raises MailboxFull while the journal is behind."""
    def bury(self, port_id: int, envelope: Envelope, reason: int, detail: str = "") -> None:
        """The port will not handle the message: a dead letter. Raises MailboxFull while the journal is behind.

        *reason*: EXIT_*, or 100 - SEND_*.
        """

    # -- messages whose time has passed, to which nobody has come; who takes them buries them --
    def overdue_ports(self, now_us: int) -> list[int]:
        """Ports where something waits, or did, that ends until then."""
    def take_overdue(self, port_id: int, now_us: int) -> list[tuple[Envelope, int]]:
        """Out of the mailbox, some at a time, each with its EXIT_*; the port is named again when there is more."""
    def take_overdue_backlog(
        self, port_id: int, segment: int, records: bytes, now_us: int
    ) -> tuple[list[tuple[Envelope, int]], int]:
        """Out of the backlog, as far as it lies in this segment; and how many others of it lie there."""
    def look_again(self, port_id: int, at_us: int) -> None:
        """Name the port among those that are overdue then."""

    # -- backlogs: what waits in the store (Ledger.refill says in which segment the next of it lies) --
    def refill(self, port_id: int, segment: int, records: bytes) -> int:
        """Move messages of the port's backlog that lie in this segment into its mailbox; how many.

        0: it has room for none, or none of them lies there. Raises StoreError for bytes that are no segment.
        """
    def refilled(self, port_id: int) -> bool:
        """The answer to EVENT_REFILL is over; whether more is wanted already."""
    def skip_damaged(self, port_id: int, segment: int, records: bytes, reason: int, detail: str) -> int:
        """Give up the head of the backlog as far as it lies in this segment, which is damaged; how many messages.

        Each is a dead letter, with what there is of it.
        """
    def take_backlog(self, port_id: int, segment: int, records: bytes) -> list[Envelope]:
        """Messages of the port's backlog that lie in this segment, when nobody will handle it: settle or bury them."""

    # -- events and records --
    def drain(self) -> list[tuple[int, int, Any, Any]]:
        """What happened since the last call, oldest first; also reads the records. Any: see EVENT_*.

        When it was very much, `wake_fd` stays readable and the next call gives the rest; after stop() there is no
        such bound.
        """
    def read_records(self) -> None:
        """Take what the rings hold into the ledger, as drain() does, which gives what turns changed."""
    def history(self, conversation_id: str | None, after: int, limit: int) -> tuple[list[tuple[int, Envelope]], int]:
        """Recent accepted messages with a number above *after*, oldest first, and the next cursor."""
    def statistics(self, port_id: int) -> PortStatistics: ...
    def start_profile(self) -> None:
        """Begin to count what the threads do. Raises InvalidTransition while another profile runs."""
    def stop_profile(self) -> Profile:
        """End it; what was counted. Also after stop(), which ends it where it is."""
    def set_tracing(self, spans: Spans | None) -> None:
        """Who is told of spans from now on; None: nobody. A traceparent is carried on in any case."""
    def refusals(self) -> dict[int, int]:
        """Messages that were not accepted, by their SEND_* code, sent from outside or by a turn.

        A guest is told of others by the result of its call, and these are its own business.
        """
    def totals(self) -> dict[str, int]:
        """accepted, handled, failed, undelivered, waiting, agents, threads, turns (those that no record was written of
        too), journal_lag_bytes, hop_p50_ns, hop_p99_ns."""
