# The front door: `make sweep` and `make test` build .venv themselves.

PYTHON ?= python3
SWEEP ?= sweeps/digits.yaml
CLUSTER ?= local
WANDB ?= off
ARGS ?=

BIN := .venv/bin
INSTALLED := .venv/.installed
ANALYSIS_BIN := .venv-analysis/bin
ANALYSIS_INSTALLED := .venv-analysis/.installed
# Every module and its examples, tables, the report, and the commands that read; `make test` has run
# the other tests of analysis/.
ALONE := analysis tests/analysis/test_results.py tests/analysis/test_report.py \
  tests/test_arrows.py::test_fit_and_recommend_load_nothing_heavy
# What a file's tests share is made once. Not by groups: pytest-xdist 3.8 silently ignores them under
# pytest 9.2 (pytest-xdist#1386).
BY_FILE := --dist loadfile --no-loadscope-reorder
# Files with such tests: importing the others takes each process 10 s.
marked = $$(grep -rl --include='test_*.py' 'mark\.$(1)' tests)
# To bytecode on all cores, where pip takes one; without the packages' own tests, a seventh of all.
# Packages hold files for other versions of Python that do not compile.
compiled = @$(1)/bin/python -m compileall -qq -j 0 -x '/tests/' $(1)/lib || true
# One thread per process: tests and packs run side by side.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install sweep test test-slow test-analysis test-all lint format slurm browser docs bench drill clean

help:  ## Show what make can do
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'
	@echo
	@echo "  make sweep SWEEP=sweeps/least_squares.yaml CLUSTER=auto WANDB=offline"

install: $(INSTALLED)  ## Build .venv with everything in it

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "scaling-sweep needs Python 3.11 or newer, $(PYTHON) is %d.%d; write make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[train,wandb,s3,dev]'
	$(call compiled,.venv)
	@touch $@

$(ANALYSIS_INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-analysis
	$(ANALYSIS_BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e . pytest hypothesis
	$(call compiled,.venv-analysis)
	@touch $@

sweep: $(INSTALLED)  ## Run a sweep and fit it: SWEEP=file CLUSTER=where WANDB=off|offline|online
	$(BIN)/scaling-sweep run $(SWEEP) --cluster $(CLUSTER) --wandb $(WANDB) $(ARGS)

test: lint  ## Lint, then every test that takes seconds
	$(BIN)/python -m pytest -q -n 2 -m 'not slow' $(ARGS)

test-slow: $(INSTALLED)  ## The tests that take longer: real Ray, faults, simulations, a browser
	$(BIN)/python -m pytest -q -n 2 $(BY_FILE) -m 'slow and not alone' $(call marked,slow) $(ARGS)
	$(BIN)/python -m pytest -q -m alone $(call marked,alone) $(ARGS)

test-analysis: $(ANALYSIS_INSTALLED)  ## The half that reads rows, in an environment without torch, Ray and W&B
	$(ANALYSIS_BIN)/python -c 'import importlib.util as u, sys; sys.exit([m for m in ("torch", "ray", "wandb") if u.find_spec(m)] or 0)'
	$(ANALYSIS_BIN)/python -m pytest -q -p no:cacheprovider -m 'not slow' $(ALONE) $(ARGS)

test-all: test test-slow test-analysis  ## Every test

lint: $(INSTALLED)  ## ruff and mypy --strict
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(INSTALLED)  ## Let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

slurm:  ## Install Debian's Slurm and munge, for the tests of CLUSTER=slurm (root or sudo)
	@PATH="$$PATH:/usr/sbin" command -v slurmctld || { \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo "sudo -n") && \
	  $$sudo apt-get update -qq && \
	  $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge; }

browser:  ## Install Chromium, for the tests that look at the live page (root or sudo)
	@command -v chromium || command -v chromium-browser || { \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo "sudo -n") && \
	  $$sudo apt-get update -qq && \
	  $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; }

docs: $(INSTALLED)  ## Write the generated pages of docs/ anew
	$(BIN)/python -m docs.generate

bench: $(INSTALLED)  ## Figures against peers; see docs/performance.md
	$(BIN)/python -m benchmarks

drill: $(INSTALLED)  ## Faults done to real sweeps; writes the table of docs/reliability.md
	$(BIN)/python -m benchmarks.drill $(ARGS)

clean:  ## Remove what make built; runs/ stays
	rm -rf .venv .venv-analysis build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
