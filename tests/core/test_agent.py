"""The seven states: a table of cases, then random steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton.core.agent import TRANSITIONS, AgentState, Lifecycle
from caxton.core.errors import InvalidTransition

S = AgentState

# (state, can_start, can_drain, can_stop, is_active, is_final)
PREDICATES = [
    (S.UNLOADED, False, False, False, False, False),
    (S.LOADED, False, False, False, False, False),
    (S.READY, True, False, True, False, False),
    (S.RUNNING, False, True, True, True, False),
    (S.DRAINING, False, False, True, True, False),
    (S.STOPPED, False, False, False, False, True),
    (S.FAILED, False, False, False, False, True),
]


@pytest.mark.parametrize("case", PREDICATES)
def test_what_a_state_allows(case: tuple[AgentState, bool, bool, bool, bool, bool]) -> None:
    life = Lifecycle(case[0])
    assert (life.can_start, life.can_drain, life.can_stop, life.is_active, life.is_final) == case[1:]


def test_a_whole_life() -> None:
    life = Lifecycle()
    for state in (S.LOADED, S.READY, S.RUNNING, S.DRAINING, S.STOPPED):
        assert life.to(state) is state
    assert life.is_final


def test_an_illegal_step_says_what_would_be_legal() -> None:
    with pytest.raises(InvalidTransition, match="from unloaded to running; from unloaded it can go to failed, loaded"):
        Lifecycle().to(S.RUNNING)
    with pytest.raises(InvalidTransition, match="it is final"):
        Lifecycle(S.STOPPED).to(S.RUNNING)


def test_every_state_can_fail_but_the_final_ones() -> None:
    assert {state for state in S if S.FAILED in TRANSITIONS[state]} == set(S) - {S.STOPPED, S.FAILED}


@given(st.lists(st.sampled_from(S), max_size=20))
def test_an_illegal_step_changes_nothing(steps: list[AgentState]) -> None:
    life = Lifecycle()
    for step in steps:
        before = life.state
        try:
            life.to(step)
        except InvalidTransition:
            assert life.state is before
            assert step not in TRANSITIONS[before]
        else:
            assert step in TRANSITIONS[before]
