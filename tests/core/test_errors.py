"""The error tree: codes are unique and stable, branches mean what they say."""

import msgspec
import pytest

from caxton.core import errors
from caxton.core.errors import (
    AgentError,
    AgentNotFound,
    CaxtonError,
    InternalError,
    MailboxFull,
    RejectedError,
    UnavailableError,
    error_body,
)

STATUS_BY_CODE = {
    "STORAGE_FULL": 507,
    "AGENT_NOT_FOUND": 404,
    "AGENT_ALREADY_EXISTS": 409,
    "INVALID_WASM": 400,
    "INVALID_MESSAGE": 400,
    "INVALID_REQUEST": 400,
    "INVALID_CONFIG": 400,
    "INVALID_STATE": 409,
    "MESSAGE_TOO_LARGE": 413,
    "RESOURCE_LIMIT_EXCEEDED": 429,
    "MAILBOX_FULL": 429,
    "RATE_LIMITED": 429,
    "NOT_FOUND": 404,
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "DEPLOYMENT_FAILED": 500,
    "AGENT_TRAPPED": 500,
    "MESSAGE_DELIVERY_FAILED": 500,
    "REPLY_TIMEOUT": 504,
    "SHUTTING_DOWN": 503,
    "DATA_DIR_LOCKED": 503,
    "STORE_ERROR": 500,
    "TOOL_FAILED": 502,
    "TOOL_SERVER_FAILED": 502,
    "TOOL_UNAVAILABLE": 503,
}

BRANCHES = (RejectedError, AgentError, UnavailableError, InternalError)
LEAVES = [
    error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, CaxtonError) and error not in (*BRANCHES, CaxtonError)
]


def test_every_code_has_its_status() -> None:
    assert {error.code: error.status for error in LEAVES} == STATUS_BY_CODE


@pytest.mark.parametrize("error", LEAVES)
def test_every_error_hangs_on_one_branch_and_says_what_it_is(error: type[CaxtonError]) -> None:
    assert sum(issubclass(error, branch) for branch in BRANCHES) == 1
    assert error.__doc__
    assert error.retry == issubclass(error, UnavailableError)


def test_the_body_holds_what_the_api_promises() -> None:
    error = AgentNotFound("there is no agent 'pong'", hint="see caxton agent list", details={"name": "pong"})
    assert msgspec.json.decode(msgspec.json.encode(error_body(error, "4bf9"))) == {
        "error": {
            "code": "AGENT_NOT_FOUND",
            "message": "there is no agent 'pong'",
            "details": {"name": "pong"},
            "hint": "see caxton agent list",
            "trace_id": "4bf9",
        }
    }


def test_an_error_reads_as_its_message() -> None:
    assert str(MailboxFull("full")) == "full"
