"""The arrays say what the tables say."""

import pytest

from caxton.core.performatives import ACT_CODES, Performative
from caxton.core.protocols import PROTOCOLS, Protocol, Role
from caxton.core.protocols.arrays import FINAL, ROLES, ROUND, arrays_of


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.name)
def test_every_row_and_no_other(protocol: Protocol) -> None:
    arrays = arrays_of(protocol)
    for i, state in enumerate(arrays.states):
        rows = protocol.rows(state)
        assert bool(arrays.flags[i] & FINAL) == protocol.is_final(state)
        for role in Role:
            for act in Performative:
                found = arrays.next[i * 64 + ROLES[role] * 32 + ACT_CODES[act]]
                expected = rows.get((role, act))
                assert (arrays.states[(found & ~ROUND) - 1] if found else None) == expected
                assert bool(found & ROUND) == ((state, role, act) in protocol.rounds)
