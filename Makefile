# make demo    set everything up; a capture -> 4D Gaussians, video and splat files
# make test    the test suite
# make check   format, lint, types and tests: the gate
# make web     the player of viewer.html, from web/ (docs/viewer.md); needs node 20 or newer
# make wheels  one wheel for each platform, in dist/; make wheels-check proves them (docs/wheels.md)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE := $(wildcard native/*.cpp native/*.h native/*.py)
TARGETS = $(shell $(PYTHON) -B -c "import sys; sys.path[0] = 'native'; import build; print(*build.TARGETS)")
HOST_TAG = $(shell $(PYTHON) -B -c "import sys; sys.path[0] = 'native'; import build; print(build.TARGETS[build.host_target()][1])")

.PHONY: demo test check format web wheels wheels-check clean

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
