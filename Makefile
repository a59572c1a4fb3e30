# Every target works from a fresh clone; only Python >= 3.11 and make are needed.

PYTHON ?= python3
# More arguments for pytest, such as PYTEST_ARGS="-k groups".
PYTEST_ARGS ?=
# Processes that tests run in. They share nothing of what they compile, so that each takes its part
# of the list in one piece: tests of one room compile the same programs.
PYTEST_WORKERS ?= auto
PYTEST_OPTIONS = -n $(PYTEST_WORKERS) --maxprocesses 8 --dist worksteal $(MARKS) $(PYTEST_ARGS)
# More arguments for the demo, such as DEMO_ARGS="--targets homo lumo".
DEMO_ARGS ?=

SOURCES := eqattn tests benchmarks tools colabs docs README.md
OTHER_PYTHONS := 3.12 3.13
BIN := .venv/bin
CORE := .venv/.installed-core
DEV := .venv/.installed-dev
DOCS := .venv/.installed-docs

# Only errors: -q alone lets through warnings that are no concern of a newcomer.
PIP_INSTALL := -m pip install -qq --disable-pip-version-check --no-input
CHECK_VERSION := import sys; sys.exit(sys.version_info < (3, 11))

MAKEFLAGS += --no-print-directory
.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

.PHONY: help
help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1 /p' Makefile | while read -r target text; do \
	  printf 'make %-15s %s\n' "$$target" "$$text"; done

.PHONY: install
install: $(DEV)  ## create .venv with this package, editable, and what its tests need

.PHONY: demo
demo: $(CORE)  ## install the package and train on 2,400 molecules; results go to a new runs/ folder
	@$(BIN)/eqattn train molecules --preset demo $(DEMO_ARGS)

.PHONY: test
test: $(DEV)  ## run the tests but the slow ones, the doctests and the examples of README.md and docs/
	@$(BIN)/python -m pytest $(PYTEST_OPTIONS)

.PHONY: test-all
test-all: export EQATTN_TEST_OPTIMIZED := 1  # compile as users do, see tests/conftest.py
test-all: MARKS := -m ""  # the slow ones too
test-all: test notebooks $(OTHER_PYTHONS:%=test-python-%)  ## all tests, notebooks, and the tests on other Pythons

.PHONY: notebooks
notebooks: $(DEV)  ## run every notebook in colabs/, and compare what it states with what is stored
	@$(BIN)/python -m pytest colabs $(PYTEST_OPTIONS)

.PHONY: notebooks-store
notebooks-store: $(DEV)  ## run every notebook in colabs/, and store what it shows
	@$(BIN)/python -m tools.notebooks

.PHONY: docs
docs: $(DOCS)  ## build the documentation, offline, to docs/_build/html/index.html
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

.PHONY: mutants
mutants: $(DEV)  ## plant faults one by one, and see that the tests notice; goes on where it stopped
	@$(BIN)/python -m tests.mutants

.PHONY: lint
lint: $(DEV)  ## check format, style and types
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/pyright --pythonpath $(BIN)/python

.PHONY: bench
bench: $(DEV)  ## measure attention, and write benchmarks/results/attention-cpu.json
	@$(BIN)/python -m benchmarks.attention --json benchmarks/results/attention-cpu.json

.PHONY: bench-check
bench-check: $(DEV)  ## measure two workloads, and compare ratios with the recorded ones
	@$(BIN)/python -m benchmarks.check

.PHONY: clean
clean:  ## remove the environments, caches and builds; runs/ stays
	rm -rf .venv .venv-* build dist docs/_build docs/notebooks *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Environments. A stamp is older than pyproject.toml when something must be installed again.

$(BIN)/python:
	@$(PYTHON) -c '$(CHECK_VERSION)' || { \
	  echo "Python >= 3.11 is needed, and $(PYTHON) is not one: make PYTHON=/path/to/python" >&2; \
	  exit 1; }
	@$(PYTHON) -m venv --clear .venv

$(CORE): pyproject.toml | $(BIN)/python
	@echo "Installing eqattn in .venv …" >&2
	@$(BIN)/python $(PIP_INSTALL) -e .
	@touch $@

$(DEV): pyproject.toml | $(BIN)/python
	@echo "Installing eqattn and its development tools in .venv …" >&2
	@$(BIN)/python $(PIP_INSTALL) -e '.[dev]'
	@touch $(CORE) $@

$(DOCS): pyproject.toml | $(BIN)/python
	@echo "Installing eqattn and what builds its documentation in .venv …" >&2
	@$(BIN)/python $(PIP_INSTALL) -e '.[docs]'
	@touch $(CORE) $@

# The tests on another Python, in an environment of its own; skipped where that Python is absent.
test-python-%:
	@python=; \
	for candidate in python$* "$$HOME"/.pyenv/versions/$*.*/bin/python; do \
	  if "$$candidate" -c '' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "Python $* is not here: its tests are skipped." >&2; exit 0; fi; \
	set -e; \
	if [ ! .venv-$*/.installed -nt pyproject.toml ]; then \
	  echo "Installing eqattn and its development tools in .venv-$* …" >&2; \
	  "$$python" -m venv --clear .venv-$*; \
	  .venv-$*/bin/python $(PIP_INSTALL) -e '.[dev]'; \
	  touch .venv-$*/.installed; \
	fi; \
	.venv-$*/bin/python -m pytest $(PYTEST_OPTIONS)
