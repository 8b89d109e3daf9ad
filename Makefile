# Everything a newcomer needs: `make demo` runs the main job, `make test` the tests. Both set up what they need:
# system packages (as root; otherwise one message names them), a virtual environment in .venv, the build.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
BUILD  := build/cmake
JOBS   ?= $(shell nproc)

NATIVE := CMakeLists.txt pyproject.toml $(shell find cpp -type f)
export CMAKE_BUILD_PARALLEL_LEVEL := $(JOBS)
export CMAKE_GENERATOR := Ninja

# Threads that wait sleep instead of spinning: on a machine that does other work too, spinning ones hold up the rest.
demo test-cpp test-python test-all: export OMP_WAIT_POLICY ?= passive

.PHONY: data demo test test-cpp test-python test-all bench lint clean build

build: $(VENV)/.built

demo: build data
	$(BIN)/simskip demo

test: test-cpp test-python

# Photographs for the demo and some tests; without the package (not root) they are downloaded when first used.
data:
	@scripts/system-packages fashion-mnist || echo "will try to download Fashion-MNIST instead"

test-cpp: build
	$(BIN)/ctest --test-dir $(BUILD) --output-on-failure --parallel $(JOBS) --no-tests=error

test-python: build data
	$(BIN)/python -m pytest -m "not slow"

test-all: test-cpp data
	SIMSKIP_HYPOTHESIS_PROFILE=exploring $(BIN)/python -m pytest

bench: build
	$(BIN)/python -m benchmarks

lint: $(VENV)/.requirements
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	find cpp -name '*.?pp' | xargs $(BIN)/clang-format --dry-run --Werror
	$(BIN)/mypy python/simskip

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis

# Without build isolation and with a build folder that stays, so that only what changed is compiled again.
$(VENV)/.built: $(NATIVE) $(VENV)/.requirements
	@PYTHON=$(BIN)/python scripts/system-packages compiler gtest
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable . \
	  --config-settings=build-dir=$(BUILD) --config-settings=cmake.define.SIMSKIP_TESTS=ON
	@touch $@

$(VENV)/.requirements: pyproject.toml scripts/requirements.py
	@PYTHON=$(PYTHON) scripts/system-packages compiler python
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python scripts/requirements.py build > $(VENV)/build.txt
	$(BIN)/python scripts/requirements.py extra dev >> $(VENV)/build.txt
	$(BIN)/python scripts/requirements.py no-deps > $(VENV)/no-deps.txt
	$(BIN)/python -m pip install --quiet -r $(VENV)/build.txt
	$(BIN)/python -m pip install --quiet --no-deps -r $(VENV)/no-deps.txt
	@touch $@
