"""`caxton benchmark contract-net`: a round is what it says, and the figures follow from the windows."""

from collections import Counter

import pytest
from click.testing import CliRunner

from caxton.cli.benchmarks import contract_net
from caxton.cli.main import cli


def test_a_round_is_a_whole_contract_net() -> None:
    net = contract_net.Net(3)
    try:
        assert net.microseconds(0.05) > 0
        found, _ = net.scheduler.history("00000002", 0, 1000)
    finally:
        net.scheduler.stop()
    acts = Counter(envelope.performative for _, envelope in found)
    assert acts == {"cfp": 3, "propose": 3, "accept-proposal": 1, "reject-proposal": 2, "inform": 1}
    assert sum(acts.values()) == net.messages
    asked = {envelope.reply_with for _, envelope in found if envelope.performative == "cfp"}
    answered = {envelope.in_reply_to for _, envelope in found if envelope.performative == "propose"}
    assert asked == answered == {"b0000000", "b0000001", "b0000002"}
    assert {envelope.protocol for _, envelope in found} == {"fipa-contract-net"}


def test_the_figures_follow_from_the_best_windows() -> None:
    windows = {"hop_2": [2.0, 1.0], "hop_1000": [2.0]}
    for size in contract_net.SIZES:
        messages = 3 * size + 1
        windows |= {str(size): [messages * 1.5, messages * 9.0], f"untracked_{size}": [messages * 1.25]}
    found = contract_net.result(windows)
    assert found["figures"]["round_ms"] == {"10": 0.0465, "50": 0.2265, "1000": 4.5015}
    assert found["figures"]["step_us"] == {"10": 0.25, "50": 0.25, "1000": 0.25}
    assert found["ratios"]["vs_hops"] == 1.5
    assert found["ratios"]["vs_hops_by_size"] == {"10": 1.5, "50": 1.5, "1000": 0.75}
    assert found["ratios"]["vs_hops_of_two"]["1000"] == 1.5


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_windows_are_printed_too(monkeypatch: pytest.MonkeyPatch, form: list[str]) -> None:
    monkeypatch.setattr(
        contract_net, "measure", lambda: {"figures": {"windows": {"a": [1.0, 2.5]}}, "baseline": {}, "ratios": {}}
    )
    shown = CliRunner().invoke(cli, ["benchmark", "contract-net", *form], catch_exceptions=False).output
    assert "[1.0, 2.5]" in shown if form else "a: 1.000 2.500" in shown
