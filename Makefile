# make demo    capture -> 4D Gaussians, video and splat files, from nothing
# make test    the test suite
# make check   format, lint, types and tests: the gate
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE := $(wildcard native/*.cpp native/*.h native/*.py)

.PHONY: demo test check format clean

$(VENV)/run.stamp: pyproject.toml hatch_build.py $(NATIVE)
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'chronosplat needs Python 3.11 or newer; run: make PYTHON=python3.11 ...')"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

demo: $(VENV)/run.stamp
	$(BIN)/chronosplat demo -o outputs/demo

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/python -m pytest

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf build dist outputs src/chronosplat/_native .pytest_cache .ruff_cache .hypothesis
