"""What an agent of the platform says to a message: an act and its content, or that it will not, cannot or did not.

Rule 1: whoever answers says what; to whom, in which conversation and in answer to what follows from the message that
        is answered (`bus/reserved.py`).
Rule 2: the words of `Words` are FIPA's (FIPA00023, exceptions); a program may decide by them, the text is for people.

    refuse           {"action": ..., "reason": {"error": "missing-parameter", "parameter": "name", "text": ...}}
    failure          {"action": ..., "reason": {"error": "already-registered", "text": ...}}
    not-understood   {"event":  ..., "reason": {"error": "unsupported-act", "act": "propose", "text": ...}}
"""

from collections.abc import Mapping
from typing import Any

import attrs

SILENT = frozenset({"failure", "not-understood"})  # acts that are never answered by one of them, else it never ends

# FIPA's words, by the act that carries them
WORDS: dict[str, frozenset[str]] = {
    "not-understood": frozenset({"unsupported-act", "unexpected-act", "unsupported-value", "unrecognised-value"}),
    "refuse": frozenset(
        {
            "unauthorised",
            "unsupported-function",
            "missing-argument",
            "unexpected-argument",
            "unexpected-argument-count",
            "missing-parameter",
            "unexpected-parameter",
            "unrecognised-parameter-value",
        }
    ),
    "failure": frozenset({"already-registered", "not-registered", "internal-error"}),
}
ACT_OF: dict[str, str] = {word: act for act, words in WORDS.items() for word in words}


@attrs.frozen
class Answer:
    """One answer. *fields* go into the message beside those that follow from the one that is answered."""

    performative: str
    content: Any = None  # JSON
    fields: Mapping[str, Any] = attrs.field(factory=dict)


class Unanswered(Exception):
    """A handler's way to say no: the word decides whether it becomes `not-understood`, `refuse` or `failure`.

    *details* name what was wrong: `parameter="name"`, `act="propose"`. *action* is what was asked for, when that much
    was understood.
    """

    # Any: JSON, here and below
    def __init__(self, word: str, text: str, *, action: Any = None, **details: Any) -> None:
        super().__init__(text)
        self.performative = ACT_OF[word]
        self.word = word
        self.text = text
        self.action = action
        self.details = details

    def answer(self, event: Mapping[str, Any]) -> Answer:
        """*event* names the message that it is about, when nothing better is known."""
        key = "event" if self.performative == "not-understood" else "action"
        about = event if self.action is None else self.action
        return Answer(
            self.performative, {key: about, "reason": {"error": self.word, **self.details, "text": self.text}}
        )
