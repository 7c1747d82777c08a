"""The room that keeps things. `open_store` is its door."""

from caxton.store.agents import AgentRoom
from caxton.store.dead_letters import DeadLetter, DeadLetterRoom, Which
from caxton.store.journal import Deleted, JournalRoom, JournalSize, Segment
from caxton.store.lifecycle import LifecycleEvent, LifecycleRoom
from caxton.store.lock import Holder, read_holder
from caxton.store.meta import Meta
from caxton.store.modules import ModuleRoom
from caxton.store.state import StateRoom
from caxton.store.store import Store, open_store
from caxton.store.timers import Timer, TimerRoom

__all__ = [
    "AgentRoom",
    "DeadLetter",
    "DeadLetterRoom",
    "Deleted",
    "Holder",
    "JournalRoom",
    "JournalSize",
    "LifecycleEvent",
    "LifecycleRoom",
    "Meta",
    "ModuleRoom",
    "Segment",
    "StateRoom",
    "Store",
    "Timer",
    "TimerRoom",
    "Which",
    "open_store",
    "read_holder",
]
