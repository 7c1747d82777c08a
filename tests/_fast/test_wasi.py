"""The part of WASI preview 1 that a sandbox needs; results as in wasi_snapshot_preview1.witx."""

import struct
import time
from pathlib import Path

import pytest

from caxton._fast import scheduler as native
from caxton._fast.wasm.module import wat2wasm
from caxton.core.errors import InvalidWasm
from caxton.core.wasm_abi import WASI, WASI_MODULE, AgentLimits, check
from caxton.core.wasm_binary import inspect
from tests._fast.probe import EDGE, Probe, poke, step
from tests._fast.scheduling import open_stage, unharmed
from tests._fast.wasi_outside import OUTSIDE_PREVIEW_1

OK, BADF, FAULT, INVAL, SPIPE = 0, 8, 21, 28, 70
HERE, OUT = 0x100, 0x30000
BEYOND = [EDGE, EDGE - 3, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]


def words(data: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(data) // 4}I", data))


def vectors(*pairs: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("<II", *pair) for pair in pairs)


def clock(clock_id: int, timeout_ns: int, *, absolute: bool = False, userdata: int = 7, tag: int = 0) -> bytes:
    """One subscription of poll_oneoff."""
    return struct.pack("<QB7xI4xQQH6x", userdata, tag, clock_id, timeout_ns & (1 << 64) - 1, 0, absolute)


def polls(*subscriptions: bytes) -> str:
    joined = b"".join(subscriptions)
    return poke(HERE, joined) + step("poll_oneoff", HERE, OUT + 64, len(subscriptions), OUT)


@pytest.mark.parametrize(
    ("call", "results"),
    [
        (step("fd_close", 0) + step("fd_close", 2) + step("fd_close", 3) + step("fd_close", -1), [OK, OK, BADF, BADF]),
        (step("fd_seek", 1, 0, 0, OUT) + step("fd_seek", 3, 0, 0, OUT), [SPIPE, BADF]),
        (step("fd_fdstat_set_flags", 1, 4) + step("fd_fdstat_set_flags", 9, 4), [OK, BADF]),
        (step("fd_prestat_get", 3, OUT) + step("fd_prestat_dir_name", 3, OUT, 4), [BADF, BADF]),
        (step("fd_fdstat_get", 3, OUT), [BADF]),
        (step("fd_read", 1, HERE, 0, OUT) + step("fd_read", 0, HERE, 0, OUT), [BADF, OK]),
        (
            step("fd_write", 0, HERE, 0, OUT) + step("fd_write", 3, HERE, 0, OUT) + step("fd_write", 1, HERE, 0, OUT),
            [BADF, BADF, OK],
        ),
        (step("fd_write", 1, HERE, 1025, OUT) + step("fd_write", 1, HERE, -1, OUT), [INVAL, INVAL]),
        (
            step("clock_time_get", 4, 0, OUT) + step("clock_time_get", -1, 0, OUT) + step("clock_res_get", 4, OUT),
            [INVAL] * 3,
        ),
        (step("random_get", OUT, 0) + step("random_get", 0, 65536) + step("random_get", 0, 65537), [OK, OK, INVAL]),
        (step("poll_oneoff", HERE, OUT, 0, OUT) + step("poll_oneoff", HERE, OUT, 65, OUT), [INVAL, INVAL]),
        (step("sched_yield") * 3, [OK] * 3),
    ],
)
def test_what_the_functions_answer(call: str, results: list[int]) -> None:
    with open_stage(threads=1) as stage:
        assert Probe(stage).do(call) == results


# which parameters are pointers, beside others that are well
POINTERS = [
    ("args_sizes_get", (OUT, OUT), 0),
    ("args_sizes_get", (OUT, OUT), 1),
    ("args_get", (OUT, OUT), 0),
    ("args_get", (OUT, OUT), 1),
    ("environ_sizes_get", (OUT, OUT), 0),
    ("environ_sizes_get", (OUT, OUT), 1),
    ("environ_get", (OUT, OUT), 0),
    ("environ_get", (OUT, OUT), 1),
    ("clock_time_get", (0, 0, OUT), 2),
    ("clock_res_get", (0, OUT), 1),
    ("random_get", (OUT, 4), 0),
    ("random_get", (OUT, 4), 1),
    ("fd_write", (1, HERE, 1, OUT), 1),
    ("fd_write", (1, HERE, 1, OUT), 3),
    ("fd_read", (0, HERE, 1, OUT), 3),
    ("fd_fdstat_get", (1, OUT), 1),
    ("poll_oneoff", (HERE, OUT, 1, OUT), 0),
    ("poll_oneoff", (HERE, OUT, 1, OUT), 1),
    ("poll_oneoff", (HERE, OUT, 1, OUT), 3),
]


@pytest.mark.parametrize(("name", "operands", "which"), POINTERS)
def test_a_pointer_that_lies_is_a_fault(name: str, operands: tuple[int, ...], which: int) -> None:
    with open_stage(threads=1) as stage, unharmed(stage):
        liar = Probe(stage, environment=[(b"A", b"1")])
        for pointer in BEYOND:
            changed = list(operands)
            changed[which] = pointer
            assert liar.do(step(name, *changed)) == [FAULT], hex(pointer)


def test_every_function_is_there_and_in_a_test() -> None:
    with open_stage(threads=1) as stage:
        Probe(stage)  # it imports them all
    assert len(WASI) == 18
    source = Path(__file__).read_text()
    assert [name for name in WASI if f'step("{name}"' not in source] == []


@pytest.mark.parametrize("name", OUTSIDE_PREVIEW_1)
def test_what_no_agent_has_is_refused_by_name(name: str) -> None:
    wat = f"""(module (import "{WASI_MODULE}" "{name}" (func)) (memory (export "memory") 1)
      (func (export "handle_message") (param i32 i32) (result i32) (i32.const 0)))"""
    with pytest.raises(InvalidWasm, match=f"{WASI_MODULE}.{name}"):
        check(inspect(wat2wasm(wat)), AgentLimits(1 << 20))


def test_the_two_tables_are_all_of_preview_1() -> None:
    assert len({*WASI, *OUTSIDE_PREVIEW_1}) == len(WASI) + len(OUTSIDE_PREVIEW_1) == 46


@pytest.mark.parametrize(
    "vector", [(EDGE - 1, 2), (0, EDGE + 1), ((1 << 32) - 1, 1), (1, (1 << 32) - 1), (1 << 31, 1 << 31)]
)
def test_a_vector_that_lies_is_a_fault_and_what_stood_before_it_is_written(vector: tuple[int, int]) -> None:
    with open_stage(threads=1) as stage, unharmed(stage):
        liar = Probe(stage)
        script = poke(HERE, vectors((0x200, 3), vector)) + poke(0x200, "ok\n") + step("fd_write", 1, HERE, 2, OUT)
        assert liar.do(script) == [FAULT]
        assert stage.lines(liar.port) == ["ok"]


def test_arguments_are_the_agents_name_and_the_environment_comes_from_its_configuration() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage, environment=[(b"MODE", b"test"), (b"EMPTY", b"")])
        sizes = (
            step("args_sizes_get", OUT, OUT + 4),
            step("environ_sizes_get", OUT + 8, OUT + 12),
            step("peek", OUT, 16),
        )
        assert words(agent.do(*sizes)[-1]) == [1, 6, 2, 17]
        *_, pointer, name = agent.do(step("args_get", OUT, OUT + 8), step("peek", OUT, 4), step("peek", OUT + 8, 7))
        assert (words(pointer), name) == ([OUT + 8], b"probe\0\0")
        *_, pointers, text = agent.do(
            step("environ_get", OUT, OUT + 8), step("peek", OUT, 8), step("peek", OUT + 8, 18)
        )
        assert words(pointers) == [OUT + 8, OUT + 18]
        assert text == b"MODE=test\0EMPTY=\0\0"


def test_an_agent_without_an_environment_has_an_empty_one() -> None:
    with open_stage(threads=1) as stage:
        script = step("environ_sizes_get", OUT, OUT + 4), step("environ_get", OUT + 8, OUT + 8), step("peek", OUT, 12)
        assert Probe(stage).do(*script) == [OK, OK, bytes(12)]


def test_clocks_go_on() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        for clock_id in range(4):
            script = (
                step("clock_time_get", clock_id, 0, OUT),
                step("clock_time_get", clock_id, 0, OUT + 8),
                step("peek", OUT, 16),
            )
            first, second = struct.unpack("<QQ", agent.do(*script)[-1])
            assert 0 < first <= second < first + 1_000_000_000
            if clock_id == 0:
                assert abs(first - time.time_ns()) < 5_000_000_000
            resolution = agent.do(step("clock_res_get", clock_id, OUT), step("peek", OUT, 8))[-1]
            assert struct.unpack("<Q", resolution)[0] in range(1, 1_000_001)


def test_random_bytes_fill_what_was_asked_for_and_no_more() -> None:
    with open_stage(threads=1) as stage:
        _, first, _, second = Probe(stage).do(*[step("random_get", OUT, 31) + step("peek", OUT, 33)] * 2)
        assert first[31:] == second[31:] == b"\0\0"
        assert first != second
        assert len(set(first[:31])) > 8


def test_what_is_written_becomes_lines() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        text = b"one\ntwo, and its \0rest\n\nlast"
        agent.do(poke(0x200, text))
        pieces = [(0x200, 2), (0x202, 8), (0x20A, len(text) - 10)]
        written = agent.do(poke(HERE, vectors(*pieces)), step("fd_write", 1, HERE, 3, OUT), step("peek", OUT, 4))
        assert (written[0], words(written[1])) == (OK, [len(text)])
        assert stage.lines(agent.port) == ["one", "two, and its \0rest", ""]
        agent.do(poke(0x300, " one\n"), poke(HERE, vectors((0x300, 5))), step("fd_write", 2, HERE, 1, OUT))
        agent.do(step("fd_write", 1, HERE, 1, OUT))
        assert stage.of(native.EVENT_LOG, agent.port)[3][0] == 2
        assert stage.lines(agent.port)[3:] == [" one", "last one"]


def test_a_line_without_an_end_is_cut_and_nothing_is_lost() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        for _ in range(5):
            agent.do(
                step("fill", 0x200, ord("x"), 1000),
                poke(HERE, vectors((0x200, 1000))),
                step("fd_write", 1, HERE, 1, OUT),
            )
        agent.do(poke(0x200, "\n"), poke(HERE, vectors((0x200, 1))), step("fd_write", 1, HERE, 1, OUT))
        assert [len(line) for line in stage.lines(agent.port)] == [4000, 1000]


def test_the_last_words_of_an_agent_are_a_line() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        script = poke(0x200, "panic: no"), poke(HERE, vectors((0x200, 9))), step("fd_write", 2, HERE, 1, OUT)
        agent.post(*script, step("trap"))
        stage.exit_of(agent.port)
        assert stage.of(native.EVENT_LOG, agent.port)[0][0] == 2
        assert stage.lines(agent.port) == ["panic: no"]


def test_a_write_of_gigabytes_takes_what_a_host_call_may_take() -> None:
    with open_stage(threads=1) as stage, unharmed(stage):
        agent = Probe(stage, memory=2 << 20, log_lines_per_second=10)
        pokes = [poke(0x1000 + i * 8, vectors((0, EDGE))) for i in range(1000)]
        agent.do(*pokes)
        began = time.monotonic()
        code, written = agent.do(step("fd_write", 1, 0x1000, 1000, OUT), step("peek", OUT, 4))
        assert (code, words(written)) == (OK, [65536])
        assert time.monotonic() - began < 1
        assert len(stage.lines(agent.port)) <= 10


def test_a_descriptor_says_what_it_is() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        for descriptor, rights in ((0, 2), (1, 64), (2, 64)):
            code, stat = agent.do(step("fd_fdstat_get", descriptor, OUT), step("peek", OUT, 25))
            assert code == OK
            assert stat == bytes([2]) + bytes(7) + struct.pack("<QQ", rights, 0) + b"\0"


def test_standard_input_is_at_its_end() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        script = (
            poke(OUT, b"\xff" * 4),
            poke(HERE, vectors((0x200, 8))),
            step("fd_read", 0, HERE, 1, OUT),
            step("peek", OUT, 4),
        )
        assert agent.do(*script) == [OK, bytes(4)]


def test_proc_exit_is_a_trap() -> None:
    with open_stage(threads=1) as stage, unharmed(stage):
        agent = Probe(stage)
        agent.post(step("proc_exit", 0))
        assert stage.exit_of(agent.port) == (native.EXIT_TRAP, "the agent called proc_exit")


# -- poll_oneoff -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("clock_id", [0, 1])
def test_a_clock_is_waited_for_without_a_thread(clock_id: int, absolute: bool) -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        now = (time.time_ns if clock_id == 0 else time.monotonic_ns)() if absolute else 0
        began = time.monotonic()
        agent.post(
            polls(clock(clock_id, now + 60_000_000, absolute=absolute)),
            step("peek", OUT, 4),
            step("peek", OUT + 64, 12),
        )
        assert Probe(stage, "other").do() == []
        code, count, event = agent.results()
        assert (code, words(count)) == (OK, [1])
        assert struct.unpack("<QHBx", event) == (7, 0, 0)
        assert 0.055 <= time.monotonic() - began < 2


def test_the_earliest_of_several_clocks_wakes() -> None:
    with open_stage(threads=1) as stage:
        began = time.monotonic()
        script = polls(clock(1, 10**15), clock(1, 20_000_000, userdata=9), clock(1, 10**18)), step("peek", OUT, 4)
        code, count = Probe(stage).do(*script)
        assert (code, words(count)) == (OK, [3])
        assert 0.02 <= time.monotonic() - began < 2


@pytest.mark.parametrize(
    "subscription",
    [
        clock(1, 0),
        clock(1, 1, absolute=True),
        clock(0, 1, absolute=True),
        clock(1, 10**18, tag=1),
        clock(1, 10**18, tag=2),
        clock(1, 10**18, tag=255),
    ],
)
def test_what_is_due_or_no_clock_is_not_waited_for(subscription: bytes) -> None:
    with open_stage(threads=1) as stage:
        assert Probe(stage, timeout=0.5).do(polls(subscription)) == [OK]


@pytest.mark.parametrize("timeout_ns", [-1, 1 << 63, (1 << 63) - 1])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_wait_for_ever_ends_at_the_timeout_of_the_turn(timeout_ns: int, absolute: bool) -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage, timeout=0.03)
        agent.post(polls(clock(1, timeout_ns, absolute=absolute)))
        assert stage.exit_of(agent.port)[0] == native.EXIT_TIMEOUT
