from typing import Any

import msgspec

from caxton.core.manifest import AgentConfig, AgentSpec


def make_spec(name: str, **fields: Any) -> AgentSpec:  # Any: the fields of AgentSpec
    spec = AgentSpec(name=name, kind="wasm", module="ab" * 32, config=AgentConfig(name=name), created_at=1.5)
    return msgspec.structs.replace(spec, **fields)
