"""What a call to the host can end with: one class for each code of caxton:agent/types, below CaxtonError."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from componentize_py_types import Err

T = TypeVar("T")


class CaxtonError(Exception):
    """A call to the host failed. `code` is the code's name, such as `no-receiver`."""

    code: ClassVar[str] = ""


class InvalidMessage(CaxtonError):
    """The text is no message."""

    code = "invalid-message"


class NoReceiver(CaxtonError):
    """No agent has the receiver's name."""

    code = "no-receiver"


class MailboxFull(CaxtonError):
    """Send again later."""

    code = "mailbox-full"


class TooLarge(CaxtonError):
    """Longer than the largest message."""

    code = "too-large"


class Stopped(CaxtonError):
    """The receiver drains or has failed."""

    code = "stopped"


class TooManyHops(CaxtonError):
    """The message went through too many agents."""

    code = "too-many-hops"


class OutOfMemory(CaxtonError):
    """The server has no memory left for it."""

    code = "out-of-memory"


class LimitReached(CaxtonError):
    """Too much in one turn."""

    code = "limit"


class StoreFailed(CaxtonError):
    """The server's disk is full or fails."""

    code = "store-failed"


class InvalidArgument(CaxtonError):
    """An argument out of range."""

    code = "invalid-argument"


class QuotaExceeded(CaxtonError):
    """The state would grow beyond its quota."""

    code = "quota"


class Unavailable(CaxtonError):
    """The server does not have this."""

    code = "unavailable"


class CallFailed(CaxtonError):
    """A tool was called and failed."""

    code = "failed"


CODES = {found.code: found for found in CaxtonError.__subclasses__()}


def call(function: Callable[..., T], *arguments: Any) -> T:
    """Call the host; its error is raised as the class of its code."""
    try:
        return function(*arguments)
    except Err as error:
        code = error.value.code.name.lower().replace("_", "-")
        raise CODES.get(code, CaxtonError)(error.value.message) from None
