"""Runs Trio code under an asyncio server, in a thread of its own.

Rule 1: every crossing is one awaited call: `into_trio` from asyncio, `into_asyncio` from Trio. Nothing is queued in
        between, so the back-pressure of either side reaches the other.
Rule 2: who cancels a crossing cancels what runs on the far side, and waits until it has ended.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import outcome
import trio

T = TypeVar("T")


class TrioThread:
    """`trio.run` in a thread, opened by an asyncio task: `async with TrioThread() as trio_thread`."""

    loop: asyncio.AbstractEventLoop
    token: trio.lowlevel.TrioToken
    crossing_nursery: trio.Nursery

    async def __aenter__(self) -> "TrioThread":
        self.loop = asyncio.get_running_loop()
        started: asyncio.Future[None] = self.loop.create_future()

        async def main() -> None:
            self.token = trio.lowlevel.current_trio_token()
            async with trio.open_nursery() as self.crossing_nursery:
                self.loop.call_soon_threadsafe(started.set_result, None)
                await trio.sleep_forever()

        self.thread = threading.Thread(target=trio.run, args=(main,), name="caxton-trio")
        self.thread.start()
        await started
        return self

    async def __aexit__(self, *_: object) -> None:
        self.token.run_sync_soon(self.crossing_nursery.cancel_scope.cancel)
        await asyncio.to_thread(self.thread.join)

    async def into_trio(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        """Called in asyncio: `await function(*args)`, in Trio."""
        done: asyncio.Future[outcome.Outcome[T]] = self.loop.create_future()
        scope = trio.CancelScope()

        async def run() -> None:
            result: outcome.Outcome[T] = outcome.Error(asyncio.CancelledError())
            try:
                with scope:
                    try:
                        result = outcome.Value(await function(*args))
                    except Exception as error:  # it belongs to the caller, over there
                        result = outcome.Error(error)
            finally:
                self.loop.call_soon_threadsafe(done.set_result, result)

        self.token.run_sync_soon(self.crossing_nursery.start_soon, run)
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            self.token.run_sync_soon(scope.cancel)
            await asyncio.shield(done)
            raise
        return done.result().unwrap()

    async def into_asyncio(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        """Called in Trio: `await function(*args)`, in asyncio."""
        caller = trio.lowlevel.current_task()
        task: asyncio.Task[T] | None = None
        cancelled: Callable[[], NoReturn] = _lost

        async def run() -> T:
            return await function(*args)

        def start() -> None:
            nonlocal task
            task = self.loop.create_task(run())
            task.add_done_callback(finish)

        def finish(task: "asyncio.Task[T]") -> None:
            result = outcome.capture(cancelled if task.cancelled() else task.result)
            self.token.run_sync_soon(trio.lowlevel.reschedule, caller, result)

        def abort(raise_cancel: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
            nonlocal cancelled
            cancelled = raise_cancel
            self.loop.call_soon_threadsafe(lambda: task and task.cancel())
            return trio.lowlevel.Abort.FAILED  # finish() wakes the caller

        self.loop.call_soon_threadsafe(start)
        result: Any = await trio.lowlevel.wait_task_rescheduled(abort)  # Any: Trio cannot know what finish() gives
        return result  # type: ignore[no-any-return]


def _lost() -> NoReturn:
    raise ConnectionError("the server ended the connection's task")
