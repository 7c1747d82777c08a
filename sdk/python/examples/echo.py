"""Answers every message with its content."""

from typing import Any

from caxton_agent import Agent, Context, Message, serve


class Echo(Agent):
    def handle(self, message: Message, ctx: Context) -> Any:
        if message.performative in ("failure", "not-understood"):
            return None
        return message.inform(message.content)


Guest = serve(Echo)
