"""Loads libwasmtime for the extensions of this package, and nothing else.

The shared object comes out of the `wasmtime` wheel; the wheel's own ctypes layer is never imported. It is loaded with
RTLD_GLOBAL here, before any extension below this package can be imported, because the extensions find its symbols at
that moment. The layouts in `c_api.pxd` hold for one minor version, so another one is refused with a sentence instead of
a crash.
"""

import ctypes
import importlib.util
import platform
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Final

WANTED: Final = "50.0."

_LIBRARIES: Final = {"linux": "_libwasmtime.so", "darwin": "_libwasmtime.dylib"}
_MACHINES: Final = {"AMD64": "x86_64", "arm64": "aarch64", "ARM64": "aarch64"}


def _wheel_version(package: Path) -> str:
    """Read the version off the wheel's dist-info folder: importing importlib.metadata for it would cost 60 ms."""
    found = [path.name for path in package.parent.glob("wasmtime-*.dist-info")]
    if len(found) == 1:
        return found[0].removeprefix("wasmtime-").removesuffix(".dist-info")
    from importlib.metadata import version

    return version("wasmtime")


def _locate(spec: ModuleSpec | None) -> tuple[Path, str]:
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("the `wasmtime` package is not installed; `pip install 'wasmtime==50.0.*'` brings the engine")
    package = Path(spec.submodule_search_locations[0])
    version = _wheel_version(package)
    if not version.startswith(WANTED):
        raise ImportError(
            f"Caxton is built for wasmtime {WANTED}*, found {version} in {package}; `pip install 'wasmtime=={WANTED}*'`"
        )
    if sys.platform not in _LIBRARIES or sys.maxsize <= 2**32:
        raise ImportError(f"Caxton runs on 64-bit Linux and macOS, this is {sys.platform}")
    machine = platform.machine()
    library = package / f"{sys.platform}-{_MACHINES.get(machine, machine)}" / _LIBRARIES[sys.platform]
    if not library.is_file():
        raise ImportError(
            f"the wasmtime {version} wheel has no engine for this machine ({machine}): {library} is missing"
        )
    return library, version


_path, WASMTIME_VERSION = _locate(importlib.util.find_spec("wasmtime"))
LIBRARY: Final = ctypes.CDLL(str(_path), mode=ctypes.RTLD_GLOBAL)
