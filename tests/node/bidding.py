"""Agents outside that answer calls for proposals: each does what its test says, message by message."""

from collections.abc import Callable
from typing import Any

import attrs
import msgspec
import trio

from caxton.node import Node
from tests.node.opened import config

# what an agent does with a message: the act and the content of its answer, or nothing. Any: JSON
Does = Callable[[dict[str, Any]], tuple[str, Any] | None]


def bids(cost: float, *, then: tuple[str, Any] = ("inform", "done"), **more: float) -> Does:
    """Proposes, and when it is accepted it does *then*."""

    def does(message: dict[str, Any]) -> tuple[str, Any] | None:
        if message["performative"] == "cfp":
            return "propose", {"cost": cost, **more}
        return then if message["performative"] == "accept-proposal" else None

    return does


def silent(message: dict[str, Any]) -> None:
    """Never answers."""


@attrs.define(eq=False)
class Bidder:
    name: str
    heard: list[dict[str, Any]] = attrs.field(factory=list)
    news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    async def run(self, node: Node, does: Does, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        if self.name not in {info.name for info in node.agents.list(None, 1000, 0)[0]}:
            await node.agents.attach(config(self.name))
        async with node.bus.stream(self.name) as session:
            task_status.started()
            while True:
                for message in await session.receive(100):
                    one = message.as_dict()
                    self.heard.append(one)
                    self.news.unpark_all()
                    if (found := does(one)) is not None:
                        session.send([answer(one, *found)])
                    session.ack([str(message.message_id)])

    async def hears(self, *acts: str) -> list[dict[str, Any]]:
        """When these, in this order, are all that it was told."""
        with trio.fail_after(20):
            while len(self.heard) < len(acts):
                await self.news.park()
        assert [one["performative"] for one in self.heard] == list(acts)
        return self.heard


def answer(message: dict[str, Any], act: str, content: Any) -> bytes:
    fields = {
        "performative": act,
        "receiver": message["sender"],
        "content": content,
        "conversation_id": message.get("conversation_id"),
        "protocol": message.get("protocol"),
        "in_reply_to": message.get("reply_with"),
        "reply_with": f"{act}-of-{message['receiver']}",
    }
    return msgspec.json.encode({key: value for key, value in fields.items() if value is not None})
