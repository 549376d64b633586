# Everything a newcomer or a machine needs: `make run`, `make test`. Each target makes what it lacks and can be repeated.
#
# PYTHON  the interpreter to build .venv with (default: the first of python3, python3.14 … python3.11 that is 3.11 or newer)
# ARGS    handed on to pytest (make test), or to bench/bench.py (make bench), balance.py (bench-balance), profile_worker.py (profile)

PYTHON ?=
ARGS ?=
VENV := .venv
PIP := $(VENV)/bin/python -m pip -qq --disable-pip-version-check --no-input
CODE := terraster tests bench setup.py $(shell grep -ls "^#!.*python" bin/*)

.PHONY: run test lint format bench bench-balance bench-reload profile clean
.DELETE_ON_ERROR:

run: $(VENV)/.installed
	@exec $(VENV)/bin/terraster --config etc/terraster.yaml --demo

test: lint
	@$(VENV)/bin/python -m pytest -rfEs $(ARGS) && status=0 || status=$$?; sh .ci/missing; exit $$status

lint: $(VENV)/.installed-test
	@$(VENV)/bin/ruff format --quiet --check $(CODE) || { echo "ruff format: run 'make format'"; exit 1; }
	@$(VENV)/bin/ruff check --quiet $(CODE)
	@$(VENV)/bin/mypy --no-error-summary terraster
	@$(VENV)/bin/lint-imports --no-cache > $(VENV)/lint-imports.log 2>&1 || { cat $(VENV)/lint-imports.log; exit 1; }

format: $(VENV)/.installed-test
	@$(VENV)/bin/ruff format --quiet $(CODE)
	@$(VENV)/bin/ruff check --quiet --fix $(CODE)

bench: $(VENV)/.installed
	@$(VENV)/bin/python bench/bench.py $(ARGS)

bench-balance: $(VENV)/.installed-test
	@$(PIP) install --editable '.[bench]'
	@$(VENV)/bin/python bench/balance.py $(ARGS)

bench-reload: $(VENV)/.installed-test
	@$(VENV)/bin/python -m tests.harness.reload_probe $(ARGS)

profile: $(VENV)/.installed
	@$(PIP) install --editable '.[profile]'
	@$(VENV)/bin/python bench/profile_worker.py $(ARGS)

clean:
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache bench/results
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps depend on setup.cfg: a changed dependency is installed by the next `make run` or `make test`.

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

$(VENV)/.installed: $(VENV)/.python setup.cfg setup.py
	@echo "Installing Terraster into $(VENV) …"
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.python setup.cfg setup.py
	@echo "Installing Terraster and its test tools into $(VENV) …"
	@$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/.installed
