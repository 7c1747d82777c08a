"""What could not be delivered or handled: the platform tells the sender, as FIPA says, with a `failure` from `ams`.

Rule 1: a failure or not-understood is never answered, so two platforms cannot answer each other for ever.
Rule 2: the failure carries the conversation, and in_reply_to what the sender asked to be answered with.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import (
    EXIT_EXPIRED,
    EXIT_INIT,
    EXIT_KILLED,
    EXIT_LATE,
    EXIT_MEMORY,
    EXIT_REFUSED,
    EXIT_TIMEOUT,
    EXIT_TRAP,
    SEND_HOPS,
    SEND_INVALID,
    SEND_LOOP,
    SEND_MAILBOX_FULL,
    SEND_MEMORY,
    SEND_NO_RECEIVER,
    SEND_SHAPE,
    SEND_STOPPED,
    SEND_STORE,
    SEND_TOO_LARGE,
    UNSENT,
)
from caxton.core.answer import SILENT

AMS = "ams"

DAMAGED = 201  # what the disk gave back of it is not what was written
NOT_ACKNOWLEDGED = 200  # an agent outside was given the message again and again
PLATFORM_UNREACHABLE = 210  # another platform, attempt for attempt
PLATFORM_REFUSED = 211  # another platform took it for wrong
NOT_AUTHENTIC = 220  # its signature is wrong, or missing where there has to be one

# code of EVENT_UNDELIVERED: FIPA's word for the reason, and a sentence
REASONS: dict[int, tuple[str, str]] = {
    SEND_NO_RECEIVER: ("agent-not-found", "no agent has the receiver's name"),
    SEND_MAILBOX_FULL: ("mailbox-full", "the receiver's mailbox is full"),
    SEND_STOPPED: ("agent-unreachable", "the receiver drains or has failed and takes no new messages"),
    EXIT_TRAP: ("agent-trapped", "the agent crashed while it handled the message"),
    EXIT_TIMEOUT: ("agent-timeout", "the agent took longer than its timeout"),
    EXIT_MEMORY: ("agent-out-of-memory", "the message does not fit into the agent's memory"),
    EXIT_INIT: ("agent-not-started", "the agent did not start"),
    EXIT_KILLED: ("agent-stopped", "the agent was stopped while it handled the message"),
    SEND_HOPS: ("too-many-hops", "each message was the answer to one before, too many times"),
    SEND_LOOP: ("loop", "the messages go round in circles"),
    SEND_SHAPE: ("invalid-content", "the content is not what its act needs in language json"),
    SEND_STORE: ("storage-full", "the server's disk is full or fails, and the message has to be kept"),
    EXIT_EXPIRED: ("expired", "expires_at passed before the agent came to the message"),
    EXIT_LATE: ("late", "reply_by passed before the agent came to the message"),
    EXIT_REFUSED: ("agent-refused", "handle_message returned an error code and the agent sent nothing"),
    NOT_ACKNOWLEDGED: ("agent-not-responding", "the agent did not acknowledge the message"),
    PLATFORM_UNREACHABLE: ("foreign-agent-unreachable", "the receiver's platform could not be reached"),
    PLATFORM_REFUSED: ("foreign-agent-refused", "the receiver's platform refused the message"),
    NOT_AUTHENTIC: ("not-authorised", "the message's signature is wrong or missing"),
}

# reason of a dead letter, and its name for people and programs
DEAD_REASONS: dict[int, str] = {
    EXIT_TRAP: "agent-trapped",
    EXIT_TIMEOUT: "timeout",
    EXIT_INIT: "agent-not-started",
    EXIT_KILLED: "agent-stopped",
    EXIT_MEMORY: "resource-exhausted",
    EXIT_REFUSED: "agent-refused",
    EXIT_EXPIRED: "expired",
    EXIT_LATE: "late",
    UNSENT - SEND_INVALID: "invalid-message",
    UNSENT - SEND_NO_RECEIVER: "agent-not-found",
    UNSENT - SEND_MAILBOX_FULL: "queue-full",
    UNSENT - SEND_TOO_LARGE: "message-too-large",
    UNSENT - SEND_STOPPED: "agent-unreachable",
    UNSENT - SEND_HOPS: "too-many-hops",
    UNSENT - SEND_MEMORY: "server-out-of-memory",
    UNSENT - SEND_STORE: "storage-full",
    UNSENT - SEND_LOOP: "loop",
    UNSENT - SEND_SHAPE: "invalid-content",
    NOT_ACKNOWLEDGED: "agent-not-responding",
    PLATFORM_UNREACHABLE: "foreign-agent-unreachable",
    PLATFORM_REFUSED: "foreign-agent-refused",
    DAMAGED: "damaged",
    NOT_AUTHENTIC: "not-authentic",
}
DEAD_NUMBERS = {name: number for number, name in DEAD_REASONS.items()}


def dead_reason(number: int) -> str:
    """The name of a dead letter's reason; of one that a newer Caxton wrote, its number."""
    return DEAD_REASONS.get(number, f"reason-{number}")


def reason_of(code: int) -> tuple[str, str]:
    """FIPA's word and a sentence for a code of EVENT_UNDELIVERED."""
    return REASONS.get(code, ("internal-error", "the message was not delivered"))


# Any: JSON
def failure_for(
    message: Envelope, code: int, detail: str, missing: Mapping[str, Any] | None = None, receiver: str = ""
) -> bytes | None:
    """The `failure` for the message's sender as JSON; None when there is nobody to tell.

    *receiver*: of several the one that does not get it. *missing*: of a capability that nobody has, what else there is.
    """
    if not message.sender or message.sender == AMS or message.performative in SILENT:
        return None
    word, sentence = reason_of(code)
    answer: dict[str, object] = {
        "performative": "failure",
        "receiver": message.sender,
        "content": {
            "action": {"message_id": message.message_id, "performative": message.performative},
            "reason": {"mts_error": word, "receiver": receiver or message.receiver, "text": detail or sentence},
            **(missing or {}),
        },
        "language": "json",
        "ontology": "fipa-agent-management",
        "conversation_id": message.conversation_id,
        "in_reply_to": message.reply_with,
        "protocol": message.protocol if message.conversation_id else None,
        "traceparent": message.traceparent,
        "tracestate": message.tracestate,
    }
    return msgspec.json.encode({key: value for key, value in answer.items() if value is not None})
