"""The node: opens the rooms in order and closes them in reverse. `open_node` is its door."""

from caxton.node.node import Node, open_node

__all__ = ["Node", "open_node"]
