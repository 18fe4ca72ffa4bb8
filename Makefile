# IntentStore. Needs Python 3.11 with venv, Java 17 and make; everything else is fetched into .venv/ and .intentstore/.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
UV_VERSION := 0.13.9
COMPILE = $(BIN)/uv pip compile -q --generate-hashes --python-version 3.11 --no-header --no-annotate --no-emit-index-url --no-emit-find-links
# Container images of Python often forbid compiled modules; then each of a run's many processes compiles torch and the rest anew (seconds a start).
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup assets demo plan test test-unit lint bench ui docs clean lock

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(STAMP)  ## environment only (.venv, from the hashed lock)

$(STAMP): requirements.lock pyproject.toml
	@bash scripts/setup.sh $(VENV) $(UV_VERSION) $(PYTHON)
	@touch $@

assets: $(STAMP)  ## fetch weights, ML-100K and jars
	@$(BIN)/python -m feature_repo.contract.assets

demo: $(STAMP)  ## the whole path on real clicks, through Dagster, with a summary
	@$(BIN)/python -m dagster_project demo

plan: $(STAMP)  ## refuse an edit of the feature definitions that breaks a versioned service
	@$(BIN)/python -m feature_repo plan --against feature_repo/services.json

test: $(STAMP) assets plan  ## the whole test suite, real services included
	@PYTHONUNBUFFERED=1 $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder --durations=15

test-unit: $(STAMP)  ## the fast half: no JVM, no services
	@$(BIN)/python -m pytest tests/unit feature_repo/contract model

lint: $(STAMP)  ## ruff (rules and format), mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(STAMP) assets  ## every benchmark; writes benchmarks/results
	@for b in batch intents training_speed scoring pit online vectors materialize_kill streaming http_serving; do echo "== $$b"; $(BIN)/python benchmarks/$$b.py || exit 1; done

ui: $(STAMP)  ## dagster dev on the demo's state
	@$(BIN)/python -m dagster_project ui

docs: $(STAMP)  ## pages and API reference as files: build/docs/index.html
	@$(BIN)/mkdocs build --quiet

lock:  ## compile pyproject.toml to the hashed locks of `all`, `live` and `features`: names, versions, hashes, no addresses
	@$(COMPILE) --extra all --group dev pyproject.toml -o requirements.lock
	@for extra in live features; do $(COMPILE) --extra $$extra --constraint requirements.lock pyproject.toml -o requirements-$$extra.lock || exit 1; done

clean:  ## stop the embedded services and remove everything made at run time (the environment stays)
	@if [ -x $(BIN)/python ] && [ -d .intentstore ]; then $(BIN)/python -m streaming down; fi
	@rm -rf .intentstore
