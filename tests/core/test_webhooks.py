"""Where a webhook may go, and how long it waits."""

from random import Random

import pytest

from caxton.core.webhooks import endpoint_ids, forbidden, wait_before, wants

PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"]
PRIVATE = [
    "127.0.0.1", "127.255.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0",
    "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::", "2002:a00:1::", "2001:db8::1", "nonsense", "::127.0.0.1", "::ffff:0:127.0.0.1", "fec0::1",
    "64:ff9b:1::7f00:1", "3fff::1", "5f00::1", "2001::1", "fd00:ec2::254", "100.100.100.200", "192.0.0.192",
    "168.63.129.16", "::ffff:168.63.129.16", "64:ff9b::a83f:8110",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert forbidden(address, ()) == ""


@pytest.mark.parametrize("address", PRIVATE)
def test_others(address: str) -> None:
    assert forbidden(address, ())
    assert forbidden(address, ("203.0.113.0/24",))


def test_networks_that_are_named() -> None:
    assert forbidden("10.1.2.3", ("10.0.0.0/8",)) == ""
    assert forbidden("::ffff:10.1.2.3", ("10.0.0.0/8",)) == ""
    assert forbidden("11.0.0.1", ("10.0.0.0/8",)) == ""
    assert "10.1.2.3 is not public" in forbidden("10.1.2.3", ("10.2.0.0/16", "::1/128"))


@pytest.mark.parametrize(
    ("growth", "longest"), [("exponential", [1, 2, 4, 5]), ("linear", [1, 2, 3, 4]), ("constant", [1, 1, 1, 1])]
)
def test_waits(growth: str, longest: list[float]) -> None:
    rng = Random(1)
    for attempt, most in enumerate(longest, 2):
        waits = [wait_before(attempt, growth, 1.0, 5.0, rng) for _ in range(50)]
        assert most / 2 <= min(waits) <= max(waits) <= most
        assert max(waits) - min(waits) > most / 8


def test_patterns() -> None:
    assert wants(("agent.*",), "agent.failed")
    assert not wants(("agent.*",), "message.dead")
    assert not wants(("*",), "webhook.failed")


def test_an_endpoint_is_known_by_its_address_which_does_not_show() -> None:
    first, other, again = endpoint_ids(["https://a.example/T0K3N", "https://b.example/", "https://a.example/T0K3N"])
    assert again == f"{first}-2"
    assert first != other
    assert endpoint_ids(["https://b.example/"]) == [other]
