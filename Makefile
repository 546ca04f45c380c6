# `make demo` and `make test` need python3 (3.11 or newer) and make; the rest is installed into .venv.
# Another interpreter: make PYTHON=python3.12 demo

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
TEST := $(VENV)/.test-installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test lint lock bench clean

help:
	@echo "make demo    train and evaluate on the embedded catalog (installs the runtime first)"
	@echo "make test    run every test"
	@echo "make lint    ruff, its formatter, and mypy"
	@echo "make setup   only install: runtime and test packages, into $(VENV)"
	@echo "make bench   time a training step; prints one JSON line"
	@echo "make lock    renew the lock files from pyproject.toml"
	@echo "make clean   remove $(VENV) and every cache"

setup: $(TEST)

demo: $(RUNTIME)
	$(BIN)/taggen demo

test: $(TEST)
	$(BIN)/python -m pytest -n 2 --dist=loadfile -q

lint: $(TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(TEST)
	$(BIN)/python tools/bench_train.py

# Pins that pyproject.toml still allows are kept; `make lock UPGRADE=--upgrade` takes the newest instead.
# A local version ("2.13.0+cpu") names one index's build of a release: only the release is locked.
COMPILE = CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url \
	--no-emit-find-links --no-emit-trusted-host --no-emit-options --annotation-style=line $(UPGRADE)

lock: $(TEST)
	$(COMPILE) --extra=test --output-file=requirements-test.lock pyproject.toml
	sed 's/+[a-z0-9.]* / /' requirements-test.lock > $(VENV)/lock && cp $(VENV)/lock requirements-test.lock
	$(COMPILE) --constraint=requirements-test.lock --output-file=requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is newer than the files it was installed from, or the installation is done again.
$(RUNTIME): requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --requirement requirements.lock
	$(BIN)/python -m pip install --no-deps --editable .
	@touch $@

$(TEST): requirements-test.lock $(RUNTIME)
	$(BIN)/python -m pip install --requirement requirements-test.lock
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true); Python 3.11 or newer is needed:" \
	       "install it, or name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "make: '$(PYTHON)' cannot make a virtual environment: install its venv module" \
	       "(on Debian and Ubuntu the package python3-venv)" >&2; exit 1; }
