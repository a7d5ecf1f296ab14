# What to type: make help

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PROMPT ?= a red heart rising over the sea

# Threads that wait for each other sleep, as those of the command do: beside other programs they
# would take several times as long.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help demo gallery unit test test-thorough test-cluster test-slow lint check results train clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

demo: $(VENV)/.installed  ## set everything up in .venv and make a first video
	$(BIN)/confiner generate prompt="$(PROMPT)" seed=2

gallery: SWEEP := multirun/gallery-$(shell date +%Y%m%d-%H%M%S)
gallery: $(VENV)/.installed  ## a small sweep (18 videos, about a minute) and its gallery, whose path it prints
	$(BIN)/confiner generate -m prompt="a red heart rising over the sea" prompt="a green square falling over the sand" \
	  prompt="a yellow star pulsing in the night sky" scheduler=confiner_9 \
	  scheduler.refinement.pattern=coordinated,two_visits,spatial_only \
	  seed=1,2 output.dir=$(SWEEP)
	$(BIN)/confiner gallery $(SWEEP)

unit: $(VENV)/.development  ## the tests of the method, in less than 20 seconds (in one process)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m unit

test: $(VENV)/.development  ## the tests of confiner, in minutes (sets itself up)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not thorough and not slow and not gpu and not slurm and not ray"

test-thorough: $(VENV)/.development  ## more of the same, a browser, and the scripts that train, measure and draw
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "thorough and not slow and not gpu and not slurm and not ray"

test-cluster: $(VENV)/.development  ## launchers on a real SLURM and a real Ray, which start here (slurm-wlm and munge)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "(slurm or ray) and not slow" tests/launchers tests/runs/test_ray_workers.py

test-slow: $(VENV)/.development  ## the tests that take minutes; GPU tests where there is a GPU
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow or gpu"

lint: $(VENV)/.development  ## ruff and mypy --strict
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test test-thorough  ## everything a change must pass

results: $(VENV)/.development  ## measure the embedded experts again into results/ and docs/ (hours; goes on after a kill)
	OMP_NUM_THREADS=1 $(BIN)/python scripts/evaluate_embedded.py --prompts 64 --prompt-seed 0 --seeds 2 --out results --held-out
	OMP_NUM_THREADS=1 $(BIN)/python scripts/evaluate_embedded.py --prompts 64 --prompt-seed 0 --seeds 2 --out results --report docs

train: $(VENV)/.development  ## train the embedded experts from nothing into train/ (hours; goes on after a kill)
	$(BIN)/python scripts/train_embedded.py --out train
	$(BIN)/python scripts/package_embedded.py --from train

clean:  ## remove the environment and caches (not outputs/, not train/)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache dist

SOURCES := $(shell find confiner_cli configs -type f -not -name '*.pyc')

# Where the development environment is, it follows the sources by itself. A line with $(MAKE) is run
# also by --dry-run, so it does nothing else.
$(VENV)/.installed: pyproject.toml constraints.txt $(SOURCES)
	@[ ! -f $(VENV)/.development ] || $(MAKE) --no-print-directory $(VENV)/.development
	@[ -f $(VENV)/.development ] || { set -ex; $(PYTHON) -m venv $(VENV); \
	  $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt .; }
	@touch $@

$(VENV)/.development: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@ $(VENV)/.installed
