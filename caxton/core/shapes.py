"""What the content of an act looks like where `language` is `json`, of the acts that are about more than one thing.

Source: the message content of each act in SC00037J, as JSON: (action, reason) is {"action": ..., "reason": ...}.

Rule 1: an act about one thing (what is informed, asked, requested) has any JSON as its content: that is the thing. An
        act about several has a member for each, or nobody could tell them apart.
Rule 2: what is known may be left out: a condition that always holds, and what the message before it was about (the
        action that is agreed to, refused or failed; the event that was not understood).
Rule 3: more members than these are nobody's business.
Rule 4: the native check (_fast/conversation.pyx) reads this table; both give the same answer.
"""

from collections.abc import Mapping

from caxton.core.performatives import Performative as Act

CALL = frozenset({"action"})
WHY = frozenset({"reason"})
WHEN = frozenset({"action", "condition"})
PASS_ON = frozenset({"target", "message"})

# the members that have to be there
SHAPES: dict[Act, frozenset[str]] = {
    Act.CFP: CALL,
    Act.PROPOSE: CALL,
    Act.REFUSE: WHY,
    Act.FAILURE: WHY,
    Act.REJECT_PROPOSAL: WHY,
    Act.NOT_UNDERSTOOD: WHY,
    Act.REQUEST_WHEN: WHEN,
    Act.REQUEST_WHENEVER: WHEN,
    Act.PROPAGATE: PASS_ON,
    Act.PROXY: PASS_ON,
}


def fits(act: Act, content: object) -> bool:
    """Whether the decoded content has the members that the act needs."""
    return act not in SHAPES or (isinstance(content, Mapping) and content.keys() >= SHAPES[act])


def told(act: Act) -> str:
    """What would be right, in words; of an act with a shape."""
    members = " and ".join(f"`{name}`" for name in sorted(SHAPES[act]))
    return f"the content of {act} in language json is an object with {members}"
