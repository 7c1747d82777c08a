"""The class that agents are made of, and the component's exports around it."""

import traceback
from types import CoroutineType
from typing import Any

from componentize_py_types import Err
from wit_world import exports

from caxton_agent.context import AsyncContext, Context
from caxton_agent.coroutine import is_async, run
from caxton_agent.message import Message, Reply, encode


class Agent:
    """Override what you need. `capabilities` are what others find the agent by: `capability:pricing`.

    Each method is `def` and takes a Context, or `async def` and takes an AsyncContext; Any stands for either.
    """

    capabilities: tuple[str, ...] | list[str] = ()

    def start(self, ctx: Any) -> Any:
        """At the start of every instance. An exception is a failed start."""

    def handle(self, message: Message, ctx: Any) -> Any:
        """One message. Return None, a `Reply` (`message.agree(...)`), or a value: the content of an `inform`.

        An exception is a failed message: what this turn did is undone, and the sender gets a FIPA `failure` from `ams`.
        """
        return message.not_understood("this agent handles no messages")

    def timer(self, timer: int, ctx: Any) -> Any:
        """A timer is due."""

    def health(self, ctx: Any) -> Any:
        """An exception says that the agent does not feel well."""

    def stop(self, ctx: Any) -> Any:
        """Before an orderly stop."""


def serve(agent: type[Agent]) -> type:
    """The component's `Guest`: `Guest = serve(YourAgent)`."""

    # not in Guest: componentize-py makes one of them for each call
    plain, waiting = Context(), AsyncContext()
    own: list[Agent] = []

    def attempt(name: str, *arguments: Any) -> str | None:
        try:
            if not own:
                own.append(agent())
            method = getattr(own[0], name)
            found = method(*arguments, waiting if is_async(method) else plain)
            if isinstance(found, CoroutineType):
                found = run(found)
            return answer(found) if name == "handle" else None
        except Exception as error:  # where an agent ends: the host is told
            plain.log.error(traceback.format_exc().strip())  # noqa: TRY400 (the agent's log, which has no levels)
            raise Err(f"{type(error).__name__}: {error}") from None

    class Guest(exports.Guest):  # type: ignore[misc, unused-ignore]  # generated
        def init(self) -> None:
            attempt("start")

        def handle_message(self, message: str) -> str | None:
            return attempt("handle", Message(message))

        def handle_timer(self, id: int) -> None:
            attempt("timer", id)

        def get_capabilities(self) -> str | None:
            return encode({"capabilities": list(agent.capabilities)}) if agent.capabilities else None

        def health(self) -> None:
            attempt("health")

        def shutdown(self) -> None:
            attempt("stop")

    return Guest


def answer(found: Any) -> str | None:
    """What `handle` returned, as the host takes it."""
    if found is None:
        return None
    return found.text() if isinstance(found, Reply) else Reply("inform", found).text()
