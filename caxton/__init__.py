"""Caxton: a server that hosts agents and carries their messages."""

__version__ = "0.1.0"
