"""What the content of an act looks like where `language` is `json`: an object with certain members.

Source: the message content of each act in SC00037J, as JSON: (action, reason) is {"action": ..., "reason": ...}.

Rule 1: a condition that always holds may be left out, where the standard has one beside an action. Where it is what
        the act is about (request-when), it may not.
Rule 2: more members than these are nobody's business.
Rule 3: the native check (_fast/conversation.pyx) reads this table; both give the same answer.
"""

from collections.abc import Mapping

from caxton.core.performatives import Performative as Act

# one of these sets of members has to be there
SHAPES: dict[Act, tuple[frozenset[str], ...]] = {
    Act.ACCEPT_PROPOSAL: (frozenset({"action"}),),
    Act.AGREE: (frozenset({"action"}),),
    Act.CANCEL: (frozenset({"action"}),),
    Act.CFP: (frozenset({"action"}),),
    Act.CONFIRM: (frozenset({"proposition"}),),
    Act.DISCONFIRM: (frozenset({"proposition"}),),
    Act.FAILURE: (frozenset({"action", "reason"}),),
    Act.INFORM: (frozenset({"proposition"}), frozenset({"done"}), frozenset({"result"})),
    Act.INFORM_IF: (frozenset({"proposition"}),),
    Act.INFORM_REF: (frozenset({"query"}),),
    Act.NOT_UNDERSTOOD: (frozenset({"event", "reason"}),),
    Act.PROPAGATE: (frozenset({"target", "message"}),),
    Act.PROPOSE: (frozenset({"action"}),),
    Act.PROXY: (frozenset({"target", "message"}),),
    Act.QUERY_IF: (frozenset({"proposition"}),),
    Act.QUERY_REF: (frozenset({"query"}),),
    Act.REFUSE: (frozenset({"action", "reason"}),),
    Act.REJECT_PROPOSAL: (frozenset({"action", "reason"}),),
    Act.REQUEST: (frozenset({"action"}),),
    Act.REQUEST_WHEN: (frozenset({"action", "condition"}),),
    Act.REQUEST_WHENEVER: (frozenset({"action", "condition"}),),
    Act.SUBSCRIBE: (frozenset({"query"}),),
}


def fits(act: Act, content: object) -> bool:
    """Whether the decoded content has the members that the act needs."""
    return isinstance(content, Mapping) and any(members <= content.keys() for members in SHAPES[act])


def told(act: Act) -> str:
    """What would be right, in words."""
    shapes = " or ".join(" and ".join(f"`{name}`" for name in sorted(members)) for members in SHAPES[act])
    return f"the content of {act} in language json is an object with {shapes}"
