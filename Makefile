# Milepost: every target is a sentence in `make help`.
.DEFAULT_GOAL := help
.PHONY: help setup demo console test slow images chart-tools check fix protos clients conformance bench chaos lock

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# Hundreds of processes start in a run of the tests: none of them compiles what the one before has compiled.
unexport PYTHONDONTWRITEBYTECODE

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Install everything into .venv, from the lock.

$(STAMP): requirements.lock pyproject.toml clients/python/pyproject.toml $(shell find protos -name '*.proto')
	@$(PYTHON) -c 'import sys; sys.exit("Milepost needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "Could not make .venv; on Debian install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e clients/python -e .
	@$(BIN)/python -m sim_worker.child.check_installation
	@touch $@

demo: setup ## Run three sessions of a city at once, with live progress, results and a picture (demo.png).
	@$(BIN)/milepost demo --picture demo.png

console: setup ## Build the console that the gateway serves to browsers (needs Node.js).
	@$(BIN)/python clients/make.py typescript
	@cd clients/typescript && npm run --silent console

test: setup ## Run all tests but the slow ones; under five minutes on two cores.
	@$(BIN)/pytest

slow: setup ## Run the tests that `make test` has no time for; six minutes more.
	@$(BIN)/pytest -m slow

images: setup ## Build the images, run them hardened on this machine, stop and kill them (needs podman, as root).
	@$(BIN)/pytest -m images -n 0 -rs -v

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/milepost
chart-tools: ## Have helm (built with Go) and checkov for the tests of the chart, in a cache folder, unless they are there.
	@command -v helm >/dev/null || test -x $(CACHE)/bin/helm || \
		GOBIN=$(CACHE)/bin GOFLAGS=-mod=mod go install helm.sh/helm/v3/cmd/helm@v3.18.6
	@command -v checkov >/dev/null || test -x $(CACHE)/checkov/bin/checkov || { $(PYTHON) -m venv $(CACHE)/checkov && \
		$(CACHE)/checkov/bin/pip install --quiet --disable-pip-version-check checkov==3.3.30; }

# What contracts must stay compatible with: the last release where this clone knows one, else the baseline beside them.
RELEASE := $(shell git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null)
RELEASED := $(if $(RELEASE),$(shell git rev-parse --git-common-dir)\#tag=$(RELEASE),protos/baseline.binpb)
check: setup ## Check style, types, import contracts, protos and links, in seconds.
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/ruff check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo > .import-contracts.log || { cat .import-contracts.log; exit 1; }
	@$(BIN)/buf lint
	@$(BIN)/buf breaking --against $(RELEASED)
	@$(BIN)/python docs/make_api.py --check
	@$(BIN)/python docs/check_links.py
	@echo "check: all good"

fix: setup ## Format, and repair what can be repaired by itself.
	@$(BIN)/ruff check --fix --quiet || true
	@$(BIN)/ruff format --quiet

protos: setup ## Make the Python modules and the pages of the contracts (docs/api) anew.
	@$(BIN)/python clients/python/generate_contracts.py
	@$(BIN)/python docs/make_api.py

LANGUAGES ?=
clients: setup ## Make the client packages of all languages whose toolchain is there, or of LANGUAGES (`go python …`).
	@$(BIN)/python clients/make.py $(LANGUAGES)

conformance: clients ## Run every conformance case in every language that is there, or in LANGUAGES; prints a table.
	@PYTHONPATH=tests:clients $(BIN)/python -m conformance $(addprefix --language ,$(LANGUAGES))

bench: setup ## Print the published figures, side by side in one run.
	@$(BIN)/python -m bench

MINUTES ?= 10
SEED ?= 1
chaos: setup ## Kill everything for MINUTES, beginning with SEED, and judge every log (tests/resilience/README.md).
	@$(BIN)/pytest -m long
	@PYTHONPATH=tests $(BIN)/python -m resilience.chaos --minutes $(MINUTES) --seed $(SEED) --real

LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --python-version 3.11 \
	--no-emit-package milepost --no-emit-package milepost-services
lock: ## Resolve the dependencies anew and pin them: for developers, and what images need of them.
	@$(LOCK) pyproject.toml --group dev --output-file requirements.lock
	@$(LOCK) pyproject.toml --constraint requirements.lock --output-file deploy/requirements.lock
	@$(LOCK) --group build --constraint requirements.lock --output-file deploy/build.lock
