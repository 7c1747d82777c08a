"""The 22 communicative acts of FIPA, their wire codes, and how people spell them.

Source: FIPA00037 (the acts) and FIPA00069 (the codes of the bit-efficient encoding, 0x01 to 0x16).

Rule 1: written out, an act has its FIPA name in lower case with hyphens: `query-ref`, `accept-proposal`.
Rule 2: read in, case does not matter and `_` equals `-`; `accept`, `reject` and `query` are short forms.
Rule 3: whatever else is spelt is unknown, `counter-propose` too: the receiver answers it with `not-understood`.
"""

from enum import StrEnum

from caxton.core.errors import InvalidMessage


class Performative(StrEnum):
    """What a message does, in the order of the wire codes."""

    ACCEPT_PROPOSAL = "accept-proposal"
    AGREE = "agree"
    CANCEL = "cancel"
    CFP = "cfp"
    CONFIRM = "confirm"
    DISCONFIRM = "disconfirm"
    FAILURE = "failure"
    INFORM = "inform"
    INFORM_IF = "inform-if"
    INFORM_REF = "inform-ref"
    NOT_UNDERSTOOD = "not-understood"
    PROPAGATE = "propagate"
    PROPOSE = "propose"
    PROXY = "proxy"
    QUERY_IF = "query-if"
    QUERY_REF = "query-ref"
    REFUSE = "refuse"
    REJECT_PROPOSAL = "reject-proposal"
    REQUEST = "request"
    REQUEST_WHEN = "request-when"
    REQUEST_WHENEVER = "request-whenever"
    SUBSCRIBE = "subscribe"


ACT_CODES: dict[str, int] = {act.value: code for code, act in enumerate(Performative, start=1)}
ACTS_BY_CODE: dict[int, Performative] = {code: Performative(name) for name, code in ACT_CODES.items()}

ALIASES: dict[str, str] = {
    "accept": "accept-proposal",
    "reject": "reject-proposal",
    "query": "query-ref",
}


def canonical(text: str) -> str:
    """The FIPA name of the act that *text* spells."""
    name = text.lower().replace("_", "-")
    name = ALIASES.get(name, name)
    if name not in ACT_CODES:
        raise InvalidMessage(
            f"unknown performative {text!r}",
            hint=f"use one of: {', '.join(ACT_CODES)}",
            details={"field": "performative", "value": text},
        )
    return name
