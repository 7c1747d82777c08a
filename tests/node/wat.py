"""The guests beside this file, and the examples, as the bytes that are deployed."""

import json
from functools import cache
from pathlib import Path

from caxton._fast.wasm.module import wat2wasm
from tests._fast import wrapping

GUESTS = Path(__file__).parent / "guests"
EXAMPLES = Path(__file__).parents[2] / "examples"


def guest(name: str, text: str = "") -> bytes:
    """*text* stands in the guest's memory for $(TEXT)."""
    return _guest(name, text, wrapping.chosen)


@cache
def _guest(name: str, text: str, is_component: bool) -> bytes:
    wat = (GUESTS / f"{name}.wat").read_text()
    data = text.encode()
    wat = wat.replace("$(TEXT)", "".join(f"\\{byte:02x}" for byte in data)).replace("$(LENGTH)", str(len(data)))
    return wat2wasm(wrapping.text(wat) if is_component else wat)


@cache
def example(name: str) -> bytes:
    return (EXAMPLES / name / f"{name}.wasm").read_bytes()


def message(receiver: str | list[str], content: object = None, **fields: object) -> bytes:
    return json.dumps({"performative": "request", "receiver": receiver, "content": content, **fields}).encode()
