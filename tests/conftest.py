"""`async def` tests run under Trio, each in its own `trio.run`.

Three fixtures mean something to the runner:

    autojump_clock   time is virtual and jumps whenever every task sleeps
                     (a `trio.testing.MockClock`; threads and sockets do not move it)
    nursery          a nursery around the test body, cancelled when the body returns

Hypothesis draws the same examples every time, so that a run repeats; `pytest --hypothesis-profile=search` draws others.

    kind             the guests of tests/guests are core modules, then components
                     (asked for by `both_kinds` of tests/_fast/scheduling)

There are no async fixtures: a test that needs a room opens it, `async with open_store(tmp_path) as store:`.
"""

import inspect
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import settings

settings.register_profile("repeat", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile("repeat")

# a shell that starts the suite in the background lets it ignore Ctrl-C, and what the tests start would do so too
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

AsyncTest = Callable[..., Awaitable[None]]


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0)


@pytest.fixture
def nursery() -> trio.Nursery | None:
    """A place in the signature; `_run` puts the open nursery there."""
    return None


@pytest.fixture(params=["module", "component"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    from tests._fast import wrapping  # loads the native part, which not every test needs

    monkeypatch.setattr(wrapping, "chosen", request.param == "component")
    return str(request.param)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    test = pyfuncitem.obj
    if hasattr(test, "hypothesis"):  # one `trio.run` per generated example
        inner = test.hypothesis.inner_test
        if inspect.iscoroutinefunction(inner):
            test.hypothesis.inner_test = lambda **arguments: _run(inner, arguments)
        return None
    if not inspect.iscoroutinefunction(test):
        return None
    fixtures = pyfuncitem.funcargs  # autouse fixtures too, which the test does not take
    _run(test, {name: fixtures[name] for name in inspect.signature(test).parameters if name in fixtures})
    return True


def _run(test: AsyncTest, arguments: dict[str, Any]) -> None:
    async def body() -> None:
        if "nursery" not in arguments:
            await test(**arguments)
            return
        async with trio.open_nursery() as nursery:
            await test(**{**arguments, "nursery": nursery})
            nursery.cancel_scope.cancel()

    try:
        trio.run(body, clock=arguments.get("autojump_clock"))
    except BaseExceptionGroup as group:
        # a skip, or the one failing assertion, must reach pytest bare
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None
