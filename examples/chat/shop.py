"""A shop as a server of the Model Context Protocol: what it sells stands in goods.csv.

Started by Caxton (caxton.yaml beside it), it speaks over its standard streams.
"""

import csv
from pathlib import Path
from typing import TypedDict

import trio
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

GOODS = Path(__file__).with_name("goods.csv")

shop = MCPServer("shop")


class Goods(TypedDict):
    name: str
    count: int
    price: float


def stock() -> dict[str, Goods]:
    with GOODS.open(encoding="utf-8", newline="") as file:
        rows = [
            Goods(name=row["name"], count=int(row["count"]), price=float(row["price"])) for row in csv.DictReader(file)
        ]
    return {row["name"]: row for row in rows}


@shop.tool()
def find(text: str) -> list[str]:
    """Names of the goods that a text speaks of."""
    return [name for name in stock() if name in text]


@shop.tool()
def look_up(name: str) -> Goods:
    """How many there are of one of the goods, and what it costs."""
    if (found := stock().get(name)) is None:
        raise ToolError(f"we do not sell {name}")
    return found


if __name__ == "__main__":
    trio.run(shop.run_stdio_async)
