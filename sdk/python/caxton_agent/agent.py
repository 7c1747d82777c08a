"""The class that agents are made of, and the component's exports around it."""

import traceback
from typing import Any

from componentize_py_types import Err
from wit_world import exports

from caxton_agent.context import Context
from caxton_agent.message import Message, Reply, encode


class Agent:
    """Override what you need. `capabilities` are what others find the agent by: `capability:pricing`."""

    capabilities: tuple[str, ...] | list[str] = ()

    def start(self, ctx: Context) -> None:
        """At the start of every instance. An exception is a failed start."""

    def handle(self, message: Message, ctx: Context) -> Any:
        """One message. Return None, a `Reply` (`message.agree(...)`), or a value: the content of an `inform`.

        An exception is a failed message: what this turn did is undone, and the sender gets a FIPA `failure` from `ams`.
        """
        return message.not_understood("this agent handles no messages")

    def timer(self, timer: int, ctx: Context) -> None:
        """A timer is due."""

    def health(self, ctx: Context) -> None:
        """An exception says that the agent does not feel well."""

    def stop(self, ctx: Context) -> None:
        """Before an orderly stop."""


def serve(agent: type[Agent]) -> type:
    """The component's `Guest`: `Guest = serve(YourAgent)`."""

    # not in Guest: componentize-py makes one of them for each call
    context = Context()
    own: list[Agent] = []

    def attempt(name: str, *arguments: Any) -> Any:
        if not own:
            own.append(agent())
        try:
            return getattr(own[0], name)(*arguments, context)
        except Exception as error:  # where an agent ends: the host is told
            context.log.error(traceback.format_exc().strip())  # noqa: TRY400 (the agent's log, which has no levels)
            raise Err(f"{type(error).__name__}: {error}") from None

    class Guest(exports.Guest):  # type: ignore[misc]  # generated
        def init(self) -> None:
            attempt("start")

        def handle_message(self, message: str) -> str | None:
            found = attempt("handle", Message(message))
            if found is None:
                return None
            return found.text() if isinstance(found, Reply) else Reply("inform", found).text()

        def handle_timer(self, id: int) -> None:
            attempt("timer", id)

        def get_capabilities(self) -> str | None:
            return encode({"capabilities": list(agent.capabilities)}) if agent.capabilities else None

        def health(self) -> None:
            attempt("health")

        def shutdown(self) -> None:
            attempt("stop")

    return Guest
