"""The compiler's own process: a module's bytes come in on stdin, the artefact goes out on stdout.

Run as `python -m caxton.runtime.compile_child MEMORY CPU_SECONDS RESERVATION KIND`, where KIND is `module` or
`component`. The compiler is not hardened against its input, so it works here, under limits set before the first byte is
read; runtime/modules.py starts it and judges its end.

Rule 1: imports as little as possible: its start is part of every deployment.
Rule 2: exit 0 and an artefact, or exit REFUSED and one line on stderr that says why; any other end is a crash.
"""

import sys

REFUSED = 3


def limit(memory: int, cpu_seconds: int) -> None:
    """Bound address space and CPU time, write no files, dump no core, and let the agents go first; but when memory is
    short, be the first to be killed."""
    import os
    import resource

    os.nice(5)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except OSError:  # not Linux, or it is said to be spared even less
        pass
    wanted = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CPU, cpu_seconds),  # SIGXCPU; at the hard limit it would be SIGKILL
        (resource.RLIMIT_AS, memory),
    ]
    for which, value in wanted:
        _, hard = resource.getrlimit(which)
        if hard == resource.RLIM_INFINITY or hard > value:
            hard = value + (which == resource.RLIMIT_CPU)
        try:
            resource.setrlimit(which, (min(value, hard), hard))
        except (ValueError, OSError):  # macOS refuses some of them; the parent's clock still runs
            continue


def main(arguments: list[str]) -> int:
    memory, cpu_seconds, reservation = (int(argument) for argument in arguments[:3])
    limit(memory, cpu_seconds)
    from caxton._fast.wasm.component import Component
    from caxton._fast.wasm.engine import Engine
    from caxton._fast.wasm.module import Module
    from caxton.core.errors import CaxtonError

    wasm = sys.stdin.buffer.read()
    try:
        # on demand: nothing is instantiated here, so nothing needs to be reserved; the code is the same
        engine = Engine(pooling=False, memory_reservation=reservation)
        if arguments[3] == "component":
            artefact = Component.artefact(engine, wasm)
        else:
            artefact = Module.compile(engine, wasm).serialize()
    except CaxtonError as error:
        sys.stderr.write(str(error))
        return REFUSED
    sys.stdout.buffer.write(artefact)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
