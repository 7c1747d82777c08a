"""The JSON that clients see, made from the values that the node gives.

Times become RFC 3339 text, sizes the amounts people write. The names are those of the REST reference (`agent_id`,
`delivered_at`, `next_offset`): programs depend on them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from quart import Response

from caxton.core.errors import CaxtonError, InvalidRequest, error_body
from caxton.core.limits import format_bytes, format_millicores
from caxton.core.views import AgentInfo, Event, MessageRecord, MessageState, Receipt

JSON = "application/json"
NDJSON = "application/x-ndjson"
ENCODER = msgspec.json.Encoder()
MIB = 1 << 20
FLAGS = {"1": True, "true": True, "0": False, "false": False}


def moment(at: float) -> datetime:
    """Seconds since the epoch as what the encoder writes as `2026-11-21T02:14:55.123456Z`."""
    return datetime.fromtimestamp(at, UTC)


def answer(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(ENCODER.encode(value), status, headers, content_type=JSON)


def number(arguments: Mapping[str, str], name: str, default: float, lowest: float, highest: float) -> float:
    """A number from the query string, or *default*; outside the bounds it is an InvalidRequest."""
    text = arguments.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not lowest <= value <= highest:
        raise InvalidRequest(
            f"{name}={text!r} is not a number from {lowest:g} to {highest:g}", details={"parameter": name}
        )
    return value


def whole(arguments: Mapping[str, str], name: str, default: int, lowest: int, highest: int) -> int:
    value = number(arguments, name, default, lowest, highest)
    if value != int(value):
        raise InvalidRequest(f"{name}={arguments[name]!r} is not a whole number", details={"parameter": name})
    return int(value)


def flag(arguments: Mapping[str, str], name: str) -> bool:
    """`?create=1`; without it, or with 0, it is off."""
    text = arguments.get(name, "0").lower()
    if text not in FLAGS:
        raise InvalidRequest(f"{name}={text!r} is neither 1 nor 0", details={"parameter": name})
    return FLAGS[text]


def names(arguments: Mapping[str, str], name: str) -> tuple[str, ...]:
    """`?agents=a,b` as ("a", "b")."""
    return tuple(part for part in arguments.get(name, "").split(",") if part)


class ReceiptAnswer(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    status: str
    delivered_to: int
    delivered_at: datetime
    not_found: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


def receipt_answer(receipt: Receipt) -> ReceiptAnswer:
    return ReceiptAnswer(
        message_id=receipt.message_id,
        status=receipt.status,
        delivered_to=receipt.delivered_to,
        delivered_at=moment(receipt.accepted_at),
        not_found=receipt.not_found or msgspec.UNSET,
    )


def outcome_answer(outcome: Receipt | CaxtonError, trace_id: str) -> ReceiptAnswer | dict[str, Any]:
    """One of many: a receipt, or a table with `error`."""
    return error_body(outcome, trace_id) if isinstance(outcome, CaxtonError) else receipt_answer(outcome)


# Any: JSON
def state_answer(state: MessageState) -> dict[str, Any]:
    """What became of a message: what is not known is left out."""
    fields = msgspec.structs.asdict(state)
    for name in ("accepted_at", "changed_at"):
        at = fields.pop(name)
        if at:
            fields[name] = moment(at)
    if not state.reason:
        del fields["reason"]
    return fields


def message_answer(record: MessageRecord) -> dict[str, Any]:
    fields = msgspec.structs.asdict(record)
    timestamp = moment(fields.pop("accepted_at"))
    return {name: value for name, value in fields.items() if value != ""} | {"timestamp": timestamp}


def event_answer(event: Event) -> dict[str, Any]:
    return {"type": event.type, "event_id": event.id, "timestamp": moment(event.at), **event.data}


def agent_summary(agent: AgentInfo) -> dict[str, Any]:
    """One row of a list."""
    return {
        "agent_id": agent.agent_id,
        "name": agent.name,
        "status": agent.status,
        "kind": agent.kind,
        "version": agent.version,
        "created_at": moment(agent.created_at),
        "replicas": agent.replicas,
        "replicas_ready": agent.replicas_ready,
        "reason": agent.reason,
        "resources": {"memory_used": _size(agent.resources.memory_used), "cpu_usage": agent.resources.cpu_used},
        "metrics": agent.metrics,
    }


def agent_detail(agent: AgentInfo) -> dict[str, Any]:
    resources = agent.resources
    return agent_summary(agent) | {
        "module": agent.module,
        "capabilities": agent.capabilities,
        "unavailable_imports": agent.unavailable_imports,
        "public_key": agent.public_key,
        "tools": agent.tools,
        "circuit_breakers": agent.circuit_breakers,
        "deployment": {"strategy": "direct", "deployed_at": moment(agent.deployed_at), "deployed_by": ""},
        "resources": {
            "limits": {
                "memory": format_bytes(resources.memory_limit),
                "cpu": format_millicores(round(resources.cpu_limit * 1000)),
            },
            "usage": {"memory": _size(resources.memory_used), "cpu": resources.cpu_used},
        },
    }


def _size(size: int) -> str:
    return f"{size / MIB:.4g}MB" if size >= MIB else f"{size >> 10}KB"
