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

# What instruments the core for `make sanitize` and `make fuzz`: clang where it can be had, for its coverage-guided
# fuzzing engine and for an OpenMP runtime that tells ThreadSanitizer how it synchronises.
SANITIZER_CXX ?= $(shell command -v clang++ || echo g++)
INSTRUMENTED  := $(BIN)/cmake -S . -DCMAKE_BUILD_TYPE=RelWithDebInfo -DSIMSKIP_LEARN=OFF \
  -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python
ADDRESS := build/address-$(notdir $(SANITIZER_CXX))
THREAD  := build/thread-$(notdir $(SANITIZER_CXX))
FUZZ    := build/fuzz-$(notdir $(SANITIZER_CXX))
FUZZERS := section_file load_index index_operations
SECONDS ?= 60
# alloc_dealloc_mismatch: a test replaces some forms of operator new by malloc, to let them fail.
export ASAN_OPTIONS ?= detect_stack_use_after_return=1:max_allocation_size_mb=1024:alloc_dealloc_mismatch=0
export LSAN_OPTIONS ?= suppressions=$(CURDIR)/scripts/leaks-not-ours:print_suppressions=0

.PHONY: data demo test test-cpp test-python test-all bench lint clean build sanitize sanitize-address sanitize-thread fuzz clang

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

# Options of benchmarks, for example: make bench BENCH="--large --approximate"
bench: build
	$(BIN)/python -m benchmarks $(BENCH)

# The C++ tests under AddressSanitizer with UndefinedBehaviorSanitizer, and under ThreadSanitizer.
sanitize: sanitize-address sanitize-thread

sanitize-address: clang
	$(INSTRUMENTED) -B $(ADDRESS) -DCMAKE_CXX_COMPILER=$(SANITIZER_CXX) \
	  -DSIMSKIP_TESTS=ON -DSIMSKIP_SANITIZE=address,undefined
	$(BIN)/cmake --build $(ADDRESS) --target simskip_tests
	$(ADDRESS)/cpp/tests/simskip_tests --gtest_brief=1

# GCC's OpenMP runtime is invisible to ThreadSanitizer, which then takes its teams for races: with GCC only the tests
# run that start threads of their own and ask for one OpenMP thread.
sanitize-thread: clang
	$(INSTRUMENTED) -B $(THREAD) -DCMAKE_CXX_COMPILER=$(SANITIZER_CXX) \
	  -DSIMSKIP_TESTS=ON -DSIMSKIP_SANITIZE=thread
	$(BIN)/cmake --build $(THREAD) --target simskip_tests
	scripts/thread-sanitized $(SANITIZER_CXX) $(THREAD)/cpp/tests/simskip_tests

# Each fuzzer for SECONDS, from the golden files and from what earlier runs found. An input that fails lies in $(FUZZ).
fuzz: clang
	$(INSTRUMENTED) -B $(FUZZ) -DCMAKE_CXX_COMPILER=$(SANITIZER_CXX) \
	  -DSIMSKIP_FUZZ=ON -DSIMSKIP_SANITIZE=address,undefined
	$(BIN)/cmake --build $(FUZZ) --target simskip_fuzzers
	@set -e; for name in $(FUZZERS); do \
	  mkdir -p $(FUZZ)/corpus/$$name; \
	  echo "fuzzing $$name for $(SECONDS) s"; \
	  $(FUZZ)/cpp/fuzz/$${name}_fuzz -max_total_time=$(SECONDS) -max_len=4000 -timeout=60 \
	    -artifact_prefix=$(FUZZ)/$$name- $(FUZZ)/corpus/$$name tests/golden > $(FUZZ)/$$name.log 2>&1 \
	    || { tail -n 60 $(FUZZ)/$$name.log; exit 1; }; \
	  grep '^Done' $(FUZZ)/$$name.log; \
	done

clang: $(VENV)/.requirements
	@scripts/system-packages clang || echo "going on with $(SANITIZER_CXX)"

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
