# Everything runs in .venv, which the first target makes and installs.
#
#   make demo    reference motion, training, evaluation, export, film
#   make test    the default tests
#   make help    all targets
#
# Variables, as in `make train ARGS="--model.ppo.gamma 0.99"`:
PYTHON ?= python3#  interpreter .venv is made with; 3.11 or newer
VENV ?= .venv#      folder of the environment
ARGS ?=#            more arguments for the program that a target runs
RECIPE ?= walking_amp_robot#  overlays in configs/ that `make train` uses, later ones win
POLICY ?=#          checkpoint or ONNX file for evaluate, play, export; play has a default

BIN := $(VENV)/bin
RUN := $(BIN)/python
WILDROBOT := $(BIN)/wildrobot
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install doctor demo reference train evaluate play export benchmark \
	capacities test wheel-test check format format-check lint types imports clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

install: $(INSTALLED)  ## make .venv and install into it; done once, and again when pins change

# A plain venv: nothing but Python and make has to be there.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1 || :); Python 3.11 or newer is needed:" \
			"make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || { \
		echo "error: $(PYTHON) cannot make environments; install your system's python3-venv" >&2; \
		exit 2; }
	@echo "installing into $(VENV): some minutes, once"
	@$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

# Installs nothing: it looks at what is there.
doctor:  ## what is here, what is missing, and the command that mends it
	@$$(command -v $(RUN) || echo $(PYTHON)) -m wildrobot_torch doctor $(ARGS)

demo: $(INSTALLED)  ## a walking policy from nothing; it says how long that takes here
	@$(WILDROBOT) demo $(ARGS)

reference: $(INSTALLED)  ## reference motion from the built-in clips
	@$(WILDROBOT) reference $(ARGS)

train: $(INSTALLED)  ## train with the overlays in RECIPE; make the reference first
	@$(WILDROBOT) fit $(RECIPE:%=--config %) $(ARGS)

evaluate: $(INSTALLED)  ## measure POLICY and write a report
	@$(WILDROBOT) evaluate $(POLICY) $(ARGS)

play: $(INSTALLED)  ## watch POLICY, or film it where there is no display
	@$(WILDROBOT) play $(POLICY) $(ARGS)

export: $(INSTALLED)  ## write POLICY as ONNX
	@$(WILDROBOT) export $(POLICY) $(ARGS)

benchmark: $(INSTALLED)  ## how fast physics, environment, collection and training are here
	@$(RUN) tools/benchmark.py $(ARGS)

capacities: $(INSTALLED)  ## measure the room MuJoCo Warp needs; after each change of the robot
	@$(RUN) tools/measure_capacities.py $(ARGS)

# A file's tests stay in one process, which makes their shared simulations once.
test: $(INSTALLED)  ## the default tests, on all cores
	@$(RUN) -m pytest --numprocesses auto --dist loadfile $(ARGS)

wheel-test: $(INSTALLED)  ## build the wheel and use it in an environment of its own
	@$(RUN) -m pytest -m slow tests/test_wheel.py

check: format-check lint types imports test  ## all that has to hold

format: $(INSTALLED)  ## lay the code out
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

format-check: $(INSTALLED)
	@$(BIN)/ruff format --check .

lint: $(INSTALLED)
	@$(BIN)/ruff check .

types: $(INSTALLED)
	@$(BIN)/basedpyright --pythonpath $(RUN)

imports: $(INSTALLED)
	@$(BIN)/lint-imports

clean:  ## remove the environment and caches; runs stay
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .import_linter_cache
