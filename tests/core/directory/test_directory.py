"""Descriptions are found by what they say, for as long as their leases last."""

from math import inf
from time import perf_counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from caxton.core.directory.descriptions import Description, Service, matches, service_of
from caxton.core.directory.directory import PARTS, Directory, Part

WORDS = ("alpha", "Beta", "gamma_x", "gamma-x")


def described(name: str = "", **fields: object) -> Description:
    services = fields.pop("services", ())
    return Description(name=name, services=tuple(services), **fields)  # type: ignore[arg-type]  # a test's words


PRICING = described(
    "pricing",
    services=[
        Service(
            name="quote", type="pricing", protocols=("fipa-request",), properties={"currency": "EUR"}, ownership="Shop"
        ),
        Service(name="news", type="feed", languages=("json", "xml")),
    ],
    protocols=("FIPA-Contract-Net",),
    ontologies=("trade",),
)


@pytest.mark.parametrize(
    ("template", "found"),
    [
        (Description(), True),
        (described("pricing"), True),
        (described("Pricing"), False),  # names of agents are names
        (described(services=[Service(type="PRICING")]), True),
        (described(services=[Service(type="pricing", name="quote")]), True),
        (described(services=[Service(type="pricing", name="news")]), False),  # of one service, not of two
        (described(services=[Service(type="pricing"), Service(type="feed")]), True),
        (described(services=[Service(type="pricing"), Service(type="billing")]), False),
        (described(services=[Service(languages=("XML",))]), True),
        (described(services=[Service(languages=("xml", "sl"))]), False),
        (described(services=[Service(ownership="shop")]), True),
        (described(services=[Service(properties={"currency": "EUR"})]), True),
        (described(services=[Service(properties={"currency": None})]), True),
        (described(services=[Service(properties={"currency": "USD"})]), False),
        (described(services=[Service(properties={"colour": None})]), False),
        (described(protocols=("fipa-contract-net",)), True),
        (described(protocols=("fipa-request",)), False),  # a service's, not the agent's
        (described(ontologies=("trade", "weather")), False),
        (described(scope=("global",)), True),  # FIPA's default
        (described(scope=("local",)), False),
    ],
)
def test_a_template_matches_what_has_all_that_it_gives(template: Description, found: bool) -> None:
    assert matches(template, PRICING) is found
    directory = Directory()
    directory.put("pricing", "registered", PRICING, inf, 0)
    assert bool(directory.search(template, 0, limit=9).entries) is found


def test_parts_of_an_entry_are_one_description() -> None:
    directory = Directory()
    [change] = directory.put("a", "declared", described(services=[service_of("sums")]), 60, 0)
    assert change.what == "registered"
    [change] = directory.put("a", "registered", described(services=[service_of("news")], protocols=("p",)), 30, 0)
    assert change.what == "modified"
    assert [each.type for each in change.description.services] == ["sums", "news"]
    assert directory.put("a", "declared", described(services=[service_of("sums")]), 90, 1) == []  # nothing is new
    [change] = directory.tick(30)
    assert (change.what, [each.type for each in change.description.services]) == ("modified", ["sums"])
    [change] = directory.remove("a", "declared", 31)
    assert (change.what, len(directory)) == ("removed", 0)


def test_one_that_changes_all_the_time_costs_no_memory() -> None:
    directory = Directory()
    for number in range(500):
        directory.put("a", "registered", described(ontologies=(str(number),)), 1000 + number, 0)
    assert len(directory._leases) < 100
    assert directory.tick(1498) == []
    assert [change.what for change in directory.tick(1499)] == ["removed"]


def test_a_renewed_lease_lasts() -> None:
    directory = Directory()
    directory.put("a", "declared", described(services=[service_of("sums")]), 60, 0)
    assert directory.renew("a", "declared", 100)
    assert directory.tick(60) == []
    assert directory.next_deadline() == 100
    assert [change.what for change in directory.tick(100)] == ["removed"]
    assert not directory.renew("a", "declared", 200)


def test_what_has_run_out_is_not_found_before_anybody_looks() -> None:
    directory = Directory()
    directory.put("a", "declared", described(services=[service_of("sums")]), 60, 0)
    assert [entry.name for entry in directory.providers("SUMS", 59)] == ["a"]
    assert directory.providers("sums", 60) == []
    assert directory.search(Description(), 60, limit=9).entries == ()
    assert directory.capabilities(60) == {}


def test_pages_follow_one_another() -> None:
    directory = Directory()
    for number in range(7):
        directory.put(f"a{number}", "declared", described(services=[service_of("sums")]), inf, 0)
    directory.put("a0", "declared", described(services=[service_of("news"), service_of("sums")]), inf, 0)
    template = described(services=[Service(type="sums")])
    seen: list[str] = []
    after, truncated = 0, True
    while truncated:
        found = directory.search(template, 0, limit=3, after=after)
        seen += [entry.name for entry in found.entries]
        after, truncated = found.cursor, found.truncated
    assert seen == [f"a{number}" for number in range(7)]


def test_related_capabilities_share_words() -> None:
    directory = Directory()
    for name, capability in (("a", "order-entry"), ("b", "order-entry"), ("c", "data.order"), ("d", "weather")):
        directory.put(name, "declared", described(services=[service_of(capability)]), inf, 0)
    assert directory.related("order-processing", 0) == [("data.order", 1), ("order-entry", 2)]
    assert directory.related("nothing", 0) == []


@pytest.mark.slow
def test_ten_thousand_agents_are_searched_in_no_time() -> None:
    directory = Directory()
    for number in range(10_000):
        kinds = [service_of(f"kind-{number % 100}"), service_of("all")]
        directory.put(f"a{number}", "declared", described(services=kinds), inf, 0)
    for template in (
        described(services=[Service(type="kind-7")]),
        described(services=[Service(type="all"), Service(type="kind-7")]),
        described("a77"),
        described(services=[Service(type="all")]),
    ):
        times = []
        for _ in range(5):
            start = perf_counter()
            found = directory.search(template, 0, limit=100)
            times.append(perf_counter() - start)
            assert found.entries
        assert min(times) < 0.010  # a busy machine may stop any of the five


class Against(RuleBasedStateMachine):
    """The directory and a dictionary that is asked one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Directory()
        self.now = 0.0
        self.parts: dict[tuple[str, Part], tuple[Description, float]] = {}

    names = st.sampled_from(["a", "b", "c"])
    parts_ = st.sampled_from(PARTS)
    words = st.sampled_from(WORDS)
    descriptions = st.builds(
        lambda types, protocols: described(services=[service_of(each) for each in types], protocols=tuple(protocols)),
        st.lists(words, max_size=2),
        st.lists(words, max_size=2),
    )
    leases = st.one_of(st.just(inf), st.integers(1, 20).map(float))

    @rule(name=names, part=parts_, description=descriptions, lease=leases)
    def put(self, name: str, part: Part, description: Description, lease: float) -> None:
        self.directory.put(name, part, description, self.now + lease, self.now)
        self.parts[name, part] = description, self.now + lease

    @rule(name=names, part=parts_, lease=leases)
    def renew(self, name: str, part: Part, lease: float) -> None:
        known = (name, part) in self.parts
        assert self.directory.renew(name, part, self.now + lease) is known
        if known:
            self.parts[name, part] = self.parts[name, part][0], self.now + lease

    @rule(name=names, part=parts_)
    def remove(self, name: str, part: Part) -> None:
        self.directory.remove(name, part, self.now)
        self.parts.pop((name, part), None)

    @rule(seconds=st.integers(0, 10))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.directory.tick(self.now)
        assert self.directory.next_deadline() > self.now
        self.parts = {key: held for key, held in self.parts.items() if held[1] > self.now}

    @rule(template=descriptions)
    def search(self, template: Description) -> None:
        found = {entry.name for entry in self.directory.search(template, self.now, limit=99).entries}
        wanted = set()
        for name in {name for name, _ in self.parts}:
            said = [self.parts[name, part][0] for part in PARTS if (name, part) in self.parts]
            all_of_it = described(
                name,
                services=[service for each in said for service in each.services],
                protocols=tuple(protocol for each in said for protocol in each.protocols),
            )
            if matches(template, all_of_it):
                wanted.add(name)
        assert found == wanted

    @invariant()
    def holds_what_lives(self) -> None:
        assert len(self.directory) == len({name for name, _ in self.parts})


TestAgainst = Against.TestCase
TestAgainst.settings = settings(max_examples=40, stateful_step_count=25)
