"""Builds the extensions of caxton/_fast; everything else is in pyproject.toml.

Each .pyx becomes one extension. libwasmtime's symbols are resolved when the extension is imported, out of the shared
object that caxton/_fast/wasm/__init__.py has loaded before (DESIGN.md 5), so nothing links against it here.
"""

import os
import shutil
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_py import build_py

compile_args = ["-O2", "-std=c11", "-fno-strict-aliasing", "-Wno-unused-function", "-Wno-sign-compare"]
link_args: list[str] = ["-lpthread"]
if sys.platform == "darwin":
    link_args += ["-undefined", "dynamic_lookup"]

sanitizer = os.environ.get("CAXTON_SANITIZE", "")
if sanitizer:
    compile_args += [f"-fsanitize={sanitizer}", "-g", "-O1", "-fno-omit-frame-pointer"]
    link_args += [f"-fsanitize={sanitizer}"]
if sanitizer == "thread":
    # It does not follow fences, and says so at each of them. Ours put a store before a load, as no other order does;
    # what one thread shows another goes by acquire and release, which it follows.
    compile_args += ["-Wno-tsan"]

extensions = [
    Extension(
        ".".join(source.with_suffix("").parts),
        [str(source)],
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )
    for source in sorted(Path("caxton/_fast").rglob("*.pyx"))
]


class BuildPy(build_py):
    """`caxton agent create` copies the SDKs; they lie beside the package in a checkout, inside of it when installed."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        into = Path(self.build_lib) / "caxton/cli/projects/sdk"
        shutil.rmtree(into, ignore_errors=True)
        shutil.copytree("sdk", into, ignore=shutil.ignore_patterns("examples", "acceptance", "__pycache__"))
        shutil.copytree("wit", into / "wit")


setup(
    cmdclass={"build_py": BuildPy},
    options={"build_ext": {"parallel": os.cpu_count()}},
    ext_modules=cythonize(
        extensions,
        build_dir="build/cython",
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
            "binding": True,
            "embedsignature": True,
            "freethreading_compatible": False,
        },
    ),
)
