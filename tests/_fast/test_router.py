"""The native address book beside its twin in dicts.

Where the rules leave a choice (one of several replicas), the native answer must be one of the answers that the twin
allows; what the choice is bound to (rule 5) has tests of its own, which the twin's choice passes too.
"""

# Over 500 lines: one kind of address after another, all on the same two routers.

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from caxton._fast.envelope import Envelope
from caxton._fast.router import Router
from caxton.core.errors import AgentAlreadyExists, AgentNotFound, InvalidRequest
from caxton.core.performatives import ACT_CODES
from tests._fast.scheduling import open_stage, sender_guest
from tests.oracles import router as oracle

both = pytest.mark.parametrize("make", [Router, oracle.Router], ids=["native", "twin"])
Book = type[Router] | type[oracle.Router]

INFORM = 1 << ACT_CODES["inform"]
REQUEST = 1 << ACT_CODES["request"]

NAMES = st.sampled_from(
    ["a", "b", "c", "a@here", "a@there", "@here", "client:", "client:1", "client:2", "topic:*", "ü"]
)
WORDS = st.sampled_from(["a", "all", "orders", "ü"])
TOPICS = st.sampled_from(
    ["orders", "orders.created", "orders.eu.created", "orders.*", "orders.**", "**", "*", "*.created"]
)
FILTERS = st.sampled_from([b"", b"{}", b' {"n": 1}', b'{"n": {"gte": 2}}', b'{"m": {"exists": false}}'])
CONTENTS = st.sampled_from([b"", b'{"n": 1}', b'{"n": 2, "m": 0}', b"[]"])
ACTS = st.sampled_from([0, INFORM, REQUEST, INFORM | REQUEST])
ADDRESSES = st.one_of(
    NAMES,
    NAMES.map("{}@here".format),
    st.builds("{}{}{}".format, st.sampled_from(["capability:", "broadcast://"]), WORDS, st.sampled_from(["", "@here"])),
    TOPICS.map("topic:{}".format),
    st.sampled_from(["topic:orders.eu.created.late", "topic:", "client:3", "nobody", "capability:", "@"]),
)


def to(*receivers: str, conversation: str = "", content: bytes = b"", performative: str = "inform") -> Envelope:
    fields: dict[str, object] = {"conversation_id": conversation} if conversation else {}
    return Envelope.make(performative=performative, receiver=list(receivers), content=content, **fields)


class Beside(RuleBasedStateMachine):
    ports: Bundle[int] = Bundle("ports")
    closed: Bundle[int] = Bundle("closed")

    @initialize()
    def open(self) -> None:
        self.native = Router("here")
        self.twin = oracle.Router("here")

    @rule(target=ports, name=NAMES, replica=st.booleans(), host=st.booleans())
    def open_port(self, name: str, replica: bool, host: bool) -> int | MultipleResults[int]:
        try:
            expected = self.twin.open_port(name, replica=replica, host=host)
        except AgentAlreadyExists:
            with pytest.raises(AgentAlreadyExists):
                self.native.open_port(name, replica=replica, host=host)
            return multiple()
        assert self.native.open_port(name, replica=replica, host=host) == expected
        return expected

    @rule(target=closed, port=consumes(ports))
    def close_port(self, port: int) -> int:
        self.native.close_port(port)
        self.twin.close_port(port)
        return port

    @rule(port=closed)
    def a_closed_port_is_closed(self, port: int) -> None:
        with pytest.raises(AgentNotFound):
            self.native.join_group(port, "all")
        with pytest.raises(AgentNotFound):
            self.native.close_port(port)

    @rule(port=ports)
    def clear_routes(self, port: int) -> None:
        self.native.clear_routes(port)
        self.twin.clear_routes(port)

    @rule(port=ports, word=WORDS)
    def add_capability(self, port: int, word: str) -> None:
        self.native.add_capability(port, word)
        self.twin.add_capability(port, word)

    @rule(port=ports, word=WORDS)
    def join_group(self, port: int, word: str) -> None:
        self.native.join_group(port, word)
        self.twin.join_group(port, word)

    @rule(port=ports, topic=TOPICS, content_filter=FILTERS, acts=ACTS)
    def subscribe(self, port: int, topic: str, content_filter: bytes, acts: int) -> None:
        self.native.subscribe(port, topic, content_filter, acts)
        self.twin.subscribe(port, topic, content_filter, acts)

    @rule(port=ports, accepting=st.booleans())
    def set_accepting(self, port: int, accepting: bool) -> None:
        self.native.set_accepting(port, accepting)
        self.twin.set_accepting(port, accepting)

    @rule(
        receivers=st.lists(ADDRESSES, min_size=1, max_size=4, unique=True),
        conversation=st.sampled_from(["", "c1", "c2"]),
        content=CONTENTS,
        performative=st.sampled_from(["inform", "request"]),
    )
    def resolve(self, receivers: list[str], conversation: str, content: bytes, performative: str) -> None:
        envelope = to(*receivers, conversation=conversation, content=content, performative=performative)
        answers = self.twin.answers(envelope)
        assert tuple(self.native.resolve(envelope)) in answers
        assert tuple(self.twin.resolve(envelope)) in answers
        assert self.native.missing(envelope) == self.twin.missing(envelope)

    @rule(address=ADDRESSES)
    def has(self, address: str) -> None:
        assert self.native.has(address) == self.twin.has(address)

    @rule()
    def reclaim(self) -> None:
        self.native.reclaim()

    @invariant()
    def has_the_same_keys(self) -> None:
        if hasattr(self, "twin"):
            for port in self.twin.ports:
                assert self.native.keys(port) == self.twin.keys(port)


Beside.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@pytest.mark.slow
class TestBeside(Beside.TestCase):  # type: ignore[valid-type, misc]  # a class that Hypothesis makes
    pass


@pytest.mark.slow
def test_many_ports_that_come_and_go_stay_equal() -> None:
    """Far more keys and members than the machine has, so that tables and routes grow and shrink."""
    rng = random.Random(1)
    native, twin = Router("here"), oracle.Router("here")
    for step in range(6000):
        growing = step // 1500 % 2 == 0
        if not twin.ports or rng.random() < (0.5 if growing else 0.1):
            name = f"agent-{step}" if rng.random() < 0.8 else "shared"
            port = twin.open_port(name, replica=name == "shared")
            assert native.open_port(name, replica=name == "shared") == port
            for book in (native, twin):
                book.join_group(port, "all")
                book.join_group(port, f"group-{port % 7}")
                book.add_capability(port, f"skill-{port % 50}")
                book.subscribe(port, f"level-{port % 20}.*", b'{"n": %d}' % (port % 2))
        elif rng.random() < (0.2 if growing else 0.9):
            port = rng.choice(list(twin.ports))
            if rng.random() < 0.8:
                native.close_port(port)
                twin.close_port(port)
            else:
                native.clear_routes(port)
                twin.clear_routes(port)
        else:
            number = rng.randrange(step + 1)
            addresses = ["broadcast://all", f"broadcast://group-{number % 7}", f"capability:skill-{number % 50}"]
            addresses += ["shared", f"topic:level-{number % 20}.x", f"agent-{number}"]
            address = rng.choice(addresses)
            envelope = to(address, content=b'{"n": 1}', conversation=rng.choice(["", "c1"]))
            assert tuple(native.resolve(envelope)) in twin.answers(envelope)
        if step % 100 == 0:
            native.reclaim()
    for port in list(twin.ports):
        assert native.keys(port) == twin.keys(port)
        native.close_port(port)
    assert not native.has("broadcast://all")
    assert native.resolve(to("broadcast://all", "shared", "topic:level-1.x")) == []


# -- names --


@both
def test_a_name_leads_to_its_port(make: Book) -> None:
    book = make()
    first, second = book.open_port("a"), book.open_port("b")
    assert book.resolve(to("b")) == [second]
    assert book.resolve(to("a")) == [first]
    assert book.resolve(to("ab")) == []


@both
@pytest.mark.parametrize("name", ["a", "topic:orders", "topic:orders.*", "client:1"])
def test_a_name_is_taken_once(make: Book, name: str) -> None:
    book = make()
    port = book.open_port(name)
    with pytest.raises(AgentAlreadyExists):
        book.open_port(name)
    assert book.open_port(name, replica=True) == port + 1


@both
@pytest.mark.parametrize("name", ["", "a\0b", "x" * 257, "ü" * 129])
def test_a_name_has_1_to_256_bytes_and_no_nul(make: Book, name: str) -> None:
    with pytest.raises(InvalidRequest):
        make().open_port(name)
    assert make().open_port("ü" * 128) == 1


@both
def test_a_name_that_was_closed_can_be_opened_again(make: Book) -> None:
    book = make()
    old = book.open_port("a")
    book.join_group(old, "all")
    book.close_port(old)
    assert not book.has("a")
    new = book.open_port("a")
    assert new != old
    assert (book.resolve(to("a")), book.resolve(to("broadcast://all"))) == ([new], [])


@both
def test_a_node_answers_to_its_own_name_only(make: Book) -> None:
    book = make("here")
    port = book.open_port("a")
    book.add_capability(port, "x")
    book.join_group(port, "g")
    for address in ("a@here", "capability:x@here", "broadcast://g@here"):
        assert book.resolve(to(address)) == [port]
    for address in ("a@there", "a@", "@here", "a@@here", "a@here@here", "ahere"):
        assert book.resolve(to(address)) == []
    assert make().resolve(to("a@here")) == []


@both
def test_an_address_with_an_at_sign_is_looked_up_as_it_is_first(make: Book) -> None:
    book = make("here")
    plain, whole = book.open_port("a"), book.open_port("a@here")
    assert book.resolve(to("a@here")) == [whole]
    book.close_port(whole)
    assert book.resolve(to("a@here")) == [plain]


@both
def test_a_client_that_has_gone_leaves_its_mail_to_the_shared_port(make: Book) -> None:
    book = make("here")
    assert book.resolve(to("client:7")) == []
    shared = book.open_port("client:", host=True)
    client = book.open_port("client:7", host=True)
    assert book.resolve(to("client:7")) == [client]
    assert book.resolve(to("client:7@here")) == [client]
    assert book.resolve(to("client:8")) == [shared]
    assert book.resolve(to("client:8@here")) == [shared]
    book.close_port(client)
    assert book.resolve(to("client:7")) == [shared]
    assert book.resolve(to("client")) == []


# -- one of several --


def open_replicas(book: Router | oracle.Router, count: int) -> list[int]:
    return [book.open_port("a", replica=True) for _ in range(count)]


def chosen(book: Router | oracle.Router, conversations: Sequence[str], address: str = "a") -> dict[str, int]:
    found = {conversation: book.resolve(to(address, conversation=conversation)) for conversation in conversations}
    assert all(len(ports) == 1 for ports in found.values())
    return {conversation: ports[0] for conversation, ports in found.items()}


CONVERSATIONS = [f"conversation {number}" for number in range(400)]


@both
@pytest.mark.parametrize("count", [2, 3, 8])
def test_without_a_conversation_replicas_take_turns(make: Book, count: int) -> None:
    book = make()
    ports = open_replicas(book, count)
    taken = [book.resolve(to("a"))[0] for _ in range(5 * count)]
    assert Counter(taken) == dict.fromkeys(ports, 5)
    assert taken[:count] * 5 == taken


@both
def test_turns_go_on_evenly_when_a_replica_goes(make: Book) -> None:
    book = make()
    ports = open_replicas(book, 5)
    book.close_port(ports.pop(1))
    taken = Counter(book.resolve(to("a"))[0] for _ in range(400))
    assert taken == dict.fromkeys(ports, 100)


@both
def test_a_conversation_sticks_to_its_replica(make: Book) -> None:
    book = make()
    ports = open_replicas(book, 4)
    before = chosen(book, CONVERSATIONS)
    for _ in range(3):
        book.resolve(to("a"))
        assert chosen(book, CONVERSATIONS) == before
    shares = Counter(before.values())
    assert set(shares) == set(ports)
    assert min(shares.values()) > 60


@both
@pytest.mark.parametrize("gone", range(4))
def test_only_the_conversations_of_a_replica_that_goes_move(make: Book, gone: int) -> None:
    book = make()
    ports = open_replicas(book, 4)
    before = chosen(book, CONVERSATIONS)
    book.close_port(ports[gone])
    after = chosen(book, CONVERSATIONS)
    assert ports[gone] not in after.values()
    assert all(after[c] == before[c] for c in CONVERSATIONS if before[c] != ports[gone])
    assert len({after[c] for c in CONVERSATIONS if before[c] == ports[gone]}) == 3


@both
def test_conversations_move_only_to_a_replica_that_comes(make: Book) -> None:
    book = make()
    open_replicas(book, 3)
    before = chosen(book, CONVERSATIONS)
    new = book.open_port("a", replica=True)
    after = chosen(book, CONVERSATIONS)
    moved = [c for c in CONVERSATIONS if after[c] != before[c]]
    assert {after[c] for c in moved} == {new}
    assert len(moved) < 200


@both
def test_who_drains_is_passed_over_and_its_conversations_come_back(make: Book) -> None:
    book = make()
    ports = open_replicas(book, 3)
    before = chosen(book, CONVERSATIONS)
    book.set_accepting(ports[0], False)
    during = chosen(book, CONVERSATIONS)
    assert ports[0] not in during.values()
    assert all(during[c] == before[c] for c in CONVERSATIONS if before[c] != ports[0])
    assert ports[0] not in {book.resolve(to("a"))[0] for _ in range(12)}
    book.set_accepting(ports[0], True)
    assert chosen(book, CONVERSATIONS) == before


@both
def test_where_nobody_accepts_one_of_them_is_still_named(make: Book) -> None:
    """So that the sender is told "draining", not "nobody"."""
    book = make()
    ports = open_replicas(book, 3)
    before = chosen(book, CONVERSATIONS)
    for port in ports:
        book.set_accepting(port, False)
    assert book.resolve(to("a"))[0] in ports
    assert chosen(book, CONVERSATIONS) == before


@both
def test_a_capability_is_one_of_those_who_can(make: Book) -> None:
    book = make()
    ports = [book.open_port(name) for name in "abc"]
    assert book.resolve(to("capability:x")) == []
    for port in ports[:2]:
        book.add_capability(port, "x")
        book.add_capability(port, "x")
    assert Counter(book.resolve(to("capability:x"))[0] for _ in range(10)) == dict.fromkeys(ports[:2], 5)
    assert set(chosen(book, CONVERSATIONS, "capability:x").values()) == set(ports[:2])
    assert book.resolve(to("capability:xy")) == book.resolve(to("x")) == []


# -- all of several --


@both
def test_a_broadcast_goes_to_the_whole_group_once(make: Book) -> None:
    book = make()
    ports = [book.open_port(name) for name in "abcd"]
    for port in (*ports[:3], ports[0]):
        book.join_group(port, "g")
    book.set_accepting(ports[1], False)
    assert book.resolve(to("broadcast://g")) == ports[:3]
    assert book.resolve(to("broadcast://g", conversation="c")) == ports[:3]
    assert book.resolve(to("broadcast://")) == []


@both
def test_a_topic_goes_to_each_subscriber_once_however_it_subscribed(make: Book) -> None:
    book = make()
    first, second, third = (book.open_port(name) for name in "abc")
    book.subscribe(third, "orders.**")
    book.subscribe(first, "orders.*")
    book.subscribe(first, "orders.created")
    book.subscribe(second, "orders.cancelled")
    assert book.resolve(to("topic:orders.created")) == [first, third]
    assert book.resolve(to("topic:orders")) == [third]
    assert book.resolve(to("topic:order")) == []


@both
def test_patterns_keep_their_order_when_one_of_them_changes(make: Book) -> None:
    book = make()
    first, second, third = (book.open_port(name) for name in "abc")
    book.subscribe(first, "orders.*")
    book.subscribe(second, "*.created")
    book.subscribe(third, "orders.*")
    assert book.resolve(to("topic:orders.created")) == [first, third, second]
    book.subscribe(first, "orders.*", acts=INFORM)
    book.close_port(third)
    assert book.resolve(to("topic:orders.created")) == [first, second]


@both
@pytest.mark.parametrize(
    ("content_filter", "acts", "performative", "content", "received"),
    [
        (b"", 0, "inform", b"", True),
        (b"{}", 0, "cfp", b"[1]", True),
        (b'{"n": 1}', 0, "inform", b'{"n": 1}', True),
        (b'{"n": 1}', 0, "inform", b'{"n": 2}', False),
        (b'{"n": 1}', 0, "inform", b"", False),
        (b'{"n": {"exists": false}}', 0, "inform", b"", True),
        (b"", INFORM, "inform", b"", True),
        (b"", INFORM, "request", b"", False),
        (b"", INFORM | REQUEST, "request", b"", True),
        (b'{"n": 1}', INFORM, "request", b'{"n": 1}', False),
        (b"", 1 << 22, "subscribe", b"", ACT_CODES["subscribe"] == 22),
    ],
)
@pytest.mark.parametrize("topic", ["orders.created", "orders.*"])
def test_a_subscriber_receives_what_filter_and_acts_let_through(
    make: Book, topic: str, content_filter: bytes, acts: int, performative: str, content: bytes, received: bool
) -> None:
    book = make()
    port = book.open_port("a")
    book.subscribe(port, topic, content_filter, acts)
    envelope = to("topic:orders.created", content=content, performative=performative)
    assert book.resolve(envelope) == [port] * received


@both
def test_who_subscribes_again_has_only_the_new_filter(make: Book) -> None:
    book = make()
    port = book.open_port("a")
    for number in range(5):
        book.subscribe(port, "orders", b'{"n": %d}' % number, INFORM)
    assert book.keys(port) == ["a", "topic:orders"]
    assert book.resolve(to("topic:orders", content=b'{"n": 3}')) == []
    assert book.resolve(to("topic:orders", content=b'{"n": 4}')) == [port]
    book.subscribe(port, "orders")
    assert book.resolve(to("topic:orders", performative="request")) == [port]


@both
@pytest.mark.parametrize("content_filter", [b"{", b"[]", b'{"n": {"near": 1}}', b'{"n": 1} x', b'{"n": NaN}'])
def test_what_is_no_filter_is_refused_and_changes_nothing(make: Book, content_filter: bytes) -> None:
    book = make()
    port = book.open_port("a")
    book.subscribe(port, "orders", b'{"n": 1}')
    with pytest.raises(InvalidRequest):
        book.subscribe(port, "orders", content_filter)
    with pytest.raises(InvalidRequest):
        book.subscribe(port, "others", content_filter)
    assert book.keys(port) == ["a", "topic:orders"]
    assert book.resolve(to("topic:orders", content=b'{"n": 1}')) == [port]


@both
@pytest.mark.parametrize("topic", ["", "orders..created", "**.created", "order*", "x" * 257])
def test_what_is_no_topic_is_refused(make: Book, topic: str) -> None:
    book = make()
    port = book.open_port("a")
    with pytest.raises(InvalidRequest):
        book.subscribe(port, topic, b'{"n": 1}')
    assert book.keys(port) == ["a"]


@both
def test_several_receivers_get_it_once_each_in_their_order(make: Book) -> None:
    book = make()
    first, second, third = (book.open_port(name) for name in "abc")
    book.join_group(first, "g")
    book.join_group(second, "g")
    book.add_capability(third, "x")
    assert book.resolve(to("c", "broadcast://g", "a")) == [third, first, second]
    assert book.resolve(to("b", "broadcast://g", "capability:x", "c", "nobody")) == [second, first, third]
    assert book.resolve(to("nobody", "nothing")) == []


# -- coming and going --


@both
def test_clear_routes_leaves_the_name(make: Book) -> None:
    book = make()
    port, other = book.open_port("a"), book.open_port("b")
    for each in (port, other):
        book.join_group(each, "g")
        book.add_capability(each, "x")
        book.subscribe(each, "orders.*", b'{"n": 1}')
    book.clear_routes(port)
    assert book.keys(port) == ["a"]
    assert book.resolve(to("a")) == [port]
    for address in ("broadcast://g", "capability:x", "topic:orders.created"):
        assert book.resolve(to(address, content=b'{"n": 1}')) == [other]
    book.clear_routes(port)
    book.join_group(port, "g")
    assert book.resolve(to("broadcast://g")) == [other, port]


@both
def test_a_port_that_is_not_open_is_named(make: Book) -> None:
    book = make()
    gone = book.open_port("a")
    book.close_port(gone)
    for port in (0, gone, gone + 1, 1 << 31):
        for use in (book.close_port, book.clear_routes, book.keys):
            with pytest.raises(AgentNotFound):
                use(port)
        with pytest.raises(AgentNotFound):
            book.subscribe(port, "orders", b'{"n": 1}')
        with pytest.raises(AgentNotFound):
            book.set_accepting(port, True)


def test_a_control_turn_has_no_receiver() -> None:
    book = Router("here")
    book.open_port("client:")
    assert book.resolve(Envelope.control("init")) == []


# -- thousands --


@pytest.mark.slow
def test_ten_thousand_ports_join_one_group_and_leave_it_again() -> None:
    book = Router()
    began = time.process_time()
    ports = [book.open_port(f"agent {number}") for number in range(10_000)]
    for port in ports:
        book.join_group(port, "all")
    assert book.resolve(to("broadcast://all")) == ports
    kept = ports[::3]
    for port in set(ports) - set(kept):
        book.close_port(port)
    assert book.resolve(to("broadcast://all")) == kept
    for port in kept:
        book.clear_routes(port)
    assert not book.has("broadcast://all")
    assert time.process_time() - began < 1.5  # half a second; seconds and a gigabyte when each join copies the route


@pytest.mark.slow
def test_a_topic_and_many_receivers_stay_linear() -> None:
    """One message must not hold a thread for seconds: ports are told apart by more than comparing each with each."""
    book = Router()
    ports = [book.open_port(f"agent {number}") for number in range(10_000)]
    groups = [f"broadcast://{group}" for group in range(20)]
    for port in ports:
        book.subscribe(port, "**")
        book.subscribe(port, "orders.*")
        for group in range(20):
            book.join_group(port, str(group))
    began = time.process_time()
    assert book.resolve(to("topic:orders.created")) == ports
    assert book.resolve(to(*groups, "topic:orders.created")) == ports
    assert time.process_time() - began < 0.5


def test_readers_on_other_threads_see_all_who_stay_while_others_come_and_go() -> None:
    """Reading takes no lock and is done without Python's; only freeing has to wait (`reclaim`, at the end)."""
    book = Router("here")
    rng = random.Random(1)
    staying = [book.open_port(f"agent {number}") for number in range(100)]
    for port in staying:
        book.join_group(port, "g")
        book.subscribe(port, "orders.*", b'{"n": 1}')
        book.add_capability(port, "x")
    least = {"broadcast://g": 100, "topic:orders.created": 100, "capability:x": 1, "agent 7@here": 1}
    wrong: list[tuple[str, int]] = []
    over = threading.Event()

    def read(address: str) -> None:
        envelope = to(address, content=b'{"n": 1}')
        while not over.is_set():
            found = book.count_resolved(envelope, 50)
            if found < least[address]:
                wrong.append((address, found))

    threads = [threading.Thread(target=read, args=(address,)) for address in least]
    for thread in threads:
        thread.start()
    passing: list[int] = []
    for number in range(2000):
        if len(passing) < 50 or rng.random() < 0.5:
            port = book.open_port("shared", replica=True)
            passing.append(port)
            book.join_group(port, "g")
            book.add_capability(port, "x")
            for wanted in (1, 2):
                book.subscribe(port, "orders.*", b'{"n": %d}' % wanted)
            book.subscribe(port, f"pattern-{number}.*")
        else:
            book.close_port(passing.pop(rng.randrange(len(passing))))
    over.set()
    for thread in threads:
        thread.join()
    book.reclaim()
    assert wrong == []
    assert book.resolve(to("topic:orders.created", content=b'{"n": 1}')) == staying


def test_the_table_finds_everybody_after_growing_and_emptying() -> None:
    book = Router("here")
    for _ in range(3):
        ports = {f"agent {number}": book.open_port(f"agent {number}") for number in range(3000)}
        assert all(book.resolve(to(name)) == [port] for name, port in ports.items())
        for number in range(0, 3000, 2):
            book.close_port(ports[f"agent {number}"])
        assert [book.has(f"agent {number}") for number in range(3000)] == [False, True] * 1500
        for number in range(1, 3000, 2):
            book.close_port(ports[f"agent {number}"])
        book.reclaim()
    assert book.resolve(to("agent 1")) == []


# -- as agents use it --


def test_a_broadcast_does_not_come_back_to_its_sender() -> None:
    with open_stage() as stage:
        sender = stage.seat("sender", sender_guest("broadcast://g"))
        hearers = [stage.host("a"), stage.host("b")]
        for port in (sender, *hearers):
            stage.scheduler.join_group(port, "g")
        stage.send("sender")
        for port in hearers:
            assert stage.receive(port)[0].sender == "sender"
        stage.send("broadcast://g", sender="sender")  # only the name: from outside, everybody hears it
        stage.watch(lambda: stage.scheduler.statistics(sender).received == 2)


@pytest.mark.slow
def test_ports_come_and_go_while_agents_send_to_them() -> None:
    """What was taken away is freed (by drain) while other threads resolve; who stays hears everything."""
    rng = random.Random(1)
    with open_stage(threads=3) as stage:
        routes = stage.scheduler
        steady = stage.host("steady", queue_size=1_000_000)
        routes.join_group(steady, "g")
        routes.subscribe(steady, "orders.*")
        addresses = ["broadcast://g", "topic:orders.created"]
        for number, address in enumerate(addresses * 2):
            stage.seat(f"sender {number}", sender_guest(address, 20, content={"n": 1}))
        rounds, passing = 300, []
        for turn in range(rounds):
            for number in range(4):
                stage.send(f"sender {number}")
            port = routes.open_port(f"passing {turn}", host=True)
            passing.append(port)
            routes.join_group(port, "g")
            for wanted in (1, 2, 1):
                routes.subscribe(port, "orders.*", b'{"n": %d}' % wanted)
                routes.subscribe(port, "orders.created", b'{"n": %d}' % wanted)
            if len(passing) > 20:
                routes.close_port(passing.pop(rng.randrange(20)))
            routes.drain()
        stage.watch(lambda: routes.statistics(steady).received == rounds * 4 * 20, within=20)
        assert len(routes.receive(steady, 1_000_000)) == rounds * 4 * 20
