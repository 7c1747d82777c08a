"""Each language's agent passes the same scenarios; a language whose toolchain is not installed is skipped by name.

`make sdk-test` installs the toolchains and runs these.
"""

from pathlib import Path

import pytest

from caxton.testing import run
from tests.sdk.acceptance import accept, call_tools, scenarios
from tests.sdk.toolchains import LANGUAGES, Absent, build

pytestmark = pytest.mark.slow
AGENTS = [(language, "acceptance") for language in LANGUAGES]
AGENTS += [(language, "acceptance_async") for language in ("javascript", "python")]


def test_every_step_says_what_it_expects() -> None:
    for scenario in scenarios():
        assert scenario.steps, scenario.name
        for step in scenario.steps:
            assert "do" in step.ask, scenario.name


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("language", "agent"), AGENTS)
def test_the_agent_of_a_language_is_accepted(language: str, agent: str, tmp_path: Path) -> None:
    try:
        wasm = build(language, agent, tmp_path)
    except Absent as absent:
        pytest.skip(f"{language}: {absent}; `make sdk-test` installs it")
    accept(wasm, tmp_path / "data")
    run(call_tools, wasm, tmp_path / "data/modules")
