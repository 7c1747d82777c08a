"""The example agents on Caxton's own scheduler, without a server around it."""

import json
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from caxton._fast import scheduler as native
from caxton._fast.scheduler import Scheduler
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module
from examples import build

EXAMPLES = Path(build.__file__).parent


class Table:
    """A scheduler with agents around it, and everything that happened."""

    def __init__(self) -> None:
        self.engine = Engine(pool_slots=8)
        self.scheduler = Scheduler(self.engine, threads=2)
        self.events: list[tuple[int, int, object, object]] = []

    def seat(self, name: str, wasm: Path) -> int:
        port = self.scheduler.open_port(name)
        module = Module.compile(self.engine, wasm.read_bytes())
        self.scheduler.spawn(
            port,
            module,
            memory=16 << 20,
            timeout_ns=10**9,
            cpu_millicores=0,
            log_lines_per_second=1000,
            state_quota=1 << 20,
        )
        return port

    def until(self, happened: Callable[[], bool]) -> None:
        while not happened():
            ready = select.select([self.scheduler.wake_fd], [], [], 20)[0]
            assert ready, f"nothing happened any more; until then: {self.events[-20:]}"
            self.events += self.scheduler.drain()

    def of(self, kind: int, port: int) -> list[tuple[object, object]]:
        return [(a, b) for found, at, a, b in self.events if (found, at) == (kind, port)]

    def lines(self, port: int) -> list[str]:
        return [line[0] for _, line in self.of(native.EVENT_LOG, port) if isinstance(line, tuple)]


@contextmanager
def open_table() -> Iterator[Table]:
    table = Table()
    table.scheduler.start()
    try:
        yield table
    finally:
        table.scheduler.stop()


@pytest.mark.slow
def test_ping_waits_for_pong_and_then_they_play() -> None:
    with open_table() as table:
        ping = table.seat("ping", EXAMPLES / "ping" / "ping.wasm")
        table.until(lambda: len(table.of(native.EVENT_TIMER, ping)) == 1)
        pong = table.seat("pong", EXAMPLES / "pong" / "pong.wasm")
        table.until(lambda: len(table.of(native.EVENT_STARTED, pong)) == 1)
        timer = table.of(native.EVENT_TIMER, ping)[0][0]
        assert isinstance(timer, int)
        table.scheduler.fire_timer(ping, timer)
        table.until(lambda: len(table.lines(pong)) >= 3)
        assert table.lines(ping)[:2] == ["Sending ping to pong", "Received pong, sending ping to pong"]
        assert table.lines(pong)[0] == "Received ping, sending pong back"
        assert table.scheduler.statistics(pong).handled >= 3


@pytest.mark.slow
@pytest.mark.parametrize("origin", ["committed", "rebuilt"])
def test_echo_answers_a_host(origin: str, tmp_path: Path) -> None:
    wasm = EXAMPLES / "echo" / "echo.wasm" if origin == "committed" else build.build("echo", tmp_path)
    with open_table() as table:
        table.seat("echo", wasm)
        me = table.scheduler.open_port("me", host=True)
        content = {"text": 'a "quote", a \\ and an ü', "large": "x" * 100_000}
        message = {"performative": "request", "receiver": "echo", "content": content, "reply_with": "r1"}
        table.scheduler.submit(json.dumps(message).encode(), sender="me")
        table.until(lambda: len(table.of(native.EVENT_MAIL, me)) == 1)
        answer = table.scheduler.receive(me, 10)[0].as_dict()
        assert {key: answer[key] for key in ("performative", "sender", "content", "in_reply_to")} == {
            "performative": "inform",
            "sender": "echo",
            "content": content,
            "in_reply_to": "r1",
        }
