# Two commands are all: `make run` and `make test`. Each sets up .venv by itself, once.
.DEFAULT_GOAL := help
BENCH ?= build/bench.json
TEST_JOBS ?= 2
.PHONY: help run test lint type packaging quality mutations bench bench-curves bench-estimate bench-peers clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The first working Python of >=3.11,<3.14 that can make a venv; `make run PYTHON=/path/python` overrides it.
USABLE := import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3 python; do \
	$$p -c '$(USABLE)' >/dev/null 2>&1 \
	&& { echo $$p; break; }; done)

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

# TORCH_INDEX: an index with CPU builds of torch, which are a tenth of the CUDA ones. Only torch comes
# from it: such an index lacks the pinned versions of what torch needs.
$(STAMP): pyproject.toml constraints.txt
	@$(or $(PYTHON),false) -c '$(USABLE)' 2>/dev/null || { echo "no usable Python >=3.11,<3.14 (with venv): make $(MAKECMDGOALS) PYTHON=/path/to/python"; exit 2; }
	@echo "installing into $(VENV): minutes the first time"
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install -q --no-deps -c constraints.txt --index-url $(TORCH_INDEX) torch)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

run: $(STAMP) ## train MIND on the demo data: table, checkpoints, ONNX towers
	$(BIN)/rechub train model=mind

test: $(STAMP) ## the fast tests, TEST_JOBS at a time
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist worksteal

lint: $(STAMP) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(STAMP) ## mypy --strict
	$(BIN)/mypy

packaging: $(STAMP) ## build the wheel and the sdist, install them elsewhere, run them
	$(BIN)/python -m pytest -m packaging tests/packaging

quality: $(STAMP) ## slow: quality on real data (RECHUB_TEST_DATA)
	$(BIN)/python -m pytest -m quality -s tests/quality
	$(BIN)/python -m tests.quality.figures

mutations: $(STAMP) ## slow: one-line faults, each of which a test must see
	$(BIN)/python -m pytest -m mutation tests/mutations

bench: $(STAMP) ## minutes: speed of every stage in ratios; a table, and a record in BENCH
	$(BIN)/python -m tests.benchmarks --out $(BENCH)

bench-curves: $(STAMP) ## minutes, 13 GB: time and memory against size, into README's table
	$(BIN)/python -m tests.benchmarks.curves

bench-estimate: $(STAMP) ## half an hour: what rechub estimate says of a run against the run (RECHUB_TEST_DATA)
	$(BIN)/python -m tests.benchmarks.estimates

bench-peers: $(STAMP) ## an hour: training beside torch-rechub, RecBole and RecTools, in venvs of their own (RECHUB_TEST_DATA)
	$(BIN)/python -m tests.benchmarks.peers

clean: ## remove what make and the tools made (runs/ stays)
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
