"""Every committed seed through its target, on the extensions as they are; `make fuzz` searches on from there."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import pytest

from tests.fuzz import abi_pointers, component_calls, seeds
from tests.fuzz.run import HERE, TARGETS


@contextmanager
def hosts() -> Iterator[None]:
    """Schedulers are stopped before the interpreter goes; a guest that was built stays with its engine."""
    try:
        yield
    finally:
        for host in (*abi_pointers.HOSTS.values(), *component_calls.HOSTS.values()):
            host.scheduler.stop()
        for target in (abi_pointers, component_calls):
            target.HOSTS.clear()
            target._binary.cache_clear()


@pytest.mark.parametrize("target", TARGETS)
def test_no_seed_breaks_its_target(target: str) -> None:
    one_input = import_module(f"tests.fuzz.{target}").one_input
    found = sorted((HERE / "corpus" / target).iterdir())
    assert len(found) > 10
    with hosts():
        for path in found:
            assert path.stat().st_size <= TARGETS[target]
            one_input(path.read_bytes())


@pytest.mark.parametrize(("folder", "made"), seeds.made().items())
def test_the_binary_seeds_say_what_their_source_says(folder: str, made: dict[str, bytes]) -> None:
    found = {path.stem: path.read_bytes() for path in (seeds.CORPUS / folder).iterdir()}
    assert found == made, "run python -m tests.fuzz.seeds"


@pytest.mark.parametrize("rule", ["POINTER", "BUFFERS"])
def test_the_guest_notices_a_host_that_breaks_the_rules(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # a host that breaks them is not to be had: the guest is told other rules
    monkeypatch.setattr(abi_pointers, rule, {"POINTER": -99, "BUFFERS": {"random_get": "ac"}}[rule])
    lies = [seeds.step("send_message", seeds.END, 1), seeds.step("random_get", 0x8008, 16)]
    abi_pointers._binary.cache_clear()
    with hosts(), pytest.raises(AssertionError, match="in `wrong`"):
        abi_pointers.one_input(seeds.liar(1, *lies))
