"""Runs coroutines without an event loop. What the SDK gives to await has its answer at once, so they never suspend."""

from collections.abc import Callable, Coroutine
from typing import Any

CO_COROUTINE = 0x80  # inspect.CO_COROUTINE: the function is `async def`


def is_async(function: Callable[..., Any]) -> bool:
    """Whether the function, or the one that a decorator wraps, is `async def`."""
    while (inner := getattr(function, "__wrapped__", None)) is not None:
        function = inner
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & CO_COROUTINE)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What it returns. It is told where it awaits something that only an event loop could bring."""
    resume: Callable[[Any], Any] = coroutine.send
    value: Any = None
    while True:
        try:
            awaited = resume(value)
        except StopIteration as done:
            return done.value
        what = "something" if awaited is None else repr(awaited)
        resume, value = (
            coroutine.throw,
            TypeError(
                f"cannot await {what} of an event loop: agents have none. "
                "Await ctx.tool, ctx.search, ctx.sleep and coroutines of your own"
            ),
        )
