"""Search for inputs that break a target: `make fuzz`, or `python -m tests.fuzz.run --seconds 60 frame`.

The native part is compiled once more, by clang, with libFuzzer's coverage and the address and undefined-behaviour
sanitizers, into build/fuzz/lib; driver.c is the fuzzer around it. What the search learns is kept in build/fuzz/corpus,
what it finds in build/fuzz/findings; `--again FILE` runs one finding again.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TARGETS = {  # and the longest input of each
    "envelope_json": 4096,
    "frame": 2048,
    "abi_pointers": 1024,
    "segment": 4096,
    "component_calls": 1024,
    "component_binary": 4096,
}
ROOT = Path(__file__).parent.parent.parent
HERE = ROOT / "tests" / "fuzz"
BUILD = ROOT / "build" / "fuzz"
FINDINGS = BUILD / "findings"
SANITIZERS = "address,undefined"
INSTALL = ["apt-get", "install", "-q", "-y", "--no-install-recommends"]


# -- building --------------------------------------------------------------------------------------------------------


def has_fuzzer(clang: str) -> bool:
    """Whether it links a fuzzer: on Debian the runtimes are in a package of their own."""
    source = "int LLVMFuzzerTestOneInput(const char *data, unsigned long size) { return data[size]; }"
    command = [clang, f"-fsanitize=fuzzer,{SANITIZERS}", "-x", "c", "-", "-o", os.devnull]
    return subprocess.run(command, input=source, text=True, capture_output=True, check=False).returncode == 0


def installed() -> str | None:
    names = ["clang", *(f"clang-{version}" for version in range(25, 13, -1))]
    return next((name for name in names if shutil.which(name) and has_fuzzer(name)), None)


def find_clang() -> str:
    clang = os.environ.get("CLANG") or installed()
    if clang is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-q"], check=True, env=environment, stdout=subprocess.DEVNULL)
        subprocess.run([*INSTALL, "clang", "llvm"], check=True, env=environment, stdout=subprocess.DEVNULL)
        if not has_fuzzer("clang"):
            version = subprocess.run(["clang", "-dumpversion"], check=True, capture_output=True, text=True).stdout
            runtimes = f"libclang-rt-{version.split('.')[0]}-dev"
            subprocess.run([*INSTALL, runtimes], check=True, env=environment, stdout=subprocess.DEVNULL)
        clang = installed()
    if clang is None:
        sys.exit(
            "Fuzzing needs clang 14 or later and its libFuzzer (Debian: apt-get install clang llvm libclang-rt-14-dev)."
        )
    return clang


def link_python() -> list[str]:
    """Linker arguments for the shared library of the interpreter that runs this."""
    name = f"python{sysconfig.get_config_var('LDVERSION')}"
    for variable in ("LIBDIR", "LIBPL"):
        folder = sysconfig.get_config_var(variable)
        if folder and Path(folder, f"lib{name}.so").exists():
            return [f"-L{folder}", f"-l{name}", f"-Wl,-rpath,{folder}"]
    sys.exit(f"Fuzzing needs lib{name}.so beside this Python (Debian: apt-get install python3-dev).")


def build() -> None:
    clang = find_clang()
    BUILD.mkdir(parents=True, exist_ok=True)
    flags = {"CC": clang, "LDSHARED": f"{clang} -shared", "CAXTON_SANITIZE": f"fuzzer-no-link,{SANITIZERS}"}
    setup = [
        sys.executable,
        "setup.py",
        "--quiet",
        "build",
        "--build-base",
        str(BUILD),
        "--build-lib",
        str(BUILD / "lib"),
    ]
    subprocess.run(setup, check=True, cwd=ROOT, env=os.environ | flags)
    # the extensions find the sanitizers and the counters in the program: it exports all that it has
    driver = [clang, "-g", "-O1", f"-fsanitize=fuzzer,{SANITIZERS}", "-rdynamic", f"-I{sysconfig.get_path('include')}"]
    subprocess.run([*driver, str(HERE / "driver.c"), *link_python(), "-o", str(BUILD / "driver")], check=True)


# -- running ---------------------------------------------------------------------------------------------------------


def environment(target: str) -> dict[str, str]:
    # A guest's trap is a signal. wasmtime's handlers come after the sanitizer's and pass on to it what is not theirs.
    sanitizer = {
        "detect_leaks": 0,  # the interpreter's, at its exit
        "detect_stack_use_after_return": 0,  # host functions run on the stacks of fibers
        "quarantine_size_mb": 32,
    }
    return os.environ | {
        "CAXTON_FUZZ_PYTHON": sys.executable,
        "CAXTON_FUZZ_TARGET": f"tests.fuzz.{target}",
        "PYTHONPATH": os.pathsep.join([str(BUILD / "lib"), str(ROOT)]),
        "PYTHONMALLOC": "malloc",  # the sanitizer sees the ends of Python's buffers too
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ASAN_OPTIONS": ":".join(f"{name}={value}" for name, value in sanitizer.items()),
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    }


def search(target: str, seconds: int) -> bool:
    """Run a target for so long; say how far it came, and whether it found nothing."""
    grown = BUILD / "corpus" / target
    log = BUILD / f"{target}.log"
    grown.mkdir(parents=True, exist_ok=True)
    FINDINGS.mkdir(parents=True, exist_ok=True)
    before = set(FINDINGS.iterdir())
    command = [
        *(str(BUILD / "driver"), str(grown), str(HERE / "corpus" / target)),
        *(f"-dict={HERE / target}.dict", f"-max_len={TARGETS[target]}", f"-artifact_prefix={FINDINGS}/{target}-"),
        *(f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"),
    ]
    with log.open("w") as output:
        status = subprocess.run(
            command, check=False, cwd=ROOT, env=environment(target), stdout=output, stderr=subprocess.STDOUT
        ).returncode
    text = log.read_text(errors="replace")
    instrumented = sum(map(int, re.findall(r"^INFO: Loaded (\d+) modules", text, re.MULTILINE)))
    runs = re.findall(r"^stat::number_of_executed_units: (\d+)", text, re.MULTILINE)
    covered = re.findall(r"cov: (\d+) ft: \d+ corp: (\d+)", text)
    edges, kept = covered[-1] if covered else ("0", "0")
    summary = f"{target}: {runs[-1] if runs else '?'} executions, {edges} edges covered, {kept} inputs kept"
    sys.stdout.write(f"{summary}; {log.relative_to(ROOT)}\n")  # one write: another target may print beside it
    sys.stdout.flush()
    if status == 0 and instrumented > 1:  # the driver is one
        return True
    found = sorted(set(FINDINGS.glob(f"{target}-*")) - before)
    print("\n".join(text.splitlines()[-60:]))
    if status == 0:
        print(f"{target}: no extension that was loaded is instrumented")
    for path in found:
        print(f"{target}: FAILED on {path.relative_to(ROOT)}; run it again with")
        print(f"    {shlex.join([sys.executable, '-m', 'tests.fuzz.run', '--again', str(path.relative_to(ROOT))])}")
    return False


def again(path: Path) -> int:
    target = next((name for name in TARGETS if path.name.startswith(f"{name}-")), path.parent.name)
    if target not in TARGETS:
        sys.exit(f"{path} names no target; call it {' or '.join(f'{name}-...' for name in TARGETS)}")
    command = [str(BUILD / "driver"), str(path.resolve())]
    return subprocess.run(command, check=False, cwd=ROOT, env=environment(target)).returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)}; all of them if none")
    parser.add_argument("--seconds", type=int, default=600, help="for each target (600)")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time (1)")
    parser.add_argument("--again", type=Path, metavar="FILE", help="run the target on this one input")
    options = parser.parse_args()
    targets = options.targets or list(TARGETS)
    if unknown := set(targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    build()
    if options.again:
        return again(options.again)
    with ThreadPoolExecutor(options.jobs) as pool:
        clean = list(pool.map(lambda target: search(target, options.seconds), targets))
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main())
