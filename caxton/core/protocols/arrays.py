"""The tables as arrays of bytes, for the native tracker: the same legality at the speed of an index.

A protocol has at most 32 states. Its arrays:

    next[state * 64 + role * 32 + act]   0: no row; else the next state, plus 1; + 128: the row opens a round
    overtaken, the same index            1: legal, and changes nothing
    late[state * 32 + act]               what the platform answers a participant's late act with; 0: nothing
    flags[state]                         FINAL, AWAITED, LASTING, PROMISE
    owes[state]                          0 nobody, 1 the initiator, 2 the participant
    expiry[state]                        the state at the deadline
"""

import attrs

from caxton.core.performatives import ACT_CODES
from caxton.core.protocols.protocol import ENDINGS, TIMED_OUT, Protocol, Role

STATES = 32
ROUND = 128
FINAL, AWAITED, LASTING, PROMISE = 1, 2, 4, 8
ROLES = {Role.INITIATOR: 0, Role.PARTICIPANT: 1}


@attrs.frozen
class Arrays:
    next: bytes
    overtaken: bytes
    late: bytes
    flags: bytes
    owes: bytes
    expiry: bytes
    endings: bytes  # the states of ENDINGS, in that order
    done: int  # the state of `Machine.complete`; 0: there is none
    states: tuple[str, ...]
    bounded: bool


def arrays_of(protocol: Protocol) -> Arrays:
    states = protocol.states
    assert len(states) <= STATES
    number = {state: i for i, state in enumerate(states)}
    following, overtaken = bytearray(STATES * 64), bytearray(STATES * 64)
    late, flags, owes, expiry = bytearray(STATES * 32), bytearray(STATES), bytearray(STATES), bytearray(STATES)
    for state, i in number.items():
        for (role, act), after in protocol.rows(state).items():
            opens = (state, role, act) in protocol.rounds
            following[i * 64 + ROLES[role] * 32 + ACT_CODES[act]] = number[after] + 1 + (ROUND if opens else 0)
        flags[i] = (
            FINAL * protocol.is_final(state)
            | AWAITED * (state in protocol.awaited)
            | LASTING * (state in protocol.lasting)
            | PROMISE * (state in protocol.promises)
        )
        role_owing = protocol.owes(state)
        owes[i] = 0 if role_owing is None else ROLES[role_owing] + 1
        expiry[i] = number[protocol.expiry.get(state, TIMED_OUT)]
    for state, role, act in protocol.overtaken:
        overtaken[number[state] * 64 + ROLES[role] * 32 + ACT_CODES[act]] = 1
    for (state, act), answer in protocol.late.items():
        late[number[state] * 32 + ACT_CODES[act]] = ACT_CODES[answer]
    return Arrays(
        next=bytes(following),
        overtaken=bytes(overtaken),
        late=bytes(late),
        flags=bytes(flags),
        owes=bytes(owes),
        expiry=bytes(expiry),
        endings=bytes(number[ending] for ending in ENDINGS),
        done=number.get("DONE", 0),
        states=states,
        bounded=protocol.bounded,
    )
