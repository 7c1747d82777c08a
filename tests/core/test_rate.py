"""Token buckets, and whose request it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton.core.rate import Buckets, client_of

steps = st.lists(st.tuples(st.floats(0, 5), st.integers(0, 3)), max_size=200)


@given(steps, st.floats(0.1, 50), st.integers(1, 20))
def test_never_more_than_burst_and_rate(given: list[tuple[float, int]], rate: float, burst: int) -> None:
    buckets, now = Buckets(), 0.0
    granted: dict[int, list[float]] = {}
    for pause, client in given:
        now += pause
        wait = buckets.take(client, now, rate=rate, burst=burst, room=100)
        if not wait:
            granted.setdefault(client, []).append(now)
        else:
            assert buckets.take(client, now + wait, rate=rate, burst=burst, room=100) == 0  # as it was told
            granted.setdefault(client, []).append(now + wait)
            now += wait
    for times in granted.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                assert last - first + 1 <= burst + rate * (times[last] - times[first]) + 1e-6


def test_clients_do_not_pay_for_each_other_and_are_bounded() -> None:
    buckets = Buckets()
    assert buckets.take("a", 0, rate=1, burst=1, room=2) == 0
    assert buckets.take("a", 0, rate=1, burst=1, room=2) == 1
    assert buckets.take("b", 0, rate=1, burst=1, room=2) == 0
    assert buckets.take("c", 0, rate=1, burst=1, room=2) == 0
    assert len(buckets) == 2
    assert buckets.take("a", 0, rate=1, burst=1, room=2) == 0  # forgotten, so it begins anew
    assert buckets.take("a", 0.5, rate=1, burst=1, room=2) == 0.5
    assert buckets.take("a", -5, rate=1, burst=1, room=2) > 0  # a clock that goes back gives nothing


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "client"),
    [
        ("192.0.2.1", "", (), "192.0.2.1"),
        ("192.0.2.1", "198.51.100.9", (), "192.0.2.1"),
        ("10.0.0.1", "198.51.100.9", ("10.0.0.0/8",), "198.51.100.9"),
        ("10.0.0.1", "203.0.113.5, 198.51.100.9, 10.0.0.2", ("10.0.0.0/8",), "198.51.100.9"),
        ("192.0.2.1", "198.51.100.9", ("10.0.0.0/8",), "192.0.2.1"),
        ("10.0.0.1", "nonsense", ("10.0.0.0/8",), "10.0.0.1"),
        ("10.0.0.1", "", ("10.0.0.0/8",), "10.0.0.1"),
        ("2001:db8::1", "", (), "2001:db8::/64"),
        ("2001:db8::ffff:1", "", (), "2001:db8::/64"),
        ("::ffff:192.0.2.1", "", (), "192.0.2.1"),
        ("::ffff:10.0.0.1", "198.51.100.9", ("10.0.0.0/8",), "198.51.100.9"),
        ("/run/socket", "", (), "/run/socket"),
    ],
)
def test_whose_request_it_is(peer: str, forwarded: str, trusted: tuple[str, ...], client: str) -> None:
    assert client_of(peer, forwarded, trusted) == client
