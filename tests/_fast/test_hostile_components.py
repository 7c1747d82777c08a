"""Components that lie where core modules cannot: in the values that are handed over, and around them.

Each ends alone, or is refused: the neighbours answer, and nothing is left over. docs/security.md names this file.
"""

import time

import pytest

from caxton._fast import scheduler as native
from caxton._fast.wasm.component import Component
from caxton._fast.wasm.module import wat2wasm
from caxton.core.errors import InvalidWasm
from tests._fast.components import MIB, Guest, build, engine, refuse, text
from tests._fast.scheduling import open_stage, unharmed

SPIN = "(loop $ever (br $ever))"
HANDS = "(call $int (i32.const 1))"


def compiled(wat: str, memories: int = 1) -> Component:
    return Component.compile(engine(), wat2wasm(wat), memories)


def end_of(component: Component, *, timeout: float = 10.0) -> tuple[int, str]:
    """How an agent ends that gets one message, and what is said of it; a neighbour does not notice."""
    with open_stage(threads=1) as stage, unharmed(stage):
        port = stage.seat("guest", component, memory=MIB, timeout=timeout, ready=False)
        stage.send("guest")
        return stage.exit_of(port)


# -- memory that the host asks for -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason", "said"),
    [
        ("(return (i32.const -16))", native.EXIT_TRAP, "realloc return: beyond end of memory"),
        ("(return (i32.const 0x40000))", native.EXIT_TRAP, "realloc return: beyond end of memory"),
        ("(return (i32.const 0x7fffffff))", native.EXIT_TRAP, "realloc return: beyond end of memory"),
        ("(unreachable)", native.EXIT_TRAP, "unreachable executed, in function"),
        (SPIN, native.EXIT_TIMEOUT, "timeout"),
        ("(drop (memory.grow (i32.const -1))) (drop (i32.load (i32.const -4)))", native.EXIT_TRAP, "out of bounds"),
    ],
)
def test_an_allocator_that_lies_ends_its_component(code: str, reason: int, said: str) -> None:
    found, words = end_of(build(Guest(HANDS, alloc=code)), timeout=0.1 if code == SPIN else 10.0)
    assert found == reason
    assert said in words


def test_a_result_that_is_put_at_an_odd_place_is_a_trap() -> None:
    odd = "(if (i32.eq (local.get $align) (i32.const 4)) (then (return (i32.const 0x20001))))"
    calls = ("environment.get-environment",)
    component = build(Guest("(call $environment.get-environment (i32.const 0x1000))", calls, alloc=odd))
    with open_stage(threads=1) as stage, unharmed(stage):
        port = stage.seat("guest", component, memory=MIB, environment=((b"A", b"b"),))
        stage.send("guest")
        code, said = stage.exit_of(port)
    assert code == native.EXIT_TRAP
    assert "not aligned" in said


def test_a_message_larger_than_the_memory_ends_the_component_and_comes_back() -> None:
    with open_stage(threads=1) as stage, unharmed(stage):
        port = stage.seat("guest", build(Guest(HANDS)), memory=5 << 16)
        stage.send("guest", "x" * 300_000)
        code, said = stage.exit_of(port)
        assert (code, "beyond end of memory" in said) == (native.EXIT_TRAP, True)
        _, (message, _) = stage.wait_for(native.EVENT_UNDELIVERED, port)
        assert len(message.as_dict()["content"]) == 300_000


def test_what_the_host_asks_may_not_call_the_host() -> None:
    """While values are handed over, a component may not leave: no host function runs inside another."""
    wat = text(Guest(HANDS, ("clock.now",), alloc="(drop (call $now))"))
    wat = wat.replace("(core module $frame", '(core module $frame (import "e" "now" (func $now (result i64)))', 1)
    wat = wat.replace(
        "(core instance $frame (instantiate $frame))",
        '(core instance $frame (instantiate $frame (with "e" (instance (export "now" (func $early))))))',
    )
    at = wat.index("(core module $frame")
    wat = wat[:at] + '(core func $early (canon lower (func $clock "now")))' + wat[at:]
    code, said = end_of(compiled(wat))
    assert (code, "cannot leave component instance" in said) == (native.EXIT_TRAP, True)


@pytest.mark.parametrize(
    ("code", "reason", "said"),
    [
        ("(unreachable)", native.EXIT_TRAP, "unreachable"),
        (SPIN, native.EXIT_TIMEOUT, "timeout"),
        ("(drop (call $clock.now))", native.EXIT_TRAP, "cannot leave component instance"),
    ],
)
def test_what_runs_after_the_answer_is_held_to_the_same(code: str, reason: int, said: str) -> None:
    guest = Guest(HANDS, ("clock.now",), core=f'(func (export "post") (param i32) {code})')
    wat = text(guest).replace(
        '(canon lift (core func $main "handle-message")',
        '(canon lift (core func $main "handle-message") (post-return (core func $main "post"))',
    )
    found, words = end_of(compiled(wat), timeout=0.1 if code == SPIN else 10.0)
    assert (found, said in words) == (reason, True)


# -- values that are handed over -------------------------------------------------------------------------------------

SEND = "(call $messaging.send (i32.const {}) (i32.const {}) (i32.const 0x1000))"
STORE = "(call $state.store-bytes (i32.const 0) (i32.const 1) (i32.const {}) (i32.const {}) (i32.const 0x1000))"
POLL = "(call $poll.poll (i32.const {}) (i32.const {}) (i32.const 0x1000))"
LENGTHS = [(0, -1), (1, -1), (-1, 1), (0x40000, 1), (0x3FFFF, 2), (0, 0x40001), (1 << 31, 1 << 31), (8, 1 << 30)]


@pytest.mark.parametrize(("at", "length"), LENGTHS)
@pytest.mark.parametrize(
    ("call", "name"), [(SEND, "messaging.send"), (STORE, "state.store-bytes"), (POLL, "poll.poll")], ids=["s", "l", "r"]
)
def test_a_value_that_is_not_in_the_memory_is_a_trap(call: str, name: str, at: int, length: int) -> None:
    code, said = end_of(build(Guest(call.format(at & -4 if call is POLL else at, length), (name,), data={0: "k"})))
    assert code == native.EXIT_TRAP
    assert "bounds" in said or "hostcalls" in said


@pytest.mark.parametrize(
    ("encoding", "data", "length", "said"),
    [
        ("utf16", "h\\00i\\00", 2, "0 hi"),
        ("utf16", "\\00\\d8a\\00", 2, "unpaired surrogate"),
        ("utf16", "h\\00i\\00", 1 << 30, "bounds"),
        ("latin1+utf16", "Zo\\eb", 3, "0 Zoë"),
        ("latin1+utf16", "h\\00i\\00", 2 | 1 << 31, "0 hi"),
        ("latin1+utf16", "h\\00i\\00", -1, "bounds"),
        ("latin1+utf16", "\\00\\dc", 1 | 1 << 31, "unpaired surrogate"),
    ],
)
def test_other_encodings_are_read_or_a_trap(encoding: str, data: str, length: int, said: str) -> None:
    """A tool's request in them: the host has it as UTF-8."""
    call = f"""(call $tools.call-tool (i32.const 16) (i32.const {length}) (i32.const 0x1000))
      (call $int (i32.load8_u (i32.const 0x1000)))"""
    wat = text(Guest(call, ("tools.call-tool",), data={16: "@"})).replace('"@"', f'"{data}"')
    begin = wat.index('(canon lower (func $tools "call-tool")')
    wat = wat[:begin] + wat[begin:].replace("string-encoding=utf8", f"string-encoding={encoding}", 1)
    with open_stage(threads=1) as stage, unharmed(stage) as me:
        port = stage.seat("guest", compiled(wat), memory=MIB)
        stage.send("guest", sender="visitor")
        if not said.startswith("0 "):
            assert said in stage.exit_of(port)[1]
            return
        call_id, (_, request, *_) = stage.wait_for(native.EVENT_CALL, port)
        assert request.decode() == said[2:]
        stage.scheduler.complete_call(port, call_id, "Zoë 𝄞".encode())
        assert stage.receive(me)[0].as_dict()["content"] == "0"


@pytest.mark.parametrize("words", ["é" * 120, "x" + "é" * 120, "x" * 239 + "𝄞", "x" * 1000])
def test_an_error_is_cut_before_half_a_character(words: str) -> None:
    with open_stage(threads=1) as stage:
        port = stage.seat("guest", build(Guest(refuse(words))), memory=MIB)
        stage.send("guest")
        _, (_, said) = stage.wait_for(native.EVENT_UNDELIVERED, port)
    assert said == words.encode()[:240].decode(errors="ignore")


def test_an_answer_longer_than_a_message_is_refused_and_the_agent_lives() -> None:
    body = """(memory.fill (i32.const 0x8001) (i32.const 120) (i32.const 0x5000))
      (global.set $out (i32.const 0xd001))"""
    with open_stage(threads=1, max_message_size=4096) as stage, unharmed(stage):
        port = stage.seat("guest", build(Guest(body)), memory=MIB)
        for count in (1, 2):
            stage.send("guest")
            code, (_, said) = stage.wait_for(native.EVENT_UNDELIVERED, port, count)
            assert (code, "longer than the largest message" in said) == (native.EXIT_REFUSED, True)


def test_capabilities_beyond_their_bound_are_a_failed_start() -> None:
    declare = """(i32.store8 (i32.const 0x7000) (i32.const 1)) (i32.store (i32.const 0x7004) (i32.const 0))
      (i32.store (i32.const 0x7008) (i32.const 65537)) (i32.const 0x7000)"""
    code, said = end_of(build(Guest(HANDS, exports={"get-capabilities": declare})))
    assert (code, "more than 65536 bytes" in said) == (native.EXIT_INIT, True)


def test_a_line_as_long_as_the_memory_is_cut() -> None:
    body = """(drop (memory.grow (i32.const 200))) (memory.fill (i32.const 0) (i32.const 120) (i32.const 0xc00000))
      (call $log.info (i32.const 0) (i32.const 0xc00000))"""
    with open_stage(threads=1) as stage:
        port = stage.seat("guest", build(Guest(body, ("log.info",))), memory=16 * MIB)
        stage.send("guest")
        stage.watch(lambda: stage.scheduler.statistics(port).handled == 1)
        stage.wait_for(native.EVENT_LOG, port)
        assert [len(line) for line in stage.lines(port)] == [8192]


# -- resources -------------------------------------------------------------------------------------------------------

INSTANT = "(call $monotonic.subscribe-instant (i64.const 1))"
CLOCK = ("monotonic.subscribe-instant", "poll.poll", "poll.[method]pollable.ready")
OUTPUT = ("stdout.get-stdout", "streams.[method]output-stream.check-write")
MISUSED = {
    "a pollable is dropped twice": (
        f"(local.set $i {INSTANT}) (call $pollable.drop (local.get $i)) (call $pollable.drop (local.get $i))",
        CLOCK,
        "pollable",
        "unknown handle",
    ),
    "a stream is dropped twice": (
        """(local.set $i (call $stdout.get-stdout)) (call $output.drop (local.get $i))
        (call $output.drop (local.get $i))""",
        OUTPUT,
        "output",
        "unknown handle",
    ),
    "a stream that was dropped": (
        """(local.set $i (call $stdout.get-stdout)) (call $output.drop (local.get $i))
        (call $streams.output-stream.check-write (local.get $i) (i32.const 0x1000))""",
        OUTPUT,
        "output",
        "unknown handle",
    ),
    "a stream in the place of a pollable": (
        "(drop (call $poll.pollable.ready (call $stdout.get-stdout)))",
        (*OUTPUT, *CLOCK),
        "output",
        "handle index 1 used with the wrong type",
    ),
    "a stream is dropped as a pollable": (
        "(call $pollable.drop (call $stdout.get-stdout))",
        (*OUTPUT, *CLOCK),
        "pollable",
        "handle index 1 used with the wrong type",
    ),
    "poll with one that was dropped": (
        f"""(i32.store (i32.const 0) {INSTANT}) (i32.store (i32.const 4) {INSTANT})
        (call $pollable.drop (i32.load (i32.const 4)))
        (call $poll.poll (i32.const 0) (i32.const 2) (i32.const 0x1000))""",
        CLOCK,
        "pollable",
        "unknown handle",
    ),
    "streams without end": (
        "(loop $more (drop (call $stdout.get-stdout)) (br $more))",
        OUTPUT,
        "output",
        "handle limit",
    ),
    "poll of too many": (
        f"""(local.set $i {INSTANT})
        (loop $more (i32.store (i32.shl (local.get $j) (i32.const 2)) (local.get $i))
          (local.set $j (i32.add (local.get $j) (i32.const 1)))
          (br_if $more (i32.le_u (local.get $j) (i32.const 1024))))
        (call $poll.poll (i32.const 0) (i32.const 1025) (i32.const 0x2000))""",
        CLOCK,
        "pollable",
        "1 to 1024 pollables",
    ),
}


@pytest.mark.parametrize("what", MISUSED)
def test_a_resource_that_is_misused_is_a_trap(what: str) -> None:
    body, calls, drop, said = MISUSED[what]
    code, words = end_of(build(Guest(body, calls, (drop,))))
    assert (code, said in words) == (native.EXIT_TRAP, True), words


def test_resources_of_its_own_have_a_bound_too() -> None:
    own = "(type $mine (resource (rep i32))) (core func $new (canon resource.new $mine))"
    wat = text(Guest("(loop $more (drop (call $new (i32.const 1))) (br $more))", extra=own))
    wat = wat.replace('(with "h" (instance ))', '(with "h" (instance (export "new" (func $new))))')
    wat = wat.replace('(import "m" "at"', '(import "h" "new" (func $new (param i32) (result i32))) (import "m" "at"')
    with open_stage(threads=1) as stage, unharmed(stage):
        port = stage.seat("guest", compiled(wat), memory=MIB, timeout=10)
        stage.send("guest")
        code, said = stage.exit_of(port)
    assert (code, "handle limit" in said) == (native.EXIT_TRAP, True), said


@pytest.mark.parametrize("count", [1024, 1025])
def test_so_many_pollables_and_no_more(count: int) -> None:
    body = f"""(loop $more (drop {INSTANT}) (local.set $j (i32.add (local.get $j) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $j) (i32.const {count})))) (call $int (local.get $j))"""
    with open_stage(threads=1) as stage:
        stage.host()
        port = stage.seat("guest", build(Guest(body, CLOCK)), memory=MIB)
        stage.send("guest")
        if count == 1024:
            stage.watch(lambda: stage.scheduler.statistics(port).handled == 1)
        else:
            assert "1024 at a time" in stage.exit_of(port)[1]


def test_the_same_pollable_many_times_is_one() -> None:
    body = f"""(local.set $i {INSTANT})
      (loop $more (i32.store (i32.shl (local.get $j) (i32.const 2)) (local.get $i))
        (local.set $j (i32.add (local.get $j) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $j) (i32.const 1024))))
      (call $poll.poll (i32.const 0) (i32.const 1024) (i32.const 0x2000)) (call $int (i32.load (i32.const 0x2004)))"""
    with open_stage(threads=1) as stage:
        me = stage.host()
        stage.seat("guest", build(Guest(body, CLOCK)), memory=MIB)
        assert stage.ask(me, "guest")["content"] == "1024"


@pytest.mark.slow
def test_a_million_pollables_that_are_dropped_leave_nothing() -> None:
    body = f"""(loop $more (call $pollable.drop {INSTANT}) (local.set $j (i32.add (local.get $j) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $j) (i32.const 1000000)))) (call $int (local.get $j))"""
    with open_stage(threads=1) as stage:
        me = stage.host()
        port = stage.seat("guest", build(Guest(body, CLOCK, ("pollable",))), memory=MIB, timeout=60)
        stage.send("guest", sender="me")
        assert stage.receive(me, within=60)[0].as_dict()["content"] == "1000000"
        assert not stage.of(native.EVENT_EXITED, port)


# -- what it is made of ----------------------------------------------------------------------------------------------


def test_one_module_many_times_has_the_memory_of_one_agent() -> None:
    """The limit is shared out by the modules; who makes more instances of one has no more."""
    again = "(core instance (instantiate $frame))"
    wat = text(Guest(HANDS)).replace(
        "(core instance $frame (instantiate $frame))", again + "\n(core instance $frame (instantiate $frame))"
    )
    code, said = end_of(compiled(wat))
    assert (code, "memory count too high" in said) == (native.EXIT_INIT, True), said


def test_more_core_instances_than_there_is_room_for_are_a_refusal() -> None:
    many = "(core module $nothing)" + "(core instance (instantiate $nothing))" * 200
    with pytest.raises(InvalidWasm, match="instances"):
        Component.compile(engine(), wat2wasm(text(Guest(HANDS, extra=many))))


@pytest.mark.parametrize(
    ("declaration", "said"),
    [
        ('(import "f" (func (param "x" (stream u8))))', "stream"),
        ('(import "f" (func (result (future u8))))', "future"),
        ('(import "f" (func async))', "async"),
        ("(core func (canon task.cancel))", "async"),
        ("(core func (canon error-context.drop))", "error"),
        ("(core func (canon thread.yield))", "async"),
        ("(core module (memory i64 1))", "memory64"),
        ("(core module (memory 1 1 shared))", "thread"),
        ("(core module (memory 1) (memory 1))", "multi"),
        ("(core module (type (struct)))", "gc"),
        ("(core module (tag))", "exceptions"),
    ],
)
def test_what_components_may_not_be_made_of_does_not_compile(declaration: str, said: str) -> None:
    with pytest.raises(InvalidWasm) as caught:
        Component.compile(engine(), wat2wasm(text(Guest(HANDS, extra=declaration))))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("declaration", "said"),
    [
        ('(import "a:b/c" (instance {}))', "interface `a:b/c` has 1025 functions and types; 1024 are allowed"),
        ("{}", "imports 1025 interfaces and functions; 1024 are allowed"),
    ],
)
def test_more_functions_than_anybody_needs_are_refused_at_once(declaration: str, said: str) -> None:
    """The engine walks its list from the start for each of them: 50,000 held the server for a minute."""
    word = "export" if "instance" in declaration else "import"
    many = declaration.format("".join(f'({word} "f{n}" (func))' for n in range(1025)))
    with pytest.raises(InvalidWasm, match=said):
        Component.compile(engine(), wat2wasm(text(Guest(HANDS, extra=many))))


def test_names_longer_than_anybody_needs_are_refused() -> None:
    long = f'(import "{"ab-" * 399}abc" (func))'
    with pytest.raises(InvalidWasm, match="a name of 1200 bytes; 512 are allowed"):
        Component.compile(engine(), wat2wasm(text(Guest(HANDS, extra=long))))


def test_types_within_types_are_read_in_a_moment() -> None:
    doubling = "(type $t0 (tuple u8 u8))" + "".join(f"(type $t{n} (tuple $t{n - 1} $t{n - 1}))" for n in range(1, 15))
    doubling += '(import "a:b/c" (instance (alias outer 1 $t14 (type $x)) (export "f" (func (param "a" $x)))))'
    began = time.monotonic()
    assert Component.compile(engine(), wat2wasm(text(Guest(HANDS, extra=doubling)))).outside == ("a:b/c",)
    assert time.monotonic() - began < 2
