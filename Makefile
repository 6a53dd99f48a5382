# Two commands do everything: `make study` and `make test`. Nothing but Python 3.11+ and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CORES ?= all
SLURM_TESTS := --strict-markers --strict-config -ra -x

.DEFAULT_GOAL := help
.PHONY: help install lock study test suite test-slurm test-slurm-full injections mutants flips fuzz lint types bench report clean

help:  ## List the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; call make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

install: $(INSTALLED)  ## Make .venv with the pinned packages

lock: $(INSTALLED)  ## Write locks/: every package of the core with its digests, for processors and for cards
	$(BIN)/python -m tests.package.lock
	$(BIN)/python -m tests.package.dependencies

study: $(INSTALLED)  ## Run the default study: results/default
	. $(BIN)/activate && snakemake --cores $(CORES)

report: $(INSTALLED)  ## Write Snakemake's own report of the default study: snakemake-report.html
	. $(BIN)/activate && snakemake --cores $(CORES) --report snakemake-report.html

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check workflow
	. $(BIN)/activate && snakemake --lint

types: $(INSTALLED)
	$(BIN)/mypy

# The checks run beside the tests: each takes one core.
test: $(INSTALLED)  ## Lint, check types, run all tests
	$(MAKE) --jobs=3 lint types suite

# What Python compiles is kept whatever the environment says: the tests start hundreds of processes.
suite: $(INSTALLED)
	. $(BIN)/activate && PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 pytest \
	  --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# A cluster of its own on this machine; nothing of it is left running. Needs Debian packages and root, and says so.
test-slurm: $(INSTALLED)  ## Run a small study on a real SLURM that it starts and stops
	@$(BIN)/python -m tests.slurm.check
	. $(BIN)/activate && PYTHONDONTWRITEBYTECODE= pytest --override-ini addopts="$(SLURM_TESTS)" tests/slurm

test-slurm-full: export M3H_SLURM_STUDY := default
test-slurm-full: test-slurm  ## The same, and the default study where there is accounting

injections: $(INSTALLED)  ## Kill a study in 31 ways on that SLURM; write the table of docs/resilience.md
	@$(BIN)/python -m tests.slurm.check
	. $(BIN)/activate && python -m tests.slurm.injections --document docs/resilience.md

mutants: $(INSTALLED)  ## Change lines that decide numbers; fail if no test notices one; write docs/mutants.md
	. $(BIN)/activate && python -m tests.mutants --document docs/mutants.md

flips: $(INSTALLED)  ## Flip 300 bits in each kind of file of a small study; fail if one goes unseen
	. $(BIN)/activate && OMP_NUM_THREADS=1 python -m tests.flips

MINUTES ?= 30
fuzz: $(INSTALLED)  ## Try damaged inputs for MINUTES (30); fail if one ends in anything but a sentence
	. $(BIN)/activate && OMP_NUM_THREADS=1 python -m tests.fuzz --minutes $(MINUTES)

bench: $(INSTALLED)  ## Print the benchmarks' ratios
	. $(BIN)/activate && pytest --override-ini addopts= --override-ini 'python_files=bench_*.py' -s tests/benchmarks

# On a machine with a card and PyTorch, where nothing can be installed: no environment is made.
DEVICE ?= cuda
gpu:  ## Prove and time training on a GPU: PART=correct|rates|study, DEVICE=cpu rehearses
	$(PYTHON) -m tests.gpu $(PART) --device $(DEVICE)

clean:  ## Remove the environment; results stay
	rm -rf $(VENV)
