"""Tools that agents call: servers of the Model Context Protocol, and the desk where calls come in."""

from caxton.tools.desk import Desk, check_sdk, open_tools

__all__ = ["Desk", "check_sdk", "open_tools"]
