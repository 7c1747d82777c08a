"""Agents as projects: create one from a skeleton, build it, test it, and see changes at once."""
