"""Writes docs/protocols.md from the tables in caxton/core/protocols, so that diagram and behaviour cannot differ.

python docs/make_protocols.py          write it
python docs/make_protocols.py --check  exit 1 when it is stale (a test does this)
"""

import sys
from pathlib import Path

from caxton.core.protocols import CANCEL, PROTOCOLS, Protocol, Role
from caxton.core.protocols.protocol import START

PAGE = Path(__file__).parent / "protocols.md"

HEAD = """\
<!-- written by docs/make_protocols.py from caxton/core/protocols: change the tables there, then run it -->

# Interaction protocols

Caxton checks every message that names one of these protocols in `protocol`. What is legal is a table; the tracker runs
the table, and this page is drawn from it. What a conversation is, and what becomes of an illegal, a late and a lost
message, is told in [Conversations](conversations.md).

| `protocol` | also written | source | one to |
|---|---|---|---|
{index}

Read the tables so: in *state*, when *who* sends *act*, the session goes to *next*. One session is between the initiator
and one participant; of one to many there are as many sessions, each in its own state. A bold state is final.

These rows hold in every protocol and are not repeated:

| state | who | act | next |
|---|---|---|---|
| any but START, not final | either | `not-understood` | **NOT_UNDERSTOOD** |
| any but START, not final | initiator | `cancel` | see [Cancel meta-protocol](#cancel-meta-protocol) |
| any with a deadline | time | | **TIMED_OUT**, or what the protocol says below |
| any but START, not final | platform | the last message could not be delivered | **UNDELIVERED** |
| any but START, not final | platform | nothing was said for too long | **ABANDONED** |

And these messages are legal and change nothing, for messages may be delivered more than once and overtake each other:
the same `message_id` again; the act that led into this state, again by the same side; what is listed under *may come
late*. Everything else is out of sequence: it is delivered, it changes no state, and it is reported.

**How sure the tables are.** They follow the documents that are named, the 2002 standards (SC...) and the experimental
auctions (XC...), and what JADE's classes accept. They were written from knowledge of these documents, not by copying
from their text; where a table adds to the standard, or has to choose, a remark says so.
"""


def _index() -> str:
    return "\n".join(
        f"| [`{p.name}`](#{p.title.lower().replace(' ', '-')}) | {', '.join(f'`{a}`' for a in p.aliases)} "
        f"| {p.source} | {'many' if p.many else 'one'} |"
        for p in PROTOCOLS
    )


def _grouped(protocol: Protocol) -> list[tuple[str, Role, list[str], str]]:
    """Rows with the same state, role and next state in one line: a broker may forward almost any act."""
    found: dict[tuple[str, Role, str], list[str]] = {}
    for state, rows in protocol.table.items():
        for (role, act), after in rows.items():
            found.setdefault((state, role, after), []).append(act.value)
    return [(state, role, acts, after) for (state, role, after), acts in found.items()]


def _acts(acts: list[str], mark: str = "") -> str:
    if len(acts) > 5:
        left_out = "failure, not-understood, cancel"
        return f"any act but {left_out}"
    return ", ".join(f"{mark}{act}{mark}" for act in acts)


def diagram(protocol: Protocol) -> str:
    """A mermaid state diagram; GitHub draws it."""
    lines = ["```mermaid", "stateDiagram-v2", "    direction LR"]
    for state, role, acts, after in _grouped(protocol):
        before = "[*]" if state == START else state
        lines.append(f"    {before} --> {after}: {role.value[0].upper()} {_acts(acts)}")
    lines += [f"    {state} --> {after}: deadline" for state, after in protocol.expiry.items()]
    lines += [f"    {state} --> [*]" for state in protocol.table if protocol.is_final(state)]
    return "\n".join([*lines, "```"])


def section(protocol: Protocol) -> str:
    def shown(state: str) -> str:
        return f"**{state}**" if protocol.is_final(state) else state

    names = ", ".join(f"`{name}`" for name in (protocol.name, *protocol.aliases))
    said = "A part of every protocol" if protocol is CANCEL else names
    lines = [f"## {protocol.title}", "", f"{said}. Source: FIPA {protocol.source}.", "", diagram(protocol), ""]
    lines += ["| state | who | act | next |", "|---|---|---|---|"]
    for state, role, acts, after in _grouped(protocol):
        opens = " (a new round)" if any((state, role, act) in protocol.rounds for act in acts) else ""
        lines.append(f"| {state} | {role.value} | {_acts(acts, '`')} | {shown(after)}{opens} |")
    lines += [f"| {state} | time | the deadline | {shown(after)} |" for state, after in protocol.expiry.items()]
    lines.append("")
    facts = [
        ("The platform's default is the deadline without `reply_by` in", protocol.awaited),
        ("Nobody owes a message in", protocol.lasting),
        ("A promise, kept over a restart and without a deadline:", protocol.promises),
    ]
    lines += [f"- {text} {', '.join(sorted(states))}." for text, states in facts if states]
    if protocol.overtaken:
        late = sorted({(act.value, role.value, state) for state, role, act in protocol.overtaken})
        lines.append(
            "- May come late: " + ", ".join(f"`{act}` by the {role} in {state}" for act, role, state in late) + "."
        )
    for (state, act), answer in protocol.late.items():
        lines.append(
            f"- `{act.value}` by the participant in {state}: the platform answers `{answer.value}`, reason `late`, and"
            " the initiator does not get it."
        )
    lines += [f"- {remark}" for remark in protocol.remarks]
    return "\n".join(lines)


def page() -> str:
    return "\n".join([HEAD.format(index=_index()), *(f"{section(p)}\n" for p in (*PROTOCOLS, CANCEL))])


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == page() else f"{PAGE} is stale: run {__file__}")
    PAGE.write_text(page(), encoding="utf-8")
