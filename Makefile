# Everything is done by `make` in the checkout; `.venv/` is the environment. On a fresh machine `make test` or `make demo` needs
# Python 3.11 or later (with its headers), a C compiler and make, and does the rest.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
PYTEST_ARGS ?=
PEERS_ARGS ?=
TORTURE_ARGS ?=
BASE ?=
COMPARE_ARGS ?=

NATIVE := $(shell find caxton/_fast -name '*.pyx' -o -name '*.pxd' -o -name '*.h' 2>/dev/null)
ENVIRONMENT := $(VENV)/.stamp-environment
EXTENSIONS := $(VENV)/.stamp-extensions

# Wasmtime catches SIGSEGV and friends itself, that is how a guest traps; and leaks at exit are the interpreter's.
# Tests that hold memory or time against a bound say nothing about this build, which takes several times as much.
SANITIZED := build/sanitized/lib
SANITIZED_TESTS := not (memory_bomb or heaps_up or small_address_space or burns_no_time or cannot_be_started or for_long)
SANITIZING = PYTHONPATH=$(CURDIR)/$(SANITIZED) \
    LD_PRELOAD="$$($${CC:-cc} -print-file-name=libasan.so) $$($${CC:-cc} -print-file-name=libubsan.so)" \
    ASAN_OPTIONS=detect_leaks=0:handle_segv=0:handle_sigbus=0:handle_sigill=0:handle_sigfpe=0:detect_stack_use_after_return=0 \
    UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help build demo test check quick lint types layers bench bench-compare peers torture-quick torture sanitize docs examples clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: $(EXTENSIONS) ## make .venv, install everything, compile the native part

demo: build ## start a server, deploy two agents that talk, print what they do and how fast
	@$(BIN)/python -m caxton.cli.demo

test: build ## run the whole test suite
	@$(BIN)/pytest $(PYTEST_ARGS)

quick: build ## run the tests that are not marked slow
	@$(BIN)/pytest -m "not slow" $(PYTEST_ARGS)

check: lint types layers test ## what CI runs: lint, types, layers, test

lint: build ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: build ## mypy, strict
	@$(BIN)/mypy

layers: build ## import-linter: imports run down only
	@$(BIN)/lint-imports

bench: build ## run the asv benchmarks on this checkout, in this environment
	@$(BIN)/asv machine --yes >/dev/null
	@$(BIN)/asv run --python=same --quick --show-stderr

bench-compare: build ## BASE=revision: count instructions of it and of this checkout, fail above 10 % growth (valgrind)
	@test -n "$(BASE)" || { echo "Name the revision to compare with: make bench-compare BASE=main" >&2; exit 2; }
	@$(BIN)/python -m bench.compare.run "$(BASE)" $(COMPARE_ARGS)

peers: build ## measure Caxton beside other agent systems, which it installs into build/peers
	@$(BIN)/python -m bench.peers.run $(PEERS_ARGS)

torture-quick: build ## prove that nothing acknowledged is lost: 20 kills, 200 power cuts; under 5 minutes
	@$(BIN)/python -m tests.torture quick $(TORTURE_ARGS)

torture: build ## the same with 200 kills, 1,000,000 acknowledged messages and 1,000 power cuts
	@$(BIN)/python -m tests.torture full $(TORTURE_ARGS)

sanitize: build ## compile the native part with address and undefined-behaviour checks, run its tests (gcc, Linux)
	@CAXTON_SANITIZE=address,undefined $(BIN)/python setup.py --quiet build --build-base build/sanitized --build-lib $(SANITIZED)
	@$(SANITIZING) $(BIN)/python -P -c 'import caxton._fast.envelope as e; assert "sanitized" in e.__file__, e.__file__'
	@$(SANITIZING) $(BIN)/pytest --capture=sys -o "pythonpath=$(SANITIZED) ." --timeout 600 -k "$(SANITIZED_TESTS)" tests/_fast tests/runtime/test_supervisor.py \
	    $(PYTEST_ARGS)

docs: build ## check that every link and anchor in the documents leads somewhere
	@$(BIN)/python docs/check_links.py

examples: build ## build the example agents' .wasm from their sources
	@$(BIN)/python examples/build.py

clean: ## remove what was built and what tools left behind (.venv stays)
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .asv
	rm -f $(EXTENSIONS)
	find caxton tests bench examples docs -name __pycache__ -type d -prune -exec rm -rf {} +
	find caxton/_fast -name '*.so' -delete

# -- how it is done --

# The newest suitable interpreter. `import venv, ensurepip` and Python.h are what Debian keeps in packages of their own.
define SUITABLE
import os, sys, sysconfig
if sys.version_info < (3, 11): sys.exit("%s is Python %d.%d; 3.11 or later is needed" % (sys.executable, *sys.version_info[:2]))
try: import venv, ensurepip
except ImportError: sys.exit("%s has no venv; install it (Debian: apt-get install python3-venv)" % sys.executable)
header = os.path.join(sysconfig.get_path("include"), "Python.h")
if not os.path.exists(header): sys.exit("%s has no C headers; install them (Debian: apt-get install python3-dev)" % sys.executable)
endef
export SUITABLE

$(ENVIRONMENT): pyproject.toml
	@command -v $${CC:-cc} >/dev/null || { echo "A C compiler is needed (Debian: apt-get install gcc; macOS: xcode-select --install)." >&2; exit 1; }
	@why=""; for python in $(PYTHON) python3.14 python3.13 python3.12 python3.11 python3; do \
	    command -v $$python >/dev/null || continue; \
	    if said=$$($$python -c "$$SUITABLE" 2>&1); then found=$$python; break; fi; \
	    why="$$why\n  $$python: $$said"; \
	done; \
	if [ -z "$$found" ]; then \
	    printf "No Python that will do: 3.11 or later, with venv and C headers, is needed.$$why\nName one with make PYTHON=/path/to/python3.\n" >&2; exit 1; \
	fi; \
	if [ ! -x $(BIN)/python ] || ! $(BIN)/python -c 'import pip' 2>/dev/null; then \
	    echo "Making $(VENV) with $$found"; $$found -m venv --clear $(VENV); \
	fi
	@echo "Installing the environment"
	@$(BIN)/python -m pip install -qq --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install -qq --group dev
	@$(BIN)/python -m pip install -qq --no-build-isolation --editable .
	@touch $@

$(EXTENSIONS): $(ENVIRONMENT) setup.py $(NATIVE)
	@echo "Compiling"
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@
