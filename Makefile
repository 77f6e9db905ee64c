# Everything runs from here; `make` alone lists the targets.
.DEFAULT_GOAL := help
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready
# TensorFlow is only read from, by an interpreter of its own: beside torch it is in the way.
TENSORFLOW := .venv/tensorflow/.ready

.PHONY: help demo test chaos check format generate lock

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## Build the models, serve them on a real Triton, call every RPC, show the traces
	@$(BIN)/python examples/demo.py

test: $(READY) $(TENSORFLOW) ## Run the unit, conformance (both transports), contract (real Triton), chart (real Helm) and end-to-end tests
	$(BIN)/pytest -n auto --dist loadfile tests/unit
	$(BIN)/pytest tests/conformance tests/contract tests/chart tests/e2e

chaos: $(READY) ## Overload, kill, hang, reset and fuzz what is served, on both transports, and print what came of it
	$(BIN)/pytest tests/chaos

check: $(READY) ## Check style, types, layers, protos and generated code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	scripts/generate --check

format: $(READY) ## Format the code and the protos
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .
	$(BIN)/buf format --write

generate: $(READY) ## Write protos/gen from protos/trident, and the schema, README and dashboard of the chart
	scripts/generate

lock: ## Resolve requirements.lock anew
	scripts/lock

$(TENSORFLOW): requirements-tensorflow.lock
	@echo "Installing TensorFlow into .venv/tensorflow, for the tests of imports (a minute, once) …"
	@$(PYTHON) -m venv .venv/tensorflow
	@.venv/tensorflow/bin/python -m pip install -qq --disable-pip-version-check \
	  --requirement requirements-tensorflow.lock
	@touch $(TENSORFLOW)

$(READY): pyproject.toml protos/pyproject.toml requirements.lock
	@echo "Installing what requirements.lock lists into .venv (a few minutes, once) …"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check \
	  --constraint requirements.lock --editable protos --editable ".[dev]"
	@touch $(READY)
