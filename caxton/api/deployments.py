"""What a client sends to deploy or update an agent, read into one value. Pure: bytes in, `Deployment` out.

    multipart/form-data   wasm=@file  config=<YAML, TOML or JSON text, or a file>  name=  kind=  strategy=
    application/json      {"wasm_module": base64, "config": {...} or text, "name", "kind", "strategy"}

An attached agent has no module: kind "attached".
"""

from collections.abc import Mapping
from io import BytesIO
from typing import Any, Literal

import msgspec
from werkzeug.formparser import MultiPartParser
from werkzeug.http import parse_options_header

from caxton.api.errors import RequestTooLarge, UnsupportedMediaType
from caxton.core.config import decode
from caxton.core.decoding import UNREADABLE
from caxton.core.errors import InvalidConfig, InvalidRequest
from caxton.core.limits import format_bytes
from caxton.core.manifest import AgentConfig, parse_agent_config
from caxton.core.views import EdgeLimits

STRATEGIES = ("direct", "immediate")
TEXT_PARTS = frozenset({"config", "name", "kind", "strategy"})
OVERHEAD = 1 << 20  # what may stand around a module: the config, the boundaries


class Deployment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to deploy, as it arrived. `config` is a table, or text in a language that `config_name` tells."""

    kind: Literal["wasm", "attached"] = "wasm"
    name: str = ""
    wasm_module: bytes | None = None
    config: dict[str, Any] | str | None = None  # Any: core/manifest.py reads it
    config_name: str = "config.yaml"
    strategy: str = "direct"

    def agent_config(self, limits: EdgeLimits, name: str = "") -> AgentConfig:
        """The configuration; a name beside it, or in the path, overrules the one inside. Raises InvalidConfig."""
        table = self.config or {}
        if isinstance(table, str):
            try:
                table = decode(table, self.config_name)
            except RecursionError:
                raise InvalidConfig("the configuration is nested too deep") from None
            _check_size(table)
        if name or self.name:
            table = {**table, "name": name or self.name}
        return parse_agent_config(table, defaults=limits.agent_defaults)


DECODER = msgspec.json.Decoder(Deployment)


def body_limit(limits: EdgeLimits) -> int:
    return limits.max_module_size * 4 // 3 + OVERHEAD  # base64 takes four bytes for three


def read_deployment(body: bytes, content_type: str, limits: EdgeLimits) -> Deployment:
    """Raises InvalidRequest, RequestTooLarge, UnsupportedMediaType."""
    kind, options = parse_options_header(content_type)
    try:
        if kind == "multipart/form-data":
            deployment = msgspec.convert(_read_multipart(body, options), Deployment)
        elif kind == "application/json":
            deployment = DECODER.decode(body)
        else:
            raise UnsupportedMediaType(
                f"an agent is deployed as multipart/form-data or application/json, not {kind or 'without Content-Type'}"
            )
    except UNREADABLE as error:
        raise InvalidRequest(f"the request does not describe an agent: {error}") from None
    if deployment.strategy not in STRATEGIES:
        raise InvalidRequest(
            f"strategy {deployment.strategy!r} is not available; available: {', '.join(STRATEGIES)}",
            details={"field": "strategy"},
        )
    size = len(deployment.wasm_module or b"")
    if size > limits.max_module_size:
        raise RequestTooLarge(
            f"the module has {size} bytes, the limit is {format_bytes(limits.max_module_size)}",
            hint="strip debug information, or raise runtime.max_module_size",
            details={"limit": limits.max_module_size, "size": size},
        )
    return deployment


def _check_size(value: object) -> None:
    """Raises InvalidConfig for what a few YAML aliases of aliases blow up to, or what contains itself."""
    left = OVERHEAD
    waiting = [value]
    while waiting:
        item = waiting.pop()
        left -= 1 + (len(item) if isinstance(item, str) else 0)
        if left < 0:
            raise InvalidConfig(f"the configuration is longer than {OVERHEAD} bytes once its aliases are replaced")
        if isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, list):
            waiting += item


def _read_multipart(body: bytes, options: Mapping[str, str]) -> dict[str, object]:
    # the parser holds each chunk, with what was left of the last one, against the memory for fields
    parser = MultiPartParser(
        stream_factory=lambda *_, **__: BytesIO(),
        max_form_memory_size=OVERHEAD,
        max_form_parts=16,
        buffer_size=OVERHEAD // 4,
    )
    try:
        form, files = parser.parse(BytesIO(body), options["boundary"].encode(), len(body))
    except (KeyError, ValueError) as error:
        reason = "no boundary in the Content-Type" if isinstance(error, KeyError) else str(error)
        raise InvalidRequest(f"the multipart body cannot be read: {reason}") from None
    parts: dict[str, object] = dict(form.items())
    for name, file in files.items():
        data = file.stream.read()
        if name == "wasm":
            parts["wasm_module"] = data
        elif name in TEXT_PARTS:
            try:
                parts[name] = data.decode()
            except UnicodeDecodeError:
                raise InvalidRequest(f"the part {name!r} is not UTF-8 text") from None
            if name == "config" and file.filename:
                parts["config_name"] = file.filename
        else:
            raise InvalidRequest(
                f"unknown file part {name!r}; send the module as 'wasm', its configuration as 'config'"
            )
    return parts
