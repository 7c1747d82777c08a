import builtins
from collections.abc import Iterable

from caxton._fast.envelope import Envelope
from caxton.core.conversations import Conversation, ConversationEvent, ConversationPage, TrackerStatistics

# what a message was to its session
MOVED: int
REPEATED: int
ILLEGAL: int
LATE: int  # and not to be delivered
ROUNDS: int
UNOPENED: int
UNTRACKED: int
LOOP: int  # and not to be delivered

class Tracker:
    """All conversations of the node. `Scheduler.tracker` is the one that the router asks."""

    def __init__(self) -> None: ...
    def configure(
        self,
        *,
        max_conversations: int = ...,
        max_participants: int = ...,
        kept_ended: int = ...,
        kept_seconds: float = ...,
        first_answer: float = ...,
        max_rounds: int = ...,
        clock_skew: float = ...,
        idle: float = ...,
        longest: float = ...,
        keeps: bool = ...,
        content_shapes: int = ...,
        max_hops: int = ...,
        max_repeats: int = ...,
        stop_loops: bool = ...,
    ) -> None:
        """Bounds and times, in seconds, at any time: messages from then on meet them. max_conversations 0: nothing is
        followed, and `reap` abandons what was.

        *content_shapes*: 0 not looked at, 1 told, 2 refused. *max_hops*, *max_repeats* 0: as many as there are.
        """
    def content_fits(self, message: Envelope) -> bool:
        """Whether the content is what core/shapes.py says of its act."""
    def watch_ended(self, wanted: bool) -> None:
        """Whether `conversation.ended` is told; it is counted in any case."""
    # -- looking --
    def forget(self) -> None:
        """What ended, and is too old or beyond the number that is kept; `list` and `statistics` begin with it."""
    def get(self, conversation_id: str) -> Conversation | None: ...
    def list(
        self,
        *,
        protocol: str = ...,
        state: str = ...,
        participant: str = ...,
        parent: str = ...,
        is_open: bool | None = ...,
        before: int = ...,
        limit: int = ...,
    ) -> ConversationPage:
        """Newest first; *before* is the cursor of the page before."""
    def statistics(self) -> TrackerStatistics: ...
    # -- time --
    def wait_seconds(self) -> float:
        """Until the earliest deadline; inf: there is none. From then on EVENT_CONVERSATION says when one is earlier."""
    def tick(self) -> int:
        """Move the sessions whose deadline has come; how many."""
    def reap(self, most: int = ...) -> bool:
        """Abandon what was idle for too long, forget what ended long ago; *most* places of the table at a time.

        False: it has been everywhere.
        """
    # -- what happened --
    untold: int  # wrong messages that read_events() left out so far; they are counted in statistics()
    def read_events(self, wrong_at_once: int = ...) -> tuple[builtins.list[ConversationEvent], builtins.list[Envelope]]:
        """What was not told yet, oldest first; and late messages, to be answered in their receiver's place.

        Of messages that are wrong (out of sequence, content, loops) at most *wrong_at_once*: telling costs more than
        sending, and who sends nothing else shall not hold up the others.
        """
    def undelivered(self, message: Envelope, receiver: str = ...) -> bool:
        """The message was accepted and could not be delivered; it ends its session when nothing was said after it."""
    def taken(self, messages: Iterable[Envelope], receiver: str) -> int:
        """*receiver* has them now. Of those that waited for it, its time for the first answer begins; how many."""
    def complete(self, conversation_id: str) -> int:
        """What the conversation's lasting sessions (brokering) lasted for has ended; how many end."""
    # -- over a restart --
    def collect(self) -> builtins.list[tuple[str, bytes | None]]:
        """Rows of durable conversations that changed since the last call; None: it has ended, its row is to go."""
    def recover(self, row: bytes) -> bool:
        """Take a row back at the start; False: it is of a protocol or state that is not known."""
    # -- for tests and measuring --
    def observe(
        self,
        message: Envelope,
        receiver: str,
        *,
        now_ns: int,
        now_us: int,
        outside: bool = ...,
        durable: bool = ...,
        away: bool = ...,
    ) -> int:
        """One step as the router makes it: MOVED, REPEATED, ..."""
    def tick_at(self, now_ns: int, now_us: int) -> int: ...
    def reap_at(self, now_ns: int, now_us: int, most: int = ...) -> bool: ...
    def forget_at(self, now_ns: int) -> None: ...
    def next_deadline_ns(self) -> int:
        """0: there is none."""
    def time_steps(self, messages: builtins.list[tuple[Envelope, str]], times: int, fresh: bool = ...) -> float:
        """Nanoseconds per step of these messages, *times* over, each time with other ids.

        *fresh*: each time in other conversations. The messages are of no other use afterwards.
        """
