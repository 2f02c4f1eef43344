# make demo    set everything up; a capture -> 4D Gaussians, video and splat files
# make test    the test suite
# make check   format, lint, types and tests: the gate
# make web     the player of viewer.html, from web/ (docs/viewer.md); needs node 20 or newer
# make wheels  one wheel for each platform, in dist/; make wheels-check proves them (docs/wheels.md)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# one process per core, each with one thread
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal
NATIVE := $(wildcard native/*.cpp native/*.h native/*.py)
TARGETS = $(shell $(PYTHON) -B -c "import sys; sys.path[0] = 'native'; import build; print(*build.TARGETS)")
HOST_TAG = $(shell $(PYTHON) -B -c "import sys; sys.path[0] = 'native'; import build; print(build.TARGETS[build.host_target()][1])")

.PHONY: demo test check format web wheels wheels-check clean

$(BIN)/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'chronosplat needs Python 3.11 or newer; run: make PYTHON=python3.11 ...')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/run.stamp: pyproject.toml hatch_build.py $(NATIVE) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml hatch_build.py $(NATIVE) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $(VENV)/run.stamp $@

demo: $(VENV)/run.stamp
	$(BIN)/chronosplat demo -o outputs/demo

test: $(VENV)/dev.stamp
	$(PYTEST)

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(PYTEST)

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

web: web/node_modules/.package-lock.json
	cd web && npm run --silent build

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci --no-audit --no-fund

wheels:
	test -x build/wheels/bin/python || $(PYTHON) -m venv build/wheels
	rm -f dist/*.whl
	for target in $(TARGETS); do \
	  CHRONOSPLAT_TARGET=$$target build/wheels/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist . || exit 1; \
	done
	@ls -l dist

wheels-check:
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(PYTHON) -m venv "$$folder/venv" && \
	"$$folder/venv/bin/python" -m pip install --quiet pytest hatchling ./dist/chronosplat-*-$(HOST_TAG).whl && \
	cd "$$folder" && env -i PATH=/nowhere CHRONOSPLAT_WHEELS="$(CURDIR)/dist" \
	  venv/bin/python -B -m pytest -p no:cacheprovider "$(CURDIR)/tests/native/test_wheels.py"

clean:
	rm -rf build dist outputs src/chronosplat/_native .pytest_cache .ruff_cache .hypothesis
