"""/api/v1/conversations: who talks with whom by which protocol, who has to answer, and what was out of order.

`?protocol=`, `?state=`, `?participant=`, `?parent=` and `?open=1` choose among them.
"""

import time
from typing import Any

from quart import Blueprint, Response, request

from caxton.api.ports import Node
from caxton.api.wire import answer, flag, moment, whole
from caxton.core.conversations import Conversation, Session, Violation
from caxton.core.replay import waiting

CHOICES = ("protocol", "state", "participant", "parent")
SHOWN = 3  # sentences about who is waited for, in a list


# Any: JSON, here and below
def summary(conversation: Conversation, now: float) -> dict[str, Any]:
    """One row of a list."""
    owing = [session for session in conversation.sessions if session.owes]
    return {
        "conversation_id": conversation.id,
        "protocol": conversation.protocol,
        "initiator": conversation.initiator,
        "is_open": conversation.is_open,
        "participants": conversation.participants,
        "states": conversation.states,
        "started_at": moment(conversation.started_at),
        "active_at": moment(conversation.active_at),
        "messages": conversation.messages,
        "repeated": conversation.repeated,
        "out_of_sequence": conversation.out_of_sequence,
        "parent": conversation.parent,
        "waiting": [waiting(session, now) for session in owing[:SHOWN]],
        "waiting_count": len(owing),
    }


def detail(conversation: Conversation, rebuilt: bool, branches: list[str], now: float) -> dict[str, Any]:
    return summary(conversation, now) | {
        "waiting": [words for session in conversation.sessions if (words := waiting(session, now))],
        "sessions": [session_answer(session, now) for session in conversation.sessions],
        "violations": [violation_answer(violation) for violation in conversation.violations],
        "branches": branches,
        "rebuilt": rebuilt,
    }


def session_answer(session: Session, now: float) -> dict[str, Any]:
    return {
        "protocol": session.protocol,
        "initiator": session.initiator,
        "participant": session.participant,
        "state": session.state,
        "is_final": session.is_final,
        "owes": session.owes,
        "expected": [f"{one.performative} by the {one.role}" for one in session.expected],
        "waiting": waiting(session, now),
        "since": moment(session.since),
        "deadline": moment(session.deadline) if session.deadline is not None else None,
        "overdue_seconds": session.overdue(now),
        "round": session.round,
        "messages": session.messages,
        "repeated": session.repeated,
        "out_of_sequence": session.out_of_sequence,
    }


def violation_answer(violation: Violation) -> dict[str, Any]:
    return {
        "timestamp": moment(violation.at),
        "kind": violation.kind,
        "performative": violation.performative,
        "from": violation.sender,
        "to": violation.receiver,
        "state": violation.state,
        "message_id": violation.message_id,
        "expected": [f"{one.performative} by the {one.role}" for one in violation.expected],
    }


def conversations_blueprint(node: Node) -> Blueprint:
    room = Blueprint("conversations", __name__, url_prefix="/api/v1/conversations")

    @room.get("")
    async def list_conversations() -> Response:
        limit = whole(request.args, "limit", 100, 1, 1000)
        before = whole(request.args, "cursor", 0, 0, 2**62)
        is_open = flag(request.args, "open") if "open" in request.args else None
        which = {name: request.args[name] for name in CHOICES if request.args.get(name)}
        page, statistics = node.conversations.page(which, is_open=is_open, before=before, limit=limit)
        now = time.time()
        return answer(
            {
                "conversations": [summary(one, now) for one in page.conversations],
                "next_cursor": str(page.cursor) if page.cursor else None,
                "statistics": statistics,
            }
        )

    @room.get("/<path:conversation_id>")
    async def get_conversation(conversation_id: str) -> Response:
        found, rebuilt = node.conversations.get(conversation_id)
        page, _ = node.conversations.page({"parent": conversation_id}, is_open=None, before=0, limit=1000)
        return answer(detail(found, rebuilt, [branch.id for branch in page.conversations], time.time()))

    @room.post("/<path:conversation_id>/cancel")
    async def cancel_conversation(conversation_id: str) -> Response:
        reason = request.args.get("reason") or "an operator cancelled it"
        return answer(
            {"conversation_id": conversation_id, "cancel": node.conversations.cancel(conversation_id, reason)}
        )

    return room
