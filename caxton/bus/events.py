"""What happened, for those who watch: a bounded ring with numbers that only grow, and live taps.

A slow watcher misses events and is told how many; it never slows the node.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import trio

from caxton.core.views import Event, EventFilter


@attrs.define(eq=False)
class _Tap:
    send: trio.MemorySendChannel[Event]
    receive: trio.MemoryReceiveChannel[Event]
    filter: EventFilter | None
    missed: int = 0


class EventLog:
    def __init__(self, capacity: int = 10_000) -> None:
        self._ring: deque[Event] = deque(maxlen=capacity)
        self._taps: set[_Tap] = set()
        self._next = 1
        self.on_taps: Callable[[], None] = lambda: None  # somebody has begun or ended to watch

    # Any: an event's members differ by its type
    def emit(self, type: str, data: dict[str, Any], at: float | None = None) -> None:
        """Number the event, keep it, and hand it to whoever watches."""
        event = Event(id=self._next, type=type, at=time.time() if at is None else at, data=data)
        self._next += 1
        self._ring.append(event)
        for tap in self._taps:
            if tap.filter is None or tap.filter.matches(event):
                self._offer(tap, event)

    def _offer(self, tap: _Tap, event: Event) -> None:
        try:
            if tap.missed:
                text = f"{tap.missed} events were left out: this watcher reads too slowly"
                data = {"severity": "warning", "message": text, "details": {"missed": tap.missed}}
                # the number before: whoever goes on after this news goes on with the event
                tap.send.send_nowait(Event(id=event.id - 1, type="system.alert", at=event.at, data=data))
                tap.missed = 0
            tap.send.send_nowait(event)
        except trio.WouldBlock:
            tap.missed += 1
        except trio.BrokenResourceError:
            pass  # the watcher is leaving its block

    def wants(self, type: str) -> bool:
        """Whether somebody watches events of this type."""
        return any(tap.filter is None or tap.filter.wants(type) for tap in self._taps)

    def since(self, last_id: int) -> list[Event]:
        """What the ring still holds after *last_id*, oldest first."""
        return [event for event in self._ring if event.id > last_id]

    @contextmanager
    def tap(self, capacity: int, filter: EventFilter | None) -> Iterator[trio.MemoryReceiveChannel[Event]]:
        """Watch from here on."""
        send, receive = trio.open_memory_channel[Event](capacity)
        tap = _Tap(send, receive, filter)
        self._taps.add(tap)
        self.on_taps()
        try:
            with send, receive:
                yield receive
        finally:
            self._taps.discard(tap)
            self.on_taps()

    def watch(self, receive: trio.MemoryReceiveChannel[Event], filter: EventFilter | None) -> None:
        """Let the tap of this channel watch something else from here on."""
        for tap in self._taps:
            if tap.receive is receive:
                tap.filter = filter
        self.on_taps()
