"""The hot path.

Compiled, without the interpreter's lock. Importing it loads libwasmtime, whose symbols the extensions need.
"""

from caxton._fast import wasm as wasm
