"""Host functions of ABI 1: what they do, and what they answer to guests that lie."""

import random
import re
import time
from pathlib import Path
from typing import Any

import pytest

from caxton._fast import scheduler as native
from caxton.core.wasm_abi import CAXTON
from tests._fast.probe import CALLS, EDGE, Probe, poke, probe, step
from tests._fast.scheduling import both_kinds, open_stage, unharmed

POINTER, NOT_FOUND, ARGUMENT, QUOTA, UNAVAILABLE, FAILED = -100, -101, -102, -103, -104, -105
HERE, OUT = 0x100, 0x30000  # where the tests put what a call reads, and where it writes


def test_the_plain_guest_of_the_thread_check_has_the_same_functions_in_the_same_order() -> None:
    source = Path(__file__).with_name("plain_guest.c").read_text()
    table = source.partition("hosts[] = {")[2].partition("};")[0]
    assert re.findall(r'\{"(\w+)"\}', table) == [name for _, name in CALLS]


def store(key: bytes, value: bytes) -> str:
    return poke(HERE, key + value) + step("store_data", HERE, len(key), HERE + len(key), len(value))


def load(key: bytes, room: int = 16) -> str:
    return poke(HERE, key) + step("load_data", HERE, len(key), OUT, room) + step("peek", OUT, room + 4)


def calls(name: str, request: str, room: int) -> str:
    return poke(HERE, request) + step(name, HERE, len(request), OUT, room) + step("peek", OUT, room + 4)


# -- lies ------------------------------------------------------------------------------------------------------------

# pairs that do not lie inside the memory
OUTSIDE = [
    (EDGE, 1),
    (EDGE - 1, 2),
    (EDGE + 1, 0),
    (0, EDGE + 1),
    (0, 1 << 31),
    (0, (1 << 32) - 1),
    (1, (1 << 32) - 1),
    (1 << 31, 1),
    (1 << 31, 1 << 31),
    ((1 << 32) - 1, 1),
    ((1 << 32) - 1, (1 << 32) - 1),
    (HERE, -1),
    (HERE, -HERE),
]
# the pairs of pointer and length among the parameters of each function
PAIRS = [(name, 2 * pair) for name, call in CAXTON.items() for pair in range(len([*call.params]) // 2)]


@pytest.mark.parametrize(("name", "first"), PAIRS)
def test_a_pointer_that_lies_is_an_error_to_its_guest_alone(name: str, first: int) -> None:
    with open_stage(threads=1) as stage, unharmed(stage):
        liar = Probe(stage)
        for pair in OUTSIDE:
            operands = [HERE, 2] * (len(CAXTON[name].params) // 2)
            operands[first : first + 2] = pair
            results = liar.do(step(name, *operands))
            if not CAXTON[name].results:
                assert results == []
            else:
                assert results == [POINTER], pair
            if name != "last_error":
                assert liar.last_error() == "a pointer and its length reach outside the guest's memory"
        assert not stage.of(native.EVENT_CALL) + stage.of(native.EVENT_LOG) + stage.of(native.EVENT_SUBSCRIBE)


@pytest.mark.parametrize(("name", "first"), PAIRS)
def test_the_last_byte_of_the_memory_may_be_used(name: str, first: int) -> None:
    with open_stage(threads=1) as stage, unharmed(stage):
        guest = Probe(stage, timeout=0.1)
        for pair in [(EDGE - 1, 1), (EDGE, 0), (EDGE - 64, 64)]:
            operands = [HERE, 2] * (len(CAXTON[name].params) // 2)
            operands[first : first + 2] = pair
            if name in ("mcp_call", "memory_search"):
                guest.post(step(name, *operands))
                call, _ = stage.wait_for(native.EVENT_CALL, guest.port, len(stage.of(native.EVENT_CALL)) + 1)
                stage.scheduler.complete_call(guest.port, call, b"")
                assert guest.results() == [0]
            else:
                assert guest.do(step(name, *operands)) != [POINTER]


def test_random_operands_harm_nobody() -> None:
    rng = random.Random(1)
    interesting = [0, 1, 2, HERE, OUT, EDGE - 1, EDGE, EDGE + 1, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]
    names = [name for name in CAXTON if name not in ("sleep_micros", "mcp_call", "memory_search")]
    with open_stage() as stage, unharmed(stage):
        liar = Probe(stage, log_lines_per_second=10)
        for _ in range(100):
            script = []
            for _ in range(20):
                name = rng.choice(names)
                operands = [rng.choice(interesting) for _ in CAXTON[name].params]
                script.append(step(name, *operands))
            liar.do(*script)
        assert not stage.of(native.EVENT_EXITED)


@pytest.mark.parametrize("module", ["caxton", "env"])
def test_the_functions_have_two_module_names(module: str) -> None:
    with open_stage(threads=1) as stage:
        stage.seat("probe", probe(module))
        me = stage.host()
        stage.send("probe", "#" + step("random_u32") + step("end"))
        assert len(stage.receive(me)[0].as_dict()["content"]) == 2


# -- subscriptions, logs, time, chance ------------------------------------------------------------------------------


@both_kinds
def test_a_subscription_is_handed_to_the_platform_as_it_was_written() -> None:
    text = '{"topics":["orders.*"],"content":{"total":{"gte":100}}}'
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        assert agent.do(poke(HERE, text), step("subscribe_messages", HERE, len(text))) == [0]
        assert stage.wait_for(native.EVENT_SUBSCRIBE, agent.port) == (0, text.encode())
        assert agent.call("subscribe_messages", HERE + 1, len(text) - 1) == ARGUMENT
        assert agent.call("subscribe_messages", HERE, 0) == ARGUMENT
        agent.do(step("fill", 0, ord("{"), 0x10000))
        assert agent.call("subscribe_messages", 0, 0x10001) == ARGUMENT


def test_lines_go_to_two_streams_and_bad_text_is_made_readable() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        before = time.time() * 1e6
        agent.do(poke(HERE, b"gr\xc3\xbc\xff"), step("console_log", HERE, 4), step("console_error", HERE, 5))
        agent.do(step("fill", 0, ord("x"), 20_000), step("console_log", 0, 20_000))
        (first, second, long) = stage.of(native.EVENT_LOG, agent.port)
        assert (first[0], first[1][0]) == (1, "grü")
        assert (second[0], second[1][0]) == (2, "grü�")
        assert long[1][0] == "x" * 8192
        assert before <= first[1][1] <= time.time() * 1e6


@both_kinds
def test_what_the_rate_of_lines_leaves_out_is_counted() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage, log_lines_per_second=2)
        agent.do(poke(HERE, "hello"), step("console_log", HERE, 5) * 5)
        assert stage.lines(agent.port) == ["hello"] * 2
        agent.do(step("sleep_micros", 1_000_000), step("console_log", HERE, 5))
        assert stage.lines(agent.port)[2].startswith("(3 lines left out")
        assert stage.lines(agent.port)[3] == "hello"


@both_kinds
def test_time_and_chance() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        before = time.time() * 1e6
        first, second, *numbers = agent.do(step("current_timestamp") * 2, step("random_u32") * 20)
        assert before - 1 <= first <= second <= time.time() * 1e6
        assert len(set(numbers)) == 20
        assert all(-(1 << 31) <= number < 1 << 31 for number in numbers)


@both_kinds
def test_the_last_error_stays_until_the_next_and_is_cut_to_its_room() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        assert agent.call("last_error", OUT, 10) == 0
        text = "no value is stored under this key"
        agent.do(load(b"k"))
        length, cut = agent.do(step("last_error", OUT, 8), step("peek", OUT, 9))
        assert (length, cut) == (len(text), text[:8].encode() + b"\0")
        assert agent.last_error() == text


@both_kinds
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("no beans left, Zoë", "no beans left, Zoë"),
        ("", ""),
        ("é" * 120, "é" * 120),
        ("x" + "é" * 120, "x" + "é" * 119),  # 241 bytes: no half of a character
    ],
)
def test_a_guest_says_why_it_refuses_a_message(given: str, told: str) -> None:
    refuse_with(given.encode(), told)


def test_a_reason_that_is_no_text_is_made_readable() -> None:
    refuse_with(b"\xff", "\ufffd")


def refuse_with(text: bytes, told: str) -> None:
    with open_stage(threads=1) as stage, unharmed(stage):
        agent = Probe(stage)
        agent.post(poke(HERE, text), step("set_error", HERE, len(text)), step("refuse"))
        _, found = stage.wait_for(native.EVENT_UNDELIVERED, agent.port)
        assert (found[0].as_dict()["receiver"], found[1]) == ("probe", told)


# -- timers ----------------------------------------------------------------------------------------------------------


@both_kinds
def test_timers_are_numbered_and_told_when_the_turn_is_done() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage, next_timer=7)
        before = time.time() * 1e6
        assert agent.do(step("set_timer", 0), step("set_timer", 1_000_000), step("cancel_timer", 7)) == [7, 8, 0]
        stage.wait_for(native.EVENT_TIMER, agent.port, 3)  # told when the turn is done, and that is after its answer
        (first, second, third) = stage.of(native.EVENT_TIMER, agent.port)
        assert (first[0], second[0], third) == (7, 8, (7, 0))
        assert before <= first[1] <= second[1] - 1_000_000 <= time.time() * 1e6


@both_kinds
@pytest.mark.parametrize(
    ("call", "operand"),
    [
        ("set_timer", -1),
        ("set_timer", 31_536_000_000_001),
        ("set_timer", 1 << 63),
        ("cancel_timer", 0),
        ("cancel_timer", -1),
    ],
)
def test_a_timer_out_of_bounds_is_an_error(call: str, operand: int) -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        assert agent.call(call, operand) == ARGUMENT
        assert "timer" in agent.last_error()
        assert not stage.of(native.EVENT_TIMER)
        assert agent.call("set_timer", 31_536_000_000_000) == 1


@both_kinds
def test_timers_of_one_turn_have_a_bound() -> None:
    with open_stage(threads=1, max_message_size=1 << 20) as stage:
        agent = Probe(stage)
        for i in range(5):
            assert agent.do(step("set_timer", 1000) * 1000) == list(range(1 + 1000 * i, 1001 + 1000 * i))


@both_kinds
def test_a_timer_that_fires_is_a_turn_and_waits_for_an_instance() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        stage.scheduler.fire_timer(agent.port, 5)
        assert agent.do(step("peek", 0x38000, 5)) == [bytes([5, 0, 0, 0, 1])]
        stage.scheduler.drop(agent.port)
        stage.exit_of(agent.port)
        stage.scheduler.fire_timer(agent.port, 6)
        stage.scheduler.fire_timer(agent.port, 7)
        stage.start(agent.port, probe())
        assert agent.do(step("peek", 0x38000, 5)) == [bytes([7, 0, 0, 0, 2])]


# -- state -----------------------------------------------------------------------------------------------------------


@both_kinds
def test_what_a_turn_stores_it_loads_and_the_platform_is_told() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage, state=[(b"old", b"1"), (b"older", b"2")])
        assert agent.do(load(b"old", 1), store(b"new", b"\0\xff"), load(b"new", 3)) == [
            1,
            b"1\0\0\0\0",
            0,
            2,
            b"\0\xff" + bytes(5),
        ]
        assert agent.do(poke(HERE, "older"), step("delete_data", HERE, 5), load(b"older")[:])[:2] == [0, NOT_FOUND]
        stage.wait_for(native.EVENT_STATE, agent.port, 2)
        assert [b for _, b in stage.of(native.EVENT_STATE, agent.port)] == [[(b"new", b"\0\xff")], [(b"older", None)]]
        assert agent.do(poke(HERE, "older"), step("delete_data", HERE, 5)) == [NOT_FOUND]
        assert stage.scheduler.statistics(agent.port).state_bytes == len(b"old1new") + 2


@both_kinds
def test_a_value_longer_than_its_room_says_how_long_it_is_and_writes_no_more() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage, state=[(b"k", b"0123456789")])
        agent.do(step("fill", OUT, 0xEE, 16))
        assert agent.do(load(b"k", 4)) == [10, b"0123\xee\xee\xee\xee"]


@both_kinds
@pytest.mark.parametrize(("length", "code"), [(0, ARGUMENT), (1, 0), (256, 0), (257, ARGUMENT), (0x10000, ARGUMENT)])
def test_keys_have_1_to_256_bytes(length: int, code: int) -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        assert agent.call("store_data", 0, length, 0, 0) == code
        if code:
            assert "1 to 256" in agent.last_error()


@both_kinds
def test_the_quota_is_what_base_and_turn_hold_together() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage, state_quota=20)
        assert agent.do(store(b"a", b"x" * 19)) == [0]
        assert agent.do(store(b"b", b""), store(b"a", b"y" * 20), store(b"a", b"z" * 10), store(b"b", b"")) == [
            QUOTA,
            QUOTA,
            0,
            0,
        ]
        agent.do(store(b"c", b"x" * 100))
        assert "quota" in agent.last_error()


# -- calls that take long --------------------------------------------------------------------------------------------


@both_kinds
def test_an_agent_that_sleeps_leaves_its_thread_to_others() -> None:
    with open_stage(threads=1) as stage:
        sleeper = Probe(stage, "sleeper")
        sleeper.post(poke(HERE, "x"), step("console_log", HERE, 1), step("sleep_micros", 3_600_000_000))
        stage.wait_for(native.EVENT_LOG)
        assert Probe(stage, "other").do() == []
        assert stage.scheduler.statistics(sleeper.port).state == "waiting"


@both_kinds
def test_an_agent_that_sleeps_wakes() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        began = time.monotonic()
        assert len(agent.do(step("sleep_micros", 30_000) * 2, step("random_u32"))) == 1
        assert 0.06 <= time.monotonic() - began < 2


@both_kinds
@pytest.mark.parametrize("delay", [0, -1, 1 << 63])
def test_a_sleep_of_nothing_is_none(delay: int) -> None:
    with open_stage(threads=1) as stage:
        assert Probe(stage, timeout=0.5).do(step("sleep_micros", delay)) == []


@both_kinds
def test_a_sleep_beyond_the_timeout_is_stopped_there() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage, timeout=0.05)
        began = time.monotonic()
        agent.post(step("sleep_micros", (1 << 63) - 1))
        assert stage.exit_of(agent.port)[0] == native.EXIT_TIMEOUT
        assert 0.05 <= time.monotonic() - began < 2


@both_kinds
@pytest.mark.parametrize("name", ["mcp_call", "memory_search"])
def test_a_slow_call_is_an_event_and_its_answer_comes_back(name: str) -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        agent.post(calls(name, '{"tool":"x"}', 8))
        call, (called, request, message) = stage.wait_for(native.EVENT_CALL, agent.port)
        assert (called, request) == (name, b'{"tool":"x"}')
        assert message.receiver == "probe"  # what the guest handles meanwhile
        assert Probe(stage, "other").do() == []  # the only thread is free
        stage.scheduler.complete_call(agent.port, call, b"done")
        assert agent.results() == [4, b"done" + bytes(8)]


@both_kinds
@pytest.mark.parametrize("size", [1, 8, 9, 100, 101, 104, 105, 1024, 1025, 5000])
def test_an_answer_longer_than_its_room_is_never_a_code_and_writes_nothing(size: int) -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        agent.do(step("fill", OUT, 0xEE, size))
        agent.post(poke(HERE, "{}"), step("mcp_call", HERE, 2, OUT, size - 1), step("peek", OUT, size))
        stage.scheduler.complete_call(agent.port, stage.wait_for(native.EVENT_CALL)[0], b"a" * size)
        assert agent.results() == [-max(size, 1024), b"\xee" * size]
        assert "too short" in agent.last_error()


def test_an_answer_that_did_not_fit_is_kept_for_who_asks_the_same_again() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        agent.post(*(calls("mcp_call", "{}", room) for room in (2, 7, 8, 8)), calls("memory_search", "{}", 8))
        for number, answer in enumerate([b"8 bytes!", b"another", b"found"], 1):
            stage.scheduler.complete_call(agent.port, stage.wait_for(native.EVENT_CALL, count=number)[0], answer)
        results = [result for result in agent.results() if isinstance(result, int)]
        assert results == [-1024, -1024, 8, 7, 5]  # three calls: one that was asked three times, one again, a search
        # another request, another function, and another turn are other calls
        agent.post(calls("mcp_call", "{}", 2), calls("mcp_call", "[]", 8), calls("mcp_call", "{}", 2))
        for number, answer in enumerate([b"8 bytes!", b"other", b"8 bytes!"], 4):
            stage.scheduler.complete_call(agent.port, stage.wait_for(native.EVENT_CALL, count=number)[0], answer)
        assert agent.results()[::2] == [-1024, 5, -1024]
        agent.post(calls("mcp_call", "{}", 8))
        stage.scheduler.complete_call(agent.port, stage.wait_for(native.EVENT_CALL, count=7)[0], b"new turn")
        assert agent.results() == [8, b"new turn" + bytes(4)]


@both_kinds
@pytest.mark.parametrize(
    ("code", "number"), [("unavailable", UNAVAILABLE), ("failed", FAILED), ("invalid-argument", ARGUMENT)]
)
def test_a_call_that_failed_is_a_code_and_a_sentence(code: Any, number: int) -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        agent.post(calls("mcp_call", "{}", 8))
        call, _ = stage.wait_for(native.EVENT_CALL)
        stage.scheduler.complete_call(agent.port, call, b"", "no such tool: ü" + "!" * 300, code)
        assert agent.results()[0] == number
        assert agent.last_error().startswith("no such tool: ü!!!")


@both_kinds
def test_the_timeout_of_a_call_holds_though_others_were_answered_before() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage, timeout=0.15)
        for turn in range(3):
            began = time.monotonic()
            agent.post(calls("mcp_call", "{}", 8) * 2)
            for _ in range(2 if turn < 2 else 1):
                call, _ = stage.wait_for(native.EVENT_CALL, agent.port, len(stage.of(native.EVENT_CALL)) + 1)
                stage.scheduler.complete_call(agent.port, call, b"")
            if turn < 2:
                agent.results()
        assert stage.exit_of(agent.port)[0] == native.EXIT_TIMEOUT
        assert 0.15 <= time.monotonic() - began < 2


@both_kinds
def test_answers_that_nobody_waits_for_are_ignored() -> None:
    with open_stage() as stage, unharmed(stage):
        agent = Probe(stage)
        agent.post(calls("mcp_call", "{}", 8), calls("mcp_call", "{}", 8))
        call, _ = stage.wait_for(native.EVENT_CALL, agent.port)
        stage.scheduler.complete_call(agent.port, call + 1, b"wrong")
        stage.scheduler.complete_call(agent.port, call, b"one")
        stage.scheduler.complete_call(agent.port, call, b"twice")
        again, _ = stage.wait_for(native.EVENT_CALL, agent.port, 2)
        stage.scheduler.complete_call(agent.port, call, b"late")
        stage.scheduler.complete_call(agent.port, again, b"two")
        assert [result for result in agent.results() if isinstance(result, int)] == [3, 3]
        stage.scheduler.complete_call(agent.port, again, b"idle")
        agent.post(calls("mcp_call", "{}", 8))
        last, _ = stage.wait_for(native.EVENT_CALL, agent.port, 3)
        stage.scheduler.drop(agent.port)
        stage.scheduler.complete_call(agent.port, last, b"x" * 100_000)
        stage.exit_of(agent.port)
        stage.scheduler.complete_call(agent.port, last, b"gone")
        stage.scheduler.close_port(agent.port)
        stage.scheduler.complete_call(agent.port, last, b"closed")


@both_kinds
@pytest.mark.slow
def test_an_answer_that_races_the_park_is_never_lost() -> None:
    with open_stage() as stage:
        agents = [Probe(stage, f"p{i}") for i in range(4)]
        by_port = {agent.port: agent for agent in agents}
        rounds, answered = 50, 0
        for agent in agents:
            agent.post(*[calls("mcp_call", "{}", 8)] * rounds)
        while answered < rounds * len(agents):
            seen = len(stage.events)
            stage.until(lambda: len(stage.events) > seen)  # noqa: B023
            for kind, port, call, _ in stage.events[seen:]:
                if kind == native.EVENT_CALL:
                    stage.scheduler.complete_call(port, call, b"ok")
                    answered += 1
        for agent in by_port.values():
            assert agent.results() == [2, b"ok" + bytes(10)] * rounds


@both_kinds
def test_a_request_larger_than_a_message_is_refused() -> None:
    with open_stage(threads=1, max_message_size=4096) as stage:
        agent = Probe(stage)
        assert agent.call("mcp_call", 0, 4097, OUT, 8) == ARGUMENT
        assert "longer" in agent.last_error()
