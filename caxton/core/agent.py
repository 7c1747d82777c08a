"""The life of one agent instance: seven states and the steps between them.

Rule 1: what is legal is the table below; an illegal step raises and changes nothing.
Rule 2: `stopped` and `failed` are final. Whoever starts an agent again makes a new life: a restart is a new one.
Rule 3: this file does not know why a step is taken; `core/supervision.py` decides, `runtime/agent.py` acts.
"""

from enum import StrEnum

import attrs

from caxton.core.errors import InvalidTransition


class AgentState(StrEnum):
    UNLOADED = "unloaded"  # known by name only
    LOADED = "loaded"  # its module is compiled
    READY = "ready"  # it has an address and a mailbox
    RUNNING = "running"  # its instance takes messages
    DRAINING = "draining"  # takes nothing new, handles what waits
    STOPPED = "stopped"
    FAILED = "failed"


_S = AgentState

TRANSITIONS: dict[AgentState, frozenset[AgentState]] = {
    _S.UNLOADED: frozenset({_S.LOADED, _S.FAILED}),
    _S.LOADED: frozenset({_S.READY, _S.FAILED, _S.UNLOADED}),
    _S.READY: frozenset({_S.RUNNING, _S.STOPPED, _S.FAILED}),
    _S.RUNNING: frozenset({_S.DRAINING, _S.STOPPED, _S.FAILED}),
    _S.DRAINING: frozenset({_S.STOPPED, _S.FAILED}),
    _S.STOPPED: frozenset(),
    _S.FAILED: frozenset(),
}


@attrs.define
class Lifecycle:
    """One life, from `unloaded` to `stopped` or `failed`."""

    state: AgentState = AgentState.UNLOADED

    def to(self, state: AgentState) -> AgentState:
        """Take one step; the new state is also returned."""
        legal = TRANSITIONS[self.state]
        if state not in legal:
            expected = ", ".join(sorted(legal)) or "nothing, it is final"
            raise InvalidTransition(
                f"an agent cannot go from {self.state} to {state}; from {self.state} it can go to {expected}",
                details={"from": self.state.value, "to": state.value},
            )
        self.state = state
        return state

    @property
    def can_start(self) -> bool:
        return self.state is AgentState.READY

    @property
    def can_drain(self) -> bool:
        return self.state is AgentState.RUNNING

    @property
    def can_stop(self) -> bool:
        return self.state in (AgentState.RUNNING, AgentState.DRAINING, AgentState.READY)

    @property
    def is_active(self) -> bool:
        return self.state in (AgentState.RUNNING, AgentState.DRAINING)

    @property
    def is_final(self) -> bool:
        return not TRANSITIONS[self.state]
