"""Scenarios of an agent, as YAML: what it is sent, and what comes of it.

Rule 1: a scenario is a list of steps, and a step is what a test would say on a stage (caxton.testing): send, expect,
let time pass. docs/testing-agents.md#scenarios has every word.
Rule 2: an unknown word is an error that names the known ones; nothing is skipped.
Rule 3: `expect` compares what it names: the fields of the message, and of an object in the content its members.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import trio

from caxton.core.errors import CaxtonError
from caxton.core.limits import parse_duration
from caxton.core.performatives import Performative
from caxton.core.protocols import find
from caxton.testing import Actor, Message, Stage

TESTER = "tester"  # who speaks when a step does not say


class Tool(msgspec.Struct, forbid_unknown_fields=True):
    """A fake tool: its answer, or what is wrong with it, after some time. Any: JSON."""

    answer: Any = None
    error: str = ""
    after: str = "0s"


class Step(msgspec.Struct, forbid_unknown_fields=True):
    """What is done, then what has to be. Any: JSON."""

    speaker: str = msgspec.field(default=TESTER, name="as")
    send: dict[str, Any] | None = None
    reply: dict[str, Any] | None = None
    passes: str = ""
    restart: bool = False
    tools: dict[str, Tool] = {}
    expect: dict[str, Any] | str | None = None
    within: str = "5s"
    state: str = ""
    status: str = ""
    log: str = ""


class Scenario(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    steps: list[Step]
    speakers: dict[str, list[str]] = {}  # other agents, and their capabilities


class Scenarios(msgspec.Struct, forbid_unknown_fields=True):
    scenarios: list[Scenario]
    tools: dict[str, Tool] = {}
    settings: list[str] = []  # of the server: `messaging.queue_size=10`


def read(path: Path) -> Scenarios:
    """Raises ValueError with the place of what is wrong."""
    import yaml

    try:
        return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), Scenarios)
    except (msgspec.ValidationError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from None


class Player:
    """Plays one file's scenarios, one after the other, with one agent on one stage."""

    def __init__(self, stage: Stage, agent: str, tools: Mapping[str, Tool]) -> None:
        self.stage = stage
        self.agent = agent
        self._actors: dict[str, Actor] = {}
        self._number = 0
        self._conversation = ""
        self._last: dict[str, Message] = {}  # what each speaker heard last
        for name, tool in tools.items():
            self.give(name, tool)

    def give(self, name: str, tool: Tool) -> None:
        """Another fake from now on."""

        async def answer(arguments: Any) -> Any:  # Any: JSON
            await trio.sleep(parse_duration(tool.after))
            if tool.error:
                raise RuntimeError(tool.error)
            return tool.answer

        self.stage.tool(name, answer)

    async def play(self, scenario: Scenario) -> None:
        """Raises AssertionError with the step that is not as it should be."""
        self._number += 1
        self._conversation = f"scenario-{self._number}"
        self._last.clear()
        for name, capabilities in {TESTER: [], **scenario.speakers}.items():
            if name not in self._actors:
                self._actors[name] = await self.stage.agent(name, capabilities=capabilities)
        for number, step in enumerate(scenario.steps, 1):
            try:
                await self._take(step)
            except (AssertionError, CaxtonError, ValueError) as error:
                raise AssertionError(f"step {number}: {error}") from None

    async def _take(self, step: Step) -> None:
        stage = self.stage
        if step.speaker not in self._actors:
            raise ValueError(f"{step.speaker!r} is none of the speakers {sorted(self._actors)}")
        speaker = self._actors[step.speaker]
        for name, tool in step.tools.items():
            self.give(name, tool)
        if step.restart:
            await stage.restart(self.agent)
        if step.send is not None:
            await self._send(speaker, dict(step.send))
        if step.reply is not None:
            self._reply(speaker, dict(step.reply))
        if step.passes:
            await stage.passes(parse_duration(step.passes))
        if step.expect is not None:
            await self._expect(speaker, step)
        if step.state:
            await stage.settle()
            _same("the state of the conversation", step.state, self._state(speaker))
        if step.status:
            await stage.settle()
            _same("the agent's status", step.status, stage.status(self.agent))
        if step.log:
            await stage.settle()
            lines = stage.log(self.agent)
            if not any(step.log in line for line in lines):
                raise AssertionError(f"no line of the log has {step.log!r}; it has {lines or 'none'}")

    async def _send(self, speaker: Actor, fields: dict[str, Any]) -> None:
        performative, receiver = fields.pop("performative", "request"), fields.pop("receiver", self.agent)
        content = fields.pop("content", None)
        fields.setdefault("conversation_id", self._conversation)
        fields.setdefault("reply_with", f"{speaker.name}-{self._number}-{len(speaker.heard)}")
        if "reply_by" in fields:
            fields["reply_by"] = self.stage.moment(parse_duration(str(fields["reply_by"])))
        fields = {"performative": performative, "receiver": receiver, "content": content, **fields}
        speaker.say_fields({key: value for key, value in fields.items() if value is not None})

    def _reply(self, speaker: Actor, fields: dict[str, Any]) -> None:
        message = self._last.get(speaker.name)
        if message is None:
            raise AssertionError(f"{speaker.name} has heard nothing to reply to")
        performative = fields.pop("performative", "inform")
        speaker.reply(message, performative, fields.pop("content", None), **fields)

    async def _expect(self, speaker: Actor, step: Step) -> None:
        within = parse_duration(step.within)
        if isinstance(step.expect, str):
            if step.expect != "nothing":
                raise ValueError(f"`expect` is the fields of a message, or `nothing`; not {step.expect!r}")
            await speaker.expect_nothing(within=within)
            return
        wanted = step.expect or {}
        message = self._last[speaker.name] = await speaker.expect(within=within)
        for key, value in wanted.items():
            found = message.fields.get(key)
            if not _has(value, found):
                raise AssertionError(f"{key} is {found!r}, not {value!r}, of: {message}")

    def _state(self, speaker: Actor) -> str:
        states = self.stage.conversation(self._conversation).states
        for peer in (self.agent, speaker.name):
            if peer in states:
                return states[peer]
        raise AssertionError("the conversation follows no protocol: send it with one, such as fipa-request")


# Any: JSON
def _has(wanted: Any, found: Any) -> bool:
    """Objects have at least these members; everything else is equal."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(key in found and _has(value, found[key]) for key, value in wanted.items())
    return bool(wanted == found)


def _same(what: str, wanted: str, found: str) -> None:
    if wanted != found:
        raise AssertionError(f"{what} is {found}, not {wanted}")


class Coverage(msgspec.Struct):
    """What the agent said and heard, and which rows of the protocols' tables were used."""

    said: list[str]
    heard: list[str]
    protocols: dict[str, float]  # the share of the table's rows
    states: dict[str, list[str]]
    missing: dict[str, list[str]]


def coverage(stage: Stage, agent: str) -> Coverage:
    """Of everything that was said on the stage."""
    said: set[str] = set()
    heard: set[str] = set()
    protocols: set[str] = set()
    for message in stage.messages():
        receivers = message.receiver if isinstance(message.receiver, list) else [message.receiver]
        act = Performative(message.performative).value
        if message.sender == agent:
            said.add(act)
        elif agent in receivers:
            heard.add(act)
        else:
            continue
        if message.protocol and find(message.protocol):
            protocols.add(message.protocol)
    covered = {name: stage.coverage(name) for name in sorted(protocols)}
    return Coverage(
        said=sorted(said),
        heard=sorted(heard),
        protocols={name: each.ratio for name, each in covered.items()},
        states={name: sorted(each.states) for name, each in covered.items()},
        missing={name: each.missing for name, each in covered.items()},
    )
