"""Every error that Caxton raises on purpose, as one tree cut by who must act.

    CaxtonError
    ├── RejectedError      the caller asked for something that cannot be: change the request
    │   ├── InvalidRequest · InvalidMessage · InvalidConfig · InvalidWasm                     400
    │   ├── Unauthorized 401 · Forbidden 403
    │   ├── NotFound · AgentNotFound                                                          404
    │   ├── AgentAlreadyExists · InvalidTransition                                            409
    │   └── MessageTooLarge 413 · ResourceLimitExceeded 429
    ├── AgentError         the guest, or a tool that it called, failed: look there
    │   ├── GuestTrapped · DeploymentFailed · DeliveryFailed                                  500
    │   └── ToolFailed                                                                        502
    ├── UnavailableError   right request, wrong moment: wait, then try again
    │   ├── MailboxFull · RateLimited                                                         429
    │   ├── ToolServerFailed                                                                  502
    │   ├── ShuttingDown · DataDirLocked · ToolUnavailable                                    503
    │   └── ReplyTimeout 504 · StorageFull 507
    └── InternalError      we failed: read the log
        └── StoreError                                                                        500

Rule 1: `code` is what programs read and never changes; the message is what people read and may.
Rule 2: a message says what was asked, what was found and what would be right, with values; `hint` says what to do.
Rule 3: `status` is the HTTP status of the REST API; nothing below it looks at the number.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class CaxtonError(Exception):
    """The root. `details` holds the values of the message for programs; JSON types only."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    status: ClassVar[int] = 500
    retry: ClassVar[bool] = False  # whether the same request may succeed later

    # Any: details are plain JSON values of any shape
    def __init__(self, message: str, *, hint: str = "", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})

    def __str__(self) -> str:
        return self.message


class RejectedError(CaxtonError):
    """The request cannot be granted as it stands."""

    code = "INVALID_REQUEST"
    status = 400


class AgentError(CaxtonError):
    """The guest did not do its part."""

    code = "AGENT_FAILED"
    status = 500


class UnavailableError(CaxtonError):
    """Not now; the same request may succeed later."""

    code = "UNAVAILABLE"
    status = 503
    retry = True


class InternalError(CaxtonError):
    """Caxton itself is at fault."""

    code = "INTERNAL_ERROR"
    status = 500


class InvalidRequest(RejectedError):
    """The request is malformed."""

    code = "INVALID_REQUEST"


class InvalidMessage(RejectedError):
    """The bytes are not a FIPA message."""

    code = "INVALID_MESSAGE"


class InvalidConfig(RejectedError):
    """A configuration does not say what it must, or says what it must not."""

    code = "INVALID_CONFIG"


class InvalidWasm(RejectedError):
    """The bytes are not a WebAssembly module that can be an agent."""

    code = "INVALID_WASM"


class Unauthorized(RejectedError):
    """No credentials, or wrong ones."""

    code = "UNAUTHORIZED"
    status = 401


class Forbidden(RejectedError):
    """Known, but not allowed."""

    code = "FORBIDDEN"
    status = 403


class NotFound(RejectedError):
    """There is no such thing."""

    code = "NOT_FOUND"
    status = 404


class AgentNotFound(RejectedError):
    """There is no agent of this name."""

    code = "AGENT_NOT_FOUND"
    status = 404


class AgentAlreadyExists(RejectedError):
    """The name is taken."""

    code = "AGENT_ALREADY_EXISTS"
    status = 409


class InvalidTransition(RejectedError):
    """The agent is in a state from which this cannot be done."""

    code = "INVALID_STATE"
    status = 409


class MessageTooLarge(RejectedError):
    """Longer than messaging.max_message_size."""

    code = "MESSAGE_TOO_LARGE"
    status = 413


class ResourceLimitExceeded(RejectedError):
    """More than the server, or the agent's own limits, allow."""

    code = "RESOURCE_LIMIT_EXCEEDED"
    status = 429


class GuestTrapped(AgentError):
    """The guest's code ended in a WebAssembly trap."""

    code = "AGENT_TRAPPED"


class DeploymentFailed(AgentError):
    """The module is sound, but the agent did not come up."""

    code = "DEPLOYMENT_FAILED"


class DeliveryFailed(AgentError):
    """An accepted message did not reach its receiver."""

    code = "MESSAGE_DELIVERY_FAILED"


class ToolFailed(AgentError):
    """The tool was called, and its answer is an error, or none that can be given on."""

    code = "TOOL_FAILED"
    status = 502


class MailboxFull(UnavailableError):
    """The receiver's mailbox holds as many messages as it may."""

    code = "MAILBOX_FULL"
    status = 429


class RateLimited(UnavailableError):
    """Too many requests in too short a time."""

    code = "RATE_LIMITED"
    status = 429


class ShuttingDown(UnavailableError):
    """The server is going down and takes nothing new."""

    code = "SHUTTING_DOWN"


class DataDirLocked(UnavailableError):
    """Another process uses the data folder."""

    code = "DATA_DIR_LOCKED"


class ToolUnavailable(UnavailableError):
    """The tool was not called: its server is away or has enough to do, or the circuit breaker is open."""

    code = "TOOL_UNAVAILABLE"


class ToolServerFailed(UnavailableError):
    """The tool was called, and its server gave no answer: what was asked may have been done."""

    code = "TOOL_SERVER_FAILED"
    status = 502


class ReplyTimeout(UnavailableError):
    """No reply came within the time that the caller gave."""

    code = "REPLY_TIMEOUT"
    status = 504


class StorageFull(UnavailableError):
    """The disk takes nothing now, and what was sent must not be lost."""

    code = "STORAGE_FULL"
    status = 507


class StoreError(InternalError):
    """The database refused."""

    code = "STORE_ERROR"


def error_body(error: CaxtonError, trace_id: str) -> dict[str, dict[str, Any]]:  # Any: JSON
    """The JSON body of an error, as the REST API and the CLI give it."""
    return {
        "error": {
            "code": error.code,
            "message": error.message,
            "details": error.details,
            "hint": error.hint,
            "trace_id": trace_id,
        }
    }
