"""Helpers for tests of agents: a conversation written down as given, when, then, over the real server, in virtual time.

    from caxton.testing import open_stage, virtual_time

docs/testing-agents.md shows how.
"""

from caxton.testing.messages import Message, Say
from caxton.testing.stage import Actor, Stage, open_stage, run, virtual_time
from caxton.testing.transcript import Conversation, Coverage

__all__ = [
    "Actor",
    "Conversation",
    "Coverage",
    "Message",
    "Say",
    "Stage",
    "open_stage",
    "run",
    "virtual_time",
]
