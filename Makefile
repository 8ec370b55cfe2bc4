# One door for people and for CI. `make` prints what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup up down status demo check format test test-fast bench-api bench-host bench-processor chaos soak protos clean

UV_VERSION := 0.13.9
UV := .venv/bin/uv
RUN := .venv/bin/python -m
PYTHON ?= python3

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run
up: setup ## Start the whole platform on this machine and leave it running
	@$(RUN) manman_devstack up

demo: up ## Play a real OpenTTD server through the whole platform
	@$(RUN) manman_devstack demo

status: setup ## Show what runs, and where
	@$(RUN) manman_devstack status

down: ## End everything that `make up` started
	@if [ -x .venv/bin/python ]; then $(RUN) manman_devstack down; fi

##@ Work
setup: .venv/.synced ## Install the Python side into .venv

# Debian's python3 comes without ensurepip: then the virtual environment is made without pip, and uv is put beside it.
.venv/bin/uv:
	@echo "creating .venv"
	@$(PYTHON) -m venv .venv >/dev/null 2>&1 || $(PYTHON) -m venv --without-pip .venv
	@if [ -x .venv/bin/pip ]; then .venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); \
	else $(PYTHON) -m pip --python .venv/bin/python install --quiet --disable-pip-version-check uv==$(UV_VERSION); fi

.venv/.synced: .venv/bin/uv uv.lock pyproject.toml $(wildcard libs/*/pyproject.toml services/*/pyproject.toml)
	@echo "installing from uv.lock"
	@$(UV) sync --quiet --frozen --all-packages
	@touch $@

protos: setup ## Generate the code from proto/ again
	@$(RUN) manman_devstack.protos

format: setup ## Write the one format
	@.venv/bin/ruff check --quiet --fix-only .
	@.venv/bin/ruff format --quiet .

##@ Prove
check: setup ## Format, lint, types, import rules, architecture
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/buf lint
	@.venv/bin/mypy $(wildcard libs/*/src services/*/src)
	@.venv/bin/lint-imports
	@.venv/bin/pytest -q tests/architecture

test: setup ## Every test, on the real Postgres, RabbitMQ, object store and Docker engine
	@$(RUN) manman_devstack prepare
	@.venv/bin/pytest -q --numprocesses 2 --dist loadfile --durations=15

bench-api: setup ## Measure what calls of the API cost, into docs/performance.md (2 minutes)
	@$(RUN) manman_devstack bench-api

bench-host: setup ## Measure what sessions cost, into docs/performance.md (4 minutes; SESSIONS=100 at once)
	@$(RUN) manman_devstack bench-host --sessions $(or $(SESSIONS),100)

soak: setup ## Start and stop games while everything is killed at random (MINUTES=30, SEED=any)
	@$(RUN) manman_devstack soak --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED))

test-fast: setup ## Only what needs no service: the domain and the messages
	@.venv/bin/pytest -q libs/common/tests/domain libs/common/tests/messages

bench-processor: setup ## Measure the processor beside its yardsticks, into docs/performance.md (4 minutes)
	@$(RUN) manman_devstack bench-processor

chaos: setup ## Do every fault to the processor, its broker and its database, into docs/reliability.md (10 minutes)
	@$(RUN) manman_devstack chaos

clean: down ## `make down`, and throw away images, databases and caches
	@if [ -x .venv/bin/python ]; then $(RUN) manman_devstack clean; fi
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
