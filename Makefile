# Everything runs in .venv, built from the locked requirements. Needs Python 3.11 or newer and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
LOCK := requirements/dev.lock
# Compiling is most of what the tests do, and sooner done unoptimised. The long ones test optimised programs.
UNOPTIMISED := --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false

.PHONY: train test test-long lint bench docs install lock clean

train: install  ## Q-learning on the lizard's grid, then PPO on CartPole-v1, then a recorded episode
	@$(BIN)/tegu train lizard
	@$(BIN)/tegu train CartPole-v1
	@$(BIN)/tegu watch CartPole-v1/ppo/last

test: install  ## the tests that are soon done
	@XLA_FLAGS="$(UNOPTIMISED)" $(BIN)/pytest -n auto --dist worksteal -m "not slow and not long"

test-long: install  ## the others: what takes long to compile, scores over seeds, kills of every loop
	@XLA_FLAGS="$(UNOPTIMISED)" $(BIN)/pytest -n auto --dist worksteal -m "slow and not long"
	@$(BIN)/pytest -n auto --dist worksteal -m long

lint: install  ## format, lint, types and who imports whom
	@$(BIN)/ruff format --check src tests benchmarks examples
	@$(BIN)/ruff check src tests benchmarks examples
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: install .venv-bench/.installed  ## benchmarks of Tegu and its peers on this machine, into benchmarks/results
	@$(BIN)/python -m benchmarks

docs: install  ## the documentation, into docs/_build/html
	@$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

install: .venv/.installed  ## only the environment

.venv/.installed: $(LOCK) pyproject.toml
	@echo "installing the locked requirements into .venv (about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tegu needs Python 3.11 or newer")'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv-bench/.installed: requirements/bench.lock
	@echo "installing the peers into .venv-bench"
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/bench.lock
	@touch $@

lock: install  ## resolve the requirements anew
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip compile pyproject.toml --extra plot --extra classic --extra search --extra pettingzoo --extra atari --extra mujoco --extra dm_control --extra brax --extra box2d --extra video --extra tensorboard --extra docs --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --quiet -o $(LOCK)

clean:  ## remove what was built; runs stay
	@rm -rf .venv .venv-bench docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
