"""Agents in Python: subclass `Agent`, write `handle`, and put `Guest = serve(YourAgent)` at the end of the module.

Runs inside a component made by componentize-py; docs/sdk-python.md is the manual. A call to the host suspends the agent
and holds no thread, so everything is a plain call in a `def`; in an `async def` what waits is awaited.
"""

from caxton_agent.agent import Agent, serve
from caxton_agent.context import AsyncContext, Context
from caxton_agent.errors import (
    CallFailed,
    CaxtonError,
    InvalidArgument,
    InvalidMessage,
    LimitReached,
    MailboxFull,
    NoReceiver,
    OutOfMemory,
    QuotaExceeded,
    Stopped,
    StoreFailed,
    TooLarge,
    TooManyHops,
    Unavailable,
)
from caxton_agent.message import Message, Reply

__all__ = [
    "Agent",
    "AsyncContext",
    "CallFailed",
    "CaxtonError",
    "Context",
    "InvalidArgument",
    "InvalidMessage",
    "LimitReached",
    "MailboxFull",
    "Message",
    "NoReceiver",
    "OutOfMemory",
    "QuotaExceeded",
    "Reply",
    "Stopped",
    "StoreFailed",
    "TooLarge",
    "TooManyHops",
    "Unavailable",
    "serve",
]
