# `make` lists what can be made. PYTHON is the interpreter that has the requirements: PYTHON=python3.13 make test
PYTHON ?= .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test coverage lint format types check screenshots bench bench-quick build clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[36m%-12s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make .venv and install everything that working on Ops-Core needs
	python3 -m venv .venv
	.venv/bin/pip install -q -r requirements-dev.txt -e ./client -e .

demo: ## Run the example flow with its two agents on a server of its own
	$(PYTHON) -m opscore demo

test: ## Run the tests; ARGS go to pytest: make test ARGS="tests/domain -x"
	$(PYTHON) -m pytest $(ARGS)

coverage: ## Run the tests, and show what no test runs; ARGS go to pytest
	$(PYTHON) -m coverage erase
	$(PYTHON) -m coverage run -m pytest $(ARGS)
	$(PYTHON) -m coverage combine -q
	$(PYTHON) -m coverage report --skip-covered --show-missing

lint: ## Look for mistakes and for files that are not formatted
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

format: ## Format the code and mend what can be mended safely
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

types: ## Check the types
	$(PYTHON) -m mypy

check: lint types test ## Everything CI checks: lint, types and tests

screenshots: ## Write pictures of each page of the dashboard to screenshots/ (needs Chromium)
	$(PYTHON) tests/browser/screenshots.py

bench: ## Measure throughput, latency, scale and memory beside the floor (takes minutes)
	$(PYTHON) benchmarks/run.py all

bench-quick: ## The same with small numbers, to see that it works
	$(PYTHON) benchmarks/run.py all --quick

build: ## Build both distributions into dist/
	$(PYTHON) -m pip install -q build
	$(PYTHON) -m build --outdir dist .
	$(PYTHON) -m build --outdir dist client

clean: ## Remove what tools and builds left behind
	rm -rf build dist screenshots .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*
	rm -rf *.egg-info client/*.egg-info client/build client/dist
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
